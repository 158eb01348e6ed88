//! The board against its invariants: who runs when, what a cancel, a panic, a close and a crash leave.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use nearfield_collection::{CollectionConfig, FieldKind};
use nearfield_platform::{Dir, FaultyDir, LossModel, MemoryDir};
use nearfield_types::{Metric, Object};

use super::*;
use crate::{Collection, Options, Point};

fn open(dir: &Arc<MemoryDir>) -> Database {
    Database::open_in(Arc::clone(dir) as Arc<dyn Dir>, "tasks", Options::default()).unwrap()
}

fn create(db: &Database, name: &str) -> Collection {
    db.create_collection(name, CollectionConfig::new(1, Metric::Dot)).unwrap()
}

fn states(db: &Database, ids: &[TaskId]) -> Vec<TaskState> {
    ids.iter().map(|id| db.task(*id).unwrap().state).collect()
}

/// A task that says when it is begun and ends when it is told how.
struct Held {
    id: TaskId,
    begun: Receiver<()>,
    end: Sender<Result<String>>,
}

fn held(db: &Database, kind: TaskKind, collection: &str) -> Held {
    let ((begin, begun), (end, ends)) = (channel(), channel());
    let work = move |_: &Database, progress: &Progress| {
        progress.expect(4);
        progress.add(1);
        let _ = begin.send(());
        loop {
            match ends.try_recv() {
                Ok(end) => return end,
                Err(_) if progress.is_cancelled() => {
                    return Err(Error::new(ErrorKind::Cancelled, "it was taken back"));
                }
                Err(_) => std::thread::yield_now(),
            }
        }
    };
    Held { id: db.run(kind, collection, "", work).unwrap(), begun, end }
}

#[test]
fn one_of_a_collection_at_a_time_and_a_few_over_all() {
    use TaskState::{Completed, Queued, Running};
    let db = Database::in_memory().unwrap();
    for name in ["a", "b", "c"] {
        create(&db, name);
    }
    let [first, second, other, third] = ["a", "a", "b", "c"].map(|name| held(&db, TaskKind::Snapshot, name));
    let ids = [first.id, second.id, other.id, third.id];
    first.begun.recv().unwrap();
    other.begun.recv().unwrap();
    assert_eq!(states(&db, &ids), [Running, Queued, Running, Queued]);
    assert_eq!(db.task(first.id).unwrap().progress, 25.0);
    first.end.send(Ok("made s-1".to_owned())).unwrap();
    let done = db.wait_task(first.id, None).unwrap();
    assert_eq!((done.state, done.progress, done.message.as_str()), (Completed, 100.0, "made s-1"));
    assert!(done.created_ms <= done.started_ms.unwrap() && done.started_ms <= done.finished_ms);
    second.begun.recv().unwrap();
    assert_eq!(states(&db, &ids), [Completed, Running, Running, Queued]);
    other.end.send(Ok(String::new())).unwrap();
    third.begun.recv().unwrap();
    for task in [&second, &third] {
        task.end.send(Ok(String::new())).unwrap();
        assert_eq!(db.wait_task(task.id, None).unwrap().state, Completed);
    }
    let listed = |filter: TaskFilter| db.tasks(&filter).iter().map(|task| task.id).collect::<Vec<_>>();
    assert_eq!(listed(TaskFilter::new()), ids.iter().rev().copied().collect::<Vec<_>>());
    db.set_alias("now", "a").unwrap();
    assert_eq!(listed(TaskFilter::new().collection("now")), [second.id, first.id]);
    assert_eq!(listed(TaskFilter::new().kind(TaskKind::Flush)), []);
    assert_eq!(listed(TaskFilter::new().state(Completed)).len(), 4);
    assert_eq!(listed(TaskFilter::new().unfinished()), []);
}

#[test]
fn what_waits_and_what_runs_can_be_taken_back() {
    let db = Database::in_memory().unwrap();
    create(&db, "a");
    let [runs, waits] = [(); 2].map(|()| held(&db, TaskKind::Import, "a"));
    runs.begun.recv().unwrap();
    let error = db.wait_task(runs.id, Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(db.cancel_task(waits.id).unwrap());
    assert_eq!(db.task(waits.id).unwrap().state, TaskState::Cancelled);
    assert!(db.cancel_task(runs.id).unwrap());
    assert_eq!(db.wait_task(runs.id, None).unwrap().state, TaskState::Cancelled);
    assert!(!db.cancel_task(runs.id).unwrap());
    assert_eq!(db.cancel_task(TaskId(99)).unwrap_err().kind(), ErrorKind::NotFound);
    // Done before it heard of it.
    let late = held(&db, TaskKind::Import, "a");
    late.end.send(Ok(String::new())).unwrap();
    assert_eq!(db.wait_task(late.id, None).unwrap().state, TaskState::Completed);
}

#[test]
fn a_panic_fails_the_task_and_stops_its_collection_alone() {
    let db = Database::in_memory().unwrap();
    let (a, b) = (create(&db, "a"), create(&db, "b"));
    let id = db.run(TaskKind::Import, "a", "", |_, _| panic!("row 7 is odd")).unwrap();
    let next = db.run(TaskKind::Import, "a", "", |_, _| Ok(String::new())).unwrap();
    let failed = db.wait_task(id, None).unwrap();
    assert_eq!(failed.state, TaskState::Failed);
    assert!(failed.message.ends_with("row 7 is odd"), "{}", failed.message);
    assert_eq!(db.wait_task(next, None).unwrap().state, TaskState::Completed);
    assert_eq!(a.upsert(vec![Point::new(1, vec![1.0])]).unwrap_err().kind(), ErrorKind::Unavailable);
    b.upsert(vec![Point::new(1, vec![1.0])]).unwrap();
}

#[test]
fn an_error_is_the_reason() {
    let db = Database::in_memory().unwrap();
    let full = || Error::new(ErrorKind::Full, "no room for 7 MB");
    let id = db.run(TaskKind::Restore, "new", "s-1", move |_, _| Err(full())).unwrap();
    let task = db.wait_task(id, None).unwrap();
    assert_eq!((task.state, task.message.as_str()), (TaskState::Failed, "no room for 7 MB"));
    assert_eq!((task.collection.as_str(), task.uuid, task.argument.as_str()), ("new", None, "s-1"));
    let long = "x".repeat(5_000);
    assert_eq!(
        db.run(TaskKind::Restore, "", &long, |_, _| Ok(String::new())).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn flushes_and_indexes() {
    let db = Database::in_memory().unwrap();
    let c = create(&db, "c");
    let point =
        |id: u64| Point::new(id, vec![1.0]).payload(Object::from_entries([("n".to_owned(), id.into())]));
    c.upsert((0..2_000).map(point).collect()).unwrap();
    let hold = held(&db, TaskKind::Snapshot, "c");
    let flush = c.flush_task().unwrap();
    assert_eq!(c.flush_task().unwrap(), flush, "one that waits does what another would");
    let index = c.create_index_task("n", &FieldKind::Integer.config()).unwrap();
    assert_eq!(c.create_index_task("n", &FieldKind::Integer.config()).unwrap(), index);
    let other = c.create_index_task("n", &FieldKind::Keyword.config()).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Exists);
    let unwanted = c.create_index_task("m", &FieldKind::Integer.config()).unwrap();
    assert!(db.cancel_task(unwanted).unwrap());
    hold.end.send(Ok(String::new())).unwrap();
    for id in [flush, index] {
        assert_eq!(db.wait_task(id, None).unwrap().state, TaskState::Completed);
    }
    assert_eq!(db.wait_task(unwanted, None).unwrap().state, TaskState::Cancelled);
    assert_eq!(c.stats().unwrap().segments, 1);
    let indexes = c.field_indexes().unwrap();
    assert!(indexes.len() == 1 && indexes[0].is_ready());
    assert_ne!(c.flush_task().unwrap(), flush);
}

#[test]
fn merges_and_new_indexes() {
    let db = Database::in_memory().unwrap();
    let c = create(&db, "c");
    for first in (0..2_400).step_by(800) {
        c.upsert((first..first + 800u64).map(|id| Point::new(id, vec![id as f32])).collect()).unwrap();
        c.flush().unwrap();
    }
    let gone: Vec<crate::PointId> = (0..1_000u64).map(crate::PointId::from).collect();
    c.delete(&gone).unwrap();
    let optimize = c.optimize().unwrap();
    let task = db.wait_task(optimize, None).unwrap();
    assert_eq!((task.state, task.progress), (TaskState::Completed, 100.0), "{task:?}");
    let stats = c.stats().unwrap();
    assert_eq!((stats.points, stats.deleted), (1_400, 0));
    let hold = held(&db, TaskKind::Snapshot, "c");
    let rebuild = c.rebuild(None).unwrap();
    assert_eq!(c.rebuild(None).unwrap(), rebuild, "one does what another would");
    let one = c.rebuild(Some("")).unwrap();
    assert_ne!(one, rebuild);
    assert_eq!(c.rebuild(Some("title")).unwrap_err().kind(), ErrorKind::NotFound);
    hold.end.send(Ok(String::new())).unwrap();
    for id in [rebuild, one] {
        let task = db.wait_task(id, None).unwrap();
        assert_eq!(task.state, TaskState::Completed, "{task:?}");
    }
    assert_eq!(c.search(&crate::Query::new(&[1.0], 1)).unwrap()[0].id, 2_399.into());
}

#[test]
fn without_background_threads_it_is_done_at_once() {
    let options = Options { background: false, ..Options::default() };
    let db = Database::open_in(MemoryDir::new(), "inline", options).unwrap();
    let c = create(&db, "c");
    let id = c.flush_task().unwrap();
    assert_eq!(db.task(id).unwrap().state, TaskState::Completed);
    let id = c.create_index_task("n", &FieldKind::Integer.config()).unwrap();
    assert_eq!(db.task(id).unwrap().state, TaskState::Completed);
}

#[test]
fn a_close_ends_what_cannot_be_repeated_and_keeps_the_rest() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    let c = create(&db, "c");
    let runs = held(&db, TaskKind::Snapshot, "c");
    runs.begun.recv().unwrap();
    let (flush, index) =
        (c.flush_task().unwrap(), c.create_index_task("n", &FieldKind::Integer.config()).unwrap());
    let lost = held(&db, TaskKind::Import, "c");
    db.clone().close().unwrap();
    assert_eq!(db.wait_task(flush, None).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(c.flush_task().unwrap_err().kind(), ErrorKind::Cancelled);
    drop((db, c));
    let db = open(&dir);
    for id in [runs.id, lost.id] {
        let task = db.task(id).unwrap();
        assert!(task.state == TaskState::Failed && task.message.contains("closed"), "{task:?}");
    }
    for id in [flush, index] {
        assert_eq!(db.wait_task(id, None).unwrap().state, TaskState::Completed);
    }
    assert!(db.collection("c").unwrap().field_indexes().unwrap()[0].is_ready());
}

#[test]
fn the_tasks_of_a_deleted_collection_are_taken_back() {
    let db = Database::in_memory().unwrap();
    let c = create(&db, "c");
    let runs = held(&db, TaskKind::Import, "c");
    runs.begun.recv().unwrap();
    let waits = c.flush_task().unwrap();
    assert!(db.delete_collection("c").unwrap());
    for id in [runs.id, waits] {
        let task = db.wait_task(id, None).unwrap();
        assert_eq!((task.state, task.message.as_str()), (TaskState::Cancelled, "the collection was deleted"));
    }
}

#[test]
fn only_so_many_are_remembered() {
    let options = Options { background: false, ..Options::default() };
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let db = Database::open_in(Arc::clone(&dir), "many", options.clone()).unwrap();
    let kept = nearfield_types::limits::TASKS_KEPT_MAX;
    let mut last = TaskId(0);
    for _ in 0..kept + 5 {
        last = db.run(TaskKind::Import, "", "", |_, _| Ok(String::new())).unwrap();
    }
    let first = TaskId(last.0 + 1 - kept as u64);
    let seen = |db: &Database| {
        let all = db.tasks(&TaskFilter::new());
        (all.len(), all[0].id, all[kept - 1].id, db.task(TaskId(first.0 - 1)).unwrap_err().kind())
    };
    assert_eq!(seen(&db), (kept, last, first, ErrorKind::NotFound));
    db.close().unwrap();
    let db = Database::open_in(dir, "many", options).unwrap();
    assert_eq!(seen(&db), (kept, last, first, ErrorKind::NotFound));
}

/// Whenever the power goes: a task whose id was told is known, and one whose end was told has ended so.
#[test]
fn a_crash_forgets_nothing_that_was_told() {
    let dir = FaultyDir::new();
    let options = Options { background: false, ..Options::default() };
    let db = Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "crash", options.clone()).unwrap();
    let c = create(&db, "c");
    let begun = dir.ops();
    let mut told = Vec::new();
    for round in 0..3 {
        c.upsert(vec![Point::new(round, vec![1.0])]).unwrap();
        told.push((c.flush_task().unwrap(), TaskState::Completed, dir.ops()));
        let failed = db.run(TaskKind::Import, "c", "", |_, _| Err(Error::invalid("no such file")));
        told.push((failed.unwrap(), TaskState::Failed, dir.ops()));
    }
    for ops in begun..=dir.ops() {
        let image = dir.crash_image_at(ops, LossModel::All, ops as u64);
        let db = Database::open_in(image, "image", options.clone()).unwrap();
        assert!(db.repaired().is_empty());
        for (id, state, _) in told.iter().filter(|(.., at)| *at <= ops) {
            assert_eq!(db.task(*id).unwrap().state, *state, "after {ops}");
        }
        assert!(db.tasks(&TaskFilter::new()).iter().all(|task| task.state.is_finished()));
    }
}

#[test]
fn damage_costs_the_history_and_no_id_is_given_twice() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    let c = create(&db, "c");
    let ids: Vec<TaskId> = (0..3)
        .map(|_| {
            let id = c.flush_task().unwrap();
            db.wait_task(id, None).unwrap();
            id
        })
        .collect();
    drop(c);
    db.close().unwrap();
    for entry in dir.list("tasks").unwrap() {
        let path = format!("tasks/{}", entry.name);
        let mut bytes = dir.open(&path).unwrap().to_vec();
        bytes[30] ^= 1;
        dir.remove(&path).unwrap();
        dir.create(&path).unwrap().write_at(0, &[&bytes]).unwrap();
    }
    let db = open(&dir);
    assert!(db.repaired()[0].contains("earlier tasks are forgotten"), "{:?}", db.repaired());
    assert_eq!(db.tasks(&TaskFilter::new()), []);
    let new = db.collection("c").unwrap().flush_task().unwrap();
    assert!(new > ids[2]);
    assert_eq!(db.wait_task(new, None).unwrap().state, TaskState::Completed);
}

#[test]
fn a_cancellation_is_kept_though_the_database_closes() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    let c = create(&db, "c");
    let hold = held(&db, TaskKind::Snapshot, "c");
    hold.begun.recv().unwrap();
    let index = c.create_index_task("n", &FieldKind::Integer.config()).unwrap();
    assert!(db.cancel_task(index).unwrap());
    db.close().unwrap();
    drop(c);
    let db = open(&dir);
    let task = db.task(index).unwrap();
    assert!(task.state == TaskState::Cancelled && task.message.contains("drop it"), "{task:?}");
}

#[test]
fn the_end_is_written_before_the_last_handle_goes() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    let work = held(&db, TaskKind::Import, "");
    work.begun.recv().unwrap();
    drop(db);
    work.end.send(Ok("all of it".to_owned())).unwrap();
    // Its own handle keeps it open: this is the same database, or, once that is gone, what it wrote.
    let db = open(&dir);
    let task = db.wait_task(work.id, None).unwrap();
    assert_eq!((task.state, task.message.as_str()), (TaskState::Completed, "all of it"));
}

#[test]
fn other_settings_are_another_rebuild() {
    let db = Database::in_memory().unwrap();
    let c = create(&db, "c");
    let plan = || Plan::new(TaskKind::Rebuild, "c".to_owned(), Some(c.uuid()), "").unwrap().by(c.config());
    let ((begin, begun), (end, ends)) = (channel(), channel::<()>());
    let work = Box::new(move |_: &Progress| {
        begin.send(()).unwrap();
        ends.recv().unwrap();
        Ok(String::new())
    });
    let first = db.shared().board().submit(plan(), Job::new(work)).unwrap();
    begun.recv().unwrap();
    assert_eq!(c.rebuild(None).unwrap(), first, "it does the same");
    c.set_index("", crate::IndexConfig { m: 24, ..crate::IndexConfig::default() }).unwrap();
    let second = c.rebuild(None).unwrap();
    assert_ne!(second, first, "that may be past these settings");
    end.send(()).unwrap();
    for id in [first, second] {
        assert_eq!(db.wait_task(id, None).unwrap().state, TaskState::Completed);
    }
}
