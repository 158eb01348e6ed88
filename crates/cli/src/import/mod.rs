//! `nearfield import`: files into a collection, as fast as the disk and two threads allow, safe to stop at any moment.
//!
//! **It refuses** to invent ids, to skip a bad row and to change a collection's configuration. What is written is a prefix of the
//! files in whole batches; an error names the row or line after it.
//!
//! # Invariants
//!
//! 1. Files are opened and checked against the collection before the first point is written.
//! 2. The checkpoint never passes what survives power loss; it goes away when all rows do (see `checkpoint`).

mod checkpoint;
mod embedded;
mod from;
pub(crate) mod pipeline;
pub(crate) mod progress;
pub(crate) mod records;
pub(crate) mod rows;
pub(crate) mod source;

use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nearfield::{Collection, CollectionConfig, Database, ErrorKind, Metric, VectorConfig};
use serde_json::json;

use self::checkpoint::{Checkpoint, Job};
use self::from::Export;
use self::progress::Progress;
use self::rows::Rows;
use self::source::{Ids, PayloadFile, Place, Points, Seekable, Source, VectorFile};
use crate::args::Import;
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Identity, Input};
use crate::output::{Screen, bytes, counted, duration, thousands};
use crate::timing::{Stopwatch, per_second};

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Import) -> Outcome<()> {
    let mut inputs = match &command.from {
        None => AnyInputs::Files(Inputs::open(command)?),
        Some(path) => AnyInputs::Export(Export::open(path)?),
    };
    let database =
        database::open_for_import(&command.target.path, command.target.trust, command.durability.into())?;
    let (collection, created) = match &mut inputs {
        AnyInputs::Files(inputs) => find_or_create(&database, command, inputs)?,
        AnyInputs::Export(export) => export.find_or_create(&database, &command.collection)?,
    };
    let checkpoint_path = command
        .checkpoint
        .clone()
        .unwrap_or_else(|| command.target.path.join(format!("import-{}.checkpoint", collection.name())));
    let job = match &inputs {
        AnyInputs::Files(inputs) => inputs.job(&collection, &command.ids),
        AnyInputs::Export(export) => Some(export.job(&collection)),
    };
    let start = start(screen, command, &collection, &checkpoint_path, job.as_ref())?;
    let checkpoint = job.map(|job| Checkpoint::new(checkpoint_path, job, start.clone()));
    let source: Box<dyn Points> = match inputs {
        AnyInputs::Files(inputs) => Box::new(inputs.source(command, start.clone())?),
        AnyInputs::Export(export) => export.source(command, &collection, start.clone())?,
    };
    let rows = source.rows();
    describe(screen, &source_line(command, rows, &collection), start.row)?;

    let times = write(&collection, source, checkpoint, start.row)?;
    let (points, disk) = (collection.count()?, collection.stats()?.disk.total());
    let name = collection.name().to_owned();
    drop(collection);
    let closing = Stopwatch::start();
    database.close()?;
    let report =
        Report { name, created, first: start.row, rows, points, disk, times, closed: closing.elapsed() };
    report.print(screen, command)
}

/// Files side by side, or an export, which is all in one.
enum AnyInputs {
    Files(Inputs),
    Export(Export),
}

/// All input files, open, before anything is known of the collection.
struct Inputs {
    vectors: Vec<VectorInput>,
    payload: Option<(PathBuf, Input)>,
}

/// A file of vectors.
struct VectorInput {
    /// The name of the vector: as typed, then as the collection has it.
    name: Option<String>,
    path: PathBuf,
    rows: Rows,
    identity: Identity,
}

impl Inputs {
    fn open(command: &Import) -> Outcome<Self> {
        let mut vectors = Vec::new();
        for text in &command.vectors {
            let (name, path) = name_and_path(text);
            let input = files::open(&path)?;
            let Some(identity) = input.identity else {
                let message = format!("{} is no plain file: vectors must be in one", path.display());
                return Err(Failure::invalid(message)
                    .advise("write it to a file first; only the payload may be a pipe"));
            };
            let rows = Rows::open(&path, Box::new(input.file) as Box<dyn Seekable>)?;
            vectors.push(VectorInput { name, path, rows, identity });
        }
        let payload = match &command.payload {
            Some(path) => Some((path.clone(), files::open(path)?)),
            None => None,
        };
        let inputs = Inputs { vectors, payload };
        inputs.check(&Ids::new(&command.ids))?;
        Ok(inputs)
    }

    /// Checks that the files can be of the same points.
    fn check(&self, ids: &Ids) -> Outcome<()> {
        for pair in self.vectors.windows(2) {
            let [first, other] = [&pair[0], &pair[1]].map(|input| (input.path.display(), input.rows.rows()));
            if first.1 != other.1 {
                let message = format!("{} has {} rows, {} has {}", first.0, first.1, other.0, other.1);
                return Err(Failure::invalid(message)
                    .advise("all files must describe the same points in the same order"));
            }
        }
        match (ids, &self.payload) {
            (Ids::Field(field), None) => {
                let message =
                    format!("ids shall come from the payload field {field:?}, but there is no payload");
                Err(Failure::invalid(message)
                    .advise("give one with --payload FILE, or number the rows with --ids row"))
            }
            _ => Ok(()),
        }
    }

    /// What a checkpoint has to remember; nothing if the payload is a pipe, which cannot be gone back in.
    fn job(&self, collection: &Collection, ids: &str) -> Option<Job> {
        let mut files = Vec::new();
        for VectorInput { name, path, identity, .. } in &self.vectors {
            let role = format!("vectors {}", name.as_deref().unwrap_or_default());
            files.push((role.trim_end().to_owned(), path.clone(), *identity));
        }
        if let Some((path, input)) = &self.payload {
            files.push(("payload".to_owned(), path.clone(), input.identity?));
        }
        Some(Job { collection: collection.name().to_owned(), ids: ids.to_owned(), files })
    }

    /// The points from `start` on.
    fn source(self, command: &Import, start: Place) -> Outcome<Source> {
        let vectors = self.vectors.into_iter().map(|input| VectorFile {
            name: input.name.unwrap_or_default(),
            label: input.path.display().to_string(),
            rows: input.rows,
        });
        let payload = match self.payload {
            None => None,
            Some((path, mut input)) => {
                if start.row > 0 {
                    let moved = input.file.seek(SeekFrom::Start(start.payload_offset));
                    moved.map_err(|error| Failure::io("read", &path, &error))?;
                }
                Some(PayloadFile::new(path.display().to_string(), Box::new(input.file), &start))
            }
        };
        Source::new(vectors.collect(), payload, Ids::new(&command.ids), command.batch as usize, start)
    }
}

/// `NAME=FILE`, or a path alone. A path with `=` in it can be written `./a=b.npy`.
fn name_and_path(text: &str) -> (Option<String>, PathBuf) {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains(['/', '\\']) => {
            (Some(name.to_owned()), path.into())
        }
        _ => (None, text.into()),
    }
}

/// The collection of the command, made if missing; each file learns the name of its vector. True if it was made.
fn find_or_create(database: &Database, command: &Import, inputs: &mut Inputs) -> Outcome<(Collection, bool)> {
    match database.collection(&command.collection) {
        Ok(collection) => {
            for input in &mut inputs.vectors {
                let (name, vector) = database::vector(&collection.config(), input.name.as_deref())?;
                input.name = Some(name);
                check_vector(&collection, vector, input, command.metric.map(Metric::from))?;
            }
            Ok((collection, false))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let metric = command.metric.map_or(Metric::Cosine, Metric::from);
            let mut config: Option<CollectionConfig> = None;
            for input in &inputs.vectors {
                let (name, dimension) = (input.name.clone().unwrap_or_default(), input.rows.dimension());
                config = Some(match config {
                    None => CollectionConfig::named(name, dimension, metric),
                    Some(config) => config.vector(name, dimension, metric),
                });
            }
            let config = config.ok_or_else(|| Failure::invalid("no file of vectors was given"))?;
            Ok((database.create_collection(&command.collection, config)?, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// Compares a file and `--metric` with the vector that the file is meant for.
fn check_vector(
    collection: &Collection,
    vector: VectorConfig,
    input: &VectorInput,
    metric: Option<Metric>,
) -> Outcome<()> {
    let name = input.name.as_deref().filter(|name| !name.is_empty());
    let shown = name.map(|name| format!(", vector {name:?}")).unwrap_or_default();
    let (target, found) = (format!("collection {:?}{shown}", collection.name()), input.rows.dimension());
    if vector.dim as usize != found {
        let message = format!(
            "{} has vectors of {found} dimensions, {target} has {}",
            input.path.display(),
            vector.dim
        );
        return Err(Failure::invalid(message)
            .advise("import into another collection, or check that it is the right file"));
    }
    match metric {
        Some(asked) if asked != vector.metric => {
            let message = format!("--metric is {asked}, but {target} was made with {}", vector.metric);
            Err(Failure::invalid(message).advise("leave --metric out, or import into another collection"))
        }
        _ => Ok(()),
    }
}

/// Where to begin: at the first row, or where a stopped import can go on.
fn start(
    screen: &Screen,
    command: &Import,
    collection: &Collection,
    path: &Path,
    job: Option<&Job>,
) -> Outcome<Place> {
    if !command.resume {
        return Ok(Place::default());
    }
    let Some(job) = job else {
        let message = "--resume needs a payload in a plain file: a pipe cannot be read from the middle";
        return Err(Failure::invalid(message)
            .advise("leave --resume out to import from the first row: nothing is doubled"));
    };
    let Some(place) = Checkpoint::load(path, job)? else {
        screen.say("No import of this collection was stopped: starting at the first row.")?;
        return Ok(Place::default());
    };
    let last = place.last_id.as_slice();
    if collection.get(last, nearfield::With::NOTHING)?.iter().any(Option::is_none) {
        let row = place.row.saturating_sub(1);
        let message =
            format!("cannot resume from {}: the point of row {row} is not in the collection", path.display());
        return Err(Failure::invalid(message).advise("leave --resume out to import from the first row"));
    }
    Ok(place)
}

/// How long the steps took.
struct Times {
    /// Until the last batch was acknowledged.
    written: Duration,
    /// Syncing and sealing after that.
    sealed: Duration,
    /// Building the index after that.
    indexed: Duration,
}

/// Writes everything, makes it durable, seals it, removes the checkpoint and builds the index; after a failure the checkpoint stays.
fn write(
    collection: &Collection,
    source: Box<dyn Points>,
    mut checkpoint: Option<Checkpoint>,
    first: u64,
) -> Outcome<Times> {
    let progress = Progress::new(first, source.rows());
    let writing = Stopwatch::start();
    let mut reached = first;
    let outcome = pipeline::run(collection, source, |place, seq| {
        reached = place.row;
        progress.reached(reached);
        match &mut checkpoint {
            Some(checkpoint) => checkpoint.written(place, seq, collection.synced_seq()),
            None => Ok(()),
        }
    });
    let written = writing.elapsed();
    progress.finishing("syncing and sealing");
    if let Err(failure) = outcome {
        return Err(stopped(collection, checkpoint, failure, reached));
    }
    let sealing = Stopwatch::start();
    collection.sync()?;
    checkpoint.map_or(Ok(()), Checkpoint::remove)?;
    collection.flush()?;
    let sealed = sealing.elapsed();
    // Everything is stored: whoever stops the command now loses nothing but the time.
    progress.finishing("building the index");
    let indexing = Stopwatch::start();
    collection.wait_indexed()?;
    Ok(Times { written, sealed, indexed: indexing.elapsed() })
}

/// Saves how far the import came before `failure`, which is what the user is told.
fn stopped(
    collection: &Collection,
    checkpoint: Option<Checkpoint>,
    failure: Failure,
    reached: u64,
) -> Failure {
    if let (Some(mut checkpoint), Ok(synced)) = (checkpoint, collection.sync()) {
        checkpoint.settle(synced);
        // If even this fails, a later --resume begins at an earlier row, which is as good.
        let _saved = checkpoint.save();
    }
    let stored = match reached {
        0 => "nothing was stored".to_owned(),
        1 => "1 row was stored before it".to_owned(),
        rows => format!("{} rows were stored before it", thousands(rows)),
    };
    let again = "correct it and run the command again: points are written by id, nothing is doubled";
    failure.advise(format!("{stored}; {again}"))
}

/// "Importing base.npy and payload.jsonl into words: 2,000 points".
fn source_line(command: &Import, rows: u64, collection: &Collection) -> String {
    let payload = command.payload.iter().map(|path| path.display().to_string());
    let from = command.from.iter().map(|path| path.display().to_string());
    let files = command.vectors.iter().cloned().chain(payload).chain(from).collect::<Vec<_>>().join(" and ");
    format!("Importing {files} into {}: {}", collection.name(), counted(rows, "row", "rows"))
}

fn describe(screen: &Screen, line: &str, first: u64) -> Outcome<()> {
    let from = if first > 0 { format!(", going on at row {}", thousands(first)) } else { String::new() };
    screen.say(&format!("{line}{from}"))
}

/// What is said at the end.
struct Report {
    name: String,
    created: bool,
    first: u64,
    rows: u64,
    points: u64,
    disk: u64,
    times: Times,
    closed: Duration,
}

impl Report {
    fn print(&self, screen: &Screen, command: &Import) -> Outcome<()> {
        let imported = self.rows.saturating_sub(self.first);
        let all = self.times.written + self.times.sealed + self.times.indexed + self.closed;
        let rate = per_second(imported, all);
        screen.say(&format!(
            "{} {} in {} ({} points/s); written in {}, sealed and closed in {}, indexed in {}",
            screen.green("Imported"),
            counted(imported, "point", "points"),
            duration(all),
            thousands(rate as u64),
            duration(self.times.written),
            duration(self.times.sealed + self.closed),
            duration(self.times.indexed),
        ))?;
        let points = counted(self.points, "point", "points");
        screen.say(&format!("{} holds {points}, {} on disk", self.name, bytes(self.disk)))?;
        if self.created && self.points < self.rows {
            let fewer = thousands(self.rows - self.points);
            screen.say(&format!(
                "Note: {fewer} rows repeat the id of another; the last row with an id is the one kept"
            ))?;
        }
        screen.answer(&json!({
            "collection": self.name,
            "created": self.created,
            "first_row": self.first,
            "rows": self.rows,
            "imported": imported,
            "points": self.points,
            "durability": command.durability.name(),
            "seconds": all.as_secs_f64(),
            "seconds_written": self.times.written.as_secs_f64(),
            "seconds_sealed": self.times.sealed.as_secs_f64(),
            "seconds_indexed": self.times.indexed.as_secs_f64(),
            "seconds_closed": self.closed.as_secs_f64(),
            "points_per_second": rate,
            "bytes_on_disk": self.disk,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_paths() {
        assert_eq!(name_and_path("base.npy"), (None, "base.npy".into()));
        assert_eq!(name_and_path("title=t.npy"), (Some("title".into()), "t.npy".into()));
        assert_eq!(name_and_path("./a=b.npy"), (None, "./a=b.npy".into()));
        assert_eq!(name_and_path("=b.npy"), (None, "=b.npy".into()));
    }
}
