//! Whether a collection answers as what it holds demands: count, get, and exact search against brute force.

use nearfield::{Collection, Hit, Metric, PointId, Query, With};
use nearfield_platform::{Entropy, SeededEntropy};

use crate::model::Contents;
use crate::workload::vector;

/// By how much a cosine may differ from the oracle's: both round, in different orders. The other metrics are exact here, for
/// vectors hold small whole numbers.
const COSINE_TOLERANCE: f64 = 1e-5;

/// Asks a collection in every way. `ids` are known ids, there or not.
///
/// # Errors
///
/// The first answer that is not what `contents` demand.
pub fn check(
    collection: &Collection,
    contents: &Contents,
    ids: &[PointId],
    random: &SeededEntropy,
) -> Result<(), String> {
    let count = collection.count().map_err(|e| format!("count: {e}"))?;
    if count != contents.points.len() as u64 {
        return Err(format!("count is {count}, expected {}", contents.points.len()));
    }
    let stats = collection.stats().map_err(|e| format!("stats: {e}"))?;
    if stats.points != count {
        return Err(format!("stats count {} points, expected {count}", stats.points));
    }
    let records = collection.get(ids, With::ALL).map_err(|e| format!("get: {e}"))?;
    for (id, record) in ids.iter().zip(records) {
        let expected = contents.points.get(id);
        let same = match (&record, expected) {
            (None, None) => true,
            (Some(record), Some(entry)) => {
                let (vectors, payload) = (record.vectors.as_ref(), record.payload.as_ref());
                record.id == *id && vectors == Some(&entry.vectors) && payload == Some(&entry.payload)
            }
            _ => false,
        };
        if !same {
            return Err(format!("get of {id} gives {record:?}, expected {expected:?}"));
        }
    }
    for (name, config) in contents.config.vectors() {
        let asked = vector(config.dim as usize, random);
        let limit = 1 + random.below(contents.points.len() as u64 + 3) as usize;
        let hits =
            collection.search(&Query::new(&asked, limit).using(name)).map_err(|e| format!("search: {e}"))?;
        let scored = brute_force(contents, name, config.metric, &asked);
        judge(&hits, &scored, limit, config.metric)
            .map_err(|why| format!("search {name:?} of {asked:?}: {why}"))?;
    }
    Ok(())
}

/// All points that have the vector, nearest first, ties by id.
fn brute_force<'a>(
    contents: &'a Contents,
    name: &str,
    metric: Metric,
    asked: &[f32],
) -> Vec<(f64, &'a PointId)> {
    let points = contents.points.iter().filter_map(|(id, entry)| {
        let (_, stored) = entry.vectors.iter().find(|(other, _)| other == name)?;
        Some((distance(metric, asked, stored), id))
    });
    let mut scored: Vec<_> = points.collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    scored
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
    let norm = |of: &[f32]| of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    match metric {
        // Not the negative zero, which the order of all numbers tells from the other.
        Metric::Dot => 0.0 - dot(),
        Metric::Euclid => pairs().map(|(a, b)| (a - b).powi(2)).sum(),
        Metric::Manhattan => pairs().map(|(a, b)| (a - b).abs()).sum(),
        Metric::Cosine => match norm(a) * norm(b) {
            0.0 => 1.0,
            norms => 1.0 - dot() / norms,
        },
    }
}

fn judge(hits: &[Hit], scored: &[(f64, &PointId)], limit: usize, metric: Metric) -> Result<(), String> {
    let expected = scored.len().min(limit);
    if hits.len() != expected {
        return Err(format!("{} hits, expected {expected}", hits.len()));
    }
    for (at, (hit, (distance, id))) in hits.iter().zip(scored).enumerate() {
        let found = f64::from(hit.distance);
        if metric != Metric::Cosine {
            // -0.0 and 0.0 are one distance.
            if hit.id != **id || found != *distance {
                return Err(format!("hit {at} is {} at {found}, expected {id} at {distance}", hit.id));
            }
            continue;
        }
        // Near ties may stand either way round, but what stands there must be as near as it says.
        let own = scored.iter().find(|(_, id)| **id == hit.id).map(|(own, _)| *own);
        let near = |a: f64, b: f64| (a - b).abs() <= COSINE_TOLERANCE;
        if !own.is_some_and(|own| near(own, found)) || !near(found, *distance) {
            return Err(format!("hit {at} is {} at {found}, expected {id} at {distance}", hit.id));
        }
    }
    let ordered = |pair: &[Hit]| {
        pair[0].distance < pair[1].distance || pair[0].distance == pair[1].distance && pair[0].id < pair[1].id
    };
    match hits.windows(2).position(|pair| !ordered(pair)) {
        Some(at) => Err(format!("hits {at} and {} are out of order", at + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: u64, distance: f32) -> Hit {
        Hit { id: id.into(), distance, payload: None, vectors: None }
    }

    #[test]
    fn wrong_hits_are_noticed() {
        let ids: Vec<PointId> = (1..4).map(PointId::from).collect();
        let scored: Vec<(f64, &PointId)> = [1.0, 1.0, 2.0].into_iter().zip(&ids).collect();
        let ask = |hits: &[Hit], limit| judge(hits, &scored, limit, Metric::Euclid);
        assert_eq!(ask(&[hit(1, 1.0), hit(2, 1.0)], 2), Ok(()));
        assert!(ask(&[hit(2, 1.0), hit(1, 1.0)], 2).is_err(), "ties break by id");
        assert!(ask(&[hit(1, 1.0)], 2).is_err());
        assert!(ask(&[hit(1, 1.0), hit(3, 2.0)], 2).is_err());
        let cosine = |hits: &[Hit]| judge(hits, &scored, 2, Metric::Cosine);
        assert_eq!(cosine(&[hit(2, 0.999_999), hit(1, 1.0)]), Ok(()), "rounding may turn near ties round");
        assert!(cosine(&[hit(2, 1.0), hit(1, 1.0)]).is_err());
        assert!(cosine(&[hit(1, 1.0), hit(3, 1.0)]).is_err(), "a hit must be as near as it says");
    }

    #[test]
    fn distances_are_those_of_the_metrics() {
        let (a, b) = ([3.0, 4.0], [4.0, 3.0]);
        let all = Metric::ALL.map(|metric| distance(metric, &a, &b));
        assert_eq!(all[1..], [-24.0, 2.0, 2.0]);
        assert!((all[0] - 0.04).abs() < 1e-12);
        assert_eq!(distance(Metric::Cosine, &a, &[0.0, 0.0]), 1.0);
    }
}
