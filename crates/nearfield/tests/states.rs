//! States of collections: closed ones, unloaded ones, damaged ones, and that none of them keeps others from working.

use std::sync::Arc;

use nearfield::{
    Collection, CollectionConfig, CollectionState, Database, ErrorKind, Metric, Options, Point, Reader,
    TaskState,
};
use nearfield_platform::{Action, Call, Dir, Fault, FaultPlan, Faults, MemoryDir};

fn open(dir: &Arc<MemoryDir>) -> Database {
    Database::open_in(Arc::clone(dir) as Arc<dyn Dir>, "states", Options::default()).expect("opens")
}

fn create(db: &Database, name: &str) -> Collection {
    db.create_collection(name, CollectionConfig::new(2, Metric::Dot)).expect("creates")
}

fn point(id: u64) -> Point {
    Point::new(id, vec![id as f32, 1.0])
}

fn state(db: &Database, name: &str) -> CollectionState {
    db.collection_state(name).expect("there is one")
}

#[test]
fn a_closed_collection_refuses_work_until_it_is_opened() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    let (a, b) = (create(&db, "a"), create(&db, "b"));
    db.set_alias("now", "a").unwrap();
    a.upsert((0..20).map(point).collect()).unwrap();
    let view = a.view();
    db.close_collection("now").unwrap();
    db.close_collection("a").unwrap();
    assert_eq!(state(&db, "a"), CollectionState::Closed);
    let refused = db.collection("now").unwrap_err();
    assert_eq!(
        (refused.kind(), refused.to_string().as_str()),
        (ErrorKind::Closed, "collection 'a' is closed: open it first")
    );
    assert_eq!(a.upsert(vec![point(1)]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(a.count().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(view.count(), 20);
    b.upsert(vec![point(1)]).unwrap();
    let flush = a.flush_task().unwrap();
    let failed = db.wait_task(flush, None).unwrap();
    assert!(failed.state == TaskState::Failed && failed.message.contains("closed"), "{failed:?}");
    drop((a, b));
    db.close().unwrap();
    let reader = Reader::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "states").unwrap();
    assert_eq!(reader.view("a").unwrap_err().kind(), ErrorKind::Closed);
    let db = open(&dir);
    assert_eq!((state(&db, "a"), state(&db, "b")), (CollectionState::Closed, CollectionState::Unloaded));
    assert_eq!(db.collection("a").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(db.open_collection("now").unwrap().count().unwrap(), 20);
    assert_eq!(db.open_collection("a").unwrap().count().unwrap(), 20);
    assert_eq!(state(&db, "a"), CollectionState::Ready);
    db.close_collection("a").unwrap();
    assert!(db.delete_collection("a").unwrap());
    create(&db, "a");
    assert_eq!(state(&db, "a"), CollectionState::Ready);
    assert_eq!(db.close_collection("x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.open_collection("x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.collection_state("x").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_unloaded_collection_is_opened_at_its_next_use() {
    let db = Database::in_memory().unwrap();
    let c = create(&db, "c");
    c.upsert((0..20).map(point).collect()).unwrap();
    assert_eq!(db.unload_collection("c").unwrap_err().kind(), ErrorKind::Busy);
    drop(c);
    assert!(db.unload_collection("c").unwrap());
    assert!(!db.unload_collection("c").unwrap());
    assert_eq!(state(&db, "c"), CollectionState::Unloaded);
    let c = db.collection("c").unwrap();
    c.upsert(vec![point(20)]).unwrap();
    assert_eq!((c.count().unwrap(), state(&db, "c")), (21, CollectionState::Ready));
}

#[test]
fn a_damaged_collection_says_so_and_keeps_none_from_working() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    for name in ["bad", "good"] {
        create(&db, name).upsert(vec![point(1)]).unwrap();
    }
    db.close().unwrap();
    for folder in dir.list("collections").unwrap() {
        let reader = Reader::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "states").unwrap();
        let shard = format!("collections/{}/shards/0", folder.name);
        let manifests: Vec<String> = dir
            .list(&shard)
            .unwrap()
            .iter()
            .filter(|entry| entry.name.starts_with("MANIFEST"))
            .map(|entry| format!("{shard}/{}", entry.name))
            .collect();
        let bytes: Vec<Vec<u8>> = manifests.iter().map(|path| dir.open(path).unwrap().to_vec()).collect();
        let put = |path: &String, bytes: &[u8]| {
            dir.remove(path).unwrap();
            dir.create(path).unwrap().write_at(0, &[bytes]).unwrap();
        };
        manifests.iter().for_each(|path| put(path, b"not a manifest"));
        if reader.view("bad").is_err() {
            break;
        }
        manifests.iter().zip(&bytes).for_each(|(path, bytes)| put(path, bytes));
    }
    let db = open(&dir);
    assert_eq!(db.collection("bad").unwrap_err().kind(), ErrorKind::Corrupt);
    let CollectionState::Error { reason, advice } = state(&db, "bad") else { panic!("it is damaged") };
    assert!(reason.contains("MANIFEST") && advice.contains("restore"), "{reason}: {advice}");
    let good = db.collection("good").unwrap();
    good.upsert(vec![point(2)]).unwrap();
    assert_eq!((good.count().unwrap(), state(&db, "good")), (2, CollectionState::Ready));
    assert!(db.delete_collection("bad").unwrap());
}

#[test]
fn a_collection_whose_disk_failed_is_opened_again() {
    let plan = FaultPlan::new();
    let dir = Faults::new(MemoryDir::new(), Arc::clone(&plan));
    let options = Options { background: false, ..Options::default() };
    let db = Database::open_in(dir, "states", options).unwrap();
    let c = create(&db, "c");
    c.upsert(vec![point(1)]).unwrap();
    plan.arm_on(Call::Sync, plan.calls_of(Call::Sync), Action::Fail { fault: Fault::Io, lasting: false });
    assert_eq!(c.sync().unwrap_err().kind(), ErrorKind::Unavailable);
    let CollectionState::Error { reason, .. } = state(&db, "c") else { panic!("it is read-only") };
    assert!(reason.contains("read-only"), "{reason}");
    assert_eq!(c.upsert(vec![point(2)]).unwrap_err().kind(), ErrorKind::Unavailable);
    let again = db.open_collection("c").unwrap();
    again.upsert(vec![point(2)]).unwrap();
    assert_eq!((again.count().unwrap(), state(&db, "c")), (2, CollectionState::Ready));
    // The handle of before is not the collection any more.
    assert_eq!(c.upsert(vec![point(3)]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn one_that_is_being_opened_keeps_no_other_waiting() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    for name in ["slow", "quick"] {
        create(&db, name).upsert(vec![point(1)]).unwrap();
    }
    db.close().unwrap();
    let plan = FaultPlan::new();
    let db = Database::open_in(Faults::new(dir, Arc::clone(&plan)), "states", Options::default()).unwrap();
    let (reached, reach) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new((reached, released));
    plan.on_fire(move |_, _| {
        let (reached, released) = &*gate.lock().unwrap();
        reached.send(()).unwrap();
        let _ = released.recv();
    });
    // The first look into the collection's folder.
    plan.arm_on(Call::List, plan.calls_of(Call::List), Action::Fail { fault: Fault::Io, lasting: false });
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| db.collection("slow").unwrap_err().kind());
        reach.recv().unwrap();
        assert_eq!(state(&db, "slow"), CollectionState::Loading);
        assert_eq!(db.collection("quick").unwrap().count().unwrap(), 1);
        create(&db, "new");
        assert_eq!(db.collections(), ["new", "quick", "slow"]);
        release.send(()).unwrap();
        assert_eq!(slow.join().unwrap(), ErrorKind::Unavailable);
    });
    assert!(matches!(state(&db, "slow"), CollectionState::Error { .. }));
    assert_eq!(db.collection("slow").unwrap().count().unwrap(), 1);
    assert_eq!(state(&db, "slow"), CollectionState::Ready);
}
