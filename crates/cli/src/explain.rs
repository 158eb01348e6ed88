//! `nearfield search --explain`: how each segment was searched, and which index would help.
//!
//! It refuses to interpret: it shows what the library says.

use nearfield::{Explanation, Plan, SegmentExplanation};
use serde_json::{Value as Json, json};

use crate::failure::Outcome;
use crate::output::{Screen, clean, thousands};

/// Shows the plan of each segment as a table.
pub(crate) fn table(screen: &Screen, explanation: &Explanation) -> Outcome<()> {
    let headings =
        ["segment", "rows", "plan", "expected to pass", "may pass", "read", "pass", "scored", "hops"];
    let rows = explanation.segments.iter().map(row).collect();
    screen.say("")?;
    screen.table(&headings, &[0, 1, 3, 4, 5, 6, 7, 8], rows)?;
    for field in explanation.unindexed() {
        let field = clean(&field.to_string());
        screen.say(&screen.dim(&format!(
            "  no index answers for {field}: payloads were read instead. `nearfield index DB COLLECTION create {field} KIND` makes one"
        )))?;
    }
    Ok(())
}

fn row(segment: &SegmentExplanation) -> Vec<String> {
    let work = &segment.work;
    let estimate = &work.estimate;
    let expected = match estimate.low == estimate.high {
        true => thousands(estimate.likely),
        false => format!(
            "{} ({} to {})",
            thousands(estimate.likely),
            thousands(estimate.low),
            thousands(estimate.high)
        ),
    };
    vec![
        segment.number.map_or("memory".to_owned(), |number| number.to_string()),
        thousands(segment.rows.into()),
        work.plan.to_string(),
        expected,
        thousands(work.candidates),
        thousands(read_most(segment)),
        thousands(segment.passing),
        thousands(work.stats.distances),
        thousands(work.stats.hops),
    ]
}

/// Payloads that a scan has to read, or may be read by a walk.
fn read_most(segment: &SegmentExplanation) -> u64 {
    match segment.work.plan {
        Plan::Walk => segment.work.in_doubt.min(segment.work.stats.tested),
        _ => segment.work.in_doubt,
    }
}

/// The same for scripts.
pub(crate) fn json(explanation: &Explanation) -> Json {
    let segment = |segment: &SegmentExplanation| {
        let work = &segment.work;
        json!({
            "segment": segment.number,
            "rows": segment.rows,
            "plan": work.plan.to_string(),
            "estimate": {"low": work.estimate.low, "likely": work.estimate.likely, "high": work.estimate.high},
            "candidates": work.candidates,
            "in_doubt": work.in_doubt,
            "passing": segment.passing,
            "distances": work.stats.distances,
            "hops": work.stats.hops,
            "tested": work.stats.tested,
            "admitted": work.stats.admitted,
        })
    };
    let segments: Json = explanation.segments.iter().map(segment).collect();
    let unindexed: Vec<String> = explanation.unindexed().iter().map(ToString::to_string).collect();
    json!({"segments": segments, "unindexed": unindexed})
}
