//! Readers beside a writer: every view is one moment.

use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::{
    CollectionConfig, Database, Durability, Metric, Object, Options, Point, PointId, Query, Value, With,
};
use nearfield_platform::MemoryDir;

const POINTS: u64 = 40;

fn generation(number: i64) -> Object {
    Object::from_entries([("generation".into(), Value::I64(number))])
}

/// Each operation rewrites all points, so a reader that saw half of one would see two generations, a point twice, or none.
#[test]
fn a_view_never_sees_half_an_operation() {
    for durability in [Durability::Process, Durability::Sync] {
        let mut options = Options::default().durability(durability);
        options.collections.head_rows_max = 150;
        let db = Database::open_in(MemoryDir::new(), "readers", options).unwrap();
        let collection = db.create_collection("c", CollectionConfig::new(2, Metric::Euclid)).unwrap();
        let write = |number: i64| {
            if number % 3 == 2 {
                let ids: Vec<PointId> = (0..POINTS).map(PointId::from).collect();
                assert_eq!(collection.merge_payload(&ids, generation(number)).unwrap(), POINTS);
            } else {
                let point = |id| Point::new(id, vec![id as f32, number as f32]).payload(generation(number));
                collection.upsert((0..POINTS).map(point).collect()).unwrap();
            }
        };
        write(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        last = check(&collection.view(), last);
                    }
                });
            }
            for number in 1..300 {
                write(number);
            }
            done.store(true, Ordering::Relaxed);
        });
        let view = collection.view();
        assert_eq!(check(&view, 299), 299);
        // How many segments there are the merges decide, which run beside the readers too.
        assert!(collection.stats().unwrap().flushed_seq.0 > 20, "heads were sealed beside the readers");
    }
}

/// Checks one view; returns its generation, which never goes back.
fn check(view: &nearfield::View, last: i64) -> i64 {
    assert_eq!(view.count(), POINTS);
    let page = view.scroll(None, 1_000, With::PAYLOAD).expect("scrolls");
    let ids: Vec<_> = page.iter().map(|record| record.id.clone()).collect();
    assert_eq!(ids, (0..POINTS).map(PointId::from).collect::<Vec<_>>());
    let of = |payload: &Option<Object>| match payload.as_ref().expect("asked for").get("generation") {
        Some(Value::I64(number)) => *number,
        other => panic!("generation is {other:?}"),
    };
    let number = of(&page[0].payload);
    assert!(page.iter().all(|record| of(&record.payload) == number), "one generation in one view");
    assert!(number >= last, "generation {number} after {last}");
    let hits = view.search(&Query::new(&[0.0, 0.0], 1_000).with(With::PAYLOAD)).expect("searches");
    assert_eq!(hits.len() as u64, POINTS);
    assert!(hits.iter().all(|hit| of(&hit.payload) == number));
    assert!(hits.is_sorted_by(|a, b| (a.distance, &a.id) <= (b.distance, &b.id)));
    number
}

/// An acknowledged write is visible to whoever reads next, from any thread and across seals.
#[test]
fn acknowledged_means_visible() {
    let mut options = Options::default().durability(Durability::Sync);
    options.collections.head_rows_max = 16;
    let db = Database::open_in(MemoryDir::new(), "visible", options).unwrap();
    let collection = db.create_collection("c", CollectionConfig::new(1, Metric::Dot)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let collection = collection.clone();
            scope.spawn(move || {
                for number in 0..100u64 {
                    let id = PointId::from(thread * 1_000 + number);
                    let seq = collection.upsert(vec![Point::new(id.clone(), vec![number as f32])]).unwrap();
                    let view = collection.view();
                    assert!(view.seq() >= seq && collection.synced_seq() >= seq);
                    assert!(view.contains(&id), "{id:?} was acknowledged");
                    if number % 4 == 0 {
                        assert_eq!(collection.delete(std::slice::from_ref(&id)).unwrap(), 1);
                        assert!(!collection.view().contains(&id), "{id:?} was deleted");
                    }
                }
            });
        }
    });
    assert_eq!(collection.count().unwrap(), 4 * 75);
}
