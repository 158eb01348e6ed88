//! The index of a growing segment: files in memory, each over a run of rows, merged like the runs of a log-structured tree.
//!
//! It refuses to be searched row by row and to make anybody wait. Beside a tree that is changed in place, this has one structure for
//! growing and sealed, answers that cost the same, and readers that hold no lock: they copy the pointer to the list of files under
//! a read lock of a few nanoseconds. The price is that every row is written about once for each fourfold of the
//! rows behind it, and that the last [`GROWING_RUN_ROWS`] rows are in no file yet; their owner tests them as rows.

use std::sync::Arc;

use parking_lot::RwLock;

use super::build::{BuildError, FieldBuilder};
use super::config::IndexConfig;
use super::file::FieldFile;
use super::reader::FieldReader;
use super::{FieldIndex, IndexMemory};
use crate::path::Path;
use crate::row::RowRef;

/// Rows of the shortest run. At most one less are in no file.
pub const GROWING_RUN_ROWS: u32 = 256;
/// So many runs of one length become one.
const FAN: usize = 4;
/// Runs this long are left alone: a longer merge would hold up the writer.
const RUN_ROWS_MAX: u32 = 65_536;

/// What readers see.
#[derive(Debug)]
struct Runs {
    files: Arc<[Arc<FieldFile>]>,
    covered: u32,
}

/// A field index that takes rows.
///
/// # Concurrency
///
/// One writer pushes; any number of readers take a [`FieldReader`] at any time, which stays as it was. Most pushes cost well under
/// a microsecond (words a few); one in 256 writes a file, and one in 65,536 merges that many rows: some milliseconds for numbers, tens for distinct texts, more than a hundred for words. Owners that cannot wait so long
/// push from a worker: what is not pushed yet is not covered, and that is all.
#[derive(Debug)]
pub struct GrowingField {
    config: Arc<IndexConfig>,
    path: Path,
    runs: RwLock<Runs>,
    writer: parking_lot::Mutex<FieldBuilder>,
}

impl GrowingField {
    /// An index without rows; slot 0 is pushed first.
    ///
    /// # Errors
    ///
    /// What [`IndexConfig::check`] refuses.
    pub fn new(config: IndexConfig, path: Path) -> Result<GrowingField, BuildError> {
        let builder = FieldBuilder::new(config.clone(), path.clone())?;
        let runs = RwLock::new(Runs { files: Arc::new([]), covered: 0 });
        Ok(GrowingField { config: Arc::new(config), path, runs, writer: parking_lot::Mutex::new(builder) })
    }

    /// The path of its values.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows were pushed.
    pub fn len(&self) -> u32 {
        let writer = self.writer.lock();
        self.runs.read().covered + writer.rows()
    }

    /// True before the first push.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the row of the next slot.
    ///
    /// # Errors
    ///
    /// As [`FieldBuilder::push`]; the index is to be given up then.
    pub fn push(&self, row: &RowRef<'_>) -> Result<(), BuildError> {
        let mut writer = self.writer.lock();
        writer.push(row)?;
        self.settle(&mut writer)
    }

    /// Takes the next slot without a row.
    ///
    /// # Errors
    ///
    /// As [`GrowingField::push`].
    pub fn push_absent(&self) -> Result<(), BuildError> {
        let mut writer = self.writer.lock();
        writer.push_absent()?;
        self.settle(&mut writer)
    }

    /// Covers every row pushed so far, as a short run of its own where they are not enough for one. For owners that wait for writes.
    ///
    /// # Errors
    ///
    /// As [`GrowingField::push`].
    pub fn flush(&self) -> Result<(), BuildError> {
        let mut writer = self.writer.lock();
        match writer.rows() {
            0 => Ok(()),
            _ => self.cut(&mut writer),
        }
    }

    /// The index as it is now. O(1).
    pub fn reader(&self) -> FieldReader {
        let runs = self.runs.read();
        FieldReader::of_files(Arc::clone(&self.config), Arc::clone(&runs.files), runs.covered)
    }

    /// Bytes it takes, without the rows that are not covered yet.
    pub fn memory(&self) -> IndexMemory {
        FieldIndex::memory(&self.reader())
    }

    fn settle(&self, writer: &mut FieldBuilder) -> Result<(), BuildError> {
        match writer.rows() < GROWING_RUN_ROWS {
            true => Ok(()),
            false => self.cut(writer),
        }
    }

    /// Makes a file of the rows that the writer holds and merges what has become many.
    fn cut(&self, writer: &mut FieldBuilder) -> Result<(), BuildError> {
        let (mut files, covered) = {
            let runs = self.runs.read();
            (runs.files.to_vec(), runs.covered)
        };
        let fresh = || FieldBuilder::new((*self.config).clone(), self.path.clone());
        let full = std::mem::replace(writer, fresh()?);
        let rows = full.rows();
        files.push(Arc::new(full.into_file(covered)?));
        while let Some(from) = mergeable(&files) {
            let mut merged = fresh()?;
            files[from..].iter().try_for_each(|file| merged.absorb(file))?;
            let base = files[from].base();
            files.truncate(from);
            files.push(Arc::new(merged.into_file(base)?));
        }
        *self.runs.write() = Runs { files: files.into(), covered: covered + rows };
        Ok(())
    }
}

/// Where the runs begin that should become one: the last [`FAN`] of the same order of length, or shorter ones among them.
fn mergeable(files: &[Arc<FieldFile>]) -> Option<usize> {
    let order = |file: &FieldFile| (file.rows() / GROWING_RUN_ROWS).max(1).ilog2() / FAN.ilog2();
    let last = files.last().filter(|file| file.rows() < RUN_ROWS_MAX)?;
    let from = files.len() - files.iter().rev().take_while(|file| order(file) <= order(last)).count();
    (files.len() - from >= FAN).then_some(from)
}
