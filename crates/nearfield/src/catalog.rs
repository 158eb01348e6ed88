//! The catalog: which collections there are, where they lie, and their aliases.
//!
//! There is no log to rebuild it from, so every value is written twice, one after the other, and the second says that it is a
//! copy. If the newest file is damaged and the one before is not a copy, then the damaged one was its copy, and nothing is
//! lost. Otherwise the damaged one held a change that may have been acknowledged, and opening is refused.

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_types::limits::{ALIASES_MAX, COLLECTIONS_MAX, NAME_BYTES_MAX};
use std::collections::{BTreeMap, BTreeSet};

use crate::format::{CATALOG_READ_VERSION, CATALOG_VERSION, COLLECTION_CLOSED, COLLECTION_OPEN};

/// The value of the catalog's cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// Collections by name; the UUID names their folder.
    pub(crate) collections: BTreeMap<String, [u8; 16]>,
    /// Those of them that refuse all work.
    pub(crate) closed: BTreeSet<String>,
    /// Aliases and the names of the collections they stand for.
    pub(crate) aliases: BTreeMap<String, String>,
}

/// Which of the two writings of a value a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    First = 0,
    Copy = 1,
}

impl Catalog {
    /// The catalog as bytes. See `docs/format.md`.
    pub(crate) fn encode(&self, written: Written) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u16(CATALOG_VERSION).u16(written as u16).u32(self.collections.len() as u32);
        for (name, uuid) in &self.collections {
            let state = if self.closed.contains(name) { COLLECTION_CLOSED } else { COLLECTION_OPEN };
            out.counted(name.as_bytes()).bytes(uuid).u8(state);
        }
        out.u32(self.aliases.len() as u32);
        for (alias, name) in &self.aliases {
            out.counted(alias.as_bytes()).counted(name.as_bytes());
        }
        out.into_vec()
    }

    /// Reads a catalog.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Catalog, Written), DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u16()?;
        if !(CATALOG_READ_VERSION..=CATALOG_VERSION).contains(&version) {
            return Err(decoder.range_error(u64::from(version)));
        }
        let written = match decoder.u16()? {
            0 => Written::First,
            1 => Written::Copy,
            other => return Err(decoder.range_error(u64::from(other))),
        };
        let mut catalog = Catalog::default();
        let count = decoder.count(4 + 16 + usize::from(version > 1))?;
        if count > COLLECTIONS_MAX {
            return Err(decoder.range_error(count as u64));
        }
        for _ in 0..count {
            let name = decoder.text(NAME_BYTES_MAX)?.to_owned();
            catalog.collections.insert(name.clone(), decoder.array()?);
            match if version < 2 { COLLECTION_OPEN } else { decoder.u8()? } {
                COLLECTION_OPEN => {}
                COLLECTION_CLOSED => drop(catalog.closed.insert(name)),
                other => return Err(decoder.range_error(u64::from(other))),
            }
        }
        let count = decoder.count(4 + 4)?;
        if count > ALIASES_MAX {
            return Err(decoder.range_error(count as u64));
        }
        for _ in 0..count {
            let alias = decoder.text(NAME_BYTES_MAX)?.to_owned();
            let name = decoder.text(NAME_BYTES_MAX)?.to_owned();
            if !catalog.collections.contains_key(&name) {
                return Err(decoder.range_error(count as u64));
            }
            catalog.aliases.insert(alias, name);
        }
        decoder.finish()?;
        Ok((catalog, written))
    }

    /// The collection that `name` means, itself or through an alias.
    pub(crate) fn resolve(&self, name: &str) -> Option<(&str, [u8; 16])> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        self.collections.get_key_value(name).map(|(name, uuid)| (name.as_str(), *uuid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_prefix() {
        let mut catalog = Catalog::default();
        catalog.collections.insert("a".into(), [1; 16]);
        catalog.collections.insert("b".into(), [2; 16]);
        catalog.aliases.insert("now".into(), "b".into());
        catalog.closed.insert("a".into());
        for written in [Written::First, Written::Copy] {
            assert_eq!(Catalog::decode(&catalog.encode(written)), Ok((catalog.clone(), written)));
        }
        // Before collections could be closed.
        let mut old = Encoder::new();
        old.u16(1).u16(0).u32(1).counted(b"a").bytes(&[1; 16]).u32(0);
        let (old, _) = Catalog::decode(old.as_slice()).unwrap();
        assert_eq!((old.collections["a"], old.closed.len()), ([1; 16], 0));
        let bytes = catalog.encode(Written::First);
        for cut in 0..bytes.len() {
            assert!(Catalog::decode(&bytes[..cut]).is_err());
        }
        assert_eq!(catalog.resolve("now"), Some(("b", [2; 16])));
        assert_eq!(catalog.resolve("c"), None);
        catalog.aliases.insert("dangling".into(), "c".into());
        assert!(Catalog::decode(&catalog.encode(Written::First)).is_err());
    }
}
