//! The bytes of a name: which manifest it stands for. One small file a name, called after the digest of the name.

use nearfield_codec::{DecodeError, Decoder, Encoder, FileTag, TAG_BYTES, TagError, crc32c};

use crate::contract::Object;
use crate::error::{Result, StoreError};
use crate::format::{REF_MAGIC, REF_VERSION};
use crate::manifest::Digest;

const TAG: FileTag = FileTag::new(REF_MAGIC, REF_VERSION, REF_VERSION);
/// Most bytes of a name: two names of people and what joins them.
pub(crate) const NAME_BYTES_MAX: usize = 1_024;
const SUFFIX: &str = ".ref";

/// A name and the manifest it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(crate) name: String,
    pub(crate) manifest: Object,
}

/// Refuses names that no file can hold.
pub(crate) fn check_name(name: &str) -> Result<()> {
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(()),
        bytes => Err(StoreError::Name { bytes, max: NAME_BYTES_MAX }),
    }
}

/// The file of a name. No byte of the name reaches the file system.
pub(crate) fn file_name(name: &str) -> String {
    format!("{}{SUFFIX}", Digest::of(name.as_bytes()))
}

/// True if a file of this name may hold a name.
pub(crate) fn is_file_name(file: &str) -> bool {
    file.strip_suffix(SUFFIX).is_some_and(|digits| Digest::parse(digits).is_some())
}

impl Ref {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.bytes(&TAG.encode()).counted(self.name.as_bytes());
        out.u64(self.manifest.length).bytes(&self.manifest.digest.0);
        let crc = crc32c(out.as_slice());
        out.u32(crc);
        out.into_vec()
    }

    /// Reads the file at `path`, called `file`.
    pub(crate) fn decode(path: &str, file: &str, bytes: &[u8]) -> Result<Ref> {
        let covered = sealed(path, bytes)?;
        TAG.check(covered).map_err(|error| tag_error(path, error))?;
        let found = Ref::fields(covered).map_err(|error| StoreError::damaged(path, error))?;
        match file_name(&found.name) == file {
            true => Ok(found),
            false => Err(StoreError::damaged(path, "it belongs to another name")),
        }
    }

    fn fields(covered: &[u8]) -> std::result::Result<Ref, DecodeError> {
        let mut decoder = Decoder::new(covered);
        decoder.bytes(TAG_BYTES)?;
        let name = decoder.text(NAME_BYTES_MAX)?.to_owned();
        let (length, digest) = (decoder.u64()?, Digest(decoder.array()?));
        decoder.finish()?;
        Ok(Ref { name, manifest: Object { digest, length } })
    }
}

/// The bytes before the checksum at the end, if it holds.
pub(crate) fn sealed<'a>(path: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(StoreError::damaged(path, format_args!("it has {} bytes", bytes.len())));
    };
    let (found, expected) = (crc32c(covered), u32::from_le_bytes(*crc));
    match found == expected {
        true => Ok(covered),
        false => {
            Err(StoreError::damaged(path, format_args!("checksum is {found:08x}, expected {expected:08x}")))
        }
    }
}

/// What a newer program wrote is no damage.
pub(crate) fn tag_error(path: &str, error: TagError) -> StoreError {
    match error {
        TagError::TooNew { .. } => StoreError::TooNew { path: path.to_owned(), error },
        other => StoreError::damaged(path, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_every_prefix_and_every_flipped_byte() {
        let one = Ref { name: "books/monday ä".into(), manifest: Object::of(b"x") };
        let (bytes, file) = (one.encode(), file_name(&one.name));
        assert_eq!(Ref::decode("p", &file, &bytes).unwrap(), one);
        assert!(is_file_name(&file) && !is_file_name("replace-0.tmp") && !is_file_name("a.ref"));
        assert!(Ref::decode("p", &file_name("other"), &bytes).is_err());
        for cut in 0..bytes.len() {
            assert!(Ref::decode("p", &file, &bytes[..cut]).is_err());
            let mut flipped = bytes.clone();
            flipped[cut] ^= 0x40;
            assert!(Ref::decode("p", &file, &flipped).is_err(), "byte {cut}");
        }
    }
}
