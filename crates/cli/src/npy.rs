//! Reads NumPy's `.npy` files: rows of float32 or float16, little-endian, C order.
//!
//! **It refuses** every other element type, Fortran order, big-endian bytes, Python objects and more than two axes, each with an error
//! that says how to convert; it never maps a file and knows nothing of points or collections.
//!
//! # Invariants
//!
//! 1. [`Header::parse`] is a pure function of bytes; nothing is allocated from a number in them.
//! 2. A [`Reader`] exists only over a source whose length is exactly what its header promises.
//! 3. A row that is handed out holds only finite numbers.

use std::io::{self, Read, Seek, SeekFrom};

use half::f16;
use half::slice::HalfFloatSliceExt;
use nearfield::limits::DIMENSION_MAX;

/// Most bytes of a header that is read; NumPy itself writes 128 for a plain array.
pub const HEADER_BYTES_MAX: usize = 65_536;

/// The first bytes of every file.
const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// About as many bytes as one read asks for.
const CHUNK_BYTES: usize = 256 << 10;

/// Why an array is refused.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The magic bytes are missing.
    #[error("it is no .npy file: the first six bytes are not \\x93NUMPY")]
    Magic,
    /// A format version nobody has written yet.
    #[error("format version {major}.{minor} is not read: it must be 1.0, 2.0 or 3.0")]
    Version {
        /// The first number.
        major: u8,
        /// The second number.
        minor: u8,
    },
    /// The header claims to be huge.
    #[error("the header has {bytes} bytes: at most {HEADER_BYTES_MAX} are read")]
    HeaderLength {
        /// The length it claims.
        bytes: u32,
    },
    /// The file ends inside the header.
    #[error("the file ends inside its header, after {bytes} bytes")]
    HeaderCut {
        /// The length of the file.
        bytes: usize,
    },
    /// The header is not the dictionary it must be.
    #[error("the header is damaged at byte {at}: {expected} was expected")]
    HeaderText {
        /// The offset in the file.
        at: usize,
        /// What had to stand there.
        expected: &'static str,
    },
    /// A key of the header is missing.
    #[error("the header lacks the key '{key}'")]
    HeaderKey {
        /// The key.
        key: &'static str,
    },
    /// Not float32 or float16.
    #[error(
        "the element type (descr) is {descr}: float32 ('<f4') and float16 ('<f2') are read; save array.astype('<f4') instead"
    )]
    Element {
        /// What the header says, cut to 40 characters.
        descr: String,
    },
    /// Columns first.
    #[error(
        "fortran_order is True: rows must lie one after another; save numpy.ascontiguousarray(array) instead"
    )]
    Fortran,
    /// Not one vector or a table of them.
    #[error("the shape has {axes} axes: it must be (rows, dimension), or (dimension,) for one vector")]
    Axes {
        /// How many there are.
        axes: usize,
    },
    /// A dimension no vector may have.
    #[error("the dimension is {dimension}: it must be 1 to {DIMENSION_MAX}")]
    Dimension {
        /// The second number of the shape.
        dimension: u64,
    },
    /// The shape promises something else than what is there.
    #[error(
        "the shape ({rows}, {dimension}) needs {needed} bytes after the header, but {found} are there: the file is cut off or damaged"
    )]
    Length {
        /// Rows of the shape.
        rows: u64,
        /// Dimension of the shape.
        dimension: usize,
        /// Bytes the shape needs.
        needed: u128,
        /// Bytes that follow the header.
        found: u64,
    },
    /// A component that is no number.
    #[error("row {row}, component {component} is {value}: every component must be a finite number")]
    NotFinite {
        /// The row, from 0.
        row: u64,
        /// The component, from 0.
        component: usize,
        /// What stands there.
        value: f32,
    },
    /// The file system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The element type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `<f2`.
    F16,
    /// `<f4`.
    F32,
}

impl Element {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Element::F16 => 2,
            Element::F32 => 4,
        }
    }
}

/// What the header of an array says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The element type.
    pub element: Element,
    /// How many rows there are; 1 for an array with one axis.
    pub rows: u64,
    /// Components of each row, 1 to [`DIMENSION_MAX`].
    pub dimension: usize,
    /// Where the first row begins in the file.
    pub data_offset: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`, which may go on beyond it.
    ///
    /// # Errors
    ///
    /// All of [`NpyError`] but `Length`, `NotFinite` and `Io`.
    pub fn parse(bytes: &[u8]) -> Result<Header, NpyError> {
        let cut = NpyError::HeaderCut { bytes: bytes.len() };
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(NpyError::Magic);
        }
        let &[_, _, _, _, _, _, major, minor, a, b, ref rest @ ..] = bytes else { return Err(cut) };
        let (length, start) = match (major, minor, rest) {
            (1, 0, _) => (u32::from(u16::from_le_bytes([a, b])), 10),
            (2 | 3, 0, &[c, d, ..]) => (u32::from_le_bytes([a, b, c, d]), 12),
            (2 | 3, 0, _) => return Err(cut),
            _ => return Err(NpyError::Version { major, minor }),
        };
        if length as usize > HEADER_BYTES_MAX {
            return Err(NpyError::HeaderLength { bytes: length });
        }
        let end = start + length as usize;
        let text = bytes.get(start..end).ok_or(cut)?;
        Dictionary::read(text, start)?.header(end)
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.dimension * self.element.bytes()
    }

    /// Bytes of all rows, as promised by the shape.
    pub fn data_bytes(&self) -> u128 {
        u128::from(self.rows) * self.row_bytes() as u128
    }
}

/// The three values of a header, as text before it is judged.
#[derive(Default)]
struct Dictionary {
    descr: Option<String>,
    fortran: Option<bool>,
    shape: Option<([u64; 2], usize)>,
}

impl Dictionary {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`; `offset` is where `text` begins in the file.
    fn read(text: &[u8], offset: usize) -> Result<Dictionary, NpyError> {
        let mut cursor = Cursor { text, at: 0, offset };
        let mut found = Dictionary::default();
        cursor.expect(b'{', "'{'")?;
        while !cursor.take(b'}') {
            let key = cursor.string("a quoted key or '}'")?;
            cursor.expect(b':', "':'")?;
            match key {
                b"descr" => found.descr = Some(cursor.descr()?),
                b"fortran_order" => found.fortran = Some(cursor.boolean()?),
                b"shape" => found.shape = Some(cursor.shape()?),
                _ => return Err(cursor.damaged("'descr', 'fortran_order' or 'shape'")),
            }
            if !cursor.take(b',') {
                cursor.expect(b'}', "',' or '}'")?;
                break;
            }
        }
        cursor.skip_space();
        if cursor.at == text.len() { Ok(found) } else { Err(cursor.damaged("the end of the header")) }
    }

    fn header(self, data_offset: usize) -> Result<Header, NpyError> {
        let element = match self.descr.ok_or(NpyError::HeaderKey { key: "descr" })?.as_str() {
            "'<f4'" => Element::F32,
            "'<f2'" => Element::F16,
            other => return Err(NpyError::Element { descr: other.to_owned() }),
        };
        let fortran = self.fortran.ok_or(NpyError::HeaderKey { key: "fortran_order" })?;
        let (rows, dimension) = match self.shape.ok_or(NpyError::HeaderKey { key: "shape" })? {
            ([dimension, _], 1) => (1, dimension),
            ([rows, dimension], 2) => (rows, dimension),
            (_, axes) => return Err(NpyError::Axes { axes }),
        };
        if fortran {
            return Err(NpyError::Fortran);
        }
        match usize::try_from(dimension) {
            Ok(dimension @ 1..=DIMENSION_MAX) => Ok(Header { element, rows, dimension, data_offset }),
            _ => Err(NpyError::Dimension { dimension }),
        }
    }
}

/// A place in the header's text.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn damaged(&self, expected: &'static str) -> NpyError {
        NpyError::HeaderText { at: self.offset + self.at, expected }
    }

    fn skip_space(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let here = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), NpyError> {
        if self.take(byte) { Ok(()) } else { Err(self.damaged(expected)) }
    }

    /// A string in either kind of quotes, without escapes: none of the keys or types needs one.
    fn string(&mut self, expected: &'static str) -> Result<&'a [u8], NpyError> {
        self.skip_space();
        let (quote, rest) = match &self.text[self.at..] {
            [quote @ (b'\'' | b'"'), rest @ ..] => (*quote, rest),
            _ => return Err(self.damaged(expected)),
        };
        let length =
            rest.iter().position(|&byte| byte == quote).ok_or_else(|| self.damaged("a closing quote"))?;
        self.at += length + 2;
        Ok(&rest[..length])
    }

    /// The type in single quotes; a structured type, which is a list, is only named.
    fn descr(&mut self) -> Result<String, NpyError> {
        self.skip_space();
        if self.text.get(self.at) == Some(&b'[') {
            return Err(NpyError::Element { descr: "a list of fields".to_owned() });
        }
        let text = String::from_utf8_lossy(self.string("a quoted element type")?).into_owned();
        Ok(format!("'{}'", text.chars().take(40).collect::<String>().escape_debug()))
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        self.skip_space();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.damaged("True or False"))
    }

    /// The first two numbers of a tuple and how many there are.
    fn shape(&mut self) -> Result<([u64; 2], usize), NpyError> {
        let (mut shape, mut axes) = ([0; 2], 0);
        self.expect(b'(', "'('")?;
        while !self.take(b')') {
            let number = self.number()?;
            if let Some(place) = shape.get_mut(axes) {
                *place = number;
            }
            axes += 1;
            if !self.take(b',') {
                self.expect(b')', "',' or ')'")?;
                break;
            }
        }
        Ok((shape, axes))
    }

    fn number(&mut self) -> Result<u64, NpyError> {
        self.skip_space();
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&self.text[self.at..self.at + digits])
            .ok()
            .and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| self.damaged("a number of at most 64 bits"))?;
        self.at += digits;
        Ok(number)
    }
}

/// The rows of an array, one after another.
pub struct Reader<R> {
    source: R,
    header: Header,
    /// Rows read from the source so far.
    fetched: u64,
    /// Whole rows as they stand in the file, and how many of their bytes were handed out.
    chunk: Vec<u8>,
    used: usize,
    halves: Vec<f16>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the header and compares the length of `source` with it.
    ///
    /// # Errors
    ///
    /// All of [`NpyError`] but `NotFinite`.
    pub fn new(mut source: R) -> Result<Self, NpyError> {
        let length = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        let mut head = Vec::new();
        source.by_ref().take((HEADER_BYTES_MAX + 12) as u64).read_to_end(&mut head)?;
        let header = Header::parse(&head)?;
        let (needed, found) = (header.data_bytes(), length.saturating_sub(header.data_offset as u64));
        if needed != u128::from(found) {
            let Header { rows, dimension, .. } = header;
            return Err(NpyError::Length { rows, dimension, needed, found });
        }
        let mut reader = Reader {
            source,
            header,
            fetched: 0,
            chunk: Vec::new(),
            used: 0,
            halves: vec![f16::ZERO; header.dimension],
        };
        reader.seek(0)?;
        Ok(reader)
    }

    /// What the header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Makes `row` the next one; at or beyond the last one nothing follows.
    ///
    /// # Errors
    ///
    /// `Io` if the source cannot seek.
    pub fn seek(&mut self, row: u64) -> Result<(), NpyError> {
        let row = row.min(self.header.rows);
        // No overflow: the length of the source was compared with the shape, so every row lies below 2^64.
        let offset = self.header.data_offset as u64 + row * self.header.row_bytes() as u64;
        self.source.seek(SeekFrom::Start(offset))?;
        self.fetched = row;
        self.chunk.clear();
        self.used = 0;
        Ok(())
    }

    /// The next row as float32, or nothing after the last.
    ///
    /// # Errors
    ///
    /// `NotFinite` for NaN and infinities; `Io`, also where the file became shorter meanwhile.
    pub fn next_row(&mut self) -> Result<Option<Vec<f32>>, NpyError> {
        let row_bytes = self.header.row_bytes();
        if self.used == self.chunk.len() && !self.fetch()? {
            return Ok(None);
        }
        let left = ((self.chunk.len() - self.used) / row_bytes) as u64;
        let bytes = &self.chunk[self.used..self.used + row_bytes];
        let row = match self.header.element {
            Element::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&component| f32::from_le_bytes(component))
                .collect::<Vec<f32>>(),
            Element::F16 => {
                for (half, &component) in self.halves.iter_mut().zip(bytes.as_chunks().0) {
                    *half = f16::from_le_bytes(component);
                }
                let mut row = vec![0.0; self.header.dimension];
                self.halves.convert_to_f32_slice(&mut row);
                row
            }
        };
        if let Some((component, value)) = first_not_finite(&row) {
            return Err(NpyError::NotFinite { row: self.fetched - left, component, value });
        }
        self.used += row_bytes;
        Ok(Some(row))
    }

    /// Reads some more whole rows; false after the last one.
    fn fetch(&mut self) -> Result<bool, NpyError> {
        let row_bytes = self.header.row_bytes();
        let rows = ((CHUNK_BYTES / row_bytes).max(1) as u64).min(self.header.rows - self.fetched);
        self.used = 0;
        // At most CHUNK_BYTES or one row, which DIMENSION_MAX bounds.
        self.chunk.resize(rows as usize * row_bytes, 0);
        if let Err(error) = self.source.read_exact(&mut self.chunk) {
            self.chunk.clear();
            return Err(error.into());
        }
        self.fetched += rows;
        Ok(rows > 0)
    }
}

/// The first component that is NaN or infinite, if there is one.
pub(crate) fn first_not_finite(row: &[f32]) -> Option<(usize, f32)> {
    // Without an early exit the compiler turns the common case into a few vector instructions.
    let any = row.iter().fold(false, |any, component| any | !component.is_finite());
    if !any {
        return None;
    }
    row.iter().copied().enumerate().find(|(_, component)| !component.is_finite())
}

#[cfg(test)]
mod tests;
