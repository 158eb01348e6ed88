//! Writes the rows file, once, from front to back.
//!
//! It refuses to hold the rows: they leave through the sink as they come. Only norms and presence wait for the end.

use std::io::{self, Write};

use nearfield_codec::{ContainerWriter, Encoder, Summary};
use nearfield_types::Metric;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use crate::format::{HEADER_BYTES, SECTION_HEADER, SECTION_NORMS, SECTION_PRESENCE, SECTION_ROWS, TAG};
use crate::presence::Presence;
use crate::score::inverse_norm;
use crate::{Shape, ShapeError};

/// Rows are handed on in pieces of about this size: checksums and digests run at full speed from there on.
const PIECE_BYTES: usize = 256 << 10;

/// Why a rows file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The sink failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A row does not fit the file.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A segment holds no more rows.
    #[error("the file holds {rows} rows, which is all a segment can hold")]
    Full {
        /// How many there are.
        rows: u32,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Slots, those without a vector among them.
    pub count: u32,
    /// Slots with a vector.
    pub present: u32,
    /// What a manifest keeps of the file.
    pub summary: Summary,
}

/// Streams one rows file into `W`. After an error the file is worthless and the writer of no further use.
///
/// # Complexity
///
/// One copy and the checksums of every byte; 4 bytes of memory a row for cosine, a bit a row, and 256 KiB.
pub struct RowsWriter<W> {
    container: ContainerWriter<W>,
    shape: Shape,
    piece: Vec<f32>,
    norms: Vec<f32>,
    presence: Presence,
    count: u32,
}

impl<W: Write> RowsWriter<W> {
    /// Begins a file of rows of this shape.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn new(sink: W, shape: Shape) -> io::Result<Self> {
        let mut container = ContainerWriter::new(sink, TAG)?;
        container.section(SECTION_ROWS)?;
        let (piece, norms, presence) = (Vec::new(), Vec::new(), Presence::default());
        Ok(RowsWriter { container, shape, piece, norms, presence, count: 0 })
    }

    /// Appends the vector of the next slot, or a slot without one.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn push(&mut self, row: Option<&[f32]>) -> Result<(), WriteError> {
        match row {
            Some(row) => {
                self.shape.check_dim(row)?;
                self.note(row)?;
                self.piece.extend_from_slice(row);
            }
            None => {
                self.room(1)?;
                if self.shape.metric() == Metric::Cosine {
                    self.norms.push(0.0);
                }
                self.count += 1;
                self.piece.resize(self.piece.len() + self.shape.dim() as usize, 0.0);
            }
        }
        if size_of_val(self.piece.as_slice()) >= PIECE_BYTES { Ok(self.flush()?) } else { Ok(()) }
    }

    /// Appends the vectors of the next slots, which lie one after another in `rows`.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; [`ShapeError::Dimension`] with the length of the last row where it is not whole.
    pub fn push_rows(&mut self, rows: &[f32]) -> Result<(), WriteError> {
        let whole = rows.chunks_exact(self.shape.dim() as usize);
        if !whole.remainder().is_empty() {
            self.shape.check_dim(whole.remainder())?;
        }
        self.room(whole.len())?;
        for row in whole {
            self.note(row)?;
        }
        if size_of_val(rows) < PIECE_BYTES / 4 {
            self.piece.extend_from_slice(rows);
            return if size_of_val(self.piece.as_slice()) >= PIECE_BYTES {
                Ok(self.flush()?)
            } else {
                Ok(())
            };
        }
        self.flush()?;
        for piece in rows.chunks(PIECE_BYTES / size_of::<f32>()) {
            self.container.write(bytemuck::cast_slice(piece))?;
        }
        Ok(())
    }

    /// Ends the file; returns the sink and what was written. Nothing is synced.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        self.flush()?;
        let RowsWriter { mut container, shape, norms, presence, count, .. } = self;
        if shape.metric() == Metric::Cosine {
            container.section(SECTION_NORMS)?;
            container.write(bytemuck::cast_slice(&norms))?;
        }
        let present = presence.count();
        if present < count {
            container.section(SECTION_PRESENCE)?;
            container.write(bytemuck::cast_slice(&presence.into_words(count)))?;
        }
        container.section(SECTION_HEADER)?;
        container.write(&header(shape, count, present))?;
        let (sink, summary) = container.finish()?;
        Ok((sink, Written { count, present, summary }))
    }

    /// Counts a row that has a vector and keeps what is known of it.
    fn note(&mut self, row: &[f32]) -> Result<(), WriteError> {
        self.room(1)?;
        if self.shape.metric() == Metric::Cosine {
            self.norms.push(inverse_norm(row));
        }
        self.presence.set(self.count);
        self.count += 1;
        Ok(())
    }

    fn room(&self, rows: usize) -> Result<(), WriteError> {
        if rows > SEGMENT_ROWS_MAX - self.count as usize {
            return Err(WriteError::Full { rows: self.count });
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.container.write(bytemuck::cast_slice(&self.piece))?;
        self.piece.clear();
        Ok(())
    }
}

/// Writes a whole rows file.
///
/// # Errors
///
/// [`WriteError`].
pub fn write_rows<'r, W: Write>(
    sink: W,
    shape: Shape,
    rows: impl IntoIterator<Item = Option<&'r [f32]>>,
) -> Result<(W, Written), WriteError> {
    let mut writer = RowsWriter::new(sink, shape)?;
    for row in rows {
        writer.push(row)?;
    }
    Ok(writer.finish()?)
}

fn header(shape: Shape, count: u32, present: u32) -> [u8; HEADER_BYTES] {
    let mut header = Encoder::with_capacity(HEADER_BYTES);
    header
        .u32(shape.dim())
        .u32(count)
        .u32(present)
        .u8(shape.metric().code())
        .u8(shape.element().code())
        .u16(0);
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(header.as_slice());
    bytes
}
