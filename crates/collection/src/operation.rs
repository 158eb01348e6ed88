//! What a log frame of the kind `Batch` says: changes already resolved, so that replay needs no rules.
//!
//! Conditions, merges and filters are settled by the writer before it logs: an upsert names its points, a delete its ids, a
//! patch the whole payload of each point after the change.

use std::sync::Arc;

use nearfield_codec::{DecodeError, Decoder, Encoder};
use nearfield_payload::index::IndexConfig;
use nearfield_payload::{PATH_BYTES_MAX, Path};
use nearfield_segment::NewPoint;
use nearfield_types::limits::{BATCH_BYTES_MAX, DIMENSION_MAX, FIELD_CONFIG_BYTES_MAX, ID_BYTES_MAX};
use nearfield_types::{PointId, Uuid};

use crate::format::{
    ID_NUMBER, ID_STRING, ID_UUID, OPERATION_CREATE_FIELD, OPERATION_DELETE, OPERATION_DROP_FIELD,
    OPERATION_PATCH, OPERATION_UPSERT, OPERATION_VERSION,
};

/// An encoded payload row; empty bytes are the empty object.
pub(crate) type Row = Arc<[u8]>;

/// One point as the writer stores it: vectors in the order of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) id: PointId,
    pub(crate) vectors: Vec<Option<Vec<f32>>>,
    pub(crate) payload: Row,
}

impl Stored {
    /// The point as a growing segment takes it.
    pub(crate) fn as_new(&self) -> NewPoint<'_> {
        NewPoint { id: &self.id, vectors: &self.vectors, payload: &self.payload }
    }
}

/// One atomic change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Upsert(Vec<Stored>),
    Delete(Vec<PointId>),
    /// Each row with the ids that get it.
    Patch(Vec<(Row, Vec<PointId>)>),
    /// A payload index of these values from here on.
    CreateField(Path, IndexConfig),
    /// None of these values from here on.
    DropField(Path),
}

impl Operation {
    /// Changes nothing.
    pub(crate) const NOTHING: Operation = Operation::Delete(Vec::new());

    /// The operation as the payload of a frame. See `docs/format.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(self.encoded_len());
        out.u8(OPERATION_VERSION);
        match self {
            Operation::Upsert(points) => {
                out.u8(OPERATION_UPSERT).u32(points.len() as u32);
                points.iter().for_each(|point| encode_point(&mut out, point));
            }
            Operation::Delete(ids) => {
                out.u8(OPERATION_DELETE);
                encode_ids(&mut out, ids);
            }
            Operation::Patch(groups) => {
                out.u8(OPERATION_PATCH).u32(groups.len() as u32);
                for (row, ids) in groups {
                    out.counted(row);
                    encode_ids(&mut out, ids);
                }
            }
            Operation::CreateField(path, config) => {
                out.u8(OPERATION_CREATE_FIELD);
                encode_field(&mut out, path, config);
            }
            Operation::DropField(path) => {
                out.u8(OPERATION_DROP_FIELD).counted(path.to_string().as_bytes());
            }
        }
        out.into_vec()
    }

    /// How many bytes [`Operation::encode`] will make, to a few.
    pub(crate) fn encoded_len(&self) -> usize {
        let id_len = |id: &PointId| 17 + id.heap_bytes();
        let point_len = |point: &Stored| {
            let floats: usize = point.vectors.iter().flatten().map(Vec::len).sum();
            id_len(&point.id) + 4 * floats + 5 * point.vectors.len() + 8 + point.payload.len()
        };
        16 + match self {
            Operation::Upsert(points) => points.iter().map(point_len).sum::<usize>(),
            Operation::Delete(ids) => ids.iter().map(id_len).sum(),
            Operation::Patch(groups) => {
                groups.iter().map(|(row, ids)| 8 + row.len() + ids.iter().map(id_len).sum::<usize>()).sum()
            }
            Operation::CreateField(path, config) => path.to_string().len() + config.encode().len(),
            Operation::DropField(path) => path.to_string().len(),
        }
    }

    /// Reads an operation of a collection whose vectors have these dimensions.
    pub(crate) fn decode(bytes: &[u8], dims: &[usize]) -> Result<Operation, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u8()?;
        if version != OPERATION_VERSION {
            return Err(decoder.range_error(u64::from(version)));
        }
        let operation = match decoder.u8()? {
            OPERATION_UPSERT => {
                let count = decoder.count(1 + dims.len() + 4)?;
                let points =
                    (0..count).map(|_| decode_point(&mut decoder, dims)).collect::<Result<_, _>>()?;
                Operation::Upsert(points)
            }
            OPERATION_DELETE => Operation::Delete(decode_ids(&mut decoder)?),
            OPERATION_PATCH => {
                let count = decoder.count(4 + 4)?;
                let mut groups = Vec::with_capacity(count);
                for _ in 0..count {
                    let row = Row::from(decoder.counted(BATCH_BYTES_MAX)?);
                    groups.push((row, decode_ids(&mut decoder)?));
                }
                Operation::Patch(groups)
            }
            OPERATION_CREATE_FIELD => {
                let (path, config) = decode_field(&mut decoder)?;
                Operation::CreateField(path, config)
            }
            OPERATION_DROP_FIELD => Operation::DropField(decode_path(&mut decoder)?),
            other => return Err(decoder.range_error(u64::from(other))),
        };
        decoder.finish()?;
        Ok(operation)
    }
}

/// What a payload index is made of, here and in manifests.
pub(crate) fn encode_field(out: &mut Encoder, path: &Path, config: &IndexConfig) {
    out.counted(path.to_string().as_bytes()).counted(&config.encode());
}

pub(crate) fn decode_field(decoder: &mut Decoder<'_>) -> Result<(Path, IndexConfig), DecodeError> {
    let path = decode_path(decoder)?;
    let bytes = decoder.counted(FIELD_CONFIG_BYTES_MAX)?;
    let config = IndexConfig::decode(bytes).map_err(|_| decoder.range_error(bytes.len() as u64))?;
    Ok((path, config))
}

fn decode_path(decoder: &mut Decoder<'_>) -> Result<Path, DecodeError> {
    let text = decoder.text(PATH_BYTES_MAX)?;
    Path::parse(text).map_err(|_| decoder.range_error(text.len() as u64))
}

fn encode_point(out: &mut Encoder, point: &Stored) {
    encode_id(out, &point.id);
    for vector in &point.vectors {
        match vector {
            None => {
                out.u8(0);
            }
            Some(values) => {
                out.u8(1).bytes(bytemuck::cast_slice(values));
            }
        }
    }
    out.counted(&point.payload);
}

fn decode_point(decoder: &mut Decoder<'_>, dims: &[usize]) -> Result<Stored, DecodeError> {
    let id = decode_id(decoder)?;
    let mut vectors = Vec::with_capacity(dims.len());
    for &dim in dims {
        debug_assert!(dim <= DIMENSION_MAX);
        vectors.push(match decoder.u8()? {
            0 => None,
            1 => Some(
                decoder
                    .bytes(dim * 4)?
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|raw| f32::from_le_bytes(*raw))
                    .collect(),
            ),
            other => return Err(decoder.range_error(u64::from(other))),
        });
    }
    Ok(Stored { id, vectors, payload: Row::from(decoder.counted(BATCH_BYTES_MAX)?) })
}

fn encode_ids(out: &mut Encoder, ids: &[PointId]) {
    out.u32(ids.len() as u32);
    ids.iter().for_each(|id| encode_id(out, id));
}

fn decode_ids(decoder: &mut Decoder<'_>) -> Result<Vec<PointId>, DecodeError> {
    let count = decoder.count(1 + 4)?;
    (0..count).map(|_| decode_id(decoder)).collect()
}

fn encode_id(out: &mut Encoder, id: &PointId) {
    match id {
        PointId::Number(number) => out.u8(ID_NUMBER).u64(*number),
        PointId::Uuid(uuid) => out.u8(ID_UUID).bytes(uuid.as_bytes()),
        PointId::String(text) => out.u8(ID_STRING).counted(text.as_bytes()),
    };
}

fn decode_id(decoder: &mut Decoder<'_>) -> Result<PointId, DecodeError> {
    Ok(match decoder.u8()? {
        ID_NUMBER => PointId::Number(decoder.u64()?),
        ID_UUID => PointId::Uuid(Uuid::from_bytes(decoder.array()?)),
        ID_STRING => PointId::from(decoder.text(ID_BYTES_MAX)?),
        other => return Err(decoder.range_error(u64::from(other))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Operation> {
        let ids: Vec<PointId> = vec![7.into(), "x".into(), Uuid::from_u128(5).into(), "".into()];
        let point = |id: &PointId| Stored {
            id: id.clone(),
            vectors: vec![Some(vec![1.0, -0.0, 3.5]), None],
            payload: Row::from([1, 2]),
        };
        vec![
            Operation::Upsert(ids.iter().map(point).collect()),
            Operation::Upsert(Vec::new()),
            Operation::Delete(ids.clone()),
            Operation::Patch(vec![(Row::from([9]), ids), (Row::from([]), vec![1.into()])]),
            Operation::CreateField(Path::key("a.b"), IndexConfig::Keyword { prefix: true }),
            Operation::DropField(Path::key("a.b")),
        ]
    }

    #[test]
    fn round_trip_and_every_prefix() {
        for operation in samples() {
            let bytes = operation.encode();
            assert!(bytes.len() <= operation.encoded_len());
            assert_eq!(Operation::decode(&bytes, &[3, 2]).as_ref(), Ok(&operation));
            for cut in 0..bytes.len() {
                assert!(Operation::decode(&bytes[..cut], &[3, 2]).is_err());
            }
        }
    }
}
