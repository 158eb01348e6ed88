//! Runs targets: the corpus on this toolchain, and libFuzzer with AddressSanitizer where there is a nightly one.
//!
//! libFuzzer needs code compiled with coverage counters, which only a nightly compiler gives; cargo does it with the flags of
//! [`COVERAGE`], no further tool is needed. What is built that way, the inputs found on the way, the logs and what broke a target
//! lie in `fuzz` of the build's target folder.
#![expect(clippy::disallowed_types, reason = "what the fuzzer prints goes to a file of the build's folder")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::corpus;
use crate::seeds::seeds;

/// Coverage at every edge, inline counters and compared values, as libFuzzer asks for them; overflow and broken assertions
/// are findings.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Coverflow-checks=on",
    "-Cdebug-assertions=on",
    "-Ccodegen-units=16",
];
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const PROGRAM: &str = "nearfield-libfuzzer";
/// Longest input. With it no decoder may allocate more than four times that and 64 MiB at once.
const INPUT_BYTES_MAX: u64 = 16 << 10;
const ALLOCATION_MIB_MAX: u64 = 64 + (4 * INPUT_BYTES_MAX).div_ceil(1 << 20);
const MEMORY_MIB_MAX: u64 = 512;
const TIMEOUT_SECONDS: u64 = 5;
/// Mutations a target of the stable replay.
const MUTATIONS: u64 = 2_000;

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seconds: u64,
    pub(crate) jobs: usize,
    pub(crate) targets: Vec<String>,
}

/// Replays the corpus, then fuzzes if there is a toolchain for it. Fails if something broke.
pub(crate) fn run(plan: &Plan) -> Result<(), String> {
    replay(&plan.targets, MUTATIONS, 1)?;
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("libFuzzer is set up for {TRIPLE} only: replayed the corpus and nothing else");
        return Ok(());
    }
    let place = target_folder().join("fuzz");
    if !has_nightly() {
        println!(
            "there is no nightly toolchain (rustup toolchain install nightly): replayed the corpus and nothing else"
        );
        return Ok(());
    }
    let program = build(&place)?;
    let mut waiting = plan.targets.iter();
    let (mut running, mut ended): (Vec<Run>, Vec<Verdict>) = (Vec::new(), Vec::new());
    loop {
        while running.len() < plan.jobs.max(1)
            && let Some(target) = waiting.next()
        {
            running.push(Run::start(&program, &place, target, plan.seconds)?);
        }
        // In the order of their starts: all take the same time.
        if running.is_empty() {
            break;
        }
        let verdict = running.remove(0).wait()?;
        println!("{verdict}");
        ended.push(verdict);
    }
    let broken: Vec<&str> = ended.iter().filter(|one| !one.passed).map(|one| one.target.as_str()).collect();
    match broken.as_slice() {
        [] => Ok(()),
        broken => Err(format!("{} broke; inputs and logs are in {}", broken.join(", "), place.display())),
    }
}

/// Runs the corpus and mutations of it through `targets`. A panic ends the program, after its message.
pub(crate) fn replay(targets: &[String], mutations: u64, seed: u64) -> Result<(), String> {
    for name in targets {
        let target = crate::target(name).ok_or_else(|| format!("there is no target {name}"))?;
        let inputs = corpus::read(name).map_err(|error| format!("the corpus of {name}: {error}"))?;
        let began = Instant::now();
        corpus::replay(target, &inputs, mutations, seed);
        let (count, seconds) = (inputs.len(), began.elapsed().as_secs_f64());
        println!("{name:<16} {count:>4} inputs and {mutations} mutations of them replayed in {seconds:.1} s");
    }
    Ok(())
}

/// Where cargo puts what it builds: this program stands in `<target>/<profile>/`.
fn target_folder() -> PathBuf {
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    target.map_or_else(|| root().join("target"), Path::to_owned)
}

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// A cargo of the nightly toolchain that knows nothing of the one that built this program.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").current_dir(root());
    for name in [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTUP_TOOLCHAIN",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    command
}

fn has_nightly() -> bool {
    let mut command = nightly();
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn build(place: &Path) -> Result<PathBuf, String> {
    let mut command = nightly();
    command.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "nearfield-fuzz",
        "--bin",
        PROGRAM,
    ]);
    command.args(["--features", "libfuzzer", "--target", TRIPLE, "--target-dir"]).arg(place);
    command.env("RUSTFLAGS", COVERAGE.join(" "));
    eprintln!("building {PROGRAM} with coverage and AddressSanitizer");
    match command.status() {
        Ok(status) if status.success() => Ok(place.join(TRIPLE).join("release").join(PROGRAM)),
        Ok(status) => Err(format!("building {PROGRAM} ended with {status}")),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}

/// A target under libFuzzer.
struct Run {
    target: String,
    child: Child,
    log: PathBuf,
}

/// What became of it.
struct Verdict {
    target: String,
    passed: bool,
    log: PathBuf,
    /// Runs and covered edges, as libFuzzer counted them.
    runs: u64,
    edges: u64,
    peak_mib: u64,
}

impl Run {
    fn start(program: &Path, place: &Path, target: &str, seconds: u64) -> Result<Run, String> {
        let (found, broken, logs) =
            (place.join("found").join(target), place.join("broken").join(target), place.join("logs"));
        for folder in [&found, &broken, &logs] {
            fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
        }
        for (name, bytes) in seeds(target) {
            fs::write(found.join(&name), bytes).map_err(|error| format!("writing {name}: {error}"))?;
        }
        let log = logs.join(format!("{target}.txt"));
        let output = fs::File::create(&log).map_err(|error| format!("making {}: {error}", log.display()))?;
        let mut command = Command::new(program);
        command.env("NEARFIELD_FUZZ_TARGET", target).env("RUST_BACKTRACE", "1");
        // Freed memory is kept back for a while to find uses of it; by default more than the limit allows.
        command.env("ASAN_OPTIONS", "quarantine_size_mb=32:allocator_may_return_null=0");
        let options = [
            ("max_total_time", seconds),
            ("rss_limit_mb", MEMORY_MIB_MAX),
            ("malloc_limit_mb", ALLOCATION_MIB_MAX),
            ("timeout", TIMEOUT_SECONDS),
            ("max_len", INPUT_BYTES_MAX),
            ("print_final_stats", 1),
            ("use_value_profile", 1),
        ];
        command.args(options.map(|(name, value)| format!("-{name}={value}")));
        command.arg(format!("-artifact_prefix={}/", broken.display()));
        command.arg(&found).arg(corpus::folder().join(target));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", program.display()))?;
        Ok(Run { target: target.to_owned(), child, log })
    }

    fn wait(mut self) -> Result<Verdict, String> {
        let status = self.child.wait().map_err(|error| format!("waiting for {}: {error}", self.target))?;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        Ok(Verdict {
            passed: status.success(),
            runs: number_after(&log, "stat::number_of_executed_units:"),
            edges: number_after(&log, "cov: "),
            peak_mib: number_after(&log, "stat::peak_rss_mb:"),
            target: self.target,
            log: self.log,
        })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict { target, runs, edges, peak_mib, .. } = self;
        write!(f, "{target:<16} {runs:>9} runs, {edges:>6} edges, {peak_mib:>4} MiB")?;
        if self.passed {
            return Ok(());
        }
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        f.write_str("  BROKEN")?;
        let telling = |line: &&str| {
            ["panicked at", "ERROR: ", "Test unit written to"].iter().any(|mark| line.contains(mark))
        };
        log.lines()
            .filter(telling)
            .take(4)
            .try_for_each(|line| f.write_char('\n').and_then(|()| write!(f, "    {}", line.trim())))
    }
}

/// The number after the last `mark` of a log.
fn number_after(log: &str, mark: &str) -> u64 {
    let rest = log.rsplit_once(mark).map_or("", |(_, rest)| rest.trim_start());
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_a_log() {
        let log =
            "#2 INITED cov: 12 ft: 3\n#9 NEW    cov: 345 ft: 6\nDone\nstat::number_of_executed_units: 77\n";
        assert_eq!(number_after(log, "cov: "), 345);
        assert_eq!(number_after(log, "stat::number_of_executed_units:"), 77);
        assert_eq!(number_after(log, "stat::peak_rss_mb:"), 0);
    }

    #[test]
    fn the_replay_names_what_it_does_not_know() {
        assert!(replay(&["nothing".to_owned()], 1, 1).is_err());
        assert_eq!(replay(&["jsonl".to_owned()], 3, 1), Ok(()));
    }
}
