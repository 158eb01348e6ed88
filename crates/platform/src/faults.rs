//! A directory that fails on demand: at the N-th call, in one of six ways, for want of space, or by killing the process.
//!
//! It is a layer over any [`Dir`], told by a shared [`FaultPlan`] what to do and when. Calls are numbered from 0 in the order in
//! which they arrive; a sweep runs a workload once to count them, then once per number. Without a plan it only counts.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nearfield_codec::{FileTag, Region};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::call::Call;
use crate::dir::{Blob, BlobError, Dir, Entry, File, Lock, LockError, LockKind};
use crate::path::named;

/// An error that a call may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: the disk is full.
    NoSpace,
    /// EINTR: a signal came first.
    Interrupted,
    /// EDQUOT: the user's share is used up.
    Quota,
    /// EMFILE: no descriptor is left.
    TooManyFiles,
    /// A write stops half-way with EIO, its first half being written; other calls fail with EIO.
    ShortWrite,
}

impl Fault {
    /// All six.
    pub const ALL: [Fault; 6] =
        [Fault::Io, Fault::NoSpace, Fault::Interrupted, Fault::Quota, Fault::TooManyFiles, Fault::ShortWrite];

    fn error(self) -> io::Error {
        let errno = match self {
            Fault::Io | Fault::ShortWrite => Errno::IO,
            Fault::NoSpace => Errno::NOSPC,
            Fault::Interrupted => Errno::INTR,
            Fault::Quota => Errno::DQUOT,
            Fault::TooManyFiles => Errno::MFILE,
        };
        errno.into()
    }
}

/// When, seen from the call, the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it is done.
    Before,
    /// In the midst of it: half of a write is done, other calls not at all.
    Midway,
    /// After it was done.
    After,
}

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It fails.
    Fail {
        /// How.
        fault: Fault,
        /// The calls after it fail too.
        lasting: bool,
    },
    /// From it on, calls that need room fail with ENOSPC; writing into room that was reserved or written before does not.
    Full,
    /// The process is killed (SIGKILL).
    Kill(Moment),
}

/// A lie, told to show that the tests notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Syncs of files succeed and do nothing.
    SkipDataSync,
    /// Syncs of folders succeed and do nothing.
    SkipDirSync,
}

/// What a [`Faults`] does, and what it has counted. Shared between the test and the directory.
///
/// # Concurrency
///
/// All methods may be called at any time from any thread.
#[derive(Default)]
pub struct FaultPlan {
    calls: AtomicU64,
    calls_of: [AtomicU64; Call::COUNT],
    fired: AtomicU64,
    armed: Mutex<Option<Armed>>,
    skip_data_sync: AtomicBool,
    skip_dir_sync: AtomicBool,
    watcher: Mutex<Option<Watcher>>,
}

type Watcher = Arc<dyn Fn(Call, &str) + Send + Sync>;

#[derive(Clone, Copy, Debug)]
struct Armed {
    /// Only calls of this kind count.
    only: Option<Call>,
    at: u64,
    action: Action,
}

impl FaultPlan {
    /// A plan to let everything pass.
    pub fn new() -> Arc<FaultPlan> {
        Arc::default()
    }

    /// Calls so far: the number of the next one.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Calls of this kind so far.
    pub fn calls_of(&self, call: Call) -> u64 {
        self.calls_of[call as usize].load(Ordering::SeqCst)
    }

    /// Lets `action` befall the call with the number `at`.
    pub fn arm(&self, at: u64, action: Action) {
        *self.armed.lock() = Some(Armed { only: None, at, action });
    }

    /// Lets `action` befall the call of the kind `only` with the number `at` among its kind.
    pub fn arm_on(&self, only: Call, at: u64, action: Action) {
        *self.armed.lock() = Some(Armed { only: Some(only), at, action });
    }

    /// Lets everything pass again: the disk has room, the device works.
    pub fn disarm(&self) {
        *self.armed.lock() = None;
    }

    /// How many calls something befell.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::SeqCst)
    }

    /// Turns a lie on or off.
    pub fn sabotage(&self, sabotage: Sabotage, on: bool) {
        self.lie(sabotage).store(on, Ordering::SeqCst);
    }

    /// `watcher` is called with kind and path before something befalls a call; last words before a kill.
    pub fn on_fire(&self, watcher: impl Fn(Call, &str) + Send + Sync + 'static) {
        *self.watcher.lock() = Some(Arc::new(watcher));
    }

    /// Counts a call and says what befalls it. `has_room`: it needs none that it does not have.
    fn judge(&self, call: Call, path: &str, has_room: bool) -> Option<Action> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let number_of_kind = self.calls_of[call as usize].fetch_add(1, Ordering::SeqCst);
        let Armed { only, at, action } = (*self.armed.lock())?;
        let number = match only {
            Some(only) if only != call => return None,
            Some(_) => number_of_kind,
            None => number,
        };
        let befalls = match action {
            Action::Fail { lasting: true, .. } => number >= at,
            Action::Full => number >= at && call.needs_space() && !has_room,
            Action::Fail { .. } | Action::Kill(_) => number == at,
        };
        if !befalls {
            return None;
        }
        self.fired.fetch_add(1, Ordering::SeqCst);
        // Not under the lock: a watcher may use the plan.
        let watcher = self.watcher.lock().clone();
        if let Some(watcher) = watcher {
            watcher(call, path);
        }
        Some(action)
    }

    /// Does `act`, or what the plan has for it.
    fn pass<T>(&self, call: Call, path: &str, act: impl FnOnce() -> T) -> Result<T, io::Error> {
        self.pass_with(call, path, false, act, || ())
    }

    /// Does `act`, or what the plan has for it; `half` is what a fault in the midst leaves done.
    fn pass_with<T>(
        &self,
        call: Call,
        path: &str,
        has_room: bool,
        act: impl FnOnce() -> T,
        half: impl FnOnce(),
    ) -> Result<T, io::Error> {
        let fault = match self.judge(call, path, has_room) {
            None => return Ok(act()),
            Some(Action::Fail { fault, .. }) => fault,
            Some(Action::Full) => Fault::NoSpace,
            Some(Action::Kill(moment)) => {
                match moment {
                    Moment::Before => {}
                    Moment::Midway => half(),
                    Moment::After => drop(act()),
                }
                kill_this_process();
            }
        };
        if fault == Fault::ShortWrite {
            half();
        }
        Err(named(call.verb(), path, fault.error()))
    }

    fn lie(&self, sabotage: Sabotage) -> &AtomicBool {
        match sabotage {
            Sabotage::SkipDataSync => &self.skip_data_sync,
            Sabotage::SkipDirSync => &self.skip_dir_sync,
        }
    }

    /// Does the sync `act`, unless told to lie about it.
    fn sync(&self, sabotage: Sabotage, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.lie(sabotage).load(Ordering::SeqCst) { Ok(()) } else { act() }
    }
}

/// Nothing is flushed, no destructor runs.
fn kill_this_process() -> ! {
    // A signal to oneself cannot be refused; the call may return before it is delivered.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultPlan").field("calls", &self.calls()).field("armed", &*self.armed.lock()).finish()
    }
}

/// A [`Dir`] over another one, with the faults of a plan.
///
/// ```
/// use nearfield_platform::{Action, Dir, Fault, FaultPlan, Faults, MemoryDir};
///
/// let plan = FaultPlan::new();
/// let dir = Faults::new(MemoryDir::new(), plan.clone());
/// plan.arm(1, Action::Fail { fault: Fault::NoSpace, lasting: false });
/// let file = dir.create("a")?;
/// assert_eq!(file.write_at(0, &[b"x"]).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
/// file.write_at(0, &[b"x"])?;
/// assert_eq!((plan.calls(), plan.fired()), (3, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Faults {
    inner: Arc<dyn Dir>,
    plan: Arc<FaultPlan>,
}

impl Faults {
    /// `inner` with the faults of `plan`.
    pub fn new(inner: Arc<dyn Dir>, plan: Arc<FaultPlan>) -> Arc<Faults> {
        Arc::new(Faults { inner, plan })
    }
}

impl Dir for Faults {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let inner = self.plan.pass(Call::Create, path, || self.inner.create(path))??;
        let (plan, path) = (Arc::clone(&self.plan), path.to_owned());
        Ok(Arc::new(FaultsFile { inner, plan, path, room: AtomicU64::new(0) }))
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        self.plan.pass(Call::Open, path, || self.inner.open(path))?
    }

    fn blob(&self, path: &str, tag: FileTag) -> Result<Arc<dyn Blob>, BlobError> {
        let inner = self.plan.pass(Call::Blob, path, || self.inner.blob(path, tag))??;
        Ok(Arc::new(FaultsBlob { inner, plan: Arc::clone(&self.plan), path: path.to_owned() }))
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.pass(Call::Overwrite, to, || self.inner.overwrite(from, to))?
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.plan.pass(Call::MakeDir, path, || self.inner.make_dir(path))?
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.pass(Call::Rename, to, || self.inner.rename(from, to))?
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.pass(Call::Link, to, || self.inner.link(from, to))?
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.plan.pass(Call::Remove, path, || self.inner.remove(path))?
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.plan.pass(Call::List, path, || self.inner.list(path))?
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let act = || self.plan.sync(Sabotage::SkipDirSync, || self.inner.sync_dir(path));
        self.plan.pass(Call::SyncDir, path, act)?
    }

    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
        self.plan.pass(Call::Lock, path, || self.inner.lock(path, kind))?
    }

    fn free_space(&self) -> io::Result<u64> {
        self.plan.pass(Call::FreeSpace, "", || self.inner.free_space())?
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.plan.pass(Call::Identity, "", || self.inner.identity())?
    }
}

/// A file being written, with faults.
#[derive(Debug)]
struct FaultsFile {
    inner: Arc<dyn File>,
    plan: Arc<FaultPlan>,
    path: String,
    /// Writing below this needs no new room: it was reserved or written.
    room: AtomicU64,
}

impl File for FaultsFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let end = offset.saturating_add(len as u64);
        let act = || {
            self.inner.write_at(offset, parts)?;
            self.room.fetch_max(end, Ordering::SeqCst);
            Ok(())
        };
        // What comes of the half is nobody's business: the call fails, or the process is gone.
        let half = || drop(self.inner.write_at(offset, &[&parts.concat()[..len / 2]]));
        let has_room = end <= self.room.load(Ordering::SeqCst);
        self.plan.pass_with(Call::Write, &self.path, has_room, act, half)?
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let act = || {
            self.inner.reserve(len)?;
            self.room.fetch_max(len, Ordering::SeqCst);
            Ok(())
        };
        let has_room = len <= self.room.load(Ordering::SeqCst);
        self.plan.pass_with(Call::Reserve, &self.path, has_room, act, || ())?
    }

    fn sync(&self) -> io::Result<()> {
        let act = || self.plan.sync(Sabotage::SkipDataSync, || self.inner.sync());
        self.plan.pass(Call::Sync, &self.path, act)?
    }

    fn seal(&self) -> io::Result<()> {
        self.plan.pass(Call::Seal, &self.path, || self.inner.seal())?
    }
}

/// A container being read, with faults.
#[derive(Debug)]
struct FaultsBlob {
    inner: Arc<dyn Blob>,
    plan: Arc<FaultPlan>,
    path: String,
}

impl Blob for FaultsBlob {
    fn section(&self, id: u32) -> Result<Range<u64>, BlobError> {
        self.inner.section(id)
    }

    fn read_many(&self, ranges: &[Range<u64>], visit: &mut dyn FnMut(usize, &[u8])) -> Result<(), BlobError> {
        self.plan.pass(Call::Read, &self.path, || self.inner.read_many(ranges, visit))?
    }

    fn verify_all(&self) -> Result<(), BlobError> {
        self.plan.pass(Call::Read, &self.path, || self.inner.verify_all())?
    }

    fn tables_crc(&self) -> u32 {
        self.inner.tables_crc()
    }

    fn file_len(&self) -> u64 {
        self.inner.file_len()
    }
}

#[cfg(test)]
mod tests;
