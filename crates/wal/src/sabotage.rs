//! Switches that break the log on purpose, so that the tests which must notice can be tested.
//!
//! They exist only with the feature `sabotage`, which nothing that keeps data turns on, and are off until somebody sets them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nearfield_platform::File;

/// A way to break the log in this process.
#[derive(Debug)]
pub struct Switch(AtomicBool);

/// Frames whose checksum does not hold are taken for whole.
pub static ACCEPT_BAD_CHECKSUMS: Switch = Switch(AtomicBool::new(false));

/// The last frames appended are written only with the next ones: a write is acknowledged before it is in the log.
pub static HOLD_BACK_FRAMES: Switch = Switch(AtomicBool::new(false));

impl Switch {
    /// Turns it on or off.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A log file that keeps its last write to itself while [`HOLD_BACK_FRAMES`] is on.
#[derive(Debug)]
struct Late {
    file: Arc<dyn File>,
    held: Mutex<Option<(u64, Vec<u8>)>>,
}

/// The file, late if it is so switched.
pub(crate) fn late(file: Arc<dyn File>) -> Arc<dyn File> {
    if HOLD_BACK_FRAMES.is_on() { Arc::new(Late { file, held: Mutex::default() }) } else { file }
}

impl File for Late {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.replace((offset, parts.concat())) {
            Some((offset, bytes)) => self.file.write_at(offset, &[&bytes]),
            None => Ok(()),
        }
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn seal(&self) -> io::Result<()> {
        self.file.seal()
    }
}
