//! The delta file: deaths and patches of one sealed segment as of a checkpoint. See `docs/format.md`.
//!
//! It is one container with three sections and is read whole when the segment opens; later changes live in the log.

use std::io::{self, Write};

use nearfield_codec::{Container, ContainerWriter, Decoder, Encoder, Summary};
use nearfield_types::{Seq, Slot};
use roaring::RoaringBitmap;

use crate::error::{OpenError, damaged};
use crate::format::{DELTA_TAG, SECTION_DEATHS, SECTION_HEADER, SECTION_PATCHES};
use crate::patches::Row;

/// Deaths and patches as of [`Delta::through`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Everything at or before this Seq is in here.
    pub through: Seq,
    /// The slots that died.
    pub deaths: RoaringBitmap,
    /// Slots and their payload rows, in slot order.
    pub patches: Vec<(Slot, Row)>,
}

impl Delta {
    /// Writes the delta as one file.
    ///
    /// # Errors
    ///
    /// What the sink returns.
    pub fn write<W: Write>(&self, sink: W) -> io::Result<(W, Summary)> {
        let mut writer = ContainerWriter::new(sink, DELTA_TAG)?;
        writer.section(SECTION_HEADER)?;
        let mut header = Encoder::new();
        header.u64(self.through.0).u64(self.deaths.len()).u64(self.patches.len() as u64);
        writer.write(header.as_slice())?;
        writer.section(SECTION_DEATHS)?;
        let mut deaths = Vec::with_capacity(self.deaths.serialized_size());
        self.deaths.serialize_into(&mut deaths)?;
        writer.write(&deaths)?;
        writer.section(SECTION_PATCHES)?;
        let mut patches = Encoder::new();
        for (slot, row) in &self.patches {
            patches.u32(slot.0).counted(row);
        }
        writer.write(patches.as_slice())?;
        writer.finish()
    }

    /// Reads a delta of a segment of `rows` rows.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if a checksum fails or a slot lies outside the segment.
    pub fn read(file: &Container, rows: u32) -> Result<Delta, OpenError> {
        file.verify_all()?;
        let section = |id| -> Result<&[u8], OpenError> {
            let range = file.section(id)?;
            Ok(&file.region()[range.start as usize..range.end as usize])
        };
        let mut header = Decoder::new(section(SECTION_HEADER)?);
        let (through, dead, patched) = (Seq(header.u64()?), header.u64()?, header.u64()?);
        header.finish()?;
        let deaths =
            RoaringBitmap::deserialize_from(section(SECTION_DEATHS)?).map_err(|_| damaged("deaths"))?;
        if deaths.len() != dead || deaths.max().is_some_and(|slot| slot >= rows) {
            return Err(damaged("deaths"));
        }
        let mut decoder = Decoder::new(section(SECTION_PATCHES)?);
        let mut patches: Vec<(Slot, Row)> = Vec::new();
        while decoder.left() > 0 {
            let slot = Slot(decoder.u32()?);
            let row = decoder.counted(usize::MAX)?;
            if slot.0 >= rows || patches.last().is_some_and(|(last, _)| *last >= slot) {
                return Err(damaged("patches"));
            }
            patches.push((slot, Row::from(row)));
        }
        if patches.len() as u64 != patched {
            return Err(damaged("patches"));
        }
        Ok(Delta { through, deaths, patches })
    }
}

#[cfg(test)]
mod tests {
    use nearfield_codec::Region;

    use super::*;

    fn sample() -> Delta {
        let patches = vec![(Slot(3), Row::from([1, 2, 3])), (Slot(9), Row::from([]))];
        Delta { through: Seq(77), deaths: [1, 5, 8].into_iter().collect(), patches }
    }

    fn read(bytes: Vec<u8>, rows: u32) -> Result<Delta, OpenError> {
        Delta::read(&Container::open(Region::from(bytes), DELTA_TAG)?, rows)
    }

    #[test]
    fn round_trip_and_damage() {
        let (bytes, _) = sample().write(Vec::new()).unwrap();
        assert_eq!(read(bytes.clone(), 10).unwrap(), sample());
        assert!(read(bytes.clone(), 9).is_err(), "slot 9 is outside 9 rows");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(read(damaged, 10).is_err(), "byte {at}");
        }
    }
}
