//! The user's own files, beside the database: inputs are opened here, and the checkpoint of an import is kept here.
//!
//! **It refuses** to open anything of a database; that is the business of the `nearfield` crate alone.
//!
//! # Invariants
//!
//! 1. [`replace`] leaves the old file or the new one, whole, whenever the process or the machine stops.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "inputs named by the user lie outside of any database"
)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nearfield_codec::crc64;

use crate::failure::{Failure, Outcome};

/// So many bytes at the start of a file take part in its [`Identity`].
const HEAD_BYTES: u64 = 64 << 10;

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
    let beside = beside(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path)
    };
    write().map_err(|error| Failure::io("write", path, &error))
}

/// A file being made: it has its name once it is complete and durable, and goes away if it never is.
pub(crate) struct Output {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Output {
    /// Begins the file that will be `path`.
    pub(crate) fn create(path: &Path) -> Outcome<Output> {
        if path.is_dir() {
            return Err(Failure::invalid(format!("{} is a directory: a file was expected", path.display())));
        }
        let file = File::create(beside(path)).map_err(|error| Failure::io("write", path, &error))?;
        Ok(Output { path: path.to_owned(), file: Some(BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, file)) })
    }

    /// Gives it its name.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        let finish = |file: BufWriter<File>| -> io::Result<()> {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(beside(&self.path), &self.path)?;
            sync_folder(&self.path)
        };
        let finished = self.file.take().map_or(Ok(()), finish);
        finished.map_err(|error| {
            let _unfinished = fs::remove_file(beside(&self.path));
            Failure::io("write", &self.path, &error)
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
            let _unfinished = fs::remove_file(beside(&self.path));
        }
    }
}

/// A folder being made, as [`Output`].
pub(crate) struct OutputFolder {
    path: PathBuf,
    is_open: bool,
}

impl OutputFolder {
    /// Begins the folder that will be `path`, which must not be there.
    pub(crate) fn create(path: &Path) -> Outcome<OutputFolder> {
        if path.exists() {
            return Err(Failure::invalid(format!("{} is there already", path.display()))
                .advise("choose another name or remove it"));
        }
        let made = match fs::remove_dir_all(beside(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(beside(path)),
        };
        made.map_err(|error| Failure::io("make the folder", path, &error))?;
        Ok(OutputFolder { path: path.to_owned(), is_open: true })
    }

    /// Begins a file in it.
    pub(crate) fn file(&self, name: &str) -> Outcome<Output> {
        Output::create(&beside(&self.path).join(name))
    }

    /// Gives it its name.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        let (from, to) = (beside(&self.path), &self.path);
        let renamed = fs::rename(&from, to).and_then(|()| sync_folder(to));
        renamed.map_err(|error| Failure::io("write", to, &error))?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if self.is_open {
            let _unfinished = fs::remove_dir_all(beside(&self.path));
        }
    }
}

/// Removes `path` if it is there.
pub(crate) fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::io("remove", path, &error)),
        _ => Ok(()),
    }
}

/// The name under which a new version is written.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
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
