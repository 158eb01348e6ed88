//! Restoring snapshots: beside everything there is, then one commit of the catalog.
//!
//! | step | a crash here leaves |
//! |---|---|
//! | compare every file with its digest | nothing |
//! | build each collection in a folder of its own, under a new identity | folders that no catalog names, removed at the next opening |
//! | open each: its manifest, segments and log fit together | the same |
//! | commit names and aliases to the catalog: **the commit point** | the new state |
//! | shut and remove what was replaced | folders that no catalog names |
//!
//! **It refuses** to write a point again, and to touch a live collection before the commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield_collection::{
    Collection as Shard, Error, ErrorKind, Record, Result, View, With, store_error, whereabouts,
};
use nearfield_platform::on_threads;
use nearfield_snapshot::{Object, SnapshotStore, StoreError};
use nearfield_types::limits::{ALIASES_MAX, COLLECTIONS_MAX};
use nearfield_types::{Progress, Seq, check_name};
use parking_lot::Mutex;

use crate::catalog::Catalog;
use crate::collection::Collection;
use crate::database::Database;
use crate::ledger::Ledger;
use crate::shared::{Shared, collection_folder, shard_folder};
use crate::slots::{Slot, SlotState};
use crate::snapshots::info::{Known, SnapshotName};
use crate::tasks::{Job, Plan, TaskId, TaskKind};

/// Points compared at once.
const PAGE: usize = 1_000;

/// What becomes of a collection that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Nothing: the restore is refused.
    Never,
    /// It is deleted once the restored one is complete, by the same commit that gives the name to the other.
    Existing,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The names of the collections.
    pub collections: Vec<String>,
    /// The last operation of each.
    pub seqs: Vec<Seq>,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of them that were copied; the others are second names of the snapshot's files.
    pub copied: u64,
}

/// What was proved of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Points read and compared.
    pub points: u64,
    /// Bytes compared with their digests.
    pub bytes: u64,
    /// True if files of it are, or can be, second names of the same bytes on the disk: then it is no second copy. An archive is one.
    pub is_linked: bool,
}

/// A collection under way.
struct Building {
    name: String,
    uuid: [u8; 16],
    shard: Option<Arc<Shard>>,
}

/// Removes what was built if it is not kept.
struct Site<'a> {
    shared: &'a Shared,
    built: Vec<Building>,
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        for Building { uuid, shard, .. } in self.built.drain(..) {
            shard.iter().for_each(|shard| shard.shut());
            // What stays is removed at the next opening: no catalog names it.
            let _ = self.shared.dir.remove(&collection_folder(uuid));
        }
    }
}

impl Database {
    /// Restores the snapshot of a collection as the new collection `target`. Files are linked where the file system can, otherwise copied.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if `target` is taken, [`ErrorKind::NotFound`] without the snapshot, [`ErrorKind::Corrupt`] if a file of it is
    /// damaged, naming file and offset, [`ErrorKind::Full`]. Nothing was changed then.
    pub fn restore_snapshot(&self, name: &SnapshotName, target: &str) -> Result<Collection> {
        self.restore_snapshot_with(name, None, target, Replace::Never, &Progress::default())?;
        self.collection(target)
    }

    /// As [`Database::restore_snapshot`], with every choice: the collection `of` a snapshot of the whole database, whether an existing
    /// collection is replaced, and progress, of which a step is a byte.
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::Cancelled`] through `progress`. [`ErrorKind::Unavailable`] if it is unknown whether the name was switched: the
    /// collection that had it then takes no more writes until the database is opened again.
    pub fn restore_snapshot_with(
        &self,
        name: &SnapshotName,
        of: Option<&str>,
        target: &str,
        replace: Replace,
        progress: &Progress,
    ) -> Result<Restored> {
        check_name("collection", target).map_err(|e| Error::invalid(e.to_string()))?;
        let hold = self.shared.store.hold();
        let known = self.shared.known(name, Some(&hold))?;
        let part = known.find(of)?;
        self.shared.restore(&known, &[(part, target.to_owned())], &[], replace, progress)
    }

    /// Restores all collections of a snapshot of the whole database, with its aliases, under the names they had. Other collections and
    /// aliases stay as they are; an alias that stands for another collection now is moved with [`Replace::Existing`], and refused without.
    ///
    /// # Errors
    ///
    /// As [`Database::restore_snapshot_with`]. All collections come, or none.
    pub fn restore_full_snapshot(
        &self,
        name: &SnapshotName,
        replace: Replace,
        progress: &Progress,
    ) -> Result<Restored> {
        let hold = self.shared.store.hold();
        let known = self.shared.known(name, Some(&hold))?;
        let targets: Vec<(usize, String)> =
            known.body.parts.iter().enumerate().map(|(at, part)| (at, part.name.clone())).collect();
        self.shared.restore(&known, &targets, &known.body.aliases, replace, progress)
    }

    /// As [`Database::restore_snapshot_with`], in the background: a task of the kind [`TaskKind::Restore`] for the collection `target`, with
    /// the snapshot as its argument. One that a stop of the process interrupted has failed, and left nothing behind.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] without the snapshot, [`ErrorKind::Exists`] if the name is taken, [`ErrorKind::Invalid`]; all else becomes
    /// the failure of the task.
    pub fn restore_snapshot_task(
        &self,
        name: &SnapshotName,
        of: Option<&str>,
        target: &str,
        replace: Replace,
    ) -> Result<TaskId> {
        check_name("collection", target).map_err(|e| Error::invalid(e.to_string()))?;
        let part = self.shared.known(name, None)?.find(of)?;
        plan(&*self.shared.ledger()?, &[(part, target.to_owned())], &[], &[], replace).map(drop)?;
        // Without the identity of what it replaces: its end is not the end of this.
        let task = Plan::new(TaskKind::Restore, target.to_owned(), None, &name.to_string())?;
        let (db, name, of, target) = (self.clone(), name.clone(), of.map(str::to_owned), target.to_owned());
        let work = move |progress: &Progress| {
            let done = db.restore_snapshot_with(&name, of.as_deref(), &target, replace, progress)?;
            Ok(format!("{} bytes, {} of them copied", done.bytes, done.copied))
        };
        self.shared.board().submit(task, Job::holding(self.clone(), Box::new(work)))
    }

    /// Makes a new collection `target` of all that is in the collection `source` now: by links where the file system can, never by writing
    /// points again. From then on each goes its own way.
    ///
    /// # Errors
    ///
    /// As [`Database::restore_snapshot_with`].
    pub fn clone_collection(&self, source: &str, target: &str, progress: &Progress) -> Result<Restored> {
        check_name("collection", target).map_err(|e| Error::invalid(e.to_string()))?;
        let targets = [(0, target.to_owned())];
        self.shared.check_targets(&targets, &[], Replace::Never)?;
        let source = self.collection(source)?;
        let hold = self.shared.store.hold();
        let name = SnapshotName::of(source.name(), "clone");
        let known = self.shared.described(name, "", vec![source.capture(&hold)?], Vec::new())?;
        let restored = self.shared.restore_checked(&known, &targets, &[], Replace::Never, progress);
        self.shared.forget(hold, restored)
    }

    /// Proves that a snapshot can be restored: compares every file with its digest, builds each collection in a scratch place, reads all
    /// of it, and compares each point with the snapshot as it lies. O(bytes); nothing is left behind.
    ///
    /// A snapshot whose files are second names of live ones is no second copy, which [`Verified::is_linked`] says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`], naming what is damaged; [`ErrorKind::Cancelled`].
    pub fn verify_snapshot(&self, name: &SnapshotName, progress: &Progress) -> Result<Verified> {
        let hold = self.shared.store.hold();
        let known = self.shared.known(name, Some(&hold))?;
        progress.expect(2 * known.manifest.bytes());
        self.shared.check_digests(&known, None, progress)?;
        let mut verified = Verified { points: 0, bytes: known.manifest.bytes(), is_linked: false };
        let mut site = Site { shared: &self.shared, built: Vec::new() };
        for (at, part) in known.body.parts.iter().enumerate() {
            let copied = self.shared.build(&known, at, &part.name, &mut site, progress)?;
            verified.is_linked |= copied < known.blueprints[at].bytes();
            let built = site.built.last().and_then(|building| building.shard.as_ref());
            let view =
                built.map(|shard| shard.view()).ok_or_else(|| Error::new(ErrorKind::Internal, "no shard"))?;
            view.verify().map_err(|e| e.within(name))?;
            let lying = self.look_at(&known, Some(at), |db| Ok(db.collection(&part.name)?.view()))?;
            verified.points += compare(&view, &lying, progress).map_err(|e| e.within(name))?;
        }
        Ok(verified)
    }

    /// Compares every file of a snapshot with its digest. O(bytes).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`], naming file and offset.
    pub fn verify_snapshot_digests(&self, name: &SnapshotName, progress: &Progress) -> Result<()> {
        let hold = self.shared.store.hold();
        let known = self.shared.known(name, Some(&hold))?;
        progress.expect(known.manifest.bytes());
        self.shared.check_digests(&known, None, progress)
    }
}

impl Shared {
    /// Restores these collections of a snapshot under these names, all or none. The caller holds the snapshot.
    pub(crate) fn restore(
        &self,
        known: &Known,
        targets: &[(usize, String)],
        aliases: &[(String, String)],
        replace: Replace,
        progress: &Progress,
    ) -> Result<Restored> {
        plan(&*self.ledger()?, targets, aliases, &[], replace).map(drop)?;
        let parts: BTreeSet<usize> = targets.iter().map(|(part, _)| *part).collect();
        progress.expect(targets.iter().map(|(part, _)| known.blueprints[*part].bytes()).sum());
        self.check_digests(known, Some(&parts), progress)?;
        self.restore_checked(known, targets, aliases, replace, progress)
    }

    /// Refuses a restore under names that are not to be had.
    pub(crate) fn check_targets(
        &self,
        targets: &[(usize, String)],
        aliases: &[(String, String)],
        replace: Replace,
    ) -> Result<()> {
        plan(&*self.ledger()?, targets, aliases, &[], replace).map(drop)
    }

    /// As [`Shared::restore`], of files whose digests are known to hold.
    pub(crate) fn restore_checked(
        &self,
        known: &Known,
        targets: &[(usize, String)],
        aliases: &[(String, String)],
        replace: Replace,
        progress: &Progress,
    ) -> Result<Restored> {
        let bytes = targets.iter().map(|(part, _)| known.blueprints[*part].bytes()).sum();
        progress.expect(bytes);
        let mut restored = Restored { collections: Vec::new(), seqs: Vec::new(), bytes, copied: 0 };
        let mut site = Site { shared: self, built: Vec::new() };
        for (part, name) in targets {
            restored.copied += self.build(known, *part, name, &mut site, progress)?;
            restored.collections.push(name.clone());
            restored.seqs.push(Seq(known.body.parts[*part].seq));
        }
        self.switch(targets, aliases, replace, &mut site)?;
        Ok(restored)
    }

    /// Builds one collection and opens it; returns how many bytes were copied.
    fn build(
        &self,
        known: &Known,
        part: usize,
        name: &str,
        site: &mut Site<'_>,
        progress: &Progress,
    ) -> Result<u64> {
        let options = self.collection_options();
        let uuid = options.entropy.uuid_bytes();
        site.built.push(Building { name: name.to_owned(), uuid, shard: None });
        let folder = shard_folder(uuid);
        let blueprint = &known.blueprints[part];
        let copied = Shard::build(&self.dir, &folder, uuid, blueprint, &*self.store, &options, progress)
            .map_err(|e| e.within(&known.name))?;
        let (shard, report) =
            Shard::open(&self.dir, &folder, uuid, options).map_err(|e| e.within(&known.name))?;
        let (found, expected) = (shard.view().count(), known.body.parts[part].points);
        if let Some(building) = site.built.last_mut() {
            building.shard = Some(Arc::clone(&shard));
        }
        if found != expected {
            let context = format!("{}: it has {found} points, expected {expected}", known.name);
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        self.note_repaired(report.repaired.into_iter().map(|what| format!("collection {name:?}: {what}")));
        Ok(copied)
    }

    /// The commit point: the names stand for what was built.
    fn switch(
        &self,
        targets: &[(usize, String)],
        aliases: &[(String, String)],
        replace: Replace,
        site: &mut Site<'_>,
    ) -> Result<()> {
        let mut ledger = self.ledger()?;
        let (value, replaced) = plan(&ledger, targets, aliases, &site.built, replace)?;
        let committed = ledger.commit(value);
        let first = site.built.first().map(|building| (building.name.as_str(), building.uuid));
        let switched = first.is_some_and(|(name, uuid)| ledger.value.collections.get(name) == Some(&uuid));
        let unknown = matches!(&committed, Err(error) if error.kind() == ErrorKind::Unavailable);
        if !switched && !unknown {
            return committed;
        }
        // What may be named stays, whatever is known of it.
        let built = site.built.drain(..).filter_map(|building| Some((building.uuid, building.shard?)));
        let old: Vec<Arc<Slot>> = if switched {
            for (uuid, shard) in built {
                let slot = self.slots().adopt(uuid, Arc::clone(&shard));
                self.background().opened(&slot, &shard);
            }
            replaced.iter().filter_map(|uuid| self.slots().remove(*uuid)).collect()
        } else {
            // Perhaps the catalog names the others by now: nothing more may be acknowledged in what they replace.
            built.for_each(|(_, shard)| shard.shut());
            let why = "it is unknown whether a restored collection took its name";
            let _ = self.failed.set(why.to_owned());
            self.slots().loaded().iter().for_each(|shard| shard.poison(&why));
            Vec::new()
        };
        drop(ledger);
        let cancel =
            || replaced.iter().for_each(|uuid| self.board().cancel_all(*uuid, "the collection was replaced"));
        cancel();
        for slot in old {
            if let Some(shard) = slot.turn().take(SlotState::Gone) {
                shard.shut();
                // Or somebody would still write into its folder.
                shard.come_to_rest();
            }
        }
        cancel();
        committed?;
        replaced.iter().for_each(|uuid| self.remove_folder(collection_folder(*uuid)));
        Ok(())
    }

    /// Compares the files of these parts (all, if none are named) with their digests.
    pub(crate) fn check_digests(
        &self,
        known: &Known,
        parts: Option<&BTreeSet<usize>>,
        progress: &Progress,
    ) -> Result<()> {
        let mut objects: Vec<(&str, Object)> = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, blueprint) in known.blueprints.iter().enumerate() {
            if parts.is_none_or(|parts| parts.contains(&at)) {
                let files = blueprint.files().iter().filter(|(_, object)| seen.insert(object.digest));
                objects.extend(files.map(|(path, object)| (path.as_str(), *object)));
            }
        }
        // Large ones first, so that none is left over at the end.
        objects.sort_unstable_by_key(|(_, object)| std::cmp::Reverse(object.length));
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        // Indexes are built by half of the processors; somebody waits for this.
        let threads = 2 * self.options.collections.index_threads;
        on_threads(threads.clamp(1, objects.len().max(1)), &|_| {
            while let Some((path, object)) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                if failed.lock().is_some() {
                    return;
                }
                match self.check_digest(path, object, progress) {
                    Ok(()) => progress.add(object.length),
                    Err(error) => {
                        failed.lock().get_or_insert(error);
                    }
                }
            }
        });
        failed.into_inner().map_or(Ok(()), |error: Error| Err(error.within(&known.name)))
    }

    fn check_digest(&self, path: &str, object: &Object, progress: &Progress) -> Result<()> {
        if progress.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "it was cancelled"));
        }
        let bytes = self.store.get(object).map_err(|e| store_error(e).within(path))?;
        match object.check(path, &bytes) {
            Err(StoreError::Damaged { path, why }) => {
                let at = whereabouts(&path, &bytes);
                let context =
                    format!("{path} is damaged: {why}; {at}; another copy of the snapshot is needed");
                Err(Error::new(ErrorKind::Corrupt, context))
            }
            checked => checked.map_err(store_error),
        }
    }
}

/// Compares all points of two views, vectors bit by bit; returns how many there are.
fn compare(one: &View, other: &View, progress: &Progress) -> Result<u64> {
    let (mut count, mut after) = (0, None);
    loop {
        if progress.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "it was cancelled"));
        }
        let pages = [one, other].map(|view| view.scroll(after.as_ref(), PAGE, With::ALL));
        let [mine, theirs] = pages;
        let (mine, theirs) = (mine?, theirs?);
        let differs = |(a, b): (&Record, &Record)| {
            let bits = |record: &Record| -> Vec<u32> {
                let vectors = record.vectors.iter().flatten();
                vectors.flat_map(|(_, vector)| vector.iter().map(|number| number.to_bits())).collect()
            };
            a.id != b.id || a.payload != b.payload || bits(a) != bits(b)
        };
        if mine.len() != theirs.len() || mine.iter().zip(&theirs).any(differs) {
            let context = format!("the restored points differ from the snapshot's after point {after:?}");
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        count += mine.len() as u64;
        match mine.into_iter().last() {
            None => return Ok(count),
            Some(last) => after = Some(last.id),
        }
    }
}

/// The catalog with these names; the collections that lose theirs.
fn plan(
    ledger: &Ledger,
    targets: &[(usize, String)],
    aliases: &[(String, String)],
    built: &[Building],
    replace: Replace,
) -> Result<(Catalog, Vec<[u8; 16]>)> {
    let mut value = ledger.value.clone();
    let mut replaced = Vec::new();
    for (at, (_, name)) in targets.iter().enumerate() {
        if value.aliases.contains_key(name) {
            return Err(Error::new(ErrorKind::Exists, format!("alias '{name}' already exists")));
        }
        if replace == Replace::Never {
            ledger.check_free(name)?;
        }
        let uuid = built.get(at).map_or([0; 16], |building| building.uuid);
        replaced.extend(value.collections.insert(name.clone(), uuid));
        value.closed.remove(name);
    }
    for (alias, name) in aliases {
        if value.collections.contains_key(alias) {
            return Err(Error::new(ErrorKind::Exists, format!("collection '{alias}' already exists")));
        }
        if !value.collections.contains_key(name) {
            // A catalog with such an alias could not be opened again.
            let context = format!("alias '{alias}' stands for '{name}', which is not restored with it");
            return Err(Error::invalid(context));
        }
        if let Some(live) = value.aliases.get(alias).filter(|live| *live != name && replace == Replace::Never)
        {
            let context = format!("alias '{alias}' already exists and stands for '{live}'");
            return Err(Error::new(ErrorKind::Exists, context));
        }
        value.aliases.insert(alias.clone(), name.clone());
    }
    if value.collections.len() > COLLECTIONS_MAX || value.aliases.len() > ALIASES_MAX {
        return Err(Error::invalid(format!(
            "there would be {} collections and {} aliases: at most {COLLECTIONS_MAX} and {ALIASES_MAX} are allowed",
            value.collections.len(),
            value.aliases.len()
        )));
    }
    Ok((value, replaced))
}
