//! A set of vectors on disk as the index is measured with: no payload, so a generated one is three files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::truth;
use crate::Result;
use crate::npy::{self, Table};

/// Rows, queries, and the row numbers of the exact answers to each query, the nearest first.
pub(crate) struct Set {
    pub(crate) base: Table<f32>,
    pub(crate) queries: Table<f32>,
    pub(crate) truth: Table<i32>,
}

impl Set {
    /// Reads `base.npy`, `queries.npy` and `gt.npy` of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Set> {
        let base = npy::read_f32(&folder.join("base.npy"))?;
        let queries = npy::read_f32(&folder.join("queries.npy"))?;
        let truth = npy::read_i32(&folder.join("gt.npy"))?;
        let fits = queries.width == base.width && truth.rows == queries.rows && truth.width > 0;
        if !fits || base.rows == 0 || queries.rows == 0 {
            let shape = (base.rows, base.width, queries.rows, queries.width, truth.rows, truth.width);
            return Err(format!("the files of {} do not belong together: {shape:?}", folder.display()).into());
        }
        Ok(Set { base, queries, truth })
    }

    /// The first `rows` rows with the same queries and their exact answers among these, which are looked for anew.
    pub(crate) fn first(mut self, rows: usize, answers: usize, threads: usize) -> Result<Set> {
        if rows == 0 || rows > self.base.rows {
            return Err(format!("--rows is {rows}: the set has {} rows", self.base.rows).into());
        }
        self.base.rows = rows;
        self.base.numbers.truncate(rows * self.base.width);
        let is_unit = |row: &[f32]| (row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3;
        if !self.base.numbers.chunks_exact(self.base.width).all(is_unit) {
            return Err("--rows needs rows of length 1: answers are looked for by inner product".into());
        }
        self.truth = truth::nearest(&self.base, &self.queries, answers, threads);
        Ok(self)
    }

    /// Writes the same files; the answers last, so that a set that was not written to its end is seen to be none.
    pub(crate) fn write(&self, folder: &Path) -> Result {
        std::fs::create_dir_all(folder)?;
        write(&folder.join("base.npy"), "<f4", &self.base, |number| number.to_le_bytes())?;
        write(&folder.join("queries.npy"), "<f4", &self.queries, |number| number.to_le_bytes())?;
        write(&folder.join("gt.npy"), "<i4", &self.truth, |number| number.to_le_bytes())
    }
}

fn write<T: Copy>(path: &Path, kind: &str, table: &Table<T>, bytes: impl Fn(T) -> [u8; 4]) -> Result {
    let mut header = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}, {}), }}",
        table.rows, table.width
    );
    // The numbers begin at a multiple of 64 bytes: magic, version and length take 10, the line ends with a line feed.
    header.extend(std::iter::repeat_n(' ', 63 - (10 + header.len()) % 64));
    header.push('\n');
    let written = || -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for number in &table.numbers {
            file.write_all(&bytes(*number))?;
        }
        file.into_inner()?.sync_all()
    };
    written().map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The files of a saved index with their sizes, by name; one if it is a file itself.
pub(crate) fn files(path: &Path) -> Result<Vec<(String, u64)>> {
    let name =
        |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let about = std::fs::metadata(path)?;
    if !about.is_dir() {
        return Ok(vec![(name(path), about.len())]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.push((name(&entry.path()), entry.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let table =
            |rows, width| Table { rows, width, numbers: (0..rows * width).map(|x| x as f32).collect() };
        let truth = Table { rows: 2, width: 1, numbers: vec![2, 0] };
        Set { base: table(3, 5), queries: table(2, 5), truth }.write(folder.path()).unwrap();
        let set = Set::read(folder.path()).unwrap();
        assert_eq!((set.base, set.queries), (table(3, 5), table(2, 5)));
        assert_eq!(set.truth.numbers, [2, 0]);
        let sizes = files(folder.path()).unwrap();
        assert_eq!(
            sizes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["base.npy", "gt.npy", "queries.npy"]
        );
        assert_eq!(sizes[0].1 % 64, 60);
        assert_eq!(files(&folder.path().join("gt.npy")).unwrap().len(), 1);
        std::fs::remove_file(folder.path().join("gt.npy")).unwrap();
        assert!(Set::read(folder.path()).is_err());
    }
}
