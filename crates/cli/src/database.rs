//! Opening databases and finding collections, vectors and ids in them, with errors that say what there is instead.
//!
//! **It refuses** to create anything that the user did not ask for.

use std::cell::Cell;
use std::path::Path;

use nearfield::{
    Collection, CollectionConfig, Database, Durability, ErrorKind, Options, PointId, Reader, VectorConfig,
};

use crate::args::{Target, Trust};
use crate::failure::{Failure, Outcome};
use crate::output::shorten;

/// How often all collections are looked at before one that cannot be opened is believed to be damaged.
const LOOKS: u32 = 5;
/// So many names are listed in an error.
const NAMES_SHOWN: usize = 12;

/// Opens a database that must be there.
pub(crate) fn open(target: &Target) -> Outcome<Database> {
    Database::open(&target.path, options(target.trust).create(false)).map_err(missing)
}

const MISSING: &str =
    "`nearfield import` and `nearfield collections DB create` make one, `nearfield demo` one with data";

/// The error of an opening, with what to do where there is no database.
fn missing(error: nearfield::Error) -> Failure {
    let missing = error.kind() == ErrorKind::NotFound;
    let failure = Failure::from(error);
    if missing { failure.advise(MISSING) } else { failure }
}

/// Looks at a database that must be there, beside whoever writes to it. Takes no lock and changes nothing.
pub(crate) fn reader(target: &Target) -> Outcome<Reader> {
    Reader::open_trusting(&target.path, target.trust.allow_unsupported_fs).map_err(missing)
}

/// The collection called `name` or that this alias stands for as it is now, for reading: see [`reader`].
pub(crate) fn read(target: &Target, name: &str) -> Outcome<Collection> {
    let (found, database) = reader(target)?.look_at(name, |database| match database.collection(name) {
        Err(error) if may_pass(&error) => Err(error),
        found => Ok((found, database.clone())),
    })?;
    known(&database, found)
}

/// All collections as they are at one moment, for reading. Those that cannot be opened say so when they are asked for.
pub(crate) fn read_all(target: &Target) -> Outcome<Database> {
    let looks = Cell::new(0);
    let all = reader(target)?.look(|database| {
        looks.set(looks.get() + 1);
        for name in database.collections() {
            match database.collection(&name) {
                Err(error) if may_pass(&error) && looks.get() < LOOKS => return Err(error),
                _ => {}
            }
        }
        Ok(database.clone())
    });
    Ok(all?)
}

/// True for an error that a writer may have caused that changed files while they were taken down.
fn may_pass(error: &nearfield::Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable)
}

/// Opens a database, making it if it is missing.
pub(crate) fn open_or_create(path: &Path, trust: Trust, durability: Durability) -> Outcome<Database> {
    Ok(Database::open(path, options(trust).create(true).durability(durability))?)
}

/// Opens a database for an import, making it if it is missing: writing is not slowed down for searches, and indexes are built by all
/// processors.
pub(crate) fn open_for_import(path: &Path, trust: Trust, durability: Durability) -> Outcome<Database> {
    let mut options = options(trust).create(true).durability(durability).bulk(true);
    options.collections.index_threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Database::open(path, options)?)
}

fn options(trust: Trust) -> Options {
    Options { allow_unsupported_fs: trust.allow_unsupported_fs, ..Options::default() }
}

/// The collection called `name` or that this alias stands for.
pub(crate) fn collection(database: &Database, name: &str) -> Outcome<Collection> {
    known(database, database.collection(name))
}

fn known(database: &Database, found: nearfield::Result<Collection>) -> Outcome<Collection> {
    let collection = found.map_err(|error| {
        let missing = error.kind() == ErrorKind::NotFound;
        let failure = Failure::from(error);
        if missing { failure.advise(there_is("collections", database.collections().iter())) } else { failure }
    })?;
    for what in database.repaired() {
        eprintln!(
            "warning: damage was found and nothing was lost, but look after the disk: {}",
            shorten(&what, 1_000)
        );
    }
    Ok(collection)
}

/// The vector `using`, or the one that is meant if none is named: the one without a name or the only one.
pub(crate) fn vector(config: &CollectionConfig, using: Option<&str>) -> Outcome<(String, VectorConfig)> {
    let names = || config.vectors().map(|(name, _)| name);
    let wanted = match using {
        Some(name) => Some(name),
        None => {
            names().find(|name| name.is_empty()).or_else(|| names().next().filter(|_| names().len() == 1))
        }
    };
    let found = wanted.and_then(|wanted| config.vectors().find(|(name, _)| *name == wanted));
    match (found, using) {
        (Some((name, vector)), _) => Ok((name.to_owned(), vector)),
        (None, Some(name)) => Err(Failure::not_found(format!("there is no vector named {name:?}"))
            .advise(there_is("vectors", names()))),
        (None, None) => Err(Failure::invalid("the points have several vectors: name one with --using")
            .advise(there_is("vectors", names()))),
    }
}

/// What a typed id can mean: a number or a UUID if it reads as one, and always the text itself.
pub(crate) fn readings(text: &str) -> Vec<PointId> {
    let mut readings = vec![PointId::guess(text), PointId::from(text)];
    readings.dedup();
    readings
}

/// The given text of a choice, for advice.
fn there_is<T: AsRef<str>>(what: &str, names: impl Iterator<Item = T>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("{:?}", name.as_ref())).collect();
    if names.is_empty() {
        return format!("there are no {what} yet");
    }
    let more = names.len().saturating_sub(NAMES_SHOWN);
    names.truncate(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what} here: {}{more}", shorten(&names.join(", "), 1_000))
}

#[cfg(test)]
mod tests {
    use nearfield::Metric;

    use super::*;

    #[test]
    fn the_vector_that_is_meant() {
        let one = CollectionConfig::new(3, Metric::Dot);
        assert_eq!(vector(&one, None).unwrap().0, "");
        let named = CollectionConfig::named("a", 3, Metric::Dot);
        assert_eq!(vector(&named, None).unwrap().0, "a");
        let several = named.vector("b", 4, Metric::Euclid);
        assert_eq!(vector(&several, Some("b")).unwrap().1.dim, 4);
        assert_eq!(vector(&several.clone().vector("", 2, Metric::Dot), None).unwrap().1.dim, 2);
        let failure = vector(&several, None).unwrap_err();
        assert_eq!(failure.advice(), Some(r#"vectors here: "a", "b""#));
        assert_eq!(vector(&several, Some("c")).unwrap_err().json()["error"]["kind"], "NotFound");
    }

    #[test]
    fn ids_are_read_both_ways() {
        assert_eq!(readings("7"), [PointId::from(7), PointId::from("7")]);
        assert_eq!(readings("07"), [PointId::from("07")]);
    }
}
