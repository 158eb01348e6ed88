//! Tasks: long work with an id, a state and a progress, that can be listed, waited for and cancelled, and that survives a restart.
//!
//! A task is written down before anybody learns its id. After a restart, tasks whose work may be repeated without harm are taken up again
//! ([`TaskKind::is_repeatable`]); the others are marked failed, with the reason. The work itself belongs to whoever hands it in.
//!
//! **It refuses** to know what the work is, to undo it (work that gives up leaves everything as it was), and to keep progress on the disk.
//!
//! # Invariants
//!
//! 1. Of the tasks of one collection one runs at a time, in the order in which they came; over all collections [`TASKS_AT_ONCE`].
//! 2. A finished task never changes. Progress never goes back while the database is open.
//! 3. An id is never given to two tasks of one database.
//! 4. Finished tasks are forgotten, the oldest first, beyond [`TASKS_KEPT_MAX`].
//!
//! # Reading order
//!
//! This file (what is seen from outside), `record` and `store` (what is written down), `plan` (what is to be a task), `table` and `board` (who waits, who runs), `kinds` (the work that this crate
//! knows itself).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use nearfield_collection::{Error, ErrorKind, Result};
use nearfield_types::{Progress, Uuid};

use crate::database::Database;

pub(crate) mod board;
mod kinds;
mod plan;
mod record;
mod store;
mod table;

pub(crate) use board::Board;
pub(crate) use kinds::resume;
pub(crate) use plan::{Job, Plan};
pub(crate) use store::written;

#[cfg(doc)]
use crate::tasks::board::TASKS_AT_ONCE;
#[cfg(doc)]
use nearfield_types::limits::TASKS_KEPT_MAX;

/// What names a task: a number that counts up and is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = Error;

    fn from_str(text: &str) -> Result<TaskId> {
        let shown: String = text.chars().take(40).collect();
        text.parse().map(TaskId).map_err(|_| Error::invalid(format!("task id {shown:?} is not a number")))
    }
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskKind {
    /// New indexes beside the old ones, with the settings as they are now.
    Rebuild,
    /// Merges segments and drops deleted points.
    Optimize,
    /// Seals what is in memory.
    Flush,
    /// Makes an index of a payload field.
    CreateIndex,
    /// Loads points from a file.
    Import,
    /// Makes a snapshot.
    Snapshot,
    /// Makes a collection from a snapshot.
    Restore,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [TaskKind; 7] = [
        TaskKind::Rebuild,
        TaskKind::Optimize,
        TaskKind::Flush,
        TaskKind::CreateIndex,
        TaskKind::Import,
        TaskKind::Snapshot,
        TaskKind::Restore,
    ];

    /// Its name: `rebuild`, `optimize`, `flush`, `create-index`, `import`, `snapshot`, `restore`.
    pub fn name(self) -> &'static str {
        match self {
            TaskKind::Rebuild => "rebuild",
            TaskKind::Optimize => "optimize",
            TaskKind::Flush => "flush",
            TaskKind::CreateIndex => "create-index",
            TaskKind::Import => "import",
            TaskKind::Snapshot => "snapshot",
            TaskKind::Restore => "restore",
        }
    }

    /// Whether a task that a stop of the process interrupted is taken up again by itself.
    pub fn is_repeatable(self) -> bool {
        match self {
            TaskKind::Rebuild | TaskKind::Optimize | TaskKind::Flush | TaskKind::CreateIndex => true,
            TaskKind::Import | TaskKind::Snapshot | TaskKind::Restore => false,
        }
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// It is worked on.
    Running,
    /// It is done.
    Completed,
    /// It ended without having been done; [`Task::message`] says why.
    Failed,
    /// Somebody took it back.
    Cancelled,
}

impl TaskState {
    /// All of them.
    pub const ALL: [TaskState; 5] = [
        TaskState::Queued,
        TaskState::Running,
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Cancelled,
    ];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Queued => "queued",
            TaskState::Running => "running",
            TaskState::Completed => "completed",
            TaskState::Failed => "failed",
            TaskState::Cancelled => "cancelled",
        }
    }

    /// True once nothing more will happen.
    pub fn is_finished(self) -> bool {
        !matches!(self, TaskState::Queued | TaskState::Running)
    }
}

/// A task as it is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What names it.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// How far it is.
    pub state: TaskState,
    /// The collection as it was called, empty for a task of the whole database.
    pub collection: String,
    /// Which collection that was; `None` if there was none of that name yet.
    pub uuid: Option<Uuid>,
    /// What more is to be known of the work: the path of an index, the name of a snapshot. Empty if nothing.
    pub argument: String,
    /// Per cent done, 0 to 100.
    pub progress: f64,
    /// When it was asked for, in milliseconds since 1970 by the wall clock, as the other times.
    pub created_ms: u64,
    /// When it was begun, the last time if it was taken up again.
    pub started_ms: Option<u64>,
    /// When it ended.
    pub finished_ms: Option<u64>,
    /// Why it failed or was cancelled, or what there is to say about what was done. Empty if nothing.
    pub message: String,
}

/// Which tasks are meant: those to which everything that is set applies.
///
/// ```
/// use nearfield::{TaskFilter, TaskKind, TaskState};
///
/// let waiting = TaskFilter::new().collection("books").kind(TaskKind::Flush).state(TaskState::Queued);
/// # let _ = waiting;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TaskFilter {
    pub(crate) collection: Option<String>,
    kind: Option<TaskKind>,
    state: Option<TaskState>,
    unfinished: bool,
}

impl TaskFilter {
    /// All tasks.
    pub fn new() -> TaskFilter {
        TaskFilter::default()
    }

    /// Only those of the collection called `name`, or that this alias stands for now.
    pub fn collection(mut self, name: impl Into<String>) -> TaskFilter {
        self.collection = Some(name.into());
        self
    }

    /// Only those that do this.
    pub fn kind(mut self, kind: TaskKind) -> TaskFilter {
        self.kind = Some(kind);
        self
    }

    /// Only those in this state.
    pub fn state(mut self, state: TaskState) -> TaskFilter {
        self.state = Some(state);
        self
    }

    /// Only those that wait or run.
    pub fn unfinished(mut self) -> TaskFilter {
        self.unfinished = true;
        self
    }

    pub(crate) fn matches(&self, task: &Task) -> bool {
        self.collection.as_ref().is_none_or(|name| *name == task.collection)
            && self.kind.is_none_or(|kind| kind == task.kind)
            && self.state.is_none_or(|state| state == task.state)
            && !(self.unfinished && task.state.is_finished())
    }
}

impl Database {
    /// The tasks that `filter` means, the newest first: what waits, runs, and ended not too long ago.
    pub fn tasks(&self, filter: &TaskFilter) -> Vec<Task> {
        let mut filter = filter.clone();
        if let Some(name) = &mut filter.collection
            && let Ok(Some((target, _))) = self.shared().resolve(name)
        {
            *name = target;
        }
        let mut tasks = self.shared().board().all();
        tasks.retain(|task| filter.matches(task));
        tasks
    }

    /// One task.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none of this id, or it ended so long ago that it was forgotten.
    pub fn task(&self, id: TaskId) -> Result<Task> {
        self.shared().board().one(id)
    }

    /// Takes a task back; true if it had not ended. One that waits ends at once; one that runs is asked to give up and leaves everything as
    /// it was, or is done before it hears of it: wait for it to know which.
    ///
    /// # Errors
    ///
    /// As [`Database::task`].
    pub fn cancel_task(&self, id: TaskId) -> Result<bool> {
        self.shared().board().cancel(id)
    }

    /// Waits until a task has ended, at most as long as `timeout` says, and returns it. That it failed is no error of the waiting: look at
    /// [`Task::state`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if it still waits or runs by then, [`ErrorKind::Cancelled`] if the database is closed meanwhile, else as
    /// [`Database::task`].
    pub fn wait_task(&self, id: TaskId, timeout: Option<Duration>) -> Result<Task> {
        self.shared().board().wait(id, timeout)
    }

    /// Does `work` as a task of the collection called `collection` (or to be called so; empty for the database as a whole), in the
    /// background. What it returns in words is kept with the task, as its errors are. Whoever cancels sees `progress.is_cancelled()`: work
    /// then gives up with [`ErrorKind::Cancelled`].
    ///
    /// The work is handed a database of its own, which stays open until its end is written down. After a restart it is marked failed: for work that
    /// is to be taken up again there are kinds of their own.
    ///
    /// Without background threads it is done before this returns.
    #[cfg_attr(not(test), expect(dead_code, reason = "snapshots and imports come to use it"))]
    pub(crate) fn run(
        &self,
        kind: TaskKind,
        collection: &str,
        argument: &str,
        work: impl FnOnce(&Database, &Progress) -> Result<String> + Send + 'static,
    ) -> Result<TaskId> {
        let database = self.clone();
        let plan = self.plan(kind, collection, argument)?;
        let job = Job::holding(self.clone(), Box::new(move |progress| work(&database, progress)));
        self.shared().board().submit(plan, job)
    }

    /// What a task of this name and kind is written down as.
    pub(crate) fn plan(&self, kind: TaskKind, collection: &str, argument: &str) -> Result<Plan> {
        match self.shared().resolve(collection)? {
            Some((name, uuid)) => Plan::new(kind, name, Some(uuid), argument),
            None => Plan::new(kind, collection.to_owned(), None, argument),
        }
    }
}

/// Refuses what is asked of the tasks of a database that was closed.
pub(crate) fn closed() -> Error {
    Error::new(
        ErrorKind::Cancelled,
        "the database was closed; what may be repeated is taken up at its next opening",
    )
}

#[cfg(test)]
mod tests;
