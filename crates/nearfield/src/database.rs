//! A directory of collections, opened by one process for writing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use nearfield_collection::{Collection as Shard, CollectionConfig, Error, ErrorKind, Result};
use nearfield_platform::{Dir, MemoryDir, RealDir, RealOptions};
use nearfield_types::check_name;
use nearfield_types::limits::{ALIASES_MAX, COLLECTIONS_MAX};
use parking_lot::Mutex;

use crate::collection::Collection;
use crate::options::Options;
use crate::shared::{Shared, collection_folder, shard_folder};
use crate::slots::SlotState;

/// An open database. A clone is another handle to the same one; all methods may be called from several threads.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
}

/// Open databases by the identity of their directory.
type Registry = HashMap<(u64, u64), Weak<Shared>>;

/// The databases open in this process: a second opening of a directory shares the first.
static OPEN: Mutex<Option<Registry>> = Mutex::new(None);

impl Database {
    /// Opens the database in the directory `path` for writing, making it if there is none.
    ///
    /// A second opening in one process, however the path is spelt, gives another handle to the same database.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] if another process has it open, naming its id; [`ErrorKind::NotFound`] if it must not be made;
    /// [`ErrorKind::Corrupt`] if the catalog is damaged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        let path: PathBuf = path.as_ref().to_owned();
        let place = path.display().to_string();
        let (create, allow_unsupported_fs) = (options.create, options.allow_unsupported_fs);
        let real = RealOptions { create, allow_unsupported_fs, ..RealOptions::default() };
        let dir = RealDir::open_with(&path, real).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("there is no database at '{place}'"))
            }
            _ => Error::io(format!("opening '{place}'"), e),
        })?;
        Database::open_in(Arc::new(dir), &place, options)
    }

    /// A database in memory, gone with its last handle.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn in_memory() -> Result<Database> {
        Database::open_in(MemoryDir::new(), ":memory:", Options::default())
    }

    /// Opens the database in any directory; `place` is how errors call it.
    ///
    /// # Errors
    ///
    /// As [`Database::open`].
    pub fn open_in(dir: Arc<dyn Dir>, place: &str, options: Options) -> Result<Database> {
        let identity = dir.identity().map_err(|e| Error::io(format!("looking at '{place}'"), e))?;
        let mut registry = OPEN.lock();
        let open = registry.get_or_insert_default();
        open.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = open.get(&identity).and_then(Weak::upgrade)
            && !shared.is_closed()
        {
            if shared.options().durability != options.durability {
                let context = format!("'{place}' is open in this process with another durability");
                return Err(Error::invalid(context));
            }
            return Ok(Database { shared });
        }
        let shared = Arc::new(Shared::open(dir, place, options)?);
        shared.start()?;
        crate::tasks::resume(&shared);
        open.insert(identity, Arc::downgrade(&shared));
        Ok(Database { shared })
    }

    /// Makes an empty collection. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if the name is taken, by an alias too; [`ErrorKind::Invalid`] for a name or configuration outside the
    /// limits.
    pub fn create_collection(&self, name: &str, config: CollectionConfig) -> Result<Collection> {
        check_name("collection", name).map_err(|e| Error::invalid(e.to_string()))?;
        config.check()?;
        let shared = &self.shared;
        let mut ledger = shared.ledger()?;
        ledger.check_free(name)?;
        if ledger.value.collections.len() >= COLLECTIONS_MAX {
            return Err(Error::invalid(format!(
                "there are {COLLECTIONS_MAX} collections: that is the most allowed"
            )));
        }
        let uuid = shared.options().collections.entropy.uuid_bytes();
        let options = shared.collection_options();
        Shard::create(shared.dir(), &shard_folder(uuid), uuid, &config, &options)?;
        let mut value = ledger.value.clone();
        value.collections.insert(name.to_owned(), uuid);
        ledger.commit(value)?;
        drop(ledger);
        self.collection(name)
    }

    /// The collection called `name`, or the one that the alias `name` stands for. Opened at first use.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if its stored bytes are damaged.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let (found, slot) = self.shared.slot(name)?;
        let shard = self.shared.load(&slot, &found)?;
        Ok(Collection::new(Arc::clone(&self.shared), found, slot, shard))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The names of all collections, sorted.
    pub fn collections(&self) -> Vec<String> {
        self.shared.catalog().value.collections.keys().cloned().collect()
    }

    /// Deletes a collection with its data and its aliases; true if there was one. Handles to it refuse everything afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an alias: name the collection itself.
    pub fn delete_collection(&self, name: &str) -> Result<bool> {
        let mut ledger = self.shared.ledger()?;
        if ledger.value.aliases.contains_key(name) {
            return Err(Error::invalid(format!(
                "{name:?} is an alias: delete the alias, or the collection by its name"
            )));
        }
        let mut value = ledger.value.clone();
        let Some(uuid) = value.collections.remove(name) else { return Ok(false) };
        value.closed.remove(name);
        value.aliases.retain(|_, target| target != name);
        let committed = ledger.commit(value);
        let slot = self.shared.slots().remove(uuid);
        drop(ledger);
        let why = "the collection was deleted";
        self.shared.board().cancel_all(uuid, why);
        // Even if it failed the catalog may no longer name the collection: nothing more may be acknowledged in it.
        if let Some(slot) = slot
            && let Some(shard) = slot.turn().take(SlotState::Gone)
        {
            shard.shut();
            // Or somebody would still write into the folder.
            shard.come_to_rest();
        }
        self.shared.board().cancel_all(uuid, why);
        committed?;
        self.shared.remove_folder(collection_folder(uuid));
        Ok(true)
    }

    /// Lets `alias` stand for a collection, from now on and whatever it stood for before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] without the collection, [`ErrorKind::Exists`] if a collection has that name.
    pub fn set_alias(&self, alias: &str, collection: &str) -> Result<()> {
        check_name("alias", alias).map_err(|e| Error::invalid(e.to_string()))?;
        let mut ledger = self.shared.ledger()?;
        if !ledger.value.collections.contains_key(collection) {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no collection {collection:?}")));
        }
        if ledger.value.collections.contains_key(alias) {
            return Err(Error::new(ErrorKind::Exists, format!("there is a collection called {alias:?}")));
        }
        let mut value = ledger.value.clone();
        value.aliases.insert(alias.to_owned(), collection.to_owned());
        if value.aliases.len() > ALIASES_MAX {
            return Err(Error::invalid(format!("there are {ALIASES_MAX} aliases: that is the most allowed")));
        }
        ledger.commit(value)
    }

    /// Forgets an alias; true if there was one.
    ///
    /// # Errors
    ///
    /// What writing the catalog met.
    pub fn delete_alias(&self, alias: &str) -> Result<bool> {
        let mut ledger = self.shared.ledger()?;
        let mut value = ledger.value.clone();
        if value.aliases.remove(alias).is_none() {
            return Ok(false);
        }
        ledger.commit(value)?;
        Ok(true)
    }

    /// Aliases and the collections they stand for, sorted by alias.
    pub fn aliases(&self) -> Vec<(String, String)> {
        let aliases = &self.shared.catalog().value.aliases;
        aliases.iter().map(|(alias, name)| (alias.clone(), name.clone())).collect()
    }

    /// Damage that was found since the database was opened and that cost nothing, in words: what was damaged and what was done
    /// instead. Worth telling somebody: the disk is not well.
    pub fn repaired(&self) -> Vec<String> {
        self.shared.repaired()
    }

    /// Closes the database for every handle: what is in memory is made durable, the lock is given up. Dropping the last handle
    /// does the same, but cannot tell what went wrong.
    ///
    /// # Errors
    ///
    /// The first error of a collection; the others are closed all the same.
    pub fn close(self) -> Result<()> {
        self.shared.close()
    }
}
