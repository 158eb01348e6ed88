//! One budget of memory: what is counted stays below it, all collections together, and nobody is refused or waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nearfield::{Collection, CollectionConfig, Database, Metric, Options, Point, Query, TaskState};
use nearfield_platform::{Clock, MemoryDir, SystemClock};

const DIM: usize = 64;
const ROWS: u64 = 6_000;
const COLLECTIONS: u64 = 3;

fn vector(id: u64) -> Vec<f32> {
    (0..DIM as u64).map(|at| ((id * 7_919 + at * 104_729) % 1_009) as f32 - 500.0).collect()
}

fn fill(c: &Collection, rows: std::ops::Range<u64>) {
    for first in rows.clone().step_by(500) {
        let points = (first..(first + 500).min(rows.end)).map(|id| Point::new(id, vector(id)));
        c.upsert(points.collect()).expect("nobody is refused");
    }
}

#[test]
fn what_is_counted_stays_below_the_budget_and_all_is_done() {
    let limit = 6 << 20;
    let mut options = Options::default().memory_budget(limit);
    options.collections.index_threads = 2;
    let budget = Arc::clone(&options.collections.budget);
    let db = Database::open_in(MemoryDir::new(), "budget", options).expect("opens");
    let names: Vec<String> = (0..COLLECTIONS).map(|number| format!("c-{number}")).collect();
    let collections: Vec<Collection> = names
        .iter()
        .map(|name| db.create_collection(name, CollectionConfig::new(DIM, Metric::Euclid)).expect("creates"))
        .collect();
    let (most, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let clock = SystemClock::new();
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(budget.used(), Ordering::Relaxed);
                clock.sleep(Duration::from_micros(200));
            }
        });
        std::thread::scope(|writers| {
            for c in &collections {
                writers.spawn(|| fill(c, 0..ROWS));
            }
        });
        for c in &collections {
            let task = c.optimize().expect("starts");
            assert_eq!(db.wait_task(task, None).expect("ends").state, TaskState::Completed);
        }
        done.store(true, Ordering::Relaxed);
    });
    let most = most.into_inner();
    assert!(most > limit / 10 && most <= limit, "{most} of {limit} bytes were held");
    for c in &collections {
        assert_eq!(c.count().expect("counts"), ROWS);
        let hits = c.search(&Query::new(&vector(17), 1).exact()).expect("searches");
        assert_eq!(hits[0].id, 17.into());
    }
    drop(collections);
    db.close().expect("closes");
    assert_eq!(budget.used(), 0, "what is gone holds nothing");
}
