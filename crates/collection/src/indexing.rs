//! Indexes follow the data: linking what was written, and building the index of what was sealed.
//!
//! Nothing here is on the way of a write, save when it has to be slowed down. Indexes are derived: whatever fails here is tried
//! again later and costs time, never data. It refuses to start threads that outlive a call: whoever owns the collection calls
//! [`Collection::maintain_links`] and [`Collection::maintain_indexes`]. Payload indexes go the same way: see `fields`.
//!
//! | step of an index | a crash here leaves |
//! |---|---|
//! | build it in memory | nothing |
//! | write `codes-<v>` and `graph-<v>` (and `graph-<v>-partitions`), or `field-<n>`, into the segment's folder, sync files and folder | files no manifest names, removed at the next open |
//! | swap the manifest: **the commit point** | the new state |
//! | attach it to the segment in memory | the new state |

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nearfield_ann::Stopped;
use nearfield_codec::Summary;
use nearfield_platform::{BuilderPlace, Dir};
use nearfield_segment::{
    BuildPhase, Built, BuiltPartition, Growing, Heritage, IndexFiles, IndexName, Sealed, Segment, Watch,
    build, build_partitions, codes_file, graph_file, open_index, partitions_file, write_index,
    write_partitions,
};
use nearfield_types::Progress;
use parking_lot::Mutex;

use crate::checkpoint::{Ledger, segment_folder};
use crate::collection::{Collection, closed};
use crate::error::{Error, ErrorKind, Result};
pub(crate) use crate::index_entries::index_name;
use crate::index_entries::{Made, is_of_index, name_files, next_generation};
use crate::manifest::{FileKind, Manifest};
use crate::rebuilding::BuildMeter;
use crate::settings::Settings;
use crate::version::Member;

/// Bytes of a row while its index is built, beside its code and its links.
const BUILD_ROW_BYTES: u64 = 64;
/// Bytes of each of its links: twice as many on the ground level, four bytes each, and room for what is being changed.
const BUILD_LINK_BYTES: u64 = 10;
/// Rows linked at a time: so long may somebody wait who has to link too.
const LINK_PORTION: u32 = 256;
/// Rows scanned by every search at which writers begin to link themselves.
const BACKLOG_MAX: u32 = 20_000;
/// So many rows a writer then links for each row that it wrote.
const LINKED_A_ROW: u32 = 2;

/// What is known of indexes beside the segments themselves.
#[derive(Debug, Default)]
pub(crate) struct Indexing {
    /// Held while an index is built: one at a time.
    pub(crate) building: Mutex<()>,
    /// Somebody waits for the rebuilding that the manifest asks for, and does it.
    pub(crate) rebuilding: Mutex<()>,
    /// Graphs that sealed segments had while they grew, by number, until their indexes are built.
    heritage: Mutex<HashMap<u64, Vec<Option<Heritage>>>>,
    /// Nothing is to be begun, and what is under way is to be given up.
    halted: AtomicBool,
    /// Why the last look at what is to be built failed, until one does not.
    failed: Mutex<Option<String>>,
    /// Indexes found damaged or missing at the opening.
    damaged: AtomicU64,
    /// Held while payload indexes are built, which is seldom long and does not wait for graphs.
    pub(crate) fields: Mutex<()>,
    /// A payload index was dropped, and the manifest may still name its files.
    pub(crate) dropped: AtomicBool,
}

impl Indexing {
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn note_damage(&self, indexes: u64) {
        self.damaged.fetch_add(indexes, Ordering::Relaxed);
    }

    /// Keeps the graphs of a segment that was just sealed.
    pub(crate) fn inherit(&self, number: u64, graphs: Vec<Option<Heritage>>) {
        self.heritage.lock().insert(number, graphs);
    }

    /// Forgets the graphs of a segment that has its own or is gone.
    pub(crate) fn disinherit(&self, number: u64) {
        self.heritage.lock().remove(&number);
    }

    /// Why indexes could not be built, if the last attempt failed.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    pub(crate) fn halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }
}

impl Collection {
    /// Links a portion of what was written and is not linked yet; true if there is more. Called by whoever owns the collection, best
    /// from a thread of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if rows in memory cannot be read.
    pub fn maintain_links(&self) -> Result<bool> {
        if self.indexing.halted() {
            return Ok(false);
        }
        let Some(growing) = self.unlinked() else { return Ok(false) };
        growing.catch_up(LINK_PORTION, 1).map_err(|e| stopped("linking", e))?;
        Ok(self.unlinked().is_some())
    }

    /// Builds the index of each sealed segment without one, and takes up rebuilding that a kill cut short. Called like
    /// [`Collection::maintain_segments`], from another thread: it takes minutes where segments are large. Waits for nobody: true if somebody
    /// else builds or merges just now, so that it is to be called again.
    ///
    /// # Errors
    ///
    /// What reading the segment or writing the index met; it is tried again at the next call, and [`Collection::status`] tells it until then.
    /// [`ErrorKind::Cancelled`] after [`Collection::halt_indexing`].
    pub fn maintain_indexes(&self) -> Result<bool> {
        if self.settings.load().optimizers.is_off() {
            return Ok(false);
        }
        let done = self.build_due();
        match &done {
            Ok(_) => *self.indexing.failed.lock() = None,
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => *self.indexing.failed.lock() = Some(error.to_string()),
        }
        done
    }

    fn build_due(&self) -> Result<bool> {
        if self.unindexed().is_some() {
            let Some(_one) = self.indexing.building.try_lock() else { return Ok(true) };
            self.build_unindexed(&Progress::default())?;
        }
        self.take_up_rebuilding()
    }

    /// Builds the index of each sealed segment without one. Segments that are sealed meanwhile wait for the next call.
    pub(crate) fn build_missing(&self, progress: &Progress) -> Result<()> {
        if self.unindexed().is_none() {
            return Ok(());
        }
        let _one = self.wait_for(&self.indexing.building, progress)?;
        self.build_unindexed(progress)
    }

    /// As [`Collection::build_missing`]; the caller holds the lock of building.
    pub(crate) fn build_unindexed(&self, progress: &Progress) -> Result<()> {
        let version = self.current.load_full();
        let Some(newest) = version.settled().iter().filter_map(|member| member.number).max() else {
            return Ok(());
        };
        let steps = version.settled().iter().map(|member| match &member.segment {
            Segment::Sealed(sealed) if member.number.is_some() => {
                BuildMeter::steps(sealed.rows().into()) * self.unindexed_vectors(sealed).len() as u64
            }
            _ => 0,
        });
        progress.expect(steps.sum());
        while let Some((number, sealed)) = self.unindexed().filter(|(number, _)| *number <= newest) {
            self.build_indexes(number, &sealed, progress)?;
        }
        Ok(())
    }

    /// True if [`Collection::maintain_indexes`] has something to build.
    pub fn index_due(&self) -> bool {
        self.unindexed().is_some() || self.is_rebuilding()
    }

    fn build_indexes(&self, number: u64, sealed: &Sealed, progress: &Progress) -> Result<()> {
        for vector in self.unindexed_vectors(sealed) {
            self.build_index(number, sealed, vector, progress)?;
        }
        self.indexing.disinherit(number);
        Ok(())
    }

    /// The vectors of a segment that lack an index.
    pub(crate) fn unindexed_vectors(&self, sealed: &Sealed) -> Vec<usize> {
        sealed.unindexed(self.settings.load().schema.graph_rows_min())
    }

    /// Threads that build and merge.
    pub(crate) fn work_threads(&self) -> usize {
        let asked = self.settings.load().optimizers.max_optimization_threads;
        asked.filter(|&threads| threads > 0).map_or(self.options.index_threads, |threads| threads as usize)
    }

    /// Links and builds until nothing is left to do. What others write meanwhile is included.
    ///
    /// # Errors
    ///
    /// As [`Collection::maintain_indexes`].
    pub fn wait_indexed(&self) -> Result<()> {
        loop {
            self.check_open()?;
            if self.indexing.halted() {
                return Err(closed());
            }
            if self.follow_fields()? | self.maintain_fields()? {
                continue;
            }
            let Some(growing) = self.unlinked() else {
                if self.unindexed().is_none() {
                    return Ok(());
                }
                self.build_missing(&Progress::default())?;
                continue;
            };
            let threads = self.work_threads();
            growing.catch_up(LINK_PORTION * threads as u32, threads).map_err(|e| stopped("linking", e))?;
        }
    }

    /// Gives up linking and building, for good: the collection is about to be closed.
    pub fn halt_indexing(&self) {
        self.indexing.halted.store(true, Ordering::Relaxed);
    }

    /// Rows in memory that no graph holds yet.
    pub fn backlog(&self) -> u32 {
        let version = self.current.load();
        version.frozen().chain([version.head()]).map(|growing| growing.backlog()).fold(0, u32::saturating_add)
    }

    /// Lets a writer of `rows` rows link its share, where the background is too far behind or there is none.
    pub(crate) fn pace(&self, rows: usize) -> Result<()> {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let share = rows.saturating_mul(LINKED_A_ROW);
        let is_deep = self.is_debt_deep();
        let share = match (self.options.inline_maintenance, self.options.bulk) {
            _ if is_deep => share,
            (_, true) => return Ok(()),
            (true, false) => share.max(LINK_PORTION),
            (false, false) if self.backlog() > BACKLOG_MAX => share,
            (false, false) => return Ok(()),
        };
        if is_deep && self.unindexed().is_some() {
            return self.work_off_one();
        }
        match self.unlinked() {
            Some(growing) => growing.catch_up(share, 1).map(drop).map_err(|e| stopped("linking", e)),
            None => Ok(()),
        }
    }

    /// Builds the indexes of one sealed segment, if there is still too much to scan when whoever is at it is done.
    fn work_off_one(&self) -> Result<()> {
        let _one = self.indexing.building.lock();
        match self.unindexed().filter(|_| self.is_debt_deep()) {
            Some((number, sealed)) => self.build_indexes(number, &sealed, &Progress::default()),
            None => Ok(()),
        }
    }

    /// True if searches have more to scan than the options allow. Where the settings have turned the background off, nothing is too much.
    fn is_debt_deep(&self) -> bool {
        let debt = self.debt();
        let is_deep = debt.bytes > self.options.debt_bytes_max
            || debt.micros > self.options.debt_ms_max.saturating_mul(1_000);
        is_deep && !self.settings.load().optimizers.is_off()
    }

    /// The newest segment in memory that has rows to be linked.
    fn unlinked(&self) -> Option<Arc<Growing>> {
        let version = self.current.load();
        let frozen: Vec<_> = version.frozen().collect();
        let newest_first = [version.head()].into_iter().chain(frozen.into_iter().rev());
        newest_first.into_iter().find(|growing| growing.backlog() > 0).cloned()
    }

    /// A sealed segment that lacks an index, if there is one.
    fn unindexed(&self) -> Option<(u64, Arc<Sealed>)> {
        let version = self.current.load();
        version.settled().iter().find_map(|member| match (&member.segment, member.number) {
            (Segment::Sealed(sealed), Some(number)) if !self.unindexed_vectors(sealed).is_empty() => {
                Some((number, Arc::clone(sealed)))
            }
            _ => None,
        })
    }

    fn build_index(&self, number: u64, sealed: &Sealed, vector: usize, progress: &Progress) -> Result<()> {
        let heritage =
            self.indexing.heritage.lock().get_mut(&number).and_then(|graphs| graphs.get_mut(vector)?.take());
        let meter = BuildMeter::new(progress, sealed.rows().into());
        let watch = |phase, done, all| {
            meter.reach(phase, done, all);
            if self.indexing.halted() || progress.is_cancelled() { Err(Stopped::Cancelled) } else { Ok(()) }
        };
        match self.make_index(number, sealed, vector, heritage.as_ref(), &watch) {
            Ok(made) => self.exchange(&mut self.checkpoint.lock(), number, vector, made)?,
            Err(error) => self.unless_gone(number, error)?,
        }
        meter.end();
        Ok(())
    }

    /// Commits an index and lets searches use it from now on; what served before it goes with its last reader.
    pub(crate) fn exchange(&self, ledger: &mut Ledger, number: u64, vector: usize, made: Made) -> Result<()> {
        if !self.commit_index(ledger, number, vector, &made)? {
            return Ok(());
        }
        let Made { index, files, .. } = made;
        let mut index = Some(index);
        let _writer = self.writer.lock();
        let version = self.current.load_full();
        let exchanged = version.settled().iter().map(|member| match &member.segment {
            Segment::Sealed(sealed) if member.number == Some(number) => match index.take() {
                Some(index) => {
                    let sealed = sealed.with_index(vector, index, &files);
                    Member { segment: Segment::Sealed(Arc::new(sealed)), number: member.number }
                }
                None => member.clone(),
            },
            _ => member.clone(),
        });
        let members = exchanged.collect();
        self.install(members, Arc::clone(version.head()));
        Ok(())
    }

    /// Builds the index of a vector from its rows by the settings of now, writes it into the segment's folder beside the one that is there,
    /// and opens it. Nothing names it yet.
    pub(crate) fn make_index(
        &self,
        number: u64,
        sealed: &Sealed,
        vector: usize,
        heritage: Option<&Heritage>,
        watch: &Watch<'_>,
    ) -> Result<Made> {
        self.check_writable()?;
        let settings = self.settings.load_full();
        let place =
            self.builder_place(sealed.rows(), vector, &|| watch(BuildPhase::Encode, 0, 1).is_err())?;
        let (options, threads) = (&settings.schema.indexes()[vector], place.threads(self.work_threads()));
        let rows = sealed.vectors(vector);
        let built = match heritage {
            Some(graph) => graph.with_source(|source| build(rows, Some(source), options, 0, threads, watch)),
            None => sealed.with_interim(vector, |source| build(rows, source, options, 0, threads, watch)),
        };
        let built = built.map_err(|e| stopped(&format!("building the index of segment {number}"), e))?;
        let generation = {
            let ledger = self.checkpoint.lock();
            let entry = ledger.manifest.segments.iter().find(|entry| entry.id == number);
            entry.map_or(0, |entry| next_generation(entry, vector))
        };
        let folder = segment_folder(&self.folder, number);
        self.write_built(&folder, IndexName { vector, generation }, sealed, &built, &settings, watch)
    }

    /// Waits until there is memory for building an index over so many rows: codes, links, and what linking takes beside them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if `gives_up` says so first, or the collection is closed.
    pub(crate) fn builder_place(
        &self,
        rows: u32,
        vector: usize,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<BuilderPlace> {
        let settings = self.settings.load();
        let dim = u64::from(settings.schema.shapes()[vector].dim());
        let links = u64::from(settings.config.vectors().nth(vector).map_or(16, |(_, config)| config.index.m));
        let bytes = u64::from(rows) * (dim + BUILD_ROW_BYTES + BUILD_LINK_BYTES * links);
        let gives_up = || self.indexing.halted() || gives_up();
        let place = self.options.budget.admit_builder(bytes, &gives_up);
        place.ok_or_else(|| Error::new(ErrorKind::Cancelled, "an index was given up before it was begun"))
    }

    /// Writes what was built into `folder`, with the graphs over partitions that belong to it, and opens it.
    pub(crate) fn write_built(
        &self,
        folder: &str,
        name: IndexName,
        sealed: &Sealed,
        built: &Built,
        settings: &Settings,
        watch: &Watch<'_>,
    ) -> Result<Made> {
        let options = &settings.schema.indexes()[name.vector];
        let rows = sealed.vectors(name.vector);
        let partitions = match settings.schema.partition() {
            Some(path) => {
                let runs = sealed.partitions(path).map_err(|e| {
                    let context = format!("reading what {folder} is partitioned by");
                    Error::caused(ErrorKind::Corrupt, context, e)
                })?;
                let built = build_partitions(rows, built, &runs, options, self.work_threads(), watch);
                Some(built.map_err(|e| stopped(&format!("building the partitions of {folder}"), e))?)
            }
            None => None,
        };
        let written = self.write_index_files(folder, name, built, partitions.as_deref());
        let files = written.map_err(|e| Error::io(format!("writing the index of {folder}"), e))?;
        drop(partitions);
        let opened = open_index(&*self.dir, folder, name, rows.shape(), sealed.rows(), Some(&files));
        let index = opened.map_err(|(path, e)| {
            Error::caused(ErrorKind::Unavailable, format!("{path}, just written, cannot be read"), e)
        })?;
        let epoch = settings.epochs[name.vector].number;
        Ok(Made { index, files, generation: name.generation, epoch })
    }

    /// Names an index in the manifest, in the place of the one before; true if its segment is still there.
    pub(crate) fn commit_index(
        &self,
        ledger: &mut Ledger,
        number: u64,
        vector: usize,
        made: &Made,
    ) -> Result<bool> {
        self.check_writable()?;
        let mut manifest: Manifest = ledger.manifest.clone();
        let Some(entry) = manifest.segments.iter_mut().find(|entry| entry.id == number) else {
            // The segment was merged away, and its folder goes with it: the index is not needed.
            return Ok(false);
        };
        let folder = segment_folder(&self.folder, number);
        let before = entry.files.iter().filter(|file| is_of_index(file.kind, vector)).filter_map(index_name);
        let before: Vec<String> = before.map(|name| format!("{folder}/{name}")).collect();
        made.enter(entry, vector);
        self.commit(ledger, manifest)?;
        // Who reads them holds them open. What cannot be removed now is removed at the next opening.
        before.iter().for_each(|path| drop(self.dir.remove(path)));
        Ok(true)
    }

    /// Writes the files of an index, in the place of what an attempt before this left.
    fn write_index_files(
        &self,
        folder: &str,
        name: IndexName,
        built: &Built,
        partitions: Option<&[BuiltPartition]>,
    ) -> io::Result<IndexFiles> {
        let dir = &*self.dir;
        remove_files(dir, folder, &[graph_file(name), codes_file(name), partitions_file(name)])?;
        let files = write_index(dir, folder, name, built.codes(), &built.graph, &built.calibration)?;
        let partitions =
            partitions.map(|partitions| write_partitions(dir, folder, name, partitions)).transpose()?;
        dir.sync_dir(folder)?;
        Ok(IndexFiles { partitions, ..files })
    }

    /// Names files of an index in the manifest, in the place of those of these kinds that there were.
    pub(crate) fn commit_files(
        &self,
        number: u64,
        kinds: &[FileKind],
        files: impl IntoIterator<Item = (FileKind, Summary)>,
    ) -> Result<()> {
        let mut ledger = self.checkpoint.lock();
        self.check_writable()?;
        let mut manifest: Manifest = ledger.manifest.clone();
        let Some(entry) = manifest.segments.iter_mut().find(|entry| entry.id == number) else {
            // The segment was merged away, and its folder goes with it: the index is not needed.
            return Ok(());
        };
        name_files(entry, kinds, files);
        self.commit(&mut ledger, manifest)
    }
}

/// Removes what an attempt that was never committed left, or a damaged index.
pub(crate) fn remove_files(dir: &dyn Dir, folder: &str, files: &[String]) -> io::Result<()> {
    for file in files {
        match dir.remove(&format!("{folder}/{file}")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn stopped(what: &str, error: Stopped) -> Error {
    let kind = match error {
        Stopped::Cancelled => ErrorKind::Cancelled,
        Stopped::Damaged => ErrorKind::Corrupt,
        Stopped::Unreadable => ErrorKind::Unavailable,
        Stopped::Deadline | Stopped::Budget => ErrorKind::Internal,
    };
    Error::caused(kind, what, error)
}

#[cfg(test)]
mod tests;
