//! The write-once container: every sealed file of the engine has this frame.
//!
//! ```text
//! 0            64 B header   tag[8] | zeros[52] | crc32c of the 60 bytes before
//! 64           sections, each beginning at a multiple of 64, zeros between
//! body_len     block table   u32 crc32c of each 64 KiB block of [0, body_len)
//!              section table { id u32, zero u32, offset u64, length u64 } each
//! end - 48     footer        body_len u64 | blocks u32 | sections u32 | tables_crc u32 | tag[8] | zeros[16] | crc32c of the 44 before
//! ```
//!
//! The block checksums make every byte of the body checkable alone, on first touch; the tables have their checksum in the
//! footer, the footer its own. Opening reads the header, the tables and the footer only.

use std::io::{self, Write};
use std::ops::Range;

use crate::checksum::{Crc64, crc32c};
use crate::cursor::{Decoder, Encoder};
use crate::region::Region;
use crate::tag::{FileTag, TAG_BYTES, TagError};
use crate::{Crc32c, DecodeError};

/// Bytes of a block that has its own checksum.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 48;
/// Sections begin at multiples of this.
pub const SECTION_ALIGN: usize = 64;
const SECTION_ENTRY_BYTES: usize = 24;

/// What a manifest keeps of a finished file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the whole file.
    pub length: u64,
    /// CRC-64/NVME of the whole file.
    pub crc64: u64,
    /// BLAKE3 of the whole file.
    pub blake3: [u8; 32],
    /// CRC-32C of the block and section tables, as in the footer.
    pub tables_crc: u32,
}

/// Why a container is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Not a file for this reader.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A structure ends early.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The parts do not add up to the file's length.
    #[error("file has {have} bytes, its footer accounts for {expected}")]
    Length {
        /// The file's length.
        have: u64,
        /// What the footer says.
        expected: u64,
    },
    /// Header, tables or footer are damaged.
    #[error("checksum of the {part} is {found:08x}, expected {expected:08x}")]
    Frame {
        /// Which part.
        part: &'static str,
        /// The checksum of the bytes.
        found: u32,
        /// The checksum stored.
        expected: u32,
    },
    /// A block of the body is damaged.
    #[error("block {block} (offset {offset}) is damaged: checksum {found:08x}, expected {expected:08x}")]
    Block {
        /// The number of the block.
        block: u64,
        /// Where it begins in the file.
        offset: u64,
        /// The checksum of the bytes.
        found: u32,
        /// The checksum stored.
        expected: u32,
    },
    /// A section does not lie inside the body.
    #[error("section {id} does not lie inside the body")]
    Section {
        /// Its id.
        id: u32,
    },
    /// A section that must be there is not.
    #[error("section {id} is missing")]
    Missing {
        /// Its id.
        id: u32,
    },
}

/// Streams one container into `W`, computing all its checksums on the way.
#[derive(Debug)]
pub struct ContainerWriter<W> {
    sink: W,
    tag: FileTag,
    at: u64,
    block: Crc32c,
    blocks: Vec<u32>,
    sections: Vec<(u32, u64, u64)>,
    crc64: Crc64,
    blake3: Box<blake3::Hasher>,
}

impl<W: Write> ContainerWriter<W> {
    /// Begins a file of this kind.
    ///
    /// # Errors
    ///
    /// What `sink` returns.
    pub fn new(sink: W, tag: FileTag) -> io::Result<Self> {
        let mut writer = ContainerWriter {
            sink,
            tag,
            at: 0,
            block: Crc32c::new(),
            blocks: Vec::new(),
            sections: Vec::new(),
            crc64: Crc64::new(),
            blake3: Box::new(blake3::Hasher::new()),
        };
        let mut header = Encoder::with_capacity(HEADER_BYTES);
        header.bytes(&tag.encode()).bytes(&[0; HEADER_BYTES - TAG_BYTES - 4]);
        let crc = crc32c(header.as_slice());
        header.u32(crc);
        writer.body(header.as_slice())?;
        Ok(writer)
    }

    /// Begins the section `id`; what is written from now on belongs to it.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn section(&mut self, id: u32) -> io::Result<()> {
        self.end_section();
        let pad = self.at.next_multiple_of(SECTION_ALIGN as u64) - self.at;
        self.body(&[0; SECTION_ALIGN][..pad as usize])?;
        self.sections.push((id, self.at, 0));
        Ok(())
    }

    /// Writes bytes into the current section.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.body(bytes)
    }

    /// Ends the file; returns the sink and what a manifest keeps.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn finish(mut self) -> io::Result<(W, Summary)> {
        self.end_section();
        if !self.at.is_multiple_of(BLOCK_BYTES as u64) {
            self.blocks.push(self.block.value());
        }
        let mut tables =
            Encoder::with_capacity(self.blocks.len() * 4 + self.sections.len() * SECTION_ENTRY_BYTES);
        for &crc in &self.blocks {
            tables.u32(crc);
        }
        for &(id, offset, length) in &self.sections {
            tables.u32(id).u32(0).u64(offset).u64(length);
        }
        let tables_crc = crc32c(tables.as_slice());
        let mut footer = Encoder::with_capacity(FOOTER_BYTES);
        footer.u64(self.at).u32(self.blocks.len() as u32).u32(self.sections.len() as u32).u32(tables_crc);
        footer.bytes(&self.tag.encode()).bytes(&[0; 16]);
        let crc = crc32c(footer.as_slice());
        footer.u32(crc);
        let body_len = self.at;
        for part in [tables.as_slice(), footer.as_slice()] {
            self.digest(part);
            self.sink.write_all(part)?;
        }
        let summary = Summary {
            length: body_len + (tables.len() + footer.len()) as u64,
            crc64: self.crc64.value(),
            blake3: *self.blake3.finalize().as_bytes(),
            tables_crc,
        };
        Ok((self.sink, summary))
    }

    fn end_section(&mut self) {
        if let Some((_, offset, length)) = self.sections.last_mut() {
            *length = self.at - *offset;
        }
    }

    fn body(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.digest(bytes);
        self.sink.write_all(bytes)?;
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - (self.at % BLOCK_BYTES as u64) as usize;
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.update(part);
            self.at += part.len() as u64;
            if part.len() == room {
                self.blocks.push(std::mem::take(&mut self.block).value());
            }
            bytes = rest;
        }
        Ok(())
    }

    fn digest(&mut self, bytes: &[u8]) {
        self.crc64.update(bytes);
        self.blake3.update(bytes);
    }
}

/// An open container: its frame has been checked, its body has not.
#[derive(Clone, Debug)]
pub struct Container {
    region: Region,
    tag: FileTag,
    body_len: u64,
    sections: Vec<(u32, Range<u64>)>,
    tables_crc: u32,
}

impl Container {
    /// Checks header, tables and footer of `region` as a file of the kind `tag`. O(size / 64 KiB).
    ///
    /// # Errors
    ///
    /// [`ContainerError`]: what is wrong and where.
    pub fn open(region: Region, tag: FileTag) -> Result<Container, ContainerError> {
        let found = tag.check(&region)?;
        let mut header = Decoder::new(&region);
        let covered = header.bytes(HEADER_BYTES - 4)?;
        check_frame("header", covered, header.u32()?)?;

        let footer_at = region.len().saturating_sub(FOOTER_BYTES);
        let mut footer = Decoder::new(&region[footer_at..]);
        let covered = footer.clone().bytes(FOOTER_BYTES - 4)?;
        let (body_len, blocks, sections) = (footer.u64()?, footer.u32()?, footer.u32()?);
        let tables_crc = footer.u32()?;
        footer.bytes(TAG_BYTES + 16)?;
        check_frame("footer", covered, footer.u32()?)?;

        let tables_len = u64::from(blocks) * 4 + u64::from(sections) * SECTION_ENTRY_BYTES as u64;
        let expected = body_len.saturating_add(tables_len).saturating_add(FOOTER_BYTES as u64);
        let have = region.len() as u64;
        if expected != have || u64::from(blocks) != body_len.div_ceil(BLOCK_BYTES as u64) {
            return Err(ContainerError::Length { have, expected });
        }
        let tables = &region[body_len as usize..footer_at];
        check_frame("tables", tables, tables_crc)?;
        let sections = read_sections(&tables[blocks as usize * 4..], body_len)?;
        Ok(Container { tag: found, body_len, sections, tables_crc, region })
    }

    /// The bytes of the whole file.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The tag found in the file.
    pub fn tag(&self) -> FileTag {
        self.tag
    }

    /// Bytes covered by the block table: header and sections.
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// CRC-32C of the tables, to be compared with the manifest's.
    pub fn tables_crc(&self) -> u32 {
        self.tables_crc
    }

    /// Where the section `id` lies in the file.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Missing`].
    pub fn section(&self, id: u32) -> Result<Range<u64>, ContainerError> {
        let found = self.sections.iter().find(|(known, _)| *known == id);
        found.map(|(_, range)| range.clone()).ok_or(ContainerError::Missing { id })
    }

    /// How many blocks the body has.
    pub fn blocks(&self) -> u64 {
        self.body_len.div_ceil(BLOCK_BYTES as u64)
    }

    /// Checks one block of the body. O(64 KiB).
    ///
    /// # Errors
    ///
    /// [`ContainerError::Block`], also for a block past the end.
    pub fn verify_block(&self, block: u64) -> Result<(), ContainerError> {
        let offset = block.saturating_mul(BLOCK_BYTES as u64);
        let end = offset.saturating_add(BLOCK_BYTES as u64).min(self.body_len);
        let bytes = self.region.get(offset as usize..end as usize).unwrap_or_default();
        let found = crc32c(bytes);
        let table = &self.region[self.body_len as usize..];
        let at = (block as usize).saturating_mul(4);
        let expected = match table.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            Some(raw) if block < self.blocks() => u32::from_le_bytes(*raw),
            _ => return Err(ContainerError::Block { block, offset, found, expected: 0 }),
        };
        if found != expected {
            return Err(ContainerError::Block { block, offset, found, expected });
        }
        Ok(())
    }

    /// Checks every block of the body. O(size).
    ///
    /// # Errors
    ///
    /// The first damaged block.
    pub fn verify_all(&self) -> Result<(), ContainerError> {
        (0..self.blocks()).try_for_each(|block| self.verify_block(block))
    }
}

fn check_frame(part: &'static str, covered: &[u8], expected: u32) -> Result<(), ContainerError> {
    match crc32c(covered) {
        found if found == expected => Ok(()),
        found => Err(ContainerError::Frame { part, found, expected }),
    }
}

fn read_sections(table: &[u8], body_len: u64) -> Result<Vec<(u32, Range<u64>)>, ContainerError> {
    let mut decoder = Decoder::new(table);
    let mut sections = Vec::with_capacity(table.len() / SECTION_ENTRY_BYTES);
    while decoder.left() > 0 {
        let (id, _zero, offset, length) = (decoder.u32()?, decoder.u32()?, decoder.u64()?, decoder.u64()?);
        let end = offset.checked_add(length).ok_or(ContainerError::Section { id })?;
        if end > body_len || !offset.is_multiple_of(SECTION_ALIGN as u64) {
            return Err(ContainerError::Section { id });
        }
        sections.push((id, offset..end));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: FileTag = FileTag::new(*b"NFtt", 1, 1);

    fn sample(len: usize) -> (Vec<u8>, Summary) {
        let mut writer = ContainerWriter::new(Vec::new(), TAG).unwrap();
        writer.section(1).unwrap();
        writer.write(&[9; 100]).unwrap();
        writer.section(2).unwrap();
        let body: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        for part in body.chunks(1000) {
            writer.write(part).unwrap();
        }
        writer.finish().unwrap()
    }

    fn check(bytes: Vec<u8>) -> Result<Container, ContainerError> {
        let file = Container::open(Region::from(bytes), TAG)?;
        file.verify_all()?;
        Ok(file)
    }

    #[test]
    fn sections_come_back() {
        for len in [0, 1, BLOCK_BYTES - 192, BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
            let (bytes, summary) = sample(len);
            assert_eq!(summary.length, bytes.len() as u64);
            assert_eq!(summary.crc64, crate::crc64(&bytes));
            assert_eq!(summary.blake3, *blake3::hash(&bytes).as_bytes());
            let file = check(bytes).unwrap();
            assert_eq!(file.tables_crc(), summary.tables_crc);
            let range = file.section(2).unwrap();
            assert_eq!((range.end - range.start) as usize, len);
            assert_eq!(range.start % 64, 0);
            assert_eq!(file.section(3), Err(ContainerError::Missing { id: 3 }));
            assert!(file.verify_block(file.blocks()).is_err());
        }
    }

    #[test]
    fn every_flipped_byte_and_every_prefix_is_detected() {
        let (bytes, _) = sample(300);
        for at in 0..bytes.len() {
            for bit in [0, 7] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(check(damaged).is_err(), "byte {at} bit {bit}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(check(bytes[..cut].to_vec()).is_err(), "prefix {cut}");
        }
    }
}
