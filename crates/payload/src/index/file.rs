//! The file of a field index: written in one pass, opened in constant time, verified whole at the first question.
//!
//! It refuses to believe bytes. [`FieldFile::open`] checks the frame, the header and the length of every section; the first
//! question checks the checksums of all blocks, once. What is then asked of the arrays is asked with bounds, so that even a file
//! whose checksums were forged gives no panic; [`FieldFile::verify`] finds what is wrong with such a file.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::OnceLock;

use nearfield_codec::{
    BLOCK_BYTES, Container, ContainerError, ContainerWriter, DecodeError, Decoder, Encoder, Region, Summary,
};

use super::config::{ConfigError, IndexConfig};
use super::format::*;
use super::sets::Sets;
use super::table::{Keys, Table};
use super::view::{KeysView, View};
use super::{IndexError, bits};

/// Everything that a file says, in memory.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: IndexConfig,
    pub(crate) table: Table,
    pub(crate) sets: Sets,
    pub(crate) counts: Vec<[u32; 2]>,
    pub(crate) points: Vec<[f64; 2]>,
    pub(crate) words: Words,
}

/// What is kept of text beside tokens and their rows.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) frequencies: Vec<u32>,
    pub(crate) lengths: Vec<u32>,
    pub(crate) position_starts: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) documents: u32,
    pub(crate) tokens: u64,
}

/// Why a file is not the index that is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The frame or a block is damaged.
    #[error("field index: {0}")]
    Container(#[from] ContainerError),
    /// The header or the sets are too short, or wrong.
    #[error("field index: {0}")]
    Decode(#[from] DecodeError),
    /// The configuration in the file makes no sense.
    #[error("field index: {0}")]
    Config(#[from] ConfigError),
    /// A number is not what another says.
    #[error("field index: {what} is {found}, {expected} is expected")]
    Value {
        /// Which number.
        what: &'static str,
        /// What the file says.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// The file is sound and of another configuration.
    #[error("field index was made with another configuration: build it anew")]
    OtherConfig,
}

impl Parts {
    /// Writes the file.
    pub(crate) fn write<W: Write>(&self, sink: W) -> io::Result<(W, Summary)> {
        let mut file = ContainerWriter::new(sink, INDEX_TAG)?;
        let mut put = |id: u32, bytes: &[u8]| -> io::Result<()> {
            file.section(id)?;
            // One block after another: checksums and copies stay in the cache.
            bytes.chunks(BLOCK_BYTES).try_for_each(|part| file.write(part))
        };
        put(INDEX_SECTION_HEADER, self.header().as_slice())?;
        put(INDEX_SECTION_CONFIG, &self.config.encode())?;
        match &self.table.keys {
            Keys::Narrow(keys) => put(INDEX_SECTION_KEYS, bytemuck::cast_slice(keys))?,
            Keys::Wide(keys) => put(INDEX_SECTION_KEYS, bytemuck::cast_slice(keys))?,
            Keys::Terms { ends, bytes } => {
                put(INDEX_SECTION_KEYS, bytemuck::cast_slice(ends))?;
                put(INDEX_SECTION_TERMS, bytes)?;
            }
        }
        let table = &self.table;
        put(INDEX_SECTION_STARTS, bytemuck::cast_slice(&table.starts))?;
        put(INDEX_SECTION_SLOTS, bytemuck::cast_slice(&table.slots))?;
        put(INDEX_SECTION_SETS, &self.sets.encode()?)?;
        let optional: [(u32, &[u8]); 9] = [
            (INDEX_SECTION_MARKS, bytemuck::cast_slice(&table.marks)),
            (INDEX_SECTION_FORWARD, bytemuck::cast_slice(&table.forward)),
            (INDEX_SECTION_FORWARD_STARTS, bytemuck::cast_slice(&table.forward_starts)),
            (INDEX_SECTION_COUNTS, bytemuck::cast_slice(&self.counts)),
            (INDEX_SECTION_POINTS, bytemuck::cast_slice(&self.points)),
            (INDEX_SECTION_FREQUENCIES, bytemuck::cast_slice(&self.words.frequencies)),
            (INDEX_SECTION_LENGTHS, bytemuck::cast_slice(&self.words.lengths)),
            (INDEX_SECTION_POSITION_STARTS, bytemuck::cast_slice(&self.words.position_starts)),
            (INDEX_SECTION_POSITIONS, bytemuck::cast_slice(&self.words.positions)),
        ];
        optional
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .try_for_each(|(id, bytes)| put(id, bytes))?;
        file.finish()
    }

    fn header(&self) -> Encoder {
        let table = &self.table;
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(table.many, INDEX_FLAG_MANY)
            | flag(!table.forward.is_empty(), INDEX_FLAG_FORWARD)
            | flag(!self.words.position_starts.is_empty(), INDEX_FLAG_POSITIONS);
        let mut bytes = Encoder::with_capacity(INDEX_HEADER_BYTES);
        bytes.u32(table.rows).u32(flags).u32(table.keys.len() as u32).u32(table.slots.len() as u32);
        bytes.u32(table.mark_count).u32(table.block).u32(self.words.documents);
        bytes.u32(self.config.kind().code()).u64(self.words.tokens).bytes(&[0; 24]);
        debug_assert_eq!(bytes.len(), INDEX_HEADER_BYTES);
        bytes
    }
}

/// What the header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) rows: u32,
    pub(crate) flags: u32,
    pub(crate) keys: u32,
    pub(crate) entries: u32,
    pub(crate) marks: u32,
    pub(crate) block: u32,
    pub(crate) documents: u32,
    pub(crate) kind: u32,
    pub(crate) tokens: u64,
}

/// Where the sections lie; empty where one is missing.
#[derive(Clone, Debug, Default)]
struct Places {
    keys: Range<usize>,
    terms: Range<usize>,
    starts: Range<usize>,
    slots: Range<usize>,
    marks: Range<usize>,
    forward: Range<usize>,
    forward_starts: Range<usize>,
    sets: Range<usize>,
    counts: Range<usize>,
    points: Range<usize>,
    frequencies: Range<usize>,
    lengths: Range<usize>,
    position_starts: Range<usize>,
    positions: Range<usize>,
}

/// An open file. Its first row is row `base` of the segment.
#[derive(Debug)]
pub(crate) struct FieldFile {
    container: Container,
    header: Header,
    config: IndexConfig,
    places: Places,
    base: u32,
    sound: OnceLock<Result<Sets, OpenError>>,
}

impl FieldFile {
    /// Checks frame, header, configuration and the lengths of the sections. O(size / 64 KiB).
    pub(crate) fn open(region: Region, rows: u32, base: u32) -> Result<FieldFile, OpenError> {
        let container = Container::open(region, INDEX_TAG)?;
        if !container.region().as_ptr().addr().is_multiple_of(align_of::<u64>()) {
            return Err(OpenError::Value { what: "alignment of the bytes", found: 1, expected: 8 });
        }
        let header = read_header(early_section(&container, INDEX_SECTION_HEADER)?)?;
        let config = IndexConfig::decode(early_section(&container, INDEX_SECTION_CONFIG)?)?;
        equal("kind", header.kind.into(), config.kind().code().into())?;
        equal("number of rows", header.rows.into(), rows.into())?;
        let places = find_places(&container, &header, &config)?;
        Ok(FieldFile { container, header, config, places, base, sound: OnceLock::new() })
    }

    /// Bytes that were just written, which need no checksums. `sets` are what they say.
    pub(crate) fn fresh(region: Region, rows: u32, base: u32, sets: Sets) -> Result<FieldFile, OpenError> {
        let file = FieldFile::open(region, rows, base)?;
        Ok(FieldFile { sound: OnceLock::from(Ok(sets)), ..file })
    }

    pub(crate) fn config(&self) -> &IndexConfig {
        &self.config
    }

    pub(crate) fn rows(&self) -> u32 {
        self.header.rows
    }

    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.container.region().len() as u64
    }

    /// Bytes beside the file.
    pub(crate) fn heap(&self) -> u64 {
        let sets = self.sound.get().and_then(|sound| sound.as_ref().ok());
        size_of::<FieldFile>() as u64 + sets.map_or(0, Sets::memory)
    }

    pub(crate) fn tables_crc(&self) -> u32 {
        self.container.tables_crc()
    }

    /// The arrays, after the checksums of all blocks once held.
    pub(crate) fn view(&self) -> Result<View<'_>, IndexError> {
        let sound = self.sound.get_or_init(|| {
            self.container.verify_all()?;
            Ok(Sets::decode(&self.container.region()[self.places.sets.clone()], self.header.rows)?)
        });
        Ok(self.arrays(sound.as_ref().map_err(|error| IndexError::Damaged(error.clone()))?))
    }

    fn arrays<'a>(&'a self, sets: &'a Sets) -> View<'a> {
        let all: &[u8] = self.container.region();
        let (places, header) = (&self.places, &self.header);
        let keys = &all[places.keys.clone()];
        let keys = match width(&self.config) {
            Width::Narrow => KeysView::Narrow(cast(keys)),
            Width::Wide => KeysView::Wide(cast(keys)),
            Width::Terms => KeysView::Terms { ends: cast(keys), bytes: &all[places.terms.clone()] },
        };
        View {
            base: self.base,
            rows: header.rows,
            keys,
            starts: cast(&all[places.starts.clone()]),
            slots: cast(&all[places.slots.clone()]),
            many: header.flags & INDEX_FLAG_MANY != 0,
            marks: cast(&all[places.marks.clone()]),
            mark_count: header.marks,
            block: header.block,
            has_forward: header.flags & INDEX_FLAG_FORWARD != 0,
            forward: cast(&all[places.forward.clone()]),
            forward_starts: cast(&all[places.forward_starts.clone()]),
            sets,
            counts: cast(&all[places.counts.clone()]),
            points: cast(&all[places.points.clone()]),
            frequencies: cast(&all[places.frequencies.clone()]),
            lengths: cast(&all[places.lengths.clone()]),
            has_positions: header.flags & INDEX_FLAG_POSITIONS != 0,
            position_starts: cast(&all[places.position_starts.clone()]),
            positions: cast(&all[places.positions.clone()]),
            documents: header.documents,
            tokens: header.tokens,
        }
    }

    /// Checks every number of the file against every other. O(size).
    pub(crate) fn verify(&self) -> Result<(), IndexError> {
        let view = self.view()?;
        view.verify().map_err(IndexError::Damaged)
    }
}

/// How wide the keys of a kind are.
enum Width {
    Narrow,
    Wide,
    Terms,
}

fn width(config: &IndexConfig) -> Width {
    match config {
        IndexConfig::Uuid => Width::Wide,
        IndexConfig::Keyword { .. } | IndexConfig::Text(_) => Width::Terms,
        _ => Width::Narrow,
    }
}

/// The numbers of a section. Sections begin at multiples of 64 of an aligned region and their lengths were checked.
fn cast<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> &[T] {
    bytemuck::try_cast_slice(bytes).unwrap_or_default()
}

/// A section that is read at open: the checksums of its blocks are checked first.
fn early_section(container: &Container, id: u32) -> Result<&[u8], OpenError> {
    let range = container.section(id)?;
    let block_bytes = BLOCK_BYTES as u64;
    (range.start / block_bytes..range.end.div_ceil(block_bytes))
        .try_for_each(|block| container.verify_block(block))?;
    Ok(container.region().get(range.start as usize..range.end as usize).unwrap_or_default())
}

fn read_header(bytes: &[u8]) -> Result<Header, OpenError> {
    equal("length of the header", bytes.len() as u64, INDEX_HEADER_BYTES as u64)?;
    let mut from = Decoder::new(bytes);
    let header = Header {
        rows: from.u32()?,
        flags: from.u32()?,
        keys: from.u32()?,
        entries: from.u32()?,
        marks: from.u32()?,
        block: from.u32()?,
        documents: from.u32()?,
        kind: from.u32()?,
        tokens: from.u64()?,
    };
    let zeros = from.bytes(24)?;
    equal("reserved field", zeros.iter().map(|&byte| u64::from(byte)).sum(), 0)?;
    equal("unknown flags", (header.flags >> 3).into(), 0)?;
    at_most("number of keys", header.keys.into(), header.entries.into())?;
    at_most("number of documents", header.documents.into(), header.rows.into())?;
    at_most("number of marks", header.marks.into(), INDEX_MARKS_MAX.into())?;
    if header.marks > 0 {
        at_most("distance of marks, at least one", 1, header.block.into())?;
        let expected = u64::from(header.entries).div_ceil(header.block.max(1).into());
        equal("number of marks", header.marks.into(), expected)?;
    }
    Ok(header)
}

fn find_places(container: &Container, header: &Header, config: &IndexConfig) -> Result<Places, OpenError> {
    let find = |id: u32| match container.section(id) {
        Ok(range) => range.start as usize..range.end as usize,
        Err(_) => 0..0,
    };
    let exactly = |what: &'static str, id: u32, expected: u64| -> Result<Range<usize>, OpenError> {
        let range = find(id);
        equal(what, range.len() as u64, expected)?;
        Ok(range)
    };
    let (rows, keys, entries) = (u64::from(header.rows), u64::from(header.keys), u64::from(header.entries));
    let flag = |flag: u32, bytes: u64| if header.flags & flag != 0 { bytes } else { 0 };
    let is = |kind: bool, bytes: u64| if kind { bytes } else { 0 };
    let (text, geo) = (matches!(config, IndexConfig::Text(_)), matches!(config, IndexConfig::Geo));
    let many = header.flags & INDEX_FLAG_MANY != 0;
    let key_bytes = match width(config) {
        Width::Wide => 16,
        Width::Narrow | Width::Terms => 8,
    };
    let forward = flag(INDEX_FLAG_FORWARD, if many { entries } else { rows } * 4);
    let forward_starts = flag(INDEX_FLAG_FORWARD, is(many, (rows + 1) * 4));
    let counts = find(INDEX_SECTION_COUNTS);
    equal("length of section counts modulo 8", counts.len() as u64 % 8, 0)?;
    let position_starts = flag(INDEX_FLAG_POSITIONS, (entries + 1) * 4);
    let positions = find(INDEX_SECTION_POSITIONS);
    equal("length of section positions modulo 4", positions.len() as u64 % 4, 0)?;
    let mark_bytes = u64::from(header.marks) * bits::words(header.rows) as u64 * 8;
    container.section(INDEX_SECTION_SETS)?;
    Ok(Places {
        keys: exactly("length of section keys", INDEX_SECTION_KEYS, keys * key_bytes)?,
        terms: find(INDEX_SECTION_TERMS),
        starts: exactly("length of section starts", INDEX_SECTION_STARTS, (keys + 1) * 4)?,
        slots: exactly("length of section slots", INDEX_SECTION_SLOTS, entries * 4)?,
        marks: exactly("length of section marks", INDEX_SECTION_MARKS, mark_bytes)?,
        forward: exactly("length of section forward", INDEX_SECTION_FORWARD, forward)?,
        forward_starts: exactly(
            "length of section forward starts",
            INDEX_SECTION_FORWARD_STARTS,
            forward_starts,
        )?,
        sets: find(INDEX_SECTION_SETS),
        counts,
        points: exactly("length of section points", INDEX_SECTION_POINTS, is(geo, entries * 16))?,
        frequencies: exactly(
            "length of section frequencies",
            INDEX_SECTION_FREQUENCIES,
            is(text, entries * 4),
        )?,
        lengths: exactly("length of section lengths", INDEX_SECTION_LENGTHS, is(text, rows * 4))?,
        position_starts: exactly(
            "length of section position starts",
            INDEX_SECTION_POSITION_STARTS,
            position_starts,
        )?,
        positions,
    })
}

pub(crate) fn equal(what: &'static str, found: u64, expected: u64) -> Result<(), OpenError> {
    if found == expected { Ok(()) } else { Err(OpenError::Value { what, found, expected }) }
}

pub(crate) fn at_most(what: &'static str, found: u64, expected: u64) -> Result<(), OpenError> {
    if found <= expected { Ok(()) } else { Err(OpenError::Value { what, found, expected }) }
}
