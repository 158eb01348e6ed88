//! `bench NAME`: finds the data, builds the benchmarks with the slow profile, runs one.

use std::path::{Path, PathBuf};

use crate::args::{Args, Outcome, failed, usage};
use crate::process::{build, cargo, run, target_dir};
use crate::venv::Venv;

/// What can be measured today, and what it needs.
const BENCHES: &[(&str, Needs)] = &[
    ("flat", Needs::FullSet),
    ("import", Needs::FullSet),
    ("open", Needs::FullSet),
    ("snapshots", Needs::FullSet),
    ("filters", Needs::FullSet),
    ("tenants", Needs::FullSet),
    ("segments", Needs::FullSet),
    ("kernels", Needs::Nothing),
    ("index", Needs::Vectors),
    ("turnover", Needs::Vectors),
    ("gates", Needs::Vectors),
    ("peers", Needs::Vectors),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Vectors, payloads, queries, exact answers.
    FullSet,
    /// The same without payloads; a generated set will do.
    Vectors,
}

/// The files of an unpacked set that the benchmarks read; the last one is not needed for vectors alone.
const UNPACKED: &[&str] = &["base.npy", "queries.npy", "gt.npy", "payload.jsonl"];

/// The set that nothing is tuned on: rows, numbers a row, seed.
const SECOND: (&str, &str, &str) = ("100000", "384", "20260");

/// Runs one benchmark.
pub(crate) fn task(root: &Path, mut args: Args) -> Outcome {
    // Options with values are taken before the name, which is the first word that is left.
    let generated = generated(&mut args)?;
    let data = args.value("--data")?;
    let passed = Passed::take(&mut args)?;
    let Some(name) = args.word() else { return usage(format!("bench wants a name: one of {}", names())) };
    let Some((_, needs)) = BENCHES.iter().find(|(known, _)| *known == name) else {
        return usage(format!("there is no benchmark {name:?} yet; there are {}", names()));
    };
    if generated.is_some() && *needs != Needs::Vectors {
        return usage(format!("bench {name} cannot use a generated set: those have no payloads"));
    }
    match name.as_str() {
        "kernels" if data.is_some() || passed.is_any() => usage(KERNELS_PLAIN),
        "kernels" => kernels(root, args),
        "peers" if passed.is_any() => {
            usage("bench peers takes no --json, --dir or --check: it writes all it has to --out")
        }
        "peers" => peers(root, args, data, generated),
        "index" | "turnover" | "gates" => index(root, &name, args, data, generated, &passed),
        _ => measured(root, &name, args, data, &passed),
    }
}

const KERNELS_PLAIN: &str = "bench kernels takes no options: criterion keeps and compares its own results";

fn kernels(root: &Path, args: Args) -> Outcome {
    if !args.rest().is_empty() {
        return usage(KERNELS_PLAIN);
    }
    run(&mut cargo(root, ["bench", "--package", "nearfield-simd", "--bench", "kernels"]))
}

/// A benchmark of the database over a full set.
fn measured(root: &Path, name: &str, mut args: Args, data: Option<String>, passed: &Passed) -> Outcome {
    let parts = if name == "segments" { args.value("--parts")? } else { None };
    args.finish()?;
    let data = find_set(name, data, UNPACKED)?;
    let program = build(root, "nearfield-benches", "nearfield-bench", "bench")?;
    let mut command = command(&program, root, name, &data);
    run(passed.add(command.args(parts.iter().flat_map(|parts| ["--parts", parts.as_str()]))))
}

/// The index alone: how fast it is, beside hnswlib on the same set if that is asked for, or what is counted of it.
fn index(
    root: &Path,
    name: &str,
    mut args: Args,
    data: Option<String>,
    generated: Option<Generated>,
    passed: &Passed,
) -> Outcome {
    let beside_hnswlib = name == "index" && args.flag("--beside-hnswlib");
    let own: &[&str] = match name {
        "turnover" => &["--quantization", "--rows", "--turnovers"],
        "gates" => &["--rows"],
        _ => &["--quantization"],
    };
    let mut settings = Vec::new();
    for option in ["--m", "--ef-construction", "--build-threads"].iter().chain(own) {
        if let Some(value) = args.value(option)? {
            settings.extend([(*option).to_owned(), value]);
        }
    }
    args.finish()?;
    if beside_hnswlib && !settings.iter().any(|word| word == "--ef-construction") {
        // What the harness builds hnswlib with: curves of unlike graphs cannot be compared.
        settings.extend(["--ef-construction", "200"].map(str::to_owned));
    }
    let data = vectors(name, data, generated, root)?;
    let program = build(root, "nearfield-benches", "nearfield-bench", "bench")?;
    run(passed.add(command(&program, root, name, &data).args(settings)))?;
    if !beside_hnswlib {
        return Ok(());
    }
    let venv = Venv::with(root, "peers", &root.join("benches/peers/requirements.txt"))?;
    let out = target_dir(root).join("bench-peers").join("beside-hnswlib");
    let mut harness = venv.python();
    harness.arg(root.join("benches/peers")).arg("--data").arg(data).arg("--out").arg(out);
    run(harness.args(["--peers", "hnswlib", "--long-passes", "1"]))
}

/// The side-by-side harness, in an environment of its own.
fn peers(root: &Path, mut args: Args, data: Option<String>, generated: Option<Generated>) -> Outcome {
    let folder = root.join("benches/peers");
    if args.flag("--list") {
        let venv = Venv::with(root, "peers", &folder.join("requirements.txt"))?;
        return run(venv.python().arg(folder).arg("--list"));
    }
    let out = args.value("--out")?;
    let is_second = args.flag("--second");
    if is_second && (data.is_some() || generated.is_some()) {
        return usage("--second is a set of its own: it takes no --data and no --generate");
    }
    let (rows, dim, seed) = SECOND;
    let second = || Generated { rows: rows.to_owned(), dim: dim.to_owned(), seed: seed.to_owned() };
    let data = vectors("peers", data, if is_second { Some(second()) } else { generated }, root)?;
    let wide: Vec<&str> = ["--all", "--databases"].into_iter().filter(|flag| args.flag(flag)).collect();
    let requirements = if wide.is_empty() { "requirements.txt" } else { "requirements-all.txt" };
    let venv = Venv::with(root, "peers", &folder.join(requirements))?;
    venv.install_nearfield(root, "wheel")?;
    let last = if is_second { "second" } else { "first" };
    let out = out.map_or_else(|| target_dir(root).join("bench-peers").join(last), PathBuf::from);
    let mut harness = venv.python();
    harness.arg(folder).arg("--data").arg(data).arg("--out").arg(out);
    harness.args(wide);
    if is_second {
        harness.arg("--second");
    }
    // The harness knows its other options and refuses what it does not know.
    run(harness.args(args.rest()))
}

/// A set to be made, unless it is there.
struct Generated {
    rows: String,
    dim: String,
    seed: String,
}

/// Takes `--generate ROWS DIM` and `--seed S`.
fn generated(args: &mut Args) -> Outcome<Option<Generated>> {
    let seed = args.value("--seed")?;
    match (args.values("--generate", 2)?, seed) {
        (None, None) => Ok(None),
        (None, Some(_)) => usage("--seed belongs to --generate ROWS DIM"),
        (Some(words), seed) => {
            let [rows, dim] = <[String; 2]>::try_from(words).unwrap_or_default();
            let seed = seed.unwrap_or_else(|| "1".to_owned());
            for (name, word) in [("ROWS", &rows), ("DIM", &dim), ("--seed", &seed)] {
                if word.replace('_', "").parse::<u64>().is_err() {
                    return usage(format!("{name} is {word:?}, it must be a whole number"));
                }
            }
            Ok(Some(Generated { rows, dim, seed }))
        }
    }
}

/// The folder of the vectors: the one named, or the one of a generated set, which is kept and used again.
fn vectors(name: &str, data: Option<String>, generated: Option<Generated>, root: &Path) -> Outcome<PathBuf> {
    let Some(Generated { rows, dim, seed }) = generated else {
        return find_set(name, data, &UNPACKED[..3]);
    };
    if data.is_some() {
        return usage("--data and --generate name two sets: give one of them");
    }
    let plain = |word: &str| word.replace('_', "");
    let set = format!("{}x{}-{}", plain(&rows), plain(&dim), plain(&seed));
    let folder = target_dir(root).join("bench-data").join(set);
    if UNPACKED[..3].iter().any(|name| !folder.join(name).is_file()) {
        let program = build(root, "nearfield-benches", "nearfield-bench", "bench")?;
        run(std::process::Command::new(program).args(["generate", &rows, &dim, &seed]).arg(&folder))?;
    }
    Ok(folder)
}

/// Options that the benchmark program reads itself.
struct Passed {
    json: Option<String>,
    dir: Option<String>,
    check: bool,
}

impl Passed {
    fn take(args: &mut Args) -> Outcome<Passed> {
        Ok(Passed { json: args.value("--json")?, dir: args.value("--dir")?, check: args.flag("--check") })
    }

    fn is_any(&self) -> bool {
        self.json.is_some() || self.dir.is_some() || self.check
    }

    fn add<'c>(&self, command: &'c mut std::process::Command) -> &'c mut std::process::Command {
        for (option, value) in [("--json", &self.json), ("--dir", &self.dir)] {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        if self.check {
            command.arg("--check");
        }
        command
    }
}

fn command(program: &Path, root: &Path, name: &str, data: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.arg(name).arg("--data").arg(data).arg("--goals").arg(root.join("benches/goals.toml"));
    command
}

fn names() -> String {
    BENCHES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The folder of an unpacked set with these files; says how to unpack one that is still packed.
fn find_set(name: &str, data: Option<String>, files: &[&str]) -> Outcome<PathBuf> {
    let Some(data) = data.or_else(|| std::env::var("NEARFIELD_DATA").ok()).map(PathBuf::from) else {
        return usage(format!("bench {name} needs a set: say --data DIR or set NEARFIELD_DATA"));
    };
    let missing: Vec<&str> = files.iter().copied().filter(|name| !data.join(name).is_file()).collect();
    if missing.is_empty() {
        return Ok(data);
    }
    let shown = data.display();
    if data.join("base.f16.npy").is_file() {
        let parent = data.parent().unwrap_or(&data).join("unpack.py");
        return failed(format!(
            "{shown} holds the packed set. Unpack it and name the result:\n    python {} OUTDIR\n    cargo xtask bench … --data OUTDIR",
            parent.display()
        ));
    }
    failed(format!("{shown} is no unpacked data set: it lacks {}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Failure;

    fn message(line: &str) -> String {
        let args = Args::new(line.split_whitespace().map(str::to_owned));
        task(crate::root(), args).unwrap_err().to_string()
    }

    #[test]
    fn wrong_words_are_refused_before_anything_is_built() {
        assert!(message("rivals --data x").contains(
            "there is no benchmark \"rivals\" yet; there are flat, import, open, snapshots, filters, tenants, segments, kernels, index, turnover, gates, peers"
        ));
        assert!(message("").contains("wants a name"));
        assert!(message("flat --data x --fast").contains("--fast"));
        assert!(message("flat --generate 10 8").contains("cannot use a generated set"));
        assert!(message("kernels --check").contains("takes no options"));
        assert!(message("--data does-not-exist flat").contains("it lacks base.npy"));
        assert!(message("peers --data x --check").contains("takes no --json"));
        assert!(message("flat --data does-not-exist").contains("it lacks base.npy"));
        assert!(message("index --data does-not-exist").contains("it lacks base.npy, queries.npy, gt.npy"));
        assert!(message("index --data x --m").contains("--m wants a value"));
        assert!(message("index --data x --rows 9").contains("--rows"));
        assert!(message("turnover --data x --beside-hnswlib").contains("--beside-hnswlib"));
        assert!(message("index --generate 10").contains("--generate wants 2 values"));
        assert!(message("index --generate many 8").contains("ROWS is \"many\""));
        assert!(message("index --seed 3 --data x").contains("--seed belongs to --generate"));
        assert!(message("index --data x --generate 10 8").contains("give one of them"));
        assert!(message("peers --second --data x").contains("a set of its own"));
    }

    #[test]
    fn a_packed_set_is_recognised() {
        let folder = std::env::temp_dir().join(format!("nearfield-xtask-{}", std::process::id()));
        let packed = folder.join("wordnet");
        std::fs::create_dir_all(&packed).unwrap();
        std::fs::write(packed.join("base.f16.npy"), b"").unwrap();
        let found = find_set("flat", Some(packed.display().to_string()), UNPACKED);
        std::fs::remove_dir_all(&folder).unwrap();
        let Err(Failure::Failed(text)) = found else { panic!("{found:?}") };
        assert!(text.contains(&format!("python {} OUTDIR", folder.join("unpack.py").display())), "{text}");
    }
}
