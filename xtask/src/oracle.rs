//! `oracle`: filters beside those of another engine, in a Python environment of their own. Not a part of `ci`: it needs a package of strangers.

use std::path::Path;

use crate::args::Outcome;
use crate::process::{build, run};
use crate::venv::Venv;

/// Builds the command-line program and compares.
pub(crate) fn task(root: &Path, words: Vec<String>) -> Outcome {
    let folder = root.join("xtask/oracle");
    let venv = Venv::with(root, "oracle", &folder.join("requirements.txt"))?;
    let program = build(root, "nearfield-cli", "nearfield", "release")?;
    run(venv.python().arg(&folder).arg("--program").arg(program).args(words))
}
