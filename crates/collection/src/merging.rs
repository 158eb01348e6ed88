//! Merging sealed segments: what `policy` chooses is done here, beside readers and writers.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | write rows, payload, ids, payload indexes and indexes of the new segment into `staging/merge-<n>`, sync files and folder | staging, removed at the next open |
//! | rename to `segments/<n>`, write `deltas/<n>-<m>` of what died or changed meanwhile, sync the folders | files no manifest names, removed at the next open |
//! | swap the manifest: **the commit point** | the new state |
//! | switch versions in memory, carry later deaths and patches over | the new state |
//! | swap the manifest once more, so that neither of the last two names the inputs, and remove these | leftovers, removed later |
//!
//! The new segment holds its inputs as of the last checkpoint, so log and manifest mean the same as before. It has its indexes before anybody
//! sees it: searches never get slower by a merge. Its inputs serve until the switch, and for readers that hold them until they let go.
//!
//! It never needs more room than its inputs take, and looks for that before it begins. What fails or is given up before the commit is
//! discarded. It refuses to start threads: whoever owns the collection calls [`Collection::maintain_merges`].

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield_ann::Stopped;
use nearfield_segment::{BuildPhase, IndexName, MergeError, Merged, Sealed, Segment, merge};
use nearfield_types::{Progress, Seq};
use parking_lot::Mutex;

use crate::checkpoint::{Ledger, delta_path, segment_entry, segment_folder};
use crate::collection::{Collection, closed, cores};
use crate::error::{Error, ErrorKind, Result};
use crate::indexing::stopped;
use crate::manifest::{FileEntry, FileKind, Manifest, SegmentEntry};
use crate::policy::{Choice, Limits, SegmentFigures, choose};
use crate::rebuilding::BuildMeter;
use crate::settings::Settings;
use crate::version::{Member, Version};

/// What is known of merges.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    /// Held while segments are merged or their indexes built anew: one of these at a time.
    pub(crate) one: Mutex<()>,
    /// Why the last merge could not be done, until one is.
    blocked: Mutex<Option<String>>,
    /// How many segments are being merged right now.
    running: AtomicUsize,
}

/// A segment that is merged away.
struct Input {
    number: u64,
    sealed: Arc<Sealed>,
    /// Of each vector the epoch of the settings that its index was built with.
    epochs: Vec<u32>,
}

/// The segment that takes the place of its inputs, written and opened in staging.
struct Output {
    merged: Merged,
    sealed: Arc<Sealed>,
    /// Without number and delta, which it gets when it is committed.
    entry: SegmentEntry,
}

impl Output {
    /// True if its indexes were built with other settings than those of `manifest`.
    fn is_stale(&self, manifest: &Manifest) -> bool {
        let mut epochs = manifest.epochs.iter().zip(&self.entry.epochs).enumerate();
        epochs.any(|(vector, (now, built))| self.sealed.indexed(vector).is_some() && *built != now.number)
    }
}

impl Collection {
    /// Merges and writes anew what the settings ask for, until nothing is left to do. Called like [`Collection::maintain_segments`], from another
    /// thread: it takes minutes where segments are large. Waits for nobody: true if somebody else merges or rebuilds just now, so that it is
    /// to be called again.
    ///
    /// # Errors
    ///
    /// What reading the inputs or writing the new segment met; it is tried again at the next call. [`ErrorKind::Full`] without room for it;
    /// [`ErrorKind::Cancelled`] after [`Collection::halt_indexing`].
    pub fn maintain_merges(&self) -> Result<bool> {
        let optimizers = self.optimizers();
        if optimizers.is_off() || self.indexing.halted() {
            return Ok(false);
        }
        let limits = optimizers.limits(cores());
        if self.choose_applied(&limits) == Choice::Nothing {
            *self.merging.blocked.lock() = None;
            return Ok(false);
        }
        let Some(_one) = self.merging.one.try_lock() else { return Ok(true) };
        self.merge_all(&limits, &Progress::default()).map(|()| false)
    }

    /// True if [`Collection::maintain_merges`] has something to do. O(segments + rows that died in them).
    pub fn merge_due(&self) -> bool {
        let optimizers = self.optimizers();
        let rests = optimizers.is_off() || self.indexing.halted();
        !rests && self.choose_applied(&optimizers.limits(cores())) != Choice::Nothing
    }

    /// Writes all that is in memory to segments, takes every row away that is dead by then, merges down to the number of segments that the
    /// settings ask for, and returns when these have all their indexes. What others write meanwhile is not waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if `progress` was cancelled or the collection closed: what was done stays, a merge under way leaves everything
    /// as it was. Else as [`Collection::flush`], [`Collection::maintain_merges`] and [`Collection::maintain_indexes`].
    pub fn optimize(&self, progress: &Progress) -> Result<()> {
        let _one = self.wait_for(&self.merging.one, progress)?;
        self.flush()?;
        let seen = self.flushed_seq();
        let mut known: HashSet<u64> =
            self.segment_figures(seen).iter().map(|segment| segment.number).collect();
        self.build_missing(progress)?;
        let usual = self.optimizers().limits(cores());
        let limits = Limits { slack: 0, dead_share_max: 0.0, dead_rows_min: 0, ..usual };
        loop {
            let mut figures = self.segment_figures(seen);
            figures.retain(|segment| known.contains(&segment.number));
            match choose(&figures, &limits) {
                Choice::Nothing => break,
                choice => known.extend(self.carry_out(&choice, progress)?),
            }
        }
        self.build_missing(progress)?;
        self.wait_for(&self.indexing.fields, progress).map(drop)?;
        self.maintain_fields().map(drop)
    }

    /// Why the last merge could not be done; `None` once one was, or nothing is to be merged.
    pub fn merging_blocked(&self) -> Option<String> {
        self.merging.blocked.lock().clone()
    }

    /// How many segments are being merged right now.
    pub fn merging_segments(&self) -> usize {
        self.merging.running.load(Ordering::Relaxed)
    }

    /// The figures of the sealed segments, with what is dead as of `seen`. O(segments + deaths).
    pub fn segment_figures(&self, seen: Seq) -> Vec<SegmentFigures> {
        self.figures(|sealed| sealed.living(seen))
    }

    fn figures(&self, living: impl Fn(&Sealed) -> u64) -> Vec<SegmentFigures> {
        let version = self.current.load_full();
        let sealed = version.settled().iter().filter_map(|member| match (&member.segment, member.number) {
            (Segment::Sealed(sealed), Some(number)) => Some((number, sealed)),
            _ => None,
        });
        let figures = |(number, sealed): (u64, &Arc<Sealed>)| {
            let rows = u64::from(sealed.rows());
            let dead = rows - living(sealed);
            let vectors = u128::from(sealed.bytes().vectors);
            let bytes = vectors * u128::from(rows - dead) / u128::from(rows.max(1));
            let is_ready = self.unindexed_vectors(sealed).is_empty();
            SegmentFigures { number, rows, dead, bytes: bytes as u64, is_ready }
        };
        sealed.map(figures).collect()
    }

    /// What is to be done next, by what is dead now. O(segments): it is asked often.
    pub(crate) fn choose_applied(&self, limits: &Limits) -> Choice {
        choose(&self.figures(|sealed| sealed.living_now().into()), limits)
    }

    fn merge_all(&self, limits: &Limits, progress: &Progress) -> Result<()> {
        loop {
            let mut choice = choose(&self.segment_figures(self.flushed_seq()), limits);
            if choice == Choice::Nothing && self.choose_applied(limits) != Choice::Nothing {
                // Rows that died since the last checkpoint can be taken away after the next one.
                self.checkpoint()?;
                choice = choose(&self.segment_figures(self.flushed_seq()), limits);
            }
            if choice == Choice::Nothing {
                *self.merging.blocked.lock() = None;
                return Ok(());
            }
            self.carry_out(&choice, progress)?;
        }
    }

    /// Does what was chosen, and notes why it cannot be done; returns the number of the new segment, if there is one.
    fn carry_out(&self, choice: &Choice, progress: &Progress) -> Result<Option<u64>> {
        if self.indexing.halted() || progress.is_cancelled() {
            return Err(given_up());
        }
        let running = Running::begin(&self.merging, choice.segments().len());
        let done = self.merge_segments(choice.segments(), progress);
        drop(running);
        match &done {
            Ok(_) => *self.merging.blocked.lock() = None,
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => *self.merging.blocked.lock() = Some(error.to_string()),
        }
        done
    }

    /// Makes one segment of these, or none where nothing in them lives; returns its number.
    fn merge_segments(&self, numbers: &[u64], progress: &Progress) -> Result<Option<u64>> {
        self.check_writable()?;
        let (inputs, settings, through) = self.inputs(numbers);
        if inputs.len() != numbers.len() {
            return Ok(None);
        }
        // A name of its own: one that is given up as the collection closes may outlive the next opening by a moment.
        let staging = format!("{}/staging/merge-{:016x}", self.folder, self.options.entropy.u64());
        let written = self.write_merged(&inputs, &settings, through, &staging, progress);
        let done = written.and_then(|output| self.commit_merged(&inputs, output, &staging));
        if done.is_err() {
            let _ = self.remove_staged(&staging);
        }
        done
    }

    /// The segments of these numbers, with what they are to be merged by. All of one moment: checkpoints and rebuilding wait.
    fn inputs(&self, numbers: &[u64]) -> (Vec<Input>, Arc<Settings>, Seq) {
        let ledger = self.checkpoint.lock();
        let version = self.current.load_full();
        let input = |&number: &u64| {
            let sealed = Arc::clone(sealed_of(&version, number)?);
            let entry = ledger.manifest.segments.iter().find(|entry| entry.id == number)?;
            Some(Input { number, sealed, epochs: entry.epochs.clone() })
        };
        let inputs = numbers.iter().filter_map(input).collect();
        (inputs, self.settings.load_full(), ledger.manifest.flushed)
    }

    fn remove_staged(&self, staging: &str) -> Result<()> {
        match self.dir.remove(staging) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("removing {staging}"), e))
            }
            _ => Ok(()),
        }
    }

    /// Writes the new segment with all that belongs to it; `None` if nothing lives.
    fn write_merged(
        &self,
        inputs: &[Input],
        settings: &Settings,
        through: Seq,
        staging: &str,
        progress: &Progress,
    ) -> Result<Option<Output>> {
        let sealed: Vec<&Sealed> = inputs.iter().map(|input| &*input.sealed).collect();
        let living: u64 = sealed.iter().map(|sealed| sealed.living(through)).sum();
        if living == 0 {
            return Ok(None);
        }
        self.check_room(&sealed)?;
        let fields = self.fields.load_full();
        let vectors = settings.schema.shapes().len() as u64;
        let is_indexed = living >= u64::from(settings.schema.graph_rows_min());
        let builds = if is_indexed { vectors * BuildMeter::steps(living) } else { 0 };
        progress.expect(living * (vectors + 1 + fields.list.len() as u64) + builds);
        let goes_on = || !self.indexing.halted() && !progress.is_cancelled();
        let steps = |steps| {
            progress.add(steps);
            goes_on()
        };
        let failed = |e| Error::io(format!("merging into {staging}"), e);
        self.dir.make_dir(staging).map_err(failed)?;
        let merged = merge(&sealed, through, settings.schema.partition(), &*self.dir, staging, &steps);
        let merged = merged.map_err(|e| self.merge_error(inputs, e))?;
        let target = self.open_fresh(staging, merged.rows, &merged.files)?;
        let mut entry = segment_entry(0, merged.rows, &merged.files, settings.epochs.len());
        for field in &fields.list {
            let (reader, summary) = self.make_field_in(staging, &target, field, &goes_on)?;
            target.attach_field(field, reader, summary.length);
            let kind = FileKind::Field(field.created);
            entry.files.push(FileEntry { kind, generation: 0, summary });
            progress.add(living);
        }
        let output = Output { merged, sealed: target, entry };
        self.index_merged(inputs, output, settings, staging, progress)
    }

    /// Builds the indexes of the new segment out of those of its inputs.
    fn index_merged(
        &self,
        inputs: &[Input],
        mut output: Output,
        settings: &Settings,
        staging: &str,
        progress: &Progress,
    ) -> Result<Option<Output>> {
        let sealed: Vec<&Sealed> = inputs.iter().map(|input| &*input.sealed).collect();
        for vector in output.sealed.unindexed(settings.schema.graph_rows_min()) {
            let meter = BuildMeter::new(progress, output.merged.rows.into());
            let watch = |phase, done, all| match self.indexing.halted() || progress.is_cancelled() {
                true => Err(Stopped::Cancelled),
                false => {
                    meter.reach(phase, done, all);
                    Ok(())
                }
            };
            let epoch = settings.epochs[vector].number;
            let is_current: Vec<bool> =
                inputs.iter().map(|input| input.epochs.get(vector) == Some(&epoch)).collect();
            let options = &settings.schema.indexes()[vector];
            let gives_up = || watch(BuildPhase::Encode, 0, 1).is_err();
            let place = self.builder_place(output.merged.rows, vector, &gives_up)?;
            let threads = place.threads(self.work_threads());
            let built =
                output.merged.build(&sealed, &is_current, &output.sealed, vector, options, threads, &watch);
            let built = built.map_err(|e| stopped("building the index of merged segments", e))?;
            let name = IndexName::from(vector);
            let made = self.write_built(staging, name, &output.sealed, &built, settings, &watch)?;
            made.enter(&mut output.entry, vector);
            output.sealed.attach(vector, made.index, &made.files);
            meter.end();
        }
        let synced = self.dir.sync_dir(staging);
        synced.map_err(|e| Error::io(format!("syncing {staging}"), e))?;
        Ok(Some(output))
    }

    /// Refuses to begin what the disk has no room for.
    fn check_room(&self, inputs: &[&Sealed]) -> Result<()> {
        let needed: u64 = inputs.iter().map(|input| input.bytes().total() + input.memory()).sum();
        let free = self.dir.free_space().map_err(|e| Error::io("asking for free space", e))?;
        if free >= needed {
            return Ok(());
        }
        let context = format!(
            "merging {} segments needs {} MB of room and there are {} MB: free some space, searches and writes go on meanwhile",
            inputs.len(),
            needed.div_ceil(1 << 20),
            free >> 20
        );
        Err(Error::new(ErrorKind::Full, context))
    }

    fn commit_merged(&self, inputs: &[Input], output: Option<Output>, staging: &str) -> Result<Option<u64>> {
        let mut ledger = self.checkpoint.lock();
        self.check_open().map_err(|_| closed())?;
        self.check_writable()?;
        let version = self.current.load_full();
        // A checkpoint may have put others in their place: of the same files, with all that happened since.
        let sources: Option<Vec<_>> = inputs.iter().map(|input| sealed_of(&version, input.number)).collect();
        let Some(sources) = sources else {
            return Err(Error::new(ErrorKind::Internal, "segments are gone that nobody else may take away"));
        };
        let sources: Vec<&Sealed> = sources.into_iter().map(|sealed| &**sealed).collect();
        if output.as_ref().is_some_and(|output| output.is_stale(&ledger.manifest)) {
            // Other settings were made meanwhile: its inputs stand, and are chosen again.
            drop(output);
            return self.remove_staged(staging).map(|()| None);
        }
        let mut manifest = ledger.manifest.clone();
        let number = manifest.next_segment;
        let is_input = |entry: &SegmentEntry| inputs.iter().any(|input| input.number == entry.id);
        let place = manifest.segments.iter().position(is_input);
        manifest.segments.retain(|entry| !is_input(entry));
        let output = match output {
            None => None,
            Some(Output { merged, sealed, mut entry }) => {
                manifest.next_segment += 1;
                entry.id = number;
                entry.delta = self.place_merged(&merged, &sources, staging, number, &ledger)?;
                manifest.segments.insert(place.unwrap_or(0).min(manifest.segments.len()), entry);
                Some((merged, sealed))
            }
        };
        if let Err(error) = self.commit(&mut ledger, manifest) {
            if error.kind() != ErrorKind::Unavailable {
                let _ = self.remove_staged(&segment_folder(&self.folder, number));
            }
            return Err(error);
        }
        let output = output.as_ref().map(|(merged, sealed)| (merged, sealed, number));
        self.switch_merged(inputs, output);
        // It is done. What keeps the inputs from being removed now is tried again with the next checkpoint.
        let _ = self.settle(&mut ledger);
        Ok(output.map(|(_, _, number)| number))
    }

    /// Brings the new segment to its place, and writes what happened to its rows up to the last checkpoint.
    fn place_merged(
        &self,
        merged: &Merged,
        sources: &[&Sealed],
        staging: &str,
        number: u64,
        ledger: &Ledger,
    ) -> Result<Option<(u64, FileEntry)>> {
        let target = segment_folder(&self.folder, number);
        self.remove_staged(&target)?;
        let renamed = self.dir.rename(staging, &target);
        renamed.map_err(|e| Error::io(format!("renaming {staging} to {target}"), e))?;
        let place = || {
            let delta = match merged.delta(sources, ledger.manifest.flushed) {
                None => None,
                Some(delta) => {
                    let of = ledger.version + 1;
                    let file = self.write_delta(&delta_path(&self.folder, number, of), &delta)?;
                    self.sync_folder("deltas")?;
                    Some((of, file))
                }
            };
            // A rename is durable once both folders are.
            self.sync_folder("segments")?;
            self.sync_folder("staging")?;
            Ok(delta)
        };
        place().inspect_err(|_| drop(self.remove_staged(&target)))
    }

    /// Puts the new segment in the place of its inputs.
    fn switch_merged(&self, inputs: &[Input], output: Option<(&Merged, &Arc<Sealed>, u64)>) {
        let _writer = self.writer.lock();
        let version = self.current.load_full();
        let mut members = Vec::with_capacity(version.settled().len());
        let mut output_due = output;
        for member in version.settled() {
            let input = inputs.iter().position(|input| member.number == Some(input.number));
            match (&member.segment, input) {
                (Segment::Sealed(source), Some(input)) => {
                    if let Some((merged, sealed, _)) = output {
                        merged.carry(input, source, sealed);
                    }
                    if let Some((_, sealed, number)) = output_due.take() {
                        let segment = Segment::Sealed(Arc::clone(sealed));
                        members.push(Member { segment, number: Some(number) });
                    }
                }
                _ => members.push(member.clone()),
            }
        }
        self.install(members, Arc::clone(version.head()));
        inputs.iter().for_each(|input| self.indexing.disinherit(input.number));
        // What was dropped while it was written.
        self.retain_fields();
    }

    fn merge_error(&self, inputs: &[Input], error: MergeError) -> Error {
        match error {
            MergeError::Io(error) => Error::io("merging segments", error),
            MergeError::Stopped => given_up(),
            MergeError::Rows { .. } => Error::caused(ErrorKind::Internal, "merging segments", error),
            MergeError::Input { input, source } => {
                let number = inputs.get(input).map_or(0, |input| input.number);
                let context = format!("{} cannot be read", segment_folder(&self.folder, number));
                Error::caused(ErrorKind::Corrupt, context, source)
            }
        }
    }
}

/// Notes that segments are being merged, as long as it lives.
struct Running<'a>(&'a Merging);

impl<'a> Running<'a> {
    fn begin(merging: &'a Merging, segments: usize) -> Self {
        merging.running.store(segments, Ordering::Relaxed);
        Running(merging)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.store(0, Ordering::Relaxed);
    }
}

fn sealed_of(version: &Version, number: u64) -> Option<&Arc<Sealed>> {
    version.settled().iter().find_map(|member| match &member.segment {
        Segment::Sealed(sealed) if member.number == Some(number) => Some(sealed),
        _ => None,
    })
}

fn given_up() -> Error {
    Error::new(ErrorKind::Cancelled, "merging was given up")
}

#[cfg(test)]
mod tests;
