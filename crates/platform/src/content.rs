//! Bytes of a file in memory: growing, shared with its readers, copied only when a writer meets a reader.

use std::sync::Arc;

use nearfield_codec::{AlignedBytes, Region};

/// The bytes of one file. A clone and a [`Content::region`] are O(1) and never see later writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Room for at least `len` bytes; all beyond `len` are zeros.
    bytes: Arc<AlignedBytes>,
    len: usize,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn region(&self) -> Region {
        let whole = Region::from_owner(Arc::clone(&self.bytes) as _);
        whole.slice(0..self.len).expect("len is within the room")
    }

    /// Extends to `len` with zeros, if shorter. Amortised O(growth).
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.bytes.len() {
            let mut room = AlignedBytes::zeroed(len.max(2 * self.bytes.len()));
            room[..self.len].copy_from_slice(&self.bytes[..self.len]);
            self.bytes = Arc::new(room);
        }
        self.len = self.len.max(len);
    }

    /// Writes at `offset`, growing as needed. O(bytes), and a copy of the whole if somebody shares it.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.grow(offset + bytes.len());
            Arc::make_mut(&mut self.bytes)[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Content { bytes: Arc::new(AlignedBytes::from(bytes)), len: bytes.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_keep_what_they_saw() {
        let mut content = Content::default();
        content.write(3, b"abc");
        let (before, twin) = (content.region(), content.clone());
        content.write(4, b"X");
        content.grow(1000);
        assert_eq!((&before[..], &twin.region()[..]), (&b"\0\0\0abc"[..], &b"\0\0\0abc"[..]));
        assert_eq!((&content.region()[..7], content.len()), (&b"\0\0\0aXc\0"[..], 1000));
        content.write(2000, b"");
        content.grow(5);
        assert_eq!(content.len(), 1000);
    }
}
