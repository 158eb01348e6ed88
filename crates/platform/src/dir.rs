//! The seam to storage: one directory tree, seen through the few operations a write-once engine needs.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use nearfield_codec::{ContainerError, FileTag, Region};

use crate::blob::MappedBlob;
use crate::path::{joined, named, split};

/// Temporary files of `replace` that may stand in one folder: leftovers of killed processes and replacements under way.
const SPARES_MAX: u32 = 1 << 16;

/// A directory tree of write-once files.
///
/// # Contract
///
/// * A path is relative, its parts joined by `/`, each part `[A-Za-z0-9._-]{1,255}` and neither `.` nor `..`, at most 32 of
///   them; the empty path is the root. Anything else is [`io::ErrorKind::InvalidInput`]. Parts are joined by this crate and
///   never reach outside.
/// * A file is written by the one who created it and never changes once it is sealed or linked. Its names may change meanwhile.
///   Who opens it before sees the bytes written so far, and later writes never change what was seen.
/// * Bytes are durable after [`File::sync`], a name after [`Dir::sync_dir`] of the folder that holds it. Nothing else promises
///   durability, except [`Dir::replace`], which does both.
/// * An operation returns its error at once; none is retried, least of all a failed sync.
///
/// # Complexity
///
/// One or a few system calls each; `list` and `remove` are linear in what they touch.
///
/// # Concurrency
///
/// All methods may be called from several threads. Two creations of one name race: exactly one wins.
///
/// The conformance suite is `conformance`.
pub trait Dir: fmt::Debug + Send + Sync {
    /// Creates a file for writing. `AlreadyExists` if the name is taken, `NotFound` without the folder.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// The whole file as immutable bytes (a sealed one mapped where the store can, any other copied). The empty file gives an
    /// empty region.
    fn open(&self, path: &str) -> io::Result<Region>;

    /// The file as a container whose blocks are verified on first touch. Checks header, tables and footer.
    fn blob(&self, path: &str, tag: FileTag) -> Result<Arc<dyn Blob>, BlobError> {
        Ok(Arc::new(MappedBlob::open(self.open(path)?, tag)?))
    }

    /// Makes `path` hold `bytes`, atomically and durably: a temporary file beside it, written, synced, sealed, renamed over
    /// `path`, the folder synced. Made of the other operations, so every fault in them is a fault in it.
    ///
    /// After an error `path` holds the old bytes or the new ones, and which of them survive a power cut is open. The temporary
    /// file, `replace-<n>.tmp`, is removed after an error; a killed process leaves it, and whoever holds the lock may remove it.
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (folder, _) = split(path)?;
        let (spare, file) = create_spare(self, folder)?;
        let swapped = file
            .write_at(0, &[bytes])
            .and_then(|()| file.sync())
            .and_then(|()| file.seal())
            .and_then(|()| self.overwrite(&spare, path));
        if let Err(error) = swapped {
            // The first error is the one to report; a spare that stays is found at the next start.
            let _ = self.remove(&spare);
            return Err(error);
        }
        self.sync_dir(folder)
    }

    /// Renames a file over another, atomically; `to` may be missing and may not be a folder. The step inside [`Dir::replace`],
    /// which is what callers want. Not durable until both folders are synced.
    fn overwrite(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes a folder and those above it. An existing one is no error. Not durable until the folders above are synced.
    fn make_dir(&self, path: &str) -> io::Result<()>;

    /// Renames a file, or a folder with all it holds. `AlreadyExists` if `to` is taken. Not durable until both folders are synced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a finished file a second name. `AlreadyExists` if `to` is taken, `Unsupported` where the store has no links.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, or a folder with all it holds. `NotFound` if there is none. The root cannot be removed.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The files and folders in a folder, sorted by name. `NotFound` if there is none. What is neither file nor folder, or has
    /// a name that no path can spell, is not ours and not listed.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Takes the lock file `path` (made if missing), exclusively or shared, until the lock is dropped or the process ends.
    /// An exclusive holder leaves its process id and start time in the file; they come back in [`LockError::Held`].
    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError>;

    /// Bytes that may still be written.
    fn free_space(&self) -> io::Result<u64>;

    /// What tells two handles that they are the same directory, however its path was spelt (device and inode, or an address).
    fn identity(&self) -> io::Result<(u64, u64)>;
}

/// A file being written.
///
/// Writers of one file agree among themselves who writes where; syncing may happen beside writing.
pub trait File: fmt::Debug + Send + Sync {
    /// Writes all `parts`, one after another, at `offset`. After an error any prefix may have been written.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// Makes room for `len` bytes in all (they read as zeros), so that writing inside them cannot fail for want of space.
    /// A store that cannot promise it writes zeros.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Makes all bytes written before the call durable (fdatasync). Never retried after an error.
    fn sync(&self) -> io::Result<()>;

    /// Forbids further writing (mode 0444 where the store has modes); writing is `PermissionDenied` from now on. Called once
    /// the file is complete and synced.
    fn seal(&self) -> io::Result<()>;
}

/// Creates the first free `replace-<n>.tmp` in `folder`.
fn create_spare<D: Dir + ?Sized>(dir: &D, folder: &str) -> io::Result<(String, Arc<dyn File>)> {
    for n in 0..SPARES_MAX {
        let spare = joined(folder, &format!("replace-{n}.tmp"));
        match dir.create(&spare) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (spare, file)),
        }
    }
    Err(named("replace in", folder, io::ErrorKind::AlreadyExists.into()))
}

/// A sealed container, read by ranges; every block is checked when it is first touched.
///
/// # Contract
///
/// Bytes reach the caller only after the checksums of all their blocks held; a damaged block is an error every time it is
/// touched. Ranges are offsets in the file and must lie inside the body.
///
/// # Concurrency
///
/// All methods may be called from several threads; two may check the same block at once.
pub trait Blob: fmt::Debug + Send + Sync {
    /// Where the section `id` lies.
    fn section(&self, id: u32) -> Result<Range<u64>, BlobError>;

    /// Calls `visit(i, bytes)` for each range, in order. The bytes are aligned as their offset is (up to 64).
    fn read_many(&self, ranges: &[Range<u64>], visit: &mut dyn FnMut(usize, &[u8])) -> Result<(), BlobError>;

    /// Checks every block not yet checked.
    fn verify_all(&self) -> Result<(), BlobError>;

    /// CRC-32C of the file's tables, to be compared with the manifest's.
    fn tables_crc(&self) -> u32;

    /// Bytes of the whole file.
    fn file_len(&self) -> u64;
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// True for a folder.
    pub is_dir: bool,
    /// Bytes of a file, 0 for a folder.
    pub len: u64,
}

/// How a lock is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// One holder.
    Exclusive,
    /// Any number of holders, none of them exclusive.
    Shared,
}

/// Who holds a lock exclusively, as that process wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// When it took the lock, in milliseconds since 1970.
    pub since_ms: u64,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{}", match holder { Some(holder) => format!("held by process {}", holder.pid), None => "held by another process".to_owned() })]
    Held {
        /// Who, if the file says so.
        holder: Option<Holder>,
    },
    /// The store failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A lock, released when dropped.
pub struct Lock {
    _guard: Box<dyn std::any::Any + Send + Sync>,
}

impl Lock {
    /// A lock that is held as long as `guard` lives.
    pub fn new(guard: impl std::any::Any + Send + Sync) -> Self {
        Lock { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Why bytes of a blob could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is damaged or not what was expected.
    #[error(transparent)]
    Damaged(#[from] ContainerError),
    /// A range outside the body.
    #[error("range {start}..{end} lies outside the body of {len} bytes")]
    Outside {
        /// Its start.
        start: u64,
        /// Its end.
        end: u64,
        /// Bytes of the body.
        len: u64,
    },
}
