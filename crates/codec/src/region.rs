//! Immutable bytes that are cheap to clone and to cut.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

/// Immutable bytes, mapped or on the heap; a clone shares them.
///
/// The start of a whole region is aligned to 64 bytes or more whoever made it, so sections that begin at multiples of 64
/// may be cast to wider integers and floats.
#[derive(Clone)]
pub struct Region {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Region {
    /// A region over bytes that someone else owns, for example a file map. They must never change while the region lives.
    pub fn from_owner(owner: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        let range = 0..(*owner).as_ref().len();
        Region { owner, range }
    }

    /// The part `range` of this region, sharing the bytes; `None` outside.
    pub fn slice(&self, range: Range<usize>) -> Option<Region> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Region { owner: Arc::clone(&self.owner), range: start..start + range.len() })
    }
}

impl Deref for Region {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl From<Vec<u8>> for Region {
    /// Copies into aligned memory.
    fn from(bytes: Vec<u8>) -> Self {
        Region::from(AlignedBytes::from(bytes.as_slice()))
    }
}

impl From<AlignedBytes> for Region {
    fn from(bytes: AlignedBytes) -> Self {
        Region::from_owner(Arc::new(bytes))
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes)", self.range.len())
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Heap bytes whose start is aligned to 64, as a file map's would be.
#[derive(Clone, Default)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        AlignedBytes { lines: vec![Line([0; 64]); len.div_ceil(64)], len }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut aligned = AlignedBytes::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_and_stay_inside() {
        let region = Region::from((0..200u8).collect::<Vec<_>>());
        assert_eq!(region.as_ptr() as usize % 64, 0);
        let part = region.slice(64..128).unwrap();
        assert_eq!((part[0], part.len()), (64, 64));
        assert_eq!(part.slice(10..20).unwrap()[0], 74);
        assert!(part.slice(0..65).is_none() && part.slice(65..65).is_none());
        #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what must be refused")]
        let reversed = part.slice(3..2);
        assert!(reversed.is_none());
        assert_eq!(Region::from(Vec::new()).len(), 0);
    }
}
