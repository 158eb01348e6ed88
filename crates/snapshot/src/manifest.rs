//! The manifest of a snapshot: which objects it is made of, under which paths, and words of its owner.
//!
//! Pure functions of bytes. A path here is a name for an object, to people and to whoever restores it; it is checked as text.

use std::collections::HashSet;
use std::fmt;

use nearfield_codec::{DecodeError, Decoder, Encoder, FileTag, TAG_BYTES, TagError, crc32c};
use nearfield_types::limits::{SNAPSHOT_FILES_MAX, SNAPSHOT_MANIFEST_BYTES_MAX, SNAPSHOT_PATH_BYTES_MAX};

use crate::contract::Object;
use crate::format::{MANIFEST_MAGIC, MANIFEST_VERSION};

const TAG: FileTag = FileTag::new(MANIFEST_MAGIC, MANIFEST_VERSION, MANIFEST_VERSION);
/// Bytes of an entry with an empty path.
const ENTRY_BYTES: usize = 4 + 8 + 8 + 32;

/// BLAKE3 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`. O(bytes).
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest that 64 lower-case hexadecimal digits spell.
    pub fn parse(text: &str) -> Option<Digest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What its owner calls it: parts `[A-Za-z0-9._-]{1,255}` joined by `/`, none of them `.` or `..`; unique.
    pub path: String,
    /// Its bytes.
    pub object: Object,
    /// CRC-64/NVME of its bytes, for stores that check uploads by it.
    pub crc64: u64,
}

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// When it was made, in milliseconds since 1970. Told to people, judged by nobody.
    pub created_ms: u64,
    /// What the owner says of it. The store does not look inside.
    pub body: Vec<u8>,
    /// Its files.
    pub files: Vec<Entry>,
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not one, or for newer readers.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A structure ends early, or a value is outside its range.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The checksum does not hold.
    #[error("checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// That of the bytes.
        found: u32,
        /// The one stored.
        expected: u32,
    },
    /// A path that no manifest may hold.
    #[error("path {0:?} is not plain and relative")]
    Path(String),
    /// Two files of one path, or of paths that differ in case alone.
    #[error("path {0:?} occurs twice, or differs from another in case alone")]
    Twice(String),
    /// Too many bytes or files.
    #[error("it has {found} {what}: at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
}

impl Manifest {
    /// The manifest as bytes: see `docs/format.md`.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if it breaks a limit.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut out = Encoder::with_capacity(TAG_BYTES + 64 + self.body.len() + self.files.len() * 128);
        out.bytes(&TAG.encode()).u64(self.created_ms).counted(&self.body).u32(self.files.len() as u32);
        for Entry { path, object, crc64 } in &self.files {
            out.counted(path.as_bytes()).u64(object.length).u64(*crc64).bytes(&object.digest.0);
        }
        let crc = crc32c(out.as_slice());
        out.u32(crc);
        too_many("bytes", out.len(), SNAPSHOT_MANIFEST_BYTES_MAX)?;
        Ok(out.into_vec())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        too_many("bytes", bytes.len(), SNAPSHOT_MANIFEST_BYTES_MAX)?;
        let short = DecodeError::Short { at: 0, need: TAG_BYTES + 4, have: bytes.len() };
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(short)?;
        let (found, expected) = (crc32c(covered), u32::from_le_bytes(*crc));
        if found != expected {
            return Err(ManifestError::Checksum { found, expected });
        }
        TAG.check(covered)?;
        let mut decoder = Decoder::new(covered);
        decoder.bytes(TAG_BYTES)?;
        let created_ms = decoder.u64()?;
        let body = decoder.counted(SNAPSHOT_MANIFEST_BYTES_MAX)?.to_vec();
        let count = decoder.count(ENTRY_BYTES)?;
        too_many("files", count, SNAPSHOT_FILES_MAX)?;
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            let path = decoder.text(SNAPSHOT_PATH_BYTES_MAX)?.to_owned();
            let (length, crc64, digest) = (decoder.u64()?, decoder.u64()?, Digest(decoder.array()?));
            files.push(Entry { path, object: Object { digest, length }, crc64 });
        }
        decoder.finish()?;
        let manifest = Manifest { created_ms, body, files };
        manifest.check()?;
        Ok(manifest)
    }

    /// The file called `path`.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        self.files.iter().find(|entry| entry.path == path)
    }

    /// Bytes of all files, each object once.
    pub fn bytes(&self) -> u64 {
        self.objects().iter().fold(0, |sum: u64, object| sum.saturating_add(object.length))
    }

    /// The objects, each once, in the order of their first files.
    pub fn objects(&self) -> Vec<Object> {
        let mut seen = HashSet::with_capacity(self.files.len());
        self.files.iter().map(|entry| entry.object).filter(|object| seen.insert(object.digest)).collect()
    }

    /// Checks paths and limits.
    fn check(&self) -> Result<(), ManifestError> {
        too_many("files", self.files.len(), SNAPSHOT_FILES_MAX)?;
        let (mut paths, mut lengths) = (HashSet::new(), std::collections::HashMap::new());
        for Entry { path, object, .. } in &self.files {
            if !is_plain(path) {
                return Err(ManifestError::Path(path.chars().take(80).collect()));
            }
            // On some file systems names that differ in case alone are one name.
            if !paths.insert(path.to_ascii_lowercase()) {
                return Err(ManifestError::Twice(path.clone()));
            }
            if *lengths.entry(object.digest).or_insert(object.length) != object.length {
                return Err(ManifestError::Twice(path.clone()));
            }
        }
        Ok(())
    }
}

fn too_many(what: &'static str, found: usize, max: usize) -> Result<(), ManifestError> {
    if found > max { Err(ManifestError::TooMany { what, found, max }) } else { Ok(()) }
}

/// True for parts `[A-Za-z0-9._-]{1,255}` joined by `/`, none `.` or `..`.
fn is_plain(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let part = |part: &str| {
        (1..=255).contains(&part.len()) && part.bytes().all(allowed) && part != "." && part != ".."
    };
    path.len() <= SNAPSHOT_PATH_BYTES_MAX && path.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let entry =
            |path: &str, bytes: &[u8]| Entry { path: path.into(), object: Object::of(bytes), crc64: 7 };
        let files = vec![entry("a/b", b"one"), entry("a/c", b"two"), entry("d", b"one")];
        Manifest { created_ms: 5, body: b"body".to_vec(), files }
    }

    #[test]
    fn round_trip_every_prefix_and_every_flipped_byte() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Ok(sample()));
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "prefix {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert!(Manifest::decode(&flipped).is_err(), "byte {cut}");
        }
    }

    #[test]
    fn objects_count_once() {
        assert_eq!((sample().objects().len(), sample().bytes()), (2, 6));
        assert_eq!(sample().find("a/c").map(|entry| entry.object), Some(Object::of(b"two")));
    }

    #[test]
    fn paths_are_plain_and_differ() {
        let with = |path: &str| {
            let mut manifest = sample();
            manifest.files[0].path = path.into();
            manifest.encode().map(drop)
        };
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            ".",
            "a\\b",
            "a b",
            "ä",
            "C:",
            "a\0",
            &"x".repeat(256),
        ] {
            assert!(matches!(with(bad), Err(ManifestError::Path(_))), "{bad:?}");
        }
        for twice in ["a/c", "A/c", "d", "D"] {
            assert!(matches!(with(twice), Err(ManifestError::Twice(_))), "{twice:?}");
        }
        assert_eq!(with("x/y.z"), Ok(()));
        let mut lengths = sample();
        lengths.files[0].object.length = 4;
        assert!(matches!(lengths.encode(), Err(ManifestError::Twice(_))));
    }

    #[test]
    fn digests_are_spelt_one_way() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"G".repeat(64), &"A".repeat(64)] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
