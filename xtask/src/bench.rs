//! `bench NAME`: finds the data, builds the benchmarks with the slow profile, runs one.

use std::path::{Path, PathBuf};

use crate::args::{Args, Outcome, failed, usage};
use crate::process::{build, cargo, run};

/// What can be measured today, and whether it needs the full data set.
const BENCHES: &[(&str, bool)] = &[("flat", true), ("import", true), ("open", true), ("kernels", false)];

/// The files of an unpacked set that the benchmarks read.
const UNPACKED: &[&str] = &["base.npy", "queries.npy", "payload.jsonl", "gt.npy"];

/// Runs one benchmark.
pub(crate) fn task(root: &Path, mut args: Args) -> Outcome {
    let data = args.value("--data")?;
    let json = args.value("--json")?;
    let dir = args.value("--dir")?;
    let check = args.flag("--check");
    let Some(name) = args.word() else { return usage(format!("bench wants a name: one of {}", names())) };
    args.finish()?;
    let Some((_, needs_data)) = BENCHES.iter().find(|(known, _)| *known == name) else {
        return usage(format!("there is no benchmark {name:?} yet; there are {}", names()));
    };
    if !needs_data {
        if data.is_some() || json.is_some() || dir.is_some() || check {
            return usage(format!(
                "bench {name} takes no options: criterion keeps and compares its own results"
            ));
        }
        return run(&mut cargo(root, ["bench", "--package", "nearfield-simd", "--bench", "kernels"]));
    }
    let data = data.or_else(|| std::env::var("NEARFIELD_DATA").ok());
    let Some(data) = data.map(PathBuf::from) else {
        return usage(format!("bench {name} needs the full set: say --data DIR or set NEARFIELD_DATA"));
    };
    find_set(&data)?;
    let program = build(root, "nearfield-benches", "nearfield-bench", "bench")?;
    let mut command = std::process::Command::new(program);
    command.arg(&name).arg("--data").arg(data).arg("--goals").arg(root.join("benches/goals.toml"));
    if let Some(json) = json {
        command.arg("--json").arg(json);
    }
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    if check {
        command.arg("--check");
    }
    run(&mut command)
}

fn names() -> String {
    BENCHES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Fails unless `data` holds an unpacked set; says how to unpack one that is still packed.
fn find_set(data: &Path) -> Outcome {
    let missing: Vec<&str> = UNPACKED.iter().copied().filter(|name| !data.join(name).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let shown = data.display();
    if data.join("base.f16.npy").is_file() {
        let parent = data.parent().unwrap_or(data).join("unpack.py");
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
        assert!(
            message("peers --data x")
                .contains("there is no benchmark \"peers\" yet; there are flat, import, open, kernels")
        );
        assert!(message("").contains("wants a name"));
        assert!(message("flat --data x --fast").contains("--fast"));
        assert!(message("kernels --check").contains("takes no options"));
        assert!(message("flat --data does-not-exist").contains("it lacks base.npy"));
    }

    #[test]
    fn a_packed_set_is_recognised() {
        let folder = std::env::temp_dir().join(format!("nearfield-xtask-{}", std::process::id()));
        let packed = folder.join("wordnet");
        std::fs::create_dir_all(&packed).unwrap();
        std::fs::write(packed.join("base.f16.npy"), b"").unwrap();
        let found = find_set(&packed);
        std::fs::remove_dir_all(&folder).unwrap();
        let Err(Failure::Failed(text)) = found else { panic!("{found:?}") };
        assert!(text.contains(&format!("python {} OUTDIR", folder.join("unpack.py").display())), "{text}");
    }
}
