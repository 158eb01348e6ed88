//! The block-verified view of a sealed container, over whatever bytes a directory gave.
//!
//! One bit per block says "checked and good". A range is handed out when the bits of all its blocks are set; missing ones are
//! checked first. When no block is left unchecked a single counter says so, and reading costs no more than the slice.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_codec::{BLOCK_BYTES, Container, ContainerError, FileTag, Region};
use nearfield_simd::prefetch;

use crate::dir::{Blob, BlobError};

const BLOCKS_PER_WORD: u64 = u64::BITS as u64;
/// Ranges asked for before they are visited, and the bytes of each: the processor goes on by itself from there.
const RANGES_AHEAD: usize = 12;
const BYTES_AHEAD: usize = 2 << 10;

/// A [`Blob`] over a [`Container`], mapped or on the heap.
///
/// # Complexity
///
/// The first touch of a block costs its checksum, O(64 KiB); later ones a bit test per block of the range; after the last
/// first touch one load per range. One bit of memory per 64 KiB.
#[derive(Debug)]
pub struct MappedBlob {
    container: Container,
    /// Bit `b % 64` of word `b / 64`: block `b` has been checked and is good. The bytes never change, so the bits publish
    /// nothing but themselves and need no ordering.
    verified: Box<[AtomicU64]>,
    /// Blocks whose bit is not set.
    unverified: AtomicU64,
}

impl MappedBlob {
    /// Checks the frame of `region`, not its body.
    ///
    /// # Errors
    ///
    /// What [`Container::open`] finds wrong.
    pub fn open(region: Region, tag: FileTag) -> Result<Self, ContainerError> {
        let container = Container::open(region, tag)?;
        let blocks = container.blocks();
        let words = (0..blocks.div_ceil(BLOCKS_PER_WORD)).map(|_| AtomicU64::new(0)).collect();
        Ok(MappedBlob { container, verified: words, unverified: AtomicU64::new(blocks) })
    }

    /// Makes sure that the blocks of `range`, which lies inside the body, are good.
    fn verify(&self, range: &Range<u64>) -> Result<(), ContainerError> {
        if self.unverified.load(Ordering::Relaxed) == 0 || range.is_empty() {
            return Ok(());
        }
        let block_bytes = BLOCK_BYTES as u64;
        (range.start / block_bytes..range.end.div_ceil(block_bytes))
            .try_for_each(|block| self.verify_block(block))
    }

    fn verify_block(&self, block: u64) -> Result<(), ContainerError> {
        let (word, bit) =
            (&self.verified[(block / BLOCKS_PER_WORD) as usize], 1 << (block % BLOCKS_PER_WORD));
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        self.container.verify_block(block)?;
        // Two may have checked the block at once; only the one that set the bit counts it.
        if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.unverified.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Blob for MappedBlob {
    fn section(&self, id: u32) -> Result<Range<u64>, BlobError> {
        Ok(self.container.section(id)?)
    }

    fn read_many(&self, ranges: &[Range<u64>], visit: &mut dyn FnMut(usize, &[u8])) -> Result<(), BlobError> {
        let body = &self.container.region()[..self.container.body_len() as usize];
        let ask = |range: &Range<u64>| {
            let end = range.end.min(range.start.saturating_add(BYTES_AHEAD as u64));
            prefetch(body.get(range.start as usize..end as usize).unwrap_or_default());
        };
        ranges.iter().take(RANGES_AHEAD).for_each(ask);
        for (i, range) in ranges.iter().enumerate() {
            ranges.get(i + RANGES_AHEAD).map(ask);
            let outside = BlobError::Outside { start: range.start, end: range.end, len: body.len() as u64 };
            let bytes = body.get(range.start as usize..range.end as usize).ok_or(outside)?;
            self.verify(range)?;
            visit(i, bytes);
        }
        Ok(())
    }

    fn verify_all(&self) -> Result<(), BlobError> {
        Ok(self.verify(&(0..self.container.body_len()))?)
    }

    fn tables_crc(&self) -> u32 {
        self.container.tables_crc()
    }

    fn file_len(&self) -> u64 {
        self.container.region().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearfield_codec::ContainerWriter;

    const TAG: FileTag = FileTag::new(*b"NFtb", 1, 1);

    /// A file of `blocks` whole blocks and a bit, with one section of bytes that tell their place.
    fn sample(blocks: usize) -> Vec<u8> {
        let mut writer = ContainerWriter::new(Vec::new(), TAG).unwrap();
        writer.section(5).unwrap();
        writer.write(&(0..blocks * BLOCK_BYTES).map(|at| (at % 253) as u8).collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap().0
    }

    fn open(bytes: &[u8]) -> MappedBlob {
        MappedBlob::open(Region::from(bytes.to_vec()), TAG).unwrap()
    }

    fn read(blob: &MappedBlob, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
        let mut out = Vec::new();
        blob.read_many(&[range], &mut |_, bytes| out.extend_from_slice(bytes))?;
        Ok(out)
    }

    #[test]
    fn ranges_come_in_order_and_aligned() {
        let bytes = sample(70);
        let blob = open(&bytes);
        let section = blob.section(5).unwrap();
        assert_eq!(section.end - section.start, 70 * BLOCK_BYTES as u64);
        let ranges = [section.clone(), 0..0, section.start + 64..section.start + 130];
        let mut seen = Vec::new();
        blob.read_many(&ranges, &mut |i, got| {
            assert_eq!(got, &bytes[ranges[i].start as usize..ranges[i].end as usize]);
            assert!(got.is_empty() || (got.as_ptr() as usize).is_multiple_of(64));
            seen.push(i);
        })
        .unwrap();
        assert_eq!(seen, [0, 1, 2]);
        assert_eq!(blob.unverified.load(Ordering::Relaxed), 0);
        assert_eq!(blob.file_len(), bytes.len() as u64);
        assert!(matches!(blob.section(6), Err(BlobError::Damaged(ContainerError::Missing { id: 6 }))));
    }

    #[test]
    fn outside_is_refused() {
        let blob = open(&sample(1));
        let len = 64 + BLOCK_BYTES as u64;
        #[expect(clippy::reversed_empty_ranges, reason = "a reversed range is what must be refused")]
        for range in [0..len + 1, len + 1..len + 1, 3..2, 0..u64::MAX, u64::MAX..u64::MAX] {
            let error = read(&blob, range.clone()).unwrap_err();
            assert!(matches!(error, BlobError::Outside { len: l, .. } if l == len), "{range:?} {error}");
        }
        assert_eq!(read(&blob, len..len).unwrap(), b"");
    }

    #[test]
    fn a_flipped_byte_is_found_on_first_touch_and_every_touch() {
        let clean = sample(2);
        let body = 64 + 2 * BLOCK_BYTES;
        for at in (0..body).step_by(97).chain([0, 63, 64, BLOCK_BYTES - 1, BLOCK_BYTES, body - 1]) {
            let mut bytes = clean.clone();
            bytes[at] ^= 0x10;
            let Ok(blob) = MappedBlob::open(Region::from(bytes), TAG) else {
                assert!(at < 64, "only the header is checked at open, not byte {at}");
                continue;
            };
            for _ in 0..2 {
                let error = read(&blob, at as u64..at as u64 + 1).unwrap_err();
                let BlobError::Damaged(ContainerError::Block { block, .. }) = error else {
                    panic!("{error}")
                };
                assert_eq!(block, (at / BLOCK_BYTES) as u64);
            }
            let good = (at / BLOCK_BYTES + 1) % 3;
            assert!(read(&blob, (good * BLOCK_BYTES) as u64..(good * BLOCK_BYTES) as u64 + 1).is_ok());
            assert!(blob.verify_all().is_err());
        }
    }

    #[test]
    fn nothing_of_a_damaged_range_is_shown() {
        let mut bytes = sample(2);
        bytes[2 * BLOCK_BYTES - 1] ^= 1;
        let blob = open(&bytes);
        let mut shown = Vec::new();
        let ranges = [0..10, 0..2 * BLOCK_BYTES as u64, 0..10];
        assert!(blob.read_many(&ranges, &mut |i, _| shown.push(i)).is_err());
        assert_eq!(shown, [0]);
    }

    #[test]
    fn threads_agree_on_the_count() {
        let blob = open(&sample(130));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| blob.verify_all().unwrap());
            }
        });
        assert_eq!(blob.unverified.load(Ordering::Relaxed), 0);
    }
}
