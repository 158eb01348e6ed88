//! The data that is part of the binary: 2,000 WordNet texts with vectors, 100 queries and their exact answers.
//!
//! **It refuses** to read files: `nearfield demo` works wherever the binary does. Source and licence: `sample/README.md`.
//!
//! # Invariants
//!
//! 1. Row i of [`VECTORS`] and line i of [`PAYLOAD`] are one point; its id is the field [`ID_FIELD`].
//! 2. No two neighbours among the first eleven answers of a query are nearer to each other than float32 can tell, so recall 1.000 is
//!    well defined.

use std::io::Cursor;

use nearfield::Metric;
use serde_json::Value as Json;

use crate::npy;

/// `float16 (2000, 384)` as a `.npy` file.
pub const VECTORS: &[u8] = include_bytes!("../sample/base.f16.npy");
/// One JSON object a line for each row of [`VECTORS`].
pub const PAYLOAD: &str = include_str!("../sample/payload.jsonl");
/// The payload field that holds the id.
pub const ID_FIELD: &str = "id";
/// The metric of the answers.
pub const METRIC: Metric = Metric::Cosine;

const QUERY_VECTORS: &[u8] = include_bytes!("../sample/queries.npy");
const QUERY_TEXTS: &str = include_str!("../sample/queries.jsonl");
const ANSWERS: &str = include_str!("../sample/answers.jsonl");

/// One query of the sample.
#[derive(Clone, Debug)]
pub struct SampleQuery {
    /// Its vector, 384 components.
    pub vector: Vec<f32>,
    /// The text it is the embedding of.
    pub text: String,
    /// The ids of its ten nearest points, nearest first.
    pub answers: Vec<u64>,
    /// Their cosine similarities, computed in float64.
    pub scores: Vec<f64>,
}

/// The 100 queries in their order.
///
/// # Panics
///
/// Never: a test reads all of it, and it is part of the binary.
pub fn queries() -> Vec<SampleQuery> {
    let mut vectors =
        npy::Reader::new(Cursor::new(QUERY_VECTORS)).expect("the sample's header was checked by a test");
    let parse =
        |line: &str| serde_json::from_str::<Json>(line).expect("the sample's lines were checked by a test");
    let texts = QUERY_TEXTS.lines().zip(ANSWERS.lines());
    texts
        .map(|(query, answer)| {
            let (query, answer) = (parse(query), parse(answer));
            let vector = vectors.next_row().expect("the sample's vectors were checked by a test");
            SampleQuery {
                vector: vector.expect("there are as many vectors as texts"),
                text: query["text"].as_str().unwrap_or_default().to_owned(),
                answers: numbers(&answer, "ids").into_iter().map(|id| id as u64).collect(),
                scores: numbers(&answer, "scores"),
            }
        })
        .collect()
}

fn numbers(answer: &Json, field: &str) -> Vec<f64> {
    answer[field].as_array().into_iter().flatten().filter_map(Json::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::json;

    fn base() -> Vec<Vec<f32>> {
        let mut reader = npy::Reader::new(Cursor::new(VECTORS)).unwrap();
        std::iter::from_fn(|| reader.next_row().unwrap()).collect()
    }

    #[test]
    fn every_row_has_a_payload_and_an_id_of_its_own() {
        let ids: Vec<u64> = PAYLOAD
            .lines()
            .map(|line| match json::parse_object(line).unwrap().get(ID_FIELD) {
                Some(&nearfield::Value::I64(id)) => id as u64,
                other => panic!("id {other:?}"),
            })
            .collect();
        assert_eq!(ids, (0..2_000).map(|row| row * 58).collect::<Vec<u64>>());
        assert_eq!(base().len(), ids.len());
    }

    #[test]
    fn answers_are_the_nearest_by_brute_force_in_float64_and_well_apart() {
        let unit = |row: &Vec<f32>| {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.into_iter().map(|x| x / norm).collect::<Vec<f64>>()
        };
        let base: Vec<Vec<f64>> = base().iter().map(unit).collect();
        let queries = queries();
        assert_eq!(queries.len(), 100);
        for query in &queries {
            let vector = unit(&query.vector);
            let dot = |row: &Vec<f64>| row.iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>();
            let mut scored: Vec<(f64, u64)> = base.iter().map(dot).zip((0..).map(|row| row * 58)).collect();
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            let nearest: Vec<u64> = scored[..10].iter().map(|&(_, id)| id).collect();
            assert_eq!(query.answers, nearest);
            for ((score, _), stored) in scored.iter().zip(&query.scores) {
                assert!((score - stored).abs() < 1e-9);
            }
            assert!(scored[..11].windows(2).all(|pair| pair[0].0 - pair[1].0 > 1e-6));
            assert!(scored[9].0 - scored[10].0 > 1e-5);
        }
        let texts: HashMap<&str, usize> = queries.iter().map(|query| (query.text.as_str(), 1)).collect();
        assert_eq!(texts.len(), 100);
        assert!(!texts.contains_key(""));
    }
}
