//! Operations as log frames hold them: replay into a collection, and all questions to what came out.

use std::sync::Arc;

use nearfield_collection::{
    Cell, Collection, ErrorKind, Fields, IndexEpoch, Manifest, ManifestCell, OptimizerConfig, Query, Record,
    View, With,
};
use nearfield_platform::{Dir, MemoryDir};
use nearfield_types::limits::LIMIT_MAX;
use nearfield_types::{PointId, Seq};
use nearfield_wal::{Class, FileLog, Kind, LogWriter};

use super::input::Input;
use crate::fixtures;

const OPERATIONS_MAX: usize = 16;
const UUID: [u8; 16] = [1; 16];

/// Input: operations, each after its length (u16). They are logged as they are and replayed into a collection.
///
/// What must hold: the collection opens, or refuses as damaged what no writer can have logged. Count, scroll, get and search
/// agree with one another; a payload that cannot be read is damage, nothing else. Sealing changes no answer.
pub fn operation(bytes: &[u8]) {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    log(&dir, bytes);
    let collection = match open(&dir) {
        Ok(collection) => collection,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            return;
        }
    };
    let before = answers(&collection.view());
    let again = open(&dir).expect("it opened before");
    assert_eq!(answers(&again.view()), before, "a second replay differs");
    if collection.flush().is_err() {
        return;
    }
    assert_eq!(answers(&collection.view()), before, "sealing changed an answer");
    collection.close().expect("memory does not fail");
    let again = open(&dir).expect("what was sealed opens");
    assert_eq!(answers(&again.view()), before, "an answer was lost");
}

fn log(dir: &Arc<dyn Dir>, bytes: &[u8]) {
    for folder in ["segments", "deltas", "staging", "log"] {
        dir.make_dir(&format!("c/{folder}")).expect("memory has room");
    }
    let manifest = Manifest {
        collection: UUID,
        wal: fixtures::LOG,
        flushed: Seq::ZERO,
        synced: Seq::ZERO,
        next_segment: 1,
        previous_crc: 0,
        epochs: vec![IndexEpoch::default(); fixtures::config().vectors().len()],
        config: fixtures::config(),
        optimizers: OptimizerConfig::default(),
        fields: Fields::default(),
        segments: Vec::new(),
    };
    let cell = ManifestCell::new(Arc::clone(dir), "c");
    cell.swap_if(None, &manifest.encode()).expect("an empty folder takes a first value");
    let log = FileLog::open(Arc::clone(dir), "c/log", fixtures::log_options(Seq::ZERO, Seq::ZERO));
    let (mut writer, _) = log.and_then(FileLog::into_writer).expect("an empty log opens");
    let mut input = Input::new(bytes);
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        writer.append(Kind::Batch, Class::Ordinary, &[input.piece()]).expect("memory has room");
    }
    writer.close().expect("memory does not fail");
}

fn open(dir: &Arc<dyn Dir>) -> nearfield_collection::Result<Arc<Collection>> {
    Collection::open(dir, "c", UUID, fixtures::collection_options()).map(|(collection, _)| collection)
}

/// What a view answers, in words, for vectors may hold NaN. `None` where an id occurs twice, which only a crafted log does.
fn answers(view: &View) -> Option<Vec<String>> {
    let ids: Vec<PointId> = view
        .scroll(None, LIMIT_MAX, With::NOTHING)
        .expect("ids need no file")
        .into_iter()
        .map(|r| r.id)
        .collect();
    if !ids.windows(2).all(|pair| pair[0] < pair[1]) {
        return None;
    }
    assert_eq!(ids.len() as u64, view.count());
    let mut answers: Vec<String> = ids.iter().map(|id| record(view, id)).collect();
    for (name, query) in [("", &[1.0, 2.0, 3.0][..]), ("image", &[0.5, -1.0])] {
        let query = Query::new(query, LIMIT_MAX).using(name);
        let hits = view.search(&query).expect("what is in memory can be searched");
        assert!(hits.iter().all(|hit| ids.contains(&hit.id) && hit.distance.is_finite()));
        answers.push(format!("{hits:?}"));
    }
    Some(answers)
}

fn record(view: &View, id: &PointId) -> String {
    match view.get(std::slice::from_ref(id), With::ALL).map(|found| found.into_iter().next().flatten()) {
        Ok(Some(Record { id: found, payload: Some(payload), vectors: Some(vectors) })) => {
            assert!(found == *id && payload.check().is_ok());
            format!("{found:?} {payload:?} {vectors:?}")
        }
        Ok(other) => panic!("{id} was listed and is {other:?}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            format!("{id:?} is damaged")
        }
    }
}
