//! What a reader sees of a directory: the records at one moment, without a lock, whoever writes meanwhile.

use std::sync::Arc;

use nearfield::{CollectionConfig, Database, ErrorKind, Metric, Reader, View};
use nearfield_platform::{RealDir, RealOptions};

use crate::batches;
use crate::failure::Failure;
use crate::fork::check_opening;
use crate::store::{Opening, RECORDS, State, shape};

/// What a reader sees.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) view: View,
    pub(crate) state: State,
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
}

/// The records and what is kept about them.
pub(crate) fn look(opening: &Opening) -> Result<Seen, Failure> {
    check_opening()?;
    if let Some(store) = opening.opened() {
        return Ok(Seen { view: store.view(), state: store.state(), dim: store.dim, metric: store.metric });
    }
    let missing = || Failure::value(format!("database not found at '{}'", opening.place()));
    let Some(path) = &opening.path else { return Err(missing()) };
    let dir = RealDir::open_with(path, RealOptions::default()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => Failure::value(error.to_string()),
    })?;
    let looked = Reader::open_in(Arc::new(dir), opening.place()).and_then(|reader| reader.look(seen));
    let (view, state, config) = looked.map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(),
        _ => error.into(),
    })?;
    let (dim, metric) = shape(&config)?;
    Ok(Seen { view, state, dim, metric })
}

/// True if there are records of ours. What cannot be read is taken for them, so that nothing is put in its place.
pub(crate) fn is_there(opening: &Opening) -> bool {
    if opening.opened().is_some() {
        return true;
    }
    let Some(path) = &opening.path else { return false };
    let Ok(dir) = RealDir::open_with(path, RealOptions::default()) else { return false };
    match Reader::open_in(Arc::new(dir), opening.place()) {
        // A child of a fork may not look any closer.
        Ok(_) if check_opening().is_err() => true,
        Ok(reader) => reader
            .look(|db| {
                let alias = db.aliases().iter().any(|(alias, _)| alias == RECORDS);
                Ok(alias || db.collections().iter().any(|name| name == RECORDS))
            })
            .unwrap_or(true),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

fn seen(db: &Database) -> nearfield::Result<(View, State, CollectionConfig)> {
    let records = db.collection(RECORDS)?;
    // In memory only: what was half written is not seen, and its writer may still be at it.
    batches::recover(db, &records)?;
    let state = State::find(db, records.name())?;
    Ok((records.view(), state, CollectionConfig::clone(&records.config())))
}
