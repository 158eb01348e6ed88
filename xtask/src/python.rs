//! `python`: builds the Python package, puts it into an environment of its own, checks its stubs and runs its tests.
//!
//! The harness of `bench peers` is Python too: its tests are run here.

use std::path::Path;

use crate::args::Outcome;
use crate::process::run;
use crate::venv::Venv;

/// Runs every test that is written in Python.
pub(crate) fn task(root: &Path) -> Outcome {
    let package = root.join("crates/python");
    let venv = Venv::with(root, "python", &package.join("tests/requirements.txt"))?;
    venv.install_nearfield(root, "release")?;
    let pytest = ["-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--quiet", "tests"];
    run(venv.python().current_dir(&package).args(pytest))?;
    let unittest = ["-W", "error", "-m", "unittest", "discover", "--start-directory", "tests"];
    run(venv
        .python()
        .current_dir(root.join("benches/peers"))
        .args(unittest)
        .args(["--top-level-directory", "."]))?;
    run(venv.python().current_dir(&package).args([
        "-m",
        "mypy.stubtest",
        "nearfield",
        "--ignore-missing-stub",
    ]))?;
    let typed = ["tests/typed.py", "tests/typed_database.py"];
    run(venv
        .python()
        .current_dir(&package)
        .args(["-m", "mypy", "--strict", "--no-incremental"])
        .args(typed))?;
    // It would look for the packages beside the first `python` of the path.
    let mut pyright = venv.python();
    let interpreter = pyright.get_program().to_owned();
    run(pyright.current_dir(&package).args(["-m", "pyright", "--pythonpath"]).arg(interpreter).args(typed))
}
