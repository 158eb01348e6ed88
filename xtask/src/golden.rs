//! `golden`: rewrites the numbers that tests compare with, and shows what changed.
//!
//! A golden file lies in a folder called `golden`. The test that compares with it has `golden` in its name and writes
//! the file anew where the environment variable `NEARFIELD_GOLDEN` is `overwrite`. The change is reviewed like code.

use std::path::Path;
use std::process::Command;

use crate::args::{Args, Outcome};
use crate::process::{cargo, run};

const FILES: &str = ":(glob)**/golden/**";

/// Runs the golden tests of the workspace, or of one package, in writing mode.
pub(crate) fn task(root: &Path, mut args: Args) -> Outcome {
    let package = args.word();
    args.finish()?;
    let mut tests = cargo(root, ["test", "--quiet"]);
    match &package {
        Some(package) => tests.args(["--package", package]),
        None => tests.arg("--workspace"),
    };
    run(tests.args(["--lib", "--bins", "--tests", "golden"]).env("NEARFIELD_GOLDEN", "overwrite"))?;
    run(Command::new("git").current_dir(root).args([
        "status",
        "--short",
        "--untracked-files=all",
        "--",
        FILES,
    ]))?;
    run(Command::new("git").current_dir(root).args(["--no-pager", "diff", "--stat", "--", FILES]))
}
