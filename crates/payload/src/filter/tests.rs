//! The engine of filters against a naive one, against another database's answers, and against hostile trees.

mod generate;
mod hostile;
mod model;
mod naive;
mod semantics;

use nearfield_types::{Object, PointId};

use super::{Filter, Matcher};
use crate::{RowRef, Scratch, encode_into};

/// Asks the engine about one document.
fn ask(filter: &Filter, object: &Object, id: &PointId, vectors: &[&str]) -> bool {
    let matcher = Matcher::new(filter).expect("a filter within the limits");
    let mut scratch = Scratch::default();
    let row = RowRef::new(encode_into(object, &mut scratch).unwrap()).unwrap();
    let matches = matcher.matches(row, id, |name| vectors.contains(&name)).unwrap();
    assert!(matcher.constant().is_none_or(|constant| constant == matches), "{filter}");
    matches
}
