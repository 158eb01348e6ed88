//! Recall against rate over the breadth of the walk.

use std::time::{Duration, Instant};

use nearfield::{Breadth, Index};
use serde_json::{Value, json};

use super::set::Set;
use crate::Result;
use crate::disk::median;
use crate::report::Report;

pub(crate) const LIMIT: usize = 10;

/// The recalls whose rates are figures.
const TARGETS: [f64; 2] = [0.95, 0.99];

/// What is measured and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// The breadths, ascending.
    pub(crate) efs: &'static [u32],
    /// Timed passes over all queries for each, of which the median counts.
    pub(crate) passes: usize,
    /// How long a pass of two threads, and one of one thread in turn with it, lasts at least.
    pub(crate) long_pass_s: f64,
    pub(crate) long_passes: usize,
}

const FULL: Load = Load {
    efs: &[10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512],
    passes: 7,
    long_pass_s: 5.0,
    long_passes: 5,
};

/// What one breadth gives.
#[derive(Clone, Copy, Debug)]
struct Step {
    ef: u32,
    recall: f64,
    /// Queries a second in calls of all of them, one thread and two.
    one: f64,
    two: f64,
    /// Microseconds of a query that is a call of its own.
    single_us: f64,
    hops: f64,
    distances: f64,
}

/// Buffers of one call for all queries.
struct Answers {
    ids: Vec<u64>,
    distances: Vec<f32>,
}

/// Measures everything.
pub(crate) fn run(index: &Index, set: &Set, report: &mut Report) -> Result {
    measure(index, set, FULL, report)
}

/// Measures with this load.
pub(crate) fn measure(index: &Index, set: &Set, load: Load, report: &mut Report) -> Result {
    let mut answers =
        Answers { ids: vec![0; set.queries.rows * LIMIT], distances: vec![0.0; set.queries.rows * LIMIT] };
    let mut steps = Vec::new();
    println!("    ef  recall@{LIMIT}  one thread   two threads   one query a call      hops   distances");
    for ef in load.efs {
        let step = step(index, set, *ef, load.passes, &mut answers)?;
        println!(
            "{:6}     {:.4}  {:8.0} /s    {:8.0} /s        {:8.1} us  {:8.1}    {:8.1}",
            step.ef, step.recall, step.one, step.two, step.single_us, step.hops, step.distances
        );
        steps.push(step);
    }
    report.attach("sweep", Value::Array(steps.iter().map(Step::json).collect()));
    let best = steps.iter().map(|step| step.recall).fold(0.0, f64::max);
    report.add("recall_max", best, "", "the best recall of the sweep");
    let names = [("qps_95", "us_over_95", "ef_95"), ("qps_99", "us_over_99", "ef_99")];
    for (target, (rate, over, ef)) in TARGETS.into_iter().zip(names) {
        let Some(reached) = steps.iter().find(|step| step.recall >= target) else { continue };
        report.add(
            rate,
            rate_at(&steps, target),
            "/s",
            format!("queries a second at recall {target}, one thread"),
        );
        let native = 1e6 / reached.one;
        report.add(over, reached.single_us - native, "us", "what a call of its own costs more a query");
        report.add(ef, f64::from(reached.ef), "", format!("the first breadth that reaches {target}"));
    }
    let ef = steps.iter().find(|step| step.recall >= TARGETS[0]).or(steps.last()).map_or(64, |step| step.ef);
    let (one, two) = in_turns(index, set, ef, load, &mut answers)?;
    let note = format!("rate of two threads by that of one at ef {ef}, {} passes in turns", load.long_passes);
    report.add("two_over_one", two / one, "", note);
    Ok(())
}

fn step(index: &Index, set: &Set, ef: u32, passes: usize, answers: &mut Answers) -> Result<Step> {
    let breadth = Breadth::Ef(ef);
    let queries = &set.queries;
    let count = queries.rows as f64;
    let stats =
        index.search_many(&queries.numbers, LIMIT, breadth, 1, &mut answers.ids, &mut answers.distances)?;
    let recall = recall(set, &answers.ids);
    let (mut one, mut two, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..passes {
        one.push(pass(index, set, breadth, 1, answers)?);
        two.push(pass(index, set, breadth, 2, answers)?);
        let began = Instant::now();
        for query in 0..queries.rows {
            let (ids, distances) = (&mut answers.ids[..LIMIT], &mut answers.distances[..LIMIT]);
            index.search(queries.row(query), LIMIT, breadth, ids, distances)?;
        }
        single.push(began.elapsed());
    }
    let rate = |times: &[Duration]| count / median(times).as_secs_f64();
    Ok(Step {
        ef,
        recall,
        one: rate(&one),
        two: rate(&two),
        single_us: median(&single).as_secs_f64() * 1e6 / count,
        hops: stats.hops as f64 / count,
        distances: stats.distances as f64 / count,
    })
}

/// The time of one call with all queries.
fn pass(
    index: &Index,
    set: &Set,
    breadth: Breadth,
    threads: usize,
    answers: &mut Answers,
) -> Result<Duration> {
    let began = Instant::now();
    index.search_many(
        &set.queries.numbers,
        LIMIT,
        breadth,
        threads,
        &mut answers.ids,
        &mut answers.distances,
    )?;
    Ok(began.elapsed())
}

/// The median rates of one thread and of two, in long passes that take turns.
fn in_turns(index: &Index, set: &Set, ef: u32, load: Load, answers: &mut Answers) -> Result<(f64, f64)> {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..load.long_passes {
        for (threads, rates) in [1, 2].into_iter().zip(&mut rates) {
            let (mut passed, mut calls) = (Duration::ZERO, 0.0);
            while calls == 0.0 || passed.as_secs_f64() < load.long_pass_s {
                passed += pass(index, set, Breadth::Ef(ef), threads, answers)?;
                calls += 1.0;
            }
            rates.push(passed.div_f64(calls));
        }
    }
    let rate = |times: &[Duration]| set.queries.rows as f64 / median(times).as_secs_f64();
    Ok((rate(&rates[0]), rate(&rates[1])))
}

/// The share of the true neighbours among the answers.
pub(crate) fn recall(set: &Set, ids: &[u64]) -> f64 {
    let (mut right, mut total) = (0, 0);
    for (query, found) in ids.chunks(LIMIT).enumerate() {
        let exact = &set.truth.row(query)[..LIMIT.min(set.truth.width)];
        right +=
            exact.iter().filter(|row| u64::try_from(**row).is_ok_and(|row| found.contains(&row))).count();
        total += exact.len();
    }
    right as f64 / total.max(1) as f64
}

/// The rate at a recall, between the neighbouring steps on a line of its logarithm.
fn rate_at(steps: &[Step], target: f64) -> f64 {
    let Some(above) = steps.iter().position(|step| step.recall >= target) else { return f64::NAN };
    let Some(low) = above.checked_sub(1).map(|below| steps[below]) else { return steps[above].one };
    let high = steps[above];
    let share = (target - low.recall) / (high.recall - low.recall);
    ((1.0 - share) * low.one.ln() + share * high.one.ln()).exp()
}

impl Step {
    fn json(&self) -> Value {
        json!({
            "ef": self.ef, "recall": self.recall, "one_per_s": self.one, "two_per_s": self.two,
            "single_us": self.single_us, "hops": self.hops, "distances": self.distances,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npy::Table;

    #[test]
    fn rates_are_read_between_steps() {
        let step =
            |recall, one| Step { ef: 1, recall, one, two: 1.0, single_us: 1.0, hops: 1.0, distances: 1.0 };
        let steps = [step(0.9, 40_000.0), step(0.96, 10_000.0)];
        assert!((rate_at(&steps, 0.93) - 20_000.0).abs() < 1e-6);
        assert_eq!(rate_at(&steps, 0.8), 40_000.0);
        assert!(rate_at(&steps, 0.97).is_nan());
    }

    #[test]
    fn recall_counts_true_neighbours() {
        let truth = Table { rows: 2, width: 12, numbers: (0..24).collect() };
        let row = || Table { rows: 2, width: 1, numbers: vec![1.0, 1.0] };
        let set = Set { base: row(), queries: row(), truth };
        let all: Vec<u64> = (0..10).chain(12..22).collect();
        assert_eq!(recall(&set, &all), 1.0);
        let half: Vec<u64> = (5..15).chain([u64::MAX; 10]).collect();
        assert_eq!(recall(&set, &half), 0.25);
    }
}
