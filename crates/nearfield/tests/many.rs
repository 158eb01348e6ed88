//! Many collections: what one at rest costs. In a program of its own, because it counts the descriptors of the process.

use nearfield::{Collection, CollectionConfig, Database, Metric, Object, Options, Point};

const COLLECTIONS: usize = 120;
const POINTS: u64 = 100;

fn name(number: usize) -> String {
    format!("c-{number:04}")
}

fn fill(collection: &Collection) {
    let payload = |id: u64| Object::from_entries([("n".to_owned(), id.into())]);
    let point = |id: u64| Point::new(id, vec![id as f32; 16]).payload(payload(id));
    collection.upsert((0..POINTS).map(point).collect()).expect("writes");
}

/// Names in a folder of the system; nothing where there is none.
#[expect(clippy::disallowed_methods, reason = "it looks at the process, not at files of the database")]
fn count_in(folder: &str) -> Option<usize> {
    std::fs::read_dir(folder).ok().map(Iterator::count)
}

#[test]
fn collections_at_rest_hold_few_descriptors_and_give_all_back() {
    let place = tempfile::tempdir().expect("a place");
    let before = count_in("/proc/self/fd");
    let db = Database::open(place.path(), Options::default()).expect("opens");
    let threads = count_in("/proc/self/task");
    for number in 0..COLLECTIONS {
        fill(
            &db.create_collection(&name(number), CollectionConfig::new(16, Metric::Cosine)).expect("creates"),
        );
    }
    let held = |most: usize| {
        if let (Some(before), Some(now)) = (before, count_in("/proc/self/fd")) {
            assert!(now <= before + 8 + most * COLLECTIONS, "{} descriptors", now - before);
        }
    };
    held(2);
    db.close().expect("closes");
    let db = Database::open(place.path(), Options::default()).expect("opens");
    for number in 0..COLLECTIONS {
        assert_eq!(db.collection(&name(number)).expect("opens").count().expect("counts"), POINTS);
    }
    // What was only read holds none.
    held(0);
    assert_eq!(count_in("/proc/self/task"), threads, "no thread belongs to a collection");
    for number in 0..COLLECTIONS / 2 {
        assert!(db.unload_collection(&name(number)).expect("nobody holds it"));
    }
    for number in 0..COLLECTIONS {
        assert!(db.delete_collection(&name(number)).expect("deletes"));
    }
    assert_eq!(count_in(&place.path().join("collections").to_string_lossy()).unwrap_or(0), 0);
    held(0);
    db.close().expect("closes");
}
