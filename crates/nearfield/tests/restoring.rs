//! Snapshots of collections and databases: what is in them, what keeps them, and what restoring gives back.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]

use std::sync::Arc;
use std::time::Duration;

use nearfield::{
    Collection, CollectionConfig, Database, ErrorKind, Metric, Object, Options, Point, PointId, Progress,
    Query, Replace, SnapshotName, TaskFilter, TaskKind, TaskState, View, With,
};
use nearfield_platform::{Dir, ManualClock, MemoryDir, RealDir};

fn point(id: u64) -> Point {
    let payload =
        Object::from_entries([("n".to_owned(), id.into()), ("even".to_owned(), id.is_multiple_of(2).into())]);
    Point::new(id, vec![id as f32, 1.0, -(id as f32) / 3.0]).payload(payload)
}

fn points(ids: std::ops::Range<u64>) -> Vec<Point> {
    ids.map(point).collect()
}

fn open(dir: &Arc<dyn Dir>) -> Database {
    Database::open_in(Arc::clone(dir), "test", Options { background: false, ..Options::default() }).unwrap()
}

fn config() -> CollectionConfig {
    CollectionConfig::new(3, Metric::Cosine)
}

/// Everything in a view: ids, payloads, vectors.
fn all(view: &View) -> Vec<(PointId, Option<Object>, Vec<u32>)> {
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|(id, _, _): &(PointId, _, _)| id.clone());
        let page = view.scroll(after.as_ref(), 1_000, With::ALL).unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page.into_iter().map(|record| {
            let vectors = record.vectors.unwrap().into_iter().flat_map(|(_, vector)| vector);
            (record.id, record.payload, vectors.map(f32::to_bits).collect())
        }));
    }
}

fn same(a: &Collection, b: &View) {
    assert_eq!(all(&a.view()), all(b));
    let query = [3.0, 1.0, -1.0];
    let hits =
        |hits: Vec<nearfield::Hit>| hits.into_iter().map(|hit| (hit.id, hit.distance)).collect::<Vec<_>>();
    let query = Query::new(&query, 5);
    assert_eq!(hits(a.search(&query).unwrap()), hits(b.search(&query).unwrap()));
}

fn folders(dir: &dyn Dir) -> usize {
    dir.list("collections").unwrap().len()
}

fn dirs() -> Vec<(Arc<dyn Dir>, Option<tempfile::TempDir>)> {
    let place = tempfile::tempdir().unwrap();
    let real: Arc<dyn Dir> = Arc::new(RealDir::open(place.path(), true).unwrap());
    vec![(MemoryDir::new(), None), (real, Some(place))]
}

#[test]
fn what_was_written_before_is_in_it_and_nothing_after() {
    for (dir, _place) in dirs() {
        let db = open(&dir);
        let books = db.create_collection("books", config()).unwrap();
        let mut states = Vec::new();
        // Nothing at all; in the log alone; sealed; sealed and deltas and log.
        let steps: [&dyn Fn(); 6] = [
            &|| (),
            &|| assert!(books.upsert(points(0..100)).is_ok()),
            &|| books.flush().unwrap(),
            &|| {
                books.delete(&[PointId::from(3), PointId::from(4)]).unwrap();
                books
                    .merge_payload(&[5.into()], Object::from_entries([("x".to_owned(), "y".into())]))
                    .unwrap();
                books.upsert(points(90..130)).unwrap();
            },
            &|| {
                books.flush().unwrap();
                books.wait_indexed().unwrap();
            },
            &|| assert!(books.upsert(points(200..201)).is_ok()),
        ];
        for (n, step) in steps.iter().enumerate() {
            step();
            let info = books.create_snapshot(&format!("s{n}"), "words").unwrap();
            let view = books.view();
            assert_eq!((info.collections[0].points, info.collections[0].seq), (view.count(), view.seq()));
            assert_eq!(info.collections[0].config, config());
            assert_eq!(
                (info.description.as_str(), info.name.name.as_str()),
                ("words", format!("s{n}").as_str())
            );
            states.push(view);
        }
        books.delete_passing(&nearfield::filter::Filter::default()).unwrap();
        books.flush().unwrap();
        assert_eq!(db.snapshots(Some("books")).unwrap().len(), 6);
        for (n, state) in states.iter().enumerate() {
            let name = SnapshotName::of("books", format!("s{n}"));
            assert_eq!(all(&db.snapshot_view(&name, None).unwrap()), all(state), "s{n} where it lies");
            let restored = db.restore_snapshot(&name, &format!("r{n}")).unwrap();
            same(&restored, state);
        }
        drop(books);
        db.close().unwrap();
        // They live on their own: also after the snapshots are gone, and written to.
        let db = open(&dir);
        for (n, state) in states.iter().enumerate() {
            assert!(db.drop_snapshot(&SnapshotName::of("books", format!("s{n}"))).unwrap());
            let restored = db.collection(&format!("r{n}")).unwrap();
            same(&restored, state);
            restored.upsert(points(500..510)).unwrap();
            restored.flush().unwrap();
            assert_eq!(restored.count().unwrap(), state.count() + 10);
        }
        assert_eq!(dir.list("snapshots/objects").unwrap().len(), 0);
        assert_eq!(db.repaired(), [""; 0]);
        db.close().unwrap();
        let db = open(&dir);
        for (n, state) in states.iter().enumerate() {
            assert_eq!(db.collection(&format!("r{n}")).unwrap().count().unwrap(), state.count() + 10);
        }
    }
}

#[test]
fn what_an_earlier_process_logged_is_in_it_too() {
    for (dir, _place) in dirs() {
        let db = open(&dir);
        let books = db.create_collection("books", config()).unwrap();
        // Enough that a checkpoint ends the log's file, so that the close leaves one that holds its mark alone.
        for batch in 0..5 {
            books.upsert(points(batch * 2_000..(batch + 1) * 2_000)).unwrap();
        }
        books.flush().unwrap();
        drop(books);
        db.close().unwrap();
        for lives in 1..5 {
            let db = open(&dir);
            let books = db.collection("books").unwrap();
            books.upsert(points(20_000..20_000 + lives)).unwrap();
            books.create_snapshot(&format!("s{lives}"), "").unwrap();
            books.upsert(points(30_000..30_001)).unwrap();
            if lives == 2 {
                books.flush().unwrap();
            }
            drop(books);
            db.close().unwrap();
        }
        let db = open(&dir);
        for lives in 1..5 {
            let name = SnapshotName::of("books", format!("s{lives}"));
            let more = u64::from(lives > 1);
            let restored = db.restore_snapshot(&name, &format!("r{lives}")).unwrap();
            assert_eq!(restored.count().unwrap(), 10_000 + lives + more);
            assert_eq!(db.snapshot_view(&name, None).unwrap().count(), restored.count().unwrap());
        }
    }
}

#[test]
fn names_are_checked_before_any_work() {
    let db = Database::in_memory().unwrap();
    let books = db.create_collection("books", config()).unwrap();
    books.create_snapshot("a", "").unwrap();
    let kind = |result: nearfield::Result<nearfield::SnapshotInfo>| result.unwrap_err().kind();
    assert_eq!(kind(books.create_snapshot("a", "")), ErrorKind::Exists);
    for bad in ["", "..", "a/b", &"x".repeat(256)] {
        assert_eq!(kind(books.create_snapshot(bad, "")), ErrorKind::Invalid, "{bad}");
    }
    assert_eq!(kind(books.create_snapshot("b", &"x".repeat(65_537))), ErrorKind::Invalid);
    assert_eq!(kind(db.create_snapshot("none", "b", "")), ErrorKind::NotFound);
    let of = |name: &str| SnapshotName::of("books", name);
    assert_eq!(db.restore_snapshot(&of("b"), "new").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.restore_snapshot(&of("a"), "books").unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(db.restore_snapshot(&of("a"), "../x").unwrap_err().kind(), ErrorKind::Invalid);
    db.set_alias("now", "books").unwrap();
    assert_eq!(db.restore_snapshot(&of("a"), "now").unwrap_err().kind(), ErrorKind::Exists);
    // By an alias it is the collection's own.
    db.create_snapshot("now", "c", "").unwrap();
    assert_eq!(db.all_snapshots().unwrap(), [of("a"), of("c")]);
    assert!(db.drop_snapshot(&of("c")).unwrap() && !db.drop_snapshot(&of("c")).unwrap());
    assert_eq!(db.describe_snapshot(&of("c")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn replacing_switches_the_name_and_shuts_the_old() {
    for (dir, _place) in dirs() {
        let db = open(&dir);
        let books = db.create_collection("books", config()).unwrap();
        books.upsert(points(0..50)).unwrap();
        db.set_alias("now", "books").unwrap();
        books.create_snapshot("a", "").unwrap();
        books.upsert(points(50..60)).unwrap();
        let name = SnapshotName::of("books", "a");
        let progress = Progress::default();
        let done = db.restore_snapshot_with(&name, None, "books", Replace::Existing, &progress).unwrap();
        assert_eq!((done.collections.as_slice(), progress.fraction()), (&["books".to_owned()][..], 1.0));
        assert_eq!(books.upsert(points(0..1)).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(db.collection("now").unwrap().count().unwrap(), 50);
        assert_eq!(folders(&*dir), 1);
        // Its snapshots are still its.
        assert_eq!(db.snapshots(Some("books")).unwrap(), std::slice::from_ref(&name));
        db.close().unwrap();
        let db = open(&dir);
        assert_eq!(db.collection("books").unwrap().count().unwrap(), 50);
        let cancelled = Progress::default();
        cancelled.cancel();
        let restore = db.restore_snapshot_with(&name, None, "books", Replace::Existing, &cancelled);
        assert_eq!(restore.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!((db.collection("books").unwrap().count().unwrap(), folders(&*dir)), (50, 1));
    }
}

#[test]
fn closed_collections_are_in_a_snapshot_of_all_and_stay_closed() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let db = open(&dir);
    for (name, count) in [("a", 10), ("b", 20)] {
        let made = db.create_collection(name, config()).unwrap();
        made.upsert(points(0..count)).unwrap();
    }
    db.close_collection("b").unwrap();
    for round in ["one", "two"] {
        let info = db.create_full_snapshot(round, "").unwrap();
        assert_eq!(info.collections.iter().map(|part| part.points).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(db.collection("b").unwrap_err().kind(), ErrorKind::Closed);
    }
    db.dump("dump", &mut Vec::new(), &Progress::default()).unwrap();
    db.restore_snapshot_with(
        &SnapshotName::full("two"),
        Some("b"),
        "c",
        Replace::Never,
        &Progress::default(),
    )
    .unwrap();
    assert_eq!(db.collection("c").unwrap().count().unwrap(), 20);
    assert_eq!(db.open_collection("b").unwrap().count().unwrap(), 20);
    db.create_full_snapshot("three", "").unwrap();
}

#[test]
fn a_database_comes_back_with_its_aliases() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let db = open(&dir);
    for (name, count) in [("a", 10), ("b", 20)] {
        let made = db.create_collection(name, config()).unwrap();
        made.upsert(points(0..count)).unwrap();
    }
    db.set_alias("now", "b").unwrap();
    let info = db.create_full_snapshot("all", "").unwrap();
    assert_eq!((info.collections.len(), info.aliases.len()), (2, 1));
    let name = SnapshotName::full("all");
    assert_eq!((db.snapshots(None).unwrap(), db.snapshots(Some("a")).unwrap()), (vec![name.clone()], vec![]));
    let progress = Progress::default;
    let refused = db.restore_full_snapshot(&name, Replace::Never, &progress()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists);
    assert!(db.delete_collection("b").unwrap());
    db.collection("a").unwrap().upsert(points(100..105)).unwrap();
    db.create_collection("c", config()).unwrap();
    let counts = db.look_at_snapshot(&name, |then| {
        Ok((then.collection("a")?.count()?, then.collection("now")?.count()?, then.collections().len()))
    });
    assert_eq!(counts.unwrap(), (10, 20, 2));
    // One of it, under another name; then all.
    db.restore_snapshot_with(&name, Some("b"), "b2", Replace::Never, &progress()).unwrap();
    assert_eq!(db.restore_snapshot(&name, "x").unwrap_err().kind(), ErrorKind::Invalid);
    let done = db.restore_full_snapshot(&name, Replace::Existing, &progress()).unwrap();
    assert_eq!(done.collections, ["a", "b"]);
    assert_eq!(db.collections(), ["a", "b", "b2", "c"]);
    let count = |name: &str| db.collection(name).unwrap().count().unwrap();
    assert_eq!((count("a"), count("now"), count("b2")), (10, 20, 20));
    assert_eq!(folders(&*dir), 4);
}

#[test]
fn a_pin_keeps_what_was_dropped() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let mut options = Options { background: false, ..Options::default() };
    options.collections.clock = Arc::clone(&clock) as _;
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let db = Database::open_in(Arc::clone(&dir), "test", options.clone()).unwrap();
    let books = db.create_collection("books", config()).unwrap();
    books.upsert(points(0..50)).unwrap();
    books.flush().unwrap();
    books.create_snapshot("a", "").unwrap();
    let name = SnapshotName::of("books", "a");
    for bad in [Duration::ZERO, Duration::from_secs(7 * 86_400 + 1)] {
        assert_eq!(db.pin_snapshot(&name, bad).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let pin = db.pin_snapshot(&name, Duration::from_secs(60)).unwrap();
    assert_eq!((pin.until_ms, &pin.snapshot), (1_060_000, &name));
    assert!(db.drop_snapshot(&name).unwrap());
    let objects = || dir.list("snapshots/objects").unwrap().len();
    let kept = objects();
    assert!(kept > 0);
    drop(books);
    db.close().unwrap();
    let db = Database::open_in(Arc::clone(&dir), "test", options.clone()).unwrap();
    assert_eq!((objects(), db.snapshot_pins().unwrap()), (kept, vec![pin.clone()]));
    clock.advance(Duration::from_secs(61));
    // Each opening sweeps.
    for expected in [kept, 0] {
        db.clone().close().unwrap();
        Database::open_in(Arc::clone(&dir), "test", options.clone()).unwrap().close().unwrap();
        assert_eq!(objects(), expected);
    }
    assert!(!Database::open_in(dir, "test", options).unwrap().unpin_snapshot(pin.id).unwrap());
}

#[test]
fn damage_is_named_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Dir> = Arc::new(RealDir::open(place.path(), true).unwrap());
    let db = open(&dir);
    let books = db.create_collection("books", config()).unwrap();
    books.upsert(points(0..5_000)).unwrap();
    books.flush().unwrap();
    books.wait_indexed().unwrap();
    books.upsert(points(5_000..5_010)).unwrap();
    let name = SnapshotName::of("books", "a");
    let info = books.create_snapshot("a", "").unwrap();
    assert!(info.files.iter().any(|file| file.path.contains("/log/")));
    for file in &info.files {
        let path = format!("snapshots/objects/{}", file.digest);
        let bytes = dir.open(&path).unwrap().to_vec();
        let mut flipped = bytes.clone();
        let at = bytes.len() / 2;
        flipped[at] ^= 1;
        // A new file: the old one has a second name in the live collection.
        for (bytes, is_good) in [(&flipped, false), (&bytes[..at].to_vec(), false), (&bytes, true)] {
            dir.remove(&path).unwrap();
            let copy = dir.create(&path).unwrap();
            copy.write_at(0, &[bytes]).unwrap();
            copy.seal().unwrap();
            let digests = db.verify_snapshot_digests(&name, &Progress::default());
            let restored = db.restore_snapshot(&name, "new");
            assert_eq!((digests.is_ok(), restored.is_ok()), (is_good, is_good), "{}", file.path);
            if let Err(error) = restored {
                let text = error.to_string();
                let inner = file.path.split_once('/').unwrap().1;
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
                assert!(text.contains(inner) && text.contains("offset"), "{text}");
                assert_eq!(folders(&*dir), 1);
            } else {
                db.delete_collection("new").unwrap();
            }
        }
        dir.remove(&path).unwrap();
        let missing = db.restore_snapshot(&name, "new").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Corrupt);
        let copy = dir.create(&path).unwrap();
        copy.write_at(0, &[&bytes]).unwrap();
        copy.seal().unwrap();
    }
    assert_eq!((books.count().unwrap(), db.collections()), (5_010, vec!["books".to_owned()]));
    db.restore_snapshot(&name, "new").unwrap();
}

#[test]
fn unchanged_data_is_shared() {
    let place = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Dir> = Arc::new(RealDir::open(place.path(), true).unwrap());
    let db = open(&dir);
    let books = db.create_collection("books", config()).unwrap();
    books.upsert(points(0..2_000)).unwrap();
    books.flush().unwrap();
    books.wait_indexed().unwrap();
    let one = books.create_snapshot("one", "").unwrap();
    let two = books.create_snapshot("two", "").unwrap();
    assert_eq!(one.files, two.files);
    assert_ne!(one.id, two.id);
    // The files once, and two manifests.
    assert_eq!(dir.list("snapshots/objects").unwrap().len(), one.files.len() + 2);
    books.upsert(points(0..10)).unwrap();
    let three = books.create_snapshot("three", "").unwrap();
    let new: Vec<_> = three.files.iter().filter(|file| !one.files.contains(file)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(new[0].path.contains("/log/") && new[0].bytes < 4_096, "{new:?}");
}

#[test]
fn as_a_task_it_is_listed_and_says_why_it_failed() {
    for background in [false, true] {
        let dir: Arc<dyn Dir> = MemoryDir::new();
        let options = Options { background, ..Options::default() };
        let db = Database::open_in(Arc::clone(&dir), "test", options).unwrap();
        let books = db.create_collection("books", config()).unwrap();
        books.upsert(points(0..100)).unwrap();
        books.create_snapshot("a", "").unwrap();
        let name = SnapshotName::of("books", "a");
        let ended = |id| db.wait_task(id, None).unwrap();
        let task = ended(db.restore_snapshot_task(&name, None, "new", Replace::Never).unwrap());
        assert_eq!((task.kind, task.state), (TaskKind::Restore, TaskState::Completed));
        assert_eq!((task.collection.as_str(), task.progress), ("new", 100.0));
        assert!(task.argument.contains("\"a\""), "{}", task.argument);
        assert_eq!(db.collection("new").unwrap().count().unwrap(), 100);
        let task = ended(db.restore_snapshot_task(&name, None, "books", Replace::Existing).unwrap());
        assert_eq!(task.state, TaskState::Completed, "{}", task.message);
        assert_eq!(db.collection("books").unwrap().count().unwrap(), 100);
        for taken in ["new", "books"] {
            let refused = db.restore_snapshot_task(&name, None, taken, Replace::Never);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Exists);
        }
        let object = &db.describe_snapshot(&name).unwrap().files[0].digest;
        dir.remove(&format!("snapshots/objects/{object}")).unwrap();
        let task = ended(db.restore_snapshot_task(&name, None, "third", Replace::Never).unwrap());
        assert_eq!(task.state, TaskState::Failed);
        assert!(task.message.contains("missing"), "{}", task.message);
        assert_eq!(db.tasks(&TaskFilter::new().kind(TaskKind::Restore)).len(), 3);
        assert_eq!((db.collections(), folders(&*dir)), (vec!["books".into(), "new".into()], 2));
    }
}

#[test]
fn snapshots_beside_writers_are_of_one_operation() {
    let place = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    // Many checkpoints and small files of the log.
    options.collections.head_rows_max = 2_000;
    options.collections.log_bytes_max = 200_000;
    let db = Database::open(place.path(), options).unwrap();
    let books = db.create_collection("books", config()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (books, stop) = (books.clone(), &stop);
                scope.spawn(move || {
                    let mut log = Vec::new();
                    let mut at = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // Each writer has ids of its own, so that its own order is the order of all that touches them.
                        let ids = (at % 40) * 50..(at % 40) * 50 + 20;
                        let batch: Vec<Point> = ids.map(|id| point_of(2 * id + writer, at)).collect();
                        log.push((books.upsert(batch).unwrap(), at));
                        at += 1;
                    }
                    log
                })
            })
            .collect();
        for n in 0..25 {
            db.create_snapshot("books", &format!("s{n}"), "").unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    for n in 0..25 {
        let name = SnapshotName::of("books", format!("s{n}"));
        let seq = db.describe_snapshot(&name).unwrap().collections[0].seq;
        let mut model = std::collections::BTreeMap::new();
        for (writer, log) in (0..).zip(&written) {
            for (_, at) in log.iter().filter(|(written, _)| *written <= seq) {
                let ids = (at % 40) * 50..(at % 40) * 50 + 20;
                model.extend(ids.map(|id| (PointId::from(2 * id + writer), *at)));
            }
        }
        let restored = db.restore_snapshot(&name, &format!("r{n}")).unwrap();
        let found = all(&restored.view()).into_iter().map(|(id, payload, _)| {
            let at = payload.unwrap().get("at").cloned();
            (id, at)
        });
        let expected = model.into_iter().map(|(id, at)| (id, Some(nearfield::Value::from(at))));
        assert!(found.eq(expected), "s{n} at {seq}");
        db.delete_collection(&format!("r{n}")).unwrap();
    }
}

fn point_of(id: u64, at: u64) -> Point {
    Point::new(id, vec![id as f32, at as f32, 1.0])
        .payload(Object::from_entries([("at".to_owned(), at.into())]))
}
