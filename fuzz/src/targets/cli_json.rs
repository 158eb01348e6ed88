//! JSON from the command line: payload objects and query vectors.

use nearfield::limits::DIMENSION_MAX;
use nearfield_cli::json::{from_object, parse_object, parse_vector};

/// Input: the text; what is not UTF-8 is replaced, for these parsers are handed text.
///
/// What must hold: an object that is accepted is within the limits, and its JSON reads back as the same object, numbers to the
/// bit. A vector that is accepted has a possible dimension and is finite.
pub fn cli_json(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(object) = parse_object(&text) {
        assert_eq!(object.check().map(|_| ()), Ok(()));
        let printed = from_object(&object).to_string();
        let again = parse_object(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        // In words: -0.0 and 0.0 are equal and not the same.
        assert_eq!(format!("{again:?}"), format!("{object:?}"), "{printed}");
    }
    if let Ok(vector) = parse_vector(&text) {
        assert!((1..=DIMENSION_MAX).contains(&vector.len()) && vector.iter().all(|value| value.is_finite()));
    }
}
