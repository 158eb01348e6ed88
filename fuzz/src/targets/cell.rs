//! The frame of a commit cell: `MANIFEST-<version>` of a shard or of the catalog.

use std::sync::Arc;

use nearfield_codec::TagError;
use nearfield_collection::{Cell, CellError, ErrorKind, ManifestCell, decode_cell};
use nearfield_platform::{Dir, MemoryDir};

use super::input;
use crate::checksums;

/// The largest number that the name of a file may have.
const VERSION_MAX: u64 = u64::MAX / 2;

/// Input: control byte, file.
///
/// What must hold: the value inside is exactly what the header says; a cell over the file reads that value, or says that it is
/// damaged; replacing a value that could be read gives the new one, with a larger version.
pub fn cell(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::cell);
    let version = checksums::u64_at(&file, 8);
    let value = decode_cell(&file, version).ok();
    assert!(value.is_none_or(|value| value.len() + 28 == file.len()));
    assert!(decode_cell(&file, version.wrapping_add(1)).is_err(), "a value was read under a foreign version");

    let dir: Arc<dyn Dir> = MemoryDir::new();
    dir.make_dir("c").expect("memory has room");
    dir.replace(&format!("c/MANIFEST-{version:020}"), &file).expect("memory has room");
    let cell = ManifestCell::new(Arc::clone(&dir), "c");
    match (cell.read(), value) {
        (Ok(None), _) if version > VERSION_MAX => return,
        (Ok(Some(found)), Some(value)) => {
            assert_eq!((found.version, found.bytes.as_slice(), found.damaged.len()), (version, value, 0));
        }
        (Err(error), None) => {
            let newer = matches!(decode_cell(&file, version), Err(CellError::Tag(TagError::TooNew { .. })));
            let expected = if newer { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
            assert_eq!(error.kind(), expected, "{error}");
        }
        (found, value) => panic!("the cell reads {found:?}, the file holds {value:?}"),
    }
    if value.is_some() {
        let Ok(next) = cell.swap_if(Some(version), b"next") else {
            assert_eq!(version, VERSION_MAX, "a value that was just read cannot be replaced");
            return;
        };
        assert!(
            next > version
                && cell.read().is_ok_and(|found| found.is_some_and(|found| found.bytes == b"next"))
        );
        assert!(cell.previous(next).is_ok_and(|found| found.is_some_and(|found| found.version == version)));
    }
}
