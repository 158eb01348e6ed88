//! `cargo xtask`: every task of the project, one word each. `cargo xtask help` lists them.
//!
//! **It refuses** to know the database: what writes, kills, damages or measures it lives in programs of its own (`nearfield-torture`,
//! `nearfield-fuzz`, `nearfield-benches`), which the tasks here only build and run. It also refuses to be heavy: it is the first
//! thing that is compiled on a clean clone, so it takes the standard library and one TOML parser.
//!
//! # Invariants
//!
//! 1. A task that fails says why on stderr and exits with 1; wrong words on the command line exit with 2.
//! 2. `tidy` is a pure function of the files of the repository; its test here runs it on the repository itself.
//! 3. `ci` is what CI runs, all of it: `.ci/run` calls it and does nothing else.
//!
//! # Reading order
//!
//! `args`, `process`, `tidy`, `ci`, then the small tasks `bench`, `tools`, `golden`, and `venv` with `python` and `oracle`.
#![expect(
    clippy::disallowed_methods,
    reason = "a developer's tool reads the repository and times its steps; the platform seam is for the engine"
)]

mod args;
mod bench;
mod ci;
mod golden;
mod oracle;
mod process;
mod python;
mod tidy;
mod tools;
mod venv;

use std::path::Path;
use std::process::ExitCode;

use args::{Args, Failure};

const HELP: &str = "\
cargo xtask TASK

  tidy                          check the rules that no compiler checks (also: cargo test -p xtask)
       [--formats]              print the format constants as docs/format.md must hold them
  ci                            everything CI runs, in its order; stops at the first failure
  bench NAME --data DIR         measure on a full set and print a table (NAME: flat, import, open, filters, tenants, segments, kernels, and those below)
        [--json FILE]           also write the figures as JSON
        [--check]               fail where a figure misses benches/goals.toml
        [--dir DIR]             where the database is written (default: the build's target folder)
        [--parts A,B]           of segments: load, merge, stream, churn, rebuild, collections, budget (default: all)
  bench index --generate ROWS DIM [--seed S]
                              the index alone, on a set made from a seed (kept in the target folder)
        [--m N] [--ef-construction N] [--quantization KIND] [--build-threads N]
        [--beside-hnswlib]      then hnswlib on the same set, in an environment of its own
  bench turnover|gates --data DIR | --generate ROWS DIM [--seed S]
                              what is left of recall after every row was exchanged many times; what codes cost a graph
        [--rows N] [--turnovers N] [and of the above --m, --ef-construction, --build-threads; turnover: --quantization]
  bench peers --data DIR | --generate ROWS DIM [--seed S] | --second
                              Nearfield beside other engines: table, plot and JSON
        [--peers A,B] [--all]   which engines (--list instead prints their names)
        [--databases]           the databases: search, filters, writes, opening
        [--rows N]              the first N rows of the set alone
        [--out DIR] [--rounds N] [--stages A,B] [--yardstick QPS95,QPS99]
  python                        build the Python package, run its tests and those of the harness of bench peers
  oracle [ARGS]                 filters beside those of Qdrant's embedded engine: random documents, which of them pass (oracle --help)
  crash [ARGS]                  kill a writing process again and again, check what comes back (crash --help)
  bitflip [ARGS]                flip bits in a closed database and a saved index, check that each flip is noticed (bitflip --help)
  fuzz smoke|soak|run TARGET    feed the decoders hostile bytes (fuzz --help)
  golden [PACKAGE]              rewrite the golden numbers and show what changed
  help                          this text

The data set of `bench` may also be named by the environment variable NEARFIELD_DATA.
";

fn main() -> ExitCode {
    let mut args = Args::new(std::env::args().skip(1));
    let task = args.word().unwrap_or_else(|| "help".to_owned());
    let done = match task.as_str() {
        "tidy" => {
            let task = if args.flag("--formats") { tidy::print_formats } else { tidy::task };
            args.finish().and_then(|()| task(root()))
        }
        "ci" => args.finish().and_then(|()| ci::task(root())),
        "bench" => bench::task(root(), args),
        "crash" | "bitflip" | "fuzz" => tools::task(root(), &task, args.rest()),
        "golden" => golden::task(root(), args),
        "python" => args.finish().and_then(|()| python::task(root())),
        "oracle" => oracle::task(root(), args.rest()),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::Usage(format!("there is no task {other:?}\n\n{HELP}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// The root of the repository: the folder above this package.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
