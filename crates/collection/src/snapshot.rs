//! Taking a collection down as it is at one Seq, beside its writer.
//!
//! | step | writers meanwhile | a crash here leaves |
//! |---|---|---|
//! | hold the checkpoint's lock: no file of the manifest and no log goes | write on | nothing |
//! | end the log's file at L | wait for one small write | nothing |
//! | sync the log through L | write on | nothing |
//! | link the manifest's files into the store, the log's after `flushed` into `staging/`; let checkpoints go on | write on | objects that nothing names, staging |
//! | digest the log's files and put them into the store | write on | the same |
//!
//! What comes of it counts when the caller publishes it. **It refuses** to seal anything: what is in memory at L is in the log at L.

use std::io::ErrorKind as IoKind;
use std::sync::Arc;

use nearfield_codec::{Container, FileTag, Region, crc64};
use nearfield_platform::Dir;
use nearfield_segment::{IDS_FILE, PAYLOAD_FILE, vectors_file};
use nearfield_snapshot::{Digest, Entry, Hold, Object, Put, SnapshotStore, Source, StoreError};
use nearfield_types::Seq;
use nearfield_wal::{FinishedFile, scan};

use crate::checkpoint::{Ledger, delta_path, segment_folder};
use crate::collection::{Collection, closed};
use crate::error::{Error, ErrorKind, Result};
use crate::indexing::index_name;
use crate::manifest::{FileEntry, FileKind, Manifest};
use crate::view::View;

/// A finished file of the log is copied up to its last frame instead of being linked, if it has reserved more than this many times the
/// bytes it was filled with: the room would be kept as long as the link.
const LOG_WASTE_MAX: u64 = 2;

/// A collection at one Seq, its files in a store.
#[derive(Clone, Debug)]
pub struct Captured {
    /// What the collection was made of. Its `synced` is the end of the log that was taken.
    pub manifest: Manifest,
    /// Everything at or before this is in it, and nothing after.
    pub seq: Seq,
    /// How many points it has.
    pub points: u64,
    /// Its files, by their paths in the shard's folder.
    pub files: Vec<Entry>,
    /// Bytes that were copied because they could not be linked, or had no file of their own.
    pub copied: u64,
}

/// What is in the manifest and must not go before it is in the store.
struct Truth {
    manifest: Manifest,
    view: View,
    seq: Seq,
    log: Vec<FinishedFile>,
}

/// A file on its way into the store.
struct Pending {
    /// Its path in the shard's folder.
    path: String,
    /// Its bytes, which outlive its name.
    bytes: Region,
    /// A name of its own that nobody else removes, to be linked from.
    staged: Option<Staged>,
}

/// A second name of a file of the log in `staging/`, which goes with this, whatever becomes of the snapshot: while it stays, so do the bytes.
struct Staged {
    dir: Arc<dyn Dir>,
    path: String,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays is removed at the next opening.
        let _ = self.dir.remove(&self.path);
    }
}

impl Collection {
    /// Puts the collection as it is now into `store`, under `hold`. All that was acknowledged before the call is in it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] without room, [`ErrorKind::Unavailable`] if the log or the store failed. Nothing but the log can end the
    /// collection's own writing.
    pub fn capture(&self, store: &dyn SnapshotStore, hold: &Hold) -> Result<Captured> {
        let ledger = self.checkpoint.lock();
        let truth = self.cut(&ledger)?;
        let (mut files, mut copies) = (Vec::new(), Vec::new());
        for (path, file) in named_files(&truth.manifest) {
            let entry = entry(&path, &file);
            let from = format!("{}/{path}", self.folder);
            match store.put(hold, &entry.object, Source::File(&from)).map_err(store_error)? {
                Put::Refused => copies.push((entry.object, self.read(&from)?)),
                Put::There | Put::Linked | Put::Copied => {}
            }
            files.push(entry);
        }
        let logs: Vec<Pending> = truth.log.iter().map(|file| self.stage(file)).collect::<Result<_>>()?;
        drop(ledger);

        let mut copied = 0;
        for (object, bytes) in copies {
            copied += put_bytes(store, hold, &object, &bytes)?;
        }
        for log in logs {
            let (entry, bytes) = put_log(store, hold, &log)?;
            copied += bytes;
            files.push(entry);
        }
        let points = truth.view.count();
        Ok(Captured { manifest: truth.manifest, seq: truth.seq, points, files, copied })
    }

    /// Ends the log's file and makes it durable. The caller holds the checkpoint's lock, so what the manifest names stays.
    fn cut(&self, ledger: &Ledger) -> Result<Truth> {
        self.check_writable()?;
        let flushed = ledger.manifest.flushed;
        let (seq, last, (flushed, log), view) = {
            let mut writer = self.writer.lock();
            let log = writer.log.as_mut().ok_or_else(closed)?;
            let seq = self.applied();
            // Without an operation after `flushed` the files say it all.
            let finished = match seq > flushed {
                true => {
                    log.rotate().map_err(|e| self.log_error(e))?;
                    log.finished(flushed)
                }
                false => (flushed, Vec::new()),
            };
            let view = View { seen: seq, ..self.view() };
            (seq, log.last(), finished, view)
        };
        self.sync_through(last)?;
        let synced = log.last().map_or(flushed, |file| file.last);
        let manifest = Manifest { flushed, synced, ..ledger.manifest.clone() };
        Ok(Truth { manifest, view, seq, log })
    }

    fn read(&self, path: &str) -> Result<Region> {
        self.dir.open(path).map_err(|e| Error::io(format!("reading {path}"), e))
    }

    /// Keeps a file of the log from going when a checkpoint releases it.
    fn stage(&self, file: &FinishedFile) -> Result<Pending> {
        let from = format!("{}/log/{}", self.folder, file.name);
        let bytes = self.read(&from)?;
        let path = format!("log/{}", file.name);
        let used = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        if bytes.len() as u64 > file.bytes.saturating_mul(LOG_WASTE_MAX) {
            let frames = bytes.slice(0..used).ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, format!("{from} has {} bytes, expected {used}", bytes.len()))
            })?;
            return Ok(Pending { path, bytes: frames, staged: None });
        }
        let staged = format!("{}/staging/log-{:016x}", self.folder, self.options.entropy.u64());
        // Where it cannot be linked it is copied.
        let linked = self.dir.link(&from, &staged).is_ok();
        let staged = linked.then(|| Staged { dir: Arc::clone(&self.dir), path: staged });
        Ok(Pending { path, bytes, staged })
    }
}

/// Digests a file of the log and puts it into the store; returns how many bytes were copied.
fn put_log(store: &dyn SnapshotStore, hold: &Hold, log: &Pending) -> Result<(Entry, u64)> {
    let object = Object { digest: Digest::of(&log.bytes), length: log.bytes.len() as u64 };
    let entry = Entry { path: log.path.clone(), object, crc64: crc64(&log.bytes) };
    let linked = log.staged.as_ref().map(|staged| store.put(hold, &object, Source::File(&staged.path)));
    match linked.transpose().map_err(store_error)? {
        None | Some(Put::Refused) => Ok((entry, put_bytes(store, hold, &object, &log.bytes)?)),
        Some(Put::There | Put::Linked | Put::Copied) => Ok((entry, 0)),
    }
}

fn put_bytes(store: &dyn SnapshotStore, hold: &Hold, object: &Object, bytes: &[u8]) -> Result<u64> {
    match store.put(hold, object, Source::Bytes(bytes)).map_err(store_error)? {
        Put::Copied => Ok(object.length),
        Put::There | Put::Linked | Put::Refused => Ok(0),
    }
}

fn entry(path: &str, file: &FileEntry) -> Entry {
    let object = Object { digest: Digest(file.summary.blake3), length: file.summary.length };
    Entry { path: path.to_owned(), object, crc64: file.summary.crc64 }
}

/// The files that a manifest names, by their paths in the shard's folder.
pub(crate) fn named_files(manifest: &Manifest) -> Vec<(String, FileEntry)> {
    let mut named = Vec::new();
    for segment in &manifest.segments {
        let folder = segment_folder("", segment.id);
        let folder = folder.trim_start_matches('/');
        for file in &segment.files {
            named.extend(file_name(file).map(|name| (format!("{folder}/{name}"), file.clone())));
        }
        if let Some((number, file)) = &segment.delta {
            named
                .push((delta_path("", segment.id, *number).trim_start_matches('/').to_owned(), file.clone()));
        }
    }
    named
}

/// The name of a segment's own file; a delta lies elsewhere.
fn file_name(file: &FileEntry) -> Option<String> {
    match file.kind {
        FileKind::Ids => Some(IDS_FILE.to_owned()),
        FileKind::Payload => Some(PAYLOAD_FILE.to_owned()),
        FileKind::Vectors(vector) => Some(vectors_file(vector.into())),
        _ => index_name(file),
    }
}

/// Where bytes, whose digest does not hold, are damaged, as far as their own checksums tell: the file is at `path` in a shard's folder.
pub fn whereabouts(path: &str, bytes: &Region) -> String {
    if path.starts_with("log/") {
        return match scan(bytes) {
            Err(_) => "the damage is in its header, at offset 0".to_owned(),
            Ok(found) => format!("its frames are whole up to offset {}", found.bytes),
        };
    }
    // A container of whatever kind: the tag is not what is asked about.
    let magic = bytes.first_chunk().copied().unwrap_or_default();
    let opened = Container::open(bytes.clone(), FileTag::new(magic, u16::MAX, u16::MAX));
    match opened.and_then(|file| file.verify_all()) {
        Err(error) => error.to_string(),
        Ok(()) => "its own checksums hold: it is another file".to_owned(),
    }
}

/// What a failed store means to whoever asked: full disks are [`ErrorKind::Full`], damage is [`ErrorKind::Corrupt`].
pub fn store_error(error: StoreError) -> Error {
    let kind = match &error {
        StoreError::Io(e) if matches!(e.kind(), IoKind::StorageFull | IoKind::QuotaExceeded) => {
            ErrorKind::Full
        }
        StoreError::Io(_) => ErrorKind::Unavailable,
        StoreError::Missing { .. } | StoreError::Damaged { .. } => ErrorKind::Corrupt,
        StoreError::TooNew { .. } => ErrorKind::Unsupported,
        StoreError::Conflict { .. } => ErrorKind::Exists,
        StoreError::Unknown { .. } => ErrorKind::NotFound,
        StoreError::Name { .. } | StoreError::Ttl { .. } | StoreError::Manifest(_) => ErrorKind::Invalid,
        StoreError::TooManyPins { .. } => ErrorKind::Full,
    };
    Error::caused(kind, "the snapshots", error)
}
