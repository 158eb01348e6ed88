//! Byte formats: cursors, checksums, file tags, write-once containers and regions of immutable bytes.
//!
//! **It refuses** to open files, to know what the bytes mean, and to allocate from a number it read: a length found in bytes
//! is only compared with the bytes that are there.
//!
//! ```
//! use nearfield_codec::{ContainerWriter, Container, FileTag, Region};
//!
//! const TAG: FileTag = FileTag::new(*b"NFxx", 1, 1);
//! let mut writer = ContainerWriter::new(Vec::new(), TAG)?;
//! writer.section(7)?;
//! writer.write(b"hello")?;
//! let (bytes, summary) = writer.finish()?;
//!
//! let file = Container::open(Region::from(bytes), TAG)?;
//! assert_eq!(file.region().len() as u64, summary.length);
//! let range = file.section(7).expect("section 7 was written");
//! file.verify_all()?;
//! assert_eq!(&file.region()[range.start as usize..range.end as usize], b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//!
//! 1. Everything is little-endian, with explicit widths; the machine never reaches the bytes.
//! 2. Decoders are pure functions of bytes: they return an error or a value, and neither panic nor over-read.
//! 3. A checksum covers every byte of a container; a 64 KiB block may be checked alone.
//! 4. A file names the oldest reader that understands it (`read`) and the writer that made it (`write`).
//!
//! # Reading order
//!
//! `cursor`, `checksum`, `region`, `tag`, `container`.

mod checksum;
mod container;
mod cursor;
mod region;
mod tag;

pub use checksum::{Crc32c, Crc64, crc32c, crc64};
pub use container::{
    BLOCK_BYTES, Container, ContainerError, ContainerWriter, FOOTER_BYTES, HEADER_BYTES, SECTION_ALIGN,
    Summary,
};
pub use cursor::{DecodeError, Decoder, Encoder};
pub use region::{AlignedBytes, Region};
pub use tag::{FileTag, TAG_BYTES, TagError};
