//! A directory in memory: the store of tests and simulations, and the strict one.
//!
//! It keeps to the contract to the letter where a disk would let things pass: a linked file must have been sealed, a file is
//! replaced by a file only. It promises nothing about power cuts; `FaultyDir` does.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_codec::Region;
use parking_lot::Mutex;

use crate::content::Content;
use crate::dir::{Dir, Entry, File, Holder, Lock, LockError, LockKind};
use crate::path::{named, parts, split};

/// What an unlimited directory reports as free.
const UNLIMITED: u64 = 1 << 60;
/// No file in memory is longer; a wild offset is an error here as on a disk, not an exhausted machine.
const FILE_BYTES_MAX: u64 = 1 << 36;

/// A directory tree in memory.
///
/// ```
/// use nearfield_platform::{Dir, MemoryDir};
///
/// let dir = MemoryDir::new();
/// let file = dir.create("greeting")?;
/// file.write_at(0, &[b"hello, ", b"world"])?;
/// file.sync()?;
/// file.seal()?;
/// assert_eq!(&dir.open("greeting")?[..], b"hello, world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryDir {
    root: Mutex<Folder>,
    space: Arc<Space>,
    number: u64,
}

/// Names and what they stand for.
pub(crate) type Folder = BTreeMap<String, Node>;

#[derive(Debug)]
pub(crate) enum Node {
    Folder(Folder),
    File(Arc<MemoryFile>),
}

/// A file: its bytes live as long as a name or a writer does.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    /// The name it was created under, for errors.
    path: String,
    state: Mutex<FileState>,
    holders: Mutex<Holders>,
    space: Arc<Space>,
}

#[derive(Debug)]
struct FileState {
    content: Content,
    sealed: bool,
}

/// Who has locked a file.
#[derive(Debug, Default)]
struct Holders {
    exclusive: Option<Holder>,
    shared: usize,
}

/// The bytes that all files of a directory may take together.
#[derive(Debug)]
struct Space {
    limit: AtomicU64,
    used: AtomicU64,
}

impl MemoryDir {
    /// An empty directory without a limit.
    pub fn new() -> Arc<MemoryDir> {
        Arc::new(MemoryDir::with_tree(|_| Folder::new()))
    }

    /// An empty directory whose files hold `bytes` together at most; writing beyond is [`ErrorKind::StorageFull`].
    pub fn with_capacity(bytes: u64) -> Arc<MemoryDir> {
        let dir = MemoryDir::new();
        dir.set_capacity(bytes);
        dir
    }

    /// Changes the limit; below what is used only stops further growth.
    pub fn set_capacity(&self, bytes: u64) {
        self.space.limit.store(bytes, Ordering::SeqCst);
    }

    /// An unlimited directory holding the tree that `grow` makes of files from [`MakeFile`].
    pub(crate) fn with_tree(grow: impl FnOnce(&MakeFile) -> Folder) -> MemoryDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let space = Arc::new(Space { limit: AtomicU64::new(UNLIMITED), used: AtomicU64::new(0) });
        let tree = grow(&MakeFile { space: Arc::clone(&space) });
        MemoryDir { root: Mutex::new(tree), space, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Shows the whole tree.
    pub(crate) fn with_root<T>(&self, act: impl FnOnce(&Folder) -> T) -> T {
        act(&self.root.lock())
    }

    /// Does `act` in the folder of `path` with the last part of `path`.
    fn at<T>(
        &self,
        tried: &'static str,
        path: &str,
        act: impl FnOnce(&mut Folder, &str) -> io::Result<T>,
    ) -> io::Result<T> {
        let (folder, name) = split(path)?;
        let mut root = self.root.lock();
        walk(&mut root, folder)
            .and_then(|folder| act(folder, name))
            .map_err(|error| named(tried, path, error))
    }

    /// [`Dir::create`], knowing what comes out.
    pub(crate) fn create_file(&self, path: &str) -> io::Result<Arc<MemoryFile>> {
        self.at("create", path, |folder, name| {
            if folder.contains_key(name) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let empty = FileState { content: Content::default(), sealed: false };
            let file = MemoryFile::new(path.to_owned(), &self.space, empty);
            folder.insert(name.to_owned(), Node::File(Arc::clone(&file)));
            Ok(file)
        })
    }

    fn file(&self, tried: &'static str, path: &str) -> io::Result<Arc<MemoryFile>> {
        self.at(tried, path, |folder, name| file_in(folder, name).cloned())
    }

    /// Moves the node at `from` to `to`, where `over` says that a file may stand. Everything is checked before it moves.
    fn moved(&self, from: &str, to: &str, over: bool) -> io::Result<()> {
        let ((from_folder, from_name), (to_folder, to_name)) = (split(from)?, split(to)?);
        let mut root = self.root.lock();
        let source = walk(&mut root, from_folder).and_then(|folder| match folder.get(from_name) {
            Some(Node::Folder(_)) if over => Err(ErrorKind::IsADirectory.into()),
            found => found.map(|_| ()).ok_or(ErrorKind::NotFound.into()),
        });
        source.map_err(|error| named("rename", from, error))?;
        if to.strip_prefix(from).is_some_and(|below| below.starts_with('/')) {
            return Err(named("rename to", to, ErrorKind::InvalidInput.into()));
        }
        let target = walk(&mut root, to_folder).and_then(|folder| match folder.get(to_name) {
            Some(Node::Folder(_)) if over => Err(ErrorKind::IsADirectory.into()),
            Some(_) if !over => Err(ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        });
        target.map_err(|error| named("rename to", to, error))?;
        if let Some(node) = walk(&mut root, from_folder)?.remove(from_name) {
            walk(&mut root, to_folder)?.insert(to_name.to_owned(), node);
        }
        Ok(())
    }
}

/// Makes files that count against a directory's space.
pub(crate) struct MakeFile {
    space: Arc<Space>,
}

impl MakeFile {
    /// A finished file.
    pub(crate) fn sealed(&self, path: String, content: Content) -> Arc<MemoryFile> {
        self.space.used.fetch_add(content.len() as u64, Ordering::SeqCst);
        MemoryFile::new(path, &self.space, FileState { content, sealed: true })
    }
}

/// The folder at a checked path.
fn walk<'a>(root: &'a mut Folder, path: &str) -> io::Result<&'a mut Folder> {
    parts(path)?.into_iter().try_fold(root, |folder, part| match folder.get_mut(part) {
        Some(Node::Folder(inner)) => Ok(inner),
        Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
        None => Err(ErrorKind::NotFound.into()),
    })
}

fn file_in<'a>(folder: &'a Folder, name: &str) -> io::Result<&'a Arc<MemoryFile>> {
    match folder.get(name) {
        Some(Node::File(file)) => Ok(file),
        Some(Node::Folder(_)) => Err(ErrorKind::IsADirectory.into()),
        None => Err(ErrorKind::NotFound.into()),
    }
}

impl Dir for MemoryDir {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.create_file(path)?)
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        Ok(self.file("open", path)?.state.lock().content.region())
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        self.moved(from, to, true)
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let parts = parts(path)?;
        let mut root = self.root.lock();
        let made = parts.into_iter().try_fold(&mut *root, |folder, part| {
            match folder.entry(part.to_owned()).or_insert_with(|| Node::Folder(Folder::new())) {
                Node::Folder(inner) => Ok(inner),
                Node::File(_) => Err(io::Error::from(ErrorKind::NotADirectory)),
            }
        });
        made.map(|_| ()).map_err(|error| named("make the folder", path, error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.moved(from, to, false)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.at("link", from, |folder, name| match folder.get(name) {
            Some(Node::File(file)) if file.state.lock().sealed => Ok(Arc::clone(file)),
            Some(_) => Err(ErrorKind::PermissionDenied.into()),
            None => Err(ErrorKind::NotFound.into()),
        })?;
        self.at("link to", to, |folder, name| {
            if folder.contains_key(name) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            folder.insert(name.to_owned(), Node::File(file));
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.at("remove", path, |folder, name| {
            folder.remove(name).map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut root = self.root.lock();
        let folder = walk(&mut root, path).map_err(|error| named("list", path, error))?;
        let entry = |(name, node): (&String, &Node)| {
            let (is_dir, len) = match node {
                Node::Folder(_) => (true, 0),
                Node::File(file) => (false, file.state.lock().content.len() as u64),
            };
            Entry { name: name.clone(), is_dir, len }
        };
        Ok(folder.iter().map(entry).collect())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        walk(&mut self.root.lock(), path).map(|_| ()).map_err(|error| named("sync the folder", path, error))
    }

    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
        match self.create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let file = self.file("lock", path)?;
        let mut holders = file.holders.lock();
        if holders.exclusive.is_some() || (kind == LockKind::Exclusive && holders.shared > 0) {
            return Err(LockError::Held { holder: holders.exclusive });
        }
        match kind {
            LockKind::Shared => holders.shared += 1,
            LockKind::Exclusive => {
                let holder = Holder::this();
                file.hold(Content::from(holder.line().as_bytes()));
                holders.exclusive = Some(holder);
            }
        }
        drop(holders);
        Ok(Lock::new(Held { file, kind }))
    }

    fn free_space(&self) -> io::Result<u64> {
        let (limit, used) = (self.space.limit.load(Ordering::SeqCst), self.space.used.load(Ordering::SeqCst));
        Ok(limit.saturating_sub(used))
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        // No device has this number.
        Ok((u64::MAX, self.number))
    }
}

/// A lock on a file in memory.
struct Held {
    file: Arc<MemoryFile>,
    kind: LockKind,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.file.holders.lock();
        match self.kind {
            LockKind::Shared => holders.shared -= 1,
            LockKind::Exclusive => {
                self.file.hold(Content::default());
                holders.exclusive = None;
            }
        }
    }
}

impl MemoryFile {
    fn new(path: String, space: &Arc<Space>, state: FileState) -> Arc<Self> {
        let (state, holders) = (Mutex::new(state), Mutex::default());
        Arc::new(MemoryFile { path, state, holders, space: Arc::clone(space) })
    }

    /// The bytes so far.
    pub(crate) fn content(&self) -> Content {
        self.state.lock().content.clone()
    }

    /// Puts what a lock file says of its holder; so small that no limit is asked.
    fn hold(&self, content: Content) {
        let mut state = self.state.lock();
        self.space.used.fetch_add(content.len() as u64, Ordering::SeqCst);
        self.space.give(state.content.len());
        state.content = content;
    }

    fn change(
        &self,
        tried: &'static str,
        act: impl FnOnce(&mut Content, &Space) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        let done = if state.sealed {
            Err(ErrorKind::PermissionDenied.into())
        } else {
            act(&mut state.content, &self.space)
        };
        done.map_err(|error| named(tried, &self.path, error))
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.space.give(self.state.get_mut().content.len());
    }
}

impl Space {
    /// Takes `want` bytes, or as many as are left; says how many.
    fn take(&self, want: usize) -> usize {
        let limit = self.limit.load(Ordering::SeqCst);
        let granted = |used: u64| limit.saturating_sub(used).min(want as u64);
        let before =
            self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| Some(used + granted(used)));
        before.map_or(0, |used| granted(used) as usize)
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::SeqCst);
    }
}

/// A length that a file in memory may have.
fn length(bytes: u64) -> io::Result<usize> {
    if bytes > FILE_BYTES_MAX {
        return Err(ErrorKind::FileTooLarge.into());
    }
    usize::try_from(bytes).map_err(|_| ErrorKind::FileTooLarge.into())
}

impl File for MemoryFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.change("write", |content, space| {
            let mut at = offset;
            for part in parts.iter().filter(|part| !part.is_empty()) {
                let (start, end) = (length(at)?, length(at.saturating_add(part.len() as u64))?);
                let granted = space.take(end.saturating_sub(content.len()));
                // A full disk takes what fits.
                let fits = (content.len() + granted).clamp(start, end) - start;
                if fits == 0 {
                    space.give(granted);
                }
                content.write(start, &part[..fits]);
                if fits < part.len() {
                    return Err(ErrorKind::StorageFull.into());
                }
                at = end as u64;
            }
            Ok(())
        })
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.change("reserve room in", |content, space| {
            let want = length(len)?.saturating_sub(content.len());
            let granted = space.take(want);
            if granted < want {
                space.give(granted);
                return Err(ErrorKind::StorageFull.into());
            }
            content.grow(content.len() + want);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn seal(&self) -> io::Result<()> {
        self.state.lock().sealed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn conforms() {
        conformance::dir(&|| MemoryDir::new());
    }

    #[test]
    fn a_full_directory_takes_what_fits_and_recovers() {
        let dir = MemoryDir::with_capacity(10);
        let file = dir.create("a").unwrap();
        file.write_at(0, &[b"12345678"]).unwrap();
        assert_eq!(dir.free_space().unwrap(), 2);
        let error = file.write_at(6, &[b"abc", b"def"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!((&dir.open("a").unwrap()[..], dir.free_space().unwrap()), (&b"123456abcd"[..], 0));
        // What is inside may still be written; a hole counts as bytes.
        file.write_at(0, &[b"abcdefghij"]).unwrap();
        let other = dir.create("b").unwrap();
        assert_eq!(other.reserve(1).unwrap_err().kind(), ErrorKind::StorageFull);
        dir.remove("a").unwrap();
        assert_eq!(dir.free_space().unwrap(), 0, "the writer keeps the bytes alive");
        drop(file);
        assert_eq!(dir.free_space().unwrap(), 10);
        assert_eq!(other.write_at(20, &[b"x"]).unwrap_err().kind(), ErrorKind::StorageFull);
        dir.set_capacity(100);
        other.write_at(20, &[b"x"]).unwrap();
        assert_eq!(dir.free_space().unwrap(), 79);
        assert_eq!(other.write_at(u64::MAX, &[b"x"]).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn only_finished_files_are_linked() {
        let dir = MemoryDir::new();
        let file = dir.create("a").unwrap();
        assert_eq!(dir.link("a", "b").unwrap_err().kind(), ErrorKind::PermissionDenied);
        file.seal().unwrap();
        dir.link("a", "b").unwrap();
    }

    #[test]
    fn replacing_on_a_full_directory_keeps_the_old() {
        let dir = MemoryDir::with_capacity(10);
        dir.replace("a", b"old").unwrap();
        assert_eq!(dir.replace("a", b"12345678").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(&dir.open("a").unwrap()[..], b"old");
        assert_eq!(dir.list("").unwrap().len(), 1, "the temporary file is gone");
    }
}
