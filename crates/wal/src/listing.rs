//! The names in the folder of a log.

use std::io::ErrorKind;

use nearfield_codec::Region;
use nearfield_platform::Dir;
use nearfield_types::Seq;

use crate::error::Op;
use crate::{Cause, LogError};

/// Digits of a file's name: as many as a Seq can have, so names sort as numbers do.
const NAME_DIGITS: usize = 20;

/// The name of the file whose first Seq is `first`.
pub(crate) fn file_name(first: Seq) -> String {
    format!("{:0width$}.log", first.0, width = NAME_DIGITS)
}

/// The name under which a torn file is kept.
pub(crate) fn torn_name(first: Seq) -> String {
    format!("{}.torn", file_name(first))
}

/// `name` in the folder `path`.
pub(crate) fn in_folder(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

fn parse_name(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(".log")?;
    let well_formed = digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { digits.parse().ok().map(Seq) } else { None }
}

/// What stands in the folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// First Seqs of the files, ascending.
    pub(crate) files: Vec<Seq>,
    /// Torn files kept, and temporary files of a killed process: names.
    pub(crate) leftovers: Vec<String>,
    /// True without the folder.
    pub(crate) folder_missing: bool,
}

impl Listing {
    /// Reads the folder; a missing one is an empty log.
    pub(crate) fn read(dir: &dyn Dir, path: &str) -> Result<Listing, LogError> {
        let entries = match dir.list(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Listing { folder_missing: true, ..Listing::default() });
            }
            listed => listed.map_err(|error| LogError::io(Op::List, &error))?,
        };
        let mut listing = Listing::default();
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            match parse_name(&entry.name) {
                Some(first) => listing.files.push(first),
                None if entry.name.ends_with(".torn") || entry.name.ends_with(".tmp") => {
                    listing.leftovers.push(entry.name)
                }
                None => {}
            }
        }
        Ok(listing)
    }
}

/// The bytes of the file whose first Seq is `first`.
pub(crate) fn open_file(dir: &dyn Dir, path: &str, first: Seq) -> Result<Region, LogError> {
    let opened = dir.open(&in_folder(path, &file_name(first)));
    opened.map_err(|error| LogError::Io(Cause::new(Op::Open, &error)))
}

/// Makes the folder of the log and its name durable, with those above it.
pub(crate) fn make_folder(dir: &dyn Dir, path: &str) -> Result<(), LogError> {
    let made = dir.make_dir(path).and_then(|()| {
        let above = path.char_indices().filter(|(_, c)| *c == '/').map(|(i, _)| &path[..i]);
        std::iter::once("").chain(above).try_for_each(|folder| dir.sync_dir(folder))
    });
    made.map_err(|error| LogError::io(Op::List, &error))
}
