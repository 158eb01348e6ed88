//! Python environments of the tasks, below the build's target folder: made when missing, filled anew when what they must hold has changed.
//!
//! Nothing of the system's Python is touched; removing the target folder removes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::{Outcome, failed};
use crate::process::{output, run, target_dir};

/// The package of the Python crate, whose wheel is put in by [`Venv::install_nearfield`].
const CRATE: &str = "crates/python";

/// An environment with what a requirements file names.
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment `name`, with the packages of `requirements`.
    pub(crate) fn with(root: &Path, name: &str, requirements: &Path) -> Outcome<Venv> {
        let venv = Venv { folder: target_dir(root).join("venvs").join(name) };
        let wanted = contents(requirements)?;
        let stamp = venv.folder.join("requirements.installed");
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(venv);
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv.folder))?;
        run(venv.pip().arg("install").arg("--requirement").arg(requirements))?;
        match std::fs::write(&stamp, wanted) {
            Ok(()) => Ok(venv),
            Err(error) => failed(format!("{}: {error}", stamp.display())),
        }
    }

    /// Builds the package `nearfield` in a profile of cargo and puts it in.
    pub(crate) fn install_nearfield(&self, root: &Path, profile: &str) -> Outcome {
        let target = target_dir(root);
        let wheels = target.join("wheels").join(profile);
        // A wheel of another version would be found too.
        let _ = std::fs::remove_dir_all(&wheels);
        let mut maturin = self.python();
        maturin.args(["-m", "maturin", "build", "--locked", "--profile", profile, "--manifest-path"]);
        maturin.arg(root.join(CRATE).join("Cargo.toml"));
        maturin.arg("--target-dir").arg(&target).arg("--out").arg(&wheels);
        run(&mut maturin)?;
        let mut found = std::fs::read_dir(&wheels).into_iter().flatten().flatten().map(|entry| entry.path());
        let Some(wheel) = found.find(|path| path.extension().is_some_and(|end| end == "whl")) else {
            return failed(format!("maturin left no wheel in {}", wheels.display()));
        };
        run(self.pip().args(["install", "--force-reinstall", "--no-deps"]).arg(wheel))
    }

    /// The interpreter; it leaves no compiled files beside the sources.
    pub(crate) fn python(&self) -> Command {
        let program = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        let mut python = Command::new(self.folder.join(program));
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        python
    }

    fn pip(&self) -> Command {
        let mut pip = self.python();
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        pip
    }
}

/// A requirements file with those it names, and the interpreter that would be taken: what an environment depends on.
fn contents(requirements: &Path) -> Outcome<String> {
    let version = output(Command::new("python3").arg("--version")).map_err(|failure| {
        crate::args::Failure::Failed(format!("a Python of 3.10 or later is needed: {failure}"))
    })?;
    Ok(format!("# {version}{}", lines_of(requirements)?))
}

fn lines_of(requirements: &Path) -> Outcome<String> {
    let Ok(text) = std::fs::read_to_string(requirements) else {
        return failed(format!("{} cannot be read", requirements.display()));
    };
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_prefix("-r ") {
            Some(other) => whole += &lines_of(&requirements.with_file_name(other.trim()))?,
            None => whole += &format!("{line}\n"),
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirements_file_stands_for_those_it_names() {
        let folder = crate::root().join("benches/peers");
        let usual = lines_of(&folder.join("requirements.txt")).unwrap();
        let all = lines_of(&folder.join("requirements-all.txt")).unwrap();
        assert!(usual.contains("hnswlib==") && all.contains(&usual) && !all.contains("-r "));
        assert!(lines_of(&folder.join("none.txt")).is_err());
    }

    #[test]
    fn every_package_has_one_version() {
        for file in ["benches/peers/requirements-all.txt", "crates/python/tests/requirements.txt"] {
            let text = lines_of(&crate::root().join(file)).unwrap();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                assert!(line.contains("=="), "{file}: {line}");
            }
        }
    }
}
