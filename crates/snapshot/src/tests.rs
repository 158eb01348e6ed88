//! The local store against the suite, against a model, and after every crash.

mod crashes;
mod links;
mod model;

use std::sync::Arc;

use nearfield_platform::{Dir, ManualClock, MemoryDir, RealDir};

use crate::conformance::{self, Made};
use crate::{Digest, LocalStore, Object};

/// A store in `dir`, and its clock.
fn open(dir: Arc<dyn Dir>) -> (LocalStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_000));
    (LocalStore::open(dir, "data/snapshots", Arc::clone(&clock) as _).unwrap(), clock)
}

fn made(dir: Arc<dyn Dir>) -> Made {
    let (store, clock) = open(dir);
    (Arc::new(store), clock)
}

/// The digests of the objects that there are.
fn objects(dir: &dyn Dir) -> Vec<Digest> {
    let listed = dir.list("data/snapshots/objects").unwrap_or_default();
    listed.iter().filter_map(|entry| Digest::parse(&entry.name)).collect()
}

/// A finished, durable file.
fn file(dir: &dyn Dir, path: &str, bytes: &[u8]) -> Object {
    let file = dir.create(path).unwrap();
    file.write_at(0, &[bytes]).unwrap();
    file.sync().unwrap();
    file.seal().unwrap();
    Object::of(bytes)
}

#[test]
fn in_memory_it_conforms() {
    conformance::store(&|| made(MemoryDir::new()));
}

#[test]
fn on_disk_it_conforms() {
    let place = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::store(&|| {
        count.set(count.get() + 1);
        made(Arc::new(RealDir::open(&place.path().join(count.get().to_string()), true).unwrap()))
    });
}
