//! Searches while the set streams in: at half of what ingest sustains, on an open loop, and at full speed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearfield::{Collection, Durability, Query};

use super::{percentile, recall_of, settle};
use crate::Result;
use crate::dataset::DataSet;
use crate::place::Place;
use crate::report::Report;
use crate::stored;

/// Points of one write.
const BATCH: usize = 100;
/// One search in so many is compared with the exact answer.
const CHECKED: usize = 40;
/// Points that are there before anybody looks: recall of ten among fewer says little.
const FIRST: usize = 2_000;

/// What a reader saw.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    recalls: Vec<f64>,
    unlinked: u64,
}

pub(super) fn run(set: &DataSet, place: &Place, report: &mut Report) -> Result {
    let (full, rate, finished) = streamed(set, place, None)?;
    let [mut full_times, mut finished_times] = [full.times, finished.times];
    let bare = percentile(&mut finished_times, 0.99);
    let note =
        format!("beside writers at full speed, {rate:.0} points/s; on the finished collection {bare:?}");
    report.add("full_speed_p99_ms", super::ms(percentile(&mut full_times, 0.99)), "ms", note);
    let (half, half_rate, finished) = streamed(set, place, Some(rate / 2.0))?;
    let (mut times, mut finished_times) = (half.times, finished.times);
    let bare = super::ms(percentile(&mut finished_times, 0.99));
    let p99 = super::ms(percentile(&mut times, 0.99));
    let note = format!(
        "of {} searches beside {half_rate:.0} points/s; p50 {:?}; on the finished collection {bare:.3} ms",
        times.len(),
        percentile(&mut times, 0.5)
    );
    report.add("stream_p99_ms", p99, "ms", note);
    report.add(
        "stream_p99_over_bound",
        p99 / (3.0 * bare).max(5.0),
        "",
        "by the greater of 3 times that and 5 ms",
    );
    let worst = windows(&half.recalls);
    let note = format!("the worst of ten parts of the stream, {} searches compared", half.recalls.len());
    report.add("stream_recall_min", worst, "", note);
    let most = full.unlinked.max(half.unlinked);
    report.add("stream_unlinked_max", most as f64, "", "rows that searches scanned, at most");
    Ok(())
}

/// Mean recall of the worst tenth of the stream.
fn windows(recalls: &[f64]) -> f64 {
    let size = recalls.len().div_ceil(10).max(1);
    let means = recalls.chunks(size).map(|part| part.iter().sum::<f64>() / part.len() as f64);
    means.fold(1.0, f64::min)
}

/// Streams the set in at so many points a second, or as fast as it goes; what a reader saw meanwhile, the rate, and what one saw afterwards.
fn streamed(set: &DataSet, place: &Place, rate: Option<f64>) -> Result<(Seen, f64, Seen)> {
    let (database, collection) = stored::create(&place.join("stream"), set, Durability::Process)?;
    let batches = set.batches(BATCH)?;
    let done = AtomicBool::new(false);
    let (mut rows, mut elapsed) = (0, Duration::ZERO);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&collection, set, &done));
        let write = || -> Result {
            let began = Instant::now();
            for batch in batches {
                if let Some(rate) = rate {
                    // On an open loop: a late write does not delay the next one's time.
                    let due = began + Duration::from_secs_f64(rows as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                rows += batch.len();
                collection.upsert(batch)?;
            }
            elapsed = began.elapsed();
            Ok(())
        };
        let written = write();
        done.store(true, Ordering::Relaxed);
        let seen = reader.join().map_err(|_| "the reader panicked")?;
        written.and(seen)
    })?;
    settle(&database, &collection)?;
    let after = AtomicBool::new(false);
    let finished = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&collection, set, &after));
        std::thread::sleep(Duration::from_secs(3));
        after.store(true, Ordering::Relaxed);
        reader.join().map_err(|_| "the reader panicked")?
    })?;
    drop(collection);
    database.close()?;
    place.remove("stream")?;
    Ok((seen, rows as f64 / elapsed.as_secs_f64(), finished))
}

fn read(collection: &Collection, set: &DataSet, done: &AtomicBool) -> Result<Seen> {
    let mut seen = Seen::default();
    for turn in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let vector = set.queries.row(turn % set.queries.rows);
        let view = collection.view();
        let began = Instant::now();
        view.search(&Query::new(vector, super::K))?;
        seen.times.push(began.elapsed());
        if turn % CHECKED == 0 {
            if view.count() >= FIRST as u64 {
                seen.recalls.push(recall_of(&view, vector)?);
            }
            seen.unlinked = seen.unlinked.max(collection.stats()?.unlinked_rows);
        }
        // A reader that never rests takes a core from the writers, whatever the engine does.
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(seen)
}
