//! The payload indexes that would answer a filter.
//!
//! It refuses to look at data: a filter says what is asked of a field, and that is enough to choose a kind.

use nearfield_collection::FieldKind;

use nearfield_types::limits::FIELD_INDEXES_MAX;

use super::{ConditionRef, Filter, Key, Leaf, Path, Scalar, Test};

/// For each field that `filter` asks about the kind of index that answers it, in the order of the filter; the first question to a field
/// decides. Conditions inside `nested` are left out, and so is what comes after as many fields as may have an index. O(conditions).
///
/// ```
/// use nearfield::FieldKind;
/// use nearfield::filter::{Condition, Filter, Path, Range, Test, suggested_indexes};
///
/// let year = Path::parse("year")?;
/// let filter = Filter::new().must([Condition::field(year.clone(), Test::Range(Range::at_least(2_020)))]);
/// assert_eq!(suggested_indexes(&filter), [(year, FieldKind::Float)]);
/// # Ok::<(), nearfield::filter::PathError>(())
/// ```
pub fn suggested_indexes(filter: &Filter) -> Vec<(Path, FieldKind)> {
    let mut found: Vec<(&Path, FieldKind)> = Vec::new();
    let mut open = vec![filter.view()];
    while let Some(filter) = open.pop() {
        for condition in filter.clauses().into_iter().flat_map(|clause| clause.to_vec()) {
            match condition {
                ConditionRef::Filter(inner) => open.push(inner),
                ConditionRef::Nested(..) => {}
                ConditionRef::Leaf(leaf) => {
                    // So few that looking through them costs less than a set of them.
                    let has_room = found.len() < FIELD_INDEXES_MAX;
                    let is_new = |path: &Path| has_room && found.iter().all(|(known, _)| *known != path);
                    let asked = suggested(leaf).filter(|(path, _)| is_new(path));
                    found.extend(asked);
                }
            }
        }
    }
    found.into_iter().map(|(path, kind)| (path.clone(), kind)).collect()
}

fn suggested(leaf: &Leaf) -> Option<(&Path, FieldKind)> {
    match leaf {
        Leaf::Field { path, test } => Some((path, kind_for(test)?)),
        // Every kind knows these.
        Leaf::IsEmpty(path) | Leaf::IsNull(path) | Leaf::Exists(path) => Some((path, FieldKind::Keyword)),
        Leaf::HasId(_) | Leaf::HasVector(_) | Leaf::Slice { .. } => None,
    }
}

fn kind_for(test: &Test) -> Option<FieldKind> {
    let of_key = |key: &Key| match key {
        Key::Bool(_) => FieldKind::Bool,
        Key::I64(_) => FieldKind::Integer,
        Key::String(_) => FieldKind::Keyword,
    };
    let of_scalar = |scalar: &Scalar| match scalar {
        Scalar::Null => None,
        Scalar::Bool(_) => Some(FieldKind::Bool),
        Scalar::Number(_) => Some(FieldKind::Float),
        Scalar::String(_) => Some(FieldKind::Keyword),
    };
    match test {
        Test::Value(key) => Some(of_key(key)),
        Test::Any(keys) | Test::Except(keys) => keys.first().map(of_key),
        Test::Equals(scalars) => Some(scalars.iter().find_map(of_scalar).unwrap_or(FieldKind::Keyword)),
        Test::Prefix(_) | Test::Substring(_) => Some(FieldKind::Keyword),
        Test::Text(_) | Test::TextAny(_) | Test::Phrase(_) => Some(FieldKind::Text),
        // Integers are numbers too.
        Test::Range(_) | Test::Bare(_) => Some(FieldKind::Float),
        Test::Datetimes(_) => Some(FieldKind::Datetime),
        Test::GeoBox(_) | Test::GeoRadius(_) | Test::GeoPolygon(_) => Some(FieldKind::Geo),
        Test::Count(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Condition, Range};

    #[test]
    fn each_field_is_suggested_once_and_nothing_is_where_no_index_helps() {
        let path = |text: &str| Path::parse(text).unwrap();
        let word = |field: &str| Condition::field(path(field), Test::Value(Key::from("x")));
        let inner = Filter::any([word("b"), Condition::field(path("c"), Test::Range(Range::at_least(1)))]);
        let filter = Filter::new().must([word("a"), inner.into()]).must_not([
            word("a"),
            Condition::exists(path("d")),
            Condition::field(path("e"), Test::Count(Range::default())),
        ]);
        let kinds: Vec<(String, FieldKind)> =
            suggested_indexes(&filter).into_iter().map(|(path, kind)| (path.to_string(), kind)).collect();
        let expected = [
            ("a", FieldKind::Keyword),
            ("d", FieldKind::Keyword),
            ("b", FieldKind::Keyword),
            ("c", FieldKind::Float),
        ];
        let mut kinds: Vec<(&str, FieldKind)> =
            kinds.iter().map(|(path, kind)| (path.as_str(), *kind)).collect();
        kinds.sort_by_key(|(path, _)| expected.iter().position(|(known, _)| known == path));
        assert_eq!(kinds, expected);
    }
}
