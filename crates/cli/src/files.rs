//! The user's own files, beside the database: inputs are opened here, and the checkpoint of an import is kept here.
//!
//! **It refuses** to open anything of a database; that is the business of the `nearfield` crate alone.
//!
//! # Invariants
//!
//! 1. [`replace`] leaves the old file or the new one, whole, whenever the process or the machine stops.
//! 2. What is unfinished has a name that nothing had before: nobody else's file is opened, truncated or removed. A killed process leaves it,
//!    called `<name>.<process>-<number>.new`, and nothing removes it but the user.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "inputs named by the user lie outside of any database"
)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use nearfield_codec::crc64;

use crate::failure::{Failure, Outcome};

/// So many bytes at the start of a file take part in its [`Identity`].
const HEAD_BYTES: u64 = 64 << 10;

/// So many names are tried for what is unfinished before somebody is told that they are all taken.
const SPARE_TRIES: u64 = 1_000;

/// Bytes written at once.
const OUTPUT_BUFFER_BYTES: usize = 1 << 20;

/// What tells whether a file is still the one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its length.
    pub(crate) bytes: u64,
    /// When it was written last, in nanoseconds since 1970.
    pub(crate) modified_ns: u64,
    /// CRC-64 of its first 64 KiB.
    pub(crate) head: u64,
}

/// A file opened for reading.
pub(crate) struct Input {
    /// Its bytes.
    pub(crate) file: File,
    /// What identifies it; nothing for a pipe or a device.
    pub(crate) identity: Option<Identity>,
}

/// Opens an input; a directory is refused.
pub(crate) fn open(path: &Path) -> Outcome<Input> {
    let failed = |error: io::Error| Failure::io("read", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(Failure::invalid(format!("{} is a directory: a file was expected", path.display())));
    }
    if !about.is_file() {
        return Ok(Input { file, identity: None });
    }
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let since = about.modified().map_err(failed)?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let modified_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    Ok(Input { file, identity: Some(Identity { bytes: about.len(), modified_ns, head: crc64(&head) }) })
}

/// The text of a small file, or nothing if there is none.
pub(crate) fn read_small(path: &Path, limit: u64) -> Outcome<Option<String>> {
    let failed = |error: &io::Error| Failure::io("read", path, error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
        Ok(file) => file,
    };
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > limit {
        return Err(Failure::invalid(format!(
            "{} has more than {limit} bytes, which is the limit",
            path.display()
        )));
    }
    Ok(Some(text))
}

/// Makes `path` hold `bytes`, atomically and durably.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let mut out = Output::create(path)?;
    out.write_all(bytes).map_err(|error| Failure::io("write", path, &error))?;
    out.finish()
}

/// A file being made: it has its name once it is complete and durable, and goes away if it never is.
pub(crate) struct Output {
    path: PathBuf,
    /// Its name until then.
    spare: PathBuf,
    /// True if it may take the name from another file.
    replaces: bool,
    file: Option<BufWriter<File>>,
}

impl Output {
    /// Begins the file that will be `path`, in the place of one that may be there.
    pub(crate) fn create(path: &Path) -> Outcome<Output> {
        if path.is_dir() {
            return Err(Failure::invalid(format!("{} is a directory: a file was expected", path.display())));
        }
        let made = spare(path, |spare| File::options().write(true).create_new(true).open(spare));
        let (spare, file) = made.map_err(|error| Failure::io("write", path, &error))?;
        let file = Some(BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, file));
        Ok(Output { path: path.to_owned(), spare, replaces: true, file })
    }

    /// Begins the file that will be `path`, which must not be there, now or when it is finished.
    pub(crate) fn create_new(path: &Path) -> Outcome<Output> {
        match fs::symlink_metadata(path) {
            Ok(_) => Err(is_there(path)),
            Err(_) => {
                let mut out = Output::create(path)?;
                out.replaces = false;
                Ok(out)
            }
        }
    }

    /// Gives it its name.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let finish = |file: BufWriter<File>| -> io::Result<()> {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            match self.replaces {
                true => fs::rename(&self.spare, &self.path)?,
                false => rename_new(&self.spare, &self.path)?,
            }
            sync_folder(&self.path)
        };
        finish(file).map_err(|error| {
            let _unfinished = fs::remove_file(&self.spare);
            match error.kind() {
                io::ErrorKind::AlreadyExists if !self.replaces => is_there(&self.path),
                _ => Failure::io("write", &self.path, &error),
            }
        })
    }

    /// Writes over its first bytes, which were written before.
    pub(crate) fn rewrite_start(&mut self, bytes: &[u8]) -> Outcome<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let rewrite = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(bytes))
            .and_then(|()| file.seek(SeekFrom::End(0)));
        rewrite.map(drop).map_err(|error| Failure::io("write", &self.path, &error))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _unfinished = fs::remove_file(&self.spare);
        }
    }
}

/// A folder being made, as [`Output`].
pub(crate) struct OutputFolder {
    path: PathBuf,
    /// Its name until it is complete.
    spare: PathBuf,
    is_open: bool,
}

impl OutputFolder {
    /// Begins the folder that will be `path`, which must not be there.
    pub(crate) fn create(path: &Path) -> Outcome<OutputFolder> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(is_there(path));
        }
        let made = spare(path, |spare| fs::create_dir(spare));
        let (spare, ()) = made.map_err(|error| Failure::io("make the folder", path, &error))?;
        Ok(OutputFolder { path: path.to_owned(), spare, is_open: true })
    }

    /// Begins a file in it.
    pub(crate) fn file(&self, name: &str) -> Outcome<Output> {
        Output::create(&self.spare.join(name))
    }

    /// Gives it its name.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        let (from, to) = (&self.spare, &self.path);
        let renamed = fs::rename(from, to).and_then(|()| sync_folder(to));
        renamed.map_err(|error| Failure::io("write", to, &error))?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if self.is_open {
            let _unfinished = fs::remove_dir_all(&self.spare);
        }
    }
}

/// Removes `path`, durably, if it is there.
pub(crate) fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_file(path).and_then(|()| sync_folder(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::io("remove", path, &error)),
        _ => Ok(()),
    }
}

fn is_there(path: &Path) -> Failure {
    Failure::invalid(format!("{} is there already", path.display()))
        .advise("choose another name or remove it")
}

/// Makes what will be `path` under a name beside it that nothing has; answers that name.
fn spare<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    for _ in 0..SPARE_TRIES {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{}.new", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let spare = path.with_file_name(name);
        match make(&spare) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (spare, made)),
        }
    }
    Err(io::Error::other("all names for an unfinished file are taken: remove the files that end in `.new`"))
}

/// Renames a file to a name that nothing has; `AlreadyExists` if something has it.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Without links the name is taken by an empty file, which is then this process's own to replace.
        Err(_) => File::options().write(true).create_new(true).open(to).and_then(|_| fs::rename(from, to)),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert_eq!(read_small(&path, 10).unwrap(), None);
        for text in ["one", "a longer one"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(read_small(&path, 12).unwrap().as_deref(), Some(text));
        }
        assert!(read_small(&path, 11).unwrap_err().to_string().contains("more than 11 bytes"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read_small(&path, 10).unwrap(), None);
    }

    #[test]
    fn what_is_unfinished_touches_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, own) = (folder.path().join("out"), folder.path().join("out.new"));
        fs::write(&own, "the user's").unwrap();
        drop(Output::create(&path).unwrap());
        for text in ["one", "two"] {
            let (mut first, second) = (Output::create(&path).unwrap(), Output::create(&path).unwrap());
            first.write_all(text.as_bytes()).unwrap();
            drop(second);
            first.finish().unwrap();
        }
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&own).unwrap()),
            (b"two".to_vec(), b"the user's".to_vec())
        );
        fs::remove_file(&own).unwrap();
        fs::create_dir(&own).unwrap();
        fs::write(own.join("kept"), "x").unwrap();
        fs::remove_file(&path).unwrap();
        drop(OutputFolder::create(&path).unwrap());
        let made = OutputFolder::create(&path).unwrap();
        made.file("a").unwrap().finish().unwrap();
        made.finish().unwrap();
        assert!(path.join("a").exists() && own.join("kept").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_file_takes_the_name_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut late = Output::create_new(&path).unwrap();
        late.write_all(b"late").unwrap();
        let mut first = Output::create_new(&path).unwrap();
        first.write_all(b"first").unwrap();
        first.finish().unwrap();
        assert!(late.finish().unwrap_err().to_string().contains("is there already"));
        assert!(Output::create_new(&path).err().unwrap().to_string().contains("is there already"));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_identity_changes_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let identity = || open(&path).unwrap().identity.unwrap();
        fs::write(&path, "abc").unwrap();
        let (first, time) = (identity(), fs::metadata(&path).unwrap().modified().unwrap());
        assert_eq!(identity(), first);
        fs::write(&path, "abd").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let second = identity();
        assert_eq!((second.bytes, second.modified_ns), (first.bytes, first.modified_ns));
        assert_ne!(second.head, first.head);
        assert!(open(folder.path()).err().unwrap().to_string().contains("is a directory"));
        assert!(open(&folder.path().join("none")).err().unwrap().to_string().contains("cannot read"));
    }
}
