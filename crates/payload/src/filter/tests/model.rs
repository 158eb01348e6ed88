//! Random documents and trees: the engine and the naive one agree, and opposites are opposite.

use proptest::prelude::*;

use super::generate::{VECTORS, document, filter, id};
use super::{ask, naive};
use crate::filter::{Condition, Filter};

/// More in long runs: `NEARFIELD_MODEL_CASES=200000`.
fn cases() -> u32 {
    std::env::var("NEARFIELD_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn engine_and_naive_agree(
        filter in filter(),
        document in document(),
        id in id(),
        vectors in proptest::sample::subsequence(VECTORS, 0..=VECTORS.len()),
    ) {
        let outer = Some((&id, &vectors[..]));
        let expected = naive::matches(filter.view(), naive::Point { object: &document, outer });
        prop_assert_eq!(ask(&filter, &document, &id, &vectors), expected, "{} on {:?}", filter, document);
        // The whole tree as a condition, and its opposite.
        let inside: Condition = filter.clone().into();
        prop_assert_eq!(ask(&Filter::all([inside.clone()]), &document, &id, &vectors), expected);
        prop_assert_eq!(ask(&Filter::none([inside.clone()]), &document, &id, &vectors), !expected);
        prop_assert_eq!(ask(&(!!inside).into(), &document, &id, &vectors), expected);
        // A view made its own is the same tree.
        prop_assert_eq!(filter.view().to_filter(), filter);
    }
}
