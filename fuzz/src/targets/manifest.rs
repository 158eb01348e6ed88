//! The value in a shard's cell, and opening a collection by it.

use std::sync::Arc;

use nearfield_collection::{Cell, Collection, ErrorKind, Manifest, ManifestCell, Point, Vectors};
use nearfield_platform::{Dir, MemoryDir};

use super::input::Input;
use crate::fixtures;

/// Input: the manifest, without the frame of its cell.
///
/// What must hold: what is decoded encodes to the same again. A collection with this manifest and none of its files opens only
/// if the manifest names none, is made of what the manifest says, and keeps what is then written; else it is refused as
/// damaged.
pub fn manifest(bytes: &[u8]) {
    let value = Input::new(bytes).rest();
    let decoded = Manifest::decode(value).ok();
    if let Some(manifest) = &decoded {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest));
    }
    let dir: Arc<dyn Dir> = MemoryDir::new();
    dir.make_dir("c").expect("memory has room");
    ManifestCell::new(Arc::clone(&dir), "c")
        .swap_if(None, value)
        .expect("an empty folder takes a first value");
    for folder in ["segments", "deltas", "staging", "log"] {
        dir.make_dir(&format!("c/{folder}")).expect("memory has room");
    }
    let uuid = decoded.as_ref().map_or([0; 16], |manifest| manifest.collection);
    let collection = match Collection::open(&dir, "c", uuid, fixtures::collection_options()) {
        Ok((collection, _)) => collection,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            return;
        }
    };
    let manifest = decoded.expect("a manifest that is not understood opens nothing");
    assert!(manifest.segments.is_empty(), "segments without files were opened");
    assert_eq!((&*collection.config(), collection.view().count()), (&manifest.config, 0));
    write_on(&dir, &collection, uuid);
}

/// Stores a point and looks for it after a close.
fn write_on(dir: &Arc<dyn Dir>, collection: &Collection, uuid: [u8; 16]) {
    let point = |config: &nearfield_collection::CollectionConfig| {
        let vectors =
            config.vectors().map(|(name, vector)| (name.to_owned(), vec![1.0; vector.dim as usize]));
        Point { id: 7.into(), vectors: Vectors::Named(vectors.collect()), payload: fixtures::payload(1) }
    };
    collection.upsert(vec![point(&collection.config())]).expect("it fits the configuration");
    collection.close().expect("memory does not fail");
    let again = Collection::open(dir, "c", uuid, fixtures::collection_options());
    let (again, report) = again.expect("it was closed");
    assert_eq!((again.view().count(), report.replayed, report.repaired.len()), (1, 1, 0));
}
