//! Makes the checksums in mutated bytes true again, so that what lies behind them is reached.
//!
//! It refuses to make anything else true: where the bytes are too far from a file to say where its checksums stand, it leaves
//! them alone, and decoders must cope with that too.

use nearfield_codec::{BLOCK_BYTES, Crc32c, FOOTER_BYTES, HEADER_BYTES, TAG_BYTES, crc32c};
use nearfield_wal::format::{self as wal, FrameKind, FrameSeed};

/// Bit of the control byte: checksums are made true.
pub const MEND: u8 = 1;

/// Bytes of one entry of a container's section table.
const SECTION_ENTRY_BYTES: usize = 24;
/// Where the length of a cell's value stands, and where its value begins.
const CELL_LEN: usize = TAG_BYTES + 8;
const CELL_VALUE: usize = CELL_LEN + 8;

/// Mends a container: header, block table, tables and footer. The sizes in the footer are made to fit the length, too, for a
/// mutation that inserts a byte would otherwise end there.
pub fn container(bytes: &mut [u8]) {
    let Some(footer) = bytes.len().checked_sub(FOOTER_BYTES).filter(|at| *at >= HEADER_BYTES) else { return };
    let sections = u32_at(bytes, footer + 12) as usize;
    let rest = sections.checked_mul(SECTION_ENTRY_BYTES).and_then(|table| footer.checked_sub(table));
    let Some(rest) = rest.filter(|rest| *rest >= HEADER_BYTES + 4) else { return };
    let blocks = rest.div_ceil(BLOCK_BYTES + 4);
    let body = rest - 4 * blocks;
    if body.div_ceil(BLOCK_BYTES) != blocks {
        return;
    }
    put(bytes, footer, &(body as u64).to_le_bytes());
    put(bytes, footer + 8, &(blocks as u32).to_le_bytes());
    sum(bytes, 0, HEADER_BYTES - 4);
    for block in 0..blocks {
        let start = block * BLOCK_BYTES;
        let crc = crc32c(&bytes[start..body.min(start + BLOCK_BYTES)]);
        put(bytes, body + 4 * block, &crc.to_le_bytes());
    }
    let tables = crc32c(&bytes[body..footer]);
    put(bytes, footer + 16, &tables.to_le_bytes());
    sum(bytes, footer, footer + FOOTER_BYTES - 4);
}

/// Mends a cell: the length of its value and the checksum at its end.
pub fn cell(bytes: &mut [u8]) {
    let Some(end) = bytes.len().checked_sub(4).filter(|end| *end >= CELL_VALUE) else { return };
    put(bytes, CELL_LEN, &((end - CELL_VALUE) as u64).to_le_bytes());
    sum(bytes, 0, end);
}

/// Mends an archive: the checksums of its first header and of the manifest behind it, whose length is what the header says.
pub fn archive(bytes: &mut [u8]) {
    const BLOCK: usize = 512;
    const SIZE: std::ops::Range<usize> = 124..135;
    const SUM: std::ops::Range<usize> = 148..156;
    if bytes.len() < BLOCK {
        return;
    }
    let digits = std::str::from_utf8(&bytes[SIZE]).ok();
    let length = digits.and_then(|digits| usize::from_str_radix(digits, 8).ok());
    let end = length
        .and_then(|length| BLOCK.checked_add(length))
        .filter(|end| (BLOCK + 4..=bytes.len()).contains(end));
    if let Some(end) = end {
        sum(bytes, BLOCK, end - 4);
    }
    bytes[SUM].fill(b' ');
    let total: u32 = bytes[..BLOCK].iter().map(|&byte| u32::from(byte)).sum();
    put(bytes, SUM.start, format!("{total:06o}\0 ").as_bytes());
}

/// Mends the header of a log file.
pub fn log_header(bytes: &mut [u8]) {
    if bytes.len() >= wal::HEADER_BYTES {
        sum(bytes, 0, wal::HEADER_BYTES - 4);
    }
}

/// Mends a log file: its header, each frame's checksum, each frame's note of the one before, and what a seal says of the
/// frames. With `before`, the header continues a file whose last frame has that checksum. Answers the checksum of the last
/// frame.
pub fn log_file(bytes: &mut [u8], before: Option<u32>) -> u32 {
    if bytes.len() < wal::HEADER_BYTES {
        return 0;
    }
    if let Some(before) = before {
        put(bytes, 40, &before.to_le_bytes());
    }
    sum(bytes, 0, wal::HEADER_BYTES - 4);
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&bytes[8..24]);
    let seed = FrameSeed::new(&uuid, u64_at(bytes, 24));
    let (mut at, mut last, mut frames, mut sums) =
        (wal::HEADER_BYTES, u32_at(bytes, 40), 0u64, Crc32c::new());
    while let Some(end) = frame_end(bytes, at) {
        if bytes[at + 36] == FrameKind::Seal as u8 && end - at == wal::FRAME_BYTES + wal::SEAL_BYTES {
            put(bytes, at + wal::FRAME_BYTES, &frames.to_le_bytes());
            put(bytes, at + wal::FRAME_BYTES + 8, &(at as u64).to_le_bytes());
            put(bytes, at + wal::FRAME_BYTES + 16, &sums.value().to_le_bytes());
        }
        put(bytes, at + 32, &last.to_le_bytes());
        let (head, payload) = bytes[at..end].split_at(wal::FRAME_BYTES);
        let head = head.first_chunk().expect("a frame is as long as its header at least");
        last = seed.checksum(head, [payload].into_iter());
        put(bytes, at, &last.to_le_bytes());
        sums.update(&last.to_le_bytes());
        frames += 1;
        at = end;
    }
    last
}

/// Where the frame at `at` ends, if it lies inside the bytes and is not empty space.
fn frame_end(bytes: &[u8], at: usize) -> Option<usize> {
    let head = bytes.get(at..at + wal::FRAME_BYTES)?;
    if head.iter().all(|&byte| byte == 0) {
        return None;
    }
    let len = (u32_at(bytes, at + 4) as usize).next_multiple_of(wal::ALIGN);
    let end = at + wal::FRAME_BYTES + len;
    (end <= bytes.len()).then_some(end)
}

/// Writes the CRC-32C of `from..to` behind it.
fn sum(bytes: &mut [u8], from: usize, to: usize) {
    let crc = crc32c(&bytes[from..to]);
    put(bytes, to, &crc.to_le_bytes());
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |raw| u32::from_le_bytes(*raw))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |raw| u64::from_le_bytes(*raw))
}

#[cfg(test)]
mod tests {
    use nearfield_codec::{Container, Region};
    use nearfield_wal::{End, scan};

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_damaged_container_is_whole_again_and_longer_ones_too() {
        let mut bytes = fixtures::container(3 * BLOCK_BYTES / 2);
        for (at, insert) in [(70, false), (BLOCK_BYTES + 5, true), (100, true)] {
            bytes[at] ^= 0x55;
            if insert {
                bytes.insert(at, 7);
            }
            container(&mut bytes);
            let file = Container::open(Region::from(bytes.clone()), fixtures::CONTAINER_TAG).unwrap();
            assert_eq!(file.verify_all(), Ok(()));
        }
    }

    #[test]
    fn a_damaged_cell_is_whole_again() {
        let (version, mut bytes) = fixtures::database().manifest.clone();
        bytes.insert(40, 1);
        cell(&mut bytes);
        assert_eq!(nearfield_collection::decode_cell(&bytes, version).map(<[u8]>::len), Ok(bytes.len() - 28));
    }

    #[test]
    fn damaged_log_files_are_whole_again() {
        let mut last = None;
        for file in fixtures::log_files() {
            let (whole, mut bytes) = (scan(&file).unwrap(), file.clone());
            // The checksum of the first frame, and what the second says of it.
            bytes[wal::HEADER_BYTES + 1] ^= 1;
            assert_ne!(scan(&bytes).unwrap().end, whole.end);
            last = Some(log_file(&mut bytes, last));
            let mended = scan(&bytes).unwrap();
            assert_eq!((mended.frames, mended.end), (whole.frames, whole.end));
            assert!(matches!(mended.end, End::Sealed | End::Clean));
        }
    }
}
