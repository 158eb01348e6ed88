//! The board of a database: which tasks there are, which of them waits and which runs, and who works on them.
//!
//! Locks: `store` before `table`; neither is held while work is done. `table` is what is true now, the cell what is true on the disk: it
//! is written whole, by whoever comes first, and covers the changes of all who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearfield_collection::{Error, ErrorKind, Result};
use nearfield_platform::{Clock, Dir, PanicHook, Panicked, Urgency, Workers, guarded};
use nearfield_types::Progress;
use nearfield_types::limits::TASKS_LIVE_MAX;
use parking_lot::{Condvar, Mutex};

use crate::tasks::plan::{Job, Plan};
use crate::tasks::record::{IDS_MAX, Record, kept};
use crate::tasks::store::{Store, TASKS_FOLDER, read};
use crate::tasks::table::{Entry, Table};
use crate::tasks::{Task, TaskId, TaskKind, TaskState, closed};

const THREAD: &str = "nearfield-task";
/// Tasks that run at once, over all collections. Their work takes its threads from elsewhere.
pub(crate) const TASKS_AT_ONCE: usize = 2;

/// Told which collection a task worked on that panicked: what it did there is in an unknown state.
pub(crate) type Broken = Arc<dyn Fn([u8; 16], &Panicked) + Send + Sync>;

/// A repeatable task that an earlier process left.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) id: u64,
    pub(crate) kind: TaskKind,
    pub(crate) uuid: [u8; 16],
    pub(crate) argument: String,
}

/// All tasks of a database.
pub(crate) struct Board {
    table: Mutex<Table>,
    /// A task ended, or the board was halted.
    changed: Condvar,
    store: Mutex<Store>,
    clock: Arc<dyn Clock>,
    broken: Broken,
    /// Started with the first task.
    workers: Mutex<Option<Workers>>,
    /// True if nobody works in the background: whoever hands work in does it.
    inline: bool,
    halted: AtomicBool,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("tasks", &self.table.lock().entries.len()).finish_non_exhaustive()
    }
}

impl Board {
    /// The board as an earlier process left it; with words about damage, if there was some.
    ///
    /// # Errors
    ///
    /// What reading met.
    pub(crate) fn open(
        dir: &Arc<dyn Dir>,
        clock: Arc<dyn Clock>,
        inline: bool,
        broken: Broken,
    ) -> Result<(Board, Option<String>)> {
        let listed = dir.list("").map_err(|e| Error::io("looking for tasks", e))?;
        let has_folder = listed.iter().any(|entry| entry.name == TASKS_FOLDER);
        let (records, damage) = if has_folder { read(dir)? } else { Default::default() };
        let mut next = records.next.max(1);
        if damage.is_some() {
            // Ids that were given and are not known must not be given again. No task ever had one of these.
            next = next.max(clock.now_ms());
            let _ = dir.remove(TASKS_FOLDER);
        }
        let entry = |(id, mut record): (u64, Record)| {
            if !record.state.is_finished() {
                (record.state, record.started_ms) = (TaskState::Queued, 0);
            }
            (id, Entry::new(record, None))
        };
        let table = Table { next, entries: records.tasks.into_iter().map(entry).collect(), changes: 0 };
        let store = Store::new(dir, has_folder && damage.is_none());
        let board = Board {
            table: Mutex::new(table),
            changed: Condvar::new(),
            store: Mutex::new(store),
            clock,
            broken,
            workers: Mutex::new(None),
            inline,
            halted: AtomicBool::new(false),
        };
        Ok((board, damage.map(|why| format!("{why}; earlier tasks are forgotten"))))
    }

    /// Marks failed what an earlier process left and cannot be taken up again; returns the rest, oldest first.
    pub(crate) fn sort_out(&self) -> Vec<Left> {
        let now = self.clock.now_ms();
        let (mut left, mut failed) = (Vec::new(), false);
        for (id, entry) in &mut self.table.lock().entries {
            let record = &mut entry.record;
            let why = match (record.state.is_finished(), record.kind.is_repeatable(), self.inline) {
                (true, ..) => continue,
                (false, false, _) => "the process ended before it was done: start it again",
                (false, true, true) => {
                    "the process ended before it was done, and this one has no background threads: start it again"
                }
                (false, true, false) => {
                    let (uuid, argument) = (record.uuid, record.argument.clone());
                    left.push(Left { id: *id, kind: record.kind, uuid, argument });
                    continue;
                }
            };
            (record.state, record.finished_ms) = (TaskState::Failed, now);
            record.message = why.to_owned();
            failed = true;
        }
        if failed {
            self.note();
        }
        left
    }

    /// Enters a task and has it worked on; one that stands for the same work and was not begun is not entered twice.
    ///
    /// # Errors
    ///
    /// `Busy` if too many wait, and what writing it down met: then there is no task.
    pub(crate) fn submit(self: &Arc<Self>, plan: Plan, job: Job) -> Result<TaskId> {
        let id = match self.enter(plan)? {
            Entered::New(id) => id,
            Entered::There(id) => return Ok(TaskId(id)),
        };
        if let Err(error) = self.write_down() {
            self.table.lock().entries.remove(&id);
            return Err(error.within("the task could not be written down"));
        }
        self.release(id, job)?;
        Ok(TaskId(id))
    }

    /// Has an entered task worked on.
    ///
    /// # Errors
    ///
    /// `Unavailable` if there is no thread to be had: the task has failed then.
    pub(crate) fn release(self: &Arc<Self>, id: u64, job: Job) -> Result<()> {
        if let Some(entry) = self.table.lock().entries.get_mut(&id)
            && entry.record.state == TaskState::Queued
        {
            entry.job = Some(job);
        }
        if self.inline {
            self.work_off();
            return Ok(());
        }
        let mut workers = self.workers.lock();
        if workers.is_none() && !self.is_halted() {
            // Work is guarded where it is done.
            let hook: PanicHook = Arc::new(|_| {});
            match Workers::with_urgency(THREAD, TASKS_AT_ONCE, Urgency::Background, hook) {
                Ok(started) => *workers = Some(started),
                Err(error) => {
                    drop(workers);
                    let error = Error::io("starting a thread for tasks", error);
                    self.end(id, TaskState::Failed, error.to_string());
                    return Err(error);
                }
            }
        }
        if let Some(workers) = &*workers {
            let board = Arc::clone(self);
            drop(workers.spawn(move || board.work_off()));
        }
        Ok(())
    }

    /// All tasks, the newest first.
    pub(crate) fn all(&self) -> Vec<Task> {
        self.table.lock().entries.iter().rev().map(|(id, entry)| entry.shown(*id)).collect()
    }

    /// See [`crate::Database::task`].
    pub(crate) fn one(&self, id: TaskId) -> Result<Task> {
        Ok(self.table.lock().find(id)?.shown(id.0))
    }

    /// See [`crate::Database::cancel_task`].
    pub(crate) fn cancel(&self, id: TaskId) -> Result<bool> {
        let mut table = self.table.lock();
        let entry = table.find(id)?;
        match entry.record.state {
            // Its work has more to take back than was begun: it is called and sees that it is not wanted.
            TaskState::Queued if entry.record.kind != TaskKind::CreateIndex => {
                drop(table);
                self.end(id.0, TaskState::Cancelled, String::new());
                Ok(true)
            }
            TaskState::Queued | TaskState::Running => {
                entry.unwanted = true;
                entry.progress.cancel();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes back all tasks of a collection, saying why.
    pub(crate) fn cancel_all(&self, uuid: [u8; 16], why: &str) {
        let mut queued = Vec::new();
        for (id, entry) in &mut self.table.lock().entries {
            match entry.record.state {
                TaskState::Queued if entry.record.uuid == uuid => queued.push(*id),
                TaskState::Running if entry.record.uuid == uuid => {
                    entry.unwanted = true;
                    entry.interrupt();
                    why.clone_into(&mut entry.record.message);
                }
                _ => {}
            }
        }
        for id in queued {
            self.end(id, TaskState::Cancelled, why.to_owned());
        }
    }

    /// See [`crate::Database::wait_task`].
    pub(crate) fn wait(&self, id: TaskId, timeout: Option<Duration>) -> Result<Task> {
        let mut table = self.table.lock();
        table.find(id)?;
        let waits = |table: &mut Table| {
            !self.is_halted() && table.find(id).is_ok_and(|entry| !entry.record.state.is_finished())
        };
        match timeout {
            None => self.changed.wait_while(&mut table, waits),
            Some(timeout) => drop(self.changed.wait_while_for(&mut table, waits, timeout)),
        }
        let task = table.find(id)?.shown(id.0);
        match task.state.is_finished() {
            true => Ok(task),
            false if self.is_halted() => Err(closed()),
            false => {
                let context = format!("task {id} is {} per cent done: it goes on", task.progress as u32);
                Err(Error::new(ErrorKind::Timeout, context))
            }
        }
    }

    /// Begins nothing more, asks what runs to give up, and waits for it. What may be repeated stays written down as it was.
    pub(crate) fn halt(&self) {
        self.halted.store(true, Ordering::Release);
        for entry in self.table.lock().entries.values() {
            if entry.record.state == TaskState::Running {
                entry.interrupt();
            }
        }
        self.changed.notify_all();
        // Not with the lock: what runs may be at handing in work itself.
        let workers = self.workers.lock().take();
        drop(workers);
        // What waited and cannot be repeated will not be done.
        self.sort_out_halted();
    }

    fn sort_out_halted(&self) {
        let waits = |record: &Record| record.state == TaskState::Queued && !record.kind.is_repeatable();
        let lost: Vec<u64> = self
            .table
            .lock()
            .entries
            .iter()
            .filter(|(_, entry)| waits(&entry.record))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            self.end(id, TaskState::Failed, closed().to_string());
        }
        let mut table = self.table.lock();
        let queued = table.entries.iter_mut().filter(|(_, entry)| entry.record.state == TaskState::Queued);
        // They do not run after the next opening: nobody wants them.
        let unwanted: Vec<u64> = queued.filter(|(_, entry)| entry.unwanted).map(|(id, _)| *id).collect();
        drop(table);
        for id in unwanted {
            let message = "the database was closed before the index was dropped: drop it".to_owned();
            self.end(id, TaskState::Cancelled, message);
        }
    }

    fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    fn enter(&self, plan: Plan) -> Result<Entered> {
        let mut table = self.table.lock();
        if self.is_halted() {
            return Err(closed());
        }
        let same = |(_, entry): &(&u64, &Entry)| plan.is_of(&entry.record) && plan.is_done_by(entry);
        if plan.kind.is_repeatable()
            && let Some((id, _)) = table.entries.iter().find(same)
        {
            return Ok(Entered::There(*id));
        }
        let live = table.entries.values().filter(|entry| !entry.record.state.is_finished()).count();
        if live >= TASKS_LIVE_MAX {
            let context =
                format!("{live} tasks wait or run: that is the most allowed, wait for some of them");
            return Err(Error::new(ErrorKind::Busy, context));
        }
        let id = table.next;
        if id >= IDS_MAX {
            return Err(Error::new(ErrorKind::Unsupported, "the database has used up the ids of its tasks"));
        }
        table.next += 1;
        let record = Record {
            kind: plan.kind,
            state: TaskState::Queued,
            collection: plan.collection,
            uuid: plan.uuid,
            argument: plan.argument,
            message: String::new(),
            created_ms: self.clock.now_ms(),
            started_ms: 0,
            finished_ms: 0,
        };
        table.entries.insert(id, Entry::new(record, plan.settings));
        table.changes += 1;
        table.trim();
        Ok(Entered::New(id))
    }

    /// Does what waits, as long as there is something that may be begun.
    fn work_off(self: &Arc<Self>) {
        while let Some((id, Job { work, holds }, progress)) = self.take() {
            self.note();
            let uuid = self.table.lock().entries.get(&id).map_or([0; 16], |entry| entry.record.uuid);
            let hook: PanicHook = {
                let broken = Arc::clone(&self.broken);
                Arc::new(move |panicked| broken(uuid, panicked))
            };
            match guarded(THREAD, &hook, || work(&progress)) {
                Ok(done) => self.finish(id, done),
                Err(panicked) => {
                    let message =
                        format!("a defect of Nearfield ended it, please report this: {}", panicked.message);
                    self.end(id, TaskState::Failed, message);
                }
            }
            // The last handle gives the lock of the directory up: not before the end is written down.
            drop(holds);
        }
    }

    /// Begins the first task that may be begun.
    fn take(&self) -> Option<(u64, Job, Arc<Progress>)> {
        let mut table = self.table.lock();
        if self.is_halted() {
            return None;
        }
        let (id, entry) = table.first_to_begin()?;
        let job = entry.job.take()?;
        (entry.record.state, entry.record.started_ms) = (TaskState::Running, self.clock.now_ms().max(1));
        let progress = Arc::clone(&entry.progress);
        table.changes += 1;
        Some((id, job, progress))
    }

    fn finish(&self, id: u64, done: Result<String>) {
        let (repeatable, asked, unwanted) = {
            let mut table = self.table.lock();
            let Ok(entry) = table.find(TaskId(id)) else { return };
            (entry.record.kind.is_repeatable(), entry.progress.is_cancelled(), entry.unwanted)
        };
        let gave_up = |error: &Error| {
            let gone = [ErrorKind::Cancelled, ErrorKind::NotFound, ErrorKind::Closed];
            unwanted && (self.is_halted() || gone.contains(&error.kind()))
        };
        match done {
            Ok(message) => self.end(id, TaskState::Completed, message),
            Err(error) if gave_up(&error) => self.end(id, TaskState::Cancelled, String::new()),
            // Taken up again at the next opening: on the disk it runs.
            Err(_) if self.is_halted() && repeatable => {}
            Err(_) if self.is_halted() => self.end(id, TaskState::Failed, closed().to_string()),
            Err(error) if asked && error.kind() == ErrorKind::Cancelled => {
                self.end(id, TaskState::Cancelled, String::new());
            }
            Err(error) => self.end(id, TaskState::Failed, error.to_string()),
        }
    }

    /// Ends a task that has not ended, and writes it down.
    fn end(&self, id: u64, state: TaskState, message: String) {
        let job = {
            let mut table = self.table.lock();
            let Ok(entry) = table.find(TaskId(id)) else { return };
            if entry.record.state.is_finished() {
                return;
            }
            entry.record.state = state;
            if !message.is_empty() || state == TaskState::Completed {
                entry.record.message = kept(message);
            }
            entry.record.finished_ms = self.clock.now_ms().max(1);
            let job = entry.job.take();
            table.changes += 1;
            table.trim();
            job
        };
        self.note();
        // Not with the lock: it may hold the last handle of the database.
        drop(job);
        self.changed.notify_all();
    }

    /// Writes down a change that is true whether it can be written or not: the next change tries again.
    fn note(&self) {
        let _ = self.write_down();
    }

    fn write_down(&self) -> Result<()> {
        let mut store = self.store.lock();
        let (bytes, changes) = {
            let table = self.table.lock();
            if store.covers(table.changes) {
                return Ok(());
            }
            (table.records().encode(), table.changes)
        };
        store.write(&bytes, changes)
    }
}

enum Entered {
    New(u64),
    There(u64),
}
