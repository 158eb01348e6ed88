//! Where frames go: rotation, sizes, generations, release, closing, room, readers beside a writer.

use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_platform::{Dir, FaultyDir, MemoryDir};
use nearfield_types::Seq;

use super::support::{SMALL, append, files, names, open, options, replayed, start};
use crate::format::FileHeader;
use crate::{
    Class, End, FileLog, GENERATION_GAP, Kind, LogError, LogOptions, LogReader, LogSizes, LogWriter, Syncer,
    scan, try_replay,
};

#[test]
fn files_double_up_to_the_largest() {
    let dir = MemoryDir::new();
    let (mut writer, _) = start(&dir, options());
    for n in 0..120 {
        append(&mut writer, n).unwrap();
    }
    let files = files(&*dir);
    let sizes: Vec<usize> = files.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(sizes[..4], [1024, 2048, 4096, 4096]);
    for (at, (name, bytes)) in files.iter().enumerate() {
        let found = scan(bytes).unwrap();
        assert_eq!(*name, format!("{:020}.log", found.header.first_seq.0));
        assert_eq!(found.header.file_no, at as u64 + 1);
        assert_eq!(found.header.epoch, 1);
        let is_last = at + 1 == files.len();
        assert_eq!(found.end == End::Sealed, !is_last);
        if !is_last {
            let next = FileHeader::decode(&files[at + 1].1).unwrap();
            assert_eq!(next.first_seq, found.next_seq, "no Seq is left out within a generation");
        }
    }
}

#[test]
fn an_operation_that_fits_no_file_has_its_own() {
    let dir = MemoryDir::new();
    let (mut writer, _) = start(&dir, options());
    let bytes = vec![7; 50_000];
    append(&mut writer, 0).unwrap();
    let seq = writer.append(Kind::Config, Class::Ordinary, &[&bytes]).unwrap();
    append(&mut writer, 1).unwrap();
    drop(writer);
    let log = open(&dir, options()).unwrap();
    assert_eq!(replayed(&log)[1], (seq, Kind::Config, bytes));
    // Begin, 250 parts, commit: all in one file, whose end is the operation's Seq.
    let second = scan(&files(&*dir)[1].1).unwrap();
    assert!(second.header.first_seq.0 + 251 == seq.0 && second.frames >= 252, "{second:?}");
}

#[test]
fn operations_with_too_many_parts_are_refused() {
    let dir = MemoryDir::new();
    let sizes = LogSizes { frame_bytes: 8, ..SMALL };
    let (mut writer, _) = start(&dir, LogOptions { sizes, ..options() });
    let max = 8 * 65535;
    let refused = writer.append(Kind::Batch, Class::Ordinary, &[&vec![1; max + 1]]);
    assert_eq!(refused, Err(LogError::TooLarge { bytes: max as u64 + 1, max: max as u64 }));
    let seq = writer.append(Kind::Batch, Class::Ordinary, &[&vec![1; max]]).unwrap();
    drop(writer);
    assert_eq!(replayed(&open(&dir, options()).unwrap()), [(seq, Kind::Batch, vec![1; max])]);
}

/// No more frames than half the gap between generations ever wait for a sync, whether anybody asks for one or not.
#[test]
fn the_log_syncs_itself_before_the_gap_is_used_up() {
    let dir = MemoryDir::new();
    let sizes = LogSizes { frame_bytes: 8, ..LogSizes::default() };
    let (mut writer, syncer) = start(&dir, LogOptions { sizes, ..options() });
    let bytes = vec![1; 8 * 60_000];
    let mut last = Seq::ZERO;
    for _ in 0..12 {
        let waiting = last.0 - syncer.synced().0;
        assert!(waiting <= GENERATION_GAP / 2, "{waiting} frames wait");
        last = writer.append(Kind::Batch, Class::Ordinary, &[&bytes]).unwrap();
    }
    assert!(syncer.synced() > Seq::ZERO);
}

#[test]
fn opening_and_closing_without_an_append_writes_nothing() {
    let dir = FaultyDir::new();
    let (mut writer, _) = start(&dir, options());
    let written = [append(&mut writer, 1).unwrap(), append(&mut writer, 2).unwrap()];
    let last = writer.close().unwrap();
    assert_eq!(last, written[1].0);
    let ops = dir.ops();
    for _ in 0..3 {
        let log = open(&dir, options()).unwrap();
        assert!(log.report().clean && log.durable() == last && log.last() == last);
        assert_eq!(replayed(&log), written);
        let (writer, syncer) = log.into_writer().unwrap();
        assert_eq!((writer.last(), syncer.synced()), (last, last));
        assert_eq!(writer.close(), Ok(last));
    }
    assert_eq!(dir.ops(), ops, "nothing was written");
}

#[test]
fn every_life_begins_a_generation_beyond_all_seen() {
    let dir = MemoryDir::new();
    let mut seen = Seq::ZERO;
    for life in 0..6 {
        let (mut writer, _) = start(&dir, options());
        let first = append(&mut writer, life).unwrap().0;
        assert!(life == 0 || first.0 >= seen.0 + GENERATION_GAP);
        seen = append(&mut writer, life + 1).unwrap().0;
        if life % 2 == 0 {
            writer.close().unwrap();
        }
    }
    let mut epochs: Vec<u64> =
        files(&*dir).iter().map(|(_, bytes)| scan(bytes).unwrap().header.epoch).collect();
    epochs.dedup();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_log_made_for_restored_data_begins_beyond_it() {
    let dir = MemoryDir::new();
    let restored = LogOptions { flushed: Seq(5000), ..options() };
    let log = open(&dir, restored).unwrap();
    assert_eq!((log.last(), log.report().clean), (Seq(5000), true));
    let (mut writer, _) = log.into_writer().unwrap();
    let first = append(&mut writer, 0).unwrap();
    assert_eq!(first.0, Seq(5000 + GENERATION_GAP));
    drop(writer);
    assert_eq!(replayed(&open(&dir, restored).unwrap()), [first]);
    // Nor is anything read on if the Seqs are used up.
    let dir = MemoryDir::new();
    let log = open(&dir, LogOptions { flushed: Seq(u64::MAX / 2), ..options() }).unwrap();
    assert_eq!(log.into_writer().map(|_| ()).unwrap_err(), LogError::Exhausted);
}

#[test]
fn release_forgets_whole_files_and_keeps_a_beginning() {
    let dir = MemoryDir::new();
    let (mut writer, syncer) = start(&dir, options());
    let written: Vec<_> = (0..60).map(|n| append(&mut writer, n).unwrap()).collect();
    let before = names(&*dir);
    syncer.release(Seq::MAX).unwrap();
    assert_eq!(names(&*dir), before, "nothing is durable yet");
    syncer.sync(written[30].0).unwrap();
    syncer.release(written[30].0).unwrap();
    let left = names(&*dir);
    assert!(left.len() < before.len() && before.ends_with(&left));
    let first: u64 = left[0][..20].parse().unwrap();
    assert!(first <= written[30].0.0 + 1, "the file with the next operation is kept");
    syncer.release(Seq::MAX).unwrap();
    assert_eq!(names(&*dir).len(), 1);
    let flushed = writer.close().unwrap();
    // A generation that holds nothing durable is no beginning: the file before it stays.
    let options = LogOptions { flushed, synced: flushed, ..options() };
    let (mut writer, syncer) = start(&dir, options);
    let new = append(&mut writer, 70).unwrap();
    syncer.release(flushed).unwrap();
    assert_eq!(names(&*dir).len(), 2);
    syncer.sync(new.0).unwrap();
    syncer.release(flushed).unwrap();
    assert_eq!(names(&*dir).len(), 1);
    drop(writer);
    assert_eq!(replayed(&open(&dir, options).unwrap()), [new]);
}

#[test]
fn a_rotated_file_never_changes() {
    let dir = MemoryDir::new();
    let (mut writer, syncer) = start(&dir, options());
    writer.rotate().unwrap();
    assert_eq!(names(&*dir), [""; 0], "nothing to end");
    let mut written = vec![append(&mut writer, 1).unwrap()];
    writer.rotate().unwrap();
    writer.rotate().unwrap();
    assert!(syncer.sync(writer.last()).unwrap() > written[0].0, "the seal has a Seq");
    let sealed = files(&*dir);
    assert_eq!(scan(&sealed[0].1).unwrap().end, End::Sealed);
    dir.link(&format!("log/{}", sealed[0].0), "copy").expect("a synced file that ended is sealed");
    written.push(append(&mut writer, 2).unwrap());
    writer.rotate().unwrap();
    writer.close().unwrap();
    assert_eq!(files(&*dir)[..1], sealed);
    let log = open(&dir, options()).unwrap();
    assert!(log.report().clean, "also a close behind a rotation leaves its mark");
    assert_eq!(replayed(&log), written);
}

#[test]
fn finished_files_are_those_with_later_operations() {
    let dir = MemoryDir::new();
    let (mut writer, syncer) = start(&dir, options());
    assert_eq!(writer.finished(Seq::ZERO), (Seq::ZERO, Vec::new()));
    let first = append(&mut writer, 1).unwrap();
    assert_eq!(writer.finished(Seq::ZERO).1, [], "it is being written");
    writer.rotate().unwrap();
    let second = append(&mut writer, 2).unwrap();
    writer.rotate().unwrap();
    let last = syncer.sync(writer.last()).unwrap();
    let (before, both) = writer.finished(Seq::ZERO);
    assert_eq!((before, both.len(), both[1].last), (Seq::ZERO, 2, last));
    for (file, (name, bytes)) in both.iter().zip(files(&*dir)) {
        assert_eq!((&file.name, scan(&bytes).unwrap().bytes), (&name, file.bytes));
    }
    // The seal behind the first operation is no operation.
    assert_eq!(writer.finished(first.0), (both[0].last, both[1..].to_vec()));
    assert_eq!(writer.finished(second.0), (last, Vec::new()));
    assert_eq!(writer.unfinished_bytes(), 0);
    append(&mut writer, 3).unwrap();
    assert!(writer.unfinished_bytes() > 0);
}

#[test]
fn marks_are_written_once_for_a_sync() {
    let dir = MemoryDir::new();
    let (mut writer, syncer) = start(&dir, options());
    assert_eq!(writer.sync_mark(), Ok(None));
    let (seq, ..) = append(&mut writer, 1).unwrap();
    assert_eq!(writer.sync_mark(), Ok(None), "nothing new is durable");
    syncer.sync(seq).unwrap();
    let mark = writer.sync_mark().unwrap().unwrap();
    assert_eq!(mark, seq.next());
    syncer.sync(mark).unwrap();
    assert_eq!(writer.sync_mark(), Ok(None), "a mark does not ask for a mark");
    let (next, ..) = append(&mut writer, 2).unwrap();
    assert_eq!(next, mark.next());
    drop(writer);
    let log = FileLog::read(dir, "log", options()).unwrap();
    assert_eq!(log.durable(), mark);
}

#[test]
fn a_full_disk_refuses_before_writing_and_resumes() {
    let dir = MemoryDir::with_capacity(20_000);
    let (mut writer, syncer) = start(&dir, options());
    let mut written = Vec::new();
    let mut n = 0;
    let full = loop {
        match append(&mut writer, n) {
            Ok(operation) => written.push(operation),
            Err(error) => break error,
        }
        n += 1;
    };
    assert_eq!(full, LogError::Full);
    let before = files(&*dir);
    assert_eq!(append(&mut writer, 5), Err(LogError::Full));
    assert_eq!(files(&*dir), before, "a refused append leaves no trace");
    // Deletes go on for a while in the headroom; it ends too.
    let mut reducing = 0;
    while let Ok(seq) = writer.append(Kind::Batch, Class::Reducing, &[b"delete 7"]) {
        written.push((seq, Kind::Batch, b"delete 7".to_vec()));
        reducing += 1;
    }
    assert!(reducing >= 10, "{reducing}");
    assert_eq!(syncer.sync(Seq::MAX).unwrap(), writer.last());
    dir.set_capacity(40_000);
    written.push(append(&mut writer, 5).unwrap());
    // Even with a full disk a close succeeds and the next opening shows all.
    dir.set_capacity(0);
    writer.close().unwrap();
    assert_eq!(replayed(&open(&dir, options()).unwrap()), written);
}

#[test]
fn a_nearly_full_disk_gets_small_files() {
    let dir = MemoryDir::with_capacity(100 << 10);
    let sizes = LogSizes { first_bytes: 2 << 10, largest_bytes: 64 << 10, ..LogSizes::default() };
    let options = LogOptions { sizes, ..options() };
    let (mut writer, _) = start(&dir, options);
    let mut bytes = 0;
    while writer.append(Kind::Batch, Class::Ordinary, &[&[1; 500]]).is_ok() {
        bytes += 500;
    }
    // 2 + 4 + 8 + 16 + 32 KiB leave 38, too little for the planned 64.
    assert!(bytes > 60_000, "{bytes}");
}

#[test]
fn readers_see_what_is_durable_and_write_nothing() {
    let dir = FaultyDir::new();
    let read = |options| FileLog::read(Arc::clone(&dir) as Arc<dyn Dir>, "log", options);
    assert_eq!(read(options()).unwrap().last(), Seq::ZERO);
    let (mut writer, syncer) = start(&dir, options());
    let mut written = Vec::new();
    for n in 0..30 {
        written.push(append(&mut writer, n).unwrap());
        if n == 20 {
            syncer.sync(Seq::MAX).unwrap();
        }
        let ops = dir.ops();
        let log = read(options()).unwrap();
        let durable = if n > 20 { 21 } else { 0 };
        assert_eq!(replayed(&log), written[..durable], "after operation {n}");
        let told = read(LogOptions { synced: written[n as usize].0, ..options() }).unwrap();
        assert_eq!(replayed(&told), written, "a manifest may know more");
        assert_eq!(log.into_writer().map(|_| ()).unwrap_err(), LogError::ReadOnly);
        assert_eq!(dir.ops(), ops, "a reader wrote something");
    }
}

#[test]
fn readers_beside_a_busy_writer_never_cry_damage() {
    let dir = MemoryDir::new();
    let (mut writer, syncer) = start(&dir, options());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = Seq::ZERO;
            for _ in 0..200 {
                let log = FileLog::read(Arc::clone(&dir) as Arc<dyn Dir>, "log", options()).unwrap();
                assert!(log.last() >= last, "what was durable stays");
                last = log.last();
                let seen = replayed(&log);
                assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
            }
        });
        let mut n = 0;
        while !reader.is_finished() {
            if n < 3000 {
                append(&mut writer, n).unwrap();
            }
            syncer.sync(Seq::MAX).unwrap();
            n += 1;
        }
    });
}

#[test]
fn a_failing_visitor_ends_the_replay_with_its_error() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Log(LogError),
        Stop(Seq),
    }
    impl From<LogError> for Mine {
        fn from(error: LogError) -> Self {
            Mine::Log(error)
        }
    }
    let dir = MemoryDir::new();
    let (mut writer, _) = start(&dir, options());
    let written: Vec<_> = (0..5).map(|n| append(&mut writer, n).unwrap()).collect();
    drop(writer);
    let log = open(&dir, options()).unwrap();
    let stopped =
        try_replay(
            &log,
            Seq::ZERO,
            |seq, _, _| if seq == written[2].0 { Err(Mine::Stop(seq)) } else { Ok(()) },
        );
    assert_eq!(stopped, Err(Mine::Stop(written[2].0)));
    assert_eq!(try_replay::<Mine>(&log, Seq::ZERO, |_, _, _| Ok(())), Ok(written[4].0));
    // The log vanishes under the reader.
    names(&*dir).iter().for_each(|name| dir.remove(&format!("log/{name}")).unwrap());
    let gone = log.replay(Seq::ZERO, &mut |_, _, _| ControlFlow::Continue(()));
    assert!(matches!(gone, Err(LogError::Io(cause)) if cause.kind == std::io::ErrorKind::NotFound));
}
