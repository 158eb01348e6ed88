//! `index`: the index alone over a set of vectors: recall against rate, on one thread and on two, building, memory, files, opening.
//!
//! What is measured is what a user serves: the index is built, saved, dropped, and searched as a mapped file. Memory and the first opening are
//! those of a fresh process, which this program starts with `serve`.
//!
//! Beside it two benchmarks that count and do not time: `turnover`, what is left of recall after many merges, and `gates`, what walking and
//! building on codes costs against doing so on the vectors themselves.

pub(crate) mod gates;
pub(crate) mod generate;
pub(crate) mod serve;
mod set;
mod sweep;
mod truth;
pub(crate) mod turnover;

use std::path::Path;
use std::time::Instant;

use nearfield::{Index, IndexOptions, Metric, Quantization};
use serde_json::json;

use crate::Result;
use crate::disk::median;
use crate::place::Place;
use crate::report::Report;
use generate::Recipe;
use set::Set;

/// How many true neighbours are kept of each query of a generated set.
const TRUTH: usize = 100;
const QUERIES: usize = 1_000;
const OPENINGS: usize = 15;

/// The benchmarks of this module.
pub(crate) const INDEX: &str = "index";
pub(crate) const TURNOVER: &str = "turnover";
pub(crate) const GATES: &str = "gates";

/// How the index is made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    options: IndexOptions,
    /// 0 for all cores.
    build_threads: usize,
    /// Only so many rows of the set, of all benchmarks but `index`.
    rows: Option<usize>,
    /// How often `turnover` exchanges the whole set.
    turnovers: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { options: IndexOptions::new(Metric::Cosine), build_threads: 0, rows: None, turnovers: 5 }
    }
}

impl Settings {
    /// Takes a word of the command line and its value; false if the word is none of the benchmark `bench`.
    pub(crate) fn take(&mut self, bench: &str, word: &str, value: &str) -> Result<bool> {
        let number =
            || value.parse::<u32>().map_err(|_| format!("{word} is {value:?}, it must be a whole number"));
        match (bench, word) {
            (INDEX | TURNOVER | GATES, "--m") => self.options.m = number()?,
            (INDEX | TURNOVER | GATES, "--ef-construction") => self.options.ef_construction = number()?,
            (INDEX | TURNOVER | GATES, "--build-threads") => self.build_threads = number()? as usize,
            (INDEX | TURNOVER, "--quantization") => self.options.quantization = quantization(value)?,
            (TURNOVER | GATES, "--rows") => self.rows = Some(number()? as usize),
            (TURNOVER, "--turnovers") => self.turnovers = number()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The set in a folder, or the first rows of it.
    fn set(&self, data: &Path) -> Result<Set> {
        let set = Set::read(data)?;
        match self.rows {
            Some(rows) => set.first(rows, TRUTH, self.threads()),
            None => Ok(set),
        }
    }

    fn threads(&self) -> usize {
        match self.build_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

fn quantization(name: &str) -> Result<Quantization> {
    match name {
        "auto" => Ok(Quantization::Auto),
        "rotated" => Ok(Quantization::Rotated),
        "scalar" => Ok(Quantization::Scalar { quantile: 0.99 }),
        "none" => Ok(Quantization::None),
        _ => Err(format!("--quantization is {name:?}, it must be auto, rotated, scalar or none").into()),
    }
}

/// Runs the benchmark on the set in `data`.
pub(crate) fn run(data: &Path, settings: &Settings, place: &Place, report: &mut Report) -> Result {
    let set = Set::read(data)?;
    let dim = u32::try_from(set.base.width)?;
    let index = Index::new(dim, &settings.options)?;
    let began = Instant::now();
    index.add(None, &set.base.numbers, settings.build_threads)?;
    let built = began.elapsed().as_secs_f64();
    let path = place.join("index");
    let began = Instant::now();
    index.save(&path)?;
    let saved = began.elapsed().as_secs_f64();
    drop(index);

    let options = &settings.options;
    let note = format!("of {dim} dimensions, m {}, ef_construction {}", options.m, options.ef_construction);
    report.add("points", set.base.rows as f64, "", note);
    let threads = match settings.build_threads {
        0 => "all cores".to_owned(),
        threads => format!("{threads} threads"),
    };
    report.add("build_s", built, "s", format!("all rows in one call, {threads}"));
    report.add("build_per_s", set.base.rows as f64 / built, "/s", "rows by that time");
    report.add("save_s", saved, "s", "writing it");
    add_files(&path, report)?;
    add_serving(&path, data, report)?;
    add_opening(&path, set.base.rows as u64, report)?;
    let index = Index::view(&path)?;
    sweep::run(&index, &set, report)
}

/// Makes a set of the recipe with exact answers in a folder.
pub(crate) fn generate(rows: usize, dim: usize, seed: u64, folder: &Path) -> Result {
    if rows == 0
        || dim == 0
        || rows > nearfield::limits::SEGMENT_ROWS_MAX
        || dim > nearfield::limits::DIMENSION_MAX
    {
        return Err(format!(
            "{rows} rows of {dim} numbers: both must be above 0 and within the engine's limits"
        )
        .into());
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (base, queries) = Recipe { rows, queries: QUERIES, dim, seed }.make(threads);
    let truth = truth::nearest(&base, &queries, TRUTH, threads);
    Set { base, queries, truth }.write(folder)
}

fn add_files(path: &Path, report: &mut Report) -> Result {
    let files = set::files(path)?;
    let list: Vec<String> =
        files.iter().map(|(name, bytes)| format!("{name} {:.1}", *bytes as f64 / 1e6)).collect();
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    report.add("disk_mb", total as f64 / 1e6, "MB", list.join(", "));
    report.attach("files", json!(files.iter().map(|(name, bytes)| json!([name, bytes])).collect::<Vec<_>>()));
    Ok(())
}

fn add_serving(path: &Path, data: &Path, report: &mut Report) -> Result {
    let served = serve::in_a_process(path, &data.join("queries.npy"))?;
    let part = |name: &str| served[name].as_f64().unwrap_or(f64::NAN);
    let note = format!(
        "anonymous memory and pages of its files, less the bare process, after all queries; {:.1} MB of it files",
        part("files_mb")
    );
    report.add("resident_mb", part("anonymous_mb") + part("files_mb"), "MB", note);
    report.add(
        "raw_mb",
        part("raw_mb"),
        "MB",
        "pages of the raw rows beside that, given back when memory is short",
    );
    report.add("open_first_ms", part("open_ms"), "ms", "opening it in a fresh process");
    Ok(())
}

fn add_opening(path: &Path, count: u64, report: &mut Report) -> Result {
    let mut times = Vec::new();
    for _ in 0..OPENINGS {
        let began = Instant::now();
        let index = Index::view(path)?;
        times.push(began.elapsed());
        if index.len() != count {
            return Err(format!("{} points after opening, {count} were saved", index.len()).into());
        }
    }
    let note = format!("mapping it, median of {OPENINGS}");
    report.add("open_ms", median(&times).as_secs_f64() * 1e3, "ms", note);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_or_refused() {
        let mut settings = Settings::default();
        assert!(settings.take(INDEX, "--m", "24").unwrap());
        assert!(settings.take(TURNOVER, "--quantization", "none").unwrap());
        assert_eq!((settings.options.m, settings.options.quantization), (24, Quantization::None));
        for (bench, word) in
            [(INDEX, "--fast"), (INDEX, "--rows"), (GATES, "--quantization"), ("flat", "--m")]
        {
            assert!(!settings.take(bench, word, "1").unwrap(), "{bench} {word}");
        }
        assert!(settings.take(INDEX, "--m", "many").is_err());
        assert!(settings.take(INDEX, "--quantization", "pq").is_err());
    }

    #[test]
    fn a_generated_set_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        generate(1_200, 32, 3, folder.path()).unwrap();
        let set = Set::read(folder.path()).unwrap();
        assert_eq!((set.base.rows, set.queries.rows, set.truth.width), (1_200, QUERIES, TRUTH));
        let index = Index::new(32, &Settings::default().options).unwrap();
        index.add(None, &set.base.numbers, 1).unwrap();
        let mut report = Report::new("index");
        sweep::measure(
            &index,
            &set,
            sweep::Load { efs: &[10, 100], passes: 1, long_pass_s: 0.0, long_passes: 1 },
            &mut report,
        )
        .unwrap();
        assert!(report.value("recall_max").unwrap() > 0.9);
        assert!(report.value("two_over_one").unwrap() > 0.0);
        assert!(generate(0, 8, 1, folder.path()).is_err());
    }
}
