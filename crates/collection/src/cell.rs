//! The one commit point of a shard, and of the catalog: a small value changed only by compare-and-swap.
//!
//! Here it is a row of files `MANIFEST-<n>`; later it may be an object store's conditional write. The highest file whose
//! checksum holds is the value. A visible file with a bad checksum is damage, not a tear (it was synced before its rename):
//! reading falls back to the one before and says so.

use std::sync::Arc;

use nearfield_codec::{DecodeError, Decoder, Encoder, FileTag, TAG_BYTES, TagError, crc32c};
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
/// yet); the new version is larger. An error of the kind [`ErrorKind::Unavailable`] means that the outcome is unknown; after
/// every other the value is as it was.
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
    /// [`ErrorKind::Unavailable`] if the outcome is unknown or another came first, [`ErrorKind::Full`] or [`ErrorKind::Busy`]
    /// if nothing was changed.
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
                continue;
            }
            match self.load(version) {
                Ok(_) => whole += 1,
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(_) => return,
            }
        }
    }

    fn load(&self, version: u64) -> Result<Vec<u8>> {
        let path = self.path(version);
        let region = self.dir.open(&path).map_err(|e| Error::io(format!("reading {path}"), e))?;
        let value = decode(&region, version).map_err(|why| {
            // What a newer program wrote is no damage: passing it over would go on from an older state.
            let newer = matches!(why, CellError::Tag(TagError::TooNew { .. }));
            let kind = if newer { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
            Error::new(kind, format!("{path}: {why}"))
        })?;
        Ok(value.to_vec())
    }

    /// The value before the newest, if it is still there and whole: what reading would fall back to.
    ///
    /// # Errors
    ///
    /// What listing returned.
    pub fn previous(&self, of: u64) -> Result<Option<Versioned>> {
        for version in self.versions()?.into_iter().filter(|version| *version < of) {
            match self.load(version) {
                Ok(bytes) => return Ok(Some(Versioned { version, bytes, damaged: Vec::new() })),
                // Whatever else keeps it from being read, it may be whole: what it names must stay.
                Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
                Err(_) => {}
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
        let newest = self.versions().map_err(unchanged)?.into_iter().next();
        let current = self.read().map_err(unchanged)?.map(|value| value.version);
        if current != expected {
            let context =
                format!("{} changed under its writer: expected {expected:?}, found {current:?}", self.folder);
            return Err(Error::new(ErrorKind::Unavailable, context));
        }
        let version = newest.unwrap_or(0) + 1;
        if version > VERSION_MAX {
            return Err(Error::new(ErrorKind::Corrupt, format!("{} has used up its versions", self.folder)));
        }
        let path = self.path(version);
        if let Err(error) = self.dir.replace(&path, &encode(version, bytes)) {
            let error = Error::io(format!("writing {path}"), error);
            // What failed before the rename changed nothing.
            return Err(match self.versions() {
                Ok(versions) if !versions.contains(&version) => unchanged(error),
                _ => Error::caused(
                    ErrorKind::Unavailable,
                    "the manifest may or may not have been replaced",
                    error,
                ),
            });
        }
        self.trim(version);
        Ok(version)
    }
}

/// An error after which the value is surely as it was.
fn unchanged(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable => Error::caused(ErrorKind::Busy, "the manifest could not be replaced", error),
        _ => error,
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

/// Why bytes are no value of a cell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// The checksum does not hold.
    #[error("checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// That of the bytes.
        found: u32,
        /// The one stored.
        expected: u32,
    },
    /// Whole, but not for this reader.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The bytes end early.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The file is not the one its name says.
    #[error("file holds version {found}")]
    Version {
        /// The version in it.
        found: u64,
    },
    /// The value is not as long as it says.
    #[error("value has {found} bytes, expected {expected}")]
    Length {
        /// The bytes there are.
        found: u64,
        /// The bytes there should be.
        expected: u64,
    },
}

/// The value inside the bytes of a `MANIFEST-<version>` file. The checksum is looked at first: only a whole file may say that it is
/// too new.
///
/// # Errors
///
/// [`CellError`].
pub fn decode(bytes: &[u8], version: u64) -> std::result::Result<&[u8], CellError> {
    let short = DecodeError::Short { at: 0, need: HEAD_BYTES + 4, have: bytes.len() };
    let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(short)?;
    let (found, expected) = (crc32c(covered), u32::from_le_bytes(*crc));
    if found != expected {
        return Err(CellError::Checksum { found, expected });
    }
    TAG.check(covered)?;
    let mut decoder = Decoder::new(covered);
    decoder.bytes(TAG_BYTES)?;
    let (own, expected) = (decoder.u64()?, decoder.u64()?);
    if own != version {
        return Err(CellError::Version { found: own });
    }
    match decoder.left() as u64 {
        found if found == expected => Ok(&covered[HEAD_BYTES..]),
        found => Err(CellError::Length { found, expected }),
    }
}

#[cfg(test)]
mod tests {
    use nearfield_platform::MemoryDir;

    use super::*;

    fn cell(files: &[(u64, &[u8])]) -> ManifestCell {
        let dir = MemoryDir::new();
        dir.make_dir("c").unwrap();
        for (version, bytes) in files {
            dir.replace(&format!("c/MANIFEST-{version:020}"), bytes).unwrap();
        }
        ManifestCell::new(dir, "c")
    }

    #[test]
    fn a_value_of_a_newer_program_is_not_passed_over() {
        let mut newer = encode(2, b"new");
        newer[4] = CELL_VERSION as u8 + 1;
        let end = newer.len() - 4;
        let crc = crc32c(&newer[..end]);
        newer[end..].copy_from_slice(&crc.to_le_bytes());
        let cell = cell(&[(1, &encode(1, b"old")), (2, &newer)]);
        assert_eq!(cell.read().unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(cell.swap_if(Some(1), b"next").is_err());
    }

    #[test]
    fn the_last_version_has_no_successor_and_no_file_a_larger_one() {
        let last = cell(&[(VERSION_MAX, &encode(VERSION_MAX, b"last"))]);
        assert_eq!(last.read().unwrap().map(|found| found.version), Some(VERSION_MAX));
        assert_eq!(last.swap_if(Some(VERSION_MAX), b"next").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(cell(&[(u64::MAX, &encode(u64::MAX, b"x"))]).read().unwrap(), None);
    }
}
