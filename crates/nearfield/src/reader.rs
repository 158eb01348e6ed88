//! Reading a database beside its writer: the state on disk at one moment, looked at without a lock and without a change.
//!
//! A writer goes on meanwhile: it appends, and removes files. So the directory is first taken down as it is ([`Pinned`]: logs are copied, sealed
//! files mapped, which outlives their names), as often as it takes until the catalog was the same before and after. Then all is read at
//! leisure. Opening repairs what a crash left and makes files of its own; here it does so in memory: [`Overlay`] keeps every change to
//! itself. Nothing in the directory is written, locked or removed.
//!
//! **It refuses** to write, to follow the writer (open another one for newer data), and to keep anything open but what its views map.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind as IoKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearfield_codec::Region;
use nearfield_collection::{Cell, Error, ErrorKind, ManifestCell, Result, View};
use nearfield_platform::{
    Clock, Dir, Entry, File, Lock, LockError, LockKind, MemoryDir, RealDir, RealOptions,
};
use parking_lot::Mutex;

use crate::catalog::Catalog;
use crate::database::Database;
use crate::options::Options;
use crate::shared::{CATALOG_FOLDER, COLLECTIONS_FOLDER, collection_folder};
use crate::tasks::{Task, TaskFilter};

/// How often the directory is taken down before a writer that leaves it no rest is reported.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
/// How often what was taken down is read, if it does not fit together: a writer may have made two checkpoints meanwhile.
const LOOKS: u32 = 20;

/// A database as it is on disk at one moment.
///
/// It sees what was acknowledged when it was asked, by a writer in whatever process, and nothing later. Every look is a new one. Names and
/// aliases of a look are of one moment, and no collection is seen as it was before that; one may be seen a little later than another.
///
/// ```
/// use nearfield::{CollectionConfig, Database, Metric, Options, Point, Reader};
///
/// # fn main() -> nearfield::Result<()> {
/// # let place = std::env::temp_dir().join(format!("nearfield-reader-{}", std::process::id()));
/// let db = Database::open(&place, Options::default())?;
/// let books = db.create_collection("books", CollectionConfig::new(2, Metric::Cosine))?;
/// books.upsert(vec![Point::new(1, vec![1.0, 0.0])])?;
/// let view = Reader::open(&place)?.view("books")?;
/// books.upsert(vec![Point::new(2, vec![0.0, 1.0])])?;
/// assert_eq!((view.count(), books.count()?), (1, 2));
/// # db.close()?;
/// # std::fs::remove_dir_all(place).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    dir: Arc<dyn Dir>,
    place: String,
    clock: Arc<dyn Clock>,
}

impl Reader {
    /// Looks at the database in the directory `path`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader> {
        Reader::open_trusting(path, false)
    }

    /// As [`Reader::open`], also on file systems that are not known to keep their promises if `allow_unsupported_fs` says so.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn open_trusting(path: impl AsRef<Path>, allow_unsupported_fs: bool) -> Result<Reader> {
        let place = path.as_ref().display().to_string();
        let options = RealOptions { allow_unsupported_fs, ..RealOptions::default() };
        let dir = RealDir::open_with(path.as_ref(), options).map_err(|e| match e.kind() {
            IoKind::NotFound => Error::new(ErrorKind::NotFound, format!("there is no database at '{place}'")),
            _ => Error::io(format!("opening '{place}'"), e),
        })?;
        Reader::open_in(Arc::new(dir), &place)
    }

    /// Looks at the database in any directory; `place` is how errors call it.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn open_in(dir: Arc<dyn Dir>, place: &str) -> Result<Reader> {
        let reader = Reader { dir, place: place.to_owned(), clock: Options::default().collections.clock };
        let entries = reader.dir.list("").map_err(|e| Error::io(format!("looking into '{place}'"), e))?;
        match entries.iter().any(|entry| entry.name == CATALOG_FOLDER) {
            true => Ok(reader),
            false => Err(Error::new(ErrorKind::NotFound, format!("there is no database at '{place}'"))),
        }
    }

    /// The names of all collections, sorted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if the catalog is damaged.
    pub fn collections(&self) -> Result<Vec<String>> {
        self.look(|db| Ok(db.collections()))
    }

    /// The collection `name`, or the one that the alias `name` stands for, as it is now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Corrupt`] if its stored bytes are damaged.
    pub fn view(&self, name: &str) -> Result<View> {
        self.look_at(name, |db| Ok(db.collection(name)?.view()))
    }

    /// The tasks that `filter` means, the newest first, as their writer last wrote them down: which there are and how they ended, not how far
    /// those are that run.
    ///
    /// # Errors
    ///
    /// What reading met.
    pub fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>> {
        let mut filter = filter.clone();
        if let Some(name) = &mut filter.collection
            && let Some((target, _)) = self.catalog()?.resolve(name)
        {
            *name = target.to_owned();
        }
        let mut tasks = crate::tasks::written(&self.dir)?;
        tasks.retain(|task| filter.matches(task));
        Ok(tasks)
    }

    /// Opens the database in memory, over what is in the directory, and asks it; views outlive it, and what `ask` writes is forgotten with
    /// it. It is called again if what was read does not fit together because a writer went on.
    ///
    /// # Errors
    ///
    /// As [`Reader::view`], and those of `ask`; [`ErrorKind::Busy`] if the catalog is rewritten all the time.
    pub fn look<T>(&self, ask: impl Fn(&Database) -> Result<T>) -> Result<T> {
        self.look_beside(None, ask)
    }

    /// As [`Reader::look`], at one collection: the others are known by name and cannot be opened. Costs nothing for the others.
    ///
    /// # Errors
    ///
    /// As [`Reader::look`].
    pub fn look_at<T>(&self, name: &str, ask: impl Fn(&Database) -> Result<T>) -> Result<T> {
        self.look_beside(Some(name), ask)
    }

    fn look_beside<T>(&self, only: Option<&str>, ask: impl Fn(&Database) -> Result<T>) -> Result<T> {
        let mut looks = LOOKS;
        loop {
            let overlay = Arc::new(Overlay::new(self.pin(only)?));
            let options = Options { background: false, create: false, ..Options::default() };
            let asked = Database::open_in(Arc::clone(&overlay) as Arc<dyn Dir>, &self.place, options)
                .and_then(|db| {
                    let answer = ask(&db);
                    // Whatever came of it, nothing is written any more: closing costs nothing.
                    overlay.freeze();
                    answer
                });
            match asked {
                // Only these can come of files that were taken down while a writer changed them.
                Err(error)
                    if looks > 1 && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable) =>
                {
                    looks -= 1;
                    self.clock.sleep(PAUSE);
                }
                asked => return asked,
            }
        }
    }

    /// The catalog as it is now.
    fn catalog(&self) -> Result<Catalog> {
        let cell = ManifestCell::new(Arc::clone(&self.dir), CATALOG_FOLDER);
        for _ in 0..TRIES {
            match cell.read() {
                Ok(Some(value)) => {
                    let decoded = Catalog::decode(&value.bytes).map_err(|e| {
                        Error::caused(ErrorKind::Corrupt, "the catalog is whole but not understood", e)
                    });
                    return decoded.map(|(catalog, _)| catalog);
                }
                Ok(None) => return Ok(Catalog::default()),
                // The writer removed the file that was to be read.
                Err(error) if error.kind() == ErrorKind::Corrupt => self.clock.sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        cell.read().and_then(|_| Err(self.restless()))
    }

    fn restless(&self) -> Error {
        Error::new(ErrorKind::Busy, format!("'{}' is rewritten all the time: try again later", self.place))
    }

    /// Takes the directory down, with one catalog: all collections, or only what a name means.
    fn pin(&self, only: Option<&str>) -> Result<Pinned> {
        for _ in 0..TRIES {
            let mut wanted = vec![CATALOG_FOLDER.to_owned()];
            match only.map(|name| Ok(self.catalog()?.resolve(name).map(|(_, uuid)| collection_folder(uuid))))
            {
                None => wanted.push(COLLECTIONS_FOLDER.to_owned()),
                Some(folder) => wanted.extend(folder?),
            }
            let pinned = Pinned::of(&*self.dir, &wanted)
                .and_then(|pinned| Ok(pinned.is_of_one_moment(&*self.dir)?.then_some(pinned)));
            match pinned {
                Ok(Some(pinned)) => return Ok(pinned),
                // The writer removed a file, or changed the catalog or a manifest.
                Ok(None) => {}
                Err(error) if error.kind() == IoKind::NotFound => {}
                Err(error) => return Err(Error::io(format!("reading '{}'", self.place), error)),
            }
            self.clock.sleep(PAUSE);
        }
        Err(self.restless())
    }
}

/// The bytes of a directory, taken down file by file.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    /// What is in each folder.
    folders: BTreeMap<String, Vec<Entry>>,
    files: BTreeMap<String, Region>,
}

impl Pinned {
    /// These files, by their paths, and no others.
    pub(crate) fn of_files(files: BTreeMap<String, Region>) -> Pinned {
        let mut folders: BTreeMap<String, BTreeMap<String, Entry>> = BTreeMap::new();
        folders.entry(String::new()).or_default();
        for (path, bytes) in &files {
            let (mut inner, mut is_dir, mut len) = (path.as_str(), false, bytes.len() as u64);
            while !inner.is_empty() {
                let (folder, name) = inner.rsplit_once('/').unwrap_or(("", inner));
                let entry = Entry { name: name.to_owned(), is_dir, len };
                folders.entry(folder.to_owned()).or_default().insert(name.to_owned(), entry);
                (inner, is_dir, len) = (folder, true, 0);
            }
        }
        let listed =
            |(path, entries): (String, BTreeMap<String, Entry>)| (path, entries.into_values().collect());
        Pinned { folders: folders.into_iter().map(listed).collect(), files }
    }

    /// Reads every file in these folders: sealed ones are mapped, the others copied. What else lies in the directory is left alone, and so
    /// is what a writer has not finished.
    fn of<S: AsRef<str>>(dir: &dyn Dir, folders: &[S]) -> io::Result<Pinned> {
        let mut pinned = Pinned::default();
        pinned.folders.insert(String::new(), Vec::new());
        let mut open = Vec::new();
        for folder in folders.iter().map(AsRef::as_ref) {
            let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            if dir.list(above)?.iter().any(|entry| entry.is_dir && entry.name == name) {
                pinned.reach(folder);
                open.push(folder.to_owned());
            }
        }
        while let Some(folder) = open.pop() {
            let mut entries = dir.list(&folder)?;
            if folder.ends_with("/staging") {
                entries.clear();
            }
            entries.retain(|entry| !entry.name.ends_with(".tmp"));
            for entry in &entries {
                let path = inside(&folder, &entry.name);
                match entry.is_dir {
                    true => open.push(path),
                    false => {
                        let bytes = dir.open(&path)?;
                        pinned.files.insert(path, bytes);
                    }
                }
            }
            pinned.folders.insert(folder, entries);
        }
        Ok(pinned)
    }

    /// Lets a folder, and those above it, be seen.
    fn reach(&mut self, folder: &str) {
        let mut at = 0;
        for part in folder.split('/') {
            let above = folder[..at].trim_end_matches('/').to_owned();
            let inside = self.folders.entry(above).or_default();
            if !inside.iter().any(|entry| entry.name == part) {
                inside.push(Entry { name: part.to_owned(), is_dir: true, len: 0 });
                inside.sort_by(|a, b| a.name.cmp(&b.name));
            }
            at += part.len() + 1;
        }
    }

    /// True if every manifest that was there is the one that is there now: logs and segments belong to what was read.
    fn is_of_one_moment(&self, dir: &dyn Dir) -> io::Result<bool> {
        let manifests = |entries: &[Entry]| -> BTreeSet<String> {
            let names = entries.iter().map(|entry| entry.name.clone());
            names.filter(|name| name.starts_with("MANIFEST") && !name.ends_with(".tmp")).collect()
        };
        for (folder, entries) in &self.folders {
            let before = manifests(entries);
            if !before.is_empty() && manifests(&dir.list(folder)?) != before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        let missing = if self.folders.contains_key(path) { IoKind::IsADirectory } else { IoKind::NotFound };
        self.files.get(path).cloned().ok_or_else(|| missing.into())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let missing = if self.files.contains_key(path) { IoKind::NotADirectory } else { IoKind::NotFound };
        self.folders.get(path).cloned().ok_or_else(|| missing.into())
    }
}

fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A directory whose changes stay in memory: what was made here lies over what is below, and what was removed here is hidden.
#[derive(Debug)]
pub(crate) struct Overlay {
    above: Arc<MemoryDir>,
    below: Pinned,
    hidden: Mutex<BTreeSet<String>>,
    /// True once nothing needs to be written any more, so that closing costs nothing.
    frozen: AtomicBool,
}

impl Overlay {
    pub(crate) fn new(below: Pinned) -> Overlay {
        Overlay { above: MemoryDir::new(), below, hidden: Mutex::default(), frozen: AtomicBool::new(false) }
    }

    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.frozen.load(Ordering::Acquire) {
            true => Err(io::Error::new(IoKind::PermissionDenied, "it was opened for reading")),
            false => Ok(()),
        }
    }

    /// True if `path` or a folder above it was removed here.
    fn is_hidden(&self, path: &str) -> bool {
        let hidden = self.hidden.lock();
        let ends = path.char_indices().filter(|(_, letter)| *letter == '/').map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| hidden.contains(&path[..end]))
    }

    fn has_above(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.above.list(folder).is_ok_and(|entries| entries.iter().any(|entry| entry.name == name))
    }

    fn has_below(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let listed = || self.below.list(folder).is_ok_and(|entries| entries.iter().any(|e| e.name == name));
        !self.is_hidden(path) && listed()
    }

    /// Makes the folder of `path` above if it is there below.
    fn reach(&self, path: &str) -> io::Result<()> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match self.above.list(folder) {
            Err(error) if error.kind() == IoKind::NotFound => {}
            reached => return reached.map(drop),
        }
        if self.is_hidden(folder) {
            return Err(IoKind::NotFound.into());
        }
        self.below.list(folder)?;
        self.above.make_dir(folder)
    }

    /// Brings a file from below up, so that it can be renamed or linked.
    fn lift(&self, path: &str) -> io::Result<()> {
        if self.has_above(path) {
            return Ok(());
        }
        let bytes = self.open(path)?;
        self.reach(path)?;
        let file = self.above.create(path)?;
        file.write_at(0, &[&bytes])?;
        file.sync()?;
        file.seal()
    }

    fn taken(&self, path: &str) -> io::Result<()> {
        match self.has_below(path) {
            true => Err(IoKind::AlreadyExists.into()),
            false => Ok(()),
        }
    }

    fn hide(&self, path: &str) {
        self.hidden.lock().insert(path.to_owned());
    }
}

impl Dir for Overlay {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.check_writable()?;
        self.taken(path)?;
        self.reach(path)?;
        self.above.create(path)
    }

    fn open(&self, path: &str) -> io::Result<Region> {
        match self.above.open(path) {
            Err(error) if error.kind() == IoKind::NotFound && !self.is_hidden(path) => self.below.open(path),
            opened => opened,
        }
    }

    fn overwrite(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        self.lift(from)?;
        self.reach(to)?;
        self.above.overwrite(from, to)?;
        self.hide(from);
        Ok(())
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.check_writable()?;
        self.above.make_dir(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        if !self.has_above(from) {
            self.lift(from)?;
        }
        self.taken(to)?;
        self.reach(to)?;
        self.above.rename(from, to)?;
        self.hide(from);
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        self.taken(to)?;
        self.lift(from)?;
        self.reach(to)?;
        self.above.link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.check_writable()?;
        let below = self.has_below(path);
        match self.above.remove(path) {
            Err(error) if error.kind() == IoKind::NotFound && below => {}
            removed => removed?,
        }
        if below {
            self.hide(path);
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let above = self.above.list(path);
        let below = if self.is_hidden(path) { Err(IoKind::NotFound.into()) } else { self.below.list(path) };
        let (mut entries, below) = match (above, below) {
            (Ok(above), below) => (above, below.unwrap_or_default()),
            (Err(error), _) if error.kind() != IoKind::NotFound => return Err(error),
            (Err(_), below) => (Vec::new(), below?),
        };
        for entry in below {
            if !self.is_hidden(&inside(path, &entry.name))
                && !entries.iter().any(|known| known.name == entry.name)
            {
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.list(path).map(drop)
    }

    /// Nobody else is above, so the lock is always to be had.
    fn lock(&self, path: &str, kind: LockKind) -> std::result::Result<Lock, LockError> {
        self.reach(path)?;
        self.above.lock(path, kind)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.above.free_space()
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.above.identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearfield_platform::conformance;

    #[test]
    fn it_is_a_directory_like_any_other() {
        conformance::dir(&|| Arc::new(Overlay::new(Pinned::of::<&str>(&*MemoryDir::new(), &[]).unwrap())));
    }

    fn below() -> Arc<MemoryDir> {
        let below = MemoryDir::new();
        below.make_dir("a/b").unwrap();
        for path in ["a/one", "a/b/two"] {
            let file = below.create(path).unwrap();
            file.write_at(0, &[path.as_bytes()]).unwrap();
            file.seal().unwrap();
        }
        below
    }

    fn names(dir: &dyn Dir, path: &str) -> Vec<String> {
        dir.list(path).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn changes_stay_above() {
        let below = below();
        let overlay = Overlay::new(Pinned::of(&*below, &["a"]).unwrap());
        assert_eq!(&overlay.open("a/b/two").unwrap()[..], b"a/b/two");
        overlay.replace("a/one", b"new").unwrap();
        overlay.create("a/b/three").unwrap().write_at(0, &[b"x"]).unwrap();
        overlay.rename("a/b/two", "a/moved").unwrap();
        assert_eq!(overlay.open("a/b/two").unwrap_err().kind(), IoKind::NotFound);
        assert_eq!(&overlay.open("a/moved").unwrap()[..], b"a/b/two");
        assert_eq!(&overlay.open("a/one").unwrap()[..], b"new");
        assert_eq!(names(&overlay, "a"), ["b", "moved", "one"]);
        assert_eq!(names(&overlay, "a/b"), ["three"]);
        assert_eq!(overlay.create("a/one").unwrap_err().kind(), IoKind::AlreadyExists);
        overlay.remove("a").unwrap();
        assert!(names(&overlay, "").is_empty());
        assert_eq!(overlay.open("a/one").unwrap_err().kind(), IoKind::NotFound);
        assert_eq!(overlay.remove("a").unwrap_err().kind(), IoKind::NotFound);
        overlay.freeze();
        assert_eq!(overlay.make_dir("c").unwrap_err().kind(), IoKind::PermissionDenied);
        assert_eq!(names(&*below, "a"), ["b", "one"]);
        assert_eq!(&below.open("a/one").unwrap()[..], b"a/one");
    }

    #[test]
    fn what_was_removed_may_be_made_again() {
        let overlay = Overlay::new(Pinned::of(&*below(), &["a"]).unwrap());
        overlay.remove("a/one").unwrap();
        overlay.create("a/one").unwrap().write_at(0, &[b"again"]).unwrap();
        assert_eq!(&overlay.open("a/one").unwrap()[..], b"again");
        overlay.remove("a/one").unwrap();
        assert_eq!(names(&overlay, "a"), ["b"]);
    }
}
