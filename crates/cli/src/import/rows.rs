//! A file of vectors of any kind that is read, row by row.

use std::io::BufReader;
use std::path::Path;

use super::source::Seekable;
use crate::vecs::{self, Component};
use crate::{failure, npy};
use failure::{Failure, Outcome};

/// Rows of float32, whatever the file holds.
pub(crate) enum Rows {
    Npy(npy::Reader<Box<dyn Seekable>>),
    Vecs(vecs::Reader<BufReader<Box<dyn Seekable>>>),
}

impl Rows {
    /// The rows of a file; its name tells its kind.
    pub(crate) fn open(path: &Path, source: Box<dyn Seekable>) -> Outcome<Rows> {
        let kind = path.extension().and_then(|kind| kind.to_str()).map(str::to_ascii_lowercase);
        let component = match kind.as_deref() {
            Some("fvecs") => Component::F32,
            Some("bvecs") => Component::U8,
            _ => {
                let rows = npy::Reader::new(source).map_err(|error| error.to_string());
                return rows.map(Rows::Npy).map_err(|error| located(path, error));
            }
        };
        let rows = vecs::Reader::new(BufReader::with_capacity(1 << 20, source), component);
        rows.map(Rows::Vecs).map_err(|error| located(path, error.to_string()))
    }

    pub(crate) fn rows(&self) -> u64 {
        match self {
            Rows::Npy(reader) => reader.header().rows,
            Rows::Vecs(reader) => reader.rows(),
        }
    }

    pub(crate) fn dimension(&self) -> usize {
        match self {
            Rows::Npy(reader) => reader.header().dimension,
            Rows::Vecs(reader) => reader.dimension(),
        }
    }

    /// Makes `row` the next one.
    pub(crate) fn seek(&mut self, row: u64) -> Result<(), String> {
        match self {
            Rows::Npy(reader) => reader.seek(row).map_err(|error| error.to_string()),
            Rows::Vecs(reader) => reader.seek(row).map_err(|error| error.to_string()),
        }
    }

    /// The next row, or nothing after the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<Vec<f32>>, String> {
        match self {
            Rows::Npy(reader) => reader.next_row().map_err(|error| error.to_string()),
            Rows::Vecs(reader) => reader.next_row().map_err(|error| error.to_string()),
        }
    }
}

fn located(path: &Path, error: String) -> Failure {
    Failure::invalid(format!("{}: {error}", path.display()))
}
