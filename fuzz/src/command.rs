//! The words of the program `fuzz`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::smoke::{self, Plan};
use crate::{TARGETS, corpus};

/// Feed every decoder and parser hostile bytes.
#[derive(Debug, Parser)]
#[command(name = "fuzz")]
struct Words {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Replay the corpus, then run each target under libFuzzer for a short time (with a nightly toolchain; else say so)
    Smoke(Fuzzing<20>),
    /// The same for longer; what was found useful is kept for the next time
    Soak(Fuzzing<1200>),
    /// Run one target: under libFuzzer, or on the files named
    Run {
        /// The target
        #[arg(value_parser = target)]
        target: String,
        /// Inputs to run once each, on this toolchain, instead of fuzzing
        files: Vec<PathBuf>,
        /// Seconds under libFuzzer
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Replay the corpus and mutations of it, on this toolchain
    Replay {
        /// Mutations per target
        #[arg(long, default_value_t = 10_000)]
        mutations: u64,
        /// Where the mutations come from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only these targets
        #[arg(value_parser = target)]
        targets: Vec<String>,
    },
    /// Write the seeds of the corpus anew, after a change of a format
    Seeds,
    /// List the targets
    List,
}

#[derive(Debug, clap::Args)]
struct Fuzzing<const SECONDS: u64> {
    /// Seconds per target
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Targets that run at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only these targets
    #[arg(value_parser = target)]
    targets: Vec<String>,
}

impl<const SECONDS: u64> Fuzzing<SECONDS> {
    fn plan(self) -> Plan {
        Plan { seconds: self.seconds, jobs: self.jobs, targets: or_all(self.targets) }
    }
}

fn target(name: &str) -> Result<String, String> {
    match crate::target(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(format!("it must be one of {}", or_all(Vec::new()).join(", "))),
    }
}

fn or_all(targets: Vec<String>) -> Vec<String> {
    if targets.is_empty() { TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect() } else { targets }
}

/// Does what the command line says; answers the exit code: 0 if nothing broke, 1 if something did, 2 for wrong words.
pub fn main() -> u8 {
    let words = match Words::try_parse() {
        Ok(words) => words,
        Err(error) => {
            // Help comes this way too; a closed output is no reason to fail.
            let _closed = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match done(words.task) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("error: {why}");
            1
        }
    }
}

fn done(task: Task) -> Result<(), String> {
    match task {
        Task::Smoke(words) => smoke::run(&words.plan()),
        Task::Soak(words) => smoke::run(&words.plan()),
        Task::Run { target, files, seconds } if files.is_empty() => {
            smoke::run(&Plan { seconds, jobs: 1, targets: vec![target] })
        }
        Task::Run { target, files, .. } => {
            let run = crate::target(&target).ok_or("the target was checked before")?;
            for file in files {
                let bytes =
                    std::fs::read(&file).map_err(|error| format!("reading {}: {error}", file.display()))?;
                run(&bytes);
                println!("{target} came back from {}", file.display());
            }
            Ok(())
        }
        Task::Replay { mutations, seed, targets } => smoke::replay(&or_all(targets), mutations, seed),
        Task::Seeds => {
            let (files, bytes) =
                corpus::write_seeds().map_err(|error| format!("writing the seeds: {error}"))?;
            println!("{files} seeds of {bytes} bytes in {}", corpus::folder().display());
            Ok(())
        }
        Task::List => {
            TARGETS.iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
    }
}
