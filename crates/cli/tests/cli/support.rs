//! A folder of its own for each test, files as NumPy writes them, and the program run in that folder.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make their own input files")]
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A working folder for one test.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Changes a file and sets its times back, so that it seems untouched.
    pub(crate) fn forge(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let time = fs::metadata(self.path(name)).unwrap().modified().unwrap();
        self.write(name, bytes);
        fs::File::options().write(true).open(self.path(name)).unwrap().set_modified(time).unwrap();
    }

    /// `rows` vectors of `dimension` numbers as float32, and one payload line for each.
    pub(crate) fn write_points(&self, rows: usize, dimension: usize) {
        let vectors: Vec<f32> = (0..rows).flat_map(|row| vector(row, dimension)).collect();
        self.write("v.npy", npy("<f4", &format!("({rows}, {dimension})"), &floats(&vectors)));
        self.write("p.jsonl", lines(0..rows));
    }

    /// The program with these words, split at spaces, ready to run.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearfield"));
        command.args(words.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    /// What people see on standard output; the command must succeed.
    pub(crate) fn text(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one JSON object on standard output; the command must succeed.
    pub(crate) fn json(&self, words: &str) -> Json {
        serde_json::from_str(&self.text(&format!("{words} --json"))).unwrap()
    }

    /// The error; the command must fail with status 1. People get the same words as scripts.
    pub(crate) fn error(&self, words: &str) -> Json {
        error_of(&self.run(&format!("{words} --json")), words)
    }

    pub(crate) fn spawn(&self, words: &str) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }
}

/// The error object of a command that failed.
pub(crate) fn error_of(output: &Output, words: &str) -> Json {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}: {text}");
    assert!(output.stdout.is_empty(), "{words} printed something beside its error");
    let json: Json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words}: {text}"));
    assert_eq!(text.lines().count(), 1, "{words}: {text}");
    json["error"].clone()
}

/// The `row`th vector: directions that all differ.
pub(crate) fn vector(row: usize, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|at| ((row * 7 + at * 13) % 101) as f32 - 50.0 + (row as f32) / 1e4).collect()
}

/// The payload line of each row.
pub(crate) fn lines(rows: impl Iterator<Item = usize>) -> String {
    rows.map(|row| format!("{{\"key\": \"k{row}\", \"text\": \"row number {row}\", \"n\": {row}}}\n"))
        .collect()
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A `.npy` file of version 1.0.
pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy_with(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"), data)
}

pub(crate) fn npy_with(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{dictionary:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(data);
    bytes
}
