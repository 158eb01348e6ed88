//! How near estimates are: never farther than the code itself is from the vector, and on the whole as near as stated.

use nearfield_ann::{BuildScorer, Scorer};
use nearfield_types::Score;

use super::*;
use crate::{CodeBuffer, Prepared, Quantizer};

/// What is left of a score when the code of a row is known exactly: the score may err by no more than the code does.
fn check_row(codec: &Codec, row: &[f32], query: &[f32]) {
    let metric = codec.metric();
    let mut code = CodeBuffer::new();
    codec.encode(row, &mut code);
    let prepared = codec.query(query).unwrap();
    let wanted = naive(metric, query, row);
    // |<x - x', y>| is at most |x| |y| for a code that is at most as far off as its vector is long, and 4 bits are much nearer.
    let lengths = match metric {
        Metric::Cosine => 1.0,
        Metric::Dot => norm(row) * norm(query),
        Metric::Euclid | Metric::Manhattan => norm(row).powi(2) + norm(query).powi(2),
    };
    for (precision, share) in [(Precision::Coarse, 2.0), (Precision::Fine, 0.5)] {
        let found = f64::from(codec.score(&prepared, code.row(), precision));
        let most = f64::from(f32::MAX);
        let error = (found - wanted.clamp(-most, most)).abs();
        // A product of two tiny numbers is no f32.
        assert!(
            error <= share * lengths + 1e-37,
            "{metric} {precision:?}: {found} for {wanted}, {row:?} {query:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_vector_is_far_off((dim, rows, query) in rows_and_query()) {
        for metric in METRICS {
            for row in rows.iter().flatten() {
                check_row(&rotated(dim, metric, Some(2), vec![]), row, &query);
            }
        }
    }
}

struct Errors {
    /// Root of the mean square, found and stated.
    found: f64,
    stated: f64,
    bias: f64,
    /// As `found`, with a stored vector as query.
    aimed: f64,
    /// The share within the stated bound.
    within: f64,
}

fn errors(codec: &Arc<Codec>, rows: &Rows, query: &[f32], precision: Precision) -> Errors {
    let codes = grow(codec, rows);
    let prepared = codes.query(query).unwrap();
    let mut out = vec![0.0; rows.len()];
    codes.scorer(&prepared, precision).score_run(Slot(0), &mut out).unwrap();
    let count = rows.len() as f64;
    let of = |query: &[f32], scores: &[Score]| -> Vec<f64> {
        let rows = rows.iter().map(|row| naive(codec.metric(), query, row.as_deref().unwrap()));
        scores.iter().zip(rows).map(|(&score, wanted)| f64::from(score) - wanted).collect()
    };
    let bounds: Vec<f64> = (0..rows.len() as u32)
        .map(|slot| codes.error_bound(&prepared, Slot(slot), precision).into())
        .collect();
    let found = of(query, &out);
    let mut build = codes.build_scorer(precision);
    build.aim(Slot(5));
    build.score_run(Slot(0), &mut out).unwrap();
    let aimed = of(rows[5].as_deref().unwrap(), &out);
    let root = |errors: &[f64]| (errors.iter().map(|error| error * error).sum::<f64>() / count).sqrt();
    Errors {
        found: root(&found),
        stated: bounds.iter().sum::<f64>() / count / 1.9,
        bias: found.iter().sum::<f64>() / count,
        aimed: root(&aimed),
        within: found.iter().zip(&bounds).filter(|(error, bound)| error.abs() <= **bound).count() as f64
            / count,
    }
}

fn check_stated(codec: &Arc<Codec>, rows: &Rows, query: &[f32]) {
    for precision in PRECISIONS {
        let found = errors(codec, rows, query, precision);
        let Errors { found, stated, bias, aimed, within } = found;
        let name = format!("{:?} {precision:?}", codec.config().metric());
        assert!(found < 1.3 * stated && found > 0.4 * stated, "{name}: error {found}, stated {stated}");
        assert!(bias.abs() < 0.6 * stated, "{name}: bias {bias} of {stated}");
        assert!(within > 0.9, "{name}: {within} within the bound");
        assert!(aimed < 3.0 * stated, "{name}: aimed {aimed}, stated {stated}");
    }
}

#[test]
fn errors_are_as_stated() {
    for dim in [32, 100, 384] {
        for shift in [0.0, 2.0] {
            let mut random = Random(dim as u64);
            let mut vector = || random.vector(dim).iter().map(|x| x + shift).collect::<Vec<f32>>();
            let rows: Rows = (0..1_000).map(|_| Some(vector())).collect();
            let query = vector();
            for metric in METRICS {
                let length = if metric == Metric::Cosine { (dim as f32).sqrt() * 5.0f32.sqrt() } else { 1.0 };
                let mean = vec![shift / length; dim];
                check_stated(&rotated(dim, metric, Some(1), vec![]), &rows, &query);
                check_stated(&rotated(dim, metric, Some(1), mean), &rows, &query);
            }
        }
    }
}

#[test]
fn a_mean_makes_errors_smaller_where_vectors_have_much_in_common() {
    let mut random = Random(1);
    let rows: Rows = (0..500).map(|_| Some(random.vector(128).iter().map(|x| x + 2.0).collect())).collect();
    let query: Vec<f32> = random.vector(128).iter().map(|x| x + 2.0).collect();
    for metric in METRICS {
        let mean = vec![if metric == Metric::Cosine { 2.0 / 640.0f32.sqrt() } else { 2.0 }; 128];
        let plain = errors(&rotated(128, metric, Some(1), vec![]), &rows, &query, Precision::Coarse).found;
        let centred = errors(&rotated(128, metric, Some(1), mean), &rows, &query, Precision::Coarse).found;
        assert!(centred < 0.35 * plain, "{metric}: {centred} after {plain}");
    }
}

/// What a rotation is for: without it, one large value takes the whole range.
#[test]
fn outlier_dimensions_do_not_matter_with_a_rotation() {
    let mut random = Random(6);
    let mut outlier = || {
        let mut row = random.vector(384);
        row[17] *= 40.0;
        row
    };
    let rows: Rows = (0..500).map(|_| Some(outlier())).collect();
    let query = outlier();
    let codec = rotated(384, Metric::Cosine, Some(1), vec![]);
    assert!(errors(&codec, &rows, &query, Precision::Coarse).found < 0.008);
    assert!(errors(&codec, &rows, &query, Precision::Fine).found < 0.0012);
}

#[test]
fn scalar_codes_err_as_their_sample_says() {
    let mut random = Random(12);
    let rows: Rows = (0..1_000).map(|_| Some(random.vector(96))).collect();
    let query = random.vector(96);
    for metric in METRICS {
        for quantile in [0.99, 1.0] {
            let codec = scalar(96, metric, quantile, &rows);
            let Errors { found, stated, .. } = errors(&codec, &rows, &query, Precision::Coarse);
            assert!(
                found < 2.0 * stated && found > 0.3 * stated,
                "{metric} {quantile}: {found}, stated {stated}"
            );
        }
    }
}

#[test]
fn zero_vectors_and_zero_queries_are_at_cosine_distance_one() {
    let rows: Rows = vec![Some(vec![0.0; 64]), Some(Random(1).vector(64)), Some(vec![1e-45; 64])];
    let zero = vec![0.0; 64];
    for codec in [rotated(64, Metric::Cosine, Some(1), vec![]), rotated(64, Metric::Cosine, None, vec![])] {
        let codes = grow(&codec, &rows);
        for precision in PRECISIONS {
            let score = |query: &Prepared, slot| {
                let mut out = [0.0];
                codes.scorer(query, precision).score(&[Slot(slot)], &mut out).unwrap();
                out[0]
            };
            let any = codes.query(&Random(2).vector(64)).unwrap();
            assert_eq!(score(&any, 0), 1.0);
            let nothing = codes.query(&zero).unwrap();
            assert_eq!([0, 1, 2].map(|slot| score(&nothing, slot)), [1.0; 3]);
            let tiny = codes.query(&[1e-40; 64]).unwrap();
            assert!(score(&tiny, 2).abs() < 0.1, "{}", score(&tiny, 2));
        }
    }
    // A codec with a mean estimates what is exact without.
    let codec = rotated(64, Metric::Cosine, Some(1), vec![0.05; 64]);
    let codes = grow(&codec, &rows);
    let mut out = [0.0; 3];
    codes.scorer(&codes.query(&zero).unwrap(), Precision::Fine).score_run(Slot(0), &mut out).unwrap();
    assert!(out.iter().all(|score| (score - 1.0).abs() < 0.01), "{out:?}");
}

#[test]
fn every_metric_is_the_engines() {
    let (a, b) = (Random(1).vector(384), Random(2).vector(384));
    let rows: Rows = vec![Some(a.clone()), Some(b.clone())];
    for metric in METRICS {
        for codec in codecs(384, metric, &rows) {
            let codes = grow(&codec, &rows);
            let query = codes.query(&a).unwrap();
            let mut out = [0.0; 2];
            codes.scorer(&query, Precision::Fine).score_run(Slot(0), &mut out).unwrap();
            for (row, found) in [&a, &b].into_iter().zip(out) {
                let wanted = naive(metric, &a, row);
                let scale = if metric == Metric::Cosine { 1.0 } else { 384.0 };
                assert!((f64::from(found) - wanted).abs() < 0.03 * scale, "{metric}: {found} for {wanted}");
            }
        }
    }
}
