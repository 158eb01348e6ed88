//! Validation: everything about a write that can be settled without looking at what is stored.
//!
//! A refused request changed nothing: all of it happens before the log is touched. What comes out is ready to be logged.

use std::collections::HashMap;

use nearfield_payload::encode;
use nearfield_types::limits::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, ID_BYTES_MAX};
use nearfield_types::{Object, PointId};

use crate::config::{CollectionConfig, VectorConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Operation, Row, Stored};
use crate::point::{Point, Vectors};

/// Checks points and encodes their payloads. Of points with one id the last stands.
pub(crate) fn points(config: &CollectionConfig, points: Vec<Point>) -> Result<Vec<Stored>> {
    check_count("points", points.len())?;
    check_rows(config, points.len())?;
    let mut stored: Vec<Stored> = Vec::with_capacity(points.len());
    let mut places: HashMap<PointId, usize> = HashMap::with_capacity(points.len());
    for point in points {
        let point = prepare_point(config, point)?;
        match places.get(&point.id) {
            Some(&place) => stored[place] = point,
            None => {
                places.insert(point.id.clone(), stored.len());
                stored.push(point);
            }
        }
    }
    Ok(stored)
}

/// Checks what the rows of a write will take in memory, where a vector that a point does not have takes as much as one it has.
fn check_rows(config: &CollectionConfig, points: usize) -> Result<()> {
    let row: usize = config.vectors().map(|(_, vector)| vector.dim as usize * 4).sum();
    match row.saturating_mul(points) {
        bytes if bytes > BATCH_BYTES_MAX => {
            let context = format!(
                "{points} points of {row} bytes a point take {bytes} bytes: at most {BATCH_BYTES_MAX} are allowed, send them in parts"
            );
            Err(Error::invalid(context))
        }
        _ => Ok(()),
    }
}

/// Checks that ids are within their limits.
pub(crate) fn ids(ids: &[PointId]) -> Result<()> {
    check_count("ids", ids.len())?;
    ids.iter().try_for_each(check_id)
}

/// Checks and encodes a payload.
pub(crate) fn payload(payload: Object) -> Result<Row> {
    let row = encode(&payload).map_err(|e| Error::caused(ErrorKind::Invalid, "payload is refused", e))?;
    Ok(Row::from(&row[..]))
}

/// Checks the size of a finished operation.
pub(crate) fn size(operation: &Operation) -> Result<()> {
    bytes(operation.encoded_len())
}

/// Checks how many bytes a write has, or has so far.
pub(crate) fn bytes(bytes: usize) -> Result<()> {
    if bytes > BATCH_BYTES_MAX {
        let context =
            format!("the write has {bytes} bytes: at most {BATCH_BYTES_MAX} are allowed, send it in parts");
        return Err(Error::invalid(context));
    }
    Ok(())
}

/// Checks a query vector against the vector it is compared with.
pub(crate) fn query(name: &str, config: VectorConfig, vector: &[f32]) -> Result<()> {
    check_vector(name, config, vector).map_err(|e| e.within("query"))
}

fn prepare_point(config: &CollectionConfig, point: Point) -> Result<Stored> {
    let Point { id, vectors, payload: object } = point;
    let prepared = check_id(&id)
        .and_then(|()| place_vectors(config, vectors))
        .and_then(|vectors| Ok((vectors, payload(object)?)));
    let (vectors, payload) = prepared.map_err(|e| e.within(format_args!("point {}", shown(&id))))?;
    Ok(Stored { id, vectors, payload })
}

fn place_vectors(config: &CollectionConfig, vectors: Vectors) -> Result<Vec<Option<Vec<f32>>>> {
    let named = match vectors {
        Vectors::One(vector) => vec![(String::new(), vector)],
        Vectors::Named(named) => named,
    };
    let mut placed: Vec<Option<Vec<f32>>> = vec![None; config.vectors().len()];
    for (name, vector) in named {
        let Some((place, expected)) = config.find(&name) else {
            return Err(unknown_vector(config, &name));
        };
        check_vector(&name, expected, &vector)?;
        if placed[place].replace(vector).is_some() {
            return Err(Error::invalid(format!("vector {name:?} is given twice")));
        }
    }
    if placed.iter().all(Option::is_none) {
        return Err(Error::invalid("no vector is given: a point needs at least one"));
    }
    Ok(placed)
}

/// The error for a vector name that the collection does not have.
pub(crate) fn unknown_vector(config: &CollectionConfig, name: &str) -> Error {
    let known: Vec<_> = config.vectors().map(|(name, _)| format!("{name:?}")).collect();
    let shown: String = name.chars().take(64).collect();
    Error::invalid(format!("there is no vector {shown:?}: the collection has {}", known.join(", ")))
}

fn check_vector(name: &str, config: VectorConfig, vector: &[f32]) -> Result<()> {
    let what = if name.is_empty() { "vector".to_owned() } else { format!("vector {name:?}") };
    if vector.len() != config.dim as usize {
        let context = format!("{what} has {} dimensions, expected {}", vector.len(), config.dim);
        return Err(Error::invalid(context));
    }
    match vector.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::invalid(format!(
            "{what} holds {} at dimension {at}: only finite numbers are allowed",
            vector[at]
        ))),
        None => Ok(()),
    }
}

fn check_id(id: &PointId) -> Result<()> {
    match id.heap_bytes() {
        bytes if bytes > ID_BYTES_MAX => {
            Err(Error::invalid(format!("id has {bytes} bytes: at most {ID_BYTES_MAX} are allowed")))
        }
        _ => Ok(()),
    }
}

fn check_count(what: &str, count: usize) -> Result<()> {
    if count > BATCH_POINTS_MAX {
        let context =
            format!("{what} has {count} entries: at most {BATCH_POINTS_MAX} are allowed, send them in parts");
        return Err(Error::invalid(context));
    }
    Ok(())
}

/// An id short enough for an error.
fn shown(id: &PointId) -> String {
    let text = format!("{id:?}");
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
