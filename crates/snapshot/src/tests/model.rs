//! Random histories against a model of maps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nearfield_platform::MemoryDir;
use proptest::prelude::*;

use super::{objects, open};
use crate::{Digest, Entry, Expect, Manifest, Object, Pins, SnapshotStore, Source};

#[derive(Clone, Debug)]
enum Step {
    /// Publish name, with these objects, if it stood for something or did not.
    Publish(u8, BTreeSet<u8>, bool),
    Retract(u8),
    Pin(u8, u64),
    Unpin(u8),
    Advance(u64),
    Orphan(u8),
    Sweep,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let set = proptest::collection::btree_set(0..6u8, 0..4);
    let step = prop_oneof![
        4 => (0..4u8, set, any::<bool>()).prop_map(|(name, set, new)| Step::Publish(name, set, new)),
        2 => (0..4u8).prop_map(Step::Retract),
        2 => (0..4u8, 1..9u64).prop_map(|(name, secs)| Step::Pin(name, secs)),
        1 => (0..4u8).prop_map(Step::Unpin),
        2 => (1..6u64).prop_map(Step::Advance),
        1 => (0..6u8).prop_map(Step::Orphan),
        3 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

#[derive(Default)]
struct Model {
    names: BTreeMap<u8, Manifest>,
    /// By id: what is kept, until when, and whether a sweep found it late.
    pins: BTreeMap<u64, (Manifest, u64, bool)>,
    now_ms: u64,
}

impl Model {
    fn kept(&self) -> BTreeSet<Digest> {
        let manifests = self.names.values().chain(self.pins.values().map(|(manifest, ..)| manifest));
        let mut kept = BTreeSet::new();
        for manifest in manifests {
            kept.insert(Object::of(&manifest.encode().unwrap()).digest);
            kept.extend(manifest.files.iter().map(|entry| entry.object.digest));
        }
        kept
    }

    fn sweep(&mut self) {
        let now = self.now_ms;
        self.pins.retain(|_, (_, until, late)| {
            let was = std::mem::replace(late, now >= *until);
            !(was && *late)
        });
    }
}

fn bytes(of: u8) -> Vec<u8> {
    vec![of; 10 + usize::from(of)]
}

fn manifest(name: u8, set: &BTreeSet<u8>) -> Manifest {
    let entry = |of: &u8| Entry { path: format!("f/{of}"), object: Object::of(&bytes(*of)), crc64: 0 };
    Manifest { created_ms: u64::from(name), body: Vec::new(), files: set.iter().map(entry).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_store_is_the_model(steps in steps()) {
        let dir = MemoryDir::new();
        let (mut store, mut clock) = open(dir.clone());
        let mut model = Model { now_ms: 1_000, ..Model::default() };
        for step in steps {
            let text = |name: u8| format!("n{name}");
            match step {
                Step::Publish(name, set, new) => {
                    let hold = store.hold();
                    for of in &set {
                        store.put(&hold, &Object::of(&bytes(*of)), Source::Bytes(&bytes(*of))).unwrap();
                    }
                    let expect = if new { Expect::Absent } else { Expect::Any };
                    let manifest = manifest(name, &set);
                    let published = store.publish(&hold, &text(name), &manifest, expect);
                    prop_assert_eq!(published.is_ok(), !(new && model.names.contains_key(&name)));
                    if published.is_ok() {
                        model.names.insert(name, manifest);
                    }
                }
                Step::Retract(name) => {
                    prop_assert_eq!(store.retract(&text(name), Expect::Any).unwrap(), model.names.remove(&name).is_some());
                }
                Step::Pin(name, secs) => {
                    let pinned = store.pin(&text(name), Duration::from_secs(secs));
                    prop_assert_eq!(pinned.is_ok(), model.names.contains_key(&name));
                    if let Ok(pin) = pinned {
                        model.pins.insert(pin.id, (model.names[&name].clone(), model.now_ms + secs * 1_000, false));
                    }
                }
                Step::Unpin(nth) => {
                    let id = model.pins.keys().nth(usize::from(nth)).copied().unwrap_or(u64::MAX);
                    prop_assert_eq!(store.unpin(id).unwrap(), model.pins.remove(&id).is_some());
                }
                Step::Advance(secs) => {
                    clock.advance(Duration::from_secs(secs));
                    model.now_ms += secs * 1_000;
                }
                Step::Orphan(of) => {
                    store.put(&store.hold(), &Object::of(&bytes(of)), Source::Bytes(&bytes(of))).unwrap();
                }
                Step::Sweep => {
                    store.sweep().unwrap();
                    model.sweep();
                    prop_assert_eq!(objects(&*dir).into_iter().collect::<BTreeSet<_>>(), model.kept());
                }
                Step::Reopen => {
                    let (again, from) = open(dir.clone());
                    from.advance(Duration::from_millis(model.now_ms - 1_000));
                    (store, clock) = (again, from);
                }
            }
            let names: Vec<String> = model.names.keys().map(|&name| text(name)).collect();
            prop_assert_eq!(store.list("").unwrap().names, names);
            prop_assert_eq!(store.pins().unwrap().len(), model.pins.len());
            let there: BTreeSet<Digest> = objects(&*dir).into_iter().collect();
            prop_assert!(model.kept().is_subset(&there));
            for (name, manifest) in &model.names {
                prop_assert_eq!(&store.resolve(&text(*name), None).unwrap().unwrap().manifest, manifest);
            }
        }
    }
}
