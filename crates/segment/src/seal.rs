//! Writing a segment's files from a growing one, as of a checkpoint.
//!
//! Rows dead by then are left out, patches made by then are folded in, and slots keep their order; with a tenant field, rows of one value
//! of it come together first (`partitions`). The files are synced and
//! read-only when this returns; naming them in a manifest is the caller's business.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use nearfield_codec::Summary;
use nearfield_hnsw::GraphView;
use nearfield_payload::Path;
use nearfield_platform::{Dir, File};
use nearfield_types::{Seq, Slot};
use nearfield_vectors::{VectorStore, WriteError, write_rows};

use crate::build::Source;
use crate::changes::DROPPED;
use crate::growing::Growing;
use crate::ids;
use crate::partitions::Key;
use crate::sealed::{IDS_FILE, PAYLOAD_FILE, Sealed, SealedFiles, vectors_file};

const BUFFER_BYTES: usize = 1 << 20;

/// A segment that was written but not opened yet.
#[derive(Debug)]
pub struct Written {
    /// How many rows it has.
    pub rows: u32,
    /// What the manifest must say of its files.
    pub files: SealedFiles,
    through: Seq,
    /// The new slot of each old one.
    moved: Arc<[u32]>,
}

/// The graph that a segment had while it grew: the index of the sealed one takes its links over.
#[derive(Debug)]
pub struct Heritage {
    graph: GraphView,
    moved: Arc<[u32]>,
}

impl Heritage {
    /// Lets `work` use it as the source of a build.
    pub fn with_source<T>(&self, work: impl FnOnce(&Source<'_>) -> T) -> T {
        let moved =
            |slot: Slot| self.moved.get(slot.index()).copied().filter(|slot| *slot != DROPPED).map(Slot);
        work(&Source { graph: &self.graph, moved: &moved })
    }
}

impl Written {
    /// Copies the deaths and patches that reached `source` after the checkpoint onto `target`, which was opened from the
    /// files written here. Called by the writer inside the switch of versions, so that none is lost.
    pub fn carry(&self, source: &Growing, target: &Sealed) {
        source.changes.carry(self.through, &self.moved, &target.changes);
    }

    /// Lets searches of `target`, which was opened from the files written here, use what `source` has for an index until there is one. Returns
    /// the graphs that could not be used so, in schema order, to be taken over by the indexes of what was written. O(rows) copies.
    pub fn lend(&self, source: &Growing, target: &Sealed, threads: usize) -> Vec<Option<Heritage>> {
        let mut heritage = Vec::new();
        for vector in 0..source.rows().len() {
            let interim = source.interim(vector, &self.moved, target.store(vector), threads);
            let is_lent = interim.map(|interim| target.lend(vector, interim)).is_some();
            heritage.push(is_lent);
        }
        if heritage.iter().all(|&is_lent| is_lent) {
            return Vec::new();
        }
        let graphs = self.heritage(source).into_iter().zip(heritage);
        graphs.map(|(graph, is_lent)| graph.filter(|_| !is_lent)).collect()
    }

    /// The graphs that `source` has so far, in schema order, to be taken over by the indexes of what was written. O(rows) copies.
    pub fn heritage(&self, source: &Growing) -> Vec<Option<Heritage>> {
        let heritage = |graph| Heritage { graph, moved: Arc::clone(&self.moved) };
        source.graphs().into_iter().map(|graph| graph.map(heritage)).collect()
    }
}

/// Writes `source` as of `through` into `folder`, which exists. Every row of `source` was born at or before `through`. Rows of one value at
/// `partition` come to lie together.
///
/// # Errors
///
/// What the directory returns; the folder may then hold some of the files.
pub fn seal(
    source: &Growing,
    through: Seq,
    partition: Option<&Path>,
    dir: &dyn Dir,
    folder: &str,
) -> io::Result<Written> {
    let slots = order(source, through, partition)?;
    let mut moved = vec![DROPPED; source.len() as usize];
    for (new, old) in slots.iter().enumerate() {
        moved[old.index()] = new as u32;
    }
    let points: Vec<_> = slots.iter().map(|&slot| (source.id(slot), source.born(slot))).collect();
    let ids = write_file(dir, &format!("{folder}/{IDS_FILE}"), |sink| ids::write(&points, sink))?;
    let payload = write_file(dir, &format!("{folder}/{PAYLOAD_FILE}"), |sink| {
        nearfield_payload::write(sink, slots.iter().map(|&slot| source.payload(slot, through)))
    })?;
    let mut vectors = Vec::new();
    for (vector, rows) in source.rows().iter().enumerate() {
        let path = format!("{folder}/{}", vectors_file(vector));
        let write = |sink| {
            let rows = write_rows(sink, rows.shape(), slots.iter().map(|&slot| rows.row(slot)));
            rows.map(|(sink, written)| (sink, written.summary)).map_err(|e| match e {
                WriteError::Io(e) => e,
                other => io::Error::other(other),
            })
        };
        vectors.push(write_file(dir, &path, write)?);
    }
    let files = SealedFiles { ids, payload, vectors };
    Ok(Written { rows: slots.len() as u32, files, through, moved: moved.into() })
}

/// The rows to be written, in the order of their new slots.
fn order(source: &Growing, through: Seq, partition: Option<&Path>) -> io::Result<Vec<Slot>> {
    let slots = (0..source.len()).map(Slot).filter(|&slot| source.visible(slot, through));
    let Some(path) = partition else { return Ok(slots.collect()) };
    let mut keyed = Vec::with_capacity(source.len() as usize);
    for slot in slots {
        let mut key = Ok(Key::None);
        source.visit_payload(slot, through, &mut |row| key = Key::of(path, row));
        keyed.push((key.map_err(io::Error::other)?, slot));
    }
    keyed.sort_unstable();
    Ok(keyed.into_iter().map(|(_, slot)| slot).collect())
}

/// Creates `path`, lets `write` fill it, syncs and seals it. The folder is not synced.
///
/// # Errors
///
/// What the directory returns.
pub fn write_file(
    dir: &dyn Dir,
    path: &str,
    write: impl FnOnce(BufWriter<FileSink>) -> io::Result<(BufWriter<FileSink>, Summary)>,
) -> io::Result<Summary> {
    let file = dir.create(path)?;
    let sink = FileSink { file: Arc::clone(&file), at: 0 };
    let (mut sink, summary) = write(BufWriter::with_capacity(BUFFER_BYTES, sink))?;
    sink.flush()?;
    file.sync()?;
    file.seal()?;
    Ok(summary)
}

/// A file written from front to back.
#[derive(Debug)]
pub struct FileSink {
    file: Arc<dyn File>,
    at: u64,
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, &[bytes])?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
