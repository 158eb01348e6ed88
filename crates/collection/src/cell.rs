//! The one commit point of a shard, and of the catalog: a small value changed only by compare-and-swap.
//!
//! Here it is a row of files `MANIFEST-<n>`; later it may be an object store's conditional write. The highest file whose
//! checksum holds is the value. A visible file with a bad checksum is damage, not a tear (it was synced before its rename):
//! reading falls back to the one before and says so.

use std::sync::Arc;

use nearfield_codec::{Encoder, FileTag, TAG_BYTES, crc32c};
use nearfield_platform::Dir;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{CELL_MAGIC, CELL_VERSION};

const TAG: FileTag = FileTag::new(CELL_MAGIC, CELL_VERSION, CELL_VERSION);
/// `tag[8] | version u64 | length u64 | value | crc32c u32`
const HEAD_BYTES: usize = TAG_BYTES + 8 + 8;
/// No version is larger, so adding one never overflows; a file with a larger number is not ours.
const VERSION_MAX: u64 = u64::MAX / 2;

/// A value and the number of the swap that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Counts swaps, from 1.
    pub version: u64,
    /// The value.
    pub bytes: Vec<u8>,
    /// Files with a higher number whose checksum failed, newest first.
    pub damaged: Vec<String>,
}

/// The commit point.
///
/// # Contract
///
/// `swap_if` makes `bytes` the value, atomically and durably, iff the current version is `expected` (`None`: there is no value
/// yet); the new version is larger. After an error the outcome is unknown until the next `read`.
pub trait Cell: Send + Sync {
    /// The newest value, or `None` if there never was one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if there are values and none is whole.
    fn read(&self) -> Result<Option<Versioned>>;

    /// Replaces the value; returns its version.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] if another came first, else what the store returned.
    fn swap_if(&self, expected: Option<u64>, bytes: &[u8]) -> Result<u64>;
}

/// The cell as files of one folder, safe under the directory's exclusive lock.
#[derive(Debug)]
pub struct ManifestCell {
    dir: Arc<dyn Dir>,
    folder: String,
}

impl ManifestCell {
    /// The cell in `folder`, which exists.
    pub fn new(dir: Arc<dyn Dir>, folder: impl Into<String>) -> Self {
        ManifestCell { dir, folder: folder.into() }
    }

    fn path(&self, version: u64) -> String {
        format!("{}/MANIFEST-{version:020}", self.folder)
    }

    /// The versions present, newest first, whole or not.
    fn versions(&self) -> Result<Vec<u64>> {
        let entries =
            self.dir.list(&self.folder).map_err(|e| Error::io(format!("listing {}", self.folder), e))?;
        let mut versions: Vec<u64> = entries.iter().filter_map(|entry| version_of(&entry.name)).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(versions)
    }

    /// Removes what is older than the last two values. Failing to is harmless: it is tried again after the next swap.
    fn trim(&self, newest: u64) {
        let Ok(versions) = self.versions() else { return };
        let mut whole = 0;
        for version in versions.into_iter().filter(|version| *version <= newest) {
            if whole >= 2 {
                let _ = self.dir.remove(&self.path(version));
            } else if self.load(version).is_ok() {
                whole += 1;
            }
        }
    }

    fn load(&self, version: u64) -> Result<Vec<u8>> {
        let path = self.path(version);
        let region = self.dir.open(&path).map_err(|e| Error::io(format!("reading {path}"), e))?;
        let value = decode(&region, version)
            .map_err(|why| Error::new(ErrorKind::Corrupt, format!("{path}: {why}")))?;
        Ok(value.to_vec())
    }

    /// The value before the newest, if it is still there and whole: what reading would fall back to.
    ///
    /// # Errors
    ///
    /// What listing returned.
    pub fn previous(&self, of: u64) -> Result<Option<Versioned>> {
        for version in self.versions()?.into_iter().filter(|version| *version < of) {
            if let Ok(bytes) = self.load(version) {
                return Ok(Some(Versioned { version, bytes, damaged: Vec::new() }));
            }
        }
        Ok(None)
    }
}

impl Cell for ManifestCell {
    fn read(&self) -> Result<Option<Versioned>> {
        let versions = self.versions()?;
        let mut damaged = Vec::new();
        for &version in &versions {
            match self.load(version) {
                Ok(bytes) => return Ok(Some(Versioned { version, bytes, damaged })),
                Err(error) if error.kind() == ErrorKind::Corrupt => damaged.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        match damaged.into_iter().next() {
            None => Ok(None),
            Some(first) => Err(Error::new(
                ErrorKind::Corrupt,
                format!("{first}; no older manifest is whole either: restore from a snapshot or a copy"),
            )),
        }
    }

    fn swap_if(&self, expected: Option<u64>, bytes: &[u8]) -> Result<u64> {
        let newest = self.versions()?.into_iter().next();
        let current = self.read()?.map(|value| value.version);
        if current != expected {
            let context =
                format!("{} changed under its writer: expected {expected:?}, found {current:?}", self.folder);
            return Err(Error::new(ErrorKind::Busy, context));
        }
        let version = newest.unwrap_or(0) + 1;
        if version > VERSION_MAX {
            return Err(Error::new(ErrorKind::Corrupt, format!("{} has used up its versions", self.folder)));
        }
        let path = self.path(version);
        let replaced = self.dir.replace(&path, &encode(version, bytes));
        replaced.map_err(|e| Error::io(format!("writing {path}"), e))?;
        self.trim(version);
        Ok(version)
    }
}

fn version_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("MANIFEST-")?;
    let version = if digits.len() == 20 { digits.parse().ok() } else { None };
    version.filter(|version| *version <= VERSION_MAX)
}

fn encode(version: u64, value: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(HEAD_BYTES + value.len() + 4);
    encoder.bytes(&TAG.encode()).u64(version).u64(value.len() as u64).bytes(value);
    let crc = crc32c(encoder.as_slice());
    encoder.u32(crc);
    encoder.into_vec()
}

/// The value inside the bytes of a `MANIFEST-<version>` file.
///
/// # Errors
///
/// What is wrong, in words.
pub fn decode(bytes: &[u8], version: u64) -> std::result::Result<&[u8], String> {
    TAG.check(bytes).map_err(|e| e.to_string())?;
    let (covered, crc) = bytes.split_last_chunk::<4>().ok_or("file is too short")?;
    let (found, expected) = (crc32c(covered), u32::from_le_bytes(*crc));
    if found != expected {
        return Err(format!("checksum is {found:08x}, expected {expected:08x}"));
    }
    let mut decoder = nearfield_codec::Decoder::new(covered);
    let parse = |decoder: &mut nearfield_codec::Decoder<'_>| {
        decoder.bytes(TAG_BYTES)?;
        Ok::<_, nearfield_codec::DecodeError>((decoder.u64()?, decoder.u64()?))
    };
    let (own, len) = parse(&mut decoder).map_err(|e| e.to_string())?;
    if own != version {
        return Err(format!("file holds version {own}"));
    }
    if len != decoder.left() as u64 {
        return Err(format!("value has {} bytes, expected {len}", decoder.left()));
    }
    Ok(&covered[HEAD_BYTES..])
}
