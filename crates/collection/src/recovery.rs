//! Making a collection, and opening one: manifest, segments, deltas, then the log.
//!
//! Opening looks at nothing but the newest whole manifest, the files it names and the log after it. A damaged truth file is
//! refused and named; nothing is guessed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearfield_codec::Summary;
use nearfield_platform::Dir;
use nearfield_segment::{PayloadField, Schema, Sealed, SealedFiles, Segment};
use nearfield_types::Seq;
use nearfield_wal::{FileLog, Kind, LogError, LogOptions, try_replay};

use crate::cell::{Cell, ManifestCell};
use crate::checkpoint::{Ledger, delta_path, remove_unnamed, segment_folder};
use crate::collection::{Collection, CollectionOptions};
use crate::config::{CollectionConfig, PartitionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::fields::open_fields;
use crate::index_entries::{open_indexes, remove_unnamed_indexes};
use crate::manifest::{Fields, FileKind, IndexEpoch, Manifest, SegmentEntry};
use crate::operation::Operation;
use crate::optimizers::OptimizerConfig;
use crate::settings::schema_of;
use crate::version::Member;

/// What to do about a damaged truth file.
pub(crate) const UNTRUSTED: &str = "the data in it cannot be trusted: restore it from a snapshot or a copy";

/// What opening a collection found worth telling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Damage that cost nothing: what was done instead.
    pub repaired: Vec<String>,
    /// How many operations were replayed from the log.
    pub replayed: u64,
}

impl Collection {
    /// Makes an empty collection in `folder`, whose parent exists. Durable when this returns; until then nothing names it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a configuration outside the limits, else what the directory returns.
    pub fn create(
        dir: &Arc<dyn Dir>,
        folder: &str,
        uuid: [u8; 16],
        config: &CollectionConfig,
        options: &CollectionOptions,
    ) -> Result<()> {
        config.check()?;
        let make = |path: &str| dir.make_dir(path).map_err(|e| Error::io(format!("making {path}"), e));
        for part in ["segments", "deltas", "staging", "log"] {
            make(&format!("{folder}/{part}"))?;
        }
        let manifest = Manifest {
            collection: uuid,
            wal: options.entropy.uuid_bytes(),
            flushed: Seq::ZERO,
            synced: Seq::ZERO,
            next_segment: 1,
            previous_crc: 0,
            config: config.clone(),
            epochs: vec![IndexEpoch::default(); config.vectors().len()],
            optimizers: OptimizerConfig::default(),
            fields: first_fields(config),
            segments: Vec::new(),
        };
        ManifestCell::new(Arc::clone(dir), folder).swap_if(None, &manifest.encode())?;
        let mut path = folder;
        loop {
            dir.sync_dir(path).map_err(|e| Error::io(format!("syncing {path:?}"), e))?;
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None if path.is_empty() => return Ok(()),
                None => path = "",
            }
        }
    }

    /// Opens the collection `uuid` in `folder` for writing. The caller holds the database's lock.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if truth is damaged, missing or another collection's, naming the file.
    pub fn open(
        dir: &Arc<dyn Dir>,
        folder: &str,
        uuid: [u8; 16],
        options: CollectionOptions,
    ) -> Result<(Arc<Collection>, OpenReport)> {
        let mut report = OpenReport::default();
        let cell = ManifestCell::new(Arc::clone(dir), folder);
        let found = cell.read()?.ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("{folder} holds no manifest: restore it from a snapshot or a copy"),
            )
        })?;
        let manifest = decode_manifest(&found.bytes, folder, found.version)?;
        if manifest.collection != uuid {
            let context = format!("{folder}/MANIFEST-{:020} belongs to another collection", found.version);
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        let fell_back = !found.damaged.is_empty();
        report
            .repaired
            .extend(found.damaged.iter().map(|why| format!("{why}; fell back to version {}", found.version)));
        let previous = match cell.previous(found.version)? {
            Some(value) => Some(decode_manifest(&value.bytes, folder, value.version)?),
            None => None,
        };
        // After damage nothing is removed before the next checkpoint: somebody may want to look at it.
        if !fell_back {
            clean(&**dir, folder, &manifest, previous.as_ref());
        }

        let schema = schema_of(&manifest.config, &manifest.optimizers);
        let (mut members, mut opened) = (Vec::with_capacity(manifest.segments.len()), Vec::new());
        let mut damaged_indexes = Vec::new();
        for entry in &manifest.segments {
            let sealed = Arc::new(open_segment(&**dir, folder, &schema, entry)?);
            damaged_indexes.extend(open_indexes(&**dir, folder, entry, &sealed));
            opened.push((entry.clone(), Arc::clone(&sealed)));
            members.push(Member { segment: Segment::Sealed(sealed), number: Some(entry.id) });
        }

        let log_options = LogOptions {
            synced: manifest.synced,
            flushed: manifest.flushed,
            ..LogOptions::new(manifest.wal)
        };
        let log_folder = format!("{folder}/log");
        let log = FileLog::open(Arc::clone(dir), &log_folder, log_options)
            .map_err(|e| log_open_error(&log_folder, e))?;
        if let Some(stop) = log.report().stop.filter(|_| log.report().torn > 0) {
            let at = format!("{log_folder}/{:020}.log ends at offset {}", stop.file, stop.offset);
            report
                .repaired
                .push(format!("{at}: the tail behind it was never acknowledged as durable and was cut off"));
        }
        let flushed = manifest.flushed;
        let ledger = Ledger { cell, version: found.version, manifest, previous };
        let mut collection =
            Collection::assemble(Arc::clone(dir), folder.to_owned(), options, members, ledger);
        report.replayed = collection.replay(&log, flushed)?;
        // Now it is known which payload indexes there are.
        let fields = collection.fields.load_full();
        for (entry, sealed) in &opened {
            damaged_indexes.extend(open_fields(&**dir, folder, entry, sealed, &fields));
        }
        collection.indexing.note_damage(damaged_indexes.len() as u64);
        report.repaired.extend(damaged_indexes);
        let (writer, syncer) = log.into_writer().map_err(|e| log_open_error(&log_folder, e))?;
        collection.start(writer, syncer);
        Ok((Arc::new(collection), report))
    }

    /// Applies every operation of the log after `flushed`; returns how many there were.
    fn replay(&self, log: &FileLog, flushed: Seq) -> Result<u64> {
        let dims: Vec<usize> = self.config().vectors().map(|(_, vector)| vector.dim as usize).collect();
        let mut replayed = 0;
        let visit = |seq: Seq, kind: Kind, bytes: &[u8]| -> std::result::Result<(), Replay> {
            if kind == Kind::Batch {
                let operation =
                    Operation::decode(bytes, &dims).map_err(|e| Replay::Operation(seq, e.to_string()))?;
                #[cfg(feature = "sabotage")]
                if crate::sabotage::drops(&operation) {
                    return Ok(());
                }
                self.apply(seq, &operation).map_err(|e| Replay::Operation(seq, e.to_string()))?;
                self.logged_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                replayed += 1;
            }
            Ok(())
        };
        try_replay(log, flushed, visit).map_err(|error| match error {
            Replay::Log(e) => log_open_error(&self.folder, e),
            Replay::Operation(seq, why) => {
                let context = format!(
                    "operation {seq} in the log of {} is whole but not understood: {why}",
                    self.folder
                );
                Error::new(ErrorKind::Corrupt, context)
            }
        })?;
        Ok(replayed)
    }
}

/// Why a replay ended.
enum Replay {
    Log(LogError),
    Operation(Seq, String),
}

impl From<LogError> for Replay {
    fn from(error: LogError) -> Self {
        Replay::Log(error)
    }
}

/// The payload indexes that a collection is made with: that of the field by which points are put together. Operation 0 made it.
fn first_fields(config: &CollectionConfig) -> Fields {
    let index = |partition: &PartitionConfig| {
        let (path, config) = (partition.parsed()?, partition.kind.config());
        Some(Arc::new(PayloadField { created: Seq::ZERO, path, config }))
    };
    Fields { changed: Seq::ZERO, list: config.partition().and_then(index).into_iter().collect() }
}

fn decode_manifest(bytes: &[u8], folder: &str, version: u64) -> Result<Manifest> {
    Manifest::decode(bytes).map_err(|e| {
        Error::caused(
            ErrorKind::Corrupt,
            format!("{folder}/MANIFEST-{version} is whole but not understood"),
            e,
        )
    })
}

/// Removes what no manifest names: attempts that were never committed. Failing to is harmless.
fn clean(dir: &dyn Dir, folder: &str, manifest: &Manifest, previous: Option<&Manifest>) {
    let mut kept = vec![manifest];
    kept.extend(previous);
    let _ = remove_unnamed(dir, folder, &kept);
    remove_unnamed_indexes(dir, folder, manifest);
    for place in [format!("{folder}/staging"), folder.to_owned()] {
        let Ok(entries) = dir.list(&place) else { continue };
        for entry in
            entries.iter().filter(|entry| place.ends_with("/staging") || entry.name.ends_with(".tmp"))
        {
            let _ = dir.remove(&format!("{place}/{}", entry.name));
        }
    }
}

fn open_segment(dir: &dyn Dir, folder: &str, schema: &Schema, entry: &SegmentEntry) -> Result<Sealed> {
    let corrupt =
        |what: &str| Error::new(ErrorKind::Corrupt, format!("the manifest of {folder} names {what}"));
    let one = |kind| entry.files.iter().find(|file| file.kind == kind).map(|file| file.summary);
    let vectors: Option<Vec<Summary>> =
        (0..schema.shapes().len()).map(|at| one(FileKind::Vectors(at as u16))).collect();
    let (Some(ids), Some(payload), Some(vectors)) = (one(FileKind::Ids), one(FileKind::Payload), vectors)
    else {
        return Err(corrupt(&format!("segment {} without all of its files", entry.id)));
    };
    let files = SealedFiles { ids, payload, vectors };
    let delta_path = entry.delta.as_ref().map(|(number, _)| delta_path(folder, entry.id, *number));
    let delta = delta_path.as_deref().zip(entry.delta.as_ref().map(|(_, file)| &file.summary));
    let opened = Sealed::open(dir, &segment_folder(folder, entry.id), schema, entry.rows, &files, delta);
    opened
        .map_err(|(path, e)| Error::caused(ErrorKind::Corrupt, format!("{path} is damaged ({UNTRUSTED})"), e))
}

fn log_open_error(folder: &str, error: LogError) -> Error {
    let kind = match &error {
        LogError::Io(_) | LogError::Poisoned(_) => ErrorKind::Unavailable,
        LogError::Full => ErrorKind::Full,
        LogError::Tag { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Corrupt,
    };
    Error::caused(kind, format!("{folder} cannot be opened"), error)
}
