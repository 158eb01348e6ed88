//! Damage to a cleanly closed database and to a saved index: flipped bits, cut, zeroed, exchanged and missing files. Whatever is damaged, each answer is the
//! one from before or an error that says so.
//!
//! It refuses to know formats: a file is bytes, and what it is for follows from its path. The databases are written with default
//! settings into a real folder and read into memory; there every byte of every metadata file has one bit flipped and is inverted
//! whole, and random bits of all other files are flipped. After each change the database is opened afresh and asked everything.
//! A part of it is done again with real files. A saved index is real files only: each is cut to many lengths or to all, and as many random bits are flipped.

mod damage;
mod image;
mod questions;
mod sample;
mod saved;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use nearfield::{Database, Options};
use nearfield_platform::{Dir, Entropy, SeededEntropy, SystemEntropy};

use crate::sabotage::Lie;
use damage::Damage;
use image::{Image, Use};
use questions::{Asked, Questions, Said};
use tally::{Outcome, Table};

/// Flip bits in a closed database and see whether each flip is noticed or harmless.
#[derive(Debug, Parser)]
#[command(name = "bitflip")]
struct Words {
    /// Random bits to flip in each database, in files other than metadata (of which every byte is damaged), and in a saved index
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    bits: u64,
    /// Cut the files of the saved index to every length there is, not to about one in sixty
    #[arg(long)]
    every_cut: bool,
    /// Where all randomness comes from
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Also write all figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where databases are written, instead of the folder for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Of each kind of file so many are cut, zeroed, exchanged and taken away.
const COARSE: u64 = 60;
/// Changes done with real files, for each database.
const REAL: u64 = 60;
/// Bits flipped in the log of an engine that accepts bad checksums, to see whether wrong answers would be noticed.
const SABOTAGED: u64 = 300;

/// Does what the command line says; answers the exit code: 0 if nothing wrong was found, 1 if something was, 2 for wrong words.
pub fn main() -> u8 {
    let words = match Words::try_parse() {
        Ok(words) => words,
        Err(error) => {
            // Help comes this way too; a closed output is no reason to fail.
            let _closed = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match done(&words) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(why) => {
            eprintln!("error: {why}");
            1
        }
    }
}

fn done(words: &Words) -> Result<bool, String> {
    let seed = words.seed.unwrap_or_else(|| SystemEntropy.u64() >> 32);
    let began = Instant::now();
    let place = match &words.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let place = place.map_err(|error| format!("making a folder: {error}"))?;
    println!("seed {seed}\n");
    let mut table = Table::default();
    let mut noticed = 0;
    for variant in sample::Variant::ALL {
        let home = place.path().join(variant.name());
        let questions =
            sample::write(&home, variant, seed).map_err(|error| format!("writing the database: {error}"))?;
        let image = Image::read(&home)?.with_stale_lock();
        let trial = Trial::new(image, &questions, variant.name())?;
        trial.fine(words.bits, seed, &mut table);
        trial.coarse(seed, &mut table);
        trial.real(place.path(), seed, &mut table)?;
        if variant == sample::Variant::Log {
            noticed = trial.sabotaged(seed);
        }
    }
    saved::Saved::write(place.path(), seed)?.damage(words.bits, words.every_cut, seed, &mut table)?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{table}");
    println!(
        "an engine that accepts bad checksums: {noticed} of {SABOTAGED} flips in its log noticed as wrong answers"
    );
    let passed = table.passed() && noticed > 0;
    println!("{} in {seconds:.1} s", if passed { "passed" } else { "FAILED" });
    if let Some(path) = &words.json {
        let mut json = table.json();
        json.insert("seed".to_owned(), seed.into());
        json.insert("seconds".to_owned(), seconds.into());
        json.insert("sabotage_noticed".to_owned(), noticed.into());
        json.insert("passed".to_owned(), passed.into());
        let text = serde_json::to_string_pretty(&json).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    Ok(passed)
}

/// One database and what it answered while it was whole.
struct Trial<'a> {
    image: Image,
    questions: &'a Questions,
    expected: Vec<Asked>,
    variant: &'static str,
}

impl<'a> Trial<'a> {
    fn new(image: Image, questions: &'a Questions, variant: &'static str) -> Result<Trial<'a>, String> {
        let mut trial = Trial { image, questions, expected: Vec::new(), variant };
        let said = trial.ask(trial.image.in_memory());
        if said.repaired {
            return Err("the database is whole, and says that it was repaired".to_owned());
        }
        trial.expected = said.asked;
        match trial.expected.iter().find(|asked| asked.answer.is_err()) {
            None => Ok(trial),
            Some(asked) => {
                Err(format!("the database is whole, and {} gives {:?}", asked.question, asked.answer))
            }
        }
    }

    /// Opens the database in `dir` and asks everything.
    fn ask(&self, dir: Arc<dyn Dir>) -> Said {
        let options = Options { background: false, ..Options::default() };
        questions::ask(Database::open_in(dir, self.variant, options), self.questions)
    }

    /// Every byte of metadata, and random bits of the rest.
    fn fine(&self, bits: u64, seed: u64, table: &mut Table) {
        let random = SeededEntropy::new(seed);
        for (path, bytes) in self.image.files().filter(|(path, _)| Use::of(path).is_metadata()) {
            for at in 0..bytes.len() {
                let bit = random.below(8) as u8;
                self.judge(table, &Damage::Flip { path: path.to_owned(), at, mask: 1 << bit });
                self.judge(table, &Damage::Flip { path: path.to_owned(), at, mask: 0xff });
            }
        }
        let rest: Vec<(&str, &[u8])> =
            self.image.files().filter(|(path, _)| !Use::of(path).is_metadata()).collect();
        for _ in 0..bits {
            self.judge(table, &damage::random_bit(&rest, &random));
        }
    }

    /// Cut, zeroed, exchanged and missing files.
    fn coarse(&self, seed: u64, table: &mut Table) {
        let random = SeededEntropy::new(seed ^ 1);
        for kind in Use::ALL {
            let files: Vec<(&str, &[u8])> =
                self.image.files().filter(|(path, _)| Use::of(path) == kind).collect();
            for damage in damage::coarse(&files, COARSE, &random) {
                self.judge(table, &damage);
            }
        }
    }

    /// Random damage to real files, with threads and everything.
    fn real(&self, place: &Path, seed: u64, table: &mut Table) -> Result<(), String> {
        let random = SeededEntropy::new(seed ^ 2);
        let all: Vec<(&str, &[u8])> = self.image.files().filter(|(_, bytes)| !bytes.is_empty()).collect();
        for n in 0..REAL {
            // Metadata is small, so files are drawn before bits.
            let file = [all[random.below(all.len() as u64) as usize]];
            let damage = damage::random_bit(&file, &random);
            let home = place.join(format!("{}-{n}", self.variant));
            self.image.damaged(&damage).write(&home)?;
            let run = || questions::ask(Database::open(&home, Options::default()), self.questions);
            let outcome = self.outcome(catch_unwind(AssertUnwindSafe(run)));
            table.add_real(&damage, outcome, self.variant);
            std::fs::remove_dir_all(&home)
                .map_err(|error| format!("removing {}: {error}", home.display()))?;
        }
        Ok(())
    }

    /// How many flips in the log an engine without checksums there gives wrong answers to.
    fn sabotaged(&self, seed: u64) -> u64 {
        let random = SeededEntropy::new(seed ^ 3);
        let _told = Lie::BadChecksums.guard();
        let log: Vec<(&str, &[u8])> =
            self.image.files().filter(|(path, _)| Use::of(path) == Use::Log).collect();
        let mut table = Table::default();
        for _ in 0..SABOTAGED {
            self.judge(&mut table, &damage::random_bit(&log, &random));
        }
        table.wrong()
    }

    fn judge(&self, table: &mut Table, damage: &Damage) {
        let dir = self.image.damaged(damage).in_memory();
        let outcome = self.outcome(catch_unwind(AssertUnwindSafe(|| self.ask(dir))));
        table.add(damage, outcome, self.variant);
    }

    fn outcome(&self, said: std::thread::Result<Said>) -> Outcome {
        let Ok(said) = said else { return Outcome::Panicked };
        match questions::differences(&self.expected, &said.asked) {
            Some(Ok(())) => Outcome::Detected,
            Some(Err(wrong)) => Outcome::Wrong(wrong),
            None if said.repaired => Outcome::Repaired,
            None => Outcome::Unchanged,
        }
    }
}
