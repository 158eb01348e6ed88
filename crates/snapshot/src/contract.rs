//! What a snapshot store is: the traits, and the words they share.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use nearfield_codec::Region;
use nearfield_platform::Dir;
use parking_lot::Mutex;

use crate::error::{Result, StoreError};
use crate::manifest::{Digest, Manifest};

/// The shortest pin.
pub const PIN_TTL_MIN: Duration = Duration::from_secs(1);
/// The longest pin.
pub const PIN_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What an object is: bytes that never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// How many there are.
    pub length: u64,
}

impl Object {
    /// The object that `bytes` are. O(bytes).
    pub fn of(bytes: &[u8]) -> Object {
        Object { digest: Digest::of(bytes), length: bytes.len() as u64 }
    }

    /// Compares `bytes` with the digest and the length. O(bytes).
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], naming `path`.
    pub fn check(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.check_length(path, bytes.len() as u64)?;
        match Digest::of(bytes) {
            found if found == self.digest => Ok(()),
            found => Err(StoreError::damaged(
                path,
                format_args!("its digest is {found}, expected {}", self.digest),
            )),
        }
    }

    pub(crate) fn check_length(&self, path: &str, found: u64) -> Result<()> {
        match found == self.length {
            true => Ok(()),
            false => {
                let at = found.min(self.length);
                let why = format_args!("it has {found} bytes, expected {}: offset {at}", self.length);
                Err(StoreError::damaged(path, why))
            }
        }
    }
}

/// Where the bytes of an object come from.
pub enum Source<'a> {
    /// A finished, durable file of the directory that the store lies in. It is given a second name where the store can; otherwise the
    /// answer is [`Put::Refused`], quickly, and the caller hands in the bytes when it has time. Its digest is believed.
    File(&'a str),
    /// These bytes, which are compared with the digest, and take the place of the object if that is there and damaged.
    Bytes(&'a [u8]),
    /// As many bytes as the object has, which are read and compared with the digest, also where the object is there already; otherwise as [`Source::Bytes`].
    Stream(&'a mut dyn Read),
}

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The store had it.
    There,
    /// It is the same file under another name: no new bytes.
    Linked,
    /// It was copied.
    Copied,
    /// The store cannot link this file: hand in its bytes.
    Refused,
}

/// How an object came to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// By a second name: it is not a second copy.
    Linked,
    /// As a copy, compared with its digest.
    Copied,
}

/// What a name must stand for before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// This manifest.
    Is(Digest),
    /// Whatever it is.
    Any,
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The name.
    pub name: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
}

/// The names there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted.
    pub names: Vec<String>,
    /// What could not be read, and why. While there is something, no sweep removes anything.
    pub damaged: Vec<String>,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects removed.
    pub objects: u64,
    /// Their bytes; on the disk they are free once nothing else links them.
    pub bytes: u64,
    /// Pins that ended because their time had passed at this sweep and the one before.
    pub expired: u64,
}

/// Somebody's promise to keep a snapshot's data for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Names the pin; never used again in this store.
    pub id: u64,
    /// The snapshot's name when it was pinned.
    pub name: String,
    /// The manifest that is kept.
    pub digest: Digest,
    /// When its time is over, in milliseconds since 1970.
    pub until_ms: u64,
}

/// Keeps what was put or resolved under it from being swept, until it is dropped.
pub struct Hold {
    counts: Arc<Mutex<HashMap<Digest, usize>>>,
    mine: Mutex<Vec<Digest>>,
}

impl Hold {
    /// A hold that is counted in `counts`, which the store's sweep looks at.
    pub(crate) fn new(counts: &Arc<Mutex<HashMap<Digest, usize>>>) -> Hold {
        Hold { counts: Arc::clone(counts), mine: Mutex::default() }
    }

    /// Keeps this object from now on.
    pub(crate) fn keep(&self, digest: Digest) {
        *self.counts.lock().entry(digest).or_default() += 1;
        self.mine.lock().push(digest);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        for digest in self.mine.get_mut().drain(..) {
            if let Some(count) = counts.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&digest);
                }
            }
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("objects", &self.mine.lock().len()).finish()
    }
}

/// A store of snapshots.
///
/// # Contract
///
/// * What [`put`](SnapshotStore::put) accepted can be got, whole, as long as a hold, a name or a pin keeps it.
/// * [`publish`](SnapshotStore::publish) and [`retract`](SnapshotStore::retract) are atomic and durable when they return. After an error
///   that is not [`StoreError::Io`] nothing was changed; after that one the name stands for the old or the new.
/// * [`sweep`](SnapshotStore::sweep) removes nothing that anything keeps, and nothing at all where it could not read what is kept.
/// * Nothing here is retried.
///
/// # Complexity
///
/// `put` of a file O(1); of bytes, `get` of a remote object and `place` by copying O(bytes); `list`, `resolve` and `sweep` read names and
/// manifests.
///
/// # Concurrency
///
/// All methods may be called from several threads. Two publishers of one name race: `expect` decides.
///
/// The conformance suite is [`conformance`](crate::conformance).
pub trait SnapshotStore: Pins {
    /// A hold, under which objects are put or found before a name keeps them.
    fn hold(&self) -> Hold;

    /// Takes an object in, or finds that it is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the bytes are not that object, or the store has a damaged one of that name; [`StoreError::Io`].
    fn put(&self, hold: &Hold, object: &Object, source: Source<'_>) -> Result<Put>;

    /// The bytes of an object. Its length was compared, its digest was not: see [`Object::check`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Damaged`], [`StoreError::Io`].
    fn get(&self, object: &Object) -> Result<Region>;

    /// Gives an object the name `path` in `dir`, which must not be taken. The folder is not synced.
    ///
    /// # Errors
    ///
    /// As [`get`](SnapshotStore::get).
    fn place(&self, object: &Object, dir: &dyn Dir, path: &str) -> Result<Placed>;

    /// Makes everything put under `hold` durable and lets `name` stand for `manifest` if it stood for what is expected. Answers the
    /// manifest's digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`], [`StoreError::Name`], [`StoreError::Manifest`], [`StoreError::Io`].
    fn publish(&self, hold: &Hold, name: &str, manifest: &Manifest, expect: Expect) -> Result<Digest>;

    /// Lets `name` stand for nothing; false if it did already. The objects go with a later sweep.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`], [`StoreError::Name`], [`StoreError::Io`].
    fn retract(&self, name: &str, expect: Expect) -> Result<bool>;

    /// What `name` stands for, kept by `hold` from then on if one is given.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::Missing`], [`StoreError::Io`].
    fn resolve(&self, name: &str, hold: Option<&Hold>) -> Result<Option<Published>>;

    /// The names that begin with `prefix`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]; what is damaged is in the answer.
    fn list(&self, prefix: &str) -> Result<Listing>;

    /// Removes the objects that nothing keeps, and ends pins that were past their time at the sweep before already.
    ///
    /// # Errors
    ///
    /// [`StoreError`], with nothing removed, if a root could not be read; [`StoreError::Io`] if something could not be removed.
    fn sweep(&self) -> Result<Swept>;
}

/// The pins of a store.
///
/// # Contract
///
/// Durable when a method returns. A pin is a root of [`SnapshotStore::sweep`] until [`unpin`](Pins::unpin), or until two sweeps in a row
/// found the clock at or past its end.
///
/// # Concurrency
///
/// As [`SnapshotStore`].
pub trait Pins: fmt::Debug + Send + Sync {
    /// Keeps the data of `name` for `ttl`, from [`PIN_TTL_MIN`] to [`PIN_TTL_MAX`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Ttl`], [`StoreError::Unknown`], [`StoreError::TooManyPins`], [`StoreError::Damaged`], [`StoreError::Io`].
    fn pin(&self, name: &str, ttl: Duration) -> Result<Pin>;

    /// Ends a pin; false if there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    fn unpin(&self, id: u64) -> Result<bool>;

    /// The pins that have not ended, by id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    fn pins(&self) -> Result<Vec<Pin>>;
}
