//! A filter as people read it, for `explain` and messages. Not a format: nothing reads it back.

use std::fmt::{self, Display, Formatter};

use super::operand::{Key, Number, Range, Scalar, Test};
use super::tree::{ClauseRef, Condition, ConditionRef, Filter, FilterRef, Leaf};

/// Of a list so many are shown.
const SHOWN_MAX: usize = 8;
/// Of a text so many characters are shown.
const CHARS_MAX: usize = 64;

/// What is still to be written, the next one last.
enum Piece<'a> {
    Text(&'static str),
    Filter(FilterRef<'a>),
    Condition(ConditionRef<'a>),
    Count(u64),
}

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_pieces(f, vec![Piece::Filter(self.view())])
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_pieces(f, vec![Piece::Condition(self.view())])
    }
}

fn write_pieces(f: &mut Formatter<'_>, mut open: Vec<Piece<'_>>) -> fmt::Result {
    while let Some(piece) = open.pop() {
        match piece {
            Piece::Text(text) => f.write_str(text)?,
            Piece::Count(count) => write!(f, "{count}")?,
            Piece::Condition(ConditionRef::Leaf(leaf)) => write!(f, "{leaf}")?,
            Piece::Condition(ConditionRef::Filter(filter)) => {
                open.extend([Piece::Text(")"), Piece::Filter(filter), Piece::Text("(")]);
            }
            Piece::Condition(ConditionRef::Nested(path, filter)) => {
                write!(f, "nested({path}: ")?;
                open.extend([Piece::Text(")"), Piece::Filter(filter)]);
            }
            Piece::Filter(filter) if filter.is_empty() => f.write_str("everything")?,
            Piece::Filter(filter) => {
                let mut pieces = filter_pieces(filter);
                pieces.reverse();
                open.append(&mut pieces);
            }
        }
    }
    Ok(())
}

/// The clauses, joined by `and`.
fn filter_pieces<'a>(filter: FilterRef<'a>) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let join = |pieces: &mut Vec<Piece<'a>>| {
        if !pieces.is_empty() {
            pieces.push(Piece::Text(" and "));
        }
    };
    for condition in filter.must.to_vec() {
        join(&mut pieces);
        pieces.push(Piece::Condition(condition));
    }
    if !filter.should.is_empty() {
        let alone = filter.must.is_empty() && filter.must_not.is_empty() && filter.min_count.is_none();
        let brackets = !alone && filter.should.len() > 1;
        join(&mut pieces);
        pieces.extend(brackets.then_some(Piece::Text("(")));
        push_list(&mut pieces, filter.should, " or ");
        pieces.extend(brackets.then_some(Piece::Text(")")));
    }
    for condition in filter.must_not.to_vec() {
        join(&mut pieces);
        pieces.extend([Piece::Text("not "), Piece::Condition(condition)]);
    }
    if let Some(count) = filter.min_count {
        join(&mut pieces);
        pieces.extend([Piece::Text("at least "), Piece::Count(count), Piece::Text(" of (")]);
        push_list(&mut pieces, filter.min_should, ", ");
        pieces.push(Piece::Text(")"));
    }
    pieces
}

fn push_list<'a>(pieces: &mut Vec<Piece<'a>>, clause: ClauseRef<'a>, between: &'static str) {
    for (at, condition) in clause.to_vec().into_iter().enumerate() {
        pieces.extend((at > 0).then_some(Piece::Text(between)));
        pieces.push(Piece::Condition(condition));
    }
}

impl Display for Leaf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Field { path, test } => write_test(f, path, test),
            Leaf::IsEmpty(path) => write!(f, "is_empty({path})"),
            Leaf::IsNull(path) => write!(f, "is_null({path})"),
            Leaf::Exists(path) => write!(f, "exists({path})"),
            Leaf::HasId(ids) => {
                f.write_str("id in ")?;
                write_list(f, ids)
            }
            Leaf::HasVector(name) => write!(f, "has_vector({})", Quoted(name)),
            Leaf::Slice { total, index } => write!(f, "slice({index} of {total})"),
        }
    }
}

fn write_test(f: &mut Formatter<'_>, path: &dyn Display, test: &Test) -> fmt::Result {
    match test {
        Test::Value(key) => write!(f, "{path} = {key}"),
        Test::Equals(scalars) => match scalars.as_slice() {
            [one] => write!(f, "{path} == {one}"),
            scalars => write!(f, "{path} == one of ").and_then(|()| write_list(f, scalars)),
        },
        Test::Any(keys) => write!(f, "{path} in ").and_then(|()| write_list(f, keys)),
        Test::Except(keys) => write!(f, "{path} not in ").and_then(|()| write_list(f, keys)),
        Test::Text(text) => write!(f, "{path} has all words of {}", Quoted(text)),
        Test::TextAny(text) => write!(f, "{path} has a word of {}", Quoted(text)),
        Test::Phrase(text) => write!(f, "{path} has the phrase {}", Quoted(text)),
        Test::Prefix(text) => write!(f, "{path} begins with {}", Quoted(text)),
        Test::Substring(text) => write!(f, "{path} contains {}", Quoted(text)),
        Test::Range(range) => write_range(f, path, range),
        Test::Bare(range) => write_range(f, &format_args!("number {path}"), range),
        Test::Datetimes(range) => write_range(f, path, range),
        Test::Count(range) => write_range(f, &format_args!("count({path})"), range),
        Test::GeoBox(area) => {
            let (a, b) = (area.top_left, area.bottom_right);
            write!(f, "{path} in box({} {} to {} {})", a.lon, a.lat, b.lon, b.lat)
        }
        Test::GeoRadius(area) => {
            let center = area.center;
            write!(f, "{path} within {} m of {} {}", area.radius_m, center.lon, center.lat)
        }
        Test::GeoPolygon(area) => {
            write!(f, "{path} in polygon({} points, {} holes)", area.exterior.len(), area.interiors.len())
        }
    }
}

fn write_range<T: Display>(f: &mut Formatter<'_>, subject: &dyn Display, range: &Range<T>) -> fmt::Result {
    let bounds = [(">", &range.gt), (">=", &range.gte), ("<", &range.lt), ("<=", &range.lte)];
    let mut any = false;
    for (sign, bound) in bounds {
        let Some(bound) = bound else { continue };
        let and = if any { " and " } else { "" };
        write!(f, "{and}{subject} {sign} {bound}")?;
        any = true;
    }
    if any { Ok(()) } else { write!(f, "{subject} in any range") }
}

fn write_list<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    for (at, item) in items.iter().take(SHOWN_MAX).enumerate() {
        write!(f, "{}{item}", if at == 0 { "[" } else { ", " })?;
    }
    match items.len() {
        0 => f.write_str("[]"),
        shown if shown <= SHOWN_MAX => f.write_str("]"),
        more => write!(f, ", and {} more]", more - SHOWN_MAX),
    }
}

/// Text in quotation marks, cut where it is long.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(CHARS_MAX) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}... ({} bytes)", &self.0[..end], self.0.len()),
        }
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Key::Bool(value) => value.fmt(f),
            Key::I64(value) => value.fmt(f),
            Key::String(text) => Quoted(text).fmt(f),
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Null => f.write_str("null"),
            Scalar::Bool(value) => value.fmt(f),
            Scalar::Number(number) => number.fmt(f),
            Scalar::String(text) => Quoted(text).fmt(f),
        }
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Number::I64(value) => value.fmt(f),
            Number::U64(value) => value.fmt(f),
            Number::F64(value) => write!(f, "{value:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Path;

    fn check(filter: Filter, text: &str) {
        assert_eq!(filter.to_string(), text);
    }

    #[test]
    fn filters_read_well() {
        let field = |name: &str, test| Condition::field(Path::key(name), test);
        let (a, b) = (|| field("a", Test::value(1i64)), || field("b", Test::value("x")));
        check(Filter::new(), "everything");
        check(Filter::all([a(), b()]), "a = 1 and b = \"x\"");
        check(Filter::any([a(), b()]), "a = 1 or b = \"x\"");
        check(Filter::any([a(), b()]).must([a()]), "a = 1 and (a = 1 or b = \"x\")");
        check(Filter::none([Filter::any([a(), b()]).into()]), "not (a = 1 or b = \"x\")");
        check(Filter::new().min_should(2, [a(), b()]), "at least 2 of (a = 1, b = \"x\")");
        check(Condition::nested(Path::key("c"), Filter::all([a()])).into(), "nested(c: a = 1)");
        check(Filter::all([field("a", Test::any(0i64..10))]), "a in [0, 1, 2, 3, 4, 5, 6, 7, and 2 more]");
        check(Filter::all([field("a", Test::Range(Range::between(1i64, 2.5)))]), "a >= 1 and a <= 2.5");
        check(Filter::all([field("n", Test::Count(Range::default()))]), "count(n) in any range");
        check(Filter::all([Condition::has_id([1u64])]), "id in [1]");
        check(Filter::all([field("a", Test::any::<Key>([]))]), "a in []");
        check(
            Filter::all([field("a", Test::Substring("y".repeat(100).into()))]),
            &format!("a contains {:?}... (100 bytes)", "y".repeat(64)),
        );
    }
}
