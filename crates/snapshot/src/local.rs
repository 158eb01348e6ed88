//! The store as a folder beside the data: objects are hard links to the files they were made from, where the file system has them.
//!
//! ```text
//! <folder>/objects/<digest>         write-once objects, manifests among them
//! <folder>/refs/<digest of name>.ref
//! <folder>/PINS-a, PINS-b
//! ```
//!
//! A hard link is a second name, not a second copy: damage to the file is damage to both.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearfield_codec::Region;
use nearfield_platform::{Clock, Dir};
use nearfield_types::limits::SNAPSHOT_PINS_MAX;
use parking_lot::Mutex;

use crate::contract::{
    Expect, Hold, Listing, Object, PIN_TTL_MAX, PIN_TTL_MIN, Pin, Pins, Placed, Published, Put,
    SnapshotStore, Source, Swept,
};
use crate::error::{Result, StoreError};
use crate::manifest::{Digest, Manifest};
use crate::refs::{self, Ref};
use crate::twin::{Kept, PinTable};

/// Bytes hashed and written at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Copies under way at once, leftovers included.
const SPARES_MAX: u64 = 1 << 16;

/// A [`SnapshotStore`] in a folder.
#[derive(Debug)]
pub struct LocalStore {
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) folder: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) held: Arc<Mutex<HashMap<Digest, usize>>>,
    /// Held while names or pins change, and while a sweep looks and removes. True once the folders are there.
    pub(crate) gate: Mutex<bool>,
    spares: AtomicU64,
}

impl LocalStore {
    /// The store in `folder` of `dir`; whoever opens it holds the lock of the directory. Nothing is made before it is needed. What a
    /// killed process left half copied is removed; what it left unpublished goes with the next sweep.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn open(dir: Arc<dyn Dir>, folder: &str, clock: Arc<dyn Clock>) -> Result<LocalStore> {
        let store = LocalStore {
            dir,
            folder: folder.to_owned(),
            clock,
            held: Arc::default(),
            gate: Mutex::new(false),
            spares: AtomicU64::new(0),
        };
        for place in [store.folder.clone(), store.objects(), store.refs()] {
            for entry in store.entries(&place)?.iter().filter(|name| name.ends_with(".tmp")) {
                // Harmless if it stays.
                let _ = store.dir.remove(&format!("{place}/{entry}"));
            }
        }
        Ok(store)
    }

    pub(crate) fn objects(&self) -> String {
        format!("{}/objects", self.folder)
    }

    pub(crate) fn refs(&self) -> String {
        format!("{}/refs", self.folder)
    }

    pub(crate) fn object_path(&self, digest: Digest) -> String {
        format!("{}/objects/{digest}", self.folder)
    }

    /// The files of a folder; of a missing one there are none.
    pub(crate) fn entries(&self, place: &str) -> Result<Vec<String>> {
        match self.dir.list(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => Ok(listed?.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect()),
        }
    }

    /// Makes the folders, durably, if they are not there.
    fn make_folders(&self) -> Result<()> {
        let mut made = self.gate.lock();
        if *made {
            return Ok(());
        }
        self.dir.make_dir(&self.objects())?;
        self.dir.make_dir(&self.refs())?;
        let above = self.folder.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| &self.folder[..at]);
        std::iter::once("")
            .chain(above)
            .chain([&*self.folder])
            .try_for_each(|path| self.dir.sync_dir(path))?;
        *made = true;
        Ok(())
    }

    /// The bytes of an object that is there.
    fn look(&self, object: &Object) -> Result<Option<Region>> {
        let path = self.object_path(object.digest);
        match self.dir.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => {
                let region = opened?;
                object.check_length(&path, region.len() as u64)?;
                Ok(Some(region))
            }
        }
    }

    /// Links the file `from` as an object; `Refused` where that cannot be done.
    fn adopt(&self, object: &Object, from: &str) -> Result<Put> {
        match self.dir.link(from, &self.object_path(object.digest)) {
            Ok(()) => Ok(Put::Linked),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.look(object).map(|_| Put::There),
            Err(error) if cannot_link(&error) => match self.look(object)? {
                Some(_) => Ok(Put::There),
                None => Ok(Put::Refused),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Writes bytes as an object: whole and durable before it has its name. One that is there and damaged gives way to them.
    fn copy_in(&self, object: &Object, bytes: &mut dyn Read) -> Result<Put> {
        let path = self.object_path(object.digest);
        let there = match self.look(object) {
            Ok(Some(region)) => Some(object.check(&path, &region)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        };
        let is_damaged = match there {
            Some(Ok(())) => return hashed(object, bytes, |_, _| Ok(())).map(|()| Put::There),
            Some(Err(StoreError::Damaged { .. })) => true,
            Some(Err(error)) => return Err(error),
            None => false,
        };
        let spare = copy(&*self.dir, &self.objects(), &self.spares, object, bytes)?;
        let named = match is_damaged {
            true => self.dir.overwrite(&spare, &path),
            false => self.dir.rename(&spare, &path),
        };
        match named {
            Ok(()) => Ok(Put::Copied),
            Err(error) => {
                let _ = self.dir.remove(&spare);
                match error.kind() {
                    ErrorKind::AlreadyExists => Ok(Put::There),
                    _ => Err(error.into()),
                }
            }
        }
    }

    pub(crate) fn read_ref(&self, file: &str) -> Result<Option<Ref>> {
        let path = format!("{}/{file}", self.refs());
        match self.dir.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => Ref::decode(&path, file, &opened?).map(Some),
        }
    }

    /// The manifest `object`, its digest compared.
    pub(crate) fn manifest(&self, object: &Object) -> Result<Manifest> {
        let region = self.get(object)?;
        let path = self.object_path(object.digest);
        object.check(&path, &region)?;
        Manifest::decode(&region).map_err(|error| match error {
            crate::ManifestError::Tag(tag) => refs::tag_error(&path, tag),
            other => StoreError::damaged(&path, other),
        })
    }

    /// What `name` stands for, if that is what is expected.
    fn expected(&self, name: &str, expect: Expect) -> Result<Option<Ref>> {
        let found = self.read_ref(&refs::file_name(name))?;
        let digest = found.as_ref().map(|found| found.manifest.digest);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => digest.is_none(),
            Expect::Is(expected) => digest == Some(expected),
        };
        if holds { Ok(found) } else { Err(StoreError::Conflict { name: name.to_owned(), found: digest }) }
    }
}

impl SnapshotStore for LocalStore {
    fn hold(&self) -> Hold {
        Hold::new(&self.held)
    }

    fn put(&self, hold: &Hold, object: &Object, source: Source<'_>) -> Result<Put> {
        self.make_folders()?;
        // Before looking: from here on a sweep leaves the object alone, whoever put it.
        hold.keep(object.digest);
        match source {
            Source::File(path) => self.adopt(object, path),
            Source::Bytes(mut bytes) => {
                object.check_length("the bytes to be put", bytes.len() as u64)?;
                self.copy_in(object, &mut bytes)
            }
            Source::Stream(bytes) => self.copy_in(object, bytes),
        }
    }

    fn get(&self, object: &Object) -> Result<Region> {
        self.look(object)?.ok_or(StoreError::Missing { digest: object.digest })
    }

    fn place(&self, object: &Object, dir: &dyn Dir, path: &str) -> Result<Placed> {
        let from = self.object_path(object.digest);
        let region = self.get(object)?;
        if dir.identity()? == self.dir.identity()? {
            match dir.link(&from, path) {
                Err(error) if cannot_link(&error) => {}
                linked => return linked.map(|()| Placed::Linked).map_err(StoreError::from),
            }
        }
        let (folder, _) = path.rsplit_once('/').unwrap_or(("", path));
        let spare = copy(dir, folder, &self.spares, object, &mut &region[..])?;
        match dir.rename(&spare, path) {
            Ok(()) => Ok(Placed::Copied),
            Err(error) => {
                let _ = dir.remove(&spare);
                Err(error.into())
            }
        }
    }

    fn publish(&self, hold: &Hold, name: &str, manifest: &Manifest, expect: Expect) -> Result<Digest> {
        refs::check_name(name)?;
        let bytes = manifest.encode()?;
        let object = Object::of(&bytes);
        self.put(hold, &object, Source::Bytes(&bytes))?;
        self.dir.sync_dir(&self.objects())?;
        let _gate = self.gate.lock();
        self.expected(name, expect)?;
        let value = Ref { name: name.to_owned(), manifest: object };
        self.dir.replace(&format!("{}/{}", self.refs(), refs::file_name(name)), &value.encode())?;
        Ok(object.digest)
    }

    fn retract(&self, name: &str, expect: Expect) -> Result<bool> {
        refs::check_name(name)?;
        let _gate = self.gate.lock();
        // Whatever it stands for: a damaged one must not stay for ever.
        if expect != Expect::Any && self.expected(name, expect)?.is_none() {
            return Ok(false);
        }
        match self.dir.remove(&format!("{}/{}", self.refs(), refs::file_name(name))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            removed => removed?,
        }
        self.dir.sync_dir(&self.refs())?;
        Ok(true)
    }

    fn resolve(&self, name: &str, hold: Option<&Hold>) -> Result<Option<Published>> {
        refs::check_name(name)?;
        let _gate = self.gate.lock();
        let Some(found) = self.read_ref(&refs::file_name(name))? else { return Ok(None) };
        let manifest = self.manifest(&found.manifest)?;
        if let Some(hold) = hold {
            hold.keep(found.manifest.digest);
            manifest.files.iter().for_each(|entry| hold.keep(entry.object.digest));
        }
        Ok(Some(Published { name: found.name, digest: found.manifest.digest, manifest }))
    }

    fn list(&self, prefix: &str) -> Result<Listing> {
        let _gate = self.gate.lock();
        let mut listing = Listing::default();
        for file in self.entries(&self.refs())?.iter().filter(|file| refs::is_file_name(file)) {
            match self.read_ref(file) {
                Ok(Some(found)) if found.name.starts_with(prefix) => listing.names.push(found.name),
                Ok(_) => {}
                Err(StoreError::Io(error)) => return Err(error.into()),
                Err(error) => listing.damaged.push(error.to_string()),
            }
        }
        listing.names.sort_unstable();
        Ok(listing)
    }

    fn sweep(&self) -> Result<Swept> {
        self.sweep_now()
    }
}

impl Pins for LocalStore {
    fn pin(&self, name: &str, ttl: Duration) -> Result<Pin> {
        if !(PIN_TTL_MIN..=PIN_TTL_MAX).contains(&ttl) {
            return Err(StoreError::Ttl { secs: ttl.as_secs(), max: PIN_TTL_MAX.as_secs() });
        }
        refs::check_name(name)?;
        let _gate = self.gate.lock();
        let unknown = || StoreError::Unknown { name: name.to_owned() };
        let found = self.read_ref(&refs::file_name(name))?.ok_or_else(unknown)?;
        let mut table = PinTable::read(&*self.dir, &self.folder)?;
        if table.pins.len() >= SNAPSHOT_PINS_MAX {
            return Err(StoreError::TooManyPins { max: SNAPSHOT_PINS_MAX });
        }
        let until_ms = self.clock.now_ms().saturating_add(ttl.as_millis() as u64);
        let pin = Pin { id: table.next_id, name: name.to_owned(), digest: found.manifest.digest, until_ms };
        table.next_id += 1;
        table.pins.push(Kept { pin: pin.clone(), length: found.manifest.length, is_late: false });
        table.write(&*self.dir, &self.folder)?;
        Ok(pin)
    }

    fn unpin(&self, id: u64) -> Result<bool> {
        let _gate = self.gate.lock();
        let mut table = PinTable::read(&*self.dir, &self.folder)?;
        let before = table.pins.len();
        table.pins.retain(|kept| kept.pin.id != id);
        if table.pins.len() == before {
            return Ok(false);
        }
        table.write(&*self.dir, &self.folder)?;
        Ok(true)
    }

    fn pins(&self) -> Result<Vec<Pin>> {
        let _gate = self.gate.lock();
        let table = PinTable::read(&*self.dir, &self.folder)?;
        Ok(table.pins.into_iter().map(|kept| kept.pin).collect())
    }
}

/// True where a second name is not to be had, but a copy may be: no links at all, too many of this file, or somebody else's file.
fn cannot_link(error: &io::Error) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), Unsupported | TooManyLinks | CrossesDevices | PermissionDenied)
}

/// Writes the bytes of an object to a new temporary file in `folder`, synced and sealed, while comparing them with the digest; answers
/// its path.
fn copy(
    dir: &dyn Dir,
    folder: &str,
    spares: &AtomicU64,
    object: &Object,
    bytes: &mut dyn Read,
) -> Result<String> {
    let (spare, file) = loop {
        let n = spares.fetch_add(1, Ordering::Relaxed) % SPARES_MAX;
        let name = format!("object-{n}.tmp");
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match dir.create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => break (path, created?),
        }
    };
    let written = hashed(object, bytes, |at, chunk| file.write_at(at, &[chunk]))
        .and_then(|()| Ok(file.sync().and_then(|()| file.seal())?));
    match written {
        Ok(()) => Ok(spare),
        Err(error) => {
            // The first error is the one to report; a file that stays is removed at the next opening.
            let _ = dir.remove(&spare);
            Err(error)
        }
    }
}

/// Hands as many bytes as the object has to `visit`, piece by piece, and compares them with its digest. What comes after them is not read.
fn hashed(
    object: &Object,
    bytes: &mut dyn Read,
    mut visit: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; usize::try_from(object.length).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
    let mut at = 0;
    while at < object.length {
        let wanted = usize::try_from(object.length - at).unwrap_or(usize::MAX).min(chunk.len());
        let read = match bytes.read(&mut chunk[..wanted]) {
            Ok(0) => {
                return Err(StoreError::damaged(
                    "the bytes to be put",
                    format_args!("they end at offset {at}"),
                ));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        hasher.update(&chunk[..read]);
        visit(at, &chunk[..read])?;
        at += read as u64;
    }
    match Digest(*hasher.finalize().as_bytes()) {
        found if found == object.digest => Ok(()),
        found => {
            let path = format!("object {}", object.digest);
            Err(StoreError::damaged(&path, format_args!("the digest of its bytes is {found}")))
        }
    }
}
