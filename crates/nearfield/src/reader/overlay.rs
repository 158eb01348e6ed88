//! A directory as it was at one moment, and changes to it that stay in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind as IoKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_codec::Region;
use nearfield_platform::{Dir, Entry, File, Lock, LockError, LockKind, MemoryDir};
use parking_lot::Mutex;

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
    pub(super) fn of<S: AsRef<str>>(dir: &dyn Dir, folders: &[S]) -> io::Result<Pinned> {
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
    pub(super) fn is_of_one_moment(&self, dir: &dyn Dir) -> io::Result<bool> {
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
    fn lock(&self, path: &str, kind: LockKind) -> Result<Lock, LockError> {
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
