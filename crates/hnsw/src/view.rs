//! A graph searched where it lies: in a map of its file, or in the same bytes on the heap.
//!
//! It refuses to change anything, and to trust a row: slots beyond the length are dropped in the walk, rows of levels on which a
//! slot does not stand are empty, chains end after as many steps as there are slots.

use std::fmt;

use nearfield_ann::{Scratch, Search, Stats, Stopped, TopK, VectorIndex};
use nearfield_codec::{Container, ContainerError, DecodeError, Decoder, Region};
use nearfield_simd::prefetch;
use nearfield_types::Slot;
use nearfield_types::limits::SEGMENT_ROWS_MAX;

use crate::format::{
    HEADER_BYTES, Header, NOTES_MAX, SECTION_DUPLICATES, SECTION_GROUND, SECTION_HEADER, SECTION_NOTES,
    SECTION_UPPER_LEVELS, SECTION_UPPER_ROWS, SECTION_UPPER_SLOTS, TAG, write,
};
use crate::graph::Graph;
use crate::levels::{LEVEL_MAX, UpperRows};
use crate::links::{Links, NO_SLOT};
use crate::params::{Geometry, Params, ParamsError};
use crate::search::{AnyGraph, Question, Steps, Ticket, fresh_name, resume, search, ticket};
use crate::stats::{GraphStats, gather};

/// Why a graph file is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// Its frame or one of its blocks is damaged, or it is no graph file for this reader.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The header ends early.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The settings in the header are outside their limits.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A value contradicts another or a limit.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What the file says.
        found: u64,
        /// What it must be, or at most be.
        expected: u64,
    },
}

/// A graph in immutable bytes.
///
/// # Concurrency
///
/// Any number of threads may search it.
///
/// # Complexity
///
/// Opening reads the header and the upper levels, a sixteenth of the file at `m` = 16. In memory it holds less than half a byte a slot.
pub struct GraphView {
    header: Header,
    stride: usize,
    ground: Region,
    upper: Region,
    upper_rows: UpperRows,
    duplicates: Region,
    notes: Region,
    name: u64,
}

/// The same with its bytes at hand, for the length of one search.
pub(crate) struct Open<'a> {
    view: &'a GraphView,
    ground: &'a [u32],
    upper: &'a [u32],
    duplicates: &'a [[u32; 2]],
}

impl GraphView {
    /// Opens the file in `region`: checks its frame, every length and the upper levels. The blocks of the rows are not read; call
    /// [`Container::verify_all`] on the same region to check every byte, and [`Verify`](crate::verify::Verify) to check the graph.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(region: Region) -> Result<GraphView, OpenError> {
        let container = Container::open(region, TAG)?;
        let header = read_header(&section(&container, SECTION_HEADER)?)?;
        let stride = Header::stride(header.params.m()) as usize;
        let numbers = |id, what, count: u64| {
            let bytes = section(&container, id)?;
            equal(what, bytes.len() as u64, count * 4)?;
            Ok::<_, OpenError>(bytes)
        };
        let ground =
            numbers(SECTION_GROUND, "length of the level-0 rows", u64::from(header.slots) * stride as u64)?;
        let slots = numbers(SECTION_UPPER_SLOTS, "length of the upper slots", header.upper_slots.into())?;
        let levels = section(&container, SECTION_UPPER_LEVELS)?;
        equal("length of the upper levels", levels.len() as u64, header.upper_slots.into())?;
        let places = u64::from(header.upper_rows) * u64::from(header.params.m());
        let upper = numbers(SECTION_UPPER_ROWS, "length of the upper rows", places)?;
        let duplicates =
            numbers(SECTION_DUPLICATES, "length of the chains", 2 * u64::from(header.duplicates))?;
        let uppers: Vec<(u32, u32)> =
            words(&slots).iter().copied().zip(levels.iter().map(|&level| u32::from(level))).collect();
        check_uppers(&header, &uppers)?;
        let upper_rows = UpperRows::new(header.slots, uppers.into_iter());
        check_entry(&header, &upper_rows)?;
        let notes = section(&container, SECTION_NOTES)?;
        at_most("length of the notes", notes.len() as u64, NOTES_MAX as u64)?;
        Ok(GraphView { header, stride, ground, upper, upper_rows, duplicates, notes, name: fresh_name() })
    }

    /// A copy of `graph` as it stands, in the form of its file. Nobody links meanwhile.
    pub fn of(graph: &Graph) -> GraphView {
        let written = write(graph, &[], Vec::new()).expect("writing to memory does not fail");
        GraphView::open(Region::from(written.0)).expect("a file just written is whole")
    }

    /// How it was built.
    pub fn params(&self) -> Params {
        self.header.params
    }

    /// One more than the largest slot that can be found.
    pub fn len(&self) -> u32 {
        self.header.slots
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.header.slots == 0
    }

    /// Nodes and duplicates linked.
    pub fn linked(&self) -> u32 {
        self.header.linked
    }

    /// Levels, degrees, memory. O(n m).
    pub fn stats(&self) -> GraphStats {
        gather(&self.opened(), self.header.linked, VectorIndex::memory(self))
    }

    /// The neighbours of `slot` on `level`, nearest first where nothing was linked to it since they were chosen.
    pub fn neighbours(&self, slot: Slot, level: u32) -> Vec<Slot> {
        let mut row = Vec::new();
        self.opened().neighbours(slot.0, level, |neighbour| {
            if neighbour != NO_SLOT {
                row.push(Slot(neighbour));
            }
        });
        row
    }

    /// What the writer of the file put beside the graph.
    pub fn notes(&self) -> &[u8] {
        &self.notes
    }

    /// Bytes of the file that searches read.
    pub fn bytes_mapped(&self) -> u64 {
        (self.ground.len() + self.upper.len() + self.duplicates.len()) as u64
    }

    /// As [`Graph::ticket`].
    pub fn ticket(&self, scratch: &mut Scratch) -> Option<Ticket> {
        ticket(self.name, scratch)
    }

    /// As [`Graph::resume`].
    ///
    /// # Errors
    ///
    /// As [`VectorIndex::search`].
    pub fn resume(
        &self,
        from: Ticket,
        search: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Option<Result<Stats, Stopped>> {
        resume(&self.opened(), self.name, from, search, scratch, out)
    }

    /// As [`Graph::begin`].
    pub fn begin<'a>(&'a self, question: Question<'a>, scratch: &'a mut Scratch) -> Steps<'a> {
        Steps::begin(AnyGraph::Mapped(self.opened()), self.name, question, scratch)
    }

    pub(crate) fn links(&self) -> impl Links {
        self.opened()
    }

    fn opened(&self) -> Open<'_> {
        Open {
            view: self,
            ground: words(&self.ground),
            upper: words(&self.upper),
            duplicates: bytemuck::cast_slice(&self.duplicates),
        }
    }
}

/// The numbers of a section. Sections begin at multiples of 64 and their lengths were checked, so the cast fits.
fn words(region: &Region) -> &[u32] {
    bytemuck::cast_slice(region)
}

fn section(container: &Container, id: u32) -> Result<Region, OpenError> {
    let range = container.section(id)?;
    let bytes = container.region().slice(range.start as usize..range.end as usize);
    Ok(bytes.ok_or(ContainerError::Section { id })?)
}

fn equal(what: &'static str, found: u64, expected: u64) -> Result<(), OpenError> {
    if found == expected { Ok(()) } else { Err(OpenError::Value { what, found, expected }) }
}

fn at_most(what: &'static str, found: u64, expected: u64) -> Result<(), OpenError> {
    if found <= expected { Ok(()) } else { Err(OpenError::Value { what, found, expected }) }
}

fn read_header(bytes: &[u8]) -> Result<Header, OpenError> {
    equal("length of the header", bytes.len() as u64, HEADER_BYTES as u64)?;
    let mut from = Decoder::new(bytes);
    let (m, ef_construction) = (from.u32()?, from.u32()?);
    let params = Params::new(m, ef_construction)?.with_alpha(f32::from_bits(from.u32()?))?;
    let geometry = match from.u32()? {
        0 => Geometry::Distance,
        1 => Geometry::Product,
        other => {
            let (what, found, expected) = ("geometry", other.into(), 1);
            return Err(OpenError::Value { what, found, expected });
        }
    };
    let params = params.with_seed(from.u64()?).with_geometry(geometry);
    let header = Header {
        params,
        slots: from.u32()?,
        linked: from.u32()?,
        top: from.u32()?,
        entry: from.u32()?.checked_sub(1),
        upper_slots: from.u32()?,
        upper_rows: from.u32()?,
        duplicates: from.u32()?,
    };
    equal("reserved field", u64::from(from.u32()?) + u64::from(from.u32()?), 0)?;
    at_most("number of slots", header.slots.into(), SEGMENT_ROWS_MAX as u64)?;
    at_most("number of nodes", header.linked.into(), header.slots.into())?;
    at_most("number of duplicates", header.duplicates.into(), header.slots.into())?;
    at_most("highest level", header.top.into(), LEVEL_MAX.into())?;
    Ok(header)
}

fn check_uppers(header: &Header, uppers: &[(u32, u32)]) -> Result<(), OpenError> {
    let mut next = 0;
    let mut rows = 0;
    for &(slot, level) in uppers {
        if slot < next || slot >= header.slots {
            let (found, expected) = (slot.into(), header.slots.into());
            return Err(OpenError::Value { what: "an upper slot", found, expected });
        }
        if level == 0 || level > LEVEL_MAX {
            let (found, expected) = (level.into(), LEVEL_MAX.into());
            return Err(OpenError::Value { what: "level of a slot", found, expected });
        }
        next = slot + 1;
        rows += u64::from(level);
    }
    equal("number of upper rows", header.upper_rows.into(), rows)
}

fn check_entry(header: &Header, upper_rows: &UpperRows) -> Result<(), OpenError> {
    match header.entry {
        Some(entry) => {
            at_most("entry", u64::from(entry) + 1, header.slots.into())?;
            at_most("highest level", header.top.into(), upper_rows.level(entry).into())
        }
        None => equal("number of nodes without an entry", header.linked.into(), 0),
    }
}

impl Links for Open<'_> {
    fn top(&self) -> u32 {
        self.view.header.top
    }

    fn entry(&self, _level: u32) -> Option<u32> {
        self.view.header.entry
    }

    #[inline]
    fn len(&self) -> u32 {
        self.view.header.slots
    }

    #[inline]
    fn width(&self, level: u32) -> usize {
        let m = self.view.header.params.m() as usize;
        if level == 0 { 2 * m } else { m }
    }

    #[inline]
    fn neighbours(&self, slot: u32, level: u32, mut visit: impl FnMut(u32)) {
        let row = if level == 0 {
            let begin = slot as usize * self.view.stride;
            self.ground.get(begin..begin + self.width(0))
        } else {
            let mut rows = self.view.upper_rows.rows(slot);
            let width = self.width(level);
            rows.nth(level as usize - 1)
                .and_then(|row| self.upper.get(row as usize * width..(row as usize + 1) * width))
        };
        for &place in row.unwrap_or_default() {
            visit(place.wrapping_sub(1));
        }
    }

    #[inline]
    fn prefetch(&self, slot: u32) {
        let begin = slot as usize * self.view.stride;
        if let Some(row) = self.ground.get(begin..begin + self.view.stride) {
            prefetch(row);
        }
    }

    fn next_duplicate(&self, slot: u32) -> Option<u32> {
        let at = self.duplicates.binary_search_by_key(&slot, |pair| pair[0]).ok()?;
        Some(self.duplicates[at][1])
    }

    #[inline]
    fn duplicates(&self) -> u32 {
        self.view.header.duplicates
    }
}

impl VectorIndex for GraphView {
    fn search(
        &self,
        question: Search<'_>,
        scratch: &mut Scratch,
        out: &mut TopK<'_>,
    ) -> Result<Stats, Stopped> {
        search(&self.opened(), self.name, question, scratch, out)
    }

    fn memory(&self) -> u64 {
        self.upper_rows.memory()
    }
}

impl fmt::Debug for GraphView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphView({} linked, {:?})", self.header.linked, self.header.params)
    }
}
