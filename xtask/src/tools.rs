//! `crash`, `bitflip` and `fuzz`: programs of their own, which these tasks build in release and run with the words they got.

use std::path::Path;
use std::process::Command;

use crate::args::{Outcome, failed};
use crate::process::{build, run};

/// (task, package, program).
const TOOLS: &[(&str, &str, &str)] = &[
    ("crash", "nearfield-torture", "crash"),
    ("bitflip", "nearfield-torture", "bitflip"),
    ("fuzz", "nearfield-fuzz", "fuzz"),
];

/// Builds the program of `task` and runs it with `words`.
pub(crate) fn task(root: &Path, task: &str, words: Vec<String>) -> Outcome {
    let Some((_, package, bin)) = TOOLS.iter().find(|(name, ..)| *name == task) else {
        return failed(format!("{task} is no tool"));
    };
    let program = build(root, package, bin, "release")?;
    run(Command::new(program).args(words))
}
