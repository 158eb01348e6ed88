//! What every [`SnapshotStore`] must do, as one suite: `conformance::store(&|| ...)` from a test.
//!
//! A case panics with the line that failed, as tests do. What survives a power cut is shown beside each implementation.

use std::sync::Arc;
use std::time::Duration;

use nearfield_platform::{Dir, ManualClock, MemoryDir};

use crate::contract::{Expect, Object, PIN_TTL_MAX, Placed, Put, SnapshotStore, Source, Swept};
use crate::error::{Result, StoreError};
use crate::manifest::{Entry, Manifest};

const FINE: &str = "the store is healthy and the call is within the contract";

/// A new, empty store and the clock it looks at.
pub type Made = (Arc<dyn SnapshotStore>, Arc<ManualClock>);

/// Runs the whole suite, each case in a new, empty store.
///
/// # Panics
///
/// Where the store breaks the contract.
pub fn store(make: &dyn Fn() -> Made) {
    let cases: [fn(&dyn SnapshotStore, &ManualClock); 11] = [
        objects_come_back,
        streams_are_read_to_their_end_and_no_further,
        wrong_bytes_are_refused,
        names_change_by_compare_and_swap,
        names_are_any_text,
        a_sweep_removes_what_nothing_keeps,
        names_share_objects,
        a_hold_keeps,
        pins_keep_what_was_retracted,
        pins_end_by_clock_and_two_sweeps,
        times_of_pins_are_checked,
    ];
    for case in cases {
        let (store, clock) = make();
        case(&*store, &clock);
    }
}

/// A manifest of these files, put and published.
#[track_caller]
fn publish(store: &dyn SnapshotStore, name: &str, files: &[&[u8]], expect: Expect) -> Result<Manifest> {
    let hold = store.hold();
    let manifest = manifest(files);
    for (entry, bytes) in manifest.files.iter().zip(files) {
        store.put(&hold, &entry.object, Source::Bytes(bytes)).expect(FINE);
    }
    store.publish(&hold, name, &manifest, expect).map(|_| manifest)
}

fn manifest(files: &[&[u8]]) -> Manifest {
    let entry = |(i, bytes): (usize, &&[u8])| Entry {
        path: format!("files/{i}"),
        object: Object::of(bytes),
        crc64: 0,
    };
    Manifest { created_ms: 7, body: vec![1, 2, 3], files: files.iter().enumerate().map(entry).collect() }
}

#[track_caller]
fn has(store: &dyn SnapshotStore, bytes: &[u8]) -> bool {
    match store.get(&Object::of(bytes)) {
        Ok(found) => {
            assert_eq!(&found[..], bytes);
            true
        }
        Err(StoreError::Missing { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn objects_come_back(store: &dyn SnapshotStore, _: &ManualClock) {
    let hold = store.hold();
    let large = vec![7; 3 << 20];
    for bytes in [&b""[..], b"x", &large] {
        let object = Object::of(bytes);
        assert!(!has(store, bytes));
        assert_eq!(store.put(&hold, &object, Source::Bytes(bytes)).expect(FINE), Put::Copied);
        assert_eq!(store.put(&hold, &object, Source::Bytes(bytes)).expect(FINE), Put::There);
        assert!(has(store, bytes));
        let other = MemoryDir::new();
        assert_eq!(store.place(&object, &*other, "file").expect(FINE), Placed::Copied);
        assert_eq!(&other.open("file").expect(FINE)[..], bytes);
        assert!(store.place(&object, &*other, "file").is_err(), "the place is taken");
    }
}

fn streams_are_read_to_their_end_and_no_further(store: &dyn SnapshotStore, _: &ManualClock) {
    let hold = store.hold();
    let object = Object::of(b"1234");
    for expected in [Put::Copied, Put::There] {
        let mut bytes = &b"1234rest"[..];
        assert_eq!(store.put(&hold, &object, Source::Stream(&mut bytes)).expect(FINE), expected);
        assert_eq!(bytes, b"rest");
    }
    assert!(has(store, b"1234"));
    for wrong in [&b"123"[..], b"1235rest"] {
        let mut bytes = wrong;
        assert!(store.put(&hold, &object, Source::Stream(&mut bytes)).is_err());
        let other = Object::of(b"5678");
        assert!(store.put(&hold, &other, Source::Stream(&mut &wrong[..])).is_err());
        assert!(!has(store, b"5678"));
    }
}

fn wrong_bytes_are_refused(store: &dyn SnapshotStore, _: &ManualClock) {
    let hold = store.hold();
    let object = Object::of(b"right");
    for wrong in [&b"wrong"[..], b"", b"right!"] {
        let put = store.put(&hold, &object, Source::Bytes(wrong));
        assert!(matches!(put, Err(StoreError::Damaged { .. })), "{put:?}");
        assert!(!has(store, b"right"));
    }
    store.put(&hold, &object, Source::Bytes(b"right")).expect(FINE);
    assert!(store.put(&hold, &object, Source::Bytes(b"wrong")).is_err(), "also where it is there already");
}

fn names_change_by_compare_and_swap(store: &dyn SnapshotStore, _: &ManualClock) {
    assert_eq!(store.resolve("a", None).expect(FINE), None);
    let first = publish(store, "a", &[b"1"], Expect::Absent).expect(FINE);
    let found = store.resolve("a", None).expect(FINE).expect("it was published");
    assert_eq!((found.name.as_str(), &found.manifest), ("a", &first));
    assert!(matches!(publish(store, "a", &[b"2"], Expect::Absent), Err(StoreError::Conflict { .. })));
    assert_eq!(store.resolve("a", None).expect(FINE), Some(found.clone()));
    publish(store, "a", &[b"2"], Expect::Is(found.digest)).expect(FINE);
    let stale = Expect::Is(found.digest);
    assert!(matches!(store.retract("a", stale), Err(StoreError::Conflict { .. })));
    assert!(matches!(publish(store, "b", &[b"2"], stale), Err(StoreError::Conflict { .. })));
    publish(store, "b", &[b"3"], Expect::Any).expect(FINE);
    assert_eq!(store.list("").expect(FINE).names, ["a", "b"]);
    assert!(store.retract("a", Expect::Any).expect(FINE));
    assert!(!store.retract("a", Expect::Any).expect(FINE));
    assert!(!store.retract("a", Expect::Absent).expect(FINE));
    assert_eq!(store.list("").expect(FINE).names, ["b"]);
    assert_eq!(store.list("c").expect(FINE).names, [""; 0]);
}

fn names_are_any_text(store: &dyn SnapshotStore, _: &ManualClock) {
    let long = "x".repeat(1_024);
    let names = ["../../etc/passwd", "a/b", "A/b", "replace-0.tmp", "ä ö\n\0", "PINS-a", &long];
    for name in names {
        publish(store, name, &[name.as_bytes()], Expect::Absent).expect(FINE);
    }
    for name in names {
        let found = store.resolve(name, None).expect(FINE).expect("it was published");
        assert_eq!(&store.get(&found.manifest.files[0].object).expect(FINE)[..], name.as_bytes());
    }
    assert_eq!(store.list("").expect(FINE).names.len(), names.len());
    assert_eq!(store.list("a/").expect(FINE).names, ["a/b"]);
    for bad in ["", &"x".repeat(1_025)] {
        assert!(matches!(publish(store, bad, &[], Expect::Any), Err(StoreError::Name { .. })));
        assert!(matches!(store.resolve(bad, None), Err(StoreError::Name { .. })));
    }
}

fn a_sweep_removes_what_nothing_keeps(store: &dyn SnapshotStore, _: &ManualClock) {
    assert_eq!(store.sweep().expect(FINE), Swept::default());
    publish(store, "a", &[b"kept"], Expect::Absent).expect(FINE);
    store.put(&store.hold(), &Object::of(b"orphan"), Source::Bytes(b"orphan")).expect(FINE);
    assert_eq!(store.sweep().expect(FINE), Swept { objects: 1, bytes: 6, expired: 0 });
    assert!(has(store, b"kept") && !has(store, b"orphan"));
    store.retract("a", Expect::Any).expect(FINE);
    // The manifest goes too.
    assert_eq!(store.sweep().expect(FINE).objects, 2);
    assert_eq!(store.sweep().expect(FINE), Swept::default());
}

fn names_share_objects(store: &dyn SnapshotStore, _: &ManualClock) {
    publish(store, "a", &[b"both", b"a"], Expect::Absent).expect(FINE);
    publish(store, "b", &[b"both", b"b"], Expect::Absent).expect(FINE);
    store.retract("a", Expect::Any).expect(FINE);
    store.sweep().expect(FINE);
    assert!(has(store, b"both") && has(store, b"b") && !has(store, b"a"));
}

fn a_hold_keeps(store: &dyn SnapshotStore, _: &ManualClock) {
    let (one, other) = (store.hold(), store.hold());
    let object = Object::of(b"x");
    store.put(&one, &object, Source::Bytes(b"x")).expect(FINE);
    store.put(&other, &object, Source::Bytes(b"x")).expect(FINE);
    drop(one);
    store.sweep().expect(FINE);
    assert!(has(store, b"x"));
    drop(other);
    publish(store, "a", &[b"y"], Expect::Absent).expect(FINE);
    let reading = store.hold();
    store.resolve("a", Some(&reading)).expect(FINE);
    store.retract("a", Expect::Any).expect(FINE);
    store.sweep().expect(FINE);
    assert!(!has(store, b"x") && has(store, b"y"));
    drop(reading);
    store.sweep().expect(FINE);
    assert!(!has(store, b"y"));
}

fn pins_keep_what_was_retracted(store: &dyn SnapshotStore, _: &ManualClock) {
    let hour = Duration::from_secs(3_600);
    assert!(matches!(store.pin("a", hour), Err(StoreError::Unknown { .. })));
    publish(store, "a", &[b"1"], Expect::Absent).expect(FINE);
    let (first, second) = (store.pin("a", hour).expect(FINE), store.pin("a", hour).expect(FINE));
    assert!(second.id > first.id);
    assert_eq!(store.pins().expect(FINE), [first.clone(), second.clone()]);
    publish(store, "a", &[b"2"], Expect::Any).expect(FINE);
    store.retract("a", Expect::Any).expect(FINE);
    store.sweep().expect(FINE);
    assert!(has(store, b"1") && !has(store, b"2"));
    assert!(store.unpin(first.id).expect(FINE));
    assert!(!store.unpin(first.id).expect(FINE));
    store.sweep().expect(FINE);
    assert!(has(store, b"1"));
    assert!(store.unpin(second.id).expect(FINE));
    store.sweep().expect(FINE);
    assert!(!has(store, b"1"));
    assert_eq!(store.pins().expect(FINE), []);
}

fn pins_end_by_clock_and_two_sweeps(store: &dyn SnapshotStore, clock: &ManualClock) {
    publish(store, "a", &[b"1"], Expect::Absent).expect(FINE);
    store.pin("a", Duration::from_secs(10)).expect(FINE);
    store.retract("a", Expect::Any).expect(FINE);
    for _ in 0..3 {
        assert_eq!(store.sweep().expect(FINE).expired, 0);
    }
    clock.advance(Duration::from_secs(10));
    assert_eq!(store.sweep().expect(FINE), Swept::default(), "the first sweep only notes it");
    assert!(has(store, b"1"));
    let swept = store.sweep().expect(FINE);
    assert_eq!((swept.expired, swept.objects), (1, 2));
    assert!(!has(store, b"1"));
    assert_eq!(store.pins().expect(FINE), []);
}

fn times_of_pins_are_checked(store: &dyn SnapshotStore, _: &ManualClock) {
    publish(store, "a", &[b"1"], Expect::Absent).expect(FINE);
    let second = Duration::from_secs(1);
    for bad in [Duration::ZERO, second - Duration::from_nanos(1), PIN_TTL_MAX + Duration::from_nanos(1)] {
        assert!(matches!(store.pin("a", bad), Err(StoreError::Ttl { .. })), "{bad:?}");
    }
    for good in [second, PIN_TTL_MAX] {
        store.pin("a", good).expect(FINE);
    }
}
