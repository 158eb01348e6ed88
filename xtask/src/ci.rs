//! `ci`: what CI runs, step by step, with nothing prepared by hand. The first step that fails ends it.
//!
//! It refuses to have options: what passes here passes there. Two profiles only, dev and release, and all of it is meant to stay below 25 minutes
//! on two cores from nothing. The release build is the one people make, of the default members alone: the tools that break the
//! engine on purpose are built after it, with features that no user gets.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::args::{Outcome, failed};
use crate::process::{cargo, output, program, run};
use crate::{python, tidy, tools};

type Step = (&'static str, fn(&Path) -> Outcome);

const STEPS: &[Step] = &[
    ("format", |root| run(&mut cargo(root, ["fmt", "--all", "--check"]))),
    ("tidy", tidy::task),
    ("clippy", |root| {
        run(&mut cargo(root, words("clippy --workspace --all-targets --locked -- -D warnings")))
    }),
    ("docs", |root| {
        run(cargo(root, words("doc --workspace --no-deps --locked --quiet"))
            .env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("small tree", small_tree),
    ("tests", |root| run(&mut cargo(root, words("test --workspace --locked")))),
    ("tests on AVX2", |root| simd_level(root, "avx2")),
    ("tests on scalar", |root| simd_level(root, "scalar")),
    ("python", python::task),
    ("release build", |root| run(&mut cargo(root, words("build --release --locked")))),
    ("demo, twice", demo),
    ("kills", |root| tools::task(root, "crash", list("--kills 300"))),
    ("power cuts", |root| tools::task(root, "crash", list("--images 20000"))),
    ("failing calls", |root| tools::task(root, "crash", list("--faults 4 --seed 11"))),
    ("sabotage", |root| tools::task(root, "crash", list("--sabotage all"))),
    ("bitflip", |root| tools::task(root, "bitflip", Vec::new())),
    ("fuzz smoke", |root| tools::task(root, "fuzz", list("smoke"))),
];

/// Somebody who wants only the search contract, or only the index, must not get an engine.
const SMALL_TREES: [&str; 2] = ["nearfield-ann", "nearfield-hnsw"];
const SMALL_TREE_LINES_MAX: usize = 45;

/// Runs every step, prints each with its time, stops at the first failure.
pub(crate) fn task(root: &Path) -> Outcome {
    let started = Instant::now();
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (index, (name, step)) in STEPS.iter().enumerate() {
        eprintln!("\n[{}/{}] {name}", index + 1, STEPS.len());
        let began = Instant::now();
        let done = step(root);
        times.push((name, began.elapsed()));
        eprintln!("[{}/{}] {name}: {}", index + 1, STEPS.len(), clock(began.elapsed()));
        if let Err(failure) = done {
            print!("{}", table(&times));
            return failed(format!(
                "ci FAILED at step {:?} after {}: {failure}",
                name,
                clock(started.elapsed())
            ));
        }
    }
    print!("{}", table(&times));
    println!("ci: all {} steps passed in {}", STEPS.len(), clock(started.elapsed()));
    Ok(())
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
}

fn list(line: &str) -> Vec<String> {
    words(line).map(str::to_owned).collect()
}

fn small_tree(root: &Path) -> Outcome {
    SMALL_TREES.iter().try_for_each(|package| {
        let tree = output(&mut cargo(root, ["tree", "--package", package, "--edges", "normal", "--locked"]))?;
        match tree.lines().count() {
            lines if lines <= SMALL_TREE_LINES_MAX => Ok(()),
            lines => failed(format!(
                "{tree}`cargo tree -p {package}` has {lines} lines, more than {SMALL_TREE_LINES_MAX}: it fits on no screen"
            )),
        }
    })
}

/// The unit tests once more with the kernels of an older processor.
fn simd_level(root: &Path, level: &str) -> Outcome {
    if level == "avx2" && !has_avx2() {
        println!("this processor has no AVX2: its kernels are not tested here");
        return Ok(());
    }
    run(cargo(root, words("test --workspace --lib --locked --quiet")).env("NEARFIELD_SIMD", level))
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

/// The demo makes its database, and on the second run opens it; both must find what is near.
fn demo(root: &Path) -> Outcome {
    let folder = std::env::temp_dir().join(format!("nearfield-ci-{}", std::process::id()));
    let done = ["false", "true"].into_iter().try_for_each(|reopened| {
        let mut command = Command::new(program(root, "nearfield", "release"));
        let report = output(command.args(["demo", "--json", "--data"]).arg(&folder))?;
        let recall = json_word(&report, "recall").and_then(|word| word.parse::<f64>().ok());
        if recall.is_none_or(|recall| recall < 0.95) {
            return failed(format!("the demo's recall is {recall:?}, it must be at least 0.95:\n{report}"));
        }
        match json_word(&report, "reopened") {
            Some(word) if word == reopened => Ok(()),
            word => failed(format!("the demo says reopened {word:?}, it must say {reopened}:\n{report}")),
        }
    });
    // Left behind only where it could not be made; the verdict is the demo's.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

/// The number or word after the first `"key":` of a JSON text.
fn json_word<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    rest.split([',', '}', ']', '\n', ' ']).next()
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn table(times: &[(&str, Duration)]) -> String {
    let width = times.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    let rows = times.iter().copied().chain([("total", total)]);
    let lines = rows.map(|(name, time)| format!("  {name:width$}  {:>6}\n", clock(time)));
    format!("\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_json() {
        let json = "{\"points\": 2000, \"recall\" : 1.0, \"recall_at\": 3,\"reopened\":true}";
        assert_eq!(json_word(json, "recall"), Some("1.0"));
        assert_eq!(json_word(json, "points"), Some("2000"));
        assert_eq!(json_word(json, "reopened"), Some("true"));
        assert_eq!(json_word(json, "missing"), None);
    }

    #[test]
    fn the_table_is_aligned_and_adds_up() {
        let times = [("format", Duration::from_secs(5)), ("clippy all", Duration::from_secs(61))];
        assert_eq!(table(&times), "\n  format        0:05\n  clippy all    1:01\n  total         1:06\n");
    }
}
