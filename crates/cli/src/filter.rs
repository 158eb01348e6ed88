//! Filters as they are typed: one JSON object in the form of the Qdrant API.
//!
//! **It refuses** any other form, and to read files.

use nearfield::filter::{Filter, qdrant};

use crate::failure::{Failure, Outcome};
use crate::json::parse_object;

/// The value of `--filter`, if it was given.
pub(crate) fn typed(text: Option<&str>) -> Outcome<Option<Filter>> {
    text.map(parse).transpose()
}

fn parse(text: &str) -> Outcome<Filter> {
    let object = parse_object(text).map_err(|error| Failure::invalid(format!("--filter, {error}")));
    let filter = object.and_then(|object| {
        qdrant::parse(&object).map_err(|error| Failure::invalid(format!("--filter, {error}")))
    });
    let example = r#"write it as --filter '{"must": {"key": "pos", "match": {"value": "noun"}}}'"#;
    filter.map_err(|failure| failure.advise(example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_of_one_form() {
        assert_eq!(typed(None).unwrap(), None);
        assert_eq!(typed(Some("{}")).unwrap(), Some(Filter::new()));
        for (text, part) in [("[]", "--filter, "), ("{\"mast\": []}", "mast"), ("{", "column")] {
            let failure = typed(Some(text)).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
            assert!(failure.advice().is_some_and(|advice| advice.contains("must")));
        }
    }
}
