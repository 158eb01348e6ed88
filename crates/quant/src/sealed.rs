//! Codes in a file, read in place.
//!
//! It refuses to believe the header and to check what it does not read: opening verifies the blocks of header and codec,
//! [`SealedCodes::verify`] all of them. Codes that were damaged and not verified give wrong scores, and nothing worse.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use nearfield_codec::{BLOCK_BYTES, Container, ContainerError, DecodeError, Decoder};
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use crate::format::{
    FACTOR_BYTES, SECTION_CODEC, SECTION_COLD, SECTION_HEADER, SECTION_HIGH, SECTION_HOT, SECTION_LOW,
};
use crate::rows::{Kind, SealedRows};
use crate::{CodeLayout, Codec, CodecConfig, Codes, ConfigError, Quantizer, Rows};

/// The codes of a sealed segment.
pub struct SealedCodes {
    codec: Arc<Codec>,
    layout: CodeLayout,
    container: Container,
    count: u32,
    high: Range<usize>,
    low: Range<usize>,
    hot: Range<usize>,
    cold: Range<usize>,
}

/// Why a codes file is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// It is damaged, or lacks a section.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Its header is not one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its codec is none, or not one this program knows.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The header does not fit the codec.
    #[error("codes have {field} {found}, expected {expected}")]
    Header {
        /// What differs.
        field: &'static str,
        /// What the header says.
        found: u64,
        /// What the codec needs.
        expected: u64,
    },
    /// It claims more slots than a segment can have.
    #[error("codes file has {count} slots, more than {SEGMENT_ROWS_MAX}")]
    Count {
        /// What the header says.
        count: u32,
    },
    /// A section is not as long as the header says.
    #[error("section {id} has {found} bytes, expected {expected}")]
    Section {
        /// Its id.
        id: u32,
        /// Its length.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// The bytes do not begin where numbers may.
    #[error("section {id} does not begin at a multiple of {FACTOR_BYTES} in memory")]
    Misaligned {
        /// Its id.
        id: u32,
    },
}

impl SealedCodes {
    /// Opens a codes file. Its bytes are shared, not copied.
    ///
    /// ```
    /// use nearfield_codec::{Container, Region};
    /// use nearfield_quant::{Codec, CodecConfig, Codes, ScalarConfig, SealedCodes, format, write_rows};
    /// use nearfield_types::Metric;
    ///
    /// let rows = [[0.5_f32; 48], [-0.5; 48]];
    /// let config = ScalarConfig::from_sample(48, Metric::Dot, 1.0, rows.iter().map(|row| &row[..]));
    /// let codec = std::sync::Arc::new(Codec::new(CodecConfig::Scalar(config))?);
    /// let (bytes, _) = write_rows(Vec::new(), &codec, rows.iter().map(|row| Some(&row[..])))?;
    ///
    /// let codes = SealedCodes::open(&Container::open(Region::from(bytes), format::TAG)?)?;
    /// codes.verify()?;
    /// assert_eq!((codes.len(), codes.codec().config()), (2, codec.config()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Nothing is allocated from a number in the file.
    ///
    /// # Complexity
    ///
    /// O(dim), and the checksums of the blocks of header and codec.
    pub fn open(container: &Container) -> Result<SealedCodes, OpenError> {
        let mut numbers = Decoder::new(verified(container, SECTION_CODEC)?);
        let codec = Codec::new(CodecConfig::decode_config(&mut numbers)?)?;
        numbers.finish()?;
        let layout = codec.layout();
        let count = read_header(verified(container, SECTION_HEADER)?, &layout)?;
        let section = |id, bytes: usize| section(container, id, u64::from(count) * bytes as u64);
        let high = section(SECTION_HIGH, layout.plane_bytes)?;
        let low = if layout.planes > 1 { section(SECTION_LOW, layout.plane_bytes)? } else { 0..0 };
        let hot = section(SECTION_HOT, layout.hot * FACTOR_BYTES)?;
        let cold = if layout.cold > 0 { section(SECTION_COLD, layout.cold * FACTOR_BYTES)? } else { 0..0 };
        for (id, range) in [(SECTION_HOT, &hot), (SECTION_COLD, &cold)] {
            if floats(&container.region()[range.clone()]).is_none() {
                return Err(OpenError::Misaligned { id });
            }
        }
        let container = container.clone();
        Ok(SealedCodes { codec: Arc::new(codec), layout, container, count, high, low, hot, cold })
    }

    /// Checks every block. O(bytes).
    ///
    /// # Errors
    ///
    /// The first damaged block.
    pub fn verify(&self) -> Result<(), ContainerError> {
        self.container.verify_all()
    }
}

impl fmt::Debug for SealedCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedCodes({} of {:?})", self.count, self.layout)
    }
}

impl Codes for SealedCodes {
    fn codec(&self) -> &Arc<Codec> {
        &self.codec
    }

    fn rows(&self) -> Rows<'_> {
        let bytes: &[u8] = self.container.region();
        // Alignment was seen at opening; without it every slot would be one without a vector.
        let factors = |range: &Range<usize>| floats(&bytes[range.clone()]).unwrap_or_default();
        Rows(Kind::Sealed(SealedRows {
            len: self.count,
            plane_bytes: self.layout.plane_bytes,
            hot_count: self.layout.hot,
            cold_count: self.layout.cold,
            high: &bytes[self.high.clone()],
            low: &bytes[self.low.clone()],
            hot: factors(&self.hot),
            cold: factors(&self.cold),
        }))
    }

    fn memory(&self) -> u64 {
        0
    }
}

fn floats(bytes: &[u8]) -> Option<&[f32]> {
    bytemuck::try_cast_slice(bytes).ok()
}

/// The bytes of a section, once the blocks they lie in were checked.
fn verified(container: &Container, id: u32) -> Result<&[u8], ContainerError> {
    let range = container.section(id)?;
    let block = BLOCK_BYTES as u64;
    (range.start / block..range.end.div_ceil(block)).try_for_each(|block| container.verify_block(block))?;
    Ok(&container.region()[range.start as usize..range.end as usize])
}

/// Where a section lies, if it has the length it should have.
fn section(container: &Container, id: u32, expected: u64) -> Result<Range<usize>, OpenError> {
    let range = container.section(id)?;
    let found = range.end - range.start;
    if found != expected {
        return Err(OpenError::Section { id, found, expected });
    }
    Ok(range.start as usize..range.end as usize)
}

/// The count of slots, once the rest of the header is what the codec needs.
fn read_header(bytes: &[u8], layout: &CodeLayout) -> Result<u32, OpenError> {
    let mut header = Decoder::new(bytes);
    let (count, plane_bytes) = (header.u32()?, header.u32()?);
    let (planes, hot, cold, zero) = (header.u16()?, header.u16()?, header.u16()?, header.u16()?);
    header.finish()?;
    for (field, found, expected) in [
        ("plane bytes", u64::from(plane_bytes), layout.plane_bytes),
        ("planes", planes.into(), layout.planes),
        ("hot factors", hot.into(), layout.hot),
        ("cold factors", cold.into(), layout.cold),
        ("reserved bytes", zero.into(), 0),
    ] {
        if found != expected as u64 {
            return Err(OpenError::Header { field, found, expected: expected as u64 });
        }
    }
    if count as usize > SEGMENT_ROWS_MAX {
        return Err(OpenError::Count { count });
    }
    Ok(count)
}
