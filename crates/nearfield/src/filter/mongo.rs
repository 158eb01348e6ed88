//! Dictionaries of fields and operators: `{"year": {"$gte": 2020}, "tags": {"$in": ["a", "b"]}}`.
//!
//! A field name is a top-level key, taken literally. Numbers are equal by value, truth values and nulls only to themselves; `$ne`, `$nin` and `$not` are the
//! exact opposites of `$eq`, `$in` and their content, so they hold where the key is missing.

use nearfield_types::{Object, Value};

use super::{
    Condition, Filter, FilterError, Number, ParseError, Path, Range, Scalar, Test, limits, number_of,
};

/// Reads a dictionary.
///
/// # Errors
///
/// Unknown operators, operands of the wrong type, and the limits of [`limits`].
///
/// ```
/// use nearfield::filter::mongo;
/// use nearfield::Object;
///
/// let dict = Object::from_entries([("words".to_owned(), Object::from_entries([("$gte".to_owned(), 2i64.into())]).into())]);
/// assert_eq!(mongo::parse(&dict)?.to_string(), "number words >= 2");
/// # Ok::<(), nearfield::filter::ParseError>(())
/// ```
pub fn parse(dict: &Object) -> Result<Filter, ParseError> {
    let mut open = vec![Frame::new(Join::All, dict_items(dict)?)];
    loop {
        let last = open.len() - 1;
        if last > FRAMES_MAX {
            return Err(FilterError::Depth.into());
        }
        match open[last].items.next() {
            Some(Item::Leaf(condition)) => open[last].conditions.push(condition),
            Some(Item::Dict(join, dict)) => open.push(Frame::new(join, dict_items(dict)?)),
            Some(Item::Operators(join, field, dict)) => {
                open.push(Frame::new(join, operator_items(field, dict)?))
            }
            Some(Item::List(join, list)) => open.push(Frame::new(join, list_items(list)?)),
            None => {
                let frame = open.swap_remove(last);
                if last == 0 {
                    let filter = Filter::all(frame.conditions);
                    filter.check()?;
                    return Ok(filter);
                }
                open[last - 1].conditions.extend(frame.join());
            }
        }
    }
}

/// Deepest nesting of dictionaries and lists; some of it adds no level to the tree.
const FRAMES_MAX: usize = 2 * limits::FILTER_DEPTH_MAX;

/// How the conditions of a frame belong together.
#[derive(Clone, Copy)]
enum Join {
    /// All of them, where the frame above asks for all of its own too.
    All,
    /// All of them as one.
    Together,
    Any,
    NotAll,
}

/// What a dictionary says, in order.
enum Item<'a> {
    Leaf(Condition),
    Dict(Join, &'a Object),
    Operators(Join, &'a str, &'a Object),
    List(Join, &'a [Value]),
}

/// A dictionary being read.
struct Frame<'a> {
    join: Join,
    items: std::vec::IntoIter<Item<'a>>,
    conditions: Vec<Condition>,
}

impl<'a> Frame<'a> {
    fn new(join: Join, items: Vec<Item<'a>>) -> Frame<'a> {
        Frame { join, items: items.into_iter(), conditions: Vec::new() }
    }

    /// One condition, or those of the frame above where that is the same.
    fn join(mut self) -> Vec<Condition> {
        match (self.join, self.conditions.len()) {
            (Join::All, _) => self.conditions,
            (Join::Together | Join::Any, 1) => self.conditions,
            (Join::Together, _) => vec![Filter::all(self.conditions).into()],
            // One of none never holds.
            (Join::Any, 0) => vec![Filter::none([Filter::new().into()]).into()],
            (Join::Any, _) => vec![Filter::any(self.conditions).into()],
            (Join::NotAll, 1) => vec![Filter::none(self.conditions.pop()).into()],
            (Join::NotAll, _) => vec![Filter::none([Filter::all(self.conditions).into()]).into()],
        }
    }
}

fn dict_items(dict: &Object) -> Result<Vec<Item<'_>>, ParseError> {
    refuse_width(dict.len())?;
    dict.iter().map(|(key, value)| dict_item(key, value)).collect()
}

fn dict_item<'a>(key: &'a str, value: &'a Value) -> Result<Item<'a>, ParseError> {
    match (key, value) {
        ("$and", value) => Ok(Item::List(Join::All, list_of("$and", value)?)),
        ("$or", value) => Ok(Item::List(Join::Any, list_of("$or", value)?)),
        ("$not", Value::Object(inner)) => Ok(Item::Dict(Join::NotAll, inner)),
        ("$not", _) => Err(ParseError::Dict { operator: "$not" }),
        (operator, _) if operator.starts_with('$') => Err(ParseError::Operator(operator.to_owned())),
        (field, Value::Object(operators)) => Ok(Item::Operators(Join::All, field, operators)),
        (field, value) => Ok(Item::Leaf(equals(field, vec![scalar_of(value)?]))),
    }
}

/// The dictionaries of `$and` and `$or`: each of them holds as a whole.
fn list_items(list: &[Value]) -> Result<Vec<Item<'_>>, ParseError> {
    refuse_width(list.len())?;
    let mut items = Vec::with_capacity(list.len());
    for value in list {
        let Value::Object(dict) = value else { return Err(ParseError::Value) };
        items.push(Item::Dict(Join::Together, dict));
    }
    Ok(items)
}

fn operator_items<'a>(field: &'a str, operators: &'a Object) -> Result<Vec<Item<'a>>, ParseError> {
    refuse_width(operators.len())?;
    operators.iter().map(|(operator, value)| operator_item(field, operator, value)).collect()
}

fn operator_item<'a>(field: &'a str, operator: &str, value: &'a Value) -> Result<Item<'a>, ParseError> {
    let range = |operator, range: fn(Number) -> Range<Number>| match number_of(value) {
        Some(number) => Ok(Condition::field(Path::key(field), Test::Bare(range(number)))),
        None => Err(ParseError::Number { operator }),
    };
    Ok(Item::Leaf(match operator {
        "$eq" => equals(field, vec![scalar_of(value)?]),
        "$ne" => !equals(field, vec![scalar_of(value)?]),
        "$in" => equals(field, scalars_of("$in", value)?),
        "$nin" => !equals(field, scalars_of("$nin", value)?),
        "$gt" => range("$gt", Range::above)?,
        "$gte" => range("$gte", Range::at_least)?,
        "$lt" => range("$lt", Range::below)?,
        "$lte" => range("$lte", Range::at_most)?,
        "$exists" => match value {
            Value::Bool(true) => Condition::exists(Path::key(field)),
            Value::Bool(false) => !Condition::exists(Path::key(field)),
            _ => return Err(ParseError::Boolean { operator: "$exists" }),
        },
        "$not" => match value {
            Value::Object(inner) => return Ok(Item::Operators(Join::NotAll, field, inner)),
            _ => return Err(ParseError::Dict { operator: "$not" }),
        },
        unknown => return Err(ParseError::Operator(unknown.to_owned())),
    }))
}

fn equals(field: &str, scalars: Vec<Scalar>) -> Condition {
    Condition::field(Path::key(field), Test::Equals(scalars))
}

fn list_of<'a>(operator: &'static str, value: &'a Value) -> Result<&'a [Value], ParseError> {
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(ParseError::List { operator }),
    }
}

fn scalars_of(operator: &'static str, value: &Value) -> Result<Vec<Scalar>, ParseError> {
    let list = list_of(operator, value)?;
    if list.len() > limits::FILTER_OPERANDS_MAX {
        return Err(FilterError::Operands.into());
    }
    list.iter().map(scalar_of).collect()
}

fn scalar_of(value: &Value) -> Result<Scalar, ParseError> {
    Ok(match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::String(text) => Scalar::String(text.as_str().into()),
        value => Scalar::Number(number_of(value).ok_or(ParseError::Value)?),
    })
}

/// Before anything is allocated for the conditions.
fn refuse_width(conditions: usize) -> Result<(), FilterError> {
    if conditions > limits::FILTER_CONDITIONS_MAX { Err(FilterError::Conditions) } else { Ok(()) }
}
