//! The rows of a field that are special: missing, null, empty, of another kind.
//!
//! They are few or many in runs, so they are roaring bitmaps on the heap, also of a sealed index.

use std::io::{self, Write};

use nearfield_codec::{DecodeError, Decoder, Encoder};
use roaring::RoaringBitmap;

use super::format::INDEX_SETS;

/// The special rows, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sets {
    /// The path leads nowhere.
    pub(crate) absent: RoaringBitmap,
    /// A value is null, or a list with a null in it.
    pub(crate) null: RoaringBitmap,
    /// Every value is missing, null or an empty list.
    pub(crate) empty: RoaringBitmap,
    /// A value is of a kind that this index does not hold; nor null.
    pub(crate) foreign: RoaringBitmap,
    /// A value is of a kind that this index holds, but not as itself (an integer that is no float): rows decide.
    pub(crate) unsure: RoaringBitmap,
    /// Some value is inside a list.
    pub(crate) listed: RoaringBitmap,
    /// The path leads to several values.
    pub(crate) several: RoaringBitmap,
}

impl Sets {
    fn each(&self) -> [&RoaringBitmap; INDEX_SETS] {
        [&self.absent, &self.null, &self.empty, &self.foreign, &self.unsure, &self.listed, &self.several]
    }

    fn each_mut(&mut self) -> [&mut RoaringBitmap; INDEX_SETS] {
        [
            &mut self.absent,
            &mut self.null,
            &mut self.empty,
            &mut self.foreign,
            &mut self.unsure,
            &mut self.listed,
            &mut self.several,
        ]
    }

    /// Adds the sets of `other`, moved up by `base`.
    pub(crate) fn absorb(&mut self, other: &Sets, base: u32) {
        for (own, other) in self.each_mut().into_iter().zip(other.each()) {
            super::bits::add_set(own, other, base);
        }
    }

    /// Turns runs into what they are, for the last time they change.
    pub(crate) fn optimize(&mut self) {
        self.each_mut().into_iter().for_each(|set| {
            set.optimize();
        });
    }

    /// Bytes on the heap, about.
    pub(crate) fn memory(&self) -> u64 {
        self.each().iter().map(|set| set.serialized_size() as u64).sum()
    }

    /// The bytes of section `sets`.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Encoder::new();
        for set in self.each() {
            let mut body = Vec::with_capacity(set.serialized_size());
            set.serialize_into(&mut body as &mut dyn Write)?;
            bytes.u64(body.len() as u64).bytes(&body);
        }
        Ok(bytes.into_vec())
    }

    /// Reads section `sets`; every slot is below `rows`.
    pub(crate) fn decode(bytes: &[u8], rows: u32) -> Result<Sets, DecodeError> {
        let mut sets = Sets::default();
        let mut from = Decoder::new(bytes);
        for set in sets.each_mut() {
            let len = from.u64()?;
            let body = from.bytes(usize::try_from(len).unwrap_or(usize::MAX))?;
            let found = RoaringBitmap::deserialize_from(body).map_err(|_| from.range_error(len))?;
            if found.serialized_size() > body.len().saturating_mul(2).max(64) {
                return Err(from.range_error(len));
            }
            if let Some(last) = found.max().filter(|&last| last >= rows) {
                return Err(from.range_error(last.into()));
            }
            *set = found;
        }
        from.finish()?;
        Ok(sets)
    }
}
