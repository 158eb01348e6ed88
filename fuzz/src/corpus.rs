//! The inputs that are kept: where they lie, reading them, running them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nearfield_platform::SeededEntropy;

use crate::mutate::mutate;
use crate::seeds::seeds;
use crate::{TARGETS, Target};

/// An input and its file's name.
pub type Named = (String, Vec<u8>);

/// The folder of the repository that holds a folder for each target.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs kept for `target`, and its seeds as the engine writes them today: those that are kept show what it wrote before.
///
/// # Errors
///
/// What reading met; a missing folder too.
pub fn read(target: &str) -> io::Result<Vec<Named>> {
    let mut inputs = seeds(target);
    inputs.iter_mut().for_each(|(name, _)| name.insert_str(0, "today's "));
    for entry in fs::read_dir(folder().join(target))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        inputs.push((name.unwrap_or_default(), fs::read(path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Writes the seeds of every target; other inputs stay. Answers how many files and bytes there were.
///
/// # Errors
///
/// What writing met.
pub fn write_seeds() -> io::Result<(usize, usize)> {
    let (mut files, mut bytes) = (0, 0);
    for (target, _) in TARGETS {
        let folder = folder().join(target);
        fs::create_dir_all(&folder)?;
        for (name, input) in seeds(target) {
            (files, bytes) = (files + 1, bytes + input.len());
            fs::write(folder.join(name), input)?;
        }
    }
    Ok((files, bytes))
}

/// Runs `target` on `inputs`, and then on `mutations` of them. A panic is the target's.
pub fn replay(target: Target, inputs: &[Named], mutations: u64, seed: u64) {
    inputs.iter().for_each(|(_, bytes)| target(bytes));
    let random = SeededEntropy::new(seed);
    let pick = || match inputs.len() {
        0 => [].as_slice(),
        count => &inputs[nearfield_platform::Entropy::below(&random, count as u64) as usize].1,
    };
    for _ in 0..mutations {
        let mut bytes = pick().to_vec();
        mutate(&mut bytes, pick(), &random);
        target(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a second allows; the fuzzer does the rest.
    const MUTATIONS: u64 = 300;

    #[test]
    fn the_corpus_and_some_mutations_break_nothing() {
        for (name, target) in TARGETS {
            let inputs = read(name).unwrap();
            replay(*target, &inputs, MUTATIONS, 1);
        }
    }

    #[test]
    fn every_seed_is_kept() {
        for (target, _) in TARGETS {
            let kept = read(target).unwrap();
            for (seed, _) in seeds(target) {
                assert!(
                    kept.iter().any(|(name, _)| *name == seed),
                    "no {target}/{seed}: cargo xtask fuzz seeds"
                );
            }
        }
    }

    #[test]
    fn no_folder_belongs_to_nobody() {
        for entry in fs::read_dir(folder()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(TARGETS.iter().any(|(target, _)| name == *target), "corpus/{name:?} has no target");
        }
    }
}
