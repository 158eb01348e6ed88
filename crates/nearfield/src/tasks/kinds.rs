//! The work of tasks that may be repeated: each is found again by its kind, its collection and its argument.
//!
//! None of it keeps the database open: it holds the collection alone, and ends with it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use nearfield_collection::{Collection as Shard, Error, ErrorKind, FieldConfig, FieldIndexState, Result};
use nearfield_payload::Path;
use nearfield_types::Progress;

use crate::collection::Collection;
use crate::shared::Shared;
use crate::tasks::plan::Work;
use crate::tasks::{Board, Job, Plan, TaskId, TaskKind, closed};

/// How long somebody waits who has nothing to do for an index that others build.
const PAUSE: Duration = Duration::from_millis(5);
/// Before the name of the vector that is rebuilt.
const VECTOR_MARK: &str = "vector ";
/// Steps of an index, whatever its rows.
const INDEX_STEPS: u64 = 1_000;

impl Collection {
    /// Seals what is in memory into files, as [`Collection::flush`] does, in the background. One that waits for its turn already is not
    /// entered twice.
    ///
    /// # Errors
    ///
    /// `Busy` if too many tasks wait, `Full` or `Unavailable` if the task could not be written down.
    pub fn flush_task(&self) -> Result<TaskId> {
        self.submit(TaskKind::Flush, "")
    }

    /// As [`Collection::create_field_index`], as a task: it ends when the index has all rows. Cancelled, it drops the index again. One for an
    /// index that is being made already is not entered twice.
    ///
    /// # Errors
    ///
    /// As [`Collection::create_field_index`] and [`Collection::flush_task`].
    pub fn create_index_task(&self, path: &str, config: &FieldConfig) -> Result<TaskId> {
        self.create_field_index(path, config)?;
        self.submit(TaskKind::CreateIndex, path)
    }

    /// Merges segments down to the number that the settings ask for, takes every deleted point away, gives back disk, and builds what indexes
    /// are missing: as a task. One that waits for its turn already is not entered twice. Cancelled, a merge under way leaves everything as it
    /// was; those before it stay.
    ///
    /// # Errors
    ///
    /// As [`Collection::flush_task`].
    pub fn optimize(&self) -> Result<TaskId> {
        self.submit(TaskKind::Optimize, "")
    }

    /// Builds the indexes of a vector, or of all, anew with the settings of now, while the old ones serve: as a task. If one is under way for
    /// the same with the same settings, that one is answered. Cancelled, what was not built yet stays as it is.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such vector, else as [`Collection::flush_task`].
    pub fn rebuild(&self, vector: Option<&str>) -> Result<TaskId> {
        if let Some(name) = vector
            && !self.config().vectors().any(|(known, _)| known == name)
        {
            let context = format!("collection '{}' has no vector named {name:?}", self.name());
            return Err(Error::new(ErrorKind::NotFound, context));
        }
        // Names are told from "all" by their mark: the vector without a name has one too.
        let argument = vector.map_or(String::new(), |name| format!("{VECTOR_MARK}{name}"));
        self.submit(TaskKind::Rebuild, &argument)
    }

    fn submit(&self, kind: TaskKind, argument: &str) -> Result<TaskId> {
        let shared = self.shared();
        let plan = Plan::new(kind, self.name().to_owned(), Some(self.uuid()), argument)?.by(self.config());
        shared.board().submit(plan, Job::new(work(shared, kind, self.uuid(), argument.to_owned())))
    }
}

/// Takes up again what an earlier process left.
pub(crate) fn resume(shared: &Arc<Shared>) {
    let board: &Arc<Board> = shared.board();
    for left in board.sort_out() {
        let work = work(shared, left.kind, left.uuid, left.argument);
        // Without a thread it has failed, and says so.
        let _ = board.release(left.id, Job::new(work));
    }
}

/// The work of a task that may be repeated.
fn work(shared: &Arc<Shared>, kind: TaskKind, uuid: [u8; 16], argument: String) -> Work {
    let shared = Arc::downgrade(shared);
    Box::new(move |progress| {
        // Opened here and not before: it may take its time.
        let (slot, shard) = shared.upgrade().ok_or_else(closed)?.find(uuid)?;
        let done = match kind {
            TaskKind::Flush => flush(&shard, progress),
            TaskKind::Optimize => shard.optimize(progress).map(|()| String::new()),
            TaskKind::Rebuild => {
                shard.rebuild(argument.strip_prefix(VECTOR_MARK), progress).map(|()| String::new())
            }
            TaskKind::CreateIndex => create_index(&shared, &shard, &argument, progress),
            _ => Err(Error::new(ErrorKind::Internal, format!("a {} task has no work", kind.name()))),
        };
        if let Some(shared) = shared.upgrade() {
            shared.background().mark(&slot);
        }
        done
    })
}

fn flush(shard: &Shard, progress: &Progress) -> Result<String> {
    progress.expect(1);
    shard.flush()?;
    progress.add(1);
    Ok(String::new())
}

fn create_index(shared: &Weak<Shared>, shard: &Shard, path: &str, progress: &Progress) -> Result<String> {
    let path = Path::parse(path).map_err(|e| Error::invalid(e.to_string()))?;
    progress.expect(INDEX_STEPS);
    let mut told = 0;
    loop {
        shard.check_open()?;
        // First, though the database is being closed: it is not asked for once more.
        if progress.is_cancelled() {
            shard.drop_field_index(&path)?;
            return Err(Error::new(ErrorKind::Cancelled, "it was taken back"));
        }
        if shared.upgrade().is_none_or(|shared| shared.is_closed()) {
            return Err(closed());
        }
        let indexes = shard.field_indexes();
        let index = indexes.iter().find(|index| index.field.path == path);
        let state = index.map(|index| index.state).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the index of \"{path}\" was dropped meanwhile"))
        })?;
        let reached = match state {
            FieldIndexState::Ready => INDEX_STEPS,
            FieldIndexState::Building { done, rows } => INDEX_STEPS * done / rows.max(1),
        };
        progress.add(reached.saturating_sub(told));
        told = told.max(reached);
        if state == FieldIndexState::Ready {
            return Ok(String::new());
        }
        if !(shard.follow_fields()? | shard.maintain_fields()?) {
            shared.upgrade().ok_or_else(closed)?.clock().sleep(PAUSE);
        }
    }
}
