//! Snapshots: making them, looking at them, pinning and dropping them.
//!
//! A snapshot is the files of one or all collections as they were at one operation each, kept in a content-addressed store in the same
//! directory. Files that did not change are shared with the live collection and with other snapshots, by hard links where the file system
//! has them; **a hard link is not a second copy**: for that there are archives.
//!
//! **It refuses** to change a live collection, whatever becomes of a snapshot.

pub(crate) mod body;
pub(crate) mod info;
mod read;

use std::time::Duration;

use nearfield_collection::{Collection as Shard, Error, ErrorKind, Result, store_error};
use nearfield_snapshot::{Entry, Expect, Hold, Manifest, Pins, SnapshotStore};
use nearfield_types::Uuid;
use nearfield_types::limits::{SNAPSHOT_DESCRIPTION_BYTES_MAX, SNAPSHOTS_MAX};

use self::body::{Body, Part};
use self::info::{Known, SnapshotInfo, SnapshotName};
use crate::catalog::Catalog;
use crate::collection::Collection;
use crate::database::Database;
use crate::shared::Shared;

/// The store of all snapshots, beside the collections.
pub(crate) const SNAPSHOTS_FOLDER: &str = "snapshots";
/// How often the collections of a database are taken down before a user who creates and deletes all the time is told so.
const LOOKS: u32 = 5;

/// The snapshots that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotListing {
    /// Those that can be told: the ones of the database first, then by collection and name.
    pub names: Vec<SnapshotName>,
    /// What could not be read, naming the file. While it is there nothing of any snapshot is removed; [`Database::drop_snapshot`] ends it, by
    /// the name that the snapshot had.
    pub damaged: Vec<String>,
}

/// A promise to keep the data of a snapshot for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPin {
    /// Names the pin.
    pub id: u64,
    /// The snapshot, which may have been dropped since.
    pub snapshot: SnapshotName,
    /// When its time is over, in milliseconds since 1970.
    pub until_ms: u64,
}

impl Database {
    /// Takes the collection `collection`, or what that alias stands for, down as it is now. All writes answered before are in it. Writers
    /// go on meanwhile.
    ///
    /// Costs links, a few syncs, and as many bytes as are in the log and not in sealed files yet.
    ///
    /// ```
    /// use nearfield::{CollectionConfig, Database, Metric, Point, SnapshotName};
    ///
    /// let db = Database::in_memory()?;
    /// let books = db.create_collection("books", CollectionConfig::new(1, Metric::Dot))?;
    /// books.upsert(vec![Point::new(1, vec![1.0])])?;
    /// let made = db.create_snapshot("books", "monday", "before the move")?;
    /// assert_eq!(made.collections[0].points, 1);
    /// books.delete(&[1.into()])?;
    /// db.restore_snapshot(&SnapshotName::of("books", "monday"), "books-again")?;
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if the collection has a snapshot of that name, [`ErrorKind::Invalid`] for names and descriptions outside the
    /// limits, [`ErrorKind::NotFound`], [`ErrorKind::Full`], [`ErrorKind::Unavailable`]. Nothing was made then.
    pub fn create_snapshot(&self, collection: &str, name: &str, description: &str) -> Result<SnapshotInfo> {
        self.collection(collection)?.create_snapshot(name, description)
    }

    /// Takes all collections down, each as it is now, with the aliases. Names and aliases are of one moment. Closed ones are in it too: they
    /// are opened for nobody else meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Database::create_snapshot`]; [`ErrorKind::Busy`] if collections come and go all the time.
    pub fn create_full_snapshot(&self, name: &str, description: &str) -> Result<SnapshotInfo> {
        let name = SnapshotName::full(name);
        self.shared.check_new(&name, description)?;
        let hold = self.shared.store.hold();
        let known = self.capture_all(&hold, name, description)?;
        self.shared.publish_known(&hold, &known)?;
        Ok(known.info())
    }

    /// All collections as they are now, under `hold`.
    pub(crate) fn capture_all(&self, hold: &Hold, name: SnapshotName, description: &str) -> Result<Known> {
        name.check()?;
        let named = || -> Result<Catalog> {
            let mut value = self.shared.ledger()?.value.clone();
            // Whether one is closed changes nothing of what is in it.
            value.closed.clear();
            Ok(value)
        };
        for _ in 0..LOOKS {
            let before = named()?;
            let captured: Result<Vec<_>> = before
                .collections
                .iter()
                .map(|(name, uuid)| self.shared.capture_one(name, *uuid, hold))
                .collect();
            let captured = match captured {
                // It was deleted, opened or closed meanwhile.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Busy | ErrorKind::Closed) =>
                {
                    continue;
                }
                captured => captured?,
            };
            // Names alone would not tell one collection from another that took its name.
            if named()? == before {
                return self.shared.described(
                    name,
                    description,
                    captured,
                    before.aliases.into_iter().collect(),
                );
            }
        }
        let context = "collections or aliases were changed all the time: try again later";
        Err(Error::new(ErrorKind::Busy, context))
    }

    /// The snapshots of a collection (by its name then), or of the database (`None`), by name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if what names one is damaged, naming the file.
    pub fn snapshots(&self, collection: Option<&str>) -> Result<Vec<SnapshotName>> {
        let prefix = format!("{}/", collection.unwrap_or_default());
        self.shared.list(&prefix)
    }

    /// All snapshots: those of the database first, then by collection and name.
    ///
    /// # Errors
    ///
    /// As [`Database::snapshots`].
    pub fn all_snapshots(&self) -> Result<Vec<SnapshotName>> {
        self.shared.list("")
    }

    /// As [`Database::snapshots`] (with `collection`) and [`Database::all_snapshots`], with those that are healthy beside what is damaged.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the disk failed.
    pub fn snapshot_listing(&self, collection: Option<&str>) -> Result<SnapshotListing> {
        let prefix = collection.map_or(String::new(), |name| format!("{name}/"));
        self.shared.listing(&prefix)
    }

    /// What a snapshot is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if its manifest is damaged.
    pub fn describe_snapshot(&self, name: &SnapshotName) -> Result<SnapshotInfo> {
        Ok(self.shared.known(name, None)?.info())
    }

    /// Drops a snapshot, a damaged one too; false if there was none. What nothing else keeps is removed: not what another snapshot shares or a pin keeps, and
    /// never anything of a live collection.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the disk failed.
    pub fn drop_snapshot(&self, name: &SnapshotName) -> Result<bool> {
        name.check()?;
        let _open = self.shared.ledger()?;
        let dropped = self.shared.store.retract(&name.key(), Expect::Any).map_err(store_error)?;
        // What cannot be removed now goes with a later sweep.
        let _ = self.shared.store.sweep();
        Ok(dropped)
    }

    /// Keeps the data of a snapshot for `ttl`, one second to seven days, whether it is dropped or not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for another time, [`ErrorKind::NotFound`] without the snapshot.
    pub fn pin_snapshot(&self, name: &SnapshotName, ttl: Duration) -> Result<SnapshotPin> {
        name.check()?;
        let _open = self.shared.ledger()?;
        let pin = self.shared.store.pin(&name.key(), ttl).map_err(store_error)?;
        Ok(SnapshotPin { id: pin.id, snapshot: name.clone(), until_ms: pin.until_ms })
    }

    /// Ends a pin; false if there was none of that id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the disk failed.
    pub fn unpin_snapshot(&self, id: u64) -> Result<bool> {
        let _open = self.shared.ledger()?;
        let ended = self.shared.store.unpin(id).map_err(store_error)?;
        let _ = self.shared.store.sweep();
        Ok(ended)
    }

    /// The pins that have not ended, by id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if both copies of the list are damaged.
    pub fn snapshot_pins(&self) -> Result<Vec<SnapshotPin>> {
        let _open = self.shared.ledger()?;
        let pins = self.shared.store.pins().map_err(store_error)?;
        let named = pins.into_iter().filter_map(|pin| {
            let snapshot = SnapshotName::parse(&pin.name)?;
            Some(SnapshotPin { id: pin.id, snapshot, until_ms: pin.until_ms })
        });
        Ok(named.collect())
    }
}

impl Collection {
    /// Takes the collection down as it is now: see [`Database::create_snapshot`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn create_snapshot(&self, name: &str, description: &str) -> Result<SnapshotInfo> {
        let name = SnapshotName::of(self.name(), name);
        let shared = self.shared();
        shared.check_new(&name, description)?;
        let hold = shared.store.hold();
        let known = shared.described(name, description, vec![self.capture(&hold)?], Vec::new())?;
        shared.publish_known(&hold, &known)?;
        Ok(known.info())
    }

    /// The collection as it is now, its files in the store under `hold`.
    pub(crate) fn capture(&self, hold: &Hold) -> Result<(Part, Vec<Entry>)> {
        self.shared().capture(self.name(), self.shard(), hold)
    }
}

impl Shared {
    /// A collection, by the name it goes under, as it is now, its files in the store under `hold`.
    fn capture(&self, name: &str, shard: &Shard, hold: &Hold) -> Result<(Part, Vec<Entry>)> {
        let captured = shard.capture(&*self.store, hold)?;
        let uuid = captured.manifest.collection;
        let prefix = Uuid::from_bytes(uuid);
        let files = captured.files.into_iter();
        let files = files.map(|entry| Entry { path: format!("{prefix}/{}", entry.path), ..entry }).collect();
        let part = Part {
            name: name.to_owned(),
            uuid,
            seq: captured.seq.0,
            points: captured.points,
            manifest: captured.manifest.encode(),
        };
        Ok((part, files))
    }

    /// The collection of this uuid as it is now. One that is closed is opened for nobody else, and stays closed.
    fn capture_one(&self, name: &str, uuid: [u8; 16], hold: &Hold) -> Result<(Part, Vec<Entry>)> {
        match self.find(uuid) {
            Err(error) if error.kind() == ErrorKind::Closed => {
                self.with_closed(name, uuid, |shard| self.capture(name, shard, hold))
            }
            found => self.capture(name, &found?.1, hold),
        }
    }

    /// Refuses a snapshot that cannot be made, before any work.
    pub(crate) fn check_new(&self, name: &SnapshotName, description: &str) -> Result<()> {
        let _open = self.ledger()?;
        name.check()?;
        let bytes = description.len();
        if bytes > SNAPSHOT_DESCRIPTION_BYTES_MAX {
            return Err(Error::invalid(format!(
                "description has {bytes} bytes: at most {SNAPSHOT_DESCRIPTION_BYTES_MAX} are allowed"
            )));
        }
        let names = self.store.list("").map_err(store_error)?.names;
        if names.binary_search(&name.key()).is_ok() {
            return Err(exists(name));
        }
        if names.len() >= SNAPSHOTS_MAX {
            let context = format!("there are {SNAPSHOTS_MAX} snapshots: that is the most allowed, drop one");
            return Err(Error::new(ErrorKind::Full, context));
        }
        Ok(())
    }

    /// What was captured, as a snapshot that is not published.
    pub(crate) fn described(
        &self,
        name: SnapshotName,
        description: &str,
        captured: Vec<(Part, Vec<Entry>)>,
        aliases: Vec<(String, String)>,
    ) -> Result<Known> {
        let options = &self.options.collections;
        let (parts, files): (Vec<Part>, Vec<Vec<Entry>>) = captured.into_iter().unzip();
        let body = Body {
            is_full: name.collection.is_none(),
            id: options.entropy.uuid_bytes(),
            name: name.name.clone(),
            description: description.to_owned(),
            parts,
            aliases,
        };
        let files = files.into_iter().flatten().collect();
        let manifest = Manifest { created_ms: options.clock.now_ms(), body: body.encode(), files };
        // Nothing is published that could not be understood again.
        Known::of(name, manifest)
    }

    /// Lets the name of a snapshot stand for it, if it stands for nothing.
    pub(crate) fn publish_known(&self, hold: &Hold, known: &Known) -> Result<()> {
        // Once the lock of the directory is given up, somebody else may sweep.
        let _open = self.ledger()?;
        let published = self.store.publish(hold, &known.name.key(), &known.manifest, Expect::Absent);
        published.map(drop).map_err(|error| match store_error(error) {
            error if error.kind() == ErrorKind::Exists => exists(&known.name),
            error => error,
        })
    }

    /// The snapshot called `name`, kept by `hold` if one is given.
    pub(crate) fn known(&self, name: &SnapshotName, hold: Option<&Hold>) -> Result<Known> {
        name.check()?;
        let found = self.store.resolve(&name.key(), hold).map_err(|e| store_error(e).within(name))?;
        let found = found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {name}")))?;
        Known::new(name.clone(), found)
    }

    fn list(&self, prefix: &str) -> Result<Vec<SnapshotName>> {
        let listing = self.listing(prefix)?;
        match listing.damaged.first() {
            None => Ok(listing.names),
            Some(damage) => {
                let context =
                    format!("the list of snapshots: {damage}; nothing is removed while it is there");
                Err(Error::new(ErrorKind::Corrupt, context))
            }
        }
    }

    fn listing(&self, prefix: &str) -> Result<SnapshotListing> {
        let _open = self.ledger()?;
        let listing = self.store.list(prefix).map_err(store_error)?;
        let names = listing.names.iter().filter_map(|key| SnapshotName::parse(key)).collect();
        Ok(SnapshotListing { names, damaged: listing.damaged })
    }
}

fn exists(name: &SnapshotName) -> Error {
    Error::new(ErrorKind::Exists, format!("{name} already exists: choose another name or drop it"))
}
