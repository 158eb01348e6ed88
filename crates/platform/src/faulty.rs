//! A directory whose power may be cut: it behaves like the one in memory and remembers every call, so that afterwards any
//! crash can be looked at.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use nearfield_codec::Region;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::call::Call;
use crate::content::Content;
use crate::crash::{Disk, LossModel, Replay};
use crate::dir::{Dir, Entry, File, Lock, LockError, LockKind};
use crate::journal::{Edit, Names, Node, Op, ROOT, Record};
use crate::memory::{self, MemoryDir, MemoryFile};
use crate::path::{joined, named};

/// A [`MemoryDir`] with a journal of all calls that change or secure something.
///
/// From the journal it builds the directory as it may be found after a power cut behind any of those calls, under any
/// [`LossModel`]; so one run of a workload gives thousands of crashes. [`Replay`] says what the disk is assumed to do.
///
/// ```
/// use nearfield_platform::{Dir, FaultyDir, LossModel};
///
/// let dir = FaultyDir::new();
/// let file = dir.create("log")?;
/// dir.sync_dir("")?;
/// file.write_at(0, &[b"kept"])?;
/// file.sync()?;
/// file.write_at(4, &[b" lost"])?;
///
/// let after = dir.crash_image(LossModel::All, 0);
/// assert_eq!(&after.open("log")?[..], b"kept");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Complexity
///
/// The journal keeps every byte written. Images: see [`Replay`].
#[derive(Debug)]
pub struct FaultyDir {
    live: Arc<MemoryDir>,
    recorder: Arc<Mutex<Recorder>>,
    replay: Mutex<Replay>,
}

/// The journal, and the numbers of what is there now. It is locked around each call and its record, so that the journal's order
/// is the order in which the calls took effect.
#[derive(Debug)]
struct Recorder {
    names: Names,
    /// The path of each file, for the labels.
    paths: Vec<String>,
    journal: Vec<Arc<Record>>,
    /// Syncs of files that still succeed.
    good_syncs: Option<u64>,
}

impl FaultyDir {
    /// An empty directory.
    pub fn new() -> Arc<FaultyDir> {
        FaultyDir::over(MemoryDir::new())
    }

    /// A directory that begins with all that `live` holds, which is durable: the machine is on again after a crash. Changes go to
    /// `live`, which nobody else may change from now on.
    pub fn over(live: Arc<MemoryDir>) -> Arc<FaultyDir> {
        let mut census =
            Census { names: Names::new(), numbers: HashMap::new(), files: Vec::new(), paths: Vec::new() };
        live.with_root(|root| census.folder(root, ROOT, ""));
        let Census { names, files, paths, .. } = census;
        let replay = Mutex::new(Replay::new(Disk::new(names.clone(), files)));
        let recorder = Recorder { names, paths, journal: Vec::new(), good_syncs: None };
        Arc::new(FaultyDir { live, recorder: Arc::new(Mutex::new(recorder)), replay })
    }

    /// How many calls have changed or secured something so far.
    pub fn ops(&self) -> usize {
        self.recorder.lock().journal.len()
    }

    /// What call `op` was and the path it named (a file's, the one it had then).
    pub fn op(&self, op: usize) -> Option<(Call, String)> {
        self.recorder.lock().journal.get(op).map(|record| (record.call, record.path.clone()))
    }

    /// The directory as it may be if the power fails now.
    pub fn crash_image(&self, model: LossModel, seed: u64) -> Arc<MemoryDir> {
        self.crash_image_at(usize::MAX, model, seed)
    }

    /// The directory as it may be if the power had failed after the first `ops` calls. Cheap when `ops` grows from call to call.
    pub fn crash_image_at(&self, ops: usize, model: LossModel, seed: u64) -> Arc<MemoryDir> {
        let mut replay = self.replay.lock();
        self.catch_up(&mut replay);
        replay.image(ops, model, seed)
    }

    /// The journal so far, to draw images from in another thread.
    pub fn replay(&self) -> Replay {
        let mut replay = self.replay.lock();
        self.catch_up(&mut replay);
        replay.clone()
    }

    /// After `good` more syncs of files, one fails with EIO, and the system takes the bytes it should have secured for clean:
    /// they can be read until the power is cut, and no later sync secures them.
    pub fn fail_sync_after(&self, good: u64) {
        self.recorder.lock().good_syncs = Some(good);
    }

    fn catch_up(&self, replay: &mut Replay) {
        let recorder = self.recorder.lock();
        replay.journal.extend_from_slice(&recorder.journal[replay.journal.len()..]);
    }

    fn moved(
        &self,
        call: Call,
        from: &str,
        to: &str,
        act: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        let node = recorder.names.find(from);
        act()?;
        if from != to {
            recorder.names(call, to, &[(from, None), (to, node)]);
            recorder.relabel(from, to);
        }
        Ok(())
    }
}

impl Recorder {
    fn record(&mut self, call: Call, path: &str, op: Op) {
        self.journal.push(Arc::new(Record { call, path: path.to_owned(), op }));
    }

    /// Records a call that the live directory has done: each path now stands for the node.
    fn names(&mut self, call: Call, path: &str, now: &[(&str, Option<Node>)]) {
        let edit = |&(path, node): &(&str, Option<Node>)| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            Some(Edit { folder: self.folder(folder)?, name: name.into(), node })
        };
        // The live directory has accepted the paths, so no folder is missing.
        let edits: Vec<Edit> = now.iter().filter_map(edit).collect();
        self.names.apply(&edits);
        self.record(call, path, Op::Names(edits));
    }

    fn folder(&self, path: &str) -> Option<u32> {
        match self.names.find(path)? {
            Node::Folder(folder) => Some(folder),
            Node::File(_) => None,
        }
    }

    fn new_file(&mut self, call: Call, path: &str) -> u32 {
        let number = self.paths.len() as u32;
        self.paths.push(path.to_owned());
        self.names(call, path, &[(path, Some(Node::File(number)))]);
        number
    }

    /// Records the removal of all below `path`, then of `path`, each as a call: a crash may fall between.
    fn removed(&mut self, path: &str) {
        if let Some(folder) = self.folder(path) {
            let below: Vec<String> =
                self.names.folder(folder).keys().map(|name| joined(path, name)).collect();
            below.iter().for_each(|path| self.removed(path));
        }
        self.names(Call::Remove, path, &[(path, None)]);
    }

    fn relabel(&mut self, from: &str, to: &str) {
        for path in &mut self.paths {
            if let Some(below) =
                path.strip_prefix(from).filter(|below| below.is_empty() || below.starts_with('/'))
            {
                *path = format!("{to}{below}");
            }
        }
    }
}

impl Dir for FaultyDir {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut recorder = self.recorder.lock();
        let live = self.live.create_file(path)?;
        let number = recorder.new_file(Call::Create, path);
        Ok(Arc::new(FaultyFile { live, number, recorder: Arc::clone(&self.recorder) }))
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        self.live.open(path)
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        self.moved(Call::Overwrite, from, to, || self.live.overwrite(from, to))
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        self.live.make_dir(path)?;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for folder in ends.map(|end| &path[..end]) {
            if recorder.names.find(folder).is_none() {
                let number = recorder.names.folders();
                recorder.names(Call::MakeDir, folder, &[(folder, Some(Node::Folder(number)))]);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.moved(Call::Rename, from, to, || self.live.rename(from, to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        self.live.link(from, to)?;
        let node = recorder.names.find(from);
        recorder.names(Call::Link, to, &[(to, node)]);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        self.live.remove(path)?;
        recorder.removed(path);
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.live.list(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        self.live.sync_dir(path)?;
        if let Some(folder) = recorder.folder(path) {
            recorder.record(Call::SyncDir, path, Op::SyncDir { folder });
        }
        Ok(())
    }

    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
        let mut recorder = self.recorder.lock();
        let missing = recorder.names.find(path).is_none();
        let lock = self.live.lock(path, kind)?;
        if missing {
            recorder.new_file(Call::Lock, path);
        }
        Ok(lock)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.live.free_space()
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.live.identity()
    }
}

/// A file being written, with every write on record.
#[derive(Debug)]
struct FaultyFile {
    live: Arc<MemoryFile>,
    number: u32,
    recorder: Arc<Mutex<Recorder>>,
}

impl FaultyFile {
    fn record(&self, recorder: &mut Recorder, call: Call, op: Op) {
        let path = recorder.paths[self.number as usize].clone();
        recorder.record(call, &path, op);
    }
}

impl File for FaultyFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        let written = self.live.write_at(offset, parts);
        let mut bytes = parts.concat();
        match &written {
            // What a full directory took: all up to the end of the file.
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                bytes.truncate((self.live.content().len() as u64).saturating_sub(offset) as usize);
            }
            Err(_) => return written,
            Ok(()) => {}
        }
        if !bytes.is_empty() {
            let (file, offset) = (self.number, offset as usize);
            self.record(&mut recorder, Call::Write, Op::Write { file, offset, bytes: bytes.into() });
        }
        written
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        self.live.reserve(len)?;
        self.record(&mut recorder, Call::Reserve, Op::Reserve { file: self.number, len: len as usize });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut recorder = self.recorder.lock();
        self.live.sync()?;
        let file = self.number;
        let fails = recorder.good_syncs == Some(0);
        recorder.good_syncs = recorder.good_syncs.and_then(|good| good.checked_sub(1));
        let op = if fails { Op::FailedSync { file } } else { Op::Sync { file } };
        self.record(&mut recorder, Call::Sync, op);
        match fails {
            true => Err(named("sync", &recorder.paths[file as usize], Errno::IO.into())),
            false => Ok(()),
        }
    }

    fn seal(&self) -> io::Result<()> {
        self.live.seal()
    }
}

/// Numbers what a directory holds at the start.
struct Census {
    names: Names,
    numbers: HashMap<*const MemoryFile, u32>,
    files: Vec<Content>,
    paths: Vec<String>,
}

impl Census {
    fn folder(&mut self, folder: &memory::Folder, number: u32, path: &str) {
        for (name, node) in folder {
            let path = joined(path, name);
            let entry = match node {
                memory::Node::Folder(_) => Node::Folder(self.names.folders()),
                memory::Node::File(file) => Node::File(self.file(file, &path)),
            };
            self.names.apply(&[Edit { folder: number, name: name.as_str().into(), node: Some(entry) }]);
            if let (memory::Node::Folder(inner), Node::Folder(number)) = (node, entry) {
                self.folder(inner, number, &path);
            }
        }
    }

    fn file(&mut self, file: &Arc<MemoryFile>, path: &str) -> u32 {
        *self.numbers.entry(Arc::as_ptr(file)).or_insert_with(|| {
            self.files.push(file.content());
            self.paths.push(path.to_owned());
            self.files.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests;
