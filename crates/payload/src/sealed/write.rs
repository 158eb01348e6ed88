//! Writes a sealed file in one pass: rows as they come, then offsets, then the header.

use std::io::{self, Write};

use nearfield_codec::{ContainerWriter, Summary};
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use crate::format::{PACKING_RAW, PAYLOAD_TAG, ROW_ALIGN, SECTION_HEADER, SECTION_OFFSETS, SECTION_ROWS};

/// Rows are gathered to pieces of this size: the checksums run several times faster over long pieces than row by row.
const PIECE_BYTES: usize = 256 * 1024;

/// Writes rows in slot order into `sink`; returns it with what a manifest keeps of the file.
///
/// # Errors
///
/// What the sink returns, and as [`SealedWriter::push`].
///
/// # Complexity
///
/// O(bytes): a copy and the checksums. Eight bytes a row are held until the end.
///
/// ```
/// let rows: [&[u8]; 2] = [b"one row", b""];
/// let (file, summary) = nearfield_payload::write(Vec::new(), rows)?;
/// assert_eq!(file.len() as u64, summary.length);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write<W: Write, R: AsRef<[u8]>>(
    sink: W,
    rows: impl IntoIterator<Item = R>,
) -> io::Result<(W, Summary)> {
    let mut writer = SealedWriter::new(sink)?;
    rows.into_iter().try_for_each(|row| writer.push(row.as_ref()))?;
    writer.finish()
}

/// Writes rows one by one, for callers whose rows do not live long enough to be iterated.
#[derive(Debug)]
pub struct SealedWriter<W> {
    file: ContainerWriter<W>,
    piece: Vec<u8>,
    ends: Vec<u64>,
    at: u64,
}

impl<W: Write> SealedWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn new(sink: W) -> io::Result<Self> {
        let mut file = ContainerWriter::new(sink, PAYLOAD_TAG)?;
        file.section(SECTION_ROWS)?;
        Ok(SealedWriter { file, piece: Vec::with_capacity(PIECE_BYTES), ends: vec![0], at: 0 })
    }

    /// Appends the row of the next slot; empty for the empty object. The bytes are not looked into.
    ///
    /// # Errors
    ///
    /// What the sink returns, and `InvalidInput` past [`SEGMENT_ROWS_MAX`] rows.
    pub fn push(&mut self, row: &[u8]) -> io::Result<()> {
        if self.ends.len() > SEGMENT_ROWS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "payload file would have more than 2^31 - 1 rows",
            ));
        }
        if !row.is_empty() {
            let start = self.at.next_multiple_of(ROW_ALIGN as u64);
            self.put(&[0; ROW_ALIGN][..(start - self.at) as usize])?;
            self.put(row)?;
            self.at = start + row.len() as u64;
        }
        self.ends.push(self.at);
        Ok(())
    }

    /// Ends the file; returns the sink with what a manifest keeps of the file.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn finish(mut self) -> io::Result<(W, Summary)> {
        self.flush()?;
        self.file.section(SECTION_OFFSETS)?;
        for at in 0..self.ends.len() {
            let end = self.ends[at];
            self.put(&end.to_le_bytes())?;
        }
        self.flush()?;
        self.file.section(SECTION_HEADER)?;
        let count = self.ends.len() as u64 - 1;
        self.put(&count.to_le_bytes())?;
        self.put(&PACKING_RAW.to_le_bytes())?;
        self.flush()?;
        self.file.finish()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.piece.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        if bytes.len() > PIECE_BYTES {
            return self.file.write(bytes);
        }
        self.piece.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}
