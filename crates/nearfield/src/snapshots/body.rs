//! What the manifest of a snapshot says of the collections in it. The store that keeps it does not look inside.
//!
//! Pure functions of bytes: names, counts and lengths are compared with limits and with the bytes that are there.

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_types::check_name;
use nearfield_types::limits::{
    ALIASES_MAX, COLLECTIONS_MAX, NAME_BYTES_MAX, SNAPSHOT_DESCRIPTION_BYTES_MAX, SNAPSHOT_MANIFEST_BYTES_MAX,
};

use crate::format::{SNAPSHOT_OF_COLLECTION, SNAPSHOT_OF_DATABASE, SNAPSHOT_VERSION};

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    /// True for all collections with their aliases.
    pub(crate) is_full: bool,
    /// Names the snapshot for good.
    pub(crate) id: [u8; 16],
    /// Its own name, which goes with it wherever it is copied to.
    pub(crate) name: String,
    pub(crate) description: String,
    /// In the order of their names.
    pub(crate) parts: Vec<Part>,
    /// Aliases and the collections they stand for.
    pub(crate) aliases: Vec<(String, String)>,
}

/// One collection of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) uuid: [u8; 16],
    pub(crate) seq: u64,
    pub(crate) points: u64,
    /// The shard's manifest.
    pub(crate) manifest: Vec<u8>,
}

impl Body {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = if self.is_full { SNAPSHOT_OF_DATABASE } else { SNAPSHOT_OF_COLLECTION };
        let mut out = Encoder::new();
        out.u16(SNAPSHOT_VERSION).u16(kind).bytes(&self.id);
        out.counted(self.name.as_bytes()).counted(self.description.as_bytes());
        out.u32(self.parts.len() as u32);
        for Part { name, uuid, seq, points, manifest } in &self.parts {
            out.counted(name.as_bytes()).bytes(uuid).u64(*seq).u64(*points).counted(manifest);
        }
        out.u32(self.aliases.len() as u32);
        for (alias, name) in &self.aliases {
            out.counted(alias.as_bytes()).counted(name.as_bytes());
        }
        out.into_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Body, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u16()?;
        if version != SNAPSHOT_VERSION {
            return Err(decoder.range_error(version.into()));
        }
        let is_full = match decoder.u16()? {
            SNAPSHOT_OF_COLLECTION => false,
            SNAPSHOT_OF_DATABASE => true,
            other => return Err(decoder.range_error(other.into())),
        };
        let (id, name) = (decoder.array()?, named(&mut decoder)?);
        let description = decoder.text(SNAPSHOT_DESCRIPTION_BYTES_MAX)?.to_owned();
        let count = decoder.count(4 + 16 + 8 + 8 + 4)?;
        if count > COLLECTIONS_MAX || (!is_full && count != 1) {
            return Err(decoder.range_error(count as u64));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(count);
        for _ in 0..count {
            let name = named(&mut decoder)?;
            let (uuid, seq, points) = (decoder.array()?, decoder.u64()?, decoder.u64()?);
            let manifest = decoder.counted(SNAPSHOT_MANIFEST_BYTES_MAX)?.to_vec();
            let ascends = parts.last().is_none_or(|last| last.name < name);
            if !ascends || parts.iter().any(|part| part.uuid == uuid) {
                return Err(decoder.range_error(count as u64));
            }
            parts.push(Part { name, uuid, seq, points, manifest });
        }
        let aliases = decode_aliases(&mut decoder, &parts, is_full)?;
        decoder.finish()?;
        Ok(Body { is_full, id, name, description, parts, aliases })
    }
}

fn decode_aliases(
    decoder: &mut Decoder<'_>,
    parts: &[Part],
    is_full: bool,
) -> Result<Vec<(String, String)>, DecodeError> {
    let count = decoder.count(4 + 4)?;
    if count > ALIASES_MAX || (!is_full && count > 0) {
        return Err(decoder.range_error(count as u64));
    }
    let has = |name: &str| parts.binary_search_by(|part| part.name.as_str().cmp(name)).is_ok();
    let mut aliases: Vec<(String, String)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (alias, name) = (named(decoder)?, named(decoder)?);
        let ascends = aliases.last().is_none_or(|(last, _)| *last < alias);
        if !ascends || !has(&name) || has(&alias) {
            return Err(decoder.range_error(count as u64));
        }
        aliases.push((alias, name));
    }
    Ok(aliases)
}

/// A name that a collection may have.
fn named(decoder: &mut Decoder<'_>) -> Result<String, DecodeError> {
    let name = decoder.text(NAME_BYTES_MAX)?;
    check_name("collection", name).map_err(|_| decoder.range_error(name.len() as u64))?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(is_full: bool) -> Body {
        let part = |name: &str, uuid| Part {
            name: name.into(),
            uuid: [uuid; 16],
            seq: 3,
            points: 4,
            manifest: vec![uuid; 9],
        };
        let (mut parts, mut aliases) = (vec![part("a", 1)], Vec::new());
        if is_full {
            parts.push(part("b", 2));
            aliases.push(("now".to_owned(), "b".to_owned()));
        }
        Body { is_full, id: [7; 16], name: "monday".into(), description: "words ä".into(), parts, aliases }
    }

    #[test]
    fn round_trip_and_every_prefix() {
        for body in [sample(false), sample(true)] {
            let bytes = body.encode();
            assert_eq!(Body::decode(&bytes), Ok(body));
            for cut in 0..bytes.len() {
                assert!(Body::decode(&bytes[..cut]).is_err(), "prefix {cut}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |is_full: bool, change: &dyn Fn(&mut Body)| {
            let mut body = sample(is_full);
            change(&mut body);
            Body::decode(&body.encode()).is_err()
        };
        assert!(!refused(true, &|_| ()));
        assert!(refused(true, &|body| body.parts.swap(0, 1)));
        assert!(refused(true, &|body| body.parts[1].uuid = [1; 16]));
        assert!(refused(true, &|body| body.parts[1].name = "a".into()));
        assert!(refused(true, &|body| body.parts[0].name = "../a".into()));
        assert!(refused(true, &|body| body.aliases[0].1 = "c".into()));
        assert!(refused(true, &|body| body.aliases[0].0 = "a".into()));
        assert!(refused(false, &|body| body.parts.clear()));
        assert!(refused(false, &|body| body.aliases.push(("x".into(), "a".into()))));
    }
}
