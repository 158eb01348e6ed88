//! What several test files share: small logs, copies of directories, a directory that fails on demand.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use nearfield_codec::Region;
use nearfield_platform::{Dir, Entry, File, Lock, LockError, LockKind, MemoryDir};
use nearfield_types::Seq;
use parking_lot::Mutex;

use crate::conformance::{Operation, operations};
use crate::{Class, FileLog, FileLogWriter, FileSyncer, Kind, LogError, LogOptions, LogSizes, LogWriter};

pub(super) const UUID: [u8; 16] = [0x5a; 16];
/// Files so small that a few operations fill them, frames so small that some operations need several.
pub(super) const SMALL: LogSizes =
    LogSizes { first_bytes: 1 << 10, largest_bytes: 1 << 12, frame_bytes: 200 };

pub(super) fn options() -> LogOptions {
    LogOptions { sizes: SMALL, ..LogOptions::new(UUID) }
}

pub(super) fn open(dir: &Arc<impl Dir + 'static>, options: LogOptions) -> Result<FileLog, LogError> {
    FileLog::open(Arc::clone(dir) as Arc<dyn Dir>, "log", options)
}

pub(super) fn start(dir: &Arc<impl Dir + 'static>, options: LogOptions) -> (FileLogWriter, Arc<FileSyncer>) {
    open(dir, options).unwrap().into_writer().unwrap()
}

pub(super) fn replayed(log: &FileLog) -> Vec<Operation> {
    operations(log, Seq::ZERO).unwrap()
}

/// An operation whose bytes follow from `n`; about one in six needs several frames.
pub(super) fn bytes_of(n: u64) -> Vec<u8> {
    let len = if n % 6 == 5 { 200 + n * 37 % 900 } else { n * 29 % 120 };
    (0..len).map(|i| (n * 17 + i) as u8 | 1).collect()
}

pub(super) fn append(writer: &mut FileLogWriter, n: u64) -> Result<Operation, LogError> {
    let bytes = bytes_of(n);
    let kind = [Kind::Batch, Kind::Checkpoint, Kind::Config][n as usize % 3];
    let (a, b) = bytes.split_at(bytes.len() / 2);
    let seq = writer.append(kind, Class::Ordinary, &[a, b])?;
    Ok((seq, kind, bytes))
}

/// The names in the log's folder.
pub(super) fn names(dir: &dyn Dir) -> Vec<String> {
    dir.list("log").unwrap().into_iter().map(|entry| entry.name).collect()
}

/// Names and bytes of the log's folder.
pub(super) type Files = Vec<(String, Vec<u8>)>;

pub(super) fn files(dir: &dyn Dir) -> Files {
    names(dir)
        .into_iter()
        .map(|name| (name.clone(), dir.open(&format!("log/{name}")).unwrap().to_vec()))
        .collect()
}

/// A directory holding just these files, not sealed.
pub(super) fn directory(files: &Files) -> Arc<MemoryDir> {
    let dir = MemoryDir::new();
    dir.make_dir("log").unwrap();
    for (name, bytes) in files {
        dir.create(&format!("log/{name}")).unwrap().write_at(0, &[bytes]).unwrap();
    }
    dir
}

/// A directory whose calls fail on demand, and which counts them.
#[derive(Debug)]
pub(super) struct Failing {
    inner: Arc<dyn Dir>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    calls: u64,
    /// What happens in the middle of the next sync of a file.
    during_sync: Option<Box<dyn FnOnce() + Send>>,
    /// Fail the call with this number, and all after it if `persistent`.
    fail_at: Option<u64>,
    persistent: bool,
    kind: Option<ErrorKind>,
    failed: Vec<&'static str>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("calls", &self.calls)
            .field("fail_at", &self.fail_at)
            .finish_non_exhaustive()
    }
}

impl Failing {
    pub(super) fn new(inner: Arc<dyn Dir>) -> Arc<Failing> {
        Arc::new(Failing { inner, plan: Arc::default() })
    }

    pub(super) fn inner(&self) -> &Arc<dyn Dir> {
        &self.inner
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.plan.lock().calls
    }

    /// The call with the number `at` fails, and those after it if `persistent`.
    pub(super) fn fail(&self, at: u64, kind: ErrorKind, persistent: bool) {
        let mut plan = self.plan.lock();
        (plan.fail_at, plan.kind, plan.persistent) = (Some(at), Some(kind), persistent);
    }

    /// Does `act` in the middle of the next sync of a file.
    pub(super) fn during_sync(&self, act: impl FnOnce() + Send + 'static) {
        self.plan.lock().during_sync = Some(Box::new(act));
    }

    pub(super) fn heal(&self) {
        self.plan.lock().fail_at = None;
    }

    /// What failed so far.
    pub(super) fn failed(&self) -> Vec<&'static str> {
        self.plan.lock().failed.clone()
    }
}

fn gate(plan: &Mutex<Plan>, call: &'static str) -> io::Result<()> {
    let mut plan = plan.lock();
    let now = plan.calls;
    plan.calls += 1;
    let fails = plan.fail_at.is_some_and(|at| now == at || (plan.persistent && now > at));
    if fails {
        plan.failed.push(call);
        return Err(plan.kind.unwrap_or(ErrorKind::Other).into());
    }
    Ok(())
}

impl Dir for Failing {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        gate(&self.plan, "create")?;
        let inner = self.inner.create(path)?;
        Ok(Arc::new(FailingFile { inner, plan: Arc::clone(&self.plan) }))
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        gate(&self.plan, "open")?;
        self.inner.open(path)
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        gate(&self.plan, "overwrite")?;
        self.inner.overwrite(from, to)
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        gate(&self.plan, "make_dir")?;
        self.inner.make_dir(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        gate(&self.plan, "rename")?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        gate(&self.plan, "link")?;
        self.inner.link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        gate(&self.plan, "remove")?;
        self.inner.remove(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        gate(&self.plan, "list")?;
        self.inner.list(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        gate(&self.plan, "sync_dir")?;
        self.inner.sync_dir(path)
    }

    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
        self.inner.lock(path, kind)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.inner.free_space()
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.inner.identity()
    }
}

#[derive(Debug)]
struct FailingFile {
    inner: Arc<dyn File>,
    plan: Arc<Mutex<Plan>>,
}

impl File for FailingFile {
    /// A failing write leaves the first half of its bytes.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let gated = gate(&self.plan, "write");
        if gated.is_err() {
            let bytes = parts.concat();
            self.inner.write_at(offset, &[&bytes[..bytes.len() / 2]])?;
        }
        gated.and_then(|()| self.inner.write_at(offset, parts))
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        gate(&self.plan, "reserve")?;
        self.inner.reserve(len)
    }

    fn sync(&self) -> io::Result<()> {
        gate(&self.plan, "sync")?;
        let act = self.plan.lock().during_sync.take();
        act.into_iter().for_each(|act| act());
        self.inner.sync()
    }

    fn seal(&self) -> io::Result<()> {
        gate(&self.plan, "seal")?;
        self.inner.seal()
    }
}
