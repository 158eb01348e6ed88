//! A power cut after every call of a history: names and pins are those before or after the step, all they keep is whole, and one sweep
//! leaves nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nearfield_platform::{Dir, FaultyDir, LossModel, MemoryDir};

use super::{file, objects, open};
use crate::{Digest, Entry, Expect, LocalStore, Manifest, Object, Pins, SnapshotStore, Source};

/// Names with their manifests, and the ids of pins.
type State = (BTreeMap<String, Manifest>, BTreeMap<u64, Digest>);

fn state(store: &LocalStore) -> State {
    let listing = store.list("").unwrap();
    assert_eq!(listing.damaged, [""; 0]);
    let manifest = |name: &String| store.resolve(name, None).unwrap().unwrap().manifest;
    let names = listing.names.iter().map(|name| (name.clone(), manifest(name))).collect();
    (names, store.pins().unwrap().into_iter().map(|pin| (pin.id, pin.digest)).collect())
}

fn manifest(files: &[(&str, Object)]) -> Manifest {
    let entry = |(path, object): &(&str, Object)| Entry { path: (*path).into(), object: *object, crc64: 0 };
    Manifest { created_ms: 1, body: vec![9], files: files.iter().map(entry).collect() }
}

type Act = fn(&LocalStore, &FaultyDir);

/// The steps of the history; each is atomic.
fn steps() -> Vec<Act> {
    fn publish(store: &LocalStore, name: &str, linked: &[(&str, &[u8])], copied: &[(&str, &[u8])]) {
        let hold = store.hold();
        let mut files = Vec::new();
        for (path, bytes) in linked {
            let object = Object::of(bytes);
            store.put(&hold, &object, Source::File(path)).unwrap();
            files.push((*path, object));
        }
        for (path, bytes) in copied {
            let object = Object::of(bytes);
            store.put(&hold, &object, Source::Bytes(bytes)).unwrap();
            files.push((*path, object));
        }
        store.publish(&hold, name, &manifest(&files), Expect::Any).unwrap();
    }
    vec![
        |store, _| publish(store, "a", &[("one", b"one"), ("two", b"two")], &[("log", b"log 1")]),
        |store, _| publish(store, "b", &[("two", b"two")], &[("log", b"log 2")]),
        |store, _| drop(store.pin("a", Duration::from_secs(10)).unwrap()),
        // What the collection did with its own names meanwhile.
        |_, dir| {
            dir.remove("one").unwrap();
            dir.sync_dir("").unwrap();
        },
        |store, _| assert!(store.retract("a", Expect::Any).unwrap()),
        |store, _| assert_eq!(store.sweep().unwrap().objects, 0),
        |store, _| publish(store, "b", &[], &[("log", b"log 3")]),
        |store, _| assert!(store.unpin(1).unwrap()),
        |store, _| assert!(store.sweep().unwrap().objects > 0),
        |store, _| publish(store, "a", &[("two", b"two")], &[]),
    ]
}

#[test]
fn every_crash_leaves_the_old_or_the_new() {
    let dir = FaultyDir::new();
    file(&*dir, "one", b"one");
    file(&*dir, "two", b"two");
    dir.sync_dir("").unwrap();
    let (store, _) = open(dir.clone());
    let mut states = vec![state(&store)];
    let mut ends = vec![dir.ops()];
    for step in steps() {
        step(&store, &dir);
        states.push(state(&store));
        ends.push(dir.ops());
    }
    let mut replay = dir.replay();
    for at in ends[0]..=dir.ops() {
        let done = ends.partition_point(|&end| end <= at) - 1;
        let allowed = &states[done..states.len().min(done + 2)];
        for model in LossModel::ALL {
            for seed in 0..4 {
                let image = replay.image(at, model, seed);
                let label = format!("after call {at} ({:?}), {model:?} {seed}", dir.op(at.saturating_sub(1)));
                check(image, allowed, &label);
            }
        }
    }
}

fn check(image: std::sync::Arc<MemoryDir>, allowed: &[State], label: &str) {
    let (store, _) = open(image.clone());
    let found = state(&store);
    // Steps that change neither names nor pins have equal states on both sides.
    assert!(allowed.contains(&found), "{label}: {found:?}");
    let mut kept: BTreeSet<Digest> = found.1.values().copied().collect();
    for manifest in found.0.values() {
        kept.insert(Object::of(&manifest.encode().unwrap()).digest);
        for entry in &manifest.files {
            let bytes = store.get(&entry.object).unwrap_or_else(|e| panic!("{label}: {} {e}", entry.path));
            entry.object.check(&entry.path, &bytes).unwrap();
            kept.insert(entry.object.digest);
        }
    }
    for digest in found.1.values() {
        let pinned = Object {
            digest: *digest,
            length: image.open(&format!("data/snapshots/objects/{digest}")).unwrap().len() as u64,
        };
        let manifest = Manifest::decode(&store.get(&pinned).unwrap()).unwrap();
        for entry in &manifest.files {
            entry.object.check(&entry.path, &store.get(&entry.object).unwrap()).unwrap();
            kept.insert(entry.object.digest);
        }
    }
    store.sweep().unwrap_or_else(|e| panic!("{label}: {e}"));
    assert_eq!(objects(&*image).into_iter().collect::<BTreeSet<_>>(), kept, "{label}");
    assert_eq!(state(&store), found, "{label}");
}
