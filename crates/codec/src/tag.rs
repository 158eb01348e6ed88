//! The first eight bytes of every file.

/// How many bytes a tag takes.
pub const TAG_BYTES: usize = 8;

/// What a file is and who may read it: `magic[4] | read u16 | write u16`.
///
/// `read` is the oldest reader version that understands the file, `write` the version of the writer. A reader of version `r`
/// opens a file iff `read <= r`, so an old program refuses a new file precisely instead of misreading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTag {
    /// The kind of file.
    pub magic: [u8; 4],
    /// The oldest reader that understands the file.
    pub read: u16,
    /// The version that wrote it.
    pub write: u16,
}

/// Why a file is not for this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Too short to hold a tag.
    #[error("file of {len} bytes has no tag")]
    Short {
        /// Its length.
        len: usize,
    },
    /// Another kind of file.
    #[error("file begins with {found:02x?}, expected {expected:02x?}")]
    Magic {
        /// What it begins with.
        found: [u8; 4],
        /// What was expected.
        expected: [u8; 4],
    },
    /// Made for newer readers.
    #[error(
        "file needs a reader of version {needs} or later, this one is {have}: upgrade Nearfield to open it"
    )]
    TooNew {
        /// The reader version it needs.
        needs: u16,
        /// The version of this program.
        have: u16,
    },
}

impl FileTag {
    /// A tag of this kind and these versions.
    pub const fn new(magic: [u8; 4], read: u16, write: u16) -> Self {
        FileTag { magic, read, write }
    }

    /// The tag as bytes.
    pub fn encode(self) -> [u8; TAG_BYTES] {
        let mut out = [0; TAG_BYTES];
        out[..4].copy_from_slice(&self.magic);
        out[4..6].copy_from_slice(&self.read.to_le_bytes());
        out[6..].copy_from_slice(&self.write.to_le_bytes());
        out
    }

    /// Reads the tag of `bytes` and checks that a program whose own tag is `self` may read on.
    ///
    /// # Errors
    ///
    /// [`TagError`]: too short, another kind, too new.
    pub fn check(self, bytes: &[u8]) -> Result<FileTag, TagError> {
        let Some(raw) = bytes.first_chunk::<TAG_BYTES>() else {
            return Err(TagError::Short { len: bytes.len() });
        };
        let [a, b, c, d, r0, r1, w0, w1] = *raw;
        let found = FileTag::new([a, b, c, d], u16::from_le_bytes([r0, r1]), u16::from_le_bytes([w0, w1]));
        if found.magic != self.magic {
            return Err(TagError::Magic { found: found.magic, expected: self.magic });
        }
        if found.read > self.write {
            return Err(TagError::TooNew { needs: found.read, have: self.write });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_precisely() {
        let own = FileTag::new(*b"NFxx", 1, 2);
        assert_eq!(own.check(&own.encode()), Ok(own));
        let newer = FileTag::new(*b"NFxx", 2, 9);
        assert_eq!(own.check(&newer.encode()), Ok(newer));
        let too_new = FileTag::new(*b"NFxx", 3, 3);
        assert_eq!(own.check(&too_new.encode()), Err(TagError::TooNew { needs: 3, have: 2 }));
        assert!(matches!(own.check(b"NFyy\x01\0\x01\0"), Err(TagError::Magic { .. })));
        assert!(matches!(own.check(b"NFx"), Err(TagError::Short { len: 3 })));
    }
}
