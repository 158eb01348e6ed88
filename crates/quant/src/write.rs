//! Writes the codes file, once, from front to back.
//!
//! It refuses to encode while it writes and to hold what it writes: codes are asked for once for each part of them.

use std::io::{self, Write};
use std::sync::Arc;

use nearfield_codec::{ContainerWriter, Encoder, Summary};
use nearfield_types::Slot;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use crate::format::{
    HEADER_BYTES, SECTION_CODEC, SECTION_COLD, SECTION_HEADER, SECTION_HIGH, SECTION_HOT, SECTION_LOW, TAG,
};
use crate::{CodeBuffer, CodeLayout, CodeRow, Codec, Codes, GrowingCodes, Quantizer};

/// Bytes are handed on in pieces of about this size: checksums and digests run at full speed from there on.
const PIECE_BYTES: usize = 256 << 10;

/// Why a codes file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The sink failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A code is not of the file's codec.
    #[error("the code of slot {slot} has {found} bytes, expected {expected}")]
    Code {
        /// Its slot in the file.
        slot: u32,
        /// Its bytes.
        found: usize,
        /// The bytes of a code of the file.
        expected: usize,
    },
    /// A vector has another dimension than the codec.
    #[error("the vector of slot {slot} has {found} dimensions, expected {expected}")]
    Dimension {
        /// Its slot in the file.
        slot: u32,
        /// The dimension that came.
        found: usize,
        /// The dimension of the codec.
        expected: u32,
    },
    /// A segment holds no more rows.
    #[error("the file would hold more than {SEGMENT_ROWS_MAX} slots, which is all a segment can hold")]
    Full,
}

/// Writes a file of `count` codes of `codec`; `row` gives the code of each slot, `None` for one without a vector.
///
/// `row` is asked for every slot once for each part of a code, so it should be cheap: codes are copied out of one store or
/// several (of equal codecs), in whatever order the new file is to have.
///
/// # Errors
///
/// [`WriteError`]; then what reached the sink is worthless.
///
/// # Complexity
///
/// One copy and the checksums of every byte; 256 KiB of memory.
pub fn write_codes<'c, W: Write>(
    sink: W,
    codec: &Codec,
    count: u32,
    row: impl Fn(u32) -> Option<CodeRow<'c>>,
) -> Result<(W, Summary), WriteError> {
    if count as usize > SEGMENT_ROWS_MAX {
        return Err(WriteError::Full);
    }
    let layout = codec.layout();
    let mut container = ContainerWriter::new(sink, TAG)?;
    container.section(SECTION_HEADER)?;
    container.write(&header(count, &layout))?;
    container.section(SECTION_CODEC)?;
    let mut numbers = Encoder::new();
    codec.config().encode_config(&mut numbers);
    container.write(numbers.as_slice())?;

    let mut absent = CodeBuffer::new();
    absent.set_absent(&layout);
    let mut file = File { container, layout, count, row, absent, piece: Vec::new() };
    file.part(SECTION_HIGH, layout.plane_bytes, |row| row.high)?;
    if layout.planes > 1 {
        file.part(SECTION_LOW, layout.plane_bytes, |row| row.low)?;
    }
    file.part(SECTION_HOT, layout.hot * size_of::<f32>(), |row| bytemuck::cast_slice(row.hot))?;
    if layout.cold > 0 {
        file.part(SECTION_COLD, layout.cold * size_of::<f32>(), |row| bytemuck::cast_slice(row.cold))?;
    }
    Ok(file.container.finish()?)
}

/// Encodes `rows` and writes a file of their codes. All codes are held in memory meanwhile.
///
/// # Errors
///
/// [`WriteError`].
pub fn write_rows<'r, W: Write>(
    sink: W,
    codec: &Arc<Codec>,
    rows: impl IntoIterator<Item = Option<&'r [f32]>>,
) -> Result<(W, Summary), WriteError> {
    let (mut writer, codes) = GrowingCodes::create(Arc::clone(codec));
    for row in rows {
        let (slot, expected) = (writer.len(), codec.dim());
        if let Some(row) = row.filter(|row| row.len() != expected as usize) {
            return Err(WriteError::Dimension { slot, found: row.len(), expected });
        }
        writer.push(row).ok_or(WriteError::Full)?;
    }
    write_codes(sink, codec, codes.len(), |slot| codes.row(Slot(slot)))
}

struct File<W, R> {
    container: ContainerWriter<W>,
    layout: CodeLayout,
    count: u32,
    row: R,
    /// Stands in for slots without a vector.
    absent: CodeBuffer,
    piece: Vec<u8>,
}

impl<'c, W: Write, R: Fn(u32) -> Option<CodeRow<'c>>> File<W, R> {
    /// One section: the part of each code that `part` picks, of so many bytes.
    fn part(
        &mut self,
        section: u32,
        bytes: usize,
        part: impl for<'p> Fn(CodeRow<'p>) -> &'p [u8],
    ) -> Result<(), WriteError> {
        self.container.section(section)?;
        for slot in 0..self.count {
            let row = (self.row)(slot).filter(CodeRow::is_present);
            let picked = part(row.unwrap_or(self.absent.row()));
            if picked.len() != bytes {
                let found = row.map_or(0, |row| row.bytes());
                return Err(WriteError::Code { slot, found, expected: self.layout.bytes() });
            }
            self.piece.extend_from_slice(picked);
            if self.piece.len() >= PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(self.flush()?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.container.write(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

fn header(count: u32, layout: &CodeLayout) -> [u8; HEADER_BYTES] {
    let mut header = Encoder::with_capacity(HEADER_BYTES);
    header.u32(count).u32(layout.plane_bytes as u32);
    header.u16(layout.planes as u16).u16(layout.hot as u16).u16(layout.cold as u16).u16(0);
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(header.as_slice());
    bytes
}
