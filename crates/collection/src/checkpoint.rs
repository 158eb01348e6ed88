//! Moving what is in memory into sealed files, and the switch of manifests that makes it count.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | freeze the head at Seq L, sync the log through L | the log |
//! | write segments into `staging/`, sync files and folder | staging, removed at the next open |
//! | rename to `segments/<n>`, write `deltas/<segment>-<n>`, sync both folders | files no manifest names, removed at the next open |
//! | swap the manifest: **the commit point** | the new state |
//! | switch versions in memory, carry later deaths and patches over, release log, remove what two manifests no longer name | leftovers, removed later |
//!
//! A failure before the swap is discarded and tried again later; a failed swap stops the shard, for nobody can know its outcome.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearfield_codec::crc32c;
use nearfield_segment::{Delta, Growing, Sealed, SealedFiles, Segment, Written, seal, write_file};
use nearfield_types::Seq;
use nearfield_types::limits::SEGMENT_ROWS_MAX;
use nearfield_wal::LogError;

use crate::cell::{Cell, ManifestCell};
use crate::collection::{Collection, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{FileEntry, FileKind, Manifest, SegmentEntry};
use crate::version::Member;

/// Frozen heads that may wait before writers must wait too.
const FROZEN_MAX: usize = 2;
/// The part of a full head that is sealed where memory is near its end.
const EARLY_PART: u64 = 4;
/// Rows of fewer bytes are not worth a segment, whoever needs the room.
const GIVEN_BYTES_MIN: u64 = 256 << 10;
/// In `process` durability, how long a write may stay in the page cache alone.
const SYNC_AFTER_MS: u64 = 100;
/// How long after the last group a mark in the log ends the doubt about it.
const MARK_AFTER_MS: u64 = 50;
/// A checkpoint ends the log's file if it holds so much.
const ROTATE_BYTES: u64 = 256 << 10;
/// At a clean close, a log shorter than this is left to be replayed instead of sealing a tiny segment.
const CLOSE_REPLAY_BYTES: u64 = 1 << 20;

/// What the committer of a shard knows: the value of the cell and the one before it.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) cell: ManifestCell,
    pub(crate) version: u64,
    pub(crate) manifest: Manifest,
    /// What reading would fall back to if the newest manifest were damaged.
    pub(crate) previous: Option<Manifest>,
}

/// A frozen segment on its way to disk.
struct Sealing {
    source: Arc<Growing>,
    number: u64,
    /// `None` if all its rows are dead.
    sealed: Option<(Written, Arc<Sealed>)>,
}

impl Collection {
    /// Does what the log is due: the sync of `process` writes, the mark after the last group. Called every few tens of
    /// milliseconds by whoever owns the collection; cheap when nothing is due.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the log failed; the shard is then poisoned.
    pub fn maintain_log(&self) -> Result<()> {
        let now = self.options.clock.now_ms();
        if self.options.durability == Durability::Process && self.dirty.due(now, SYNC_AFTER_MS) {
            self.sync()?;
        }
        if self.unmarked.due(now, MARK_AFTER_MS) && self.check_writable().is_ok() {
            self.mark()?;
        }
        Ok(())
    }

    /// True while [`Collection::maintain_log`] has something to do, if not yet: whoever calls it may rest otherwise until something is
    /// written.
    pub fn log_waits(&self) -> bool {
        let unsynced = self.options.durability == Durability::Process && self.dirty.waits();
        (unsynced || self.unmarked.waits()) && self.check_writable().is_ok()
    }

    /// Seals what waits to be sealed. Called like [`Collection::maintain_log`], best from another thread: it takes as long as
    /// the disk needs.
    ///
    /// # Errors
    ///
    /// What sealing met; it is tried again at the next call unless the shard was poisoned.
    pub fn maintain_segments(&self) -> Result<()> {
        if self.checkpoint_due() { self.checkpoint() } else { Ok(()) }
    }

    /// True once a head waits to be sealed or the log has grown past its budget.
    pub fn checkpoint_due(&self) -> bool {
        self.current.load().frozen().next().is_some()
            || self.logged_bytes.load(Ordering::Relaxed) >= self.options.log_bytes_max
    }

    /// Seals all that is in memory, commits it, and releases the log up to there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] without room (nothing is lost, try again), [`ErrorKind::Unavailable`] if the manifest's outcome is
    /// unknown.
    pub fn flush(&self) -> Result<()> {
        let mut ledger = self.checkpoint.lock();
        self.checkpoint_locked(&mut ledger)?;
        self.settle(&mut ledger)
    }

    /// Ends the collection cleanly: what is in memory is sealed if replaying it would take noticeable time, the log is synced
    /// and ended. The collection takes no writes afterwards, whatever this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the log or a manifest failed, now or before. That sealing failed is no error: the log has
    /// everything.
    pub fn close(&self) -> Result<()> {
        self.halt_indexing();
        // Held to the end, all of them: whoever opens the collection next must find nobody at work in its folder. A checkpoint under way finishes first,
        // and none begins once the lock of the directory is gone.
        let _still = self.still();
        let mut ledger = self.checkpoint.lock();
        if self.check_open().is_err() {
            return Ok(());
        }
        if self.logged_bytes.load(Ordering::Relaxed) >= CLOSE_REPLAY_BYTES {
            let _ = self.checkpoint_locked(&mut ledger).and_then(|()| self.settle(&mut ledger));
        }
        let writable = self.check_writable();
        let log = self.writer.lock().log.take();
        self.shut();
        let ended = match log.map(|log| log.close().map_err(|e| self.log_error(e))) {
            Some(Ok(durable)) if writable.is_ok() => self.record(&mut ledger, durable),
            ended => ended.transpose().map(drop),
        };
        writable.and(ended)
    }

    /// Writes down in the manifest how far the log is durable, so that a log that loses its end later is told from one that
    /// never had it.
    fn record(&self, ledger: &mut Ledger, durable: Seq) -> Result<()> {
        if ledger.manifest.synced >= durable {
            return Ok(());
        }
        match self.commit(ledger, ledger.manifest.clone()) {
            // Without room only that record is missing.
            Err(error) if error.kind() == ErrorKind::Full => Ok(()),
            committed => committed,
        }
    }

    /// Waits for room in memory: with too many heads waiting to be sealed, a writer seals them itself. Where the budget of all collections is
    /// near its end one is too many, and so is a head of its own that is worth a segment.
    pub(crate) fn make_room(&self) -> Result<()> {
        if !self.lacks_room() {
            return Ok(());
        }
        let mut ledger = self.checkpoint.lock();
        if !self.lacks_room() {
            return Ok(());
        }
        self.checkpoint_locked(&mut ledger)
            .map_err(|e| e.within("the segments in memory could not be sealed"))
    }

    fn lacks_room(&self) -> bool {
        let version = self.current.load();
        let frozen = version.frozen().count();
        let budget = &self.options.budget;
        let full = budget.head_bytes_max(self.options.head_bytes_max);
        frozen >= FROZEN_MAX
            || budget.is_near() && (frozen > 0 || version.head().bytes() >= full / EARLY_PART)
    }

    /// Seals what is in memory if that is worth a segment: somebody else needs the room.
    ///
    /// # Errors
    ///
    /// As [`Collection::maintain_segments`].
    pub fn give_room(&self) -> Result<()> {
        if self.head_bytes() < GIVEN_BYTES_MIN { Ok(()) } else { self.checkpoint() }
    }

    fn mark(&self) -> Result<()> {
        self.unmarked.clear();
        let marked = match self.writer.lock().log.as_mut().map_or(Ok(None), |log| log.sync_mark()) {
            // Without room the doubt about the last group stays, and nothing else.
            Err(LogError::Full) => None,
            marked => marked.map_err(|e| self.log_error(e))?,
        };
        match marked {
            Some(marked) => self.sync_log(marked).map(drop),
            None => Ok(()),
        }
    }

    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.checkpoint_locked(&mut self.checkpoint.lock())
    }

    fn checkpoint_locked(&self, ledger: &mut Ledger) -> Result<()> {
        self.check_writable()?;
        let logged = self.logged_bytes.swap(0, Ordering::Relaxed);
        let done = self.checkpoint_steps(ledger);
        if done.is_err() {
            self.logged_bytes.fetch_add(logged, Ordering::Relaxed);
        }
        done
    }

    fn checkpoint_steps(&self, ledger: &mut Ledger) -> Result<()> {
        let (through, frozen) = {
            let mut writer = self.writer.lock();
            // So that what is in files is not kept in the log as well, by what comes after it.
            if let Some(log) = writer.log.as_mut().filter(|log| log.unfinished_bytes() >= ROTATE_BYTES) {
                log.rotate().map_err(|e| self.log_error(e))?;
            }
            self.freeze();
            (self.applied(), self.current.load().frozen().cloned().collect::<Vec<_>>())
        };
        let unchanged = frozen.is_empty() && through == ledger.manifest.flushed;
        if unchanged {
            return Ok(());
        }
        self.sync_through(through)?;
        let mut manifest = ledger.manifest.clone();
        let sealing = self.write_segments(frozen, through, &mut manifest)?;
        self.write_deltas(through, &mut manifest, ledger.version + 1)?;
        manifest.flushed = through;
        self.commit(ledger, manifest)?;
        self.inherit(&sealing);
        self.switch(&sealing, through);
        self.flushed.store(through.0, Ordering::Release);
        self.tidy_up(ledger);
        Ok(())
    }

    fn write_segments(
        &self,
        frozen: Vec<Arc<Growing>>,
        through: Seq,
        manifest: &mut Manifest,
    ) -> Result<Vec<Sealing>> {
        let mut sealing = Vec::with_capacity(frozen.len());
        for source in frozen {
            debug_assert!(source.len() as usize <= SEGMENT_ROWS_MAX);
            let number = manifest.next_segment;
            manifest.next_segment += 1;
            let written = self.write_segment(&source, number, through)?;
            let sealed = written.map(|written| self.open_written(number, written)).transpose()?;
            if let Some((written, sealed)) = &sealed {
                let vectors = self.settings.load().epochs.len();
                let mut entry = segment_entry(number, written.rows, &written.files, vectors);
                self.seal_fields(number, sealed, &mut entry);
                manifest.segments.push(entry);
            }
            sealing.push(Sealing { source, number, sealed });
        }
        if sealing.iter().any(|one| one.sealed.is_some()) {
            // A rename is durable once both folders are.
            self.sync_folder("segments")?;
            self.sync_folder("staging")?;
        }
        Ok(sealing)
    }

    fn write_segment(&self, source: &Growing, number: u64, through: Seq) -> Result<Option<Written>> {
        let staging = format!("{}/staging/{number}", self.folder);
        let target = segment_folder(&self.folder, number);
        let failed = |e| Error::io(format!("sealing segment {number}"), e);
        // A discarded attempt may have left its staging or, renamed but never committed, its target.
        for leftover in [&staging, &target] {
            match self.dir.remove(leftover) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
                _ => {}
            }
        }
        let settings = self.settings.load_full();
        let schema = &settings.schema;
        let write = || {
            self.dir.make_dir(&staging)?;
            let written = seal(source, through, schema.partition(), &*self.dir, &staging)?;
            self.dir.sync_dir(&staging)?;
            if written.rows > 0 {
                self.dir.rename(&staging, &target)?;
            } else {
                self.dir.remove(&staging)?;
            }
            Ok(written)
        };
        match write() {
            Ok(written) => Ok((written.rows > 0).then_some(written)),
            Err(e) => {
                let _ = self.dir.remove(&staging);
                Err(failed(e))
            }
        }
    }

    /// Writes the deaths and patches of every sealed segment that changed since its last delta.
    fn write_deltas(&self, through: Seq, manifest: &mut Manifest, number: u64) -> Result<()> {
        let version = self.current.load_full();
        let mut wrote = false;
        for member in version.settled() {
            let (Segment::Sealed(sealed), Some(id)) = (&member.segment, member.number) else { continue };
            let Some(entry) = manifest.segments.iter_mut().find(|entry| entry.id == id) else { continue };
            if sealed.last_change() <= manifest.flushed {
                continue;
            }
            let path = delta_path(&self.folder, id, number);
            entry.delta = Some((number, self.write_delta(&path, &sealed.delta(through))?));
            wrote = true;
        }
        if wrote { self.sync_folder("deltas") } else { Ok(()) }
    }

    /// Writes a delta in the place of what an attempt before this left. Its folder is not synced.
    pub(crate) fn write_delta(&self, path: &str, delta: &Delta) -> Result<FileEntry> {
        match self.dir.remove(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("replacing {path}"), e));
            }
            _ => {}
        }
        let summary = write_file(&*self.dir, path, |sink| delta.write(sink));
        let summary = summary.map_err(|e| Error::io(format!("writing {path}"), e))?;
        Ok(FileEntry { kind: FileKind::Delta, generation: 0, summary })
    }

    pub(crate) fn sync_folder(&self, name: &str) -> Result<()> {
        let path = format!("{}/{name}", self.folder);
        self.dir.sync_dir(&path).map_err(|e| Error::io(format!("syncing {path}"), e))
    }

    /// The commit point. If the manifest may have been replaced all the same, nobody knows which is the last: the shard stops.
    pub(crate) fn commit(&self, ledger: &mut Ledger, mut manifest: Manifest) -> Result<()> {
        let dropped = self.put_fields(ledger, &mut manifest)?;
        manifest.synced = self.synced_seq().max(manifest.flushed).max(manifest.fields.changed);
        manifest.previous_crc = crc32c(&ledger.manifest.encode());
        match ledger.cell.swap_if(Some(ledger.version), &manifest.encode()) {
            Ok(version) => {
                ledger.version = version;
                self.stale.store(Arc::new(manifest.stale_indexes()));
                ledger.previous = Some(std::mem::replace(&mut ledger.manifest, manifest));
                // What cannot be removed now is removed at the next opening.
                dropped.iter().for_each(|path| drop(self.dir.remove(path)));
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.poison(&format!("its manifest could not be replaced ({error})"));
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a segment just written, before anything is committed: failing here costs an attempt and no more.
    fn open_written(&self, number: u64, written: Written) -> Result<(Written, Arc<Sealed>)> {
        let folder = segment_folder(&self.folder, number);
        let sealed = self.open_fresh(&folder, written.rows, &written.files)?;
        Ok((written, sealed))
    }

    /// Opens the files of a segment that were just written into `folder`.
    pub(crate) fn open_fresh(&self, folder: &str, rows: u32, files: &SealedFiles) -> Result<Arc<Sealed>> {
        let schema = &self.settings.load().schema;
        let sealed = Sealed::open(&*self.dir, folder, schema, rows, files, None);
        sealed.map(Arc::new).map_err(|(path, e)| {
            Error::caused(ErrorKind::Unavailable, format!("{path}, just written, cannot be read"), e)
        })
    }

    /// Lets searches of what was sealed go on with the indexes that it had, before anybody can see that its own are missing, and keeps the
    /// graphs of the rest for the indexes to be built.
    fn inherit(&self, sealing: &[Sealing]) {
        for Sealing { source, number, sealed } in sealing {
            let wants = |sealed: &Sealed| !self.unindexed_vectors(sealed).is_empty();
            if let Some((written, sealed)) = sealed.as_ref().filter(|(_, sealed)| wants(sealed)) {
                let graphs = written.lend(source, sealed, self.work_threads());
                if !graphs.is_empty() {
                    self.indexing.inherit(*number, graphs);
                }
            }
        }
    }

    /// Puts the sealed segments in the place of the growing ones they were made from.
    fn switch(&self, sealing: &[Sealing], through: Seq) {
        let _writer = self.writer.lock();
        let version = self.current.load_full();
        let mut members = Vec::with_capacity(version.settled().len());
        for member in version.settled() {
            match &member.segment {
                Segment::Growing(growing) => {
                    let Some(one) = sealing.iter().find(|one| Arc::ptr_eq(&one.source, growing)) else {
                        members.push(member.clone());
                        continue;
                    };
                    if let Some((written, sealed)) = &one.sealed {
                        written.carry(growing, sealed);
                        let segment = Segment::Sealed(Arc::clone(sealed));
                        members.push(Member { segment, number: Some(one.number) });
                    }
                }
                Segment::Sealed(sealed) if sealed.patched_before(through) => {
                    let segment = Segment::Sealed(Arc::new(sealed.compacted(through)));
                    members.push(Member { segment, number: member.number });
                }
                Segment::Sealed(_) => members.push(member.clone()),
            }
        }
        self.install(members, Arc::clone(version.head()));
        // What was dropped while it was written.
        self.retain_fields();
        self.account();
    }

    /// Releases what neither of the last two manifests needs. Failing to is harmless; it is tried again next time.
    fn tidy_up(&self, ledger: &Ledger) {
        let fallback = ledger.previous.as_ref().map_or(ledger.manifest.flushed, |previous| previous.flushed);
        let _ = self.release_log(fallback.min(ledger.manifest.flushed));
        let mut kept = vec![&ledger.manifest];
        kept.extend(&ledger.previous);
        let _ = remove_unnamed(&*self.dir, &self.folder, &kept);
    }

    /// Writes the manifest once more if the one before still needs log or files that the newest does not.
    pub(crate) fn settle(&self, ledger: &mut Ledger) -> Result<()> {
        self.check_writable()?;
        let settled = ledger.previous.as_ref().is_some_and(|previous| {
            previous.flushed == ledger.manifest.flushed && previous.segments == ledger.manifest.segments
        });
        if !settled {
            self.commit(ledger, ledger.manifest.clone())?;
        }
        self.tidy_up(ledger);
        Ok(())
    }
}

/// The entry of a segment without indexes.
pub(crate) fn segment_entry(number: u64, rows: u32, files: &SealedFiles, names: usize) -> SegmentEntry {
    let SealedFiles { ids, payload, vectors } = files;
    let file =
        |kind, summary: &nearfield_codec::Summary| FileEntry { kind, generation: 0, summary: *summary };
    let mut files = vec![file(FileKind::Ids, ids), file(FileKind::Payload, payload)];
    files.extend(vectors.iter().enumerate().map(|(at, summary)| file(FileKind::Vectors(at as u16), summary)));
    SegmentEntry { id: number, rows, codec_epoch: 0, epochs: vec![0; names], files, delta: None }
}

pub(crate) fn segment_folder(folder: &str, number: u64) -> String {
    format!("{folder}/segments/{number}")
}

pub(crate) fn delta_path(folder: &str, segment: u64, number: u64) -> String {
    format!("{folder}/deltas/{segment}-{number}")
}

/// Removes segments and deltas that none of `kept` names. Any error while looking removes nothing.
pub(crate) fn remove_unnamed(
    dir: &dyn nearfield_platform::Dir,
    folder: &str,
    kept: &[&Manifest],
) -> std::io::Result<()> {
    let segments = format!("{folder}/segments");
    let deltas = format!("{folder}/deltas");
    let mut named: HashSet<String> = HashSet::new();
    for entry in kept.iter().flat_map(|manifest| &manifest.segments) {
        named.insert(segment_folder(folder, entry.id));
        named.extend(entry.delta.as_ref().map(|(number, _)| delta_path(folder, entry.id, *number)));
    }
    let mut unnamed = Vec::new();
    for place in [&segments, &deltas] {
        let paths = dir.list(place)?.into_iter().map(|entry| format!("{place}/{}", entry.name));
        unnamed.extend(paths.filter(|path| !named.contains(path)));
    }
    unnamed.iter().try_for_each(|path| dir.remove(path))
}
