//! `nearfield search`: the points nearest to a vector that was typed, read from a file, or taken from another point.
//!
//! **It refuses** to embed texts; it compares vectors.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use nearfield::filter::Filter;
use nearfield::limits::{DIMENSION_MAX, LIMIT_MAX};
use nearfield::{Collection, Depth, Hit, Metric, Object, Query, Value, With};
use serde_json::{Value as Json, json};

use crate::args::Search;
use crate::database;
use crate::explain;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::filter;
use crate::json::{from_f32, from_id, from_object, parse_vector};
use crate::npy;
use crate::output::{Screen, counted, duration, shorten};
use crate::timing::Stopwatch;

/// Longest text of a vector: 64 bytes a number are plenty.
const VECTOR_TEXT_MAX: u64 = 64 * DIMENSION_MAX as u64;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Search) -> Outcome<()> {
    let limit = check_limit(command.limit)?;
    let typed = typed_vector(command)?;
    let filter = filter::typed(command.filter.as_deref())?;
    let collection = database::read(&command.target, &command.collection)?;
    let (using, vector) = database::vector(&collection.config(), command.using.as_deref())?;
    let question = match (&command.what.like, typed) {
        (Some(text), _) => Question::like(&collection, text, &using)?,
        (None, Some(vector)) => Question { vector, itself: None },
        (None, None) => return Err(Failure::invalid("give one of --vector, --vector-file and --like")),
    };
    let watch = Stopwatch::start();
    let query = question.query(&using, limit, depth(command), filter.as_ref());
    let mut hits = collection.search(&query)?;
    let took = watch.elapsed();
    let explanation = command.explain.then(|| collection.explain(&query)).transpose()?;
    question.leave_out_itself(&mut hits, limit);
    let name = collection.name().to_owned();
    let page = Page { metric: vector.metric, hits: &hits, with_payload: command.with_payload };
    page.table(screen)?;
    screen.say(&screen.dim(&format!(
        "  {} in {}",
        counted(hits.len() as u64, "point", "points"),
        duration(took)
    )))?;
    if let Some(explanation) = &explanation {
        explain::table(screen, explanation, filter.as_ref())?;
    }
    let mut answer = json!({
        "collection": name,
        "using": using,
        "metric": vector.metric.name(),
        "hits": page.json(),
        "seconds": took.as_secs_f64(),
    });
    if let Some(explanation) = &explanation {
        answer["explanation"] = explain::json(explanation);
    }
    screen.answer(&answer)
}

pub(crate) fn check_limit(limit: u64) -> Outcome<usize> {
    match usize::try_from(limit) {
        Ok(limit @ 1..=LIMIT_MAX) => Ok(limit),
        _ => Err(Failure::invalid(format!("limit is {limit}: it must be 1 to {LIMIT_MAX}"))),
    }
}

/// How hard to look; the command line allows one of these at most.
fn depth(command: &Search) -> Depth {
    match (command.ef, command.recall) {
        _ if command.exact => Depth::Exact,
        (Some(ef), _) => Depth::Breadth(ef),
        (None, Some(recall)) => Depth::Recall(recall),
        (None, None) => Depth::Auto,
    }
}

/// The vector from the command line, standard input or a file; nothing for `--like`.
fn typed_vector(command: &Search) -> Outcome<Option<Vec<f32>>> {
    if let Some(path) = &command.what.vector_file {
        return row_of(path, command.row).map(Some);
    }
    let Some(text) = &command.what.vector else { return Ok(None) };
    let mut input = String::new();
    let text = if text == "-" {
        let read = std::io::stdin().lock().take(VECTOR_TEXT_MAX + 1).read_to_string(&mut input);
        read.map_err(|error| Failure::io("read", Path::new("the standard input"), &error))?;
        if input.len() as u64 > VECTOR_TEXT_MAX {
            return Err(Failure::invalid(format!(
                "the vector has more than {VECTOR_TEXT_MAX} bytes of text, which is the limit"
            )));
        }
        &input
    } else {
        text
    };
    let vector = parse_vector(text).map_err(|error| Failure::invalid(format!("--vector, {error}")));
    vector.map(Some).map_err(|failure| failure.advise("write it as --vector \"[0.1, -2, 3]\""))
}

/// One row of a file of vectors.
fn row_of(path: &Path, row: u64) -> Outcome<Vec<f32>> {
    let failed = |error| Failure::invalid(format!("{}: {error}", path.display()));
    let mut input = files::open(path)?;
    input.file.seek(SeekFrom::Start(0)).map_err(|error| Failure::io("read", path, &error))?;
    let mut reader = npy::Reader::new(input.file).map_err(failed)?;
    reader.seek(row).map_err(failed)?;
    let rows = reader.header().rows;
    let message = || {
        format!("--row is {row}: {} has {}, numbered from 0", path.display(), counted(rows, "row", "rows"))
    };
    reader.next_row().map_err(failed)?.ok_or_else(|| Failure::invalid(message()))
}

/// What to search for.
struct Question {
    vector: Vec<f32>,
    /// The point the vector was taken from, which is no answer.
    itself: Option<nearfield::PointId>,
}

impl Question {
    /// The vector of a stored point.
    fn like(collection: &Collection, text: &str, using: &str) -> Outcome<Self> {
        let found = collection.get(&database::readings(text), With { payload: false, vectors: true })?;
        let Some(record) = found.into_iter().flatten().next() else {
            return Err(Failure::not_found(format!("there is no point {:?} in {}", text, collection.name())));
        };
        let vector = record.vectors.into_iter().flatten().find(|(name, _)| name == using);
        let Some((_, vector)) = vector else {
            return Err(Failure::not_found(format!("point {text:?} has no vector named {using:?}")));
        };
        Ok(Question { vector, itself: Some(record.id) })
    }

    fn query<'q>(
        &'q self,
        using: &'q str,
        limit: usize,
        depth: Depth,
        filter: Option<&'q Filter>,
    ) -> Query<'q> {
        // One more, for the point itself.
        let limit = (limit + usize::from(self.itself.is_some())).min(LIMIT_MAX);
        Query { vector: &self.vector, using, limit, with: With::PAYLOAD, depth, filter }
    }

    fn leave_out_itself(&self, hits: &mut Vec<Hit>, limit: usize) {
        hits.retain(|hit| Some(&hit.id) != self.itself.as_ref());
        hits.truncate(limit);
    }
}

/// Answers to be shown.
struct Page<'a> {
    metric: Metric,
    hits: &'a [Hit],
    with_payload: bool,
}

impl Page<'_> {
    fn table(&self, screen: &Screen) -> Outcome<()> {
        let ids: Vec<String> = self.hits.iter().map(|hit| shorten(&hit.id.to_string(), 36)).collect();
        let id_width = ids.iter().map(|id| id.chars().count()).max().unwrap_or(0);
        let room = screen.width().saturating_sub(id_width + 20).max(20);
        let mut rows = Vec::new();
        for (at, (hit, id)) in self.hits.iter().zip(ids).enumerate() {
            let payload = hit.payload.as_ref();
            let text = payload.map(|payload| {
                if self.with_payload { from_object(payload).to_string() } else { summary(payload) }
            });
            let text = text.unwrap_or_default();
            let text = if self.with_payload { crate::output::clean(&text) } else { shorten(&text, room) };
            rows.push(vec![
                (at + 1).to_string(),
                format!("{:.4}", self.metric.similarity(hit.distance)),
                id,
                text,
            ]);
        }
        screen.table(&["#", measure(self.metric), "id", "payload"], &[0, 1], rows)
    }

    fn json(&self) -> Json {
        let hit = |hit: &Hit| {
            let mut json =
                json!({"id": from_id(&hit.id), "score": from_f32(self.metric.similarity(hit.distance))});
            if let (true, Some(payload)) = (self.with_payload, &hit.payload) {
                json["payload"] = from_object(payload);
            }
            json
        };
        self.hits.iter().map(hit).collect()
    }
}

/// What the numbers mean: more is nearer for the first, less for the second.
fn measure(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine | Metric::Dot => "score",
        Metric::Euclid | Metric::Manhattan => "distance",
    }
}

/// The text of a payload if it has one, else all of it.
pub(crate) fn summary(payload: &Object) -> String {
    let named = ["text", "title", "name"].iter().find_map(|key| payload.get(key));
    match named {
        Some(Value::String(text)) => text.clone(),
        _ if payload.is_empty() => String::new(),
        _ => from_object(payload).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    #[test]
    fn limits_are_named() {
        assert_eq!(check_limit(1).unwrap(), 1);
        assert_eq!(check_limit(LIMIT_MAX as u64).unwrap(), LIMIT_MAX);
        for limit in [0, LIMIT_MAX as u64 + 1, u64::MAX] {
            let expected = format!("limit is {limit}: it must be 1 to 10000");
            assert_eq!(check_limit(limit).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_payload_is_summed_up_by_its_text() {
        let of = |text: &str| summary(&parse_object(text).unwrap());
        assert_eq!(of(r#"{"id":1,"text":"roof"}"#), "roof");
        assert_eq!(of(r#"{"text":1}"#), r#"{"text":1}"#);
        assert_eq!(of("{}"), "");
    }
}
