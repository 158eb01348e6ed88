//! `nearfield export`: a collection, or what passes a filter, as files that anybody can read.
//!
//! **It refuses** to write half: a file or folder has its name once it is complete, and its last line says how many points there are and
//! what the checksum of all lines before it is.
//!
//! # Invariants
//!
//! 1. All points are of one moment.
//! 2. Points come in the order of their ids.
//! 3. Formats `jsonl` and `npy` give back what was stored to the last bit; `json` does for collections with one vector, whose ids become text.

use std::io::Write;

use nearfield::filter::Filter;
use nearfield::limits::DIMENSION_MAX;
use nearfield::{
    Collection, CollectionConfig, FieldIndexInfo, PointId, Quantization, Record, SnapshotName, VectorConfig,
    View, With,
};
use nearfield_codec::Crc64;
use serde_json::{Value as Json, json};

use crate::args::{Export, ExportFormat, Which};
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::files::{Output, OutputFolder};
use crate::filter;
use crate::import::progress::Progress;
use crate::json::record::{write_line, write_numbers};
use crate::json::{from_f32, from_object};
use crate::output::{Screen, counted, duration};
use crate::snapshot;
use crate::timing::Stopwatch;

/// The version of the first line.
pub(crate) const EXPORT_VERSION: u64 = 1;
/// The key that tells an export from other files of lines.
pub(crate) const EXPORT_KEY: &str = "nearfield_export";
/// The file of ids and payloads in a folder.
pub(crate) const POINTS_FILE: &str = "points.jsonl";
/// Numbers read at once; a page has at least one point.
const PAGE_NUMBERS: usize = 1 << 20;
const PAGE_POINTS: usize = 1_000;
/// Bytes of the header of a `.npy` file: as many as NumPy itself writes.
const NPY_HEADER_BYTES: usize = 128;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Export) -> Outcome<()> {
    let db = database::open(&command.target)?;
    let filter = filter::typed(command.filter.as_deref())?;
    let time = Stopwatch::start();
    let points = match &command.snapshot {
        None => write(&database::collection(&db, &command.collection)?, command, filter.as_ref())?,
        Some(name) => {
            let own = command.collection.clone();
            let which = Which { name: name.clone(), collection: Some(own) };
            // A snapshot of the whole database has the collection too.
            let found = match snapshot::find(&db, &which) {
                Ok(found) => found,
                Err(failure) if db.snapshots(None)?.contains(&SnapshotName::full(name)) => {
                    drop(failure);
                    SnapshotName::full(name)
                }
                Err(failure) => return Err(failure),
            };
            let mut written = Err(Failure::internal("nothing was written"));
            db.look_at_snapshot(&found, |then| {
                let of = found.collection.as_deref().unwrap_or(&command.collection);
                written = write(&then.collection(of)?, command, filter.as_ref());
                Ok(())
            })?;
            written?
        }
    };
    let shown = command.out.display().to_string();
    screen.say(&format!(
        "{} {} to {shown} in {}",
        screen.green("Exported"),
        counted(points, "point", "points"),
        duration(time.elapsed())
    ))?;
    screen.answer(&json!({
        "collection": command.collection,
        "out": shown,
        "points": points,
        "seconds": time.elapsed().as_secs_f64(),
    }))?;
    Ok(db.close()?)
}

fn write(collection: &Collection, command: &Export, filter: Option<&Filter>) -> Outcome<u64> {
    let source = Exported::of(collection, filter)?;
    match command.format {
        ExportFormat::Jsonl => {
            let mut out = Output::create(&command.out)?;
            let points = source.lines(&mut out, &mut [])?;
            out.finish()?;
            Ok(points)
        }
        ExportFormat::Npy => source.folder(OutputFolder::create(&command.out)?),
        ExportFormat::Json => {
            let mut out = Output::create(&command.out)?;
            let points = source.embedded(&mut out, command.pretty)?;
            out.finish()?;
            Ok(points)
        }
    }
}

/// The points to be exported, held still.
pub(crate) struct Exported<'a> {
    name: String,
    config: CollectionConfig,
    indexes: Vec<FieldIndexInfo>,
    view: View,
    filter: Option<&'a Filter>,
    /// How many there are.
    pub(crate) points: u64,
}

impl<'a> Exported<'a> {
    /// What passes `filter` now.
    pub(crate) fn of(collection: &Collection, filter: Option<&'a Filter>) -> Outcome<Exported<'a>> {
        let view = collection.view();
        let points = match filter {
            None => view.count(),
            Some(filter) => view.count_passing(filter)?,
        };
        let (name, config) = (collection.name().to_owned(), CollectionConfig::clone(&collection.config()));
        Ok(Exported { name, config, indexes: collection.field_indexes()?, view, filter, points })
    }

    /// Calls `visit` with page after page.
    pub(crate) fn pages(&self, mut visit: impl FnMut(Vec<Record>) -> Outcome<()>) -> Outcome<()> {
        let numbers: usize = self.config.vectors().map(|(_, vector)| vector.dim as usize).sum();
        let limit = (PAGE_NUMBERS / numbers.clamp(1, DIMENSION_MAX)).clamp(1, PAGE_POINTS);
        let mut after: Option<PointId> = None;
        loop {
            let page = match self.filter {
                None => self.view.scroll(after.as_ref(), limit, With::ALL)?,
                Some(filter) => self.view.scroll_passing(filter, after.as_ref(), limit, With::ALL)?,
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            visit(page)?;
        }
    }

    /// Writes the first line, one for each point, and the last. Vectors go to `arrays`, if there are some; then only what is absent is
    /// in the lines.
    pub(crate) fn lines(&self, out: &mut dyn Write, arrays: &mut [Output]) -> Outcome<u64> {
        let progress = Progress::new(0, self.points);
        let mut out = Lines { out, crc: Crc64::new() };
        let mut text = self.head(!arrays.is_empty()).to_string();
        out.line(&mut text)?;
        let mut count = 0;
        self.pages(|page| {
            for record in &page {
                let absent = if arrays.is_empty() { Vec::new() } else { self.write_rows(record, arrays)? };
                text.clear();
                write_line(&mut text, record, arrays.is_empty(), &absent);
                out.line(&mut text)?;
            }
            count += page.len() as u64;
            progress.reached(count);
            Ok(())
        })?;
        let crc = format!("{:016x}", out.crc.value());
        out.line(&mut json!({"end": {"points": count, "crc64": crc}}).to_string())?;
        Ok(count)
    }

    /// Writes a row of each vector; zeros for those that the point does not have, which are returned.
    fn write_rows(&self, record: &Record, arrays: &mut [Output]) -> Outcome<Vec<&str>> {
        let mut absent = Vec::new();
        for ((name, vector), out) in self.config.vectors().zip(arrays) {
            let row = record.vectors.iter().flatten().find(|(other, _)| other == name);
            let row =
                row.map(|(_, row)| row.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
            let row = row.unwrap_or_else(|| {
                absent.push(name);
                vec![0; vector.dim as usize * 4]
            });
            out.write_all(&row).map_err(|error| Failure::invalid(format!("writing vectors: {error}")))?;
        }
        Ok(absent)
    }

    /// Writes the folder of format `npy`.
    fn folder(&self, folder: OutputFolder) -> Outcome<u64> {
        let mut arrays = Vec::new();
        for (at, (_, vector)) in self.config.vectors().enumerate() {
            let mut out = folder.file(&array_name(at))?;
            let header = npy_header(0, vector.dim);
            out.write_all(&header).map_err(|error| Failure::invalid(format!("writing vectors: {error}")))?;
            arrays.push(out);
        }
        let mut out = folder.file(POINTS_FILE)?;
        let points = self.lines(&mut out, &mut arrays)?;
        for ((_, vector), mut array) in self.config.vectors().zip(arrays) {
            array.rewrite_start(&npy_header(points, vector.dim))?;
            array.finish()?;
        }
        out.finish()?;
        folder.finish()?;
        Ok(points)
    }

    /// Writes the one object of the embedded Python API.
    fn embedded(&self, out: &mut dyn Write, pretty: bool) -> Outcome<u64> {
        let mut vectors = self.config.vectors();
        let (Some((_, vector)), None) = (vectors.next(), vectors.next()) else {
            return Err(Failure::invalid(format!(
                "{} has several vectors a point, this format has one",
                self.name
            ))
            .advise("export it with --format jsonl or --format npy"));
        };
        let metric = match vector.metric {
            nearfield::Metric::Cosine => "cosine",
            nearfield::Metric::Euclid => "euclidean",
            nearfield::Metric::Dot => "dot_product",
            other => {
                return Err(Failure::invalid(format!(
                    "{} compares by {other}, which this format cannot say",
                    self.name
                ))
                .advise("export it with --format jsonl or --format npy"));
            }
        };
        let failed = |error: std::io::Error| Failure::invalid(format!("writing the export: {error}"));
        let (open, between, close) = match pretty {
            true => ("{\n  \"version\": 1,\n  \"dim\": ", ",\n    ", "\n  ]\n}\n"),
            false => ("{\"version\":1,\"dim\":", ",", "]}"),
        };
        let (second, third, first) = match pretty {
            true => (",\n  \"metric\": ", ",\n  \"vectors\": [", "\n    "),
            false => (",\"metric\":", ",\"vectors\":[", ""),
        };
        write!(out, "{open}{}{second}\"{metric}\"{third}", vector.dim).map_err(failed)?;
        let progress = Progress::new(0, self.points);
        let mut count = 0;
        self.pages(|page| {
            for record in &page {
                let Some((_, row)) = record.vectors.iter().flatten().next() else {
                    let message = format!("point {} has no vector, which this format cannot say", record.id);
                    return Err(Failure::invalid(message).advise("export it with --format jsonl"));
                };
                let PointId::String(id) = &record.id else {
                    // As text, the number 7 would be the text "7", which may be another point.
                    let message = format!("the id {} is no text, which this format cannot say", record.id);
                    return Err(
                        Failure::invalid(message).advise("export it with --format jsonl or --format npy")
                    );
                };
                let mut entry = format!("{{\"id\":{},\"vector\":", Json::from(id.to_string()));
                write_numbers(&mut entry, row);
                if let Some(payload) = record.payload.as_ref().filter(|payload| !payload.is_empty()) {
                    entry.push_str(",\"metadata\":");
                    entry.push_str(&from_object(payload).to_string());
                }
                write!(out, "{}{entry}}}", if count == 0 { first } else { between }).map_err(failed)?;
                count += 1;
            }
            progress.reached(count);
            Ok(())
        })?;
        out.write_all(close.as_bytes()).map_err(failed)?;
        Ok(count)
    }

    /// The first line: what the points are made of.
    fn head(&self, has_arrays: bool) -> Json {
        let vector = |(at, (name, vector)): (usize, (&str, VectorConfig))| {
            let VectorConfig { dim, metric, index } = vector;
            let quantization = match index.quantization {
                Quantization::Auto => json!("auto"),
                Quantization::Rotated => json!("rotated"),
                Quantization::None => json!("none"),
                Quantization::Scalar { quantile } => json!({"scalar": from_f32(quantile)}),
            };
            let mut json = json!({
                "name": name, "dim": dim, "metric": metric.name(),
                "m": index.m, "ef_construct": index.ef_construct, "quantization": quantization,
            });
            if has_arrays {
                json["file"] = array_name(at).into();
            }
            json
        };
        let index = |info: &FieldIndexInfo| {
            let settings: String =
                info.field.config.encode().iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"path": info.field.path.to_string(), "kind": info.field.config.kind().name(), "settings": settings})
        };
        let partition = self.config.partition();
        json!({
            EXPORT_KEY: EXPORT_VERSION,
            "collection": self.name,
            "seq": self.view.seq().0,
            "points": self.points,
            "vectors": self.config.vectors().enumerate().map(vector).collect::<Json>(),
            "partition": partition.map(|by| json!({"path": by.path, "kind": by.kind.name()})),
            "indexes": self.indexes.iter().map(index).collect::<Json>(),
        })
    }
}

/// Lines on their way, with the checksum of those that were written.
struct Lines<'a> {
    out: &'a mut dyn Write,
    crc: Crc64,
}

impl Lines<'_> {
    fn line(&mut self, text: &mut String) -> Outcome<()> {
        text.push('\n');
        self.crc.update(text.as_bytes());
        let written = self.out.write_all(text.as_bytes());
        written.map_err(|error| Failure::invalid(format!("writing the export: {error}")))
    }
}

fn array_name(at: usize) -> String {
    format!("vectors-{at}.npy")
}

/// The header of `rows` x `dim` float32.
fn npy_header(rows: u64, dim: u32) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((NPY_HEADER_BYTES - 10) as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(NPY_HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}
