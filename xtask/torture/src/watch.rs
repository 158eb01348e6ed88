//! A layer over a directory that knows what the engine is doing, by the paths it names, leaves word of it for whoever finds the
//! process dead, and lets the killing begin at a chosen call of a chosen kind of work.
//!
//! The killing itself is the business of [`Faults`] below it.
#![expect(
    clippy::disallowed_types,
    reason = "the note is written beside the directory under watch, not through it"
)]

use std::fs::File as Note;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nearfield_codec::Region;
use nearfield_platform::{Action, Dir, Entry, FaultPlan, Faults, File, Lock, LockError, LockKind, Moment};

/// What the engine is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// No call yet, or between two calls.
    Between,
    /// Opening: reading, repairing, removing leftovers.
    Opening,
    /// Writing, syncing, making and releasing log files.
    Append,
    /// Writing segments and deltas and giving them their names.
    Seal,
    /// Replacing a collection's manifest.
    Manifest,
    /// Replacing the catalog.
    Catalog,
    /// Anything else: locks, folders, removals.
    Other,
    /// Objects, names and pins of snapshots.
    Snapshots,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 8] = [
        Phase::Between,
        Phase::Opening,
        Phase::Append,
        Phase::Seal,
        Phase::Manifest,
        Phase::Catalog,
        Phase::Other,
        Phase::Snapshots,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Between => "between calls",
            Phase::Opening => "opening",
            Phase::Append => "append",
            Phase::Seal => "seal",
            Phase::Manifest => "manifest switch",
            Phase::Catalog => "catalog switch",
            Phase::Other => "other",
            Phase::Snapshots => "snapshots",
        }
    }

    /// What a call that names `path` belongs to, unless a database is being opened.
    pub fn of(path: &str) -> Phase {
        let mut parts = path.split('/');
        let name = path.rsplit('/').next().unwrap_or_default();
        match parts.next() {
            Some("catalog") => return Phase::Catalog,
            Some("snapshots") => return Phase::Snapshots,
            _ => {}
        }
        // collections/<uuid>/shards/<n>/...
        match (parts.nth(2), parts.next()) {
            (Some(_), Some("log")) => Phase::Append,
            (Some(_), Some("staging" | "segments" | "deltas")) => Phase::Seal,
            (Some(_), None) => Phase::Manifest,
            (Some(_), Some(_)) if name.starts_with("MANIFEST-") || name.starts_with("replace-") => {
                Phase::Manifest
            }
            _ => Phase::Other,
        }
    }
}

/// At which call the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Only calls of this phase count.
    pub phase: Phase,
    /// So many of them pass.
    pub skip: u64,
    /// When, seen from the call.
    pub moment: Moment,
}

const MOMENTS: [(Moment, &str); 3] =
    [(Moment::Before, "before"), (Moment::Midway, "midway"), (Moment::After, "after")];

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let moment = MOMENTS.iter().find(|(moment, _)| *moment == self.moment).map_or("", |(_, name)| *name);
        write!(f, "{}:{}:{moment}", self.phase as u8, self.skip)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let parse = || {
            let mut parts = text.split(':');
            let phase = parts.next()?.parse::<usize>().ok()?;
            let (skip, moment) = (parts.next()?.parse().ok()?, parts.next()?);
            let moment = MOMENTS.iter().find(|(_, name)| *name == moment)?.0;
            Some(Target { phase: *Phase::ALL.get(phase)?, skip, moment })
        };
        parse().ok_or_else(|| format!("{text:?} is no target: it looks like 2:17:midway"))
    }
}

/// A directory under watch.
#[derive(Debug)]
pub struct Watched {
    inner: Arc<Faults>,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    note: Note,
    plan: Arc<FaultPlan>,
    opening: AtomicBool,
    target: Option<Target>,
    passed: AtomicU64,
}

impl Watched {
    /// Watches `inner`, leaving word in the file `note`.
    ///
    /// # Errors
    ///
    /// If the note cannot be made.
    pub fn new(inner: Arc<dyn Dir>, note: &Path, target: Option<Target>) -> io::Result<Arc<Watched>> {
        let note = Note::create(note)?;
        let plan = FaultPlan::new();
        let inner = Faults::new(inner, Arc::clone(&plan));
        let watch = Watch { note, plan, opening: AtomicBool::new(false), target, passed: AtomicU64::new(0) };
        Ok(Arc::new(Watched { inner, watch: Arc::new(watch) }))
    }

    /// Says whether what follows is the opening of a database.
    pub fn opening(&self, opening: bool) {
        self.watch.opening.store(opening, Ordering::SeqCst);
    }

    /// What the process was at when it left its last word; nothing if it left none.
    pub fn last_word(note: &Path) -> Phase {
        let bytes = std::fs::read(note).unwrap_or_default();
        bytes.first().and_then(|&phase| Phase::ALL.get(usize::from(phase))).copied().unwrap_or(Phase::Between)
    }
}

impl Watch {
    fn call<T>(&self, path: &str, act: impl FnOnce() -> T) -> T {
        let phase = if self.opening.load(Ordering::SeqCst) { Phase::Opening } else { Phase::of(path) };
        self.leave_word(phase);
        if let Some(target) = self.target.filter(|target| target.phase == phase)
            && self.passed.fetch_add(1, Ordering::SeqCst) >= target.skip
        {
            // Another thread's call may come in between and be the one, or make this one slip through: then the next is.
            self.plan.arm(self.plan.calls(), Action::Kill(target.moment));
        }
        let done = act();
        self.leave_word(Phase::Between);
        done
    }

    fn leave_word(&self, phase: Phase) {
        // It goes to the page cache, which outlives the process. Without it the kill counts as one between calls.
        let _ = self.note.write_at(&[phase as u8], 0);
    }
}

impl Dir for Watched {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let inner = self.watch.call(path, || self.inner.create(path))?;
        Ok(Arc::new(WatchedFile { inner, path: path.to_owned(), watch: Arc::clone(&self.watch) }))
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        self.watch.call(path, || self.inner.open(path))
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.call(to, || self.inner.overwrite(from, to))
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.watch.call(path, || self.inner.make_dir(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.call(to, || self.inner.rename(from, to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.call(to, || self.inner.link(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.watch.call(path, || self.inner.remove(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.watch.call(path, || self.inner.list(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.watch.call(path, || self.inner.sync_dir(path))
    }

    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
        self.watch.call(path, || self.inner.lock(path, kind))
    }

    fn free_space(&self) -> io::Result<u64> {
        self.watch.call("", || self.inner.free_space())
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.watch.call("", || self.inner.identity())
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Arc<dyn File>,
    path: String,
    watch: Arc<Watch>,
}

impl File for WatchedFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.watch.call(&self.path, || self.inner.write_at(offset, parts))
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.watch.call(&self.path, || self.inner.reserve(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.watch.call(&self.path, || self.inner.sync())
    }

    fn seal(&self) -> io::Result<()> {
        self.watch.call(&self.path, || self.inner.seal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_by_paths() {
        let shard = "collections/67e55044-10b1-426f-9247-bb680e5fe0c8/shards/0";
        let of = |path: &str| Phase::of(&format!("{shard}{path}"));
        assert_eq!((of("/log"), of("/log/00000000000000000001.log")), (Phase::Append, Phase::Append));
        assert_eq!(
            (of("/staging/1/ids"), of("/segments"), of("/deltas/1-2")),
            (Phase::Seal, Phase::Seal, Phase::Seal)
        );
        assert_eq!((of(""), of("/replace-0.tmp")), (Phase::Manifest, Phase::Manifest));
        assert_eq!(of("/MANIFEST-00000000000000000002"), Phase::Manifest);
        assert_eq!(
            (Phase::of("catalog"), Phase::of("catalog/replace-0.tmp")),
            (Phase::Catalog, Phase::Catalog)
        );
        assert_eq!(
            (Phase::of("LOCK"), Phase::of("collections/x"), Phase::of("")),
            (Phase::Other, Phase::Other, Phase::Other)
        );
    }

    #[test]
    fn targets_are_written_and_read() {
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, at);
            let target = Target { phase, skip: 9, moment: Moment::Midway };
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert!("1:2".parse::<Target>().is_err() && "99:1:after".parse::<Target>().is_err());
    }
}
