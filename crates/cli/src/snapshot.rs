//! `nearfield snapshot`: making, showing, restoring, pinning, proving and carrying snapshots; `nearfield clone` and `nearfield dump`.
//!
//! **It refuses** to guess between snapshots of one name, and to leave a file under its name before it is complete.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nearfield::{
    Archived, Database, Durability, Progress, Replace, Restored, SnapshotInfo, SnapshotListing, SnapshotName,
    SnapshotPin,
};
use serde_json::{Value as Json, json};

use crate::args::{CloneCollection, Destination, Dump, Snapshot, SnapshotAction, Which};
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Output};
use crate::output::{Screen, bytes, counted, duration, shorten, thousands};
use crate::timing::Stopwatch;

/// Bytes of a file that holds a SHA-256 and a name.
const SUM_BYTES_MAX: u64 = 4_096;
/// So many snapshots of one name are listed in an error.
const NAMES_SHOWN: usize = 8;

/// Runs `nearfield snapshot`.
pub(crate) fn run(screen: &Screen, command: &Snapshot) -> Outcome<()> {
    let db = match &command.action {
        Some(SnapshotAction::Recover { .. } | SnapshotAction::Upload { .. }) => {
            database::open_or_create(&command.target.path, command.target.trust, Durability::Process)?
        }
        _ => database::open(&command.target)?,
    };
    match command.action.as_ref().unwrap_or(&SnapshotAction::List { collection: None }) {
        SnapshotAction::Create { name, collection, description } => {
            create(screen, &db, name, collection.as_deref(), description)?;
        }
        SnapshotAction::List { collection } => list(screen, &db, collection.as_deref())?,
        SnapshotAction::Describe(which) => describe(screen, &db.describe_snapshot(&find(&db, which)?)?)?,
        SnapshotAction::Restore { which, to } => restore(screen, &db, &find(&db, which)?, to)?,
        SnapshotAction::Drop(which) => {
            let name = find(&db, which)?;
            if !db.drop_snapshot(&name)? {
                return Err(Failure::not_found(format!("there is no {name}")));
            }
            screen.say(&format!("Dropped the {name}"))?;
            screen.answer(&json!({"snapshot": name_json(&name), "dropped": true}))?;
        }
        SnapshotAction::Pin { which, ttl } => {
            let pin = db.pin_snapshot(&find(&db, which)?, Duration::from_secs(*ttl))?;
            screen.say(&format!("Pin {} keeps the {} for {ttl} s", pin.id, pin.snapshot))?;
            screen.answer(&pin_json(&pin))?;
        }
        SnapshotAction::Unpin { id } => {
            if !db.unpin_snapshot(*id)? {
                return Err(Failure::not_found(format!("there is no pin {id}")));
            }
            screen.say(&format!("Ended pin {id}"))?;
            screen.answer(&json!({"pin": id, "ended": true}))?;
        }
        SnapshotAction::Pins => pins(screen, &db)?,
        SnapshotAction::Verify(which) => verify(screen, &db, &find(&db, which)?)?,
        SnapshotAction::Archive { which, file } => {
            let name = find(&db, which)?;
            let made = archive(file, |out| db.archive_snapshot(&name, out, &Progress::default()))?;
            archived(screen, &format!("the {name}"), file, &made)?;
        }
        SnapshotAction::Upload { file, rename } => {
            let (mut input, sum) = open_archive(file)?;
            let uploaded =
                db.upload_snapshot(&mut input, rename.as_deref(), sum.as_deref(), &Progress::default())?;
            screen.say(&format!("Took in the {}", uploaded.snapshot.name))?;
            screen.answer(&info_json(&uploaded.snapshot))?;
        }
        SnapshotAction::Recover { file, to } => recover(screen, &db, file, to)?,
    }
    Ok(db.close()?)
}

/// Runs `nearfield clone`.
pub(crate) fn run_clone(screen: &Screen, command: &CloneCollection) -> Outcome<()> {
    let db = database::open(&command.target)?;
    let source = database::collection(&db, &command.source)?.name().to_owned();
    let time = Stopwatch::start();
    let done = db.clone_collection(&source, &command.name, &Progress::default())?;
    tell_restored(screen, &format!("Copied {source}"), &done, time.elapsed())?;
    Ok(db.close()?)
}

/// Runs `nearfield dump`.
pub(crate) fn run_dump(screen: &Screen, command: &Dump) -> Outcome<()> {
    let db = database::open(&command.target)?;
    let made = archive(&command.file, |out| db.dump("dump", out, &Progress::default()))?;
    archived(screen, "the database", &command.file, &made)?;
    Ok(db.close()?)
}

/// The snapshot that is meant.
pub(crate) fn find(db: &Database, which: &Which) -> Outcome<SnapshotName> {
    let SnapshotListing { names: all, damaged } = db.snapshot_listing(None)?;
    let collection = which.collection.as_deref().map(|name| own_name(db, name));
    let fits = |name: &&SnapshotName| {
        name.name == which.name && collection.as_ref().is_none_or(|of| name.collection.as_ref() == Some(of))
    };
    let mut found = all.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => Err(Failure::invalid(format!("there are several snapshots {:?}", which.name))
            .advise("say of which collection with --collection")),
        // Perhaps it is the damaged one: its name is known to who made it.
        (None, _) if !damaged.is_empty() => Ok(match &collection {
            Some(of) => SnapshotName::of(of, &which.name),
            None => SnapshotName::full(&which.name),
        }),
        (None, _) => {
            let names: Vec<String> = all.iter().take(NAMES_SHOWN).map(SnapshotName::to_string).collect();
            let here = if names.is_empty() { "there are none yet".to_owned() } else { names.join(", ") };
            Err(Failure::not_found(format!("there is no snapshot {:?}", which.name))
                .advise(shorten(&format!("snapshots here: {here}"), 1_000)))
        }
    }
}

/// The name of the collection that an alias stands for; of a collection that is gone, its own.
fn own_name(db: &Database, name: &str) -> String {
    let target = db.aliases().into_iter().find(|(alias, _)| alias == name);
    target.map_or_else(|| name.to_owned(), |(_, target)| target)
}

fn create(
    screen: &Screen,
    db: &Database,
    name: &str,
    collection: Option<&str>,
    description: &str,
) -> Outcome<()> {
    let time = Stopwatch::start();
    let info = match collection {
        Some(collection) => database::collection(db, collection)?.create_snapshot(name, description)?,
        None => db.create_full_snapshot(name, description)?,
    };
    screen.say(&format!(
        "{} the {} in {}: {}, {}",
        screen.green("Made"),
        info.name,
        duration(time.elapsed()),
        counted(points(&info), "point", "points"),
        bytes(info.bytes)
    ))?;
    screen.say(&screen.dim(
        "Its files are shared with the database: `nearfield snapshot DB archive` makes a second copy.",
    ))?;
    screen.answer(&info_json(&info))
}

fn list(screen: &Screen, db: &Database, collection: Option<&str>) -> Outcome<()> {
    let own = collection.map(|name| own_name(db, name));
    let SnapshotListing { names, mut damaged } = db.snapshot_listing(own.as_deref())?;
    if names.is_empty() && damaged.is_empty() {
        screen.say("There are no snapshots yet: `nearfield snapshot DB create NAME` makes one.")?;
    }
    let mut infos: Vec<SnapshotInfo> = Vec::with_capacity(names.len());
    for name in &names {
        match db.describe_snapshot(name) {
            Err(error) if error.kind() == nearfield::ErrorKind::Corrupt => damaged.push(error.to_string()),
            info => infos.push(info?),
        }
    }
    let row = |info: &SnapshotInfo| {
        let of = info.name.collection.as_deref().unwrap_or("(database)");
        let cells =
            [info.name.name.as_str(), of, &thousands(points(info)), &bytes(info.bytes), &info.description];
        cells.map(|cell| shorten(cell, 60)).to_vec()
    };
    if !infos.is_empty() {
        let heading = ["snapshot", "collection", "points", "bytes", "description"];
        screen.table(&heading, &[2, 3], infos.iter().map(row).collect())?;
    }
    for damage in &damaged {
        let told = format!(
            "A snapshot is damaged: {damage}. Nothing of any snapshot is removed until it is dropped by its name."
        );
        screen.say(&screen.yellow(&told))?;
    }
    screen.answer(&json!({"snapshots": infos.iter().map(info_json).collect::<Json>(), "damaged": damaged}))
}

fn describe(screen: &Screen, info: &SnapshotInfo) -> Outcome<()> {
    screen.say(&format!("{}  {}", screen.bold(&info.name.to_string()), info.id))?;
    if !info.description.is_empty() {
        screen.say(&shorten(&info.description, 1_000))?;
    }
    for part in &info.collections {
        let vectors: Vec<String> = part
            .config
            .vectors()
            .map(|(name, vector)| format!("{name:?}: {} x {}", vector.dim, vector.metric))
            .collect();
        screen.say(&format!(
            "{}: {} at operation {}; vectors {}",
            part.name,
            counted(part.points, "point", "points"),
            part.seq,
            vectors.join(", ")
        ))?;
    }
    let files = info
        .files
        .iter()
        .map(|file| vec![file.path.clone(), bytes(file.bytes), file.digest[..16].to_owned()]);
    screen.table(&["file", "bytes", "digest"], &[1], files.collect())?;
    screen.answer(&info_json(info))
}

fn restore(screen: &Screen, db: &Database, name: &SnapshotName, to: &Destination) -> Outcome<()> {
    let time = Stopwatch::start();
    let (replace, progress) = (replacing(to), Progress::default());
    let is_whole = name.collection.is_none() && to.only.is_none() && to.target.is_none();
    let done = match is_whole {
        true => db.restore_full_snapshot(name, replace, &progress),
        false => {
            let own = to.only.as_deref().or(name.collection.as_deref());
            let target = to.target.as_deref().or(own).unwrap_or_default();
            db.restore_snapshot_with(name, to.only.as_deref(), target, replace, &progress)
        }
    };
    tell_restored(screen, &format!("Restored the {name}"), &done.map_err(taken)?, time.elapsed())
}

fn recover(screen: &Screen, db: &Database, file: &Path, to: &Destination) -> Outcome<()> {
    let time = Stopwatch::start();
    let (mut input, sum) = open_archive(file)?;
    let (only, target) = (to.only.as_deref(), to.target.as_deref());
    let done =
        db.recover_archive(&mut input, sum.as_deref(), only, target, replacing(to), &Progress::default());
    let what = format!("Restored {}", file.display());
    tell_restored(screen, &what, &done.map_err(taken)?, time.elapsed())
}

fn replacing(to: &Destination) -> Replace {
    if to.replace { Replace::Existing } else { Replace::Never }
}

/// What to do about a name that is taken.
fn taken(error: nearfield::Error) -> Failure {
    let exists = error.kind() == nearfield::ErrorKind::Exists;
    let failure = Failure::from(error);
    if exists { failure.advise("choose another name with --as, or give --replace") } else { failure }
}

fn tell_restored(screen: &Screen, what: &str, done: &Restored, time: Duration) -> Outcome<()> {
    let linked = done.bytes.saturating_sub(done.copied);
    screen.say(&format!(
        "{what} as {} in {}: {} linked, {} copied",
        done.collections.join(", "),
        duration(time),
        bytes(linked),
        bytes(done.copied)
    ))?;
    screen.answer(&json!({
        "collections": done.collections,
        "bytes": done.bytes,
        "bytes_copied": done.copied,
        "seconds": time.as_secs_f64(),
    }))
}

fn verify(screen: &Screen, db: &Database, name: &SnapshotName) -> Outcome<()> {
    let time = Stopwatch::start();
    let proved = db.verify_snapshot(name, &Progress::default())?;
    screen.say(&format!(
        "{} the {name}: digests of {} hold, a trial restore has the same {} ({})",
        screen.green("Verified"),
        bytes(proved.bytes),
        counted(proved.points, "point", "points"),
        duration(time.elapsed())
    ))?;
    if proved.is_linked {
        screen.say(
            "Its files are hard links: the same bytes on the same disk as the live data, not a second copy.",
        )?;
        screen.say("`nearfield snapshot DB archive` writes a second copy; take it to another place.")?;
    }
    screen.answer(&json!({
        "snapshot": name_json(name),
        "points": proved.points,
        "bytes": proved.bytes,
        "second_copy": !proved.is_linked,
        "seconds": time.elapsed().as_secs_f64(),
    }))
}

fn pins(screen: &Screen, db: &Database) -> Outcome<()> {
    let pins = db.snapshot_pins()?;
    if pins.is_empty() {
        screen.say("There are no pins.")?;
    }
    for pin in &pins {
        screen.say(&format!("{}  {}  until {} ms since 1970", pin.id, pin.snapshot, pin.until_ms))?;
    }
    screen.answer(&json!({"pins": pins.iter().map(pin_json).collect::<Json>()}))
}

/// Writes an archive to `file`, and its checksum beside it.
fn archive(
    file: &Path,
    write: impl FnOnce(&mut dyn std::io::Write) -> nearfield::Result<Archived>,
) -> Outcome<Archived> {
    let mut out = Output::create(file)?;
    let made = write(&mut out)?;
    // Never the checksum of another archive beside this one, whenever the machine stops.
    files::remove(&sum_path(file))?;
    out.finish()?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    files::replace(&sum_path(file), format!("{}  {name}\n", made.sha256).as_bytes())?;
    Ok(made)
}

fn archived(screen: &Screen, what: &str, file: &Path, made: &Archived) -> Outcome<()> {
    screen.say(&format!("Wrote {what} to {}: {}", file.display(), bytes(made.bytes)))?;
    screen.say(&format!("SHA-256 {}", made.sha256))?;
    screen.answer(&json!({"file": file.display().to_string(), "bytes": made.bytes, "sha256": made.sha256}))
}

/// An archive, and the checksum that lies beside it, if one does.
fn open_archive(file: &Path) -> Outcome<(impl Read + use<>, Option<String>)> {
    let input = files::open(file)?;
    let sum = files::read_small(&sum_path(file), SUM_BYTES_MAX)?;
    let first = |text: String| match text.split_whitespace().next() {
        Some(sum) => Ok(sum.to_owned()),
        None => {
            Err(Failure::invalid(format!("{} is empty: a SHA-256 was expected", sum_path(file).display()))
                .advise("write the checksum of the archive into it, or remove it to do without"))
        }
    };
    let sum = sum.map(first).transpose()?;
    Ok((std::io::BufReader::with_capacity(1 << 20, input.file), sum))
}

fn sum_path(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".sha256");
    file.with_file_name(name)
}

fn points(info: &SnapshotInfo) -> u64 {
    info.collections.iter().map(|part| part.points).sum()
}

fn name_json(name: &SnapshotName) -> Json {
    json!({"collection": name.collection, "name": name.name})
}

fn pin_json(pin: &SnapshotPin) -> Json {
    json!({"pin": pin.id, "snapshot": name_json(&pin.snapshot), "until_ms": pin.until_ms})
}

fn info_json(info: &SnapshotInfo) -> Json {
    let collections = info.collections.iter().map(|part| {
        json!({"name": part.name, "id": part.id.to_string(), "seq": part.seq.0, "points": part.points})
    });
    let files =
        info.files.iter().map(|file| json!({"path": file.path, "bytes": file.bytes, "blake3": file.digest}));
    let aliases: serde_json::Map<String, Json> =
        info.aliases.iter().map(|(alias, name)| (alias.clone(), name.as_str().into())).collect();
    json!({
        "name": info.name.name,
        "collection": info.name.collection,
        "id": info.id.to_string(),
        "description": info.description,
        "created_ms": info.created_ms,
        "points": points(info),
        "bytes": info.bytes,
        "collections": collections.collect::<Json>(),
        "aliases": aliases,
        "files": files.collect::<Json>(),
    })
}
