//! A directory of the operating system.
//!
//! Everything happens relative to the descriptor of the root, one folder at a time, following no symbolic link: a later change
//! of the working directory, a renamed parent or a link planted in a restored tree leads nowhere else. A link above the root is
//! the user's own choice and is followed once, at open.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_codec::Region;
use rustix::fs::{
    AtFlags, CWD, Dir as Folder, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags,
    ResolveFlags, Stat, fallocate, fchmod, fdatasync, flock, fstat, fstatfs, fstatvfs, fsync, ftruncate,
    linkat, mkdirat, openat, openat2, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, pread, pwrite, pwritev};

use crate::dir::{Dir, Entry, File, Holder, Lock, LockError, LockKind};
use crate::path::{DEPTH_MAX, is_part, named, parts, split};
use crate::{lock, map};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Not blocking, lest a pipe that somebody put here stops us; files do not care.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// System calls take no more slices at once.
const SLICES_MAX: usize = 1024;
/// Zeros written at once where room cannot be reserved.
const ZEROS_BYTES: usize = 64 * 1024;

/// How to open a [`RealDir`].
#[derive(Clone, Copy, Debug)]
pub struct RealOptions {
    /// Make the folder, and those above it, if missing.
    pub create: bool,
    /// Accept network and FUSE file systems, whose locks, syncs and maps we know nothing of.
    pub allow_unsupported_fs: bool,
    /// Sealed files of more bytes are mapped, others are read to the heap, which saves maps. `u64::MAX`: nothing is mapped.
    pub map_above_bytes: u64,
}

impl Default for RealOptions {
    fn default() -> Self {
        RealOptions { create: false, allow_unsupported_fs: false, map_above_bytes: 64 * 1024 }
    }
}

/// A directory on a local file system (Linux).
///
/// Descriptors are held for the root, for files being written and for locks; a file that is read holds none.
#[derive(Debug)]
pub struct RealDir {
    root: OwnedFd,
    map_above_bytes: u64,
}

impl RealDir {
    /// Opens the folder `path`, making it durably if `create` says so.
    ///
    /// # Errors
    ///
    /// `NotFound` without `create`, `Unsupported` on a network or FUSE file system, and what the system says.
    pub fn open(path: &Path, create: bool) -> io::Result<RealDir> {
        RealDir::open_with(path, RealOptions { create, ..RealOptions::default() })
    }

    /// [`RealDir::open`] with every choice.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_with(path: &Path, options: RealOptions) -> io::Result<RealDir> {
        let opened = || {
            if options.create {
                make_root(path)?;
            }
            let root = openat(CWD, path, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
            if !options.allow_unsupported_fs {
                check_file_system(&root)?;
            }
            Ok(RealDir { root, map_above_bytes: options.map_above_bytes })
        };
        opened().map_err(|error| named("open the directory", &path.to_string_lossy(), error))
    }

    /// Opens the folder at a checked path, following no link.
    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        // In one call where the system can. What it refuses is tried part by part, which tells what is wrong with it.
        let at_once = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if parts(path).is_ok()
            && let Ok(folder) = openat2(&self.root, at_once, FOLDER, Mode::empty(), resolve)
        {
            return Ok(folder);
        }
        let root = openat(&self.root, ".", FOLDER, Mode::empty())?;
        parts(path)?
            .into_iter()
            .try_fold(root, |folder, part| Ok(openat(&folder, part, FOLDER, Mode::empty())?))
    }

    /// Does `act` with the open folder of `path` and the last part of `path`.
    fn at<T>(
        &self,
        tried: &'static str,
        path: &str,
        act: impl FnOnce(&OwnedFd, &str) -> io::Result<T>,
    ) -> io::Result<T> {
        let (folder, name) = split(path)?;
        self.folder(folder).and_then(|folder| act(&folder, name)).map_err(|error| named(tried, path, error))
    }

    fn moved(&self, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
        let (to_folder, to_name) = split(to)?;
        self.at("rename", from, |source, name| {
            let target = self.folder(to_folder)?;
            match renameat_with(source, name, &target, to_name, flags) {
                // Old kernels and some file systems cannot refuse by themselves; the lock keeps others from getting between.
                Err(Errno::INVAL | Errno::NOSYS) if flags.contains(RenameFlags::NOREPLACE) => {
                    if statat(&target, to_name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                        return Err(ErrorKind::AlreadyExists.into());
                    }
                    Ok(renameat(source, name, &target, to_name)?)
                }
                renamed => Ok(renamed?),
            }
        })
    }
}

impl Dir for RealDir {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.at("create", path, |folder, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let fd = openat(folder, name, flags, Mode::from_raw_mode(0o644))?;
            Ok(Arc::new(RealFile { fd, path: path.to_owned(), sealed: AtomicBool::new(false) })
                as Arc<dyn File>)
        })
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        self.at("open", path, |folder, name| {
            let file = openat(folder, name, READ, Mode::empty())?;
            let stat = fstat(&file)?;
            check_is_file(&stat)?;
            let len = usize::try_from(stat.st_size).map_err(|_| ErrorKind::FileTooLarge)?;
            let sealed = !Mode::from_raw_mode(stat.st_mode).intersects(Mode::WUSR | Mode::WGRP | Mode::WOTH);
            // A file that may still be written must not be mapped: its bytes could change under a shared slice.
            if sealed && len as u64 > self.map_above_bytes {
                map::mapped(&file, len)
            } else {
                map::copied(&file, len)
            }
        })
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        self.moved(from, to, RenameFlags::empty())
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let root = openat(&self.root, ".", FOLDER, Mode::empty())?;
        let made = parts(path)?.into_iter().try_fold(root, |folder, part| {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => Ok(openat(&folder, part, FOLDER, Mode::empty())?),
                Err(error) => Err(error.into()),
            }
        });
        made.map(|_| ()).map_err(|error| named("make the folder", path, error))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.moved(from, to, RenameFlags::NOREPLACE)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let (to_folder, to_name) = split(to)?;
        self.at("link", from, |source, name| {
            match linkat(source, name, &self.folder(to_folder)?, to_name, AtFlags::empty()) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV) => Err(ErrorKind::Unsupported.into()),
                linked => Ok(linked?),
            }
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.at("remove", path, |folder, name| remove(folder, name, DEPTH_MAX))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let listed = self.folder(path).and_then(|folder| list(&folder));
        listed.map_err(|error| named("list", path, error))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let synced = self.folder(path).and_then(|folder| Ok(fsync(&folder)?));
        synced.map_err(|error| named("sync the folder", path, error))
    }

    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
        let held = self.at("lock", path, |folder, name| lock_file(folder, name, kind))?;
        held.map(Lock::new).map_err(|holder| LockError::Held { holder })
    }

    fn free_space(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.root).map_err(|error| named("measure", "the root", error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = fstat(&self.root).map_err(|error| named("identify", "the root", error.into()))?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// Makes the folder and those above it, each durably.
fn make_root(path: &Path) -> io::Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut above = path;
    while !above.as_os_str().is_empty() && !above.exists() {
        missing.push(above.to_owned());
        above = above.parent().unwrap_or(Path::new(""));
    }
    for folder in missing.iter().rev() {
        match mkdirat(CWD, folder, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fsync(openat(CWD, parent, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?)?;
    }
    Ok(())
}

/// File systems over a network or in another program: their locks, syncs or maps do not hold what ours rest on.
const UNSUPPORTED_FS: [(u64, &str); 13] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x786f_4256, "VirtualBox shared folder"),
];

fn check_file_system(root: &OwnedFd) -> io::Result<()> {
    // The kernel's numbers have 32 bits; the field is a signed word, so the upper half may be ones.
    let magic = fstatfs(root)?.f_type as u64 & u64::from(u32::MAX);
    match UNSUPPORTED_FS.iter().find(|(known, _)| *known == magic) {
        None => Ok(()),
        Some((_, name)) => Err(io::Error::new(
            ErrorKind::Unsupported,
            format!(
                "it lies on a {name} file system, where locks and syncs cannot be relied on; \
                 use a local disk, or allow unsupported file systems if you accept the risk"
            ),
        )),
    }
}

fn check_is_file(stat: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(ErrorKind::IsADirectory.into()),
        other => Err(io::Error::new(ErrorKind::InvalidInput, format!("not a file but a {other:?}"))),
    }
}

fn list(folder: &OwnedFd) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in Folder::read_from(folder)? {
        let found = found?;
        let Some(name) = found.file_name().to_str().ok().filter(|name| is_part(name)) else { continue };
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed while we listed.
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let is_dir = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => true,
            FileType::RegularFile => false,
            _ => continue,
        };
        let len = if is_dir { 0 } else { stat.st_size.unsigned_abs() };
        entries.push(Entry { name: name.to_owned(), is_dir, len });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Removes a file, or a folder with all it holds, foreign names and links (not what they lead to) included.
fn remove(folder: &OwnedFd, name: impl rustix::path::Arg + Copy, depth_left: usize) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        removed => return Ok(removed?),
    }
    if depth_left == 0 {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("folders lie more than {DEPTH_MAX} deep"),
        ));
    }
    let inner = openat(folder, name, FOLDER, Mode::empty())?;
    for found in Folder::read_from(&inner)? {
        let found = found?;
        let name = found.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            remove(&inner, name, depth_left - 1)?;
        }
    }
    Ok(unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}

/// The locked file, or who has it.
fn lock_file(folder: &OwnedFd, name: &str, kind: LockKind) -> io::Result<Result<Held, Option<Holder>>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        let file = openat(folder, name, flags, Mode::from_raw_mode(0o644))?;
        let stat = fstat(&file)?;
        check_is_file(&stat)?;
        let wanted = match kind {
            LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
            LockKind::Shared => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, wanted) {
            Err(Errno::WOULDBLOCK) => return Ok(Err(read_holder(&file)?)),
            Err(Errno::INTR) => continue,
            locked => locked?,
        }
        // Somebody may have removed the file between our opening and locking it: a lock without a name excludes nobody.
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if (named.st_dev, named.st_ino) == (stat.st_dev, stat.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        }
        if kind == LockKind::Exclusive {
            ftruncate(&file, 0)?;
            pwrite(&file, Holder::this().line().as_bytes(), 0)?;
        }
        return Ok(Ok(Held { file, kind }));
    }
}

fn read_holder(file: &OwnedFd) -> io::Result<Option<Holder>> {
    let mut line = [0; lock::LINE_BYTES_MAX];
    let read = pread(file, &mut line, 0)?;
    Ok(Holder::parse(&line[..read]))
}

/// A lock file. Closing the descriptor releases the lock; so does the end of the process, however it ends.
struct Held {
    file: OwnedFd,
    kind: LockKind,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.kind == LockKind::Exclusive {
            // Only tidiness: a name left behind would be a wrong hint if somebody held the file shared later.
            let _ = ftruncate(&self.file, 0);
        }
    }
}

/// A file being written.
#[derive(Debug)]
struct RealFile {
    fd: OwnedFd,
    /// The name it was created under, for errors.
    path: String,
    sealed: AtomicBool,
}

impl RealFile {
    fn change(&self, tried: &'static str, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let sealed = self.sealed.load(Ordering::Acquire);
        let done = if sealed { Err(ErrorKind::PermissionDenied.into()) } else { act() };
        done.map_err(|error| named(tried, &self.path, error))
    }

    fn write_slices(&self, mut at: u64, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let now = slices.len().min(SLICES_MAX);
            match pwritev(&self.fd, &slices[..now], at) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_zeros(&self, mut at: u64, end: u64) -> io::Result<()> {
        let zeros = [0; ZEROS_BYTES];
        while at < end {
            let now = (end - at).min(ZEROS_BYTES as u64) as usize;
            self.write_slices(at, &mut [IoSlice::new(&zeros[..now])])?;
            at += now as u64;
        }
        Ok(())
    }
}

impl File for RealFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.change("write", || {
            // Frames have two or three parts, so nothing is allocated in the common case.
            let mut few = [IoSlice::new(&[]); 8];
            if let Some(slices) = few.get_mut(..parts.len()) {
                slices.iter_mut().zip(parts).for_each(|(slice, part)| *slice = IoSlice::new(part));
                return self.write_slices(offset, slices);
            }
            let mut many: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            self.write_slices(offset, &mut many)
        })
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.change("reserve room in", || {
            let have = fstat(&self.fd)?.st_size.unsigned_abs();
            if len <= have {
                return Ok(());
            }
            loop {
                match fallocate(&self.fd, FallocateFlags::empty(), 0, len) {
                    Err(Errno::INTR) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.write_zeros(have, len),
                    reserved => return Ok(reserved?),
                }
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        fdatasync(&self.fd).map_err(|error| named("sync", &self.path, error.into()))
    }

    fn seal(&self) -> io::Result<()> {
        self.sealed.store(true, Ordering::Release);
        fchmod(&self.fd, Mode::RUSR | Mode::RGRP | Mode::ROTH)
            .map_err(|error| named("seal", &self.path, error.into()))
    }
}

#[cfg(test)]
mod tests;
