//! Objects that are second names of files, and damage.

use std::io::ErrorKind;
use std::sync::Arc;

use nearfield_platform::{Call, Dir, Fault, FaultPlan, Faults, MemoryDir, RealDir};

use super::{file, objects, open};
use crate::{Entry, Expect, Manifest, Object, Pins, Placed, Put, SnapshotStore, Source, StoreError};

fn one(path: &str, object: Object) -> Manifest {
    Manifest { files: vec![Entry { path: path.into(), object, crc64: 0 }], ..Manifest::default() }
}

#[test]
fn files_are_linked_and_outlive_their_names() {
    let place = tempfile::tempdir().unwrap();
    let real: Arc<dyn Dir> = Arc::new(RealDir::open(place.path(), true).unwrap());
    for dir in [MemoryDir::new() as Arc<dyn Dir>, real] {
        let (store, _) = open(Arc::clone(&dir));
        let object = file(&*dir, "rows", b"rows");
        let hold = store.hold();
        assert_eq!(store.put(&hold, &object, Source::File("rows")).unwrap(), Put::Linked);
        assert_eq!(store.put(&hold, &object, Source::File("rows")).unwrap(), Put::There);
        store.publish(&hold, "a", &one("rows", object), Expect::Absent).unwrap();
        dir.remove("rows").unwrap();
        assert_eq!(&store.get(&object).unwrap()[..], b"rows");
        assert_eq!(store.place(&object, &*dir, "back").unwrap(), Placed::Linked);
        store.retract("a", Expect::Any).unwrap();
        drop(hold);
        store.sweep().unwrap();
        assert!(objects(&*dir).is_empty());
        assert_eq!(&dir.open("back").unwrap()[..], b"rows", "what was restored stands on its own name");
    }
}

#[test]
fn where_nothing_can_be_linked_bytes_are_asked_for() {
    let below = MemoryDir::new() as Arc<dyn Dir>;
    let plan = FaultPlan::new();
    let dir: Arc<dyn Dir> = Faults::new(below, Arc::clone(&plan));
    let (store, _) = open(Arc::clone(&dir));
    let object = file(&*dir, "rows", b"rows");
    let hold = store.hold();
    store.put(&hold, &Object::of(b"x"), Source::Bytes(b"x")).unwrap();
    // No fault of the six is `Unsupported`: an error that is none of those that mean "copy it" is told.
    plan.arm_on(
        Call::Link,
        plan.calls_of(Call::Link),
        nearfield_platform::Action::Fail { fault: Fault::Io, lasting: false },
    );
    assert!(matches!(store.put(&hold, &object, Source::File("rows")), Err(StoreError::Io(_))));
    assert_eq!(store.put(&hold, &object, Source::Bytes(b"rows")).unwrap(), Put::Copied);
}

#[test]
fn a_damaged_root_keeps_everything() {
    let dir = MemoryDir::new();
    let (store, _) = open(dir.clone());
    let hold = store.hold();
    for (name, bytes) in [("a", &b"1"[..]), ("b", b"2")] {
        let object = Object::of(bytes);
        store.put(&hold, &object, Source::Bytes(bytes)).unwrap();
        store.publish(&hold, name, &one("x", object), Expect::Absent).unwrap();
    }
    store.pin("a", std::time::Duration::from_secs(9)).unwrap();
    store.retract("b", Expect::Any).unwrap();
    drop(hold);
    let before = objects(&*dir);
    let refs = dir.list("data/snapshots/refs").unwrap();
    let manifest = store.resolve("a", None).unwrap().unwrap().digest;
    let roots = [
        vec![format!("data/snapshots/refs/{}", refs[0].name)],
        vec![format!("data/snapshots/objects/{manifest}")],
        vec!["data/snapshots/PINS-a".to_owned(), "data/snapshots/PINS-b".to_owned()],
    ];
    for paths in roots {
        let kept: Vec<Vec<u8>> = paths.iter().map(|path| dir.open(path).unwrap().to_vec()).collect();
        for (path, bytes) in paths.iter().zip(&kept) {
            let mut flipped = bytes.clone();
            flipped[9] ^= 1;
            dir.remove(path).unwrap();
            file(&*dir, path, &flipped);
        }
        let swept = store.sweep();
        assert!(matches!(swept, Err(StoreError::Damaged { .. })), "{paths:?}: {swept:?}");
        assert_eq!(objects(&*dir), before, "{paths:?}");
        for (path, bytes) in paths.iter().zip(&kept) {
            dir.remove(path).unwrap();
            file(&*dir, path, bytes);
        }
    }
    assert_eq!(store.sweep().unwrap().objects, 2, "what b had");
    assert_eq!(store.list("").unwrap().names, ["a"]);
}

#[test]
fn a_missing_manifest_keeps_everything_too() {
    let dir = MemoryDir::new();
    let (store, _) = open(dir.clone());
    let (hold, object) = (store.hold(), Object::of(b"1"));
    store.put(&hold, &object, Source::Bytes(b"1")).unwrap();
    let digest = store.publish(&hold, "a", &one("x", object), Expect::Absent).unwrap();
    store.put(&store.hold(), &Object::of(b"orphan"), Source::Bytes(b"orphan")).unwrap();
    dir.remove(&format!("data/snapshots/objects/{digest}")).unwrap();
    drop(hold);
    assert!(matches!(store.sweep(), Err(StoreError::Missing { .. })));
    assert!(matches!(store.resolve("a", None), Err(StoreError::Missing { .. })));
    assert_eq!(objects(&*dir).len(), 2);
}

#[test]
fn damage_in_an_object_is_named() {
    let dir = MemoryDir::new();
    let (store, _) = open(dir.clone());
    let (hold, object) = (store.hold(), Object::of(b"1234"));
    store.put(&hold, &object, Source::Bytes(b"1234")).unwrap();
    let path = format!("data/snapshots/objects/{}", object.digest);
    for (bytes, words) in [(&b"123"[..], "offset 3"), (b"12345", "offset 4")] {
        dir.remove(&path).unwrap();
        file(&*dir, &path, bytes);
        let text = store.get(&object).unwrap_err().to_string();
        assert!(text.contains(&path) && text.contains(words), "{text}");
    }
    dir.remove(&path).unwrap();
    file(&*dir, &path, b"1235");
    let region = store.get(&object).unwrap();
    assert!(object.check(&path, &region).unwrap_err().to_string().contains("digest"));
    assert!(store.place(&object, &*MemoryDir::new(), "x").is_err(), "a copy is compared");
}

#[test]
fn a_damaged_object_gives_way_to_its_bytes() {
    let dir = MemoryDir::new();
    let (store, _) = open(dir.clone());
    let (hold, object) = (store.hold(), Object::of(b"1234"));
    store.put(&hold, &object, Source::Bytes(b"1234")).unwrap();
    let path = format!("data/snapshots/objects/{}", object.digest);
    for damaged in [&b"123"[..], b"12345", b"1235", b""] {
        dir.remove(&path).unwrap();
        file(&*dir, &path, damaged);
        assert!(store.put(&hold, &object, Source::Bytes(b"1235")).is_err());
        assert_eq!(&dir.open(&path).unwrap()[..], damaged, "wrong bytes change nothing");
        assert_eq!(store.put(&hold, &object, Source::Stream(&mut &b"1234rest"[..])).unwrap(), Put::Copied);
        assert_eq!(&store.get(&object).unwrap()[..], b"1234");
        assert_eq!(store.put(&hold, &object, Source::Bytes(b"1234")).unwrap(), Put::There);
    }
    assert_eq!(objects(&*dir).len(), 1);
}

#[test]
fn a_damaged_name_hides_no_other_and_can_be_dropped() {
    let dir = MemoryDir::new();
    let (store, _) = open(dir.clone());
    let hold = store.hold();
    for name in ["a", "b"] {
        store.publish(&hold, name, &Manifest::default(), Expect::Absent).unwrap();
    }
    let path = format!("data/snapshots/refs/{}", crate::refs::file_name("a"));
    dir.remove(&path).unwrap();
    file(&*dir, &path, b"no name");
    let listing = store.list("").unwrap();
    assert_eq!((listing.names.len(), listing.damaged.len()), (1, 1));
    assert!(matches!(store.retract("a", Expect::Absent), Err(StoreError::Damaged { .. })));
    assert!(store.retract("a", Expect::Any).unwrap());
    assert!(!store.retract("a", Expect::Any).unwrap());
    assert!(store.list("").unwrap().damaged.is_empty());
    store.sweep().unwrap();
    assert!(store.resolve("b", None).unwrap().is_some());
}

#[test]
fn what_a_killed_copy_left_goes_at_the_next_opening() {
    let dir = MemoryDir::new();
    let (store, _) = open(dir.clone());
    store.put(&store.hold(), &Object::of(b"1"), Source::Bytes(b"1")).unwrap();
    file(&*dir, "data/snapshots/objects/object-7.tmp", b"half");
    file(&*dir, "data/snapshots/refs/replace-0.tmp", b"half");
    let (store, _) = open(dir.clone());
    assert_eq!(dir.list("data/snapshots/refs").unwrap(), []);
    store.sweep().unwrap();
    assert_eq!(dir.list("data/snapshots/objects").unwrap(), []);
}

#[test]
fn a_full_disk_publishes_nothing() {
    let dir = MemoryDir::with_capacity(200);
    let (store, _) = open(dir.clone());
    let (hold, large) = (store.hold(), vec![1; 4_096]);
    let error = store.put(&hold, &Object::of(&large), Source::Bytes(&large)).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(matches!(&error, StoreError::Io(e) if e.kind() == ErrorKind::StorageFull));
    assert!(objects(&*dir).is_empty() && dir.list("data/snapshots/objects").unwrap().is_empty());
}
