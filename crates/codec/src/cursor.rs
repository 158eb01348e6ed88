//! Little-endian reading and writing of small structures.

/// Appends little-endian values to a byte vector.
#[derive(Debug, Default, Clone)]
pub struct Encoder {
    bytes: Vec<u8>,
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("needs {need} bytes at offset {at}, {have} are left")]
    Short {
        /// Where the value begins.
        at: usize,
        /// How many bytes it needs.
        need: usize,
        /// How many are left.
        have: usize,
    },
    /// A value outside its range.
    #[error("value {value} at offset {at} is outside its range")]
    Range {
        /// Where the value begins.
        at: usize,
        /// The value.
        value: u64,
    },
    /// Text that is not UTF-8.
    #[error("text at offset {at} is not UTF-8")]
    Utf8 {
        /// Where the text begins.
        at: usize,
    },
    /// Bytes are left over.
    #[error("{left} bytes are left over at offset {at}")]
    Trailing {
        /// Where the rest begins.
        at: usize,
        /// How many are left.
        left: usize,
    },
}

macro_rules! put {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Appends a `", stringify!($type), "`.")]
        pub fn $name(&mut self, value: $type) -> &mut Self {
            self.bytes.extend_from_slice(&value.to_le_bytes());
            self
        }
    )*};
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Encoder::default()
    }

    /// An empty encoder with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Encoder { bytes: Vec::with_capacity(bytes) }
    }

    put!(u8: u8, u16: u16, u32: u32, u64: u64, f32: f32);

    /// Appends raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a u32 length and the bytes.
    ///
    /// # Panics
    ///
    /// With 4 GiB or more; limits keep every counted field far below.
    pub fn counted(&mut self, bytes: &[u8]) -> &mut Self {
        let len = u32::try_from(bytes.len()).expect("limits keep counted fields below 4 GiB");
        self.u32(len).bytes(bytes)
    }

    /// Appends zeros until the length is a multiple of `align`.
    pub fn pad(&mut self, align: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        self
    }

    /// Overwrites four bytes at `at`, for a checksum or a length known only later.
    ///
    /// # Panics
    ///
    /// If they were not written before.
    pub fn patch_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True without any byte.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads little-endian values from bytes; every call either advances or fails.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

macro_rules! take {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("The next `", stringify!($type), "`.")]
        ///
        /// # Errors
        ///
        /// [`DecodeError::Short`] at the end.
        pub fn $name(&mut self) -> Result<$type, DecodeError> {
            let mut raw = [0; size_of::<$type>()];
            raw.copy_from_slice(self.bytes(size_of::<$type>())?);
            Ok(<$type>::from_le_bytes(raw))
        }
    )*};
}

impl<'a> Decoder<'a> {
    /// Reads `bytes` from the front.
    pub fn new(bytes: &'a [u8]) -> Self {
        Decoder { bytes, at: 0 }
    }

    take!(u8: u8, u16: u16, u32: u32, u64: u64, f32: f32);

    /// The next `count` bytes, borrowed.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Short`] where fewer are left; nothing is allocated from `count`.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let (taken, _) = rest.split_at_checked(count).ok_or(DecodeError::Short {
            at: self.at,
            need: count,
            have: rest.len(),
        })?;
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Short`] at the end.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    /// A u32 length and that many bytes, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Range`] past the limit, [`DecodeError::Short`] at the end.
    pub fn counted(&mut self, limit: usize) -> Result<&'a [u8], DecodeError> {
        let at = self.at;
        let len = self.u32()? as usize;
        if len > limit {
            return Err(DecodeError::Range { at, value: len as u64 });
        }
        self.bytes(len)
    }

    /// Counted bytes that are text.
    ///
    /// # Errors
    ///
    /// As [`Decoder::counted`], and [`DecodeError::Utf8`].
    pub fn text(&mut self, limit: usize) -> Result<&'a str, DecodeError> {
        let at = self.at;
        std::str::from_utf8(self.counted(limit)?).map_err(|_| DecodeError::Utf8 { at })
    }

    /// A count of things that take at least `each` bytes: refused where the rest could not hold them.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Range`] where it could not.
    pub fn count(&mut self, each: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.u32()? as usize;
        if count.saturating_mul(each.max(1)) > self.left() {
            return Err(DecodeError::Range { at, value: count as u64 });
        }
        Ok(count)
    }

    /// Skips to the next multiple of `align` from the front.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Short`] at the end.
    pub fn skip_pad(&mut self, align: usize) -> Result<(), DecodeError> {
        let pad = self.at.next_multiple_of(align) - self.at;
        self.bytes(pad).map(|_| ())
    }

    /// A [`DecodeError::Range`] for a value just read and found wrong.
    pub fn range_error(&self, value: u64) -> DecodeError {
        DecodeError::Range { at: self.at, value }
    }

    /// Where the next read begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Trailing`] otherwise.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { at: self.at, left }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_prefix() {
        let mut encoder = Encoder::new();
        encoder.u8(1).u16(2).u32(3).u64(4).f32(0.5).counted("wörd".as_bytes()).pad(8);
        let read = |bytes: &[u8]| -> Result<(), DecodeError> {
            let mut decoder = Decoder::new(bytes);
            assert_eq!(decoder.u8()?, 1);
            assert_eq!(decoder.u16()?, 2);
            assert_eq!(decoder.u32()?, 3);
            assert_eq!(decoder.u64()?, 4);
            assert_eq!(decoder.f32()?, 0.5);
            assert_eq!(decoder.text(10)?, "wörd");
            decoder.skip_pad(8)?;
            decoder.finish()
        };
        let bytes = encoder.into_vec();
        assert_eq!(read(&bytes), Ok(()));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "prefix of {cut} bytes");
        }
        assert!(matches!(read(&[bytes, vec![0]].concat()), Err(DecodeError::Trailing { left: 1, .. })));
    }

    #[test]
    fn lengths_are_compared_not_believed() {
        let mut encoder = Encoder::new();
        encoder.u32(u32::MAX);
        let bytes = encoder.into_vec();
        assert!(matches!(Decoder::new(&bytes).counted(usize::MAX), Err(DecodeError::Short { .. })));
        assert!(matches!(Decoder::new(&bytes).counted(10), Err(DecodeError::Range { .. })));
        assert!(matches!(Decoder::new(&bytes).count(1), Err(DecodeError::Range { .. })));
        assert!(matches!(Decoder::new(&[1, 0, 0, 0, 0xff]).text(9), Err(DecodeError::Utf8 { .. })));
    }
}
