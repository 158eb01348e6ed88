//! An archive of a snapshot, taken in by an empty database.

use std::sync::Arc;

use nearfield::{Database, ErrorKind, Progress};
use nearfield_platform::{Dir, MemoryDir};

use super::input;
use crate::checksums;
use crate::fixtures;

/// Input: control byte, archive.
///
/// What must hold: it is refused as damaged (or as a name outside the limits) and leaves nothing, or it becomes a snapshot whose digests
/// hold and which restores to as many points as it says.
pub fn snapshot_archive(bytes: &[u8]) {
    let (_, archive) = input::file(bytes, checksums::archive);
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let db = Database::open_in(Arc::clone(&dir), "fuzz", fixtures::options()).expect("memory does not fail");
    match db.upload_snapshot(&mut &archive[..], None, None, &Progress::default()) {
        Ok(taken) => {
            let name = taken.snapshot.name;
            db.verify_snapshot_digests(&name, &Progress::default()).expect("they were compared");
            let part = &taken.snapshot.collections[0];
            let restored = db.restore_snapshot_with(
                &name,
                Some(&part.name),
                "restored",
                nearfield::Replace::Existing,
                &Progress::default(),
            );
            restored.expect("it opened when it was taken in");
            let count = db.collection("restored").and_then(|c| c.count()).expect("it opens");
            assert_eq!(count, part.points);
        }
        Err(error) => {
            let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Full, ErrorKind::Invalid];
            assert!(kinds.contains(&error.kind()), "{error}");
            assert!(dir.list("snapshots/objects").unwrap_or_default().is_empty(), "{error}");
            assert!(db.all_snapshots().expect("there is none").is_empty());
        }
    }
}
