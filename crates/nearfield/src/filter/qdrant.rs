//! The form of the Qdrant API: `{"must": [{"key": "year", "range": {"gte": 2020}}], "must_not": [...]}`.
//!
//! A clause is one condition or a list of them; null stands for what is left out. Several tests of one field condition are alternatives.

use nearfield_types::{Object, PointId, Uuid, Value};

use super::{
    Condition, Datetime, Filter, FilterError, GeoBox, GeoPoint, GeoPolygon, GeoRadius, Key, Leaf, Number,
    ParseError, Path, Range, Test, kind_of, limits, number_of,
};

/// Reads a filter.
///
/// # Errors
///
/// Unknown keys, wrong types, operands without meaning, each with its place; and the limits of [`limits`].
///
/// ```
/// use nearfield::filter::qdrant;
/// use nearfield::{Object, Value};
///
/// let object = |key: &str, value: Value| Object::from_entries([(key.to_owned(), value)]);
/// let mut condition = object("key", "pos".into());
/// condition.set("match", object("value", "noun".into()));
/// let filter = qdrant::parse(&object("must", vec![condition.into()].into()))?;
/// assert_eq!(filter.to_string(), "pos = \"noun\"");
///
/// let error = qdrant::parse(&object("must", object("key", 1i64.into()).into())).unwrap_err();
/// assert_eq!(error.to_string(), "filter.must[0].key: a string is expected, not an integer");
/// # Ok::<(), nearfield::filter::ParseError>(())
/// ```
pub fn parse(filter: &Object) -> Result<Filter, ParseError> {
    let mut open = Vec::new();
    match walk(filter, &mut open) {
        Ok(filter) => {
            filter.check()?;
            Ok(filter)
        }
        Err(Fault::Filter(error)) => Err(error.into()),
        Err(Fault::Form { below, message }) => Err(ParseError::Form { at: place(&open, &below), message }),
    }
}

/// What is wrong below the condition that is being read.
enum Fault {
    Form { below: String, message: String },
    Filter(FilterError),
}

type Parsed<T> = Result<T, Fault>;

impl From<FilterError> for Fault {
    fn from(error: FilterError) -> Fault {
        Fault::Filter(error)
    }
}

impl Fault {
    fn new(message: impl Into<String>) -> Fault {
        Fault::Form { below: String::new(), message: message.into() }
    }

    fn expected(what: &str, value: &Value) -> Fault {
        Fault::new(format!("{what} is expected, not {}", kind_of(value)))
    }

    /// The same, seen from above `key`.
    fn under(self, key: &str) -> Fault {
        match self {
            Fault::Form { below, message } => Fault::Form { below: format!(".{key}{below}"), message },
            limit => limit,
        }
    }
}

/// The places of a filter's conditions.
#[derive(Clone, Copy)]
enum Clause {
    Must,
    Should,
    MustNot,
    MinShould,
}

impl Clause {
    fn name(self) -> &'static str {
        match self {
            Clause::Must => "must",
            Clause::Should => "should",
            Clause::MustNot => "must_not",
            Clause::MinShould => "min_should.conditions",
        }
    }
}

/// A filter being read.
struct Frame<'a> {
    /// Set where it belongs to a nested condition.
    nested: Option<Path>,
    filter: Filter,
    min_count: Option<u64>,
    todo: std::vec::IntoIter<(Clause, usize, &'a Value)>,
    /// The condition that is being read.
    now: Option<(Clause, usize)>,
}

impl Frame<'_> {
    fn add(&mut self, clause: Clause, condition: Condition) {
        let filter = std::mem::take(&mut self.filter);
        self.filter = match clause {
            Clause::Must => filter.must([condition]),
            Clause::Should => filter.should([condition]),
            Clause::MustNot => filter.must_not([condition]),
            Clause::MinShould => filter.min_should(self.min_count.unwrap_or(0), [condition]),
        };
    }
}

/// Where the last of the frames stands.
fn place(open: &[Frame<'_>], below: &str) -> String {
    let mut at = "filter".to_owned();
    for frame in open {
        if let Some((clause, index)) = frame.now {
            at += &format!(".{}[{index}]", clause.name());
        }
    }
    at + below
}

/// With a stack of frames: what is nested too deeply is refused before it is entered.
fn walk<'a>(filter: &'a Object, open: &mut Vec<Frame<'a>>) -> Parsed<Filter> {
    open.push(frame(None, filter)?);
    loop {
        let Some(frame) = open.last_mut() else { return Err(FilterError::Depth.into()) };
        let Some((clause, index, value)) = frame.todo.next() else {
            let Some(done) = open.pop() else { return Err(FilterError::Depth.into()) };
            let Some(above) = open.last_mut() else { return Ok(done.filter) };
            let Some((clause, _)) = above.now else { continue };
            above.add(
                clause,
                match done.nested {
                    Some(path) => Condition::nested(path, done.filter),
                    None => done.filter.into(),
                },
            );
            continue;
        };
        frame.now = Some((clause, index));
        let entered = match condition(value)? {
            Item::Done(condition) => {
                frame.add(clause, condition);
                continue;
            }
            Item::Filter(filter) => self::frame(None, filter)?,
            Item::Nested(path, filter) => {
                self::frame(Some(path), filter).map_err(|fault| fault.under("nested.filter"))?
            }
        };
        if open.len() >= limits::FILTER_DEPTH_MAX {
            return Err(FilterError::Depth.into());
        }
        open.push(entered);
    }
}

/// The clauses of a filter, their conditions still to be read.
fn frame<'a>(nested: Option<Path>, filter: &'a Object) -> Parsed<Frame<'a>> {
    let mut todo = Vec::new();
    let mut min_count = None;
    for (key, value) in filter.iter() {
        match (key, value) {
            ("must" | "should" | "must_not" | "min_should", Value::Null) => {}
            ("must", value) => list(&mut todo, Clause::Must, value)?,
            ("should", value) => list(&mut todo, Clause::Should, value)?,
            ("must_not", value) => list(&mut todo, Clause::MustNot, value)?,
            ("min_should", value) => {
                let [conditions, count] =
                    members(value, ["conditions", "min_count"]).map_err(|fault| fault.under(key))?;
                min_count = Some(unsigned(count).map_err(|fault| fault.under("min_should.min_count"))?);
                list(&mut todo, Clause::MinShould, conditions)?;
            }
            (unknown, _) => {
                let known = "must, should, must_not, min_should";
                return Err(Fault::new(format!("unknown key `{unknown}`: a filter has {known}")));
            }
        }
    }
    let filter = match min_count {
        Some(count) => Filter::new().min_should(count, []),
        None => Filter::new(),
    };
    Ok(Frame { nested, filter, min_count, todo: todo.into_iter(), now: None })
}

/// One condition or a list of them.
fn list<'a>(todo: &mut Vec<(Clause, usize, &'a Value)>, clause: Clause, value: &'a Value) -> Parsed<()> {
    match value {
        Value::Array(conditions) if todo.len() + conditions.len() > limits::FILTER_CONDITIONS_MAX => {
            return Err(FilterError::Conditions.into());
        }
        Value::Array(conditions) => {
            todo.extend(conditions.iter().enumerate().map(|(index, value)| (clause, index, value)));
        }
        Value::Object(_) => todo.push((clause, 0, value)),
        other => {
            return Err(Fault::expected("a condition or a list of conditions", other).under(clause.name()));
        }
    }
    Ok(())
}

enum Item<'a> {
    Done(Condition),
    Filter(&'a Object),
    Nested(Path, &'a Object),
}

/// Which condition it is shows in its keys.
fn condition(value: &Value) -> Parsed<Item<'_>> {
    let Value::Object(object) = value else { return Err(Fault::expected("a condition", value)) };
    if object.get("key").is_some() {
        return field_condition(object).map(Item::Done);
    }
    let mut members = object.iter().filter(|(_, value)| **value != Value::Null);
    let Some((key, value)) = members.next() else { return Ok(Item::Filter(object)) };
    if matches!(key, "must" | "should" | "must_not" | "min_should") {
        return Ok(Item::Filter(object));
    }
    let known = ["is_empty", "is_null", "has_id", "has_vector", "slice", "nested"];
    if !known.contains(&key) {
        return Err(Fault::new(format!(
            "unknown key `{key}`: a condition has `key` with tests, {}, or the clauses of a filter",
            known.join(", ")
        )));
    }
    if let Some((second, _)) = members.next() {
        return Err(Fault::new(format!("`{key}` and `{second}` in one condition: each needs its own")));
    }
    single(key, value).map_err(|fault| fault.under(key))
}

/// A condition that is one key and its value.
fn single<'a>(key: &str, value: &'a Value) -> Parsed<Item<'a>> {
    Ok(Item::Done(match key {
        "is_empty" => {
            let [key] = members(value, ["key"])?;
            Condition::is_empty(path(key).map_err(|fault| fault.under("key"))?)
        }
        "is_null" => {
            let [key] = members(value, ["key"])?;
            Condition::is_null(path(key).map_err(|fault| fault.under("key"))?)
        }
        "has_id" => Condition::has_id(operands(value, point_id)?),
        "has_vector" => Condition::has_vector(string(value)?),
        "slice" => {
            let [total, index] = members(value, ["total", "index"])?;
            let small = |value| {
                unsigned(value).and_then(|n| {
                    u32::try_from(n).map_err(|_| Fault::new(format!("{n} is larger than {}", u32::MAX)))
                })
            };
            Leaf::Slice {
                total: small(total).map_err(|fault| fault.under("total"))?,
                index: small(index).map_err(|fault| fault.under("index"))?,
            }
            .into()
        }
        _ => {
            let [key, filter] = members(value, ["key", "filter"])?;
            let path = path(key).map_err(|fault| fault.under("key"))?;
            let Value::Object(filter) = filter else {
                return Err(Fault::expected("a filter", filter).under("filter"));
            };
            return Ok(Item::Nested(path, filter));
        }
    }))
}

/// A path and its tests, of which one is enough.
fn field_condition(object: &Object) -> Parsed<Condition> {
    let path = path(object.get("key").unwrap_or(&Value::Null)).map_err(|fault| fault.under("key"))?;
    let mut conditions = Vec::new();
    for (key, value) in object.iter() {
        if key == "key" || *value == Value::Null {
            continue;
        }
        conditions.push(field_test(&path, key, value).map_err(|fault| fault.under(key))?);
    }
    match conditions.len() {
        0 => Err(Fault::new(format!("the condition for `{path}` asks nothing: one of {TESTS} is needed"))),
        1 => Ok(conditions.remove(0)),
        _ => Ok(Filter::any(conditions).into()),
    }
}

const TESTS: &str =
    "match, range, geo_bounding_box, geo_radius, geo_polygon, values_count, is_empty, is_null";

fn field_test(path: &Path, key: &str, value: &Value) -> Parsed<Condition> {
    let flag = |condition: Condition| match value {
        Value::Bool(true) => Ok(condition),
        Value::Bool(false) => Ok(!condition),
        other => Err(Fault::expected("true or false", other)),
    };
    let test = match key {
        "match" => match_test(value)?,
        "range" => range_test(value)?,
        "geo_bounding_box" => {
            let [top_left, bottom_right] = points(value, ["top_left", "bottom_right"])?;
            Test::GeoBox(GeoBox { top_left, bottom_right })
        }
        "geo_radius" => {
            let [center, radius] = members(value, ["center", "radius"])?;
            let center = point(center).map_err(|fault| fault.under("center"))?;
            let radius_m = number(radius).map_err(|fault| fault.under("radius"))?.as_f64();
            Test::GeoRadius(GeoRadius { center, radius_m })
        }
        "geo_polygon" => polygon(value)?,
        "values_count" => Test::Count(range(value, unsigned)?),
        "is_empty" => return flag(Condition::is_empty(path.clone())),
        "is_null" => return flag(Condition::is_null(path.clone())),
        _ => return Err(Fault::new(format!("unknown test: one of {TESTS} is expected"))),
    };
    Ok(Condition::field(path.clone(), test))
}

fn match_test(value: &Value) -> Parsed<Test> {
    const KINDS: &str = "value, any, except, text, text_any, phrase, prefix, substring";
    let Value::Object(object) = value else { return Err(Fault::expected("an object", value)) };
    let mut members = object.iter().filter(|(_, value)| **value != Value::Null);
    let (Some((key, value)), None) = (members.next(), members.next()) else {
        return Err(Fault::new(format!("exactly one of {KINDS} is expected")));
    };
    let text = || string(value).map(Box::from);
    let test = match key {
        "value" => match_key(value).map(Test::Value),
        "any" => operands(value, match_key).map(Test::Any),
        "except" => operands(value, match_key).map(Test::Except),
        "text" => text().map(Test::Text),
        "text_any" => text().map(Test::TextAny),
        "phrase" => text().map(Test::Phrase),
        "prefix" => text().map(Test::Prefix),
        "substring" => text().map(Test::Substring),
        _ => Err(Fault::new(format!("unknown match: one of {KINDS} is expected"))),
    };
    test.map_err(|fault| fault.under(key))
}

fn match_key(value: &Value) -> Parsed<Key> {
    match value {
        Value::Bool(value) => Ok(Key::Bool(*value)),
        Value::I64(value) => Ok(Key::I64(*value)),
        Value::String(text) => Ok(Key::String(text.as_str().into())),
        Value::U64(value) => Err(Fault::new(format!("{value} is larger than {}", i64::MAX))),
        other => Err(Fault::expected("a string, an integer or a boolean", other)),
    }
}

/// Of dates and times if a bound is text, else of numbers.
fn range_test(value: &Value) -> Parsed<Test> {
    let Value::Object(object) = value else { return Err(Fault::expected("an object", value)) };
    match object.iter().any(|(_, bound)| matches!(bound, Value::String(_))) {
        true => range(value, datetime).map(Test::Datetimes),
        false => range(value, number).map(Test::Range),
    }
}

fn range<T>(value: &Value, read: impl Fn(&Value) -> Parsed<T>) -> Parsed<Range<T>> {
    let Value::Object(object) = value else { return Err(Fault::expected("an object", value)) };
    let mut range = Range { gt: None, gte: None, lt: None, lte: None };
    for (key, value) in object.iter() {
        let bound = match key {
            "gt" => &mut range.gt,
            "gte" => &mut range.gte,
            "lt" => &mut range.lt,
            "lte" => &mut range.lte,
            _ => return Err(Fault::new("unknown bound: one of gt, gte, lt, lte is expected").under(key)),
        };
        if *value != Value::Null {
            *bound = Some(read(value).map_err(|fault| fault.under(key))?);
        }
    }
    Ok(range)
}

fn polygon(value: &Value) -> Parsed<Test> {
    let Value::Object(object) = value else { return Err(Fault::expected("an object", value)) };
    let (mut exterior, mut interiors) = (None, Vec::new());
    for (key, value) in object.iter() {
        match (key, value) {
            ("exterior", value) => exterior = Some(ring(value).map_err(|fault| fault.under(key))?),
            ("interiors", Value::Null) => {}
            ("interiors", value) => interiors = operands(value, ring).map_err(|fault| fault.under(key))?,
            _ => return Err(Fault::new("unknown key: exterior and interiors are expected").under(key)),
        }
    }
    let exterior = exterior.ok_or_else(|| Fault::new("`exterior` is missing"))?;
    Ok(Test::GeoPolygon(GeoPolygon { exterior, interiors }))
}

fn ring(value: &Value) -> Parsed<Vec<GeoPoint>> {
    let [points] = members(value, ["points"])?;
    operands(points, point).map_err(|fault| fault.under("points"))
}

fn points<const N: usize>(value: &Value, keys: [&str; N]) -> Parsed<[GeoPoint; N]> {
    let mut points = [GeoPoint::new(0.0, 0.0); N];
    for (at, value) in members(value, keys)?.into_iter().enumerate() {
        points[at] = point(value).map_err(|fault| fault.under(keys[at]))?;
    }
    Ok(points)
}

fn point(value: &Value) -> Parsed<GeoPoint> {
    let [lon, lat] = members(value, ["lon", "lat"])?;
    let lon = number(lon).map_err(|fault| fault.under("lon"))?.as_f64();
    let lat = number(lat).map_err(|fault| fault.under("lat"))?.as_f64();
    Ok(GeoPoint::new(lon, lat))
}

fn point_id(value: &Value) -> Parsed<PointId> {
    let wrong = |shown: &dyn std::fmt::Display| {
        Fault::new(format!(
            "value {shown} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        ))
    };
    match value {
        Value::I64(number) => u64::try_from(*number).map(PointId::from).map_err(|_| wrong(number)),
        Value::U64(number) => Ok(PointId::from(*number)),
        Value::String(text) => Uuid::parse_str(text).map(PointId::Uuid).map_err(|_| wrong(text)),
        other => Err(Fault::expected("an unsigned integer or a UUID", other)),
    }
}

/// Every item of a list, read.
fn operands<T>(value: &Value, read: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    let Value::Array(items) = value else { return Err(Fault::expected("a list", value)) };
    if items.len() > limits::FILTER_OPERANDS_MAX {
        return Err(FilterError::Operands.into());
    }
    let item = |(index, value)| {
        read(value).map_err(|fault| match fault {
            Fault::Form { below, message } => Fault::Form { below: format!("[{index}]{below}"), message },
            limit => limit,
        })
    };
    items.iter().enumerate().map(item).collect()
}

/// The members of an object that has these and no others.
fn members<'a, const N: usize>(value: &'a Value, keys: [&str; N]) -> Parsed<[&'a Value; N]> {
    let Value::Object(object) = value else { return Err(Fault::expected("an object", value)) };
    if let Some((unknown, _)) = object.iter().find(|(key, _)| !keys.contains(key)) {
        return Err(Fault::new(format!("unknown key `{unknown}`: {} is expected", keys.join(", "))));
    }
    let mut found = [value; N];
    for (at, key) in keys.into_iter().enumerate() {
        found[at] = object.get(key).ok_or_else(|| Fault::new(format!("`{key}` is missing")))?;
    }
    Ok(found)
}

fn path(value: &Value) -> Parsed<Path> {
    let text = string(value)?;
    Path::parse(text).map_err(|error| Fault::new(format!("invalid JSON path: {error}")))
}

fn string(value: &Value) -> Parsed<&str> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Fault::expected("a string", other)),
    }
}

fn number(value: &Value) -> Parsed<Number> {
    number_of(value).ok_or_else(|| Fault::expected("a number", value))
}

fn unsigned(value: &Value) -> Parsed<u64> {
    match value {
        Value::I64(number) => {
            u64::try_from(*number).map_err(|_| Fault::new(format!("{number} is less than 0")))
        }
        Value::U64(number) => Ok(*number),
        other => Err(Fault::expected("an unsigned integer", other)),
    }
}

fn datetime(value: &Value) -> Parsed<Datetime> {
    Datetime::parse(string(value)?).map_err(|error| Fault::new(error.to_string()))
}
