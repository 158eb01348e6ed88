//! `nearfield demo`: imports the bundled sample, searches it and compares with the exact answers; run again, it reopens what is there.
//!
//! **It refuses** to flatter: latencies are those of the library's search with payloads, on one thread, and a recall below 1 fails.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use nearfield::{Collection, Database, Durability, ErrorKind, Hit, PointId, Query, Stats, With};
use serde_json::{Value as Json, json};

use crate::args::Demo;
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::import::pipeline;
use crate::import::progress::Progress;
use crate::import::rows::Rows;
use crate::import::source::{Ids, PayloadFile, Place, Points, Seekable, Source, VectorFile};
use crate::json::{from_f32, from_id};
use crate::npy;
use crate::output::{Screen, bytes, counted, duration, shorten, thousands};
use crate::percentiles::Percentiles;
use crate::sample::{self, SampleQuery};
use crate::search::summary;
use crate::timing::{Stopwatch, per_second};

/// The collection's name.
const COLLECTION: &str = "wordnet";
/// Points in one batch.
const BATCH: usize = 500;
/// A lower share of the true answers means that something is wrong.
const RECALL_LEAST: f64 = 0.95;
/// Answers of each query.
const ANSWERS: usize = 10;
/// Each query is asked so many times, after one time that is not measured.
const ROUNDS: usize = 10;
/// Queries shown as text, by their place in the sample: a synset about Greek myths, one about painting, one about harmony.
const SHOWN: [usize; 3] = [73, 78, 99];
/// Answers shown of each.
const ANSWERS_SHOWN: usize = 3;

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Demo) -> Outcome<()> {
    let place = shown_path(&command.data);
    let opening = Stopwatch::start();
    let database = database::open_or_create(&command.data, command.trust, Durability::Process)?;
    let collection = find_or_create(&database)?;
    let opened = opening.elapsed();
    let imported = if is_complete(&collection)? {
        screen.say(&format!("Reopened the demo's data in {place} ({})", duration(opened)))?;
        None
    } else {
        screen.say(&format!("Making the demo's database in {place}"))?;
        let took = import(&collection)?;
        if !is_complete(&collection)? {
            let message =
                format!("the collection {COLLECTION:?} in {place} holds other points beside the demo's");
            return Err(Failure::invalid(message).advise(begin_anew(&place)));
        }
        let rate = thousands(per_second(collection.count()?, took) as u64);
        let points = counted(collection.count()?, "text", "texts");
        screen.say(&format!(
            "{} {points} in {} ({rate} points/s), sealed and indexed",
            screen.green("Imported"),
            duration(took)
        ))?;
        Some(took)
    };
    let results = Results::measure(&collection)?;
    let stats = collection.stats()?;
    drop(collection);
    database.close()?;
    for shown in SHOWN {
        results.show(screen, shown)?;
    }
    results.figures(screen, &stats)?;
    next_steps(screen, &place)?;
    screen.answer(&results.json(&place, imported, opened, &stats))?;
    if results.recall() >= RECALL_LEAST {
        return Ok(());
    }
    let message = format!(
        "recall is {:.3}: the search missed {} of its exact answers",
        results.recall(),
        results.missed()
    );
    Err(Failure::internal(message).advise(begin_anew(&place)))
}

/// What helps where the demo's collection was changed by somebody.
fn begin_anew(place: &str) -> String {
    format!(
        "if points of the demo were changed, `nearfield collections {place} delete {COLLECTION}` and run it again"
    )
}

/// The demo's collection, made if missing; one that somebody else made is left alone.
fn find_or_create(database: &Database) -> Outcome<Collection> {
    let config = nearfield::CollectionConfig::new(dimension()?, sample::METRIC);
    match database.collection(COLLECTION) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(database.create_collection(COLLECTION, config)?)
        }
        Err(error) => Err(error.into()),
        Ok(collection) if *collection.config() == config => Ok(collection),
        Ok(_) => Err(Failure::invalid(format!("the collection {COLLECTION:?} here is not the demo's"))
            .advise("give the demo a directory of its own with --data DIR")),
    }
}

/// A relative path with `./` before it, so that it is seen to be one.
fn shown_path(path: &Path) -> String {
    let dotted = path.is_absolute() || path.starts_with(".") || path.starts_with("..");
    if dotted { path.display().to_string() } else { Path::new(".").join(path).display().to_string() }
}

fn dimension() -> Outcome<usize> {
    Ok(vectors()?.header().dimension)
}

fn vectors() -> Outcome<npy::Reader<Box<dyn Seekable>>> {
    npy::Reader::new(Box::new(Cursor::new(sample::VECTORS)) as Box<dyn Seekable>)
        .map_err(|error| Failure::internal(format!("the bundled vectors: {error}")))
}

/// True if every point of the sample is there; a demo that was stopped left fewer.
fn is_complete(collection: &Collection) -> Outcome<bool> {
    Ok(collection.count()? == vectors()?.header().rows)
}

/// Imports the sample and seals it.
fn import(collection: &Collection) -> Outcome<Duration> {
    let vectors = VectorFile {
        name: String::new(),
        label: "the bundled vectors".to_owned(),
        rows: Rows::Npy(vectors()?),
    };
    let start = Place::default();
    let payload =
        PayloadFile::new("the bundled payload".to_owned(), Box::new(sample::PAYLOAD.as_bytes()), &start);
    let source = Source::new(vec![vectors], Some(payload), Ids::new(sample::ID_FIELD), BATCH, start)?;
    let watch = Stopwatch::start();
    let progress = Progress::new(0, source.rows());
    pipeline::run(collection, Box::new(source), |place, _| {
        progress.reached(place.row);
        Ok(())
    })?;
    progress.finishing("sealing");
    collection.flush()?;
    progress.finishing("building the index");
    collection.wait_indexed()?;
    Ok(watch.elapsed())
}

/// What the queries gave.
struct Results {
    queries: Vec<SampleQuery>,
    hits: Vec<Vec<Hit>>,
    /// Answers found that are among the exact ones, and how many there are.
    right: usize,
    asked: usize,
    latencies: Percentiles,
    searches: usize,
    searching: Duration,
}

impl Results {
    fn measure(collection: &Collection) -> Outcome<Self> {
        let queries = sample::queries();
        let ask = |query: &SampleQuery| -> Outcome<Vec<Hit>> {
            let query = Query::new(&query.vector, ANSWERS).with(With::PAYLOAD);
            Ok(collection.search(&query)?)
        };
        let hits = queries.iter().map(ask).collect::<Outcome<Vec<_>>>()?;
        let mut latencies = Vec::with_capacity(ROUNDS * queries.len());
        let searching = Stopwatch::start();
        for query in (0..ROUNDS).flat_map(|_| &queries) {
            let watch = Stopwatch::start();
            ask(query)?;
            latencies.push(watch.elapsed());
        }
        let (searching, searches) = (searching.elapsed(), latencies.len());
        let is_right =
            |(query, hit): &(&SampleQuery, &Hit)| query.answers.iter().any(|&id| hit.id == PointId::from(id));
        let pairs =
            queries.iter().zip(&hits).flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit)));
        let right = pairs.filter(is_right).count();
        let asked = queries.iter().map(|query| query.answers.len()).sum();
        let latencies =
            Percentiles::new(latencies).ok_or_else(|| Failure::internal("the sample has no queries"))?;
        Ok(Results { queries, hits, right, asked, latencies, searches, searching })
    }

    fn recall(&self) -> f64 {
        self.right as f64 / self.asked as f64
    }

    fn missed(&self) -> usize {
        self.asked - self.right
    }

    /// One query as text with its nearest texts.
    fn show(&self, screen: &Screen, at: usize) -> Outcome<()> {
        let (Some(query), Some(hits)) = (self.queries.get(at), self.hits.get(at)) else { return Ok(()) };
        let room = screen.width().saturating_sub(10);
        screen.say("")?;
        screen.say(&format!("  {}", screen.bold(&shorten(&query.text, room + 8))))?;
        for hit in hits.iter().take(ANSWERS_SHOWN) {
            let text = hit.payload.as_ref().map(summary).unwrap_or_default();
            let score = format!("{:.3}", sample::METRIC.similarity(hit.distance));
            screen.say(&format!("    {}  {}", screen.green(&score), shorten(&text, room)))?;
        }
        Ok(())
    }

    fn figures(&self, screen: &Screen, stats: &Stats) -> Outcome<()> {
        let [p50, p95, p99] = [50, 95, 99].map(|percent| duration(self.latencies.at(percent)));
        let disk = &stats.disk;
        let parts = [
            ("vectors", disk.vectors),
            ("payload", disk.payload),
            ("ids", disk.ids),
            ("indexes", disk.index),
            ("log", disk.log),
            ("other", disk.other),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, size)| *size > 0)
            .map(|(name, size)| format!("{name} {}", bytes(*size)))
            .collect();
        let rate = per_second(self.searches as u64, self.searching);
        let lines = [
            (
                "recall@10",
                format!("{:.3}", self.recall()),
                format!("{} of {} exact answers", thousands(self.right as u64), thousands(self.asked as u64)),
            ),
            (
                "latency p50",
                p50,
                format!("{} searches on one thread, with payloads", thousands(self.searches as u64)),
            ),
            ("latency p95", p95, String::new()),
            ("latency p99", p99, String::new()),
            ("searches/s", thousands(rate as u64), "one thread".to_owned()),
            ("on disk", bytes(disk.total()), parts.join(", ")),
        ];
        screen.say("")?;
        for (label, figure, note) in &lines {
            let line = format!(
                "  {} {:>9}   {}",
                screen.dim(&format!("{label:<12}")),
                screen.bold(&format!("{figure:>9}")),
                screen.dim(note)
            );
            screen.say(line.trim_end())?;
        }
        Ok(())
    }

    fn json(&self, data: &str, imported: Option<Duration>, opened: Duration, stats: &Stats) -> Json {
        let micros = |percent| self.latencies.at(percent).as_secs_f64() * 1e6;
        let queries = SHOWN.iter().filter_map(|&at| Some((self.queries.get(at)?, self.hits.get(at)?)));
        let nearest = |hit: &Hit| {
            json!({
                "id": from_id(&hit.id),
                "score": from_f32(sample::METRIC.similarity(hit.distance)),
                "text": hit.payload.as_ref().map(summary),
            })
        };
        json!({
            "data": data,
            "collection": COLLECTION,
            "reopened": imported.is_none(),
            "points": stats.points,
            "seconds_opened": opened.as_secs_f64(),
            "seconds_imported": imported.map(|time| time.as_secs_f64()),
            "queries": self.queries.len(),
            "searches": self.searches,
            "recall": self.recall(),
            "latency_us": {"p50": micros(50), "p95": micros(95), "p99": micros(99)},
            "searches_per_second": per_second(self.searches as u64, self.searching),
            "bytes_on_disk": stats.disk.total(),
            "shown": queries.map(|(query, hits)| json!({
                "query": query.text,
                "nearest": hits.iter().take(ANSWERS_SHOWN).map(nearest).collect::<Json>(),
            })).collect::<Json>(),
        })
    }
}

fn next_steps(screen: &Screen, place: &str) -> Outcome<()> {
    screen.say("")?;
    screen.say(&screen.dim("  Texts: WordNet 3.0, (c) 2006 Princeton University. Try next:"))?;
    screen.say(&format!("    nearfield search {place} {COLLECTION} --like 58"))?;
    screen.say(&format!("    nearfield stats {place} {COLLECTION}"))
}
