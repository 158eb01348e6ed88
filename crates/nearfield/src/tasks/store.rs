//! The cell of the tasks: written whole at every change, read once.

use std::sync::Arc;

use nearfield_collection::{Cell, Error, ErrorKind, ManifestCell, Result};
use nearfield_platform::Dir;

use crate::tasks::Task;
use crate::tasks::record::TaskRecords;

/// Where the cell lies.
pub(crate) const TASKS_FOLDER: &str = "tasks";

/// How often a reader beside a writer looks again before it believes in damage.
const LOOKS: u32 = 20;

/// What of the tasks is on the disk.
pub(super) struct Store {
    dir: Arc<dyn Dir>,
    cell: ManifestCell,
    /// `None` before the first value, and after a failure, which leaves it open.
    version: Option<u64>,
    has_folder: bool,
    written: u64,
}

/// What is on the disk. Damage is told and costs the history.
pub(crate) fn read(dir: &Arc<dyn Dir>) -> Result<(TaskRecords, Option<String>)> {
    let cell = ManifestCell::new(Arc::clone(dir), TASKS_FOLDER);
    let (value, why) = match cell.read() {
        Ok(None) => return Ok((TaskRecords::default(), None)),
        Ok(Some(value)) => (value.bytes, value.damaged.into_iter().next()),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            return Ok((TaskRecords::default(), Some(error.to_string())));
        }
        Err(error) => return Err(error),
    };
    match TaskRecords::decode(&value) {
        Ok(records) => Ok((records, why)),
        Err(error) => Ok((TaskRecords::default(), Some(format!("the tasks are not understood ({error})")))),
    }
}

/// The tasks that a writer, in whatever process, has written down, the newest first.
///
/// # Errors
///
/// What reading met; damage is none.
pub(crate) fn written(dir: &Arc<dyn Dir>) -> Result<Vec<Task>> {
    let listed = dir.list("").map_err(|e| Error::io("looking for tasks", e))?;
    if !listed.iter().any(|entry| entry.name == TASKS_FOLDER) {
        return Ok(Vec::new());
    }
    // A writer may remove a value while it is read, having put another one in its place.
    let mut looks = LOOKS;
    let records = loop {
        let (records, damage) = read(dir)?;
        looks -= 1;
        if damage.is_none() || looks == 0 {
            break records;
        }
    };
    Ok(records.tasks.iter().rev().map(|(id, record)| record.shown(*id, 0.0)).collect())
}

impl Store {
    /// The store of a directory, which has a folder for it or not.
    pub(super) fn new(dir: &Arc<dyn Dir>, has_folder: bool) -> Store {
        Store {
            dir: Arc::clone(dir),
            cell: ManifestCell::new(Arc::clone(dir), TASKS_FOLDER),
            version: None,
            has_folder,
            written: 0,
        }
    }

    /// Whether the change of this number was written.
    pub(super) fn covers(&self, change: u64) -> bool {
        self.version.is_some() && self.written >= change
    }

    /// Replaces the value by one that covers all changes up to `change`.
    pub(super) fn write(&mut self, bytes: &[u8], change: u64) -> Result<()> {
        self.swap(bytes)?;
        self.written = change;
        Ok(())
    }

    fn swap(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.has_folder {
            self.dir.make_dir(TASKS_FOLDER).map_err(|e| Error::io("making the folder of tasks", e))?;
            self.dir.sync_dir("").map_err(|e| Error::io("syncing the folder of tasks", e))?;
            self.has_folder = true;
        }
        let expected = match self.version {
            Some(version) => Some(version),
            // Nobody else writes here, so what is there now is what came of it.
            None => self.cell.read()?.map(|value| value.version),
        };
        let swapped = self.cell.swap_if(expected, bytes);
        self.version = swapped.as_ref().ok().copied();
        swapped.map(drop)
    }
}
