//! Reads `.fvecs` and `.bvecs` files, in which public sets of vectors are often distributed: each row a count (i32) and so many float32 or
//! bytes, little-endian.
//!
//! **It refuses** rows of different lengths, and numbers that are not finite; it never allocates from a count.
//!
//! # Invariants
//!
//! 1. A [`Reader`] exists only over a source whose length is a whole number of rows as long as the first.

use std::io::{self, Read, Seek, SeekFrom};

use nearfield::limits::DIMENSION_MAX;

use crate::npy::first_not_finite;

/// Bytes of the count before each row.
const COUNT_BYTES: usize = 4;

/// What the components are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// `.fvecs`
    F32,
    /// `.bvecs`
    U8,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum VecsError {
    /// No row at all.
    #[error("it is empty: there is no row to tell the dimension from")]
    Empty,
    /// A count outside the limits.
    #[error("row {row} says it has {found} components: it must be {expected}")]
    Count {
        /// The row.
        row: u64,
        /// Its count.
        found: i32,
        /// What it must be.
        expected: String,
    },
    /// A length that is no whole number of rows.
    #[error("it has {bytes} bytes, which is no whole number of rows of {row_bytes}")]
    Length {
        /// Bytes of the file.
        bytes: u64,
        /// Bytes of a row.
        row_bytes: u64,
    },
    /// NaN or infinite.
    #[error("row {row}: component {component} is {value}: only finite numbers can be searched")]
    NotFinite {
        /// The row.
        row: u64,
        /// Its component.
        component: usize,
        /// What it is.
        value: f32,
    },
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the rows of a file in order.
///
/// ```
/// use std::io::Cursor;
/// use nearfield_cli::vecs::{Component, Reader};
///
/// let mut rows = Reader::new(Cursor::new([2, 0, 0, 0, 7, 255]), Component::U8)?;
/// assert_eq!((rows.rows(), rows.dimension()), (1, 2));
/// assert_eq!(rows.next_row()?, Some(vec![7.0, 255.0]));
/// # Ok::<(), nearfield_cli::vecs::VecsError>(())
/// ```
pub struct Reader<R> {
    source: R,
    component: Component,
    dimension: usize,
    rows: u64,
    row: u64,
    bytes: Vec<u8>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the first count and compares the length of `source` with it.
    ///
    /// # Errors
    ///
    /// All of [`VecsError`] but `NotFinite`.
    pub fn new(mut source: R, component: Component) -> Result<Self, VecsError> {
        let bytes = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        if bytes < COUNT_BYTES as u64 {
            return Err(VecsError::Empty);
        }
        let mut count = [0; COUNT_BYTES];
        source.read_exact(&mut count)?;
        let found = i32::from_le_bytes(count);
        let dimension = usize::try_from(found).ok().filter(|count| (1..=DIMENSION_MAX).contains(count));
        let expected = || format!("1 to {DIMENSION_MAX}");
        let dimension = dimension.ok_or_else(|| VecsError::Count { row: 0, found, expected: expected() })?;
        let row_bytes = (COUNT_BYTES + dimension * component.bytes()) as u64;
        if bytes % row_bytes != 0 {
            return Err(VecsError::Length { bytes, row_bytes });
        }
        let mut reader =
            Reader { source, component, dimension, rows: bytes / row_bytes, row: 0, bytes: Vec::new() };
        reader.seek(0)?;
        Ok(reader)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many components each has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Makes `row` the next one; at or beyond the last one nothing follows.
    ///
    /// # Errors
    ///
    /// `Io`.
    pub fn seek(&mut self, row: u64) -> Result<(), VecsError> {
        self.row = row.min(self.rows);
        self.source.seek(SeekFrom::Start(self.row * self.row_bytes() as u64))?;
        Ok(())
    }

    /// The next row as float32, or nothing after the last.
    ///
    /// # Errors
    ///
    /// `Count` for a row of another length, `NotFinite`, `Io`.
    pub fn next_row(&mut self) -> Result<Option<Vec<f32>>, VecsError> {
        if self.row == self.rows {
            return Ok(None);
        }
        // The dimension was compared with its limit.
        self.bytes.resize(self.row_bytes(), 0);
        self.source.read_exact(&mut self.bytes)?;
        let (count, components) = self.bytes.split_at(COUNT_BYTES);
        let found = i32::from_le_bytes(count.try_into().unwrap_or_default());
        if found as usize != self.dimension {
            let expected = format!("{}, as in row 0", self.dimension);
            return Err(VecsError::Count { row: self.row, found, expected });
        }
        let row: Vec<f32> = match self.component {
            Component::F32 => {
                components.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            Component::U8 => components.iter().map(|&byte| f32::from(byte)).collect(),
        };
        if let Some((component, value)) = first_not_finite(&row) {
            return Err(VecsError::NotFinite { row: self.row, component, value });
        }
        self.row += 1;
        Ok(Some(row))
    }

    fn row_bytes(&self) -> usize {
        COUNT_BYTES + self.dimension * self.component.bytes()
    }
}

impl Component {
    fn bytes(self) -> usize {
        match self {
            Component::F32 => 4,
            Component::U8 => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn fvecs(rows: &[&[f32]]) -> Vec<u8> {
        let row = |row: &&[f32]| {
            let mut bytes = (row.len() as i32).to_le_bytes().to_vec();
            bytes.extend(row.iter().flat_map(|x| x.to_le_bytes()));
            bytes
        };
        rows.iter().flat_map(row).collect()
    }

    #[test]
    fn rows_come_in_order_from_any_place() {
        let bytes = fvecs(&[&[1.0, 2.0], &[3.0, -4.5], &[5.0, 6.0]]);
        let mut reader = Reader::new(Cursor::new(bytes), Component::F32).unwrap();
        assert_eq!((reader.rows(), reader.dimension()), (3, 2));
        reader.seek(1).unwrap();
        assert_eq!(reader.next_row().unwrap(), Some(vec![3.0, -4.5]));
        assert_eq!(reader.next_row().unwrap(), Some(vec![5.0, 6.0]));
        assert_eq!(reader.next_row().unwrap(), None);
        reader.seek(9).unwrap();
        assert_eq!(reader.next_row().unwrap(), None);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let open =
            |bytes: Vec<u8>| Reader::new(Cursor::new(bytes), Component::F32).err().map(|e| e.to_string());
        assert!(open(Vec::new()).is_some_and(|e| e.contains("empty")));
        for count in [0, -1, i32::MAX, 65_537] {
            let error = open(count.to_le_bytes().to_vec()).unwrap();
            assert!(error.contains("must be 1 to 65536"), "{error}");
        }
        let mut cut = fvecs(&[&[1.0, 2.0]]);
        cut.pop();
        assert!(open(cut).is_some_and(|e| e.contains("no whole number of rows of 12")));
        let mut uneven = fvecs(&[&[1.0, 2.0], &[3.0, 4.0]]);
        uneven[12] = 1;
        let mut reader = Reader::new(Cursor::new(uneven), Component::F32).unwrap();
        reader.next_row().unwrap();
        assert!(reader.next_row().unwrap_err().to_string().contains("row 1 says it has 1"));
        let mut reader = Reader::new(Cursor::new(fvecs(&[&[f32::NAN]])), Component::F32).unwrap();
        assert!(matches!(reader.next_row(), Err(VecsError::NotFinite { row: 0, component: 0, .. })));
    }
}
