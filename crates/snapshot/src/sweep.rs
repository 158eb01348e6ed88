//! Removing what nothing keeps.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | sync the folder of names: a name that was retracted does not come back | everything |
//! | read all names, pins and manifests; any error ends the sweep | everything |
//! | mark pins whose time is over, drop those marked before; write the pins | everything |
//! | remove objects that no name, pin or hold keeps | the rest of them, for the next sweep |

use std::collections::HashSet;
use std::io::ErrorKind;

use crate::contract::{Object, Swept};
use crate::error::Result;
use crate::local::LocalStore;
use crate::manifest::Digest;
use crate::refs;
use crate::twin::PinTable;

impl LocalStore {
    pub(crate) fn sweep_now(&self) -> Result<Swept> {
        // Nobody publishes, pins or retracts meanwhile. Whoever puts holds what he puts.
        let _gate = self.gate.lock();
        let mut swept = Swept::default();
        if self.entries(&self.objects())?.is_empty() {
            return Ok(swept);
        }
        self.dir.sync_dir(&self.refs())?;
        let mut roots: Vec<Object> = Vec::new();
        for file in self.entries(&self.refs())?.iter().filter(|file| refs::is_file_name(file)) {
            roots.extend(self.read_ref(file)?.map(|found| found.manifest));
        }
        let mut table = PinTable::read(&*self.dir, &self.folder)?;
        let before = table.clone();
        swept.expired = expire(&mut table, self.clock.now_ms());
        roots.extend(table.pins.iter().map(|kept| kept.manifest()));
        let kept = self.reach(&roots)?;
        if table != before {
            table.write(&*self.dir, &self.folder)?;
        }
        self.remove_others(&kept, &mut swept)?;
        Ok(swept)
    }

    /// The roots and all they name.
    fn reach(&self, roots: &[Object]) -> Result<HashSet<Digest>> {
        let (mut kept, mut seen) = (HashSet::new(), HashSet::new());
        for root in roots {
            if seen.insert(root.digest) {
                kept.insert(root.digest);
                let manifest = self.manifest(root)?;
                kept.extend(manifest.files.iter().map(|entry| entry.object.digest));
            }
        }
        Ok(kept)
    }

    fn remove_others(&self, kept: &HashSet<Digest>, swept: &mut Swept) -> Result<()> {
        let mut failed = None;
        for entry in self.dir.list(&self.objects())? {
            let Some(digest) = Digest::parse(&entry.name).filter(|digest| !kept.contains(digest)) else {
                continue;
            };
            // Locked, so that nobody comes to hold it between the look and the removal.
            let held = self.held.lock();
            if held.contains_key(&digest) {
                continue;
            }
            match self.dir.remove(&self.object_path(digest)) {
                Ok(()) => {
                    swept.objects += 1;
                    swept.bytes += entry.len;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Marks the pins whose time is over and drops those that were marked before and are still late; returns how many went. A clock that was
/// set back takes the mark away.
fn expire(table: &mut PinTable, now_ms: u64) -> u64 {
    let before = table.pins.len();
    table.pins.retain_mut(|kept| {
        let was_late = std::mem::replace(&mut kept.is_late, now_ms >= kept.pin.until_ms);
        !(was_late && kept.is_late)
    });
    (before - table.pins.len()) as u64
}
