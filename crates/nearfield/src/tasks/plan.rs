//! What is to be a task: what it is, by what it is done, and which task there is does the same.

use std::sync::Arc;

use nearfield_collection::{CollectionConfig, Error, Result};
use nearfield_types::Progress;
use nearfield_types::limits::TASK_TEXT_BYTES_MAX;

use crate::database::Database;
use crate::tasks::record::Record;
use crate::tasks::table::Entry;
use crate::tasks::{TaskKind, TaskState};

/// What a task is to do. What it returns is kept as [`Task::message`].
pub(crate) type Work = Box<dyn FnOnce(&Progress) -> Result<String> + Send>;

/// Work, and the database that stays open until its end is written down.
pub(crate) struct Job {
    pub(super) work: Work,
    pub(super) holds: Option<Database>,
}

impl Job {
    /// Work that does not keep the database open.
    pub(crate) fn new(work: Work) -> Job {
        Job { work, holds: None }
    }

    /// Work in a database of its own.
    pub(crate) fn holding(database: Database, work: Work) -> Job {
        Job { work, holds: Some(database) }
    }
}

/// A task that is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(super) kind: TaskKind,
    pub(super) collection: String,
    pub(super) uuid: [u8; 16],
    pub(super) argument: String,
    /// What it is done by, where that may change while it is done.
    pub(super) settings: Option<Arc<CollectionConfig>>,
}

impl Plan {
    /// # Errors
    ///
    /// `Invalid` if the argument is too long.
    pub(crate) fn new(
        kind: TaskKind,
        collection: String,
        uuid: Option<[u8; 16]>,
        argument: &str,
    ) -> Result<Plan> {
        if argument.len() > TASK_TEXT_BYTES_MAX {
            let context = format!(
                "the argument of a {} task has {} bytes: at most {TASK_TEXT_BYTES_MAX} are allowed",
                kind.name(),
                argument.len()
            );
            return Err(Error::invalid(context));
        }
        Ok(Plan {
            kind,
            collection,
            uuid: uuid.unwrap_or_default(),
            argument: argument.to_owned(),
            settings: None,
        })
    }

    /// The same, by these settings.
    pub(crate) fn by(self, settings: Arc<CollectionConfig>) -> Plan {
        Plan { settings: Some(settings), ..self }
    }

    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.kind == record.kind
            && self.uuid == record.uuid
            && self.collection == record.collection
            && self.argument == record.argument
    }

    /// Whether `entry`, of the same plan, does what this is to do: it was not begun, or what it makes stays true.
    pub(super) fn is_done_by(&self, entry: &Entry) -> bool {
        match entry.record.state {
            TaskState::Queued => true,
            TaskState::Running if entry.progress.is_cancelled() => false,
            TaskState::Running if self.kind == TaskKind::Rebuild => self.settings == entry.settings,
            TaskState::Running => self.kind == TaskKind::CreateIndex,
            _ => false,
        }
    }
}
