//! The durable side of the file log: group sync, poison, and forgetting files.
//!
//! One sync runs at a time. Who asks while one runs waits for it; if it did not cover his Seq, one of those who waited leads the
//! next, which covers them all. The Seq that a sync covers is read before it starts, so a frame written meanwhile is not counted.
//!
//! A full file is not synced when the writer turns to the next one, because that would stall the writer for a whole file's bytes
//! in durability `process`. It waits here instead, and the next sync takes the files in order: older ones, then names, then the
//! current one. A crash in between leaves a later file without its predecessor's tail, which the tail rule cuts.

use std::fmt;
use std::io;
use std::sync::Arc;

use nearfield_platform::{Dir, File};
use nearfield_types::Seq;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::contract::Syncer;
use crate::error::Op;
use crate::listing::{file_name, in_folder};
use crate::recover::LogFile;
use crate::{Cause, LogError};

/// Full files that may wait for a sync; each holds a descriptor.
const WAITING_MAX: usize = 8;

/// A file of the log that never changes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedFile {
    /// Its name in the folder of the log.
    pub name: String,
    /// Its last Seq.
    pub last: Seq,
    /// Where its frames end; what follows are zeros.
    pub bytes: u64,
}

/// A file that the writer has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) last: Seq,
    pub(crate) last_operation: Seq,
    /// Where its frames end.
    pub(crate) bytes: u64,
}

/// The [`Syncer`] of a file log; also what its writer shares with it.
pub struct FileSyncer {
    dir: Arc<dyn Dir>,
    path: String,
    state: Mutex<State>,
    /// Signalled when a sync ends.
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    appended: Seq,
    synced: Seq,
    /// Where frames are written now.
    current: Option<Arc<dyn File>>,
    /// Full files with bytes not yet synced, oldest first.
    full: Vec<Arc<dyn File>>,
    /// Counts the names made; equal to `names_synced` when all are durable.
    names: u64,
    names_synced: u64,
    syncing: bool,
    poison: Option<Cause>,
    /// All files, in order; the last one may be growing.
    files: Vec<LogFile>,
    leftovers: Vec<String>,
}

impl FileSyncer {
    pub(crate) fn new(
        dir: Arc<dyn Dir>,
        path: String,
        files: Vec<LogFile>,
        leftovers: Vec<String>,
        durable: Seq,
    ) -> Arc<Self> {
        let state = State {
            appended: durable,
            synced: durable,
            current: None,
            full: Vec::new(),
            names: 0,
            names_synced: 0,
            syncing: false,
            poison: None,
            files,
            leftovers,
        };
        Arc::new(FileSyncer { dir, path, state: Mutex::new(state), ended: Condvar::new() })
    }

    pub(crate) fn dir(&self) -> &dyn Dir {
        &*self.dir
    }

    /// A name in the log's folder.
    pub(crate) fn named(&self, first: Seq) -> String {
        in_folder(&self.path, &file_name(first))
    }

    /// How far the log is durable.
    ///
    /// # Errors
    ///
    /// [`LogError::Poisoned`].
    pub(crate) fn check(&self) -> Result<Seq, LogError> {
        let state = self.state.lock();
        state.poison.map_or(Ok(state.synced), |cause| Err(LogError::Poisoned(cause)))
    }

    /// All frames up to `seq` have been written.
    pub(crate) fn appended(&self, seq: Seq) {
        self.state.lock().appended = seq;
    }

    /// The writer turned to `file`, named after `first`, from one that is full. The name is durable already if `named_durably`.
    pub(crate) fn turned(&self, file: Arc<dyn File>, first: Seq, full: Filled, named_durably: bool) {
        let mut state = self.state.lock();
        state.fill(full);
        state.current = Some(file);
        state.names += 1;
        if named_durably {
            state.names_synced = state.names;
        }
        state.files.push(LogFile { first, last: Seq::MAX, last_operation: Seq::MAX, bytes: 0 });
    }

    /// The current file is full and no other was begun.
    pub(crate) fn ended(&self, full: Filled) {
        self.state.lock().fill(full);
    }

    /// The files that never change again and hold operations after `after`, oldest first, with all between them; and the last Seq before
    /// them, at least `after`.
    pub(crate) fn finished(&self, after: Seq) -> (Seq, Vec<FinishedFile>) {
        let state = self.state.lock();
        let is_open = state.current.is_some();
        let finished = &state.files[..state.files.len() - usize::from(is_open && !state.files.is_empty())];
        let first = finished.iter().position(|file| file.last_operation > after).unwrap_or(finished.len());
        // A file without frames, such as one that holds the mark of a clean close alone, is a link of the chain too.
        let (before, wanted) = finished.split_at(first);
        let before = before.iter().map(|file| file.last).fold(after, Seq::max);
        let file =
            |file: &LogFile| FinishedFile { name: file_name(file.first), last: file.last, bytes: file.bytes };
        (before, wanted.iter().map(file).collect())
    }

    /// True where so many full files wait that the writer must sync before it adds one.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.state.lock().full.len() >= WAITING_MAX
    }

    /// Makes the names in the folder durable.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        self.dir.sync_dir(&self.path)
    }

    /// Stops the log; answers the error with the first cause.
    pub(crate) fn poison(&self, op: Op, error: &io::Error) -> LogError {
        let cause = *self.state.lock().poison.get_or_insert(Cause::new(op, error));
        LogError::Poisoned(cause)
    }

    /// Runs one sync with the lock released, and settles what it did.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let (goal, names) = (state.appended, state.names);
        let (full, current) = (state.full.clone(), state.current.clone());
        let names_wait = state.names_synced < names;
        state.syncing = true;
        drop(state);
        let leader = Leader { syncer: self, done: false };
        let synced = full
            .iter()
            .try_for_each(|file| file.sync())
            .and_then(|()| if names_wait { self.sync_names() } else { Ok(()) });
        let synced = synced.and_then(|()| current.map_or(Ok(()), |file| file.sync()));
        if synced.is_ok() {
            for file in &full {
                // Only a guard against mistakes: all bytes are durable already.
                let _ = file.seal();
            }
        }
        leader.settle(synced, |state| {
            state.synced = state.synced.max(goal);
            state.full.drain(..full.len());
            state.names_synced = state.names_synced.max(names);
        })
    }
}

impl State {
    /// The current file is full and waits for a sync.
    fn fill(&mut self, Filled { last, last_operation, bytes }: Filled) {
        if let Some(file) = self.current.take() {
            self.appended = last;
            self.full.push(file);
            if let Some(file) = self.files.last_mut() {
                *file = LogFile { last, last_operation, bytes, ..*file };
            }
        }
    }

    /// Takes out the files that nobody needs once all up to `through` is forgotten.
    ///
    /// What stays must be recognisable as a beginning: its first file holds a durable frame. So all before it is durable too.
    fn take_forgotten(&mut self, through: Seq) -> Vec<LogFile> {
        let synced = self.synced;
        let forgettable = self.files.iter().take_while(|file| file.last <= through).count();
        let begins = |file: &LogFile| file.first <= synced && file.last >= file.first;
        let keep = (0..=forgettable).rev().find(|&i| self.files.get(i).is_some_and(begins)).unwrap_or(0);
        self.files.drain(..keep).collect()
    }
}

/// The one whose sync runs. If it unwinds, nobody waits for it for ever: the outcome is unknown, as after a failed sync.
struct Leader<'a> {
    syncer: &'a FileSyncer,
    done: bool,
}

impl<'a> Leader<'a> {
    fn settle(mut self, synced: io::Result<()>, advance: impl FnOnce(&mut State)) -> MutexGuard<'a, State> {
        self.done = true;
        let mut state = self.syncer.state.lock();
        state.syncing = false;
        match synced {
            Ok(()) if state.poison.is_none() => advance(&mut state),
            Ok(()) => {}
            Err(error) => {
                state.poison.get_or_insert(Cause::new(Op::Sync, &error));
            }
        }
        self.syncer.ended.notify_all();
        state
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.syncer.state.lock();
            state.syncing = false;
            state.poison.get_or_insert(Cause { op: Op::Sync, kind: io::ErrorKind::Interrupted, code: None });
            self.syncer.ended.notify_all();
        }
    }
}

impl Syncer for FileSyncer {
    fn sync(&self, through: Seq) -> Result<Seq, LogError> {
        let mut state = self.state.lock();
        // What is appended from now on is not asked for, or a busy writer would keep us here.
        let through = through.min(state.appended);
        loop {
            if let Some(cause) = state.poison {
                return Err(LogError::Poisoned(cause));
            }
            if state.synced >= through {
                return Ok(state.synced);
            }
            if state.syncing {
                self.ended.wait(&mut state);
            } else {
                state = self.lead(state);
            }
        }
    }

    fn synced(&self) -> Seq {
        self.state.lock().synced
    }

    fn release(&self, through: Seq) -> Result<(), LogError> {
        let (files, leftovers) = {
            let mut state = self.state.lock();
            (state.take_forgotten(through), std::mem::take(&mut state.leftovers))
        };
        let mut failed = None;
        let mut remove = |name: &str| match self.dir.remove(&in_folder(&self.path, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                failed.get_or_insert(LogError::Io(Cause::new(Op::Remove, &error)));
                true
            }
            _ => false,
        };
        let leftovers: Vec<String> = leftovers.into_iter().filter(|name| remove(name)).collect();
        let files: Vec<LogFile> = files.into_iter().filter(|file| remove(&file_name(file.first))).collect();
        if let Some(error) = failed {
            let mut state = self.state.lock();
            state.leftovers.extend(leftovers);
            state.files.splice(0..0, files);
            return Err(error);
        }
        Ok(())
    }
}

impl fmt::Debug for FileSyncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (appended, synced) = (state.appended, state.synced);
        f.debug_struct("FileSyncer")
            .field("path", &self.path)
            .field("appended", &appended)
            .field("synced", &synced)
            .finish()
    }
}
