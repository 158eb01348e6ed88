//! What the disk itself allows: plain writing and bare appends, with the same bytes the database gets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;

/// Writes all parts to one new file and syncs it once; the time from its creation to the end of the sync.
pub(crate) fn plain_write(path: &Path, parts: &[Vec<u8>]) -> Result<Duration> {
    let began = Instant::now();
    let mut file = File::create_new(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    Ok(began.elapsed())
}

/// A file to which records are appended, each followed by an fdatasync.
#[derive(Debug)]
pub(crate) struct BareLog {
    file: File,
    syncs: Vec<Duration>,
}

impl BareLog {
    /// A new, empty file.
    pub(crate) fn create(path: &Path) -> Result<BareLog> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(BareLog { file, syncs: Vec::new() })
    }

    /// Appends one record and makes it durable.
    pub(crate) fn append(&mut self, record: &[u8]) -> Result {
        self.file.write_all(record)?;
        let began = Instant::now();
        self.file.sync_data()?;
        self.syncs.push(began.elapsed());
        Ok(())
    }

    /// The median time of a sync so far.
    pub(crate) fn median_sync(&self) -> Duration {
        median(&self.syncs)
    }
}

/// The middle of some times; zero if there are none.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain");
        plain_write(&path, &[vec![1, 2], vec![], vec![3]]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [1, 2, 3]);
        assert!(plain_write(&path, &[]).is_err(), "an old file is not written over");
        let mut log = BareLog::create(&folder.path().join("log")).unwrap();
        log.append(b"ab").unwrap();
        log.append(b"c").unwrap();
        assert_eq!(std::fs::read(folder.path().join("log")).unwrap(), b"abc");
        assert!(log.median_sync() > Duration::ZERO);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [5, 1, 9].map(Duration::from_secs);
        assert_eq!(median(&times), Duration::from_secs(5));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
