//! Reading a database beside its writer: the state on disk at one moment, looked at without a lock and without a change.
//!
//! A writer goes on meanwhile: it appends, and removes files. So the directory is first taken down as it is ([`Pinned`]: logs are copied, sealed
//! files mapped, which outlives their names), as often as it takes until the catalog was the same before and after. Then all is read at
//! leisure. Opening repairs what a crash left and makes files of its own; here it does so in memory: [`Overlay`] keeps every change to
//! itself. Nothing in the directory is written, locked or removed.
//!
//! **It refuses** to write, to follow the writer (open another one for newer data), and to keep anything open but what its views map.

use std::io::ErrorKind as IoKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nearfield_collection::{Cell, Error, ErrorKind, ManifestCell, Result, View};
use nearfield_platform::{Clock, Dir, RealDir, RealOptions};

use crate::catalog::Catalog;
use crate::database::Database;
use crate::options::Options;
use crate::shared::{CATALOG_FOLDER, COLLECTIONS_FOLDER, collection_folder};
use crate::tasks::{Task, TaskFilter};

mod overlay;

pub(crate) use overlay::{Overlay, Pinned};

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
