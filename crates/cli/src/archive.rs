//! `nearfield archive`: points out of a collection into a file, for good.
//!
//! **It refuses** to delete a point before the file that holds it is complete, durable, read back and equal to what was stored; and to
//! take the place of a file that is there, which may be an archive of points that are nowhere else.

use std::io::BufReader;

use nearfield::filter::Filter;
use nearfield::{Collection, PointId, Record};
use nearfield_codec::Crc64;
use serde_json::json;

use crate::args::Archive;
use crate::database;
use crate::export::Exported;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Output};
use crate::filter;
use crate::import::records::LINE_BYTES_MAX;
use crate::json::record::{PointLine, parse_line};
use crate::jsonl::Lines;
use crate::output::{Screen, counted};

/// Points deleted at once.
const BATCH: usize = 1_000;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Archive) -> Outcome<()> {
    let db = database::open(&command.target)?;
    let collection = database::collection(&db, &command.collection)?;
    let filter = filter::typed(Some(&command.filter))?.unwrap_or_else(Filter::new);
    let source = Exported::of(&collection, Some(&filter))?;
    let mut out = Output::create_new(&command.out)?;
    let points = source.lines(&mut out, &mut [])?;
    out.finish()?;
    let ids = verified(command, &source)?;
    let deleted = if command.keep { 0 } else { purge(&collection, &ids)? };
    let shown = command.out.display();
    screen.say(&format!("Wrote {} to {shown} and read them back", counted(points, "point", "points")))?;
    if !command.keep {
        screen.say(&format!("Deleted {} from {}", counted(deleted, "point", "points"), collection.name()))?;
    }
    screen.answer(&json!({
        "collection": collection.name(),
        "out": shown.to_string(),
        "points": points,
        "verified": true,
        "deleted": deleted,
    }))?;
    drop(collection);
    Ok(db.close()?)
}

/// Reads the file back and compares it with what is stored; returns the ids in it.
fn verified(command: &Archive, source: &Exported<'_>) -> Outcome<Vec<PointId>> {
    let differs = |what: &str| {
        let message = format!("{} was written, but {what}: nothing was deleted", command.out.display());
        Failure::invalid(message).advise("run the command again, on another disk if this goes on")
    };
    let file = BufReader::with_capacity(1 << 20, files::open(&command.out)?.file);
    let mut lines = Lines::new(file, 0, 0, LINE_BYTES_MAX);
    let mut crc = Crc64::new();
    let mut next = || -> Outcome<Option<(PointLine, String)>> {
        let before = format!("{:016x}", crc.value());
        let Some(text) = lines.next_line().map_err(|error| Failure::invalid(error.to_string()))? else {
            return Ok(None);
        };
        crc.update(text.as_bytes());
        crc.update(b"\n");
        let line = parse_line(text).map_err(|error| Failure::invalid(error.to_string()))?;
        Ok(Some((line, before)))
    };
    // The first line is of another form.
    match next() {
        Err(_) => {}
        Ok(_) => return Err(differs("its first line is missing")),
    }
    let mut ids = Vec::new();
    source.pages(|page| {
        for record in page {
            match next()? {
                Some((line, _)) if is_same(&line, &record) => ids.push(record.id),
                _ => return Err(differs("it reads differently")),
            }
        }
        Ok(())
    })?;
    match next()? {
        Some((PointLine { end: Some((points, crc)), .. }, before))
            if points == ids.len() as u64 && crc == before => {}
        _ => return Err(differs("its last line does not fit")),
    }
    Ok(ids)
}

fn is_same(line: &PointLine, record: &Record) -> bool {
    let bits = |vectors: &[(String, Vec<f32>)]| -> Vec<(String, Vec<u32>)> {
        let of = |(name, vector): &(String, Vec<f32>)| {
            (name.clone(), vector.iter().map(|number| number.to_bits()).collect())
        };
        vectors.iter().map(of).collect()
    };
    let empty = nearfield::Object::new();
    line.id.as_ref() == Some(&record.id)
        && line.payload == *record.payload.as_ref().unwrap_or(&empty)
        && bits(&line.vectors) == bits(record.vectors.as_deref().unwrap_or_default())
}

fn purge(collection: &Collection, ids: &[PointId]) -> Outcome<u64> {
    let mut deleted = 0;
    for batch in ids.chunks(BATCH) {
        deleted += collection.delete(batch)?;
    }
    collection.sync()?;
    Ok(deleted)
}
