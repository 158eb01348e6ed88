//! What every log must do, as one suite: `conformance::log(&|| ...)` from a test.
//!
//! It shows what can be seen without a power cut. A case panics with the line that failed, as tests do.

use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_types::Seq;

use crate::{Class, Kind, LogError, LogReader, LogWriter, Syncer};

const FINE: &str = "the log is healthy and the call is within the contract";

/// An operation as replay shows it.
pub type Operation = (Seq, Kind, Vec<u8>);

/// Both sides of a log that is being written.
pub type Writing = (Box<dyn LogWriter>, Arc<dyn Syncer>);

/// One log, to be opened again and again; never by two at once.
pub trait Store {
    /// Opens the log to read it from the front, or after `released`, the largest Seq given to `release` so far.
    ///
    /// # Errors
    ///
    /// Those of the log.
    fn reader(&self, released: Seq) -> Result<Box<dyn LogReader>, LogError>;

    /// Opens the log to write behind all that it holds, `released` as for a reader. Dropping the writer is what a killed process does to it.
    ///
    /// # Errors
    ///
    /// Those of the log.
    fn writer(&self, released: Seq) -> Result<Writing, LogError>;
}

/// All operations after `after`.
///
/// # Errors
///
/// Those of the log.
pub fn operations(log: &dyn LogReader, after: Seq) -> Result<Vec<Operation>, LogError> {
    let mut found = Vec::new();
    log.replay(after, &mut |seq, kind, bytes| {
        found.push((seq, kind, bytes.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Runs the whole suite, each case on a new, empty log that `make` gives.
///
/// # Panics
///
/// Where the log breaks the contract.
pub fn log(make: &dyn Fn() -> Box<dyn Store>) {
    let cases: [fn(&dyn Store); 9] = [
        empty,
        operations_come_back,
        lives_follow_one_another,
        replay_begins_and_breaks,
        long_operations,
        too_large,
        syncing,
        syncing_together,
        releasing,
    ];
    for case in cases {
        case(&*make());
    }
}

#[track_caller]
fn all(store: &dyn Store) -> Vec<Operation> {
    operations(&*store.reader(Seq::ZERO).expect(FINE), Seq::ZERO).expect(FINE)
}

/// Bytes that differ from operation to operation.
fn payload(n: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (n * 31 + i * 7) as u8).collect()
}

/// Appends `count` operations, numbered from `from`; answers them as replay must show them.
#[track_caller]
fn append(writer: &mut dyn LogWriter, from: u64, count: u64) -> Vec<Operation> {
    let kinds = [Kind::Batch, Kind::Config, Kind::Checkpoint];
    let classes = [Class::Ordinary, Class::Reducing];
    let one = |n: u64| {
        let (kind, class) = (kinds[n as usize % 3], classes[n as usize % 2]);
        let bytes = payload(n, (n * 13 % 257) as usize);
        let (front, back) = bytes.split_at(bytes.len() / 3);
        let seq = writer.append(kind, class, &[front, &[], back]).expect(FINE);
        (seq, kind, bytes)
    };
    (from..from + count).map(one).collect()
}

fn empty(store: &dyn Store) {
    assert_eq!(all(store), []);
    let (writer, syncer) = store.writer(Seq::ZERO).expect(FINE);
    assert_eq!(syncer.sync(Seq::MAX).expect(FINE), syncer.synced());
    drop(writer);
    assert_eq!(all(store), []);
}

fn operations_come_back(store: &dyn Store) {
    let (mut writer, _) = store.writer(Seq::ZERO).expect(FINE);
    let written = append(&mut *writer, 0, 500);
    assert!(written.windows(2).all(|pair| pair[0].0 < pair[1].0), "Seqs grow");
    assert!(written[0].0 > Seq::ZERO);
    drop(writer);
    assert_eq!(all(store), written);
    assert_eq!(all(store), written, "opening changes nothing");
}

fn lives_follow_one_another(store: &dyn Store) {
    let mut written: Vec<Operation> = Vec::new();
    for life in 0..5 {
        let (mut writer, syncer) = store.writer(Seq::ZERO).expect(FINE);
        assert_eq!(syncer.synced(), syncer.sync(Seq::MAX).expect(FINE));
        let new = append(&mut *writer, life * 100, life * 3);
        let last = written.last().map_or(Seq::ZERO, |(seq, ..)| *seq);
        assert!(new.iter().all(|(seq, ..)| *seq > last), "a later life's Seqs are larger");
        written.extend(new);
        drop((writer, syncer));
        assert_eq!(all(store), written);
    }
}

fn replay_begins_and_breaks(store: &dyn Store) {
    let (mut writer, _) = store.writer(Seq::ZERO).expect(FINE);
    let written = append(&mut *writer, 0, 40);
    drop(writer);
    let reader = store.reader(Seq::ZERO).expect(FINE);
    for skip in [0, 1, 17, 39] {
        assert_eq!(operations(&*reader, written[skip].0).expect(FINE), written[skip + 1..]);
    }
    assert_eq!(operations(&*reader, Seq::MAX).expect(FINE), []);
    let mut seen = Vec::new();
    let through = reader.replay(written[4].0, &mut |seq, _, _| {
        seen.push(seq);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(seen, [written[5].0, written[6].0, written[7].0]);
    assert_eq!(through, Ok(written[7].0));
}

fn long_operations(store: &dyn Store) {
    let (mut writer, _) = store.writer(Seq::ZERO).expect(FINE);
    let mut written = append(&mut *writer, 0, 5);
    for (n, len) in [(0, 100_000), (1, 3_000_000), (2, 65_536)] {
        let bytes = payload(n, len);
        let parts: Vec<&[u8]> = bytes.chunks(len / 7).collect();
        let seq = writer.append(Kind::Batch, Class::Ordinary, &parts).expect(FINE);
        written.push((seq, Kind::Batch, bytes));
        written.extend(append(&mut *writer, n, 2));
    }
    drop(writer);
    assert_eq!(all(store), written);
}

fn too_large(store: &dyn Store) {
    let (mut writer, _) = store.writer(Seq::ZERO).expect(FINE);
    let part = vec![0; 1 << 20];
    let parts = vec![&part[..]; 1025];
    let refused = writer.append(Kind::Batch, Class::Reducing, &parts);
    assert!(
        matches!(refused, Err(LogError::TooLarge { bytes, max }) if bytes == 1025 << 20 && max <= 1 << 30)
    );
    let written = append(&mut *writer, 0, 3);
    drop(writer);
    assert_eq!(all(store), written);
}

fn syncing(store: &dyn Store) {
    let (mut writer, syncer) = store.writer(Seq::ZERO).expect(FINE);
    for round in 0..20 {
        let before = syncer.synced();
        let written = append(&mut *writer, round * 10, 7);
        assert_eq!(syncer.synced(), before, "appending is not syncing");
        let (third, last) = (written[2].0, written[6].0);
        let answer = syncer.sync(third).expect(FINE);
        assert!(answer >= third && syncer.synced() == answer);
        assert!(syncer.sync(Seq::MAX).expect(FINE) >= last, "a Seq not yet appended asks for all that was");
        assert_eq!(syncer.sync(third).expect(FINE), syncer.synced(), "what is durable stays so");
    }
}

fn syncing_together(store: &dyn Store) {
    let (mut writer, syncer) = store.writer(Seq::ZERO).expect(FINE);
    let syncer = &*syncer;
    let written = std::thread::scope(|scope| {
        let mut written = Vec::new();
        for round in 0..8 {
            let new = append(&mut *writer, round * 10, 8);
            for &(seq, ..) in &new {
                scope.spawn(move || assert!(syncer.sync(seq).expect(FINE) >= seq));
            }
            written.extend(new);
        }
        written
    });
    assert!(syncer.synced() >= written[63].0);
    drop(writer);
    assert_eq!(all(store), written);
}

fn releasing(store: &dyn Store) {
    let (mut writer, syncer) = store.writer(Seq::ZERO).expect(FINE);
    let written = append(&mut *writer, 0, 300);
    syncer.release(Seq::MAX).expect(FINE);
    let last = written[299].0;
    syncer.sync(last).expect(FINE);
    let kept = written[200].0;
    syncer.release(kept).expect(FINE);
    syncer.release(kept).expect(FINE);
    let more = append(&mut *writer, 300, 3);
    drop(writer);
    // What was released may be gone; nothing after it is.
    let found = operations(&*store.reader(kept).expect(FINE), kept).expect(FINE);
    assert_eq!(found, [&written[201..], &more].concat());
    let (mut writer, syncer) = store.writer(kept).expect(FINE);
    let last = append(&mut *writer, 400, 1);
    syncer.sync(Seq::MAX).expect(FINE);
    syncer.release(Seq::MAX).expect(FINE);
    drop(writer);
    assert_eq!(operations(&*store.reader(last[0].0).expect(FINE), last[0].0).expect(FINE), []);
}
