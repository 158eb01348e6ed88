//! How far an import is, kept in a small file so that a stopped one can go on.
//!
//! **It refuses** to be ahead: a row counts as imported only when all operations up to its batch survive power loss
//! (`Collection::synced_seq`). Being behind is harmless, because points are written by id.
//!
//! # Invariants
//!
//! 1. The file is replaced atomically; it is the old or the new one, never a part.
//! 2. Going on is refused when the files, the collection or the origin of ids are not the same, or the last point is missing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use nearfield::Seq;
use serde_json::{Value as Json, json};

use super::source::Place;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Identity};
use crate::json::record::{exact_id, read_exact_id};
use crate::timing::Stopwatch;

/// The version of the file's content.
const FORMAT: u64 = 1;
/// More bytes than the longest checkpoint: 64 files with paths, and an id.
const BYTES_MAX: u64 = 1 << 20;
/// The file is written so often.
const INTERVAL: Duration = Duration::from_millis(500);

/// What an import reads and writes; the same when it is continued.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) collection: String,
    /// `row` or the field.
    pub(crate) ids: String,
    /// What each file is for ("vectors", "vectors NAME", "payload"), its path for people, and what identifies it.
    pub(crate) files: Vec<(String, PathBuf, Identity)>,
}

/// Keeps the checkpoint of one import.
pub(crate) struct Checkpoint {
    path: PathBuf,
    job: Job,
    /// Batches acknowledged, but not known to be durable yet.
    pending: VecDeque<(Seq, Place)>,
    /// Where the next import may begin.
    durable: Place,
    /// The row in the file.
    saved: u64,
    since_saved: Stopwatch,
}

impl Checkpoint {
    /// For an import that begins at `start`.
    pub(crate) fn new(path: PathBuf, job: Job, start: Place) -> Self {
        let saved = start.row;
        let since_saved = Stopwatch::start();
        Checkpoint { path, job, pending: VecDeque::new(), durable: start, saved, since_saved }
    }

    /// Notes a batch that was acknowledged as `seq`; every operation up to `synced` is durable. Writes the file now and then.
    pub(crate) fn written(&mut self, place: Place, seq: Seq, synced: Seq) -> Outcome<()> {
        self.pending.push_back((seq, place));
        self.settle(synced);
        if self.since_saved.elapsed() < INTERVAL { Ok(()) } else { self.save() }
    }

    /// Takes over what has become durable.
    pub(crate) fn settle(&mut self, synced: Seq) {
        while self.pending.front().is_some_and(|(seq, _)| *seq <= synced) {
            if let Some((_, place)) = self.pending.pop_front() {
                self.durable = place;
            }
        }
    }

    /// Writes the file if there is something new to say.
    pub(crate) fn save(&mut self) -> Outcome<()> {
        self.since_saved = Stopwatch::start();
        if self.durable.row == self.saved {
            return Ok(());
        }
        files::replace(&self.path, format!("{:#}\n", self.json()).as_bytes())?;
        self.saved = self.durable.row;
        Ok(())
    }

    /// Removes the file: the import is done.
    pub(crate) fn remove(self) -> Outcome<()> {
        files::remove(&self.path)
    }

    /// The place in the file at `path`, if there is one, provided that it belongs to `job`.
    pub(crate) fn load(path: &std::path::Path, job: &Job) -> Outcome<Option<Place>> {
        let Some(text) = files::read_small(path, BYTES_MAX)? else { return Ok(None) };
        read(&text, job).map(Some).map_err(|message| {
            Failure::invalid(format!("cannot resume from {}: {message}", path.display()))
                .advise("leave --resume out to import from the first row: points are written by id, nothing is doubled")
        })
    }

    fn json(&self) -> Json {
        let files = self
            .job
            .files
            .iter()
            .map(|(role, path, identity)| file_json(role, &path.display().to_string(), identity));
        json!({
            "format": FORMAT,
            "collection": self.job.collection,
            "ids": self.job.ids,
            "files": files.collect::<Vec<_>>(),
            "next_row": self.durable.row,
            "payload_offset": self.durable.payload_offset,
            "last_id": self.durable.last_id.as_ref().map(exact_id),
        })
    }
}

fn file_json(role: &str, path: &str, identity: &Identity) -> Json {
    json!({
        "role": role,
        "path": path,
        "bytes": identity.bytes,
        "modified_ns": identity.modified_ns,
        "head_crc64": format!("{:016x}", identity.head),
    })
}

/// Reads a checkpoint and compares it with `job`.
fn read(text: &str, job: &Job) -> Result<Place, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| format!("the file is damaged ({error})"))?;
    let number = |field: &str| {
        json[field].as_u64().ok_or_else(|| format!("the file is damaged ({field} is no number)"))
    };
    let format = number("format")?;
    if format != FORMAT {
        return Err(format!("its format is {format}, this program reads {FORMAT}"));
    }
    for (field, now) in [("collection", &job.collection), ("ids", &job.ids)] {
        let then = json[field].as_str().unwrap_or_default();
        if then != now {
            return Err(format!("{field} was {then:?} then and is {now:?} now"));
        }
    }
    let then = json["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    if then.len() != job.files.len() {
        return Err(format!("it was an import of {} files, this is one of {}", then.len(), job.files.len()));
    }
    for (then, (role, path, identity)) in then.iter().zip(&job.files) {
        // The path is for people; a file that was moved is the same file.
        if *then != file_json(role, then["path"].as_str().unwrap_or_default(), identity) {
            return Err(format!(
                "{} ({role}) is not the file it was: it was changed or replaced",
                path.display()
            ));
        }
    }
    let last_id = read_exact_id(&json["last_id"]);
    let last_id = Some(last_id.ok_or("the file is damaged (last_id is no id)")?);
    Ok(Place { row: number("next_row")?, payload_offset: number("payload_offset")?, last_id })
}

#[cfg(test)]
mod tests {
    use nearfield::PointId;

    use super::*;

    fn job() -> Job {
        let identity = Identity { bytes: 10, modified_ns: u64::MAX, head: u64::MAX - 1 };
        Job {
            collection: "words".into(),
            ids: "id".into(),
            files: vec![
                ("vectors".into(), "base.npy".into(), identity),
                ("payload".into(), "p.jsonl".into(), Identity { bytes: 11, ..identity }),
            ],
        }
    }

    fn place(row: u64) -> Place {
        Place { row, payload_offset: row * 100, last_id: Some(PointId::from(format!("{row}"))) }
    }

    #[test]
    fn it_never_passes_the_durable_seq() {
        let mut checkpoint = Checkpoint::new("unused".into(), job(), Place::default());
        for batch in 1..=4 {
            checkpoint.written(place(batch * 10), Seq(batch), Seq(0)).unwrap();
            assert_eq!(checkpoint.durable.row, 0);
        }
        for (synced, row) in [(2, 20), (1, 20), (3, 30), (100, 40)] {
            checkpoint.settle(Seq(synced));
            assert_eq!(checkpoint.durable.row, row);
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_a_moved_file_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert_eq!(Checkpoint::load(&path, &job()).unwrap(), None);
        let mut checkpoint = Checkpoint::new(path.clone(), job(), Place::default());
        checkpoint.save().unwrap();
        assert_eq!(Checkpoint::load(&path, &job()).unwrap(), None);
        checkpoint.written(place(7), Seq(1), Seq(1)).unwrap();
        checkpoint.save().unwrap();
        let mut moved = job();
        moved.files[0].1 = "elsewhere/base.npy".into();
        assert_eq!(Checkpoint::load(&path, &moved).unwrap(), Some(place(7)));
        checkpoint.remove().unwrap();
        assert_eq!(Checkpoint::load(&path, &job()).unwrap(), None);
    }

    #[test]
    fn another_job_or_a_damaged_file_is_refused() {
        let mut checkpoint = Checkpoint::new("unused".into(), job(), Place::default());
        checkpoint.durable = place(7);
        let good = checkpoint.json();
        assert_eq!(read(&good.to_string(), &job()), Ok(place(7)));
        let with = |field: &str, value: Json| {
            let mut json = good.clone();
            json[field] = value;
            read(&json.to_string(), &job()).unwrap_err()
        };
        assert!(with("format", json!(2)).contains("format is 2"));
        assert!(with("collection", json!("other")).contains("was \"other\" then"));
        assert!(with("ids", json!("row")).contains("ids was \"row\""));
        assert!(with("next_row", json!(-1)).contains("next_row"));
        assert!(with("last_id", json!(null)).contains("last_id"));
        assert!(with("files", json!([])).contains("0 files"));
        assert!(read("{", &job()).unwrap_err().contains("damaged"));
        let mut changed = job();
        changed.files[1].2.modified_ns -= 1;
        assert!(
            read(&good.to_string(), &changed)
                .unwrap_err()
                .contains("p.jsonl (payload) is not the file it was")
        );
    }
}
