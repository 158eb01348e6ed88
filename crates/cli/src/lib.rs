//! The `nearfield` command line: demo, import, search, get, count, facet, delete, index, collections, stats, flush, optimize, rebuild, tasks,
//! snapshot, export, archive, clone and dump on a database in a directory.
//!
//! Should you use this crate? To run commands, use the binary; to build on Nearfield, use the crate `nearfield`. This library exists so
//! that the readers of foreign files ([`npy`], [`jsonl`], [`json`]) and the bundled [`sample`] can be tested, fuzzed and benchmarked.
//!
//! **It refuses** to touch a database other than through the `nearfield` crate, to know its files, to speak to a network, and to
//! guess: input that breaks a limit is an error that names file, line, field, value and limit.
//!
//! ```
//! use std::io::Cursor;
//!
//! use nearfield_cli::{json, npy, sample};
//!
//! let mut rows = npy::Reader::new(Cursor::new(sample::VECTORS))?;
//! assert_eq!((rows.header().rows, rows.header().dimension), (2_000, 384));
//! let first = rows.next_row()?.map(|row| row.len());
//! assert_eq!(first, Some(384));
//!
//! let payload = json::parse_object(sample::PAYLOAD.lines().next().unwrap_or("{}"))?;
//! assert_eq!(payload.get("lemma"), Some(&"cornsilk".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//!
//! 1. Exit status 0 means done, 1 failed with one message on standard error, 2 the command line was not understood.
//! 2. With `--json`, standard output holds exactly one JSON object if the status is 0, and the last line of standard error is one if it is 1.
//! 3. An import's checkpoint never passes what survives power loss; see `import`.
//! 4. Nothing is allocated from a number read from a file before it was compared with a limit or the file's length.
//!
//! # Concurrency
//!
//! An import reads and parses on one thread and writes on another; everything else is one thread. Commands that write to one database exclude
//! one another by the database's own lock; those that only read take no lock and may run beside one of them, and beside one another.
//!
//! # Reading order
//!
//! `args` (what can be typed), `import` with `import/source`, `import/pipeline`, `import/checkpoint`; then `demo`, `search`, `get`,
//! `count`, `facet`, `delete`, `index`, `collections`, `stats`, `maintain`, `tasks`; `snapshot`, `export`, `archive`; `filter`, `output` and
//! `failure` say how people and scripts are answered.

mod archive;
mod args;
mod bar;
mod collections;
mod count;
mod database;
mod delete;
mod demo;
mod explain;
mod export;
mod facet;
mod failure;
mod files;
mod filter;
mod get;
mod import;
mod index;
pub mod json;
pub mod jsonl;
mod maintain;
pub mod npy;
mod output;
mod percentiles;
pub mod sample;
mod search;
mod snapshot;
mod stats;
mod tasks;
mod timing;
pub mod vecs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::maintain::Chore;
use crate::output::Screen;

/// Runs one command line, the program's name first, and returns its exit status.
///
/// # Errors
///
/// None are returned: they are printed on standard error and become the status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed output is no reason to fail.
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let screen = Screen::new(cli.json);
    let outcome = match cli.command {
        Command::Demo(command) => demo::run(&screen, &command),
        Command::Import(command) => import::run(&screen, &command),
        Command::Search(command) => search::run(&screen, &command),
        Command::Get(command) => get::run(&screen, &command),
        Command::Count(command) => count::run(&screen, &command),
        Command::Facet(command) => facet::run(&screen, &command),
        Command::Delete(command) => delete::run(&screen, &command),
        Command::Index(command) => index::run(&screen, &command),
        Command::Collections(command) => collections::run(&screen, &command),
        Command::Stats(command) => stats::run(&screen, &command),
        Command::Flush(command) => maintain::run(&screen, &command, Chore::Flush),
        Command::Optimize(command) => maintain::run(&screen, &command, Chore::Optimize),
        Command::Rebuild(command) => maintain::run(&screen, &command, Chore::Rebuild),
        Command::Tasks(command) => tasks::run(&screen, &command),
        Command::Snapshot(command) => snapshot::run(&screen, &command),
        Command::Export(command) => export::run(&screen, &command),
        Command::Archive(command) => archive::run(&screen, &command),
        Command::Clone(command) => snapshot::run_clone(&screen, &command),
        Command::Dump(command) => snapshot::run_dump(&screen, &command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_failure(&failure, cli.json);
            ExitCode::FAILURE
        }
    }
}
