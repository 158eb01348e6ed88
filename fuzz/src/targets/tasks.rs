//! The value in the cell of tasks, and opening a database by it.

use std::sync::Arc;

use nearfield::{CollectionConfig, Database, ErrorKind, Metric, TaskFilter, TaskState};
use nearfield_collection::{Cell, ManifestCell};
use nearfield_platform::{Dir, MemoryDir};

use super::input::Input;
use crate::fixtures;

/// Input: the tasks, without the frame of their cell.
///
/// What must hold: a database opens whatever they are, all tasks have ended (nobody works on what was left), a new task has an id that none
/// had before, and after it was opened again it lists the same.
pub fn tasks(bytes: &[u8]) {
    let value = Input::new(bytes).rest();
    let dir: Arc<dyn Dir> = MemoryDir::new();
    dir.make_dir("tasks").expect("memory has room");
    ManifestCell::new(Arc::clone(&dir), "tasks")
        .swap_if(None, value)
        .expect("an empty folder takes a first value");
    let db = Database::open_in(Arc::clone(&dir), "fuzz", fixtures::options()).expect("tasks are no truth");
    let before = db.tasks(&TaskFilter::new());
    assert!(before.iter().all(|task| task.state.is_finished() && (0.0..=100.0).contains(&task.progress)));
    assert!(before.is_sorted_by(|a, b| a.id > b.id));
    let c = db.create_collection("fuzzed", CollectionConfig::new(1, Metric::Dot)).expect("creates");
    let new = match c.flush_task() {
        Ok(id) => id,
        // The last of all ids was given.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            return;
        }
    };
    assert!(before.iter().all(|task| task.id < new));
    assert_eq!(db.wait_task(new, None).expect("it ends").state, TaskState::Completed);
    let listed = db.tasks(&TaskFilter::new());
    drop(c);
    db.close().expect("memory does not fail");
    let again = Database::open_in(dir, "fuzz", fixtures::options()).expect("it was just closed");
    let ended = |tasks: &[nearfield::Task]| {
        tasks.iter().map(|task| (task.id, task.state, task.message.clone())).collect::<Vec<_>>()
    };
    assert_eq!(ended(&again.tasks(&TaskFilter::new())), ended(&listed));
}
