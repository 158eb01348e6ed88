//! The value in the catalog's cell, and opening a database by it.

use std::sync::Arc;

use nearfield::{CollectionConfig, Database, ErrorKind, Metric};
use nearfield_collection::{Cell, ManifestCell};
use nearfield_platform::{Dir, MemoryDir};

use super::input::Input;
use crate::fixtures;

/// Collections that are asked for; the others are like them.
const ASKED_MAX: usize = 4;

/// Input: the catalog, without the frame of its cell.
///
/// What must hold: a database opens by it or is refused as damaged. One that opens knows the target of each alias, refuses to
/// open collections that have no files, and after a new collection was made and it was opened again, lists the same and the
/// new one.
pub fn catalog(bytes: &[u8]) {
    let value = Input::new(bytes).rest();
    let dir: Arc<dyn Dir> = MemoryDir::new();
    dir.make_dir("catalog").expect("memory has room");
    ManifestCell::new(Arc::clone(&dir), "catalog")
        .swap_if(None, value)
        .expect("an empty folder takes a first value");
    let db = match Database::open_in(Arc::clone(&dir), "fuzz", fixtures::options()) {
        Ok(db) => db,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            return;
        }
    };
    let (mut names, aliases) = (db.collections(), db.aliases());
    assert!(names.is_sorted() && aliases.is_sorted());
    assert!(aliases.iter().all(|(_, target)| names.contains(target)));
    for name in names.iter().chain(aliases.iter().map(|(alias, _)| alias)).take(ASKED_MAX) {
        let refused = db.collection(name).err().map(|error| error.kind());
        assert!(
            matches!(refused, Some(ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Closed)),
            "{name:?} opened: {refused:?}"
        );
    }
    match db.create_collection("fuzzed", CollectionConfig::new(1, Metric::Dot)) {
        Ok(_) => names.push("fuzzed".to_owned()),
        // Chance is the same every time here, so the new one may have the identity of one that is closed.
        Err(error) if error.kind() == ErrorKind::Closed => return,
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Exists | ErrorKind::Invalid), "{error}"),
    }
    db.close().expect("memory does not fail");
    let again = Database::open_in(dir, "fuzz", fixtures::options()).expect("it was just closed");
    names.sort();
    assert_eq!((again.collections(), again.aliases()), (names, aliases));
}
