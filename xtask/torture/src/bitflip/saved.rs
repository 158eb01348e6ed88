//! Damage to a saved index: cut files, random bits, missing files. It is opened as a view and loaded each time.
//!
//! The files are real ones and damaged in place; what a view has mapped is dropped before the next damage is done.
#![expect(
    clippy::disallowed_types,
    reason = "files are damaged from outside, in place; the platform seam is for the engine"
)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use nearfield::{Breadth, ErrorKind, Index, IndexOptions, Metric};
use nearfield_platform::{Entropy, SeededEntropy};

use super::damage::{Damage, random_bit};
use super::tally::{Outcome, Table};

/// Enough for a graph to be walked on codes, and few enough for every cut.
const ROWS: usize = 1_100;
const DIM: usize = 32;
const QUERIES: usize = 4;
const NEAREST: usize = 10;
const CLUSTERS: usize = 20;
/// Settings with ids, vectors, codes, graph.
const FILES: usize = 4;
/// Where not every cut is made: every so many bytes, and all of the first and last ones.
const CUT_STEP: usize = 61;
const CUT_ENDS: usize = 512;
/// How damage is named in tables: also what [`Use`](super::image::Use) tells the files by.
const FOLDER: &str = "index";

/// A saved index, and what it answered while it was whole.
pub(super) struct Saved {
    folder: PathBuf,
    /// Names and sound bytes.
    files: Vec<(String, Vec<u8>)>,
    queries: Vec<f32>,
    expected: Answers,
}

/// All that an index is asked.
#[derive(Debug, PartialEq)]
struct Answers {
    len: u64,
    walked: (Vec<u64>, Vec<f32>),
    scanned: (Vec<u64>, Vec<f32>),
    vectors: Vec<Option<Vec<f32>>>,
}

impl Saved {
    /// Makes the index and saves it below `place`.
    pub(super) fn write(place: &Path, seed: u64) -> Result<Saved, String> {
        let random = SeededEntropy::new(seed ^ 5);
        let float = |scale: f32| scale * (random.below(2_001) as f32 / 1_000.0 - 1.0);
        let centres: Vec<f32> = (0..CLUSTERS * DIM).map(|_| float(1.0)).collect();
        let rows = |count: usize| -> Vec<f32> {
            (0..count * DIM)
                .map(|at| centres[at / DIM * 7 % CLUSTERS * DIM + at % DIM] + float(0.5))
                .collect()
        };
        let (vectors, queries) = (rows(ROWS), rows(QUERIES));
        let folder = place.join("saved-index");
        let make = || -> nearfield::Result<Answers> {
            let index = Index::new(DIM as u32, &IndexOptions { m: 8, ..IndexOptions::new(Metric::Cosine) })?;
            let ids: Vec<u64> = (0..ROWS as u64).map(id).collect();
            index.add(Some(&ids), &vectors, 1)?;
            index.save(&folder)?;
            ask(&Index::view(&folder)?, &queries)
        };
        let expected = make().map_err(|error| format!("writing the index: {error}"))?;
        let mut saved = Saved { folder, files: Vec::new(), queries, expected };
        saved.read().map_err(|error| format!("reading the saved index: {error}"))?;
        match saved.outcome(&[ErrorKind::Corrupt]) {
            Outcome::Unchanged if saved.files.len() == FILES => Ok(saved),
            Outcome::Unchanged => {
                Err(format!("the saved index has {} files, not {FILES}", saved.files.len()))
            }
            other => Err(format!("the saved index is whole, and this comes of it: {other:?}")),
        }
    }

    /// Takes the bytes of all files, and leave to write into them.
    fn read(&mut self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let bytes = fs::read(&path)?;
            // A copy belongs to nobody who may have the file mapped.
            fs::remove_file(&path)?;
            fs::write(&path, &bytes)?;
            self.files.push((name, bytes));
        }
        self.files.sort();
        Ok(())
    }

    /// Does all damage: cuts, `bits` random bits, every file missing.
    pub(super) fn damage(
        &self,
        bits: u64,
        every_cut: bool,
        seed: u64,
        table: &mut Table,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("damaging the saved index: {error}");
        for (name, bytes) in &self.files {
            self.cut(name, bytes, every_cut, table).map_err(failed)?;
            self.take_away(name, bytes, table).map_err(failed)?;
        }
        let random = SeededEntropy::new(seed ^ 6);
        let files: Vec<(&str, &[u8])> =
            self.files.iter().map(|(name, bytes)| (&**name, &bytes[..])).collect();
        for _ in 0..bits {
            self.flip(random_bit(&files, &random), table).map_err(failed)?;
        }
        Ok(())
    }

    /// Cuts a file to every length there is, or to some of them, the longest first.
    fn cut(&self, name: &str, bytes: &[u8], every: bool, table: &mut Table) -> std::io::Result<()> {
        let file = self.open(name)?;
        let is_made =
            |to: usize| every || to.is_multiple_of(CUT_STEP) || to < CUT_ENDS || to + CUT_ENDS > bytes.len();
        for to in (0..bytes.len()).rev().filter(|&to| is_made(to)) {
            file.set_len(to as u64)?;
            self.judge(&Damage::Cut { path: path(name), to }, &[ErrorKind::Corrupt], table);
        }
        file.write_all_at(bytes, 0)
    }

    fn take_away(&self, name: &str, bytes: &[u8], table: &mut Table) -> std::io::Result<()> {
        fs::remove_file(self.folder.join(name))?;
        let accepted = [ErrorKind::Corrupt, ErrorKind::NotFound];
        self.judge(&Damage::Missing { path: path(name) }, &accepted, table);
        fs::write(self.folder.join(name), bytes)
    }

    fn flip(&self, damage: Damage, table: &mut Table) -> std::io::Result<()> {
        let Damage::Flip { path: name, at, mask } = damage else { return Ok(()) };
        let sound = self.files.iter().find(|(known, _)| *known == name).map_or(0, |(_, bytes)| bytes[at]);
        let file = self.open(&name)?;
        file.write_all_at(&[sound ^ mask], at as u64)?;
        self.judge(&Damage::Flip { path: path(&name), at, mask }, &[ErrorKind::Corrupt], table);
        file.write_all_at(&[sound], at as u64)
    }

    fn open(&self, name: &str) -> std::io::Result<File> {
        OpenOptions::new().write(true).open(self.folder.join(name))
    }

    fn judge(&self, damage: &Damage, accepted: &[ErrorKind], table: &mut Table) {
        table.add_real(damage, self.outcome(accepted), FOLDER);
    }

    /// What comes of opening it in both ways and asking everything; the worse of both.
    fn outcome(&self, accepted: &[ErrorKind]) -> Outcome {
        let run = |open: fn(&Path) -> nearfield::Result<Index>| {
            catch_unwind(AssertUnwindSafe(|| ask(&open(&self.folder)?, &self.queries)))
        };
        let mut worst = Outcome::Unchanged;
        for (how, answered) in [("view", run(Index::view)), ("load", run(Index::load))] {
            match answered {
                Err(_) => return Outcome::Panicked,
                Ok(Ok(answers)) if answers == self.expected => {}
                Ok(Ok(_)) => worst = Outcome::Wrong(format!("{how} gives other answers")),
                Ok(Err(error)) if !accepted.contains(&error.kind()) => {
                    worst = Outcome::Wrong(format!("{how} says {:?}: {error}", error.kind()));
                }
                Ok(Err(_)) if worst == Outcome::Unchanged => worst = Outcome::Detected,
                Ok(Err(_)) => {}
            }
        }
        worst
    }
}

/// The id of a row, unlike its number.
fn id(row: u64) -> u64 {
    row * 3 + 1
}

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn ask(index: &Index, queries: &[f32]) -> nearfield::Result<Answers> {
    let search = |breadth| {
        let (mut ids, mut distances) = (vec![0; QUERIES * NEAREST], vec![0.0; QUERIES * NEAREST]);
        index.search_many(queries, NEAREST, breadth, 1, &mut ids, &mut distances)?;
        Ok::<_, nearfield::Error>((ids, distances))
    };
    let vectors =
        (0..ROWS as u64).step_by(97).map(|row| index.get(id(row))).collect::<nearfield::Result<_>>()?;
    Ok(Answers {
        len: index.len(),
        walked: search(Breadth::Ef(40))?,
        scanned: search(Breadth::Exact)?,
        vectors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_counted_and_undone() {
        let place = tempfile::tempdir().unwrap();
        let saved = Saved::write(place.path(), 3).unwrap();
        let names: Vec<&str> = saved.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["codes-0", "graph-0", "index", "vectors-0"]);
        let mut table = Table::default();
        let bytes = &saved.files[2].1;
        saved.take_away("index", bytes, &mut table).unwrap();
        saved.flip(Damage::Flip { path: "index".to_owned(), at: 0, mask: 1 }, &mut table).unwrap();
        let file = saved.open("graph-0").unwrap();
        file.set_len(100).unwrap();
        assert_eq!(saved.outcome(&[ErrorKind::Corrupt]), Outcome::Detected);
        file.write_all_at(&saved.files[1].1, 0).unwrap();
        assert!(table.passed());
        assert_eq!(saved.outcome(&[]), Outcome::Unchanged);
    }
}
