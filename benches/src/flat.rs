//! `flat`: exact search in one thread over the sealed set, beside reading the same bytes once.
//!
//! The floor and the queries take turns, and of each the best time counts: a neighbour on the machine can only add to it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nearfield::{Collection, Durability, PointId, Query};

use crate::dataset::DataSet;
use crate::disk::median;
use crate::place::Place;
use crate::report::Report;
use crate::{Result, stored};

const LIMIT: usize = 10;
const CHECKED_QUERIES: usize = 200;
const ROUNDS: usize = 150;
/// How many places of the memory the second way of reading is at.
const STREAMS: usize = 8;

/// Runs the benchmark.
pub(crate) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let path = place.join("flat");
    stored::build_sealed(&path, set)?;
    let (database, collection) = stored::open(&path, Durability::Process)?;
    let recall = mean_recall(set, &collection)?;
    if recall < 1.0 {
        return Err(format!("exact search found {recall:.5} of the exact answers: nothing is timed").into());
    }
    // The bytes of the vectors, in memory of this process, not touched by the database.
    let vectors: Vec<u64> = set.base.numbers.chunks(2).map(two).collect();
    let bytes = set.base.numbers.len() * size_of::<f32>();
    let (mut floors, mut queries) = (Vec::new(), Vec::new());
    let before = cpu_time();
    let began = Instant::now();
    for round in 0..ROUNDS {
        for read in [read_straight, read_in_streams] {
            let turn = Instant::now();
            black_box(read(black_box(&vectors)));
            floors.push(turn.elapsed());
        }
        let query = set.queries.row(round % set.queries.rows);
        let turn = Instant::now();
        black_box(collection.search(&Query::new(query, LIMIT))?);
        queries.push(turn.elapsed());
    }
    let wall = began.elapsed();
    let best = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
    let (floor, query) = (best(&floors), best(&queries));
    let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e9;
    let segments = collection.stats()?.segments;
    let note = format!("of {} dimensions in {segments} sealed segments", set.base.width);
    report.add("points", set.base.rows as f64, "", note);
    report.add("recall", recall, "", format!("of {LIMIT}, ties counted as right, {} queries", checked(set)));
    report.add("query_ms", millis(query), "ms", format!("one exact search, best of {ROUNDS}"));
    report.add("query_median_ms", millis(median(&queries)), "ms", "the median of them");
    report.add("query_gb_per_s", rate(query), "GB/s", "bytes of the vectors by that time");
    let note = format!("reading the same bytes once, one thread, best of {}", floors.len());
    report.add("floor_ms", millis(floor), "ms", note);
    report.add("floor_median_ms", millis(median(&floors)), "ms", "the median of them");
    report.add("floor_gb_per_s", rate(floor), "GB/s", "the bandwidth of one core");
    let ratio = query.as_secs_f64() / floor.as_secs_f64();
    report.add("query_over_floor", ratio, "", "how much longer than the floor a search takes");
    if let (Some(before), Some(after)) = (before, cpu_time()) {
        let used = after.saturating_sub(before).as_secs_f64() / wall.as_secs_f64();
        report.add(
            "threads_used",
            used,
            "",
            "processor time by time passed: above 1 something helped, below it the machine was busy",
        );
    }
    drop(collection);
    database.close()?;
    Ok(())
}

fn checked(set: &DataSet) -> usize {
    CHECKED_QUERIES.min(set.queries.rows)
}

fn mean_recall(set: &DataSet, collection: &Collection) -> Result<f64> {
    let mut total = 0.0;
    for query in 0..checked(set) {
        let hits = collection.search(&Query::new(set.queries.row(query), LIMIT))?;
        let ids: Vec<PointId> = hits.into_iter().map(|hit| hit.id).collect();
        total += set.recall(query, &ids) * ids.len() as f64 / LIMIT.min(set.base.rows) as f64;
    }
    Ok(total / checked(set) as f64)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn two(pair: &[f32]) -> u64 {
    let bits = |index: usize| pair.get(index).map_or(0, |number| u64::from(number.to_bits()));
    bits(0) | bits(1) << 32
}

/// Reads every word once, from the first to the last. Sixteen independent sums leave nothing to wait for but memory.
fn read_straight(words: &[u64]) -> u64 {
    let mut sums = [0u64; 16];
    let (chunks, rest) = words.as_chunks::<16>();
    for chunk in chunks {
        add(&mut sums, chunk);
    }
    total(sums.iter().chain(rest))
}

/// Reads every word once, at several places in turn: some memories give more that way.
fn read_in_streams(words: &[u64]) -> u64 {
    let (chunks, rest) = words.as_chunks::<8>();
    let share = chunks.len() / STREAMS;
    let (streams, odd) = chunks.split_at(share * STREAMS);
    let streams: [&[[u64; 8]]; STREAMS] = std::array::from_fn(|stream| &streams[stream * share..][..share]);
    let mut sums = [[0u64; 8]; STREAMS];
    for at in 0..share {
        for (sums, stream) in sums.iter_mut().zip(streams) {
            add(sums, &stream[at]);
        }
    }
    total(sums.iter().flatten().chain(odd.iter().flatten()).chain(rest))
}

fn add<const N: usize>(sums: &mut [u64; N], words: &[u64; N]) {
    for (sum, word) in sums.iter_mut().zip(words) {
        *sum = sum.wrapping_add(*word);
    }
}

fn total<'w>(words: impl Iterator<Item = &'w u64>) -> u64 {
    words.fold(0, |total, word| total.wrapping_add(*word))
}

/// Processor time of this process; none where the kernel does not say.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // User and system time are fields 14 and 15 of the line, in ticks of 10 ms; the first two are cut off.
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn the_floor_reads_every_word() {
        for count in [0, 7, 16, 63, 64, 65, 1_000] {
            let words: Vec<u64> = (0..count).collect();
            assert_eq!(read_straight(&words), words.iter().sum::<u64>());
            assert_eq!(read_in_streams(&words), words.iter().sum::<u64>());
        }
        assert_eq!(two(&[1.0, 2.0]), 0x4000_0000_3f80_0000);
        assert_eq!(two(&[1.0]), 0x3f80_0000);
    }

    #[test]
    fn a_small_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Some(folder.path())).unwrap();
        let mut report = Report::new("flat");
        run(&small(500, 16), &place, &mut report).unwrap();
        assert_eq!(report.value("recall"), Some(1.0));
        assert!(report.value("query_over_floor").unwrap() > 0.0);
    }
}
