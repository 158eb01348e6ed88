//! Searches for more results than the engine gives at once: every record is scored here, page by page.
//!
//! Slow and exact. Nobody needs it but programs that ask for everything in order of distance.

use nearfield::{Metric, PointId, View, With, limits};

use crate::failure::{Failure, check_signals};
use crate::searching::{Ask, Found, Metadata, cut};

/// The nearest records, by a look at all of them.
pub(crate) fn search(view: &View, vector: &[f32], ask: &Ask) -> Result<Vec<Found>, Failure> {
    let mut hits: Vec<Found> = Vec::new();
    let mut after: Option<PointId> = None;
    loop {
        check_signals()?;
        let page = match &ask.filter {
            Some(filter) => view.scroll_passing(filter, after.as_ref(), limits::LIMIT_MAX, With::ALL)?,
            None => view.scroll(after.as_ref(), limits::LIMIT_MAX, With::ALL)?,
        };
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for record in page {
            let Some((_, row)) = record.vectors.into_iter().flatten().next() else { continue };
            let distance = distance(ask.metric, vector, &row);
            let metadata = Metadata::Whole(record.payload.unwrap_or_default());
            hits.push(Found { id: record.id, distance, metadata });
        }
    }
    hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
    hits.truncate(ask.k);
    cut(&mut hits, ask.max_distance);
    Ok(hits)
}

/// The engine's distance, computed in double precision.
fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
    let norm = |vector: &[f32]| vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let distance = match metric {
        Metric::Cosine => match norm(a) * norm(b) {
            0.0 => 1.0,
            scale => 1.0 - dot() / scale,
        },
        Metric::Dot => -dot(),
        Metric::Euclid => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Manhattan => pairs().map(|(a, b)| (a - b).abs()).sum(),
    };
    distance as f32
}
