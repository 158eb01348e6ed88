//! Running other programs: cargo, and what cargo built.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::args::{Outcome, failed};

/// A cargo command, to be run in the root of the repository.
pub(crate) fn cargo<S: AsRef<OsStr>>(root: &Path, words: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(words);
    command
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), value?.to_string_lossy())))
        .collect();
    let program = Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs the command with this terminal as its own; fails unless it exits with 0.
pub(crate) fn run(command: &mut Command) -> Outcome {
    eprintln!("$ {}", line(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(format!("`{}` ended with {status}", line(command))),
        Err(error) => failed(format!("`{}` could not be started: {error}", line(command))),
    }
}

/// Runs the command and returns what it wrote to stdout; its stderr goes to this terminal.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    eprintln!("$ {}", line(command));
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => failed(format!(
            "`{}` ended with {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stdout)
        )),
        Err(error) => failed(format!("`{}` could not be started: {error}", line(command))),
    }
}

/// Where cargo puts what it builds. This program stands in `<target>/<profile>/`, which needs no configuration to be known.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    target.map_or_else(|| root.join("target"), Path::to_owned)
}

/// Builds the program `bin` of `package` in `profile` and returns where it stands.
pub(crate) fn build(root: &Path, package: &str, bin: &str, profile: &str) -> Outcome<PathBuf> {
    run(&mut cargo(root, ["build", "--quiet", "--profile", profile, "--package", package, "--bin", bin]))?;
    Ok(program(root, bin, profile))
}

/// Where the program `bin` stands once it is built in `profile`. Cargo keeps what the bench profile builds with the release.
pub(crate) fn program(root: &Path, bin: &str, profile: &str) -> PathBuf {
    let folder = if profile == "bench" { "release" } else { profile };
    target_dir(root).join(folder).join(format!("{bin}{}", std::env::consts::EXE_SUFFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_was_set_and_said() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "-p", "x"]).env("NEARFIELD_SIMD", "scalar");
        assert_eq!(line(&command), "NEARFIELD_SIMD=scalar cargo test -p x");
    }

    #[test]
    fn a_program_that_fails_or_is_missing_is_an_error() {
        assert!(run(&mut Command::new("this-program-does-not-exist")).is_err());
        assert!(output(&mut Command::new("this-program-does-not-exist")).is_err());
    }
}
