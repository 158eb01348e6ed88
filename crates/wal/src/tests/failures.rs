//! Every call to the store fails once, or from then on: an error, never a wrong answer or a lost operation.

use std::io::ErrorKind;
use std::sync::Arc;

use nearfield_platform::{Dir, MemoryDir};
use nearfield_types::Seq;

use super::support::{Failing, append, files, options, replayed};
use crate::conformance::Operation;
use crate::{Cause, Class, FileLog, FileLogWriter, FileSyncer, Kind, LogError, LogWriter, Op, Syncer};

const KINDS: [ErrorKind; 6] = [
    ErrorKind::Other,
    ErrorKind::StorageFull,
    ErrorKind::QuotaExceeded,
    ErrorKind::Interrupted,
    ErrorKind::PermissionDenied,
    ErrorKind::WriteZero,
];

fn open(dir: &Arc<Failing>) -> Result<FileLog, LogError> {
    FileLog::open(Arc::clone(dir) as Arc<dyn Dir>, "log", options())
}

/// What one workload saw.
#[derive(Default)]
struct Seen {
    /// Appends that succeeded.
    written: Vec<Operation>,
    /// The operation whose append failed as poisoned, which may or may not be kept.
    uncertain: Option<Vec<u8>>,
    poisoned: Option<Cause>,
    errors: Vec<LogError>,
    closed: bool,
}

impl Seen {
    /// Notes an error; whatever succeeds after the log stopped is a broken promise.
    fn note<T>(&mut self, result: Result<T, LogError>) -> Option<T> {
        if let Some(cause) = self.poisoned {
            assert!(matches!(result, Err(LogError::Poisoned(found)) if found == cause), "after {cause}");
        }
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                if let LogError::Poisoned(cause) = error {
                    self.poisoned = Some(cause);
                }
                self.errors.push(error);
                None
            }
        }
    }

    fn append(&mut self, writer: &mut FileLogWriter, n: u64) {
        let was_poisoned = self.poisoned.is_some();
        let result = append(writer, n);
        if let Some(operation) = self.note(result) {
            self.written.push(operation);
        } else if self.poisoned.is_some() && !was_poisoned {
            self.uncertain = Some(super::support::bytes_of(n));
        }
    }

    fn sync(&mut self, syncer: &FileSyncer) {
        let before = syncer.synced();
        if self.note(syncer.sync(Seq::MAX)).is_none() {
            assert_eq!(syncer.synced(), before, "a failed sync promises nothing");
        }
    }
}

/// Opens, appends, syncs, rotates, releases, closes; twice.
fn work(dir: &Arc<Failing>) -> Seen {
    let mut seen = Seen::default();
    for life in 0..2 {
        let Some((mut writer, syncer)) = seen.note(open(dir).and_then(FileLog::into_writer)) else {
            return seen;
        };
        for n in 0..16 {
            seen.append(&mut writer, life * 16 + n);
            if n % 5 == 4 {
                seen.sync(&syncer);
            }
            if n == 9 {
                seen.note(writer.rotate());
                // Nothing to forget, but the leftovers go.
                if let Err(error) = syncer.release(Seq::ZERO) {
                    seen.errors.push(error);
                }
            }
            if n == 14 {
                seen.note(writer.sync_mark());
            }
        }
        if life == 1 {
            seen.closed = seen.note(writer.close()).is_some();
        }
        if seen.poisoned.is_some() {
            return seen;
        }
    }
    seen
}

/// What is kept after the trouble: all that succeeded, and perhaps the operation that failed.
#[track_caller]
fn check(dir: &Arc<Failing>, seen: &Seen, what: &str) {
    dir.heal();
    let found = replayed(&open(dir).unwrap_or_else(|error| panic!("{what}: {error}")));
    let (kept, more) = found.split_at(seen.written.len().min(found.len()));
    assert_eq!(kept, seen.written, "{what}");
    match (more, &seen.uncertain) {
        ([], _) => {}
        ([(_, _, bytes)], Some(uncertain)) => assert_eq!(bytes, uncertain, "{what}"),
        _ => panic!("{what}: {} operations too many", more.len()),
    }
    let (mut writer, syncer) = open(dir).unwrap().into_writer().unwrap();
    let (seq, ..) = append(&mut writer, 3).unwrap();
    assert!(found.last().is_none_or(|(last, ..)| seq > *last));
    assert!(syncer.sync(seq).unwrap() >= seq);
}

#[test]
fn every_call_fails_once_or_for_good() {
    let healthy = Failing::new(MemoryDir::new());
    let seen = work(&healthy);
    assert!(seen.closed && seen.errors.is_empty() && seen.written.len() == 32, "{:?}", seen.errors);
    let calls = healthy.calls();
    let (mut stopped, mut refused) = (0, 0);
    for kind in KINDS {
        for persistent in [false, true] {
            for at in 0..calls {
                let dir = Failing::new(MemoryDir::new());
                dir.fail(at, kind, persistent);
                let seen = work(&dir);
                let what = format!(
                    "call {at} ({:?}) fails with {kind}, persistent: {persistent}",
                    dir.failed().first()
                );
                let first = dir.failed()[0];
                let is_full = matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                // Sealing is a courtesy, and a file that finds no room is tried once more, smaller. All else must be heard of.
                let may_pass = first == "seal" || (is_full && !persistent);
                if !may_pass {
                    assert!(!seen.errors.is_empty(), "{what}: no error");
                }
                for error in &seen.errors {
                    match error {
                        LogError::Full => assert!(is_full, "{what}: {error}"),
                        LogError::Io(cause) | LogError::Poisoned(cause) => {
                            assert_eq!(cause.kind, kind, "{what}")
                        }
                        _ => panic!("{what}: {error}"),
                    }
                }
                stopped += u64::from(seen.poisoned.is_some());
                refused += u64::from(seen.poisoned.is_none() && !seen.errors.is_empty());
                check(&dir, &seen, &what);
            }
        }
    }
    assert!(stopped > 100 && refused > 100, "{stopped} stopped, {refused} refused");
}

/// What stops the log and what does not.
#[test]
fn only_writes_and_syncs_stop_the_log() {
    for (op, fatal) in
        [("write", true), ("sync", true), ("sync_dir", true), ("create", false), ("reserve", false)]
    {
        let mut tried = 0;
        for at in 0..200 {
            let dir = Failing::new(MemoryDir::new());
            let (mut writer, syncer) = open(&dir).unwrap().into_writer().unwrap();
            append(&mut writer, 0).unwrap();
            dir.fail(dir.calls() + at, ErrorKind::Other, false);
            let mut seen = Seen::default();
            for n in 0..30 {
                seen.append(&mut writer, n);
                seen.sync(&syncer);
            }
            if dir.failed().first() != Some(&op) {
                continue;
            }
            tried += 1;
            // The header of a file that is not yet part of the log is no write to the log: the file is removed again.
            let stopped = seen.poisoned.is_some();
            let in_new_file = matches!(seen.errors[0], LogError::Io(Cause { op: Op::Create, .. }));
            assert_eq!(stopped, fatal && !in_new_file, "{op} at {at}: {:?}", seen.errors);
            if let Some(cause) = seen.poisoned {
                assert_eq!(cause.op, if op == "write" { Op::Write } else { Op::Sync });
                assert!(LogError::Poisoned(cause).to_string().contains("reopening"));
            } else {
                assert_eq!(seen.errors.len(), 1, "the next append succeeds");
            }
        }
        assert!(tried > 0, "{op} was never tried");
    }
}

#[test]
fn a_file_that_cannot_be_removed_stops_nothing_but_appends() {
    let dir = Failing::new(MemoryDir::new());
    let (mut writer, syncer) = open(&dir).unwrap().into_writer().unwrap();
    let mut written = Vec::new();
    // The next file can neither be finished nor removed.
    let mut n = 0;
    let refused = loop {
        dir.fail(dir.calls() + 1, ErrorKind::Other, true);
        match append(&mut writer, n) {
            Ok(operation) => written.push(operation),
            Err(error) => break error,
        }
        n += 1;
    };
    assert!(matches!(refused, LogError::Io(Cause { op: Op::Create, .. })), "{refused}");
    let left = files(&**dir.inner()).len();
    let again = append(&mut writer, 1).unwrap_err();
    assert!(matches!(again, LogError::Io(Cause { op: Op::Remove, .. })), "{again}");
    dir.heal();
    written.push(append(&mut writer, 2).unwrap());
    assert!(files(&**dir.inner()).len() <= left);
    syncer.sync(Seq::MAX).unwrap();
    drop(writer);
    assert_eq!(replayed(&open(&dir).unwrap()), written);
}

#[test]
fn a_failed_release_is_tried_again() {
    let dir = Failing::new(MemoryDir::new());
    let (mut writer, syncer) = open(&dir).unwrap().into_writer().unwrap();
    let written: Vec<Operation> = (0..40).map(|n| append(&mut writer, n).unwrap()).collect();
    syncer.sync(Seq::MAX).unwrap();
    let before = files(&**dir.inner()).len();
    dir.fail(dir.calls() + 1, ErrorKind::Other, true);
    let error = syncer.release(Seq::MAX).unwrap_err();
    assert!(matches!(error, LogError::Io(Cause { op: Op::Remove, .. })), "{error}");
    assert_eq!(files(&**dir.inner()).len(), before - 1);
    dir.heal();
    syncer.release(Seq::MAX).unwrap();
    assert_eq!(files(&**dir.inner()).len(), 1);
    drop(writer);
    let flushed = written[39].0;
    let options = crate::LogOptions { flushed, ..options() };
    let log = FileLog::open(Arc::clone(&dir) as Arc<dyn Dir>, "log", options).unwrap();
    assert_eq!(log.last(), flushed);
}

/// Waiting syncs share the work: far fewer syncs of the file than calls.
#[test]
fn syncs_are_grouped() {
    let dir = Failing::new(MemoryDir::new());
    let roomy = crate::LogOptions { sizes: crate::LogSizes::default(), ..options() };
    let log = FileLog::open(Arc::clone(&dir) as Arc<dyn Dir>, "log", roomy).unwrap();
    let (mut writer, syncer) = log.into_writer().unwrap();
    let seqs: Vec<Seq> =
        (0..64).map(|_| writer.append(Kind::Batch, Class::Ordinary, &[b"x"]).unwrap()).collect();
    let before = dir.calls();
    std::thread::scope(|scope| {
        for seq in seqs {
            let syncer = &syncer;
            scope.spawn(move || syncer.sync(seq).unwrap());
        }
    });
    assert_eq!(dir.calls() - before, 1, "one sync serves all that was appended before it");
}

/// What is appended while a sync runs is not covered by it; what fails meanwhile is not forgotten by it.
#[test]
fn a_sync_covers_what_was_appended_before_it_began() {
    for fails in [false, true] {
        let dir = Failing::new(MemoryDir::new());
        let (mut writer, syncer) = open(&dir).unwrap().into_writer().unwrap();
        let (first, ..) = append(&mut writer, 1).unwrap();
        let between = Arc::new(parking_lot::Mutex::new(None));
        let (append_dir, append_between) = (Arc::clone(&dir), Arc::clone(&between));
        dir.during_sync(move || {
            if fails {
                append_dir.fail(append_dir.calls(), ErrorKind::Other, false);
            }
            *append_between.lock() = Some(append(&mut writer, 2));
        });
        let synced = syncer.sync(Seq::MAX);
        let appended = between.lock().take().expect("it was appended during the sync");
        if fails {
            let error = appended.unwrap_err();
            assert_eq!(synced, Err(error), "nothing is acknowledged after the first failure");
            assert_eq!(syncer.synced(), Seq::ZERO);
        } else {
            assert_eq!((synced, syncer.synced()), (Ok(first), first));
            assert_eq!(syncer.sync(Seq::MAX), Ok(appended.unwrap().0));
        }
    }
}

/// A sync that unwinds has an unknown outcome: nobody waits for it, nobody is told of success.
#[test]
fn a_sync_that_unwinds_stops_the_log() {
    let dir = Failing::new(MemoryDir::new());
    let (mut writer, syncer) = open(&dir).unwrap().into_writer().unwrap();
    append(&mut writer, 1).unwrap();
    dir.during_sync(|| panic!("the store is broken"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| syncer.sync(Seq::MAX))).unwrap_err();
    assert!(matches!(syncer.sync(Seq::MAX), Err(LogError::Poisoned(Cause { op: Op::Sync, .. }))));
    assert!(matches!(append(&mut writer, 2), Err(LogError::Poisoned(_))));
    assert_eq!(syncer.synced(), Seq::ZERO);
}
