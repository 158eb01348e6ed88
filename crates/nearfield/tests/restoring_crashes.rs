//! A power cut or a kill after every call inside create, restore, replace, drop, pin and sweep: the database opens, the live collection is
//! whole, names are the old or the new ones, every snapshot that is named can be restored, and nothing is left that nothing names.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]

use std::sync::Arc;

use nearfield::{
    CollectionConfig, Database, Durability, Metric, Options, Point, Progress, Replace, SnapshotName,
};
use nearfield_platform::{Dir, FaultyDir, LossModel, MemoryDir};

/// Collections with their counts, and snapshots.
type State = (Vec<(String, u64)>, Vec<SnapshotName>, usize);

fn open(dir: Arc<dyn Dir>) -> Database {
    let mut options = Options { background: false, ..Options::default() }.durability(Durability::Sync);
    options.collections.head_rows_max = 50;
    Database::open_in(dir, "test", options).unwrap()
}

fn state(db: &Database) -> State {
    let count = |name: String| {
        let count = db.collection(&name).unwrap().count().unwrap();
        (name, count)
    };
    let collections = db.collections().into_iter().map(count).collect();
    (collections, db.all_snapshots().unwrap(), db.snapshot_pins().unwrap().len())
}

fn points(ids: std::ops::Range<u64>) -> Vec<Point> {
    ids.map(|id| Point::new(id, vec![id as f32, 1.0])).collect()
}

type Step = fn(&Database);

fn steps() -> Vec<Step> {
    fn name(name: &str) -> SnapshotName {
        SnapshotName::of("books", name)
    }
    vec![
        |db| drop(db.create_snapshot("books", "one", "").unwrap()),
        |db| assert!(db.collection("books").unwrap().upsert(points(100..110)).is_ok()),
        |db| drop(db.create_snapshot("books", "two", "").unwrap()),
        |db| drop(db.restore_snapshot(&name("one"), "again").unwrap()),
        |db| {
            let done = Progress::default();
            db.restore_snapshot_with(&name("one"), None, "books", Replace::Existing, &done).unwrap();
        },
        |db| drop(db.pin_snapshot(&name("two"), std::time::Duration::from_secs(60)).unwrap()),
        |db| assert!(db.drop_snapshot(&name("two")).unwrap()),
        |db| drop(db.clone_collection("books", "third", &Progress::default()).unwrap()),
        |db| assert!(db.unpin_snapshot(1).unwrap()),
        |db| assert!(db.drop_snapshot(&name("one")).unwrap()),
        |db| assert!(db.delete_collection("again").unwrap()),
    ]
}

#[test]
fn every_crash_leaves_the_old_or_the_new() {
    let dir = FaultyDir::new();
    let db = open(dir.clone());
    let books = db.create_collection("books", CollectionConfig::new(2, Metric::Euclid)).unwrap();
    books.upsert(points(0..60)).unwrap();
    books.upsert(points(60..70)).unwrap();
    drop(books);
    let (mut states, mut ends) = (vec![state(&db)], vec![dir.ops()]);
    for step in steps() {
        step(&db);
        states.push(state(&db));
        ends.push(dir.ops());
    }
    let mut replay = dir.replay();
    let mut checked = 0;
    for at in ends[0]..=dir.ops() {
        let done = ends.partition_point(|&end| end <= at) - 1;
        let allowed = &states[done..states.len().min(done + 2)];
        for model in LossModel::ALL {
            let label =
                format!("after call {at} of step {done} ({:?}), {model:?}", dir.op(at.saturating_sub(1)));
            check(replay.image(at, model, at as u64), allowed, &label);
            checked += 1;
        }
    }
    assert!(checked > 400, "{checked}");
}

fn check(image: Arc<MemoryDir>, allowed: &[State], label: &str) {
    let db = open(image.clone());
    let found = state(&db);
    assert!(allowed.contains(&found), "{label}: {found:?}, expected one of {allowed:?}");
    for name in &found.1 {
        db.verify_snapshot_digests(name, &Progress::default()).unwrap_or_else(|e| panic!("{label}: {e}"));
        let points = db.describe_snapshot(name).unwrap().collections[0].points;
        let view = db.snapshot_view(name, None).unwrap_or_else(|e| panic!("{label}: {e}"));
        assert_eq!(view.count(), points, "{label}");
    }
    // No orphans: a folder for each name, and no object more than names and pins keep.
    assert_eq!(image.list("collections").unwrap().len(), found.0.len(), "{label}");
    if found.1.is_empty() && found.2 == 0 {
        assert_eq!(image.list("snapshots/objects").unwrap_or_default(), [], "{label}");
    }
}
