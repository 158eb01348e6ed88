//! The graph file: its layout, and writing it. Reading is the view's business.
//!
//! The file is a container (see `nearfield_codec`) with these sections, each beginning at a multiple of 64:
//!
//! ```text
//! section 1  header       60 bytes: what the other sections hold
//! section 2  ground       slots * stride u32: the level-0 rows, `slot + 1` each, 0 where a place is empty; stride is 2m rounded up to 16
//! section 3  upper slots  u32 each, ascending: the slots that stand above level 0
//! section 4  upper levels u8 each: the highest level of each of them
//! section 5  upper rows   rows * m u32: of each of them the rows of level 1, 2, …, coded as on level 0
//! section 6  duplicates   { slot u32, next u32 } each, ascending by slot: the chains of slots with equal vectors
//! section 7  notes        at most 64 KiB of the owner's, which mean nothing here
//! ```
//!
//! Written once; every byte lies in a block with its own checksum.

use std::io::{self, Write};

use nearfield_codec::{ContainerWriter, Encoder, FileTag, Summary};
use nearfield_types::Slot;

use crate::Params;
use crate::graph::Graph;
use crate::links::Links;
use crate::params::Geometry;

/// The kind of file.
pub const MAGIC: [u8; 4] = *b"NFhg";
/// The oldest reader that understands what this program writes.
pub const READ_VERSION: u16 = 1;
/// The version of this program.
pub const WRITE_VERSION: u16 = 1;
/// The tag at the start of the file.
pub const TAG: FileTag = FileTag::new(MAGIC, READ_VERSION, WRITE_VERSION);

/// The header.
pub const SECTION_HEADER: u32 = 1;
/// The rows of level 0.
pub const SECTION_GROUND: u32 = 2;
/// The slots above level 0.
pub const SECTION_UPPER_SLOTS: u32 = 3;
/// Their levels.
pub const SECTION_UPPER_LEVELS: u32 = 4;
/// Their rows.
pub const SECTION_UPPER_ROWS: u32 = 5;
/// The chains of equal vectors.
pub const SECTION_DUPLICATES: u32 = 6;
/// What the owner of the graph wants to find beside it.
pub const SECTION_NOTES: u32 = 7;
/// Most bytes of the notes.
pub const NOTES_MAX: usize = 64 << 10;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 60;
/// Places of a level-0 row are a multiple of this: one cache line.
pub const STRIDE_ALIGN: u32 = 16;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) params: Params,
    pub(crate) slots: u32,
    pub(crate) linked: u32,
    pub(crate) top: u32,
    pub(crate) entry: Option<u32>,
    pub(crate) upper_slots: u32,
    pub(crate) upper_rows: u32,
    pub(crate) duplicates: u32,
}

impl Header {
    /// Places of a level-0 row in the file.
    pub(crate) fn stride(m: u32) -> u32 {
        (2 * m).next_multiple_of(STRIDE_ALIGN)
    }

    fn encode(&self) -> Encoder {
        let mut bytes = Encoder::with_capacity(HEADER_BYTES);
        let params = self.params;
        bytes.u32(params.m()).u32(params.ef_construction()).u32(params.alpha().to_bits());
        bytes.u32(u32::from(params.geometry() == Geometry::Product));
        bytes.u64(params.seed()).u32(self.slots).u32(self.linked).u32(self.top);
        bytes.u32(self.entry.map_or(0, |slot| slot + 1));
        bytes.u32(self.upper_slots).u32(self.upper_rows).u32(self.duplicates).u32(0).u32(0);
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        bytes
    }
}

/// Writes the graph as it stands to `sink`, and beside it `notes`, which [`GraphView::notes`](crate::GraphView::notes) gives back.
/// Nobody links meanwhile.
///
/// # Errors
///
/// What the sink returns; `InvalidInput` for notes longer than [`NOTES_MAX`].
///
/// # Complexity
///
/// O(n m), one pass; a few KiB of memory.
pub fn write<W: Write>(graph: &Graph, notes: &[u8], sink: W) -> io::Result<(W, Summary)> {
    if notes.len() > NOTES_MAX {
        let text = format!("notes of {} bytes: at most {NOTES_MAX} fit", notes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let slots = graph.len();
    let mut uppers = Vec::new();
    let mut chains = Vec::new();
    for slot in 0..slots {
        let level = graph.rows.level(slot);
        if level > 0 {
            uppers.push((slot, level));
        }
        if let Some(next) = Links::next_duplicate(graph, slot) {
            chains.push((slot, next));
        }
    }
    let top = graph.top();
    let header = Header {
        params: graph.params(),
        slots,
        linked: graph.linked(),
        top,
        entry: graph.entry(top),
        upper_slots: uppers.len() as u32,
        upper_rows: uppers.iter().map(|(_, level)| level).sum(),
        duplicates: chains.len() as u32,
    };
    let mut file = ContainerWriter::new(sink, TAG)?;
    file.section(SECTION_HEADER)?;
    file.write(header.encode().as_slice())?;
    file.section(SECTION_GROUND)?;
    let mut bytes = Encoder::new();
    for slot in 0..slots {
        row(graph, slot, 0, Header::stride(graph.params().m()), &mut bytes);
        flush(&mut file, &mut bytes, FLUSH_BYTES)?;
    }
    flush(&mut file, &mut bytes, 0)?;
    file.section(SECTION_UPPER_SLOTS)?;
    uppers.iter().for_each(|&(slot, _)| {
        bytes.u32(slot);
    });
    flush(&mut file, &mut bytes, 0)?;
    file.section(SECTION_UPPER_LEVELS)?;
    uppers.iter().for_each(|&(_, level)| {
        bytes.u8(level as u8);
    });
    flush(&mut file, &mut bytes, 0)?;
    file.section(SECTION_UPPER_ROWS)?;
    for &(slot, level) in &uppers {
        for level in 1..=level {
            row(graph, slot, level, graph.params().m(), &mut bytes);
        }
        flush(&mut file, &mut bytes, FLUSH_BYTES)?;
    }
    flush(&mut file, &mut bytes, 0)?;
    file.section(SECTION_DUPLICATES)?;
    for &(slot, next) in &chains {
        bytes.u32(slot).u32(next);
    }
    flush(&mut file, &mut bytes, 0)?;
    file.section(SECTION_NOTES)?;
    file.write(notes)?;
    file.finish()
}

const FLUSH_BYTES: usize = 256 << 10;

/// Hands on what has gathered, once it is more than `above` bytes.
fn flush<W: Write>(file: &mut ContainerWriter<W>, bytes: &mut Encoder, above: usize) -> io::Result<()> {
    if bytes.len() > above {
        file.write(std::mem::take(bytes).as_slice())?;
    }
    Ok(())
}

/// Appends one row of `stride` places.
fn row(graph: &Graph, slot: u32, level: u32, stride: u32, bytes: &mut Encoder) {
    let neighbours = graph.neighbours(Slot(slot), level);
    for &neighbour in &neighbours {
        bytes.u32(neighbour.0 + 1);
    }
    for _ in neighbours.len() as u32..stride {
        bytes.u32(0);
    }
}
