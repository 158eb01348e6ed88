//! The words of the program `crash`.

use std::path::PathBuf;

use clap::Parser;
use serde_json::{Map, Value};

use crate::child;
use crate::faults;
use crate::images;
use crate::kills;
use crate::report::Report;
use crate::sabotage::{self, Lie};
use crate::watch::Target;

/// Kill a writing database again and again, cut the power of a disk in memory, let it fail at every call; check what comes back.
///
/// Without any of --kills, --images, --faults and --sabotage all four are done, in the size that changes are checked with.
#[derive(Debug, Parser)]
#[command(name = "crash")]
struct Words {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    /// Kill so many processes while they write
    #[arg(long, value_name = "COUNT")]
    kills: Option<u64>,
    /// Open so many images of a disk after a power cut
    #[arg(long, value_name = "COUNT")]
    images: Option<u64>,
    /// Let every call of so many short runs fail in every way
    #[arg(long, value_name = "COUNT")]
    faults: Option<u64>,
    /// Break the engine on purpose and see whether it is noticed: a name, or `all`. With --kills or --images these are done with
    /// the broken engine
    #[arg(long, value_name = "NAME", value_parser = lies)]
    sabotage: Option<Lies>,
    /// Where all randomness comes from
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Also write all figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where databases to be killed lie, instead of the folder for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Threads for images and faults, instead of one a core
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
}

#[derive(Debug, clap::Subcommand)]
enum Hidden {
    /// What is killed
    #[command(hide = true)]
    Child {
        dir: PathBuf,
        note: PathBuf,
        world: u64,
        session: u64,
        #[arg(long)]
        target: Option<Target>,
        #[arg(long, value_parser = lies)]
        sabotage: Option<Lies>,
    },
}

#[derive(Clone, Debug)]
struct Lies(Vec<Lie>);

fn lies(name: &str) -> Result<Lies, String> {
    if name == "all" {
        return Ok(Lies(Lie::ALL.to_vec()));
    }
    let known = || Lie::ALL.map(Lie::name).join(", ");
    Lie::named(name).map(|lie| Lies(vec![lie])).ok_or_else(|| format!("it must be all or one of {}", known()))
}

const KILLS: u64 = 300;
const IMAGES: u64 = 20_000;
const FAULTS: u64 = 10;
/// Images and kills within which a sabotage must be noticed.
const SABOTAGE_IMAGES: u64 = 8_000;
const SABOTAGE_KILLS: u64 = 40;

/// Does what the command line says; answers the exit code: 0 if every promise was kept, 1 if not, 2 for wrong words.
pub fn main() -> u8 {
    let words = match Words::try_parse() {
        Ok(words) => words,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match done(words) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(why) => {
            eprintln!("error: {why}");
            1
        }
    }
}

fn done(words: Words) -> Result<bool, String> {
    if let Some(Hidden::Child { dir, note, world, session, target, sabotage }) = words.hidden {
        let lie = sabotage.and_then(|lies| lies.0.first().copied());
        return child::run(&child::Job { dir, note, world, session, target, lie }).map(|()| true);
    }
    // Runs should differ, and the seed is printed.
    let seed = words
        .seed
        .unwrap_or_else(|| nearfield_platform::Entropy::u64(&nearfield_platform::SystemEntropy) >> 32);
    println!("seed {seed}\n");
    let mut reports = Vec::new();
    let mut add = |name: &str, report: Report| {
        println!("{report}");
        reports.push((name.to_owned(), report));
    };
    let threads =
        words.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let all =
        words.kills.is_none() && words.images.is_none() && words.faults.is_none() && words.sabotage.is_none();
    let lies = words.sabotage.map(|lies| lies.0).unwrap_or_default();
    // With something to be done broken, it is done broken, and what is found is shown.
    let lie = lies.first().copied().filter(|_| words.kills.is_some() || words.images.is_some());
    if let Some(kills) = words.kills.or(all.then_some(KILLS)) {
        let plan = kills::Plan { kills, seed, dir: words.dir.clone(), lie, keep: true };
        add("kills", kills::run(&plan)?);
    }
    if let Some(images) = words.images.or(all.then_some(IMAGES)) {
        add("images", images::run(&images::Plan { images, seed, threads, lie }));
    }
    if let Some(workloads) = words.faults.or(all.then_some(FAULTS)) {
        add("faults", faults::run(&faults::Plan { workloads, seed, threads }));
    }
    if lie.is_none() && (all || !lies.is_empty()) {
        let lies = if all { Lie::ALL.to_vec() } else { lies };
        add("sabotage", sabotage::run(&lies, seed, SABOTAGE_IMAGES, SABOTAGE_KILLS)?);
    }
    if let Some(path) = &words.json {
        let mut object: Map<String, Value> =
            reports.iter().map(|(name, report)| (name.clone(), report.json())).collect();
        object.insert("seed".to_owned(), seed.into());
        let text = serde_json::to_string_pretty(&Value::from(object)).map_err(|e| e.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    }
    Ok(reports.iter().all(|(_, report)| report.passed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_consistent() {
        <Words as clap::CommandFactory>::command().debug_assert();
        assert!(Words::try_parse_from(["crash", "--sabotage", "nothing"]).is_err());
        let words = Words::try_parse_from(["crash", "--kills", "3", "--sabotage", "all"]).unwrap();
        assert_eq!((words.kills, words.sabotage.map(|lies| lies.0.len())), (Some(3), Some(5)));
    }
}
