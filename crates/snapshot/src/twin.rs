//! The pins' own cell: one small value in two files, written one after the other.
//!
//! A change counts once both are written, so when one file is damaged the other holds everything that was ever acknowledged. Both
//! damaged is an error: what is kept is then unknown, and nothing may be removed.

use std::io::ErrorKind;

use nearfield_codec::{DecodeError, Decoder, Encoder, FileTag, TAG_BYTES, crc32c};
use nearfield_platform::Dir;
use nearfield_types::limits::SNAPSHOT_PINS_MAX;

use crate::contract::{Object, Pin};
use crate::error::{Result, StoreError};
use crate::format::{PINS_MAGIC, PINS_VERSION};
use crate::manifest::Digest;
use crate::refs::{NAME_BYTES_MAX, sealed, tag_error};

const TAG: FileTag = FileTag::new(PINS_MAGIC, PINS_VERSION, PINS_VERSION);
const FILES: [&str; 2] = ["PINS-a", "PINS-b"];
/// Bytes of a pin with an empty name.
const PIN_BYTES: usize = 8 + 4 + 8 + 32 + 8 + 1;

/// A pin as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) pin: Pin,
    /// Bytes of the manifest.
    pub(crate) length: u64,
    /// The last sweep found its time over.
    pub(crate) is_late: bool,
}

impl Kept {
    pub(crate) fn manifest(&self) -> Object {
        Object { digest: self.pin.digest, length: self.length }
    }
}

/// All pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PinTable {
    /// Counts changes.
    version: u64,
    /// The id the next pin gets.
    pub(crate) next_id: u64,
    pub(crate) pins: Vec<Kept>,
}

impl PinTable {
    /// Reads the newest whole value in `folder`; none ever written is the empty one.
    pub(crate) fn read(dir: &dyn Dir, folder: &str) -> Result<PinTable> {
        let (mut newest, mut damaged): (Option<PinTable>, Option<StoreError>) = (None, None);
        for file in FILES {
            let path = format!("{folder}/{file}");
            match PinTable::load(dir, &path) {
                Ok(None) => {}
                Ok(Some(table)) if newest.as_ref().is_some_and(|other| other.version >= table.version) => {}
                Ok(Some(table)) => newest = Some(table),
                Err(error @ StoreError::Damaged { .. }) => damaged = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (newest, damaged) {
            (Some(table), _) => Ok(table),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(PinTable { next_id: 1, ..PinTable::default() }),
        }
    }

    fn load(dir: &dyn Dir, path: &str) -> Result<Option<PinTable>> {
        let bytes = match dir.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let covered = sealed(path, &bytes)?;
        TAG.check(covered).map_err(|error| tag_error(path, error))?;
        PinTable::decode(covered).map(Some).map_err(|error| StoreError::damaged(path, error))
    }

    /// Writes it as the next value, twice. After an error it may or may not be the value.
    pub(crate) fn write(&mut self, dir: &dyn Dir, folder: &str) -> Result<()> {
        self.version += 1;
        let bytes = self.encode();
        FILES.iter().try_for_each(|file| dir.replace(&format!("{folder}/{file}"), &bytes))?;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.bytes(&TAG.encode()).u64(self.version).u64(self.next_id).u32(self.pins.len() as u32);
        for Kept { pin, length, is_late } in &self.pins {
            out.u64(pin.id).counted(pin.name.as_bytes()).u64(*length).bytes(&pin.digest.0);
            out.u64(pin.until_ms).u8(u8::from(*is_late));
        }
        let crc = crc32c(out.as_slice());
        out.u32(crc);
        out.into_vec()
    }

    fn decode(covered: &[u8]) -> std::result::Result<PinTable, DecodeError> {
        let mut decoder = Decoder::new(covered);
        decoder.bytes(TAG_BYTES)?;
        let (version, next_id, count) = (decoder.u64()?, decoder.u64()?, decoder.count(PIN_BYTES)?);
        if count > SNAPSHOT_PINS_MAX {
            return Err(decoder.range_error(count as u64));
        }
        let mut pins: Vec<Kept> = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, name) = (decoder.u64()?, decoder.text(NAME_BYTES_MAX)?.to_owned());
            let (length, digest) = (decoder.u64()?, Digest(decoder.array()?));
            let (until_ms, late) = (decoder.u64()?, decoder.u8()?);
            if id >= next_id || late > 1 || pins.last().is_some_and(|last| last.pin.id >= id) {
                return Err(decoder.range_error(id));
            }
            pins.push(Kept { pin: Pin { id, name, digest, until_ms }, length, is_late: late == 1 });
        }
        decoder.finish()?;
        Ok(PinTable { version, next_id, pins })
    }
}

#[cfg(test)]
mod tests {
    use nearfield_platform::MemoryDir;

    use super::*;

    fn sample() -> PinTable {
        let pin = |id, name: &str| Pin { id, name: name.into(), digest: Digest::of(b"m"), until_ms: 9 };
        let pins = vec![
            Kept { pin: pin(1, "a"), length: 3, is_late: false },
            Kept { pin: pin(4, "b"), length: 4, is_late: true },
        ];
        PinTable { version: 0, next_id: 5, pins }
    }

    fn overwrite(dir: &MemoryDir, path: &str, bytes: &[u8]) {
        dir.remove(path).unwrap();
        let file = dir.create(path).unwrap();
        file.write_at(0, &[bytes]).unwrap();
    }

    #[test]
    fn either_file_alone_is_enough_and_none_is_an_error() {
        let dir = MemoryDir::new();
        dir.make_dir("s").unwrap();
        assert_eq!(PinTable::read(&*dir, "s").unwrap().next_id, 1);
        let mut table = sample();
        table.write(&*dir, "s").unwrap();
        let bytes = dir.open("s/PINS-a").unwrap().to_vec();
        for file in ["s/PINS-a", "s/PINS-b"] {
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                overwrite(&dir, file, &flipped);
                assert_eq!(PinTable::read(&*dir, "s").unwrap(), table, "{file} byte {at}");
            }
            overwrite(&dir, file, &bytes);
        }
        overwrite(&dir, "s/PINS-a", b"x");
        overwrite(&dir, "s/PINS-b", &bytes[..7]);
        assert!(PinTable::read(&*dir, "s").is_err());
    }

    #[test]
    fn numbers_must_make_sense() {
        let broken = |change: &dyn Fn(&mut PinTable)| {
            let mut table = sample();
            change(&mut table);
            let bytes = table.encode();
            PinTable::decode(&bytes[..bytes.len() - 4]).is_err()
        };
        assert!(!broken(&|_| ()));
        assert!(broken(&|table| table.next_id = 4));
        assert!(broken(&|table| table.pins[1].pin.id = 1));
        assert!(broken(&|table| table.pins.swap(0, 1)));
    }
}
