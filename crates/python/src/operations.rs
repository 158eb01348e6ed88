//! The operations of a database in two steps: arguments are read while Python waits, then the work is done without Python.
//!
//! The second step is a closure that holds nothing of Python, so that `Database` may do it at once and `AsyncDatabase` on another thread.

use std::collections::HashSet;
use std::sync::Arc;

use nearfield::{Point, PointId, View, With, limits};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::answers::{Ids, Stored};
use crate::batches;
use crate::errors::value_error;
use crate::failure::{Failure, class_of, noted, type_error};
use crate::filters;
use crate::handle::Handle;
use crate::metadata;
use crate::searching::{self, Ask, Found};
use crate::vectors::{Batch, Vector};

/// What an operation comes to.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// `add` and, without `new`, `upsert`.
pub(crate) fn put(
    handle: &Arc<Handle>,
    id: &Bound<'_, PyString>,
    vector: &Bound<'_, PyAny>,
    metadata: Option<&Bound<'_, PyDict>>,
    new: bool,
) -> PyResult<impl FnOnce() -> Outcome<()> + Send + use<>> {
    let vector = Vector::new("vector", vector, handle.dim)?.into_vec()?;
    let point = Point::new(id.to_str()?, vector).payload(metadata::stored(metadata)?);
    let handle = Arc::clone(handle);
    Ok(move || batches::write(&*handle.store()?, vec![point], new))
}

/// `add_many` and, without `new`, `upsert_many`.
pub(crate) fn put_many(
    handle: &Arc<Handle>,
    ids: &Bound<'_, PyAny>,
    vectors: &Bound<'_, PyAny>,
    metadatas: Option<&Bound<'_, PyAny>>,
    new: bool,
) -> PyResult<impl FnOnce() -> Outcome<()> + Send + use<>> {
    let ids = texts("ids", ids)?;
    let batch = Batch::new("vectors", vectors)?;
    if ids.len() != batch.len() {
        let (ids, vectors) = (ids.len(), batch.len());
        return Err(value_error(format!("ids length ({ids}) != vectors length ({vectors})")));
    }
    let metadatas = metadatas.map(|given| stored_list(given, ids.len())).transpose()?;
    batch.check(handle.dim)?;
    if new {
        refuse_repeated(&ids)?;
    }
    let numbers = batch.numbers()?;
    let mut metadatas = metadatas.into_iter().flatten();
    let rows = numbers.chunks_exact(handle.dim);
    let points: Vec<Point> = ids
        .into_iter()
        .zip(rows)
        .map(|(id, row)| Point {
            payload: metadatas.next().unwrap_or_default(),
            ..Point::new(id, row.to_vec())
        })
        .collect();
    let handle = Arc::clone(handle);
    Ok(move || batches::write(&*handle.store()?, points, new))
}

/// How a search is asked for, besides the vectors.
pub(crate) fn ask(
    handle: &Handle,
    k: i64,
    ef_search: Option<i64>,
    where_filter: Option<&Bound<'_, PyAny>>,
    max_distance: Option<f64>,
) -> PyResult<Ask> {
    let whole = |name: &str, value: i64| {
        usize::try_from(value).map_err(|_| value_error(format!("{name} is {value}, it must be at least 0")))
    };
    if max_distance.is_some_and(f64::is_nan) {
        return Err(value_error("max_distance is NaN, it must be a number"));
    }
    Ok(Ask {
        k: whole("k", k)?,
        ef: ef_search.map(|ef| whole("ef_search", ef)).transpose()?,
        filter: filters::filter(where_filter)?,
        // As precise as the distances it is compared with.
        max_distance: max_distance.map(|most| most as f32),
        quantized: handle.quantized(),
        metric: handle.metric,
    })
}

/// `search`, for those who cannot lend the vector.
pub(crate) fn search(
    handle: &Arc<Handle>,
    vector: &Bound<'_, PyAny>,
    ask: Ask,
) -> PyResult<impl FnOnce() -> Outcome<Vec<Found>> + Send + use<>> {
    let vector = Vector::new("vector", vector, handle.dim)?.into_vec()?;
    let handle = Arc::clone(handle);
    Ok(move || searching::search(&handle.view_for(ask.filter.as_ref())?, &vector, &ask))
}

/// `search_many`, for those who cannot lend the vectors.
pub(crate) fn search_many(
    handle: &Arc<Handle>,
    vectors: &Bound<'_, PyAny>,
    ask: Ask,
) -> PyResult<impl FnOnce() -> Outcome<Vec<Vec<Found>>> + Send + use<>> {
    let batch = Batch::new("vectors", vectors)?;
    batch.check(handle.dim)?;
    let numbers = batch.numbers()?.into_owned();
    let handle = Arc::clone(handle);
    Ok(move || searching::search_many(&handle.view_for(ask.filter.as_ref())?, &numbers, handle.dim, &ask))
}

/// `get`.
pub(crate) fn get(
    handle: &Arc<Handle>,
    id: &Bound<'_, PyString>,
) -> PyResult<impl FnOnce() -> Outcome<Stored> + Send + use<>> {
    let (id, handle) = (id.to_str()?.to_owned(), Arc::clone(handle));
    Ok(move || {
        let record = record(&handle.view()?, &id)?;
        let vector =
            record.vectors.into_iter().flatten().next().map(|(_, vector)| vector).unwrap_or_default();
        Ok(Stored { vector, metadata: record.payload.unwrap_or_default() })
    })
}

fn record(view: &View, id: &str) -> Outcome<nearfield::Record> {
    // No id is so long, so there is none.
    if id.len() > limits::ID_BYTES_MAX {
        return Err(Failure::missing(id));
    }
    let found = view.get(&[PointId::from(id)], With::ALL)?;
    found.into_iter().next().flatten().ok_or_else(|| Failure::missing(id))
}

/// `delete`.
pub(crate) fn delete(
    handle: &Arc<Handle>,
    id: &Bound<'_, PyString>,
) -> PyResult<impl FnOnce() -> Outcome<bool> + Send + use<>> {
    let (ids, handle) = (vec![PointId::from(id.to_str()?)], Arc::clone(handle));
    Ok(move || Ok(remove(&handle, &ids)? > 0))
}

/// `delete_many`.
pub(crate) fn delete_many(
    handle: &Arc<Handle>,
    ids: &Bound<'_, PyAny>,
) -> PyResult<impl FnOnce() -> Outcome<u64> + Send + use<>> {
    let ids: Vec<PointId> = texts("ids", ids)?.into_iter().map(PointId::from).collect();
    let handle = Arc::clone(handle);
    Ok(move || remove(&handle, &ids))
}

fn remove(handle: &Handle, ids: &[PointId]) -> Outcome<u64> {
    let store = handle.store()?;
    let _writing = store.shared()?;
    let collection = store.collection();
    let known: Vec<PointId> =
        ids.iter().filter(|id| id.heap_bytes() <= limits::ID_BYTES_MAX).cloned().collect();
    let mut count = 0;
    for part in known.chunks(limits::BATCH_POINTS_MAX) {
        let deleted = collection.delete(part)?;
        store.count_deleted(deleted)?;
        count += deleted;
    }
    Ok(count)
}

/// `update`.
pub(crate) fn update(
    handle: &Arc<Handle>,
    id: &Bound<'_, PyString>,
    vector: Option<&Bound<'_, PyAny>>,
    metadata: Option<&Bound<'_, PyDict>>,
) -> PyResult<impl FnOnce() -> Outcome<()> + Send + use<>> {
    if vector.is_none() && metadata.is_none() {
        return Err(value_error("update needs a vector or metadata"));
    }
    let vector = vector.map(|vector| Vector::new("vector", vector, handle.dim)?.into_vec()).transpose()?;
    let metadata = metadata.map(|dict| metadata::stored(Some(dict))).transpose()?;
    let (id, handle) = (id.to_str()?.to_owned(), Arc::clone(handle));
    Ok(move || {
        let store = handle.store()?;
        match (vector, metadata) {
            (None, metadata) => {
                let _writing = store.shared()?;
                match store
                    .collection()
                    .replace_payload(&[PointId::from(id.as_str())], metadata.unwrap_or_default())?
                {
                    0 => Err(Failure::missing(&id)),
                    _ => Ok(()),
                }
            }
            (Some(vector), metadata) => {
                // Read and written as one: nobody may come between.
                let _alone = store.alone()?;
                let collection = store.collection();
                let old = record(&collection.view(), &id)?;
                let payload = metadata.or(old.payload).unwrap_or_default();
                collection.upsert(vec![Point::new(id.as_str(), vector).payload(payload)])?;
                Ok(())
            }
        }
    })
}

/// `count`.
pub(crate) fn count(
    handle: &Arc<Handle>,
    where_filter: Option<&Bound<'_, PyAny>>,
) -> PyResult<impl FnOnce() -> Outcome<u64> + Send + use<>> {
    let (filter, handle) = (filters::filter(where_filter)?, Arc::clone(handle));
    Ok(move || match filter {
        Some(filter) => Ok(handle.view_for(Some(&filter))?.count_passing(&filter)?),
        None => Ok(handle.view()?.count()),
    })
}

/// `ids`.
pub(crate) fn ids(handle: &Arc<Handle>) -> impl FnOnce() -> Outcome<Ids> + Send + use<> {
    let handle = Arc::clone(handle);
    move || {
        let view = handle.view()?;
        let mut ids: Vec<PointId> = Vec::with_capacity(usize::try_from(view.count()).unwrap_or(0));
        loop {
            let page = view.scroll(ids.last(), limits::LIMIT_MAX, With::NOTHING)?;
            if page.is_empty() {
                return Ok(Ids(ids));
            }
            ids.extend(page.into_iter().map(|record| record.id));
        }
    }
}

/// `save`.
pub(crate) fn save(handle: &Arc<Handle>) -> impl FnOnce() -> Outcome<()> + Send + use<> {
    let handle = Arc::clone(handle);
    move || match handle.held()? {
        Some(store) => store.save(),
        None if handle.read_only => Err(Failure::value("database is read-only")),
        // It was saved when the directory was given up.
        None => Ok(()),
    }
}

/// `wait_indexed`.
pub(crate) fn wait_indexed(handle: &Arc<Handle>) -> impl FnOnce() -> Outcome<()> + Send + use<> {
    let handle = Arc::clone(handle);
    move || match handle.held()? {
        Some(store) => Ok(store.collection().wait_indexed()?),
        None => Ok(()),
    }
}

/// `compact`.
pub(crate) fn compact(handle: &Arc<Handle>) -> impl FnOnce() -> Outcome<()> + Send + use<> {
    let handle = Arc::clone(handle);
    move || handle.store()?.compact()
}

/// Leaves `with`: saves and gives the directory up.
pub(crate) fn leave(handle: &Arc<Handle>) -> impl FnOnce() -> Outcome<()> + Send + use<> {
    let handle = Arc::clone(handle);
    move || handle.rest()
}

/// `close`.
pub(crate) fn close(handle: &Arc<Handle>) -> impl FnOnce() -> Outcome<()> + Send + use<> {
    let handle = Arc::clone(handle);
    move || handle.close()
}

/// True if there is a record with this id.
pub(crate) fn contains(handle: &Handle, id: &str) -> Outcome<bool> {
    Ok(id.len() <= limits::ID_BYTES_MAX && handle.view()?.contains(&PointId::from(id)))
}

/// Texts from anything that yields them; a text by itself would yield its letters, which nobody means.
fn texts(field: &str, given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if given.is_instance_of::<PyString>() {
        return Err(type_error(format!("{field} must be a list of str, not str")));
    }
    let items = given
        .try_iter()
        .map_err(|_| type_error(format!("{field} must be a list of str, not {}", class_of(given))))?;
    let mut texts = Vec::with_capacity(given.len().unwrap_or(0));
    for item in items {
        let item = item?;
        let Ok(text) = item.cast::<PyString>() else {
            let at = texts.len();
            return Err(type_error(format!("{field}[{at}] must be str, not {}", class_of(&item))));
        };
        texts.push(text.to_str()?.to_owned());
    }
    Ok(texts)
}

/// Metadata for so many records.
fn stored_list(given: &Bound<'_, PyAny>, ids: usize) -> PyResult<Vec<nearfield::Object>> {
    let wrong = || value_error("metadatas must be list of dicts or None");
    let is_list =
        given.is_instance_of::<pyo3::types::PyList>() || given.is_instance_of::<pyo3::types::PyTuple>();
    if !is_list {
        return Err(type_error(format!(
            "metadatas must be a list of dicts or None, not {}",
            class_of(given)
        )));
    }
    let len = given.len()?;
    if len != ids {
        return Err(value_error(format!("metadatas length ({len}) != ids length ({ids})")));
    }
    given
        .try_iter()?
        .enumerate()
        .map(|(at, item)| {
            let item = item?;
            match item.cast::<PyDict>() {
                _ if item.is_none() => metadata::stored(None),
                Ok(dict) => {
                    metadata::stored(Some(dict)).map_err(|error| noted(error, &format!("in metadatas[{at}]")))
                }
                Err(_) => Err(wrong()),
            }
        })
        .collect()
}

fn refuse_repeated(ids: &[String]) -> PyResult<()> {
    let mut seen = HashSet::with_capacity(ids.len());
    match ids.iter().find(|id| !seen.insert(id.as_str())) {
        Some(id) => Err(value_error(format!("id '{id}' occurs more than once in the batch"))),
        None => Ok(()),
    }
}
