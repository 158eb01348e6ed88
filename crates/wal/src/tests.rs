//! Tests of the file log as a whole. The shared material is in `support`.

mod crashes;
mod damage;
mod failures;
mod files;
mod format;
mod model;
mod support;

use std::sync::Arc;

use nearfield_platform::{Dir, FaultyDir, MemoryDir};
use nearfield_types::Seq;

use crate::conformance::{self, Store, Writing};
use crate::{FileLog, LogError, LogOptions, LogReader, LogSizes};

/// A file log in some directory.
struct Stored {
    dir: Arc<dyn Dir>,
    sizes: LogSizes,
}

impl Stored {
    fn open(&self, released: Seq) -> Result<FileLog, LogError> {
        let options = LogOptions { flushed: released, sizes: self.sizes, ..LogOptions::new([3; 16]) };
        FileLog::open(Arc::clone(&self.dir), "shards/0/log", options)
    }
}

impl Store for Stored {
    fn reader(&self, released: Seq) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(self.open(released)?))
    }

    fn writer(&self, released: Seq) -> Result<Writing, LogError> {
        let (writer, syncer) = self.open(released)?.into_writer()?;
        Ok((Box::new(writer), syncer))
    }
}

#[test]
fn conforms() {
    let small = LogSizes { first_bytes: 1, largest_bytes: 1 << 14, frame_bytes: 1000 };
    for sizes in [LogSizes::default(), small] {
        conformance::log(&|| Box::new(Stored { dir: MemoryDir::new(), sizes }));
        conformance::log(&|| Box::new(Stored { dir: FaultyDir::new(), sizes }));
    }
}

#[test]
fn conforms_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::cell::Cell::new(0);
    conformance::log(&|| {
        next.set(next.get() + 1);
        let dir =
            nearfield_platform::RealDir::open(&folder.path().join(next.get().to_string()), true).unwrap();
        Box::new(Stored { dir: Arc::new(dir), sizes: LogSizes::default() })
    });
}
