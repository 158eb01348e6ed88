//! Growing and sealed stores keep the contract of scorers and agree bit for bit.

use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_ann::conformance::{check_build_scorer, check_scorer};
use nearfield_ann::{BuildScorer, Scorer};
use nearfield_types::Score;

use super::files::seal;
use super::*;
use crate::{CodeBuffer, Prepared, Quantizer, QueryError};

fn scores(codes: &dyn Codes, query: &Prepared, precision: Precision) -> Vec<Score> {
    let mut out = vec![Score::NAN; codes.len() as usize + 2];
    codes.scorer(query, precision).score_run(Slot(0), &mut out).unwrap();
    out
}

/// Everything that must hold of any rows under any codec.
fn check(codec: &Arc<Codec>, rows: &Rows, query: &[f32]) {
    let growing = grow(codec, rows);
    let sealed = seal(codec, rows);
    let prepared = codec.query(query).unwrap();
    let mut code = CodeBuffer::new();
    for precision in PRECISIONS {
        let expected: Vec<Score> = rows
            .iter()
            .map(|row| match row {
                Some(row) => {
                    codec.encode(row, &mut code);
                    codec.score(&prepared, code.row(), precision)
                }
                None => Score::INFINITY,
            })
            .collect();
        for (row, score) in rows.iter().zip(&expected) {
            assert_eq!(row.is_some(), score.is_finite(), "{row:?} scores {score}");
        }
        let known = |slot: Slot| expected.get(slot.index()).copied();
        for codes in [&*growing as &dyn Codes, &sealed] {
            let len = codes.len();
            check_scorer(&mut codes.scorer(&prepared, precision), len, &known).unwrap();
            check_within(codes, &prepared, precision, &expected);
            let mut queries = vec![Prepared::new(); rows.len()];
            for (slot, query) in (0..).map(Slot).zip(&mut queries) {
                if let Some(code) = codes.row(slot) {
                    assert!(codec.prepare_code(code, query));
                }
            }
            let fresh = |slot: Slot| {
                codes.row(slot)?;
                Some(Box::new(codes.scorer(&queries[slot.index()], precision)) as Box<dyn Scorer>)
            };
            check_build_scorer(&mut codes.build_scorer(precision), len, &fresh).unwrap();
        }
    }
    for slot in (0..rows.len() as u32 + 2).map(Slot) {
        assert_eq!(growing.row(slot).is_some(), rows.get(slot.index()).is_some_and(Option::is_some));
        match (growing.row(slot), sealed.row(slot)) {
            (Some(a), Some(b)) => assert!(a.same(&b) && growing.same(slot, slot) && sealed.same(slot, slot)),
            (a, b) => assert!(a.is_none() && b.is_none() && !growing.same(slot, slot)),
        }
    }
}

/// Within a limit, a slot has its score or, where that is above the limit, perhaps infinity.
fn check_within(codes: &dyn Codes, query: &Prepared, precision: Precision, expected: &[Score]) {
    let slots: Vec<Slot> = (0..codes.len() + 2).map(Slot).rev().collect();
    let mut out = vec![Score::NAN; slots.len()];
    for limit in expected.iter().take(5).copied().chain([Score::INFINITY]) {
        let mut scorer = codes.scorer(query, precision);
        scorer.prefetch(&slots);
        scorer.score_within(&slots, limit, &mut out).unwrap();
        for (slot, &found) in slots.iter().zip(&out) {
            let wanted = expected.get(slot.index()).copied().unwrap_or(Score::INFINITY);
            assert!(found.to_bits() == wanted.to_bits() || found == Score::INFINITY, "{found} for {wanted}");
            assert!(limit < Score::INFINITY || found.to_bits() == wanted.to_bits(), "lost without a limit");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_stores_and_call_forms_agree((dim, rows, query) in rows_and_query()) {
        for metric in METRICS {
            for codec in codecs(dim, metric, &rows) {
                check(&codec, &rows, &query);
            }
        }
    }
}

#[test]
fn few_rows_within_the_limit_are_lost() {
    let mut random = Random(4);
    let rows: Rows = (0..4_000).map(|_| Some(random.vector(96))).collect();
    for codec in
        [rotated(96, Metric::Cosine, Some(1), vec![]), rotated(96, Metric::Euclid, Some(1), vec![0.1; 96])]
    {
        let codes = grow(&codec, &rows);
        let slots: Vec<Slot> = (0..4_000).map(Slot).collect();
        let (mut lost, mut spared, mut within) = (0, 0, 0);
        for _ in 0..5 {
            let query = codes.query(&random.vector(96)).unwrap();
            let all = scores(&*codes, &query, Precision::Fine);
            let mut sorted = all.clone();
            sorted.sort_by(f32::total_cmp);
            let limit = sorted[200];
            let mut out = vec![0.0; slots.len()];
            codes.scorer(&query, Precision::Fine).score_within(&slots, limit, &mut out).unwrap();
            for (&score, &found) in all.iter().zip(&out) {
                within += usize::from(score <= limit);
                lost += usize::from(score <= limit && found == Score::INFINITY);
                spared += usize::from(score > limit && found == Score::INFINITY);
            }
        }
        assert!(within >= 1_000 && lost <= 2 && spared > 15_000, "{lost} of {within} lost, {spared} spared");
    }
}

#[test]
fn equal_rows_are_the_same_and_others_are_not() {
    let mut random = Random(8);
    let (a, b) = (random.vector(64), random.vector(64));
    let rows: Rows = vec![Some(a.clone()), None, Some(b), Some(a.clone()), None];
    for metric in METRICS {
        for codec in codecs(64, metric, &rows) {
            let codes = grow(&codec, &rows);
            assert!(codes.same(Slot(0), Slot(3)) && !codes.same(Slot(0), Slot(2)));
            assert!(
                !codes.same(Slot(1), Slot(4))
                    && !codes.same(Slot(1), Slot(1))
                    && !codes.same(Slot(9), Slot(9))
            );
        }
    }
    // A code without its length is not the vector.
    let rows: Rows = vec![Some(a.clone()), Some(a.iter().map(|x| 2.0 * x).collect())];
    let codes = grow(&rotated(64, Metric::Dot, Some(1), vec![]), &rows);
    assert!(!codes.same(Slot(0), Slot(1)));
    let codes = grow(&rotated(64, Metric::Cosine, Some(1), vec![]), &rows);
    assert_eq!(codes.row(Slot(0)).unwrap().high, codes.row(Slot(1)).unwrap().high);
}

#[test]
fn codes_can_be_copied_from_store_to_store() {
    let mut random = Random(5);
    let rows: Rows = (0..50).map(|i| (i % 7 != 0).then(|| random.vector(40))).collect();
    for codec in codecs(40, Metric::Euclid, &rows) {
        let codes = grow(&codec, &rows);
        let (mut writer, copy) = GrowingCodes::create(Arc::clone(&codec));
        assert!(writer.is_empty());
        for slot in (0..50).map(Slot) {
            match codes.row(slot) {
                Some(code) => assert_eq!(writer.push_code(code), Some(slot)),
                None => assert_eq!(writer.push(None), Some(slot)),
            }
        }
        assert_eq!((writer.len(), copy.memory() > 0), (50, true));
        let query = codes.query(&random.vector(40)).unwrap();
        for precision in PRECISIONS {
            assert_eq!(scores(&*copy, &query, precision), scores(&*codes, &query, precision));
        }
    }
}

#[test]
fn bad_queries_are_refused_and_memory_is_reused() {
    for codec in codecs(33, Metric::Cosine, &vec![]) {
        let mut prepared = Prepared::new();
        assert_eq!(
            codec.prepare(&[1.0; 32], &mut prepared),
            Err(QueryError::Dimension { expected: 33, found: 32 })
        );
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut query = [1.0; 33];
            query[30] = bad;
            assert_eq!(codec.prepare(&query, &mut prepared), Err(QueryError::NotFinite { at: 30 }));
        }
        let codes = grow(&codec, &vec![Some(vec![1.0; 33]), Some(Random(1).vector(33))]);
        for seed in 0..3 {
            let query = Random(seed).vector(33);
            codec.prepare(&query, &mut prepared).unwrap();
            let fresh = codec.query(&query).unwrap();
            assert_eq!(scores(&*codes, &prepared, Precision::Fine), scores(&*codes, &fresh, Precision::Fine));
        }
    }
}

#[test]
fn a_build_scorer_sees_later_rows_when_refreshed() {
    for codec in codecs(32, Metric::Dot, &vec![]) {
        let (mut writer, codes) = GrowingCodes::create(Arc::clone(&codec));
        let mut random = Random(2);
        writer.push(Some(&random.vector(32))).unwrap();
        let mut scorer = codes.build_scorer(Precision::Fine);
        writer.push(Some(&random.vector(32))).unwrap();
        let mut out = [0.0; 2];
        scorer.aim(Slot(1));
        scorer.score(&[Slot(0), Slot(1)], &mut out).unwrap();
        assert_eq!(out, [Score::INFINITY; 2]);
        scorer.refresh();
        scorer.aim(Slot(1));
        scorer.score(&[Slot(0), Slot(1)], &mut out).unwrap();
        assert!(out.iter().all(|score| score.is_finite()));
    }
}

#[test]
fn readers_see_whole_codes_while_the_writer_pushes() {
    let codec = rotated(64, Metric::Euclid, Some(1), vec![0.5; 64]);
    let rows: Vec<Vec<f32>> = (0..8).map(|seed| Random(seed).vector(64)).collect();
    let (mut writer, codes) = GrowingCodes::create(Arc::clone(&codec));
    let query = codes.query(&rows[3]).unwrap();
    let expected: Vec<Score> = {
        let mut code = CodeBuffer::new();
        let score = |row: &Vec<f32>| {
            codec.encode(row, &mut code);
            codec.score(&query, code.row(), Precision::Fine)
        };
        rows.iter().map(score).collect()
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for (slot, &score) in scores(&*codes, &query, Precision::Fine).iter().enumerate() {
                        assert!(score == Score::INFINITY || score == expected[slot % 8]);
                    }
                }
            });
        }
        for slot in 0..3_000 {
            writer.push(Some(&rows[slot % 8])).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
#[should_panic(expected = "prepared for these codes")]
fn a_query_of_another_dimension_is_a_bug() {
    let codes = grow(&rotated(64, Metric::Dot, None, vec![]), &vec![]);
    let other = rotated(128, Metric::Dot, None, vec![]).query(&[1.0; 128]).unwrap();
    codes.scorer(&other, Precision::Coarse);
}
