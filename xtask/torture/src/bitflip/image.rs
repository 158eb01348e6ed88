//! All bytes of a database's folder, and what each file is for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use nearfield_platform::{Dir, MemoryDir};

use super::damage::Damage;

const LOCK: &str = "LOCK";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    Catalog,
    Manifest,
    Delta,
    Lock,
    Ids,
    Payload,
    Vectors,
    Codes,
    Graph,
    Settings,
    Log,
}

impl Use {
    pub(super) const ALL: [Use; 11] = [
        Use::Catalog,
        Use::Manifest,
        Use::Delta,
        Use::Lock,
        Use::Ids,
        Use::Payload,
        Use::Vectors,
        Use::Codes,
        Use::Graph,
        Use::Settings,
        Use::Log,
    ];

    pub(super) fn of(path: &str) -> Use {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [LOCK] => Use::Lock,
            ["catalog", ..] => Use::Catalog,
            [.., "deltas", _] => Use::Delta,
            [.., "log", _] => Use::Log,
            [.., "segments", _, "ids"] => Use::Ids,
            [.., "segments", _, "payload"] => Use::Payload,
            ["index", "index"] => Use::Settings,
            ["index", file] | [.., "segments", _, file] => match file.split('-').next() {
                Some("codes") => Use::Codes,
                Some("graph") => Use::Graph,
                _ => Use::Vectors,
            },
            _ => Use::Manifest,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Use::Catalog => "catalog manifest",
            Use::Manifest => "shard manifest",
            Use::Delta => "delta",
            Use::Lock => "lock",
            Use::Ids => "segment ids",
            Use::Payload => "segment payload",
            Use::Vectors => "vectors",
            Use::Codes => "codes",
            Use::Graph => "graph",
            Use::Settings => "index settings",
            Use::Log => "log",
        }
    }

    /// Files of which every byte is damaged.
    pub(super) fn is_metadata(self) -> bool {
        matches!(self, Use::Catalog | Use::Manifest | Use::Delta | Use::Lock)
    }
}

/// Folders and files by path. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    folders: Vec<String>,
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Image {
    /// Everything in the folder `home`.
    pub(super) fn read(home: &Path) -> Result<Image, String> {
        let mut image = Image::default();
        let failed = |path: &Path, error: std::io::Error| format!("reading {}: {error}", path.display());
        let mut open = vec![(home.to_owned(), String::new())];
        while let Some((folder, below)) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
                let path = entry.map_err(|error| failed(&folder, error))?.path();
                let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name is not text")?;
                let name = format!("{below}{name}");
                if path.is_dir() {
                    open.push((path, format!("{name}/")));
                    image.folders.push(name);
                } else {
                    let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
                    image.files.insert(name, bytes.into());
                }
            }
        }
        Ok(image)
    }

    /// Everything in `dir`.
    #[cfg(test)]
    pub(super) fn of(dir: &dyn Dir) -> std::io::Result<Image> {
        let mut image = Image::default();
        let mut open = vec![String::new()];
        while let Some(folder) = open.pop() {
            for entry in dir.list(&folder)? {
                let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
                if entry.is_dir {
                    image.folders.push(path.clone());
                    open.push(path);
                } else {
                    let bytes = dir.open(&path)?;
                    image.files.insert(path, Arc::from(&bytes[..]));
                }
            }
        }
        Ok(image)
    }

    /// The same with the lock file of a process that was killed, for a closed database leaves an empty one.
    pub(super) fn with_stale_lock(mut self) -> Image {
        self.files.insert(LOCK.to_owned(), Arc::from(*b"4194304 1700000000\n"));
        self
    }

    /// Paths and bytes.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..]))
    }

    /// The same with this damage.
    pub(super) fn damaged(&self, damage: &Damage) -> Image {
        let mut image = self.clone();
        let edit = |image: &mut Image, path: &String, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = image.files.get(path).map(|bytes| bytes.to_vec()).unwrap_or_default();
            change(&mut bytes);
            image.files.insert(path.clone(), bytes.into());
        };
        match damage {
            Damage::Flip { path, at, mask } => edit(&mut image, path, &|bytes| bytes[*at] ^= mask),
            Damage::Cut { path, to } => edit(&mut image, path, &|bytes| bytes.truncate(*to)),
            Damage::Zero { path, from, to } => edit(&mut image, path, &|bytes| bytes[*from..*to].fill(0)),
            Damage::Exchange { path, other } => {
                if let (Some(a), Some(b)) = (self.files.get(path), self.files.get(other)) {
                    image.files.insert(path.clone(), Arc::clone(b));
                    image.files.insert(other.clone(), Arc::clone(a));
                }
            }
            Damage::Missing { path } => {
                image.files.remove(path);
            }
        }
        image
    }

    /// The same in memory.
    pub(super) fn in_memory(&self) -> Arc<dyn Dir> {
        let dir = MemoryDir::new();
        self.folders.iter().for_each(|folder| dir.make_dir(folder).expect("memory has room"));
        for (path, bytes) in &self.files {
            let file = dir.create(path).expect("its folder was made");
            file.write_at(0, &[bytes]).expect("memory has room");
            // The lock file is never finished.
            if Use::of(path) != Use::Lock {
                file.seal().expect("memory does not fail");
            }
        }
        dir
    }

    /// The same as real files in the new folder `home`.
    pub(super) fn write(&self, home: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("writing {}: {error}", home.display());
        fs::create_dir_all(home).map_err(failed)?;
        self.folders.iter().try_for_each(|folder| fs::create_dir_all(home.join(folder))).map_err(failed)?;
        for (path, bytes) in &self.files {
            let path = home.join(path);
            fs::write(&path, bytes).map_err(failed)?;
            let mut permissions = fs::metadata(&path).map_err(failed)?.permissions();
            permissions.set_readonly(!path.ends_with(LOCK));
            fs::set_permissions(&path, permissions).map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_a_file_is_for() {
        let shard = "collections/u/shards/0";
        for (path, expected) in [
            ("LOCK".to_owned(), Use::Lock),
            ("catalog/MANIFEST-00000000000000000002".to_owned(), Use::Catalog),
            (format!("{shard}/MANIFEST-00000000000000000002"), Use::Manifest),
            (format!("{shard}/deltas/1-3"), Use::Delta),
            (format!("{shard}/log/00000000000000000001.log"), Use::Log),
            (format!("{shard}/segments/1/ids"), Use::Ids),
            (format!("{shard}/segments/1/payload"), Use::Payload),
            (format!("{shard}/segments/1/vectors-0"), Use::Vectors),
            (format!("{shard}/segments/1/graph-0"), Use::Graph),
            ("index/vectors-0".to_owned(), Use::Vectors),
            ("index/codes-0".to_owned(), Use::Codes),
            ("index/index".to_owned(), Use::Settings),
        ] {
            assert_eq!(Use::of(&path), expected, "{path}");
        }
    }

    #[test]
    fn damage_is_done_to_a_copy_and_survives_the_way_through_a_directory() {
        let mut image = Image { folders: vec!["a".to_owned()], files: BTreeMap::new() };
        image.files.insert("a/b".to_owned(), Arc::from(*b"12345678"));
        image.files.insert("c".to_owned(), Arc::from(*b"xy"));
        let path = || "a/b".to_owned();
        for (damage, b, c) in [
            (Damage::Flip { path: path(), at: 0, mask: 3 }, Some(&b"22345678"[..]), Some(&b"xy"[..])),
            (Damage::Cut { path: path(), to: 3 }, Some(b"123"), Some(b"xy")),
            (Damage::Zero { path: path(), from: 1, to: 3 }, Some(b"1\0\x0045678"), Some(b"xy")),
            (Damage::Exchange { path: path(), other: "c".to_owned() }, Some(b"xy"), Some(b"12345678")),
            (Damage::Missing { path: path() }, None, Some(b"xy")),
        ] {
            let found = Image::of(&*image.damaged(&damage).in_memory()).unwrap();
            let bytes = |path: &str| found.files.get(path).map(|bytes| bytes.to_vec());
            assert_eq!((bytes("a/b").as_deref(), bytes("c").as_deref()), (b, c), "{damage}");
            assert_eq!(found.folders, ["a"]);
        }
        assert_eq!(&image.files["a/b"][..], b"12345678");
    }
}
