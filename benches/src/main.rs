//! `nearfield-bench NAME --data DIR`: measures the database on a full data set and prints a table. `cargo xtask bench` builds and runs it.
//! `nearfield-bench generate ROWS DIM SEED OUT` makes a set for `index`.
//!
//! **It refuses** to time an answer it has not checked, to compare figures of different runs or machines, and to be part of CI:
//! a figure stands beside what the machine itself allows, measured in the same process.
//!
//! # Invariants
//!
//! 1. Data are read and points are made before a clock starts; a clock of an import stops after a clean close and a verified reopen.
//! 2. Every figure that a goal names is printed; a goal without its figure is a miss.
//! 3. What is written lies in one folder, removed at the end also when a benchmark fails.
//!
//! # Reading order
//!
//! `report`, `goals`; `npy`, `dataset`; then the benchmarks `flat`, `import`, `open`, `snapshots`, `filters`, `tenants`, `segments` with what they share, `place`, `stored`, `disk`;
//! then `index`, which measures the index alone, with `turnover` and `gates`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the clock and the disk beside the engine's own seam"
)]

mod dataset;
mod disk;
mod filters;
mod flat;
mod goals;
mod import;
mod index;
mod machine;
mod npy;
mod open;
mod place;
mod report;
mod segments;
mod singles;
mod snapshots;
mod stored;
mod tenants;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dataset::DataSet;
use goals::Goals;
use place::Place;
use report::Report;

/// Anything that ends a benchmark early.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

type Bench = fn(&Options, &Place, &mut Report) -> Result;

const BENCHES: &[(&str, Bench)] = &[
    ("flat", |options, place, report| flat::run(&DataSet::read(&options.data)?, place, report)),
    ("import", |options, place, report| import::run(&DataSet::read(&options.data)?, place, report)),
    ("open", |options, place, report| open::run(&DataSet::read(&options.data)?, place, report)),
    ("snapshots", |options, place, report| snapshots::run(&DataSet::read(&options.data)?, place, report)),
    ("filters", |options, place, report| filters::run(&DataSet::read(&options.data)?, place, report)),
    ("tenants", |options, place, report| tenants::run(&DataSet::read(&options.data)?, place, report)),
    (SEGMENTS, |options, place, report| {
        segments::run(&DataSet::read(&options.data)?, &options.parts, place, report)
    }),
    (index::INDEX, |options, place, report| index::run(&options.data, &options.index, place, report)),
    (index::TURNOVER, |options, place, report| {
        index::turnover::run(&options.data, &options.index, place, report)
    }),
    (index::GATES, |options, _, report| index::gates::run(&options.data, &options.index, report)),
];

/// The benchmark whose parts can be chosen.
const SEGMENTS: &str = "segments";

/// The command line. `cargo xtask bench` writes it; its own errors are friendlier than these.
struct Options {
    name: String,
    bench: Bench,
    data: PathBuf,
    dir: Option<PathBuf>,
    json: Option<PathBuf>,
    goals: PathBuf,
    check: bool,
    /// Parts of `segments`; empty for all.
    parts: Vec<String>,
    index: index::Settings,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match helper(&words) {
        Some(done) => done.map(|()| true),
        None => options(words.into_iter()).and_then(|options| run(&options)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is no benchmark: making a set, and the processes that `index` and `segments` start. None if the words ask for neither.
fn helper(words: &[String]) -> Option<Result> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["generate", rows, dim, seed, out] => Some(generate(rows, dim, seed, Path::new(out))),
        ["budget", path, data, rows, width] => Some(budget(Path::new(path), Path::new(data), rows, width)),
        [segments::MEASURE, path] => Some(segments::measure_collections(Path::new(path))),
        ["serve", path, queries] => Some(index::serve::run(Path::new(path), Path::new(queries))),
        _ => None,
    }
}

fn budget(path: &Path, data: &Path, rows: &str, width: &str) -> Result {
    segments::run_budget(path, data, rows.parse()?, width.parse()?)
}

fn generate(rows: &str, dim: &str, seed: &str, out: &Path) -> Result {
    let whole = |name: &str, word: &str| {
        word.replace('_', "")
            .parse::<u64>()
            .map_err(|_| format!("{name} is {word:?}, it must be a whole number"))
    };
    let (rows, dim) = (usize::try_from(whole("ROWS", rows)?)?, usize::try_from(whole("DIM", dim)?)?);
    index::generate(rows, dim, whole("SEED", seed)?, out)
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let name = words.next().unwrap_or_default();
    let Some((_, bench)) = BENCHES.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no benchmark {name:?}; there are {}", names.join(", ")).into());
    };
    let goals = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/goals.toml"));
    let mut options = Options {
        name,
        bench: *bench,
        data: PathBuf::new(),
        dir: None,
        json: None,
        goals,
        check: false,
        parts: Vec::new(),
        index: index::Settings::default(),
    };
    while let Some(word) = words.next() {
        if word == "--check" {
            options.check = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} wants a value after it"))?;
        match word.as_str() {
            "--data" => options.data = PathBuf::from(value),
            "--dir" => options.dir = Some(PathBuf::from(value)),
            "--json" => options.json = Some(PathBuf::from(value)),
            "--goals" => options.goals = PathBuf::from(value),
            "--parts" if options.name == SEGMENTS => {
                options.parts = value.split(',').map(str::to_owned).collect();
            }
            _ if options.index.take(&options.name, &word, &value)? => {}
            _ => return Err(format!("{word:?} is not understood").into()),
        }
    }
    if options.data.as_os_str().is_empty() {
        return Err("--data DIR is missing".into());
    }
    Ok(options)
}

/// Runs the benchmark; false if `--check` found a miss.
fn run(options: &Options) -> Result<bool> {
    let goals = Goals::read(&options.goals)?;
    let place = Place::new(options.dir.as_deref())?;
    let mut report = Report::new(&options.name);
    (options.bench)(options, &place, &mut report)?;
    drop(place);
    let verdicts = goals.judge(&report);
    print!("{}", report.table());
    for verdict in &verdicts {
        println!("{verdict}");
    }
    if let Some(path) = &options.json {
        std::fs::write(path, report.json(&machine::facts(), &verdicts))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let missed = verdicts.iter().filter(|verdict| verdict.is_miss()).count();
    if options.check && missed > 0 {
        println!("check: {missed} of {} goals missed", verdicts.len());
    }
    Ok(!options.check || missed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        options(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_understood_or_refused() {
        let options = parse("flat --data set --check --json out.json").unwrap();
        assert_eq!(
            (options.name.as_str(), options.check, options.json),
            ("flat", true, Some("out.json".into()))
        );
        assert!(parse("index --data set --m 24 --quantization none").is_ok());
        assert_eq!(parse("segments --data set --parts load,merge").unwrap().parts, ["load", "merge"]);
        assert!(parse("turnover --data set --rows 20000 --turnovers 2").is_ok());
        for bad in [
            "",
            "flat",
            "flat --data x --m 24",
            "index --data x --m many",
            "index --data x --rows 9",
            "peers --data x",
            "flat --data",
            "flat --data x --fast 1",
            "flat --data x --parts load",
            "flat x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_goal_belongs_to_a_benchmark() {
        let goals = Goals::read(concat!(env!("CARGO_MANIFEST_DIR"), "/goals.toml").as_ref()).unwrap();
        for bench in goals.benches() {
            assert!(BENCHES.iter().any(|(name, _)| *name == bench), "{bench}");
        }
        for (name, _) in BENCHES {
            assert!(goals.benches().any(|bench| bench == *name), "{name} has no goal");
        }
    }
}
