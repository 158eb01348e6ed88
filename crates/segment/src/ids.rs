//! The point map of a sealed segment: id -> slot, slot -> id, and the birth of every slot. See `docs/format.md`.
//!
//! The ids stand sorted (number < UUID < string), so looking one up is a binary search and a scroll is a walk. The sections are
//! raw fixed-width arrays: they are cast, not parsed, and cost nothing to open but their checksum.

use std::cmp::Ordering;
use std::io::{self, Write};

use bytemuck::Pod;
use nearfield_codec::{Container, ContainerWriter, Decoder, Encoder, Region, Summary};
use nearfield_types::limits::ID_BYTES_MAX;
use nearfield_types::{PointId, Seq, Slot, Uuid};

use crate::error::{OpenError, damaged};
use crate::format::{
    IDS_TAG, SECTION_BIRTHS, SECTION_HEADER, SECTION_NUMBERS, SECTION_ORDER, SECTION_RANKS,
    SECTION_STRING_ENDS, SECTION_STRINGS, SECTION_UUIDS,
};

#[cfg(target_endian = "big")]
compile_error!("sealed sections are cast in place and little-endian; this machine would misread them");

/// Bytes are handed on in pieces of about this size: checksums and digests run at full speed from there on.
const PIECE_BYTES: usize = 256 << 10;

/// An id where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdRef<'a> {
    Number(u64),
    Uuid([u8; 16]),
    String(&'a [u8]),
}

impl<'a> From<&'a PointId> for IdRef<'a> {
    fn from(id: &'a PointId) -> IdRef<'a> {
        match id {
            PointId::Number(number) => IdRef::Number(*number),
            PointId::Uuid(uuid) => IdRef::Uuid(*uuid.as_bytes()),
            PointId::String(text) => IdRef::String(text.as_bytes()),
        }
    }
}

/// Writes the point map of `points`, which are (id, birth) in slot order. Ids must be distinct. O(n log n).
///
/// # Errors
///
/// What the sink returns.
pub(crate) fn write<W: Write>(points: &[(PointId, Seq)], sink: W) -> io::Result<(W, Summary)> {
    let mut order: Vec<u32> = (0..points.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| points[a as usize].0.cmp(&points[b as usize].0));
    let id = |slot: u32| IdRef::from(&points[slot as usize].0);
    write_ordered(&order, id, |slot| points[slot as usize].1, sink)
}

/// Writes the point map of the slots in `order`, which is that of their ids. Four bytes of memory a slot.
///
/// # Errors
///
/// What the sink returns.
pub(crate) fn write_ordered<'i, W: Write>(
    order: &[u32],
    id: impl Fn(u32) -> IdRef<'i>,
    born: impl Fn(u32) -> Seq,
    sink: W,
) -> io::Result<(W, Summary)> {
    let numbers = order.partition_point(|&slot| matches!(id(slot), IdRef::Number(_)));
    let named = order.partition_point(|&slot| !matches!(id(slot), IdRef::String(_)));
    let (uuids, strings) = (&order[numbers..named], &order[named..]);
    let numbers = &order[..numbers];
    let text = |slot: u32| if let IdRef::String(text) = id(slot) { text } else { &[] };
    let mut file = Pieces { writer: ContainerWriter::new(sink, IDS_TAG)?, piece: Vec::new() };
    let mut header = Encoder::new();
    header
        .u32(order.len() as u32)
        .u32(numbers.len() as u32)
        .u32(uuids.len() as u32)
        .u32(strings.len() as u32);
    file.section(SECTION_HEADER, [header.as_slice()])?;
    let number = |&slot: &u32| if let IdRef::Number(number) = id(slot) { number } else { 0 };
    file.section(SECTION_NUMBERS, numbers.iter().map(|slot| number(slot).to_le_bytes()))?;
    let uuid = |&slot: &u32| if let IdRef::Uuid(uuid) = id(slot) { uuid } else { [0; 16] };
    file.section(SECTION_UUIDS, uuids.iter().map(uuid))?;
    let ends = strings.iter().scan(0u64, |end, &slot| {
        *end += text(slot).len() as u64;
        Some(end.to_le_bytes())
    });
    file.section(SECTION_STRING_ENDS, ends)?;
    file.section(SECTION_STRINGS, strings.iter().map(|&slot| text(slot)))?;
    file.section(SECTION_ORDER, order.iter().map(|slot| slot.to_le_bytes()))?;
    let mut ranks = vec![0u32; order.len()];
    for (rank, &slot) in order.iter().enumerate() {
        ranks[slot as usize] = rank as u32;
    }
    file.section(SECTION_RANKS, ranks.iter().map(|rank| rank.to_le_bytes()))?;
    file.section(SECTION_BIRTHS, (0..order.len() as u32).map(|slot| born(slot).0.to_le_bytes()))?;
    file.writer.finish()
}

/// Sections written bit by bit.
struct Pieces<W> {
    writer: ContainerWriter<W>,
    piece: Vec<u8>,
}

impl<W: Write> Pieces<W> {
    fn section<B: AsRef<[u8]>>(&mut self, id: u32, parts: impl IntoIterator<Item = B>) -> io::Result<()> {
        self.writer.section(id)?;
        for part in parts {
            self.piece.extend_from_slice(part.as_ref());
            if self.piece.len() >= PIECE_BYTES {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.write(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

/// An open point map. All bytes were verified when it opened.
#[derive(Debug)]
pub(crate) struct PointMap {
    rows: u32,
    numbers: Region,
    uuids: Region,
    string_ends: Region,
    strings: Region,
    /// Slots in id order.
    order: Region,
    /// The place of each slot in that order.
    ranks: Region,
    births: Region,
}

impl PointMap {
    /// Opens and verifies the point map of a segment of `rows` rows. O(bytes).
    ///
    /// # Errors
    ///
    /// [`OpenError`] if a checksum fails or the sections contradict one another.
    pub(crate) fn open(file: &Container, rows: u32) -> Result<PointMap, OpenError> {
        file.verify_all()?;
        let section = |id| -> Result<Region, OpenError> {
            let range = file.section(id)?;
            file.region().slice(range.start as usize..range.end as usize).ok_or(damaged("point map"))
        };
        let map = PointMap {
            rows,
            numbers: section(SECTION_NUMBERS)?,
            uuids: section(SECTION_UUIDS)?,
            string_ends: section(SECTION_STRING_ENDS)?,
            strings: section(SECTION_STRINGS)?,
            order: section(SECTION_ORDER)?,
            ranks: section(SECTION_RANKS)?,
            births: section(SECTION_BIRTHS)?,
        };
        let header = section(SECTION_HEADER)?;
        let mut header = Decoder::new(&header);
        let (all, numbers, uuids, strings) = (header.u32()?, header.u32()?, header.u32()?, header.u32()?);
        header.finish()?;
        let kinds = u64::from(numbers) + u64::from(uuids) + u64::from(strings);
        let fits = |region: &Region, count: u32, width: u64| region.len() as u64 == u64::from(count) * width;
        if all != rows
            || kinds != u64::from(rows)
            || !fits(&map.numbers, numbers, 8)
            || !fits(&map.uuids, uuids, 16)
            || !fits(&map.string_ends, strings, 8)
            || !fits(&map.order, rows, 4)
            || !fits(&map.ranks, rows, 4)
            || !fits(&map.births, rows, 8)
        {
            return Err(damaged("point map"));
        }
        map.check_contents()?;
        Ok(map)
    }

    /// Every later look-up indexes without fear because of this pass. O(rows).
    fn check_contents(&self) -> Result<(), OpenError> {
        let (order, ranks) = (self.order(), self.ranks());
        let inverse =
            order.iter().enumerate().all(|(rank, &slot)| ranks.get(slot as usize) == Some(&(rank as u32)));
        let (numbers, uuids) = (cast::<u64>(&self.numbers), cast::<[u8; 16]>(&self.uuids));
        let ascending = numbers.is_sorted_by(|a, b| a < b) && uuids.is_sorted_by(|a, b| a < b);
        let ends = cast::<u64>(&self.string_ends);
        let (mut last, mut before) = (0, None);
        let mut strings_fit = ends.last().copied().unwrap_or(0) == self.strings.len() as u64;
        for &end in ends {
            strings_fit &=
                end >= last && end - last <= ID_BYTES_MAX as u64 && end <= self.strings.len() as u64;
            if !strings_fit {
                break;
            }
            let text = &self.strings[last as usize..end as usize];
            strings_fit &= std::str::from_utf8(text).is_ok() && before.is_none_or(|before| before < text);
            (last, before) = (end, Some(text));
        }
        if !inverse || !ascending || !strings_fit {
            return Err(damaged("point map"));
        }
        Ok(())
    }

    fn order(&self) -> &[u32] {
        cast(&self.order)
    }

    fn ranks(&self) -> &[u32] {
        cast(&self.ranks)
    }

    /// The place of `slot` in id order.
    #[inline]
    pub(crate) fn rank(&self, slot: Slot) -> u32 {
        self.ranks()[slot.index()]
    }

    /// The slot at place `rank` in id order.
    pub(crate) fn at_rank(&self, rank: u32) -> Slot {
        Slot(self.order()[rank as usize])
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// When `slot` was born.
    pub(crate) fn born(&self, slot: Slot) -> Seq {
        Seq(cast::<u64>(&self.births)[slot.index()])
    }

    /// The id of `slot`.
    pub(crate) fn id(&self, slot: Slot) -> PointId {
        self.id_at_rank(self.rank(slot))
    }

    /// The id at place `rank`.
    pub(crate) fn id_at_rank(&self, rank: u32) -> PointId {
        match self.ref_at_rank(rank) {
            IdRef::Number(number) => PointId::Number(number),
            IdRef::Uuid(uuid) => PointId::Uuid(Uuid::from_bytes(uuid)),
            IdRef::String(bytes) => {
                PointId::from(std::str::from_utf8(bytes).expect("checked when the map was opened"))
            }
        }
    }

    /// The id at place `rank`, where it lies.
    pub(crate) fn ref_at_rank(&self, rank: u32) -> IdRef<'_> {
        let at = rank as usize;
        let (numbers, uuids) = (cast::<u64>(&self.numbers), cast::<[u8; 16]>(&self.uuids));
        if let Some(&number) = numbers.get(at) {
            return IdRef::Number(number);
        }
        let at = at - numbers.len();
        if let Some(&uuid) = uuids.get(at) {
            return IdRef::Uuid(uuid);
        }
        IdRef::String(self.string_bytes(at - uuids.len()))
    }

    /// The place where `id` stands, or where it would stand. O(log rows).
    pub(crate) fn find(&self, id: &PointId) -> Result<u32, u32> {
        let (numbers, uuids) = (cast::<u64>(&self.numbers), cast::<[u8; 16]>(&self.uuids));
        let (base, found) = match id {
            PointId::Number(number) => (0, numbers.binary_search(number)),
            PointId::Uuid(uuid) => (numbers.len(), uuids.binary_search(uuid.as_bytes())),
            PointId::String(text) => (numbers.len() + uuids.len(), self.find_string(text.as_bytes())),
        };
        found.map(|at| (base + at) as u32).map_err(|at| (base + at) as u32)
    }

    /// The slot of `id`, dead or alive.
    pub(crate) fn slot(&self, id: &PointId) -> Option<Slot> {
        self.find(id).ok().map(|rank| self.at_rank(rank))
    }

    fn string_bytes(&self, at: usize) -> &[u8] {
        let ends = cast::<u64>(&self.string_ends);
        let start = if at == 0 { 0 } else { ends[at - 1] };
        &self.strings[start as usize..ends[at] as usize]
    }

    fn find_string(&self, text: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, cast::<u64>(&self.string_ends).len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.string_bytes(middle).cmp(text) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

/// Sections begin at multiples of 64 and their lengths were checked, so the cast always holds.
fn cast<T: Pod>(region: &Region) -> &[T] {
    bytemuck::try_cast_slice(region).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Vec<(PointId, Seq)> {
        let ids: Vec<PointId> = vec![
            "b".into(),
            7.into(),
            Uuid::from_u128(9).into(),
            "".into(),
            3.into(),
            "a".into(),
            u64::MAX.into(),
            Uuid::from_u128(2).into(),
        ];
        ids.into_iter().enumerate().map(|(at, id)| (id, Seq(at as u64 + 1))).collect()
    }

    fn open(bytes: Vec<u8>, rows: u32) -> Result<PointMap, OpenError> {
        PointMap::open(&Container::open(Region::from(bytes), IDS_TAG)?, rows)
    }

    #[test]
    fn finds_everything_in_order() {
        let points = points();
        let (bytes, _) = write(&points, Vec::new()).unwrap();
        let map = open(bytes, 8).unwrap();
        for (slot, (id, born)) in points.iter().enumerate() {
            let slot = Slot(slot as u32);
            assert_eq!((map.slot(id), map.id(slot), map.born(slot)), (Some(slot), id.clone(), *born));
        }
        let mut sorted: Vec<_> = points.iter().map(|(id, _)| id.clone()).collect();
        sorted.sort();
        let walked: Vec<_> = (0..8).map(|rank| map.id_at_rank(rank)).collect();
        assert_eq!(walked, sorted);
        assert_eq!(map.find(&8.into()), Err(2));
        assert_eq!(map.slot(&"c".into()), None);
    }

    /// The same sections, with another first byte in one of them.
    fn rewritten(bytes: &[u8], section: u32, first: u8) -> Vec<u8> {
        let file = Container::open(Region::from(bytes.to_vec()), IDS_TAG).unwrap();
        let mut writer = ContainerWriter::new(Vec::new(), IDS_TAG).unwrap();
        for id in SECTION_HEADER..=SECTION_BIRTHS {
            let range = file.section(id).unwrap();
            let mut part = bytes[range.start as usize..range.end as usize].to_vec();
            if id == section {
                part[0] = first;
            }
            writer.section(id).unwrap();
            writer.write(&part).unwrap();
        }
        writer.finish().unwrap().0
    }

    #[test]
    fn ids_out_of_order_are_refused() {
        let numbers = [2, 5].map(|id| (PointId::from(id), Seq(1)));
        let texts = ["b", "e"].map(|id| (PointId::from(id), Seq(1)));
        let cases = [(&numbers, SECTION_NUMBERS, 2), (&texts, SECTION_STRINGS, b'b')];
        for (points, section, first) in cases {
            let (bytes, _) = write(points, Vec::new()).unwrap();
            assert!(open(rewritten(&bytes, section, first), 2).is_ok());
            for not_before_the_second in [first + 3, first + 4] {
                assert!(open(rewritten(&bytes, section, not_before_the_second), 2).is_err());
            }
        }
    }

    #[test]
    fn damage_is_found_at_open() {
        let (bytes, _) = write(&points(), Vec::new()).unwrap();
        assert!(open(bytes.clone(), 7).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(open(damaged, 8).is_err(), "byte {at}");
            assert!(open(bytes[..at].to_vec(), 8).is_err(), "prefix {at}");
        }
    }
}
