//! Writing records: one operation of the engine where it takes the batch whole, several with a way back where it does not.
//!
//! ```text
//! undo      the records that the batch will replace
//! listing   the ids that the batch names
//! intent    an alias of the listing, set when all of that is on the disk
//! parts     one operation each
//! commit    the alias is dropped with the listing: from then on the batch stands
//! ```
//!
//! Whoever finds an `intent` takes the batch back: ids that `undo` holds get their old records, the others are deleted. So a batch is
//! whole or not there, whatever ends it: an error, Ctrl-C, or the end of the process. A reader sees names of one moment, so it either finds the
//! intent, and all that it takes back, or a moment without parts.

use nearfield::{
    Collection, CollectionConfig, Database, ErrorKind, Metric, Object, Point, PointId, Value, Vectors, With,
    limits,
};

use crate::failure::{Failure, check_signals};
use crate::store::{Store, existing, point_of};

const INTENT: &str = "vectors.intent";
const LISTING: &str = "vectors.listing";
const UNDO: &str = "vectors.undo";
/// Bytes of vectors, ids and metadata in one part at most.
const PART_BYTES: usize = 128 << 20;
/// Bytes of ids in one record of the intent.
const IDS_BYTES: usize = 4 << 20;
/// Records handled at once when a batch is taken back.
const PAGE: usize = 1_000;

/// Stores records. With `new`, none of the ids may be there. All or nothing.
pub(crate) fn write(store: &Store, points: Vec<Point>, new: bool) -> Result<(), Failure> {
    if points.is_empty() {
        return Ok(());
    }
    let parts = split(points);
    match <[Vec<Point>; 1]>::try_from(parts) {
        Ok([points]) => write_one(store, points, new),
        Err(parts) => write_parts(store, parts, new),
    }
}

fn write_one(store: &Store, points: Vec<Point>, new: bool) -> Result<(), Failure> {
    let _writing = store.shared()?;
    let collection = store.collection();
    if !new {
        collection.upsert(points)?;
        return Ok(());
    }
    let ids: Vec<PointId> = points.iter().map(|point| point.id.clone()).collect();
    match collection.insert(points) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Exists => {
            let view = collection.view();
            let there = ids.iter().find(|id| view.contains(id)).or(ids.first());
            Err(there.map_or_else(|| error.into(), |id| Failure::exists(&id.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}

fn write_parts(store: &Store, parts: Vec<Vec<Point>>, new: bool) -> Result<(), Failure> {
    let alone = store.alone()?;
    let (db, collection) = (store.database(), store.collection());
    let view = collection.view();
    if new && let Some(point) = parts.iter().flatten().find(|point| view.contains(&point.id)) {
        return Err(Failure::exists(&point.id.to_string()));
    }
    alone.begin();
    let written = begin(db, &collection, &parts).and_then(|()| {
        for part in parts {
            check_signals()?;
            collection.upsert(part)?;
        }
        // The intent must not go before what it stands for has come to stay.
        collection.sync()?;
        Ok(())
    });
    let ended = written.and_then(|()| commit(db));
    if ended.is_ok() {
        alone.reveal();
    }
    // If it fails, readers go on seeing what they see, and the next write begins with it.
    let _ = alone.settle();
    ended
}

/// From here on the batch stands.
fn commit(db: &Database) -> Result<(), Failure> {
    match db.delete_collection(LISTING) {
        // It may have failed at something that comes after that.
        Err(error) if db.collections().iter().any(|name| name == LISTING) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes down how to take the batch back.
fn begin(db: &Database, collection: &Collection, parts: &[Vec<Point>]) -> Result<(), Failure> {
    let ids: Vec<&PointId> = parts.iter().flatten().map(|point| &point.id).collect();
    let view = collection.view();
    let replaced: Vec<PointId> = ids.iter().filter(|id| view.contains(id)).map(|id| (*id).clone()).collect();
    if !replaced.is_empty() {
        let undo = db.create_collection(UNDO, CollectionConfig::clone(&collection.config()))?;
        for page in replaced.chunks(PAGE) {
            check_signals()?;
            let records = view.get(page, With::ALL)?;
            undo.upsert(records.into_iter().flatten().map(point_of).collect())?;
        }
        undo.sync()?;
    }
    let listing = db.create_collection(LISTING, CollectionConfig::new(1, Metric::Euclid))?;
    listing.upsert(lists_of(&ids))?;
    listing.sync()?;
    Ok(db.set_alias(INTENT, LISTING)?)
}

/// The ids in as few records as their payloads may be large.
fn lists_of(ids: &[&PointId]) -> Vec<Point> {
    let mut lists: Vec<Vec<Value>> = vec![Vec::new()];
    let mut bytes = 0;
    for id in ids {
        let text = id.to_string();
        bytes += text.len() + 8;
        if bytes > IDS_BYTES {
            lists.push(Vec::new());
            bytes = text.len() + 8;
        }
        if let Some(list) = lists.last_mut() {
            list.push(Value::String(text));
        }
    }
    let point = |(number, list)| {
        let payload = Object::from_entries([("ids".to_owned(), Value::Array(list))]);
        Point::new(number as u64, vec![0.0]).payload(payload)
    };
    lists.into_iter().enumerate().map(point).collect()
}

/// Takes back a batch that was not finished, if there is one.
pub(crate) fn recover(db: &Database, collection: &Collection) -> nearfield::Result<()> {
    let undo = existing(db, UNDO)?;
    if let Some(intent) = existing(db, INTENT)? {
        for list in intent.view().scroll(None, limits::LIMIT_MAX, With::PAYLOAD)? {
            let payload = list.payload.unwrap_or_default();
            let Some(Value::Array(ids)) = payload.get("ids") else { continue };
            let text = |id: &Value| match id {
                Value::String(text) => Some(PointId::from(text.as_str())),
                _ => None,
            };
            let ids: Vec<PointId> = ids.iter().filter_map(text).collect();
            ids.chunks(PAGE).try_for_each(|page| take_back(collection, undo.as_ref(), page))?;
        }
        collection.sync()?;
    }
    finish(db)
}

/// Restores the old records of these ids and deletes those that had none.
fn take_back(collection: &Collection, undo: Option<&Collection>, ids: &[PointId]) -> nearfield::Result<()> {
    let old = match undo {
        Some(undo) => undo.view().get(ids, With::ALL)?,
        None => vec![None; ids.len()],
    };
    let added: Vec<PointId> =
        ids.iter().zip(&old).filter(|(_, old)| old.is_none()).map(|(id, _)| id.clone()).collect();
    collection.delete(&added)?;
    let replaced: Vec<Point> = old.into_iter().flatten().map(point_of).collect();
    if !replaced.is_empty() {
        collection.upsert(replaced)?;
    }
    Ok(())
}

/// Forgets the way back. The listing goes first, and the intent with it: without it `undo` means nothing.
fn finish(db: &Database) -> nearfield::Result<()> {
    db.delete_collection(LISTING)?;
    db.delete_collection(UNDO)?;
    Ok(())
}

/// Parts that the engine takes whole.
pub(crate) fn split(points: Vec<Point>) -> Vec<Vec<Point>> {
    let most = points.len().min(limits::BATCH_POINTS_MAX);
    let mut parts: Vec<Vec<Point>> = Vec::new();
    let (mut part, mut bytes) = (Vec::with_capacity(most), 0);
    for point in points {
        let size = size_of_point(&point);
        if part.len() == limits::BATCH_POINTS_MAX || (bytes + size > PART_BYTES && !part.is_empty()) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(point);
    }
    parts.push(part);
    parts
}

fn size_of_point(point: &Point) -> usize {
    let numbers = match &point.vectors {
        Vectors::One(vector) => vector.len(),
        Vectors::Named(named) => named.iter().map(|(_, vector)| vector.len()).sum(),
    };
    let payload = if point.payload.is_empty() { 0 } else { point.payload.check().unwrap_or(0) };
    4 * numbers + point.id.heap_bytes() + payload
}
