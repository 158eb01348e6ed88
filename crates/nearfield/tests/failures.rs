//! What the collection does when the disk fails it: damaged manifests, missing files, failed syncs, no room.

use std::sync::Arc;

use nearfield::{
    Collection, CollectionConfig, Database, Durability, ErrorKind, Metric, Object, Options, Point, PointId,
    Query, Value, With,
};
use nearfield_platform::{Action, Call, Dir, Fault, FaultPlan, Faults, MemoryDir};

fn options(durability: Durability) -> Options {
    Options { background: false, ..Options::default().durability(durability) }
}

fn open(dir: Arc<dyn Dir>) -> nearfield::Result<Database> {
    Database::open_in(dir, "failures", options(Durability::Sync))
}

fn points(ids: std::ops::Range<u64>) -> Vec<Point> {
    let text = |id| Object::from_entries([("id".to_owned(), Value::from(id))]);
    ids.map(|id| Point::new(id, vec![id as f32, 1.0]).payload(text(id))).collect()
}

/// A database with a sealed segment, a delta on it, and nothing else.
fn stored(dir: &Arc<MemoryDir>) {
    let db = open(Arc::clone(dir) as Arc<dyn Dir>).expect("opens");
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    c.upsert(points(0..50)).expect("upserts");
    c.flush().expect("flushes");
    c.delete(&[3.into()]).expect("deletes");
    c.merge_payload(&[4.into()], Object::from_entries([("new".to_owned(), Value::Null)])).expect("merges");
    c.flush().expect("flushes");
    db.close().expect("closes");
}

fn check(c: &Collection) {
    assert_eq!(c.count().expect("counts"), 49);
    let records = c.get(&[3.into(), 4.into(), 5.into()], With::ALL).expect("gets");
    assert!(records[0].is_none());
    assert_eq!(records[1].as_ref().expect("is there").payload.as_ref().expect("asked for").len(), 2);
    assert_eq!(records[2].as_ref().expect("is there").payload, Some(points(5..6).remove(0).payload));
}

/// Every file below `folder`.
fn files(dir: &MemoryDir, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in dir.list(folder).expect("lists") {
        let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
        if entry.is_dir { found.extend(files(dir, &path)) } else { found.push(path) }
    }
    found
}

fn rewrite(dir: &MemoryDir, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = dir.open(path).expect("opens").to_vec();
    change(&mut bytes);
    dir.remove(path).expect("removes");
    let file = dir.create(path).expect("creates");
    file.write_at(0, &[&bytes]).expect("writes");
    file.sync().expect("syncs");
}

#[test]
fn a_damaged_newest_manifest_costs_nothing() {
    let dir = MemoryDir::new();
    stored(&dir);
    for folder in ["catalog", "collections"] {
        let newest =
            files(&dir, folder).into_iter().filter(|path| path.contains("MANIFEST")).max().expect("is there");
        rewrite(&dir, &newest, |bytes| bytes[40] ^= 1);
    }
    let db = open(Arc::clone(&dir) as Arc<dyn Dir>).expect("falls back");
    let c = db.collection("c").expect("falls back");
    check(&c);
    // It goes on from there, past the number of the damaged one.
    c.upsert(points(100..101)).expect("upserts");
    c.flush().expect("flushes");
    db.close().expect("closes");
    let db = open(dir).expect("opens");
    assert_eq!(db.collection("c").expect("opens").count().expect("counts"), 50);
}

#[test]
fn damaged_or_missing_truth_is_refused_and_named() {
    for name in ["ids", "payload", "vectors-0", "deltas/"] {
        for missing in [false, true] {
            let dir = MemoryDir::new();
            stored(&dir);
            let path =
                files(&dir, "collections").into_iter().find(|path| path.contains(name)).expect("is there");
            match missing {
                true => dir.remove(&path).expect("removes"),
                // A byte of the header, which every opening looks at.
                false => rewrite(&dir, &path, |bytes| bytes[20] ^= 1),
            }
            let db = open(dir).expect("the catalog is whole");
            let error = db.collection("c").expect_err("is refused");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{path}: {error}");
            assert!(error.to_string().contains(&path), "{error} names {path}");
        }
    }
}

#[test]
fn damage_found_while_reading_names_its_file() {
    for (name, what) in [("payload", "payload"), ("vectors-0", "vectors-0")] {
        let dir = MemoryDir::new();
        let db = open(Arc::clone(&dir) as Arc<dyn Dir>).expect("opens");
        let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
        // Enough for several blocks, so that the first holds nothing but rows.
        c.upsert(points(0..10_000)).expect("upserts");
        c.flush().expect("flushes");
        db.close().expect("closes");
        let path = files(&dir, "collections").into_iter().find(|path| path.contains(name)).expect("is there");
        // A byte of the first rows: nobody looks at it before they are read.
        rewrite(&dir, &path, |bytes| bytes[70] ^= 1);
        let db = open(dir).expect("opens");
        let c = db.collection("c").expect("opens");
        let got = c.get(&[7.into()], With::ALL).map(drop);
        // The nearest of these is the first point.
        let searched = c.search(&Query::new(&[-1.0, 0.0], 1).with(With::PAYLOAD)).map(drop);
        for result in [got, searched, c.verify()] {
            let error = result.expect_err("is refused");
            let begin =
                format!("collection \"c\": segments/1/{what} is damaged (the data in it cannot be trusted");
            assert!(error.kind() == ErrorKind::Corrupt && error.to_string().starts_with(&begin), "{error}");
        }
    }
}

#[test]
fn a_lost_catalog_is_not_replaced_by_an_empty_one() {
    let dir = MemoryDir::new();
    stored(&dir);
    for path in files(&dir, "catalog") {
        dir.remove(&path).expect("removes");
    }
    let error = open(Arc::clone(&dir) as Arc<dyn Dir>).expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!files(&dir, "collections").is_empty(), "nothing was removed");
}

#[test]
fn a_failed_sync_stops_writing_and_loses_nothing_acknowledged() {
    let dir = MemoryDir::new();
    let plan = FaultPlan::new();
    let faulty = Faults::new(Arc::clone(&dir) as Arc<dyn Dir>, Arc::clone(&plan));
    let db = open(faulty).expect("opens");
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    c.upsert(points(0..10)).expect("upserts");
    plan.arm_on(Call::Sync, plan.calls_of(Call::Sync), Action::Fail { fault: Fault::Io, lasting: false });
    assert_eq!(c.upsert(points(10..20)).expect_err("fails").kind(), ErrorKind::Unavailable);
    assert_eq!(c.count().expect("counts"), 10, "what may be lost is not shown");
    let error = c.upsert(points(20..30)).expect_err("stays stopped");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("the collection is read-only until it is opened again"), "{error}");
    assert_eq!(c.get(&[PointId::from(3)], With::NOTHING).expect("reads on").iter().flatten().count(), 1);
    drop((c, db));
    let db = open(dir).expect("opens");
    let c = db.collection("c").expect("opens");
    let count = c.count().expect("counts");
    assert!(count == 10 || count == 20, "whole or absent: {count}");
    c.upsert(points(20..30)).expect("takes writes again");
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reading_and_deleting() {
    let dir = MemoryDir::with_capacity(400 << 10);
    let db = open(Arc::clone(&dir) as Arc<dyn Dir>).expect("opens");
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    let mut written = 0;
    let error = loop {
        match c.upsert(points(written..written + 100)) {
            Ok(_) => written += 100,
            Err(error) => break error,
        }
        assert!(written < 100_000, "the disk fills at some time");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(c.count().expect("counts"), written);
    assert_eq!(c.delete(&[0.into(), 1.into()]).expect("deletes on"), 2);
    let count = written - 2;
    dir.set_capacity(64 << 20);
    c.upsert(points(200_000..200_100)).expect("goes on without a restart");
    db.close().expect("closes");
    let db = open(dir).expect("opens");
    assert_eq!(db.collection("c").expect("opens").count().expect("counts"), count + 100);
}

/// A database over a plan of failures, with some points in memory and none sealed.
fn fallible(dir: &Arc<MemoryDir>) -> (Database, Collection, Arc<FaultPlan>) {
    let plan = FaultPlan::new();
    let faulty = Faults::new(Arc::clone(dir) as Arc<dyn Dir>, Arc::clone(&plan));
    let db = open(faulty).expect("opens");
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    c.upsert(points(0..10)).expect("upserts");
    (db, c, plan)
}

#[test]
fn a_manifest_that_was_not_replaced_is_tried_again() {
    for call in [Call::Overwrite, Call::Create, Call::Rename, Call::Blob, Call::Open, Call::List] {
        let dir = MemoryDir::new();
        let (db, c, plan) = fallible(&dir);
        plan.arm_on(call, plan.calls_of(call), Action::Fail { fault: Fault::NoSpace, lasting: false });
        let failed = c.flush().is_err();
        assert!(failed || plan.fired() > 0, "{call:?} is made by a flush");
        c.upsert(points(10..20)).unwrap_or_else(|e| panic!("after {call:?} failed once: {e}"));
        c.flush().expect("flushes");
        assert_eq!(c.stats().expect("counts").growing_rows, 0);
        db.close().expect("closes");
        let db = open(dir).expect("opens");
        assert_eq!(db.collection("c").expect("opens").count().expect("counts"), 20, "{call:?}");
    }
}

#[test]
fn a_close_that_cannot_seal_still_ends_the_writer() {
    let dir = MemoryDir::new();
    let (db, c, plan) = fallible(&dir);
    for batch in 0..30u64 {
        let text = Value::String("x".repeat(100_000));
        let payload = Object::from_entries([("text".to_owned(), text)]);
        c.upsert(vec![Point::new(1_000 + batch, vec![1.0, 2.0]).payload(payload)]).expect("upserts");
    }
    plan.arm_on(
        Call::Create,
        plan.calls_of(Call::Create),
        Action::Fail { fault: Fault::NoSpace, lasting: true },
    );
    let _ = db.close();
    assert_eq!(c.upsert(points(50..51)).expect_err("was closed").kind(), ErrorKind::NotFound);
    assert_eq!(c.count().expect_err("was closed").kind(), ErrorKind::NotFound);
    let db = open(dir).expect("opens");
    assert_eq!(db.collection("c").expect("opens").count().expect("counts"), 40);
}

#[test]
fn a_close_after_a_failure_tells_it() {
    let dir = MemoryDir::new();
    let (db, c, plan) = fallible(&dir);
    plan.arm_on(Call::Sync, plan.calls_of(Call::Sync), Action::Fail { fault: Fault::Io, lasting: false });
    c.upsert(points(10..20)).expect_err("fails");
    assert_eq!(db.close().expect_err("tells").kind(), ErrorKind::Unavailable);
}

#[test]
fn wide_points_are_refused_before_they_take_memory() {
    let db = Database::in_memory().expect("opens");
    let mut config = CollectionConfig::new(2, Metric::Dot);
    for name in 0..50 {
        config = config.vector(format!("v{name}"), 65_536, Metric::Dot);
    }
    let c = db.create_collection("c", config).expect("creates");
    let error = c.upsert(points(0..10_000)).expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "10000 points of 13107208 bytes a point take 131072080000 bytes: at most 1073741824 are allowed, send them in parts"
    );
    assert_eq!(c.count().expect("counts"), 0);
}
