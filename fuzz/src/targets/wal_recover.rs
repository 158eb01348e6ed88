//! A folder of log files: the tail rule, repair, replay and writing on.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_platform::{Dir, MemoryDir};
use nearfield_types::Seq;
use nearfield_wal::conformance::{Operation, operations};
use nearfield_wal::{Class, FileLog, Kind, LogError, LogOptions, LogWriter, Syncer};

use super::input::Input;
use crate::checksums::{self, MEND};
use crate::fixtures;

/// Bit of the control byte: mended headers also continue the file before.
pub const CHAIN: u8 = 2;
/// Bit of the control byte: files are named after the Seq in their header, else they are numbered.
pub const NAMED: u8 = 4;
/// Bit of the control byte: the folder holds what killed processes leave behind, too.
pub const LEFTOVERS: u8 = 8;

/// Bit of the control byte: headers stay as they are even where nothing else is mended. Else their checksums are made true, for
/// the search for what a damaged header was takes longer than all the rest.
pub const DAMAGED_HEADERS: u8 = 16;

const FILES_MAX: usize = 8;

/// Input: control byte, Seq recorded as durable and Seq flushed (u32 each), then files, each after its length (u16).
///
/// What must hold: a refused log is left as it was. One that opens replays; a reader beside it sees the front of the same
/// operations; opening it again finds the same and has nothing to mend; what is appended then comes back behind them.
pub fn wal_recover(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let control = input.byte();
    let options = fixtures::log_options(Seq(input.u32().into()), Seq(input.u32().into()));
    let pieces = input.rest();
    let dir = folder(pieces, control);
    let before = files(&*dir);
    let log = match FileLog::open(dir.clone(), "log", options) {
        Ok(log) => log,
        Err(error) => {
            assert_eq!(files(&*dir), before, "{error}, and the folder was changed");
            return;
        }
    };
    let beside = FileLog::read(folder(pieces, control), "log", options);
    let found = operations(&log, Seq::ZERO).expect("an opened log replays");
    let seen = beside.and_then(|log| operations(&log, Seq::ZERO)).expect("what can be opened can be read");
    assert!(found.starts_with(&seen), "a reader saw {} operations, the writer {}", seen.len(), found.len());
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(found.iter().all(|(seq, ..)| *seq > options.flushed && *seq <= log.last()));
    drop(log);

    let again = FileLog::open(dir.clone(), "log", options).expect("a repaired log opens");
    let report = again.report();
    // A last file that is sealed takes no mark, and one without frames says nothing of itself: it is made durable once more.
    assert!(report.torn == 0 && report.rewritten <= 1, "{report:?}");
    assert_eq!(operations(&again, Seq::ZERO).as_ref(), Ok(&found));
    write_on(&dir, again, options, found);
}

fn folder(pieces: &[u8], control: u8) -> Arc<MemoryDir> {
    let mut input = Input::new(pieces);
    let dir = MemoryDir::new();
    dir.make_dir("log").expect("memory has room");
    let put = |name: &str, bytes: &[u8]| {
        // A name that is taken stays with its first file.
        if let Ok(file) = dir.create(&format!("log/{name}")) {
            file.write_at(0, &[bytes]).expect("memory has room");
        }
    };
    let mut last = None;
    for n in 1..=FILES_MAX {
        if input.is_empty() {
            break;
        }
        let mut file = input.piece().to_vec();
        if control & MEND != 0 {
            last = Some(checksums::log_file(&mut file, last.filter(|_| control & CHAIN != 0)));
        }
        if control & (MEND | DAMAGED_HEADERS) == 0 {
            checksums::log_header(&mut file);
        }
        let first = if control & NAMED != 0 { checksums::u64_at(&file, 32) } else { n as u64 };
        put(&format!("{first:020}.log"), &file);
    }
    if control & LEFTOVERS != 0 {
        put("00000000000000000001.log.tmp", b"half");
        put("00000000000000000001.log.torn", b"torn");
        put("replace-0.tmp", b"");
        put("notes", b"somebody else's");
    }
    dir
}

fn files(dir: &dyn Dir) -> BTreeMap<String, Vec<u8>> {
    let names = dir.list("log").expect("the folder is there").into_iter().map(|entry| entry.name);
    let bytes = |name: &str| dir.open(&format!("log/{name}")).expect("it was just listed").to_vec();
    names.map(|name| (name.clone(), bytes(&name))).collect()
}

fn write_on(dir: &Arc<MemoryDir>, log: FileLog, options: LogOptions, mut expected: Vec<Operation>) {
    let last = log.last();
    let (mut writer, syncer) = match log.into_writer() {
        Ok(both) => both,
        Err(error) => {
            assert_eq!(error, LogError::Exhausted);
            return;
        }
    };
    let bytes = [7; 300];
    let seq = match writer.append(Kind::Batch, Class::Ordinary, &[&bytes]) {
        Ok(seq) => seq,
        Err(error) => {
            assert_eq!(error, LogError::Exhausted);
            return;
        }
    };
    assert!(seq > last && seq > options.flushed && seq > options.synced, "{seq} was given out after {last}");
    assert!(syncer.sync(seq).is_ok_and(|synced| synced >= seq));
    drop(writer);
    expected.push((seq, Kind::Batch, bytes.to_vec()));
    let log = FileLog::open(dir.clone(), "log", options).expect("what was synced opens");
    assert_eq!(operations(&log, Seq::ZERO), Ok(expected));
}
