//! The tasks in memory: what is true now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nearfield_collection::{CollectionConfig, Error, ErrorKind, Result};
use nearfield_types::Progress;
use nearfield_types::limits::TASKS_KEPT_MAX;

use crate::tasks::plan::Job;
use crate::tasks::record::{Record, TaskRecords};
use crate::tasks::{Task, TaskId, TaskKind, TaskState};

/// All tasks by id.
#[derive(Default)]
pub(super) struct Table {
    pub(super) next: u64,
    pub(super) entries: BTreeMap<u64, Entry>,
    /// Counts changes, so that it is known which of them are on the disk.
    pub(super) changes: u64,
}

/// One of them.
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) progress: Arc<Progress>,
    /// Until it is begun. A task without is not begun.
    pub(super) job: Option<Job>,
    /// The settings that it was asked for by, as far as that matters.
    pub(super) settings: Option<Arc<CollectionConfig>>,
    /// Somebody took it back, or its collection is closed or gone.
    pub(super) unwanted: bool,
}

impl Table {
    pub(super) fn find(&mut self, id: TaskId) -> Result<&mut Entry> {
        let missing =
            || Error::new(ErrorKind::NotFound, format!("there is no task {id}, or it was forgotten"));
        self.entries.get_mut(&id.0).ok_or_else(missing)
    }

    /// The first that may be begun: no other of its collection runs.
    pub(super) fn first_to_begin(&mut self) -> Option<(u64, &mut Entry)> {
        let running = self.entries.values().filter(|entry| entry.record.state == TaskState::Running);
        let busy: BTreeSet<String> = running.map(|entry| entry.record.collection.clone()).collect();
        let may_begin = |entry: &Entry| {
            let name = &entry.record.collection;
            entry.job.is_some() && (name.is_empty() || !busy.contains(name))
        };
        self.entries.iter_mut().find(|(_, entry)| may_begin(entry)).map(|(id, entry)| (*id, entry))
    }

    /// What is written down of them.
    pub(super) fn records(&self) -> TaskRecords {
        let tasks = self.entries.iter().map(|(id, entry)| (*id, entry.record.clone())).collect();
        TaskRecords { next: self.next, tasks }
    }

    /// Forgets the oldest tasks that have ended, if there are too many.
    pub(super) fn trim(&mut self) {
        let finished = self.entries.iter().filter(|(_, entry)| entry.record.state.is_finished());
        let finished: Vec<u64> = finished.map(|(id, _)| *id).collect();
        for id in finished.iter().take(finished.len().saturating_sub(TASKS_KEPT_MAX)) {
            self.entries.remove(id);
        }
    }
}

impl Entry {
    pub(super) fn new(record: Record, settings: Option<Arc<CollectionConfig>>) -> Entry {
        Entry { record, progress: Arc::default(), job: None, settings, unwanted: false }
    }

    /// Asks for an end that is not the user's wish. Work on an index would drop it on such a wish: it ends with its collection.
    pub(super) fn interrupt(&self) {
        if self.record.kind != TaskKind::CreateIndex {
            self.progress.cancel();
        }
    }

    pub(super) fn shown(&self, id: u64) -> Task {
        self.record.shown(id, self.progress.fraction())
    }
}
