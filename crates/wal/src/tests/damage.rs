//! Bytes cut, flipped, moved and missing: damage is refused, a torn tail is cut, a wrong operation is never shown.

use nearfield_platform::{Dir, MemoryDir};
use nearfield_types::Seq;
use proptest::prelude::*;

use super::support::{Files, SMALL, UUID, append, directory, files, names, open, options, replayed, start};
use crate::conformance::Operation;
use crate::format::{FileHeader, FrameHeader, HEADER_BYTES};
use crate::{Fault, FileLog, LogError, LogOptions, Syncer, Walk};

/// How the last life of a sample log ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Closed,
    Killed,
    /// Killed, with a record of the last sync.
    Marked,
}

/// A log of two lives and several files, with its operations.
fn sample(ending: Ending) -> (Files, Vec<Operation>) {
    let dir = MemoryDir::new();
    let (mut writer, syncer) = start(&dir, options());
    let mut written = Vec::new();
    for n in 0..14 {
        written.push(append(&mut writer, n).unwrap());
        if n % 4 == 0 {
            syncer.sync(Seq::MAX).unwrap();
        }
    }
    drop(writer);
    let (mut writer, syncer) = start(&dir, options());
    for n in 14..20 {
        written.push(append(&mut writer, n).unwrap());
        if n == 16 {
            syncer.sync(Seq::MAX).unwrap();
        }
    }
    match ending {
        Ending::Closed => drop(writer.close().unwrap()),
        Ending::Killed => {}
        Ending::Marked => {
            syncer.sync(Seq::MAX).unwrap();
            let mark = writer.sync_mark().unwrap().unwrap();
            syncer.sync(mark).unwrap();
        }
    }
    // Opening repairs a log that was not closed; the sample is what lies there before.
    let files = files(&*dir);
    assert_eq!(replayed(&open(&dir, options()).unwrap()), written);
    (files, written)
}

/// One frame of a sample.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    start: usize,
    end: usize,
    header: FrameHeader,
}

/// All frames, the mark of a clean close included.
fn places(files: &Files) -> Vec<Place> {
    let mut places = Vec::new();
    for (file, (_, bytes)) in files.iter().enumerate() {
        let header = FileHeader::decode(bytes).unwrap();
        let mut walk = Walk::new(bytes, &header);
        let mut start = HEADER_BYTES;
        while let Ok(frame) = walk.step() {
            let end = start + frame.header.frame_bytes() as usize;
            places.push(Place { file, start, end, header: frame.header });
            start = end;
        }
        let mark = bytes[start..].first_chunk().map(FrameHeader::decode).filter(|mark| mark.flags != 0);
        places.extend(mark.map(|header| Place { file, start, end: start + 40, header }));
    }
    places
}

/// What must happen when a byte of a sample is damaged.
#[derive(Debug, PartialEq)]
enum Expected {
    /// Not a byte of the log.
    Harmless,
    Refused,
    /// The log ends before this Seq.
    CutBefore(Seq),
}

fn expected(places: &[Place], files: &Files, file: usize, at: usize) -> Expected {
    let hit = places.iter().find(|place| place.file == file && (place.start..place.end).contains(&at));
    let first = places.iter().find(|place| place.file == file);
    let lost = match hit {
        Some(place) if place.header.flags != 0 => return Expected::Harmless,
        Some(place) => place.header.seq,
        None if at < HEADER_BYTES => first.unwrap().header.seq,
        None => return Expected::Harmless,
    };
    let other = |place: &&Place| hit.is_none_or(|hit| hit.start != place.start || hit.file != place.file);
    let recorded = places.iter().filter(other).map(|place| place.header.synced_seq).max().unwrap();
    let later_life =
        files[file + 1..].iter().any(|(_, bytes)| FileHeader::decode(bytes).unwrap().begins_generation());
    if recorded >= lost || later_life { Expected::Refused } else { Expected::CutBefore(lost) }
}

/// Whole operations before `seq`.
fn before(written: &[Operation], places: &[Place], seq: Seq) -> Vec<Operation> {
    assert!(places.iter().any(|place| place.header.seq == seq));
    written.iter().filter(|(last, ..)| *last < seq).cloned().collect()
}

#[test]
fn every_flipped_byte_is_refused_or_cut() {
    for ending in [Ending::Closed, Ending::Killed, Ending::Marked] {
        let (files, written) = sample(ending);
        let places = places(&files);
        assert!(files.len() >= 5, "{} files", files.len());
        let (mut refused, mut cut) = (0, 0);
        for file in 0..files.len() {
            for at in 0..files[file].1.len() {
                let mut damaged = files.clone();
                damaged[file].1[at] ^= 1 << (at % 8);
                let dir = directory(&damaged);
                let opened = open(&dir, options());
                if let Err(LogError::Tag { .. }) = opened {
                    assert!((4..6).contains(&at), "only the version says so");
                    continue;
                }
                match expected(&places, &files, file, at) {
                    Expected::Harmless => {
                        assert_eq!(replayed(&opened.unwrap()), written, "{ending:?} {file}:{at}")
                    }
                    Expected::Refused => {
                        opened.expect_err("damage to durable data");
                        assert_eq!(super::support::files(&*dir), damaged, "a refused log is left alone");
                        refused += 1;
                    }
                    Expected::CutBefore(seq) => {
                        let kept = before(&written, &places, seq);
                        assert_eq!(replayed(&opened.unwrap()), kept, "{ending:?} {file}:{at}");
                        let again = open(&dir, options()).unwrap();
                        assert_eq!(replayed(&again), kept, "opened again, {ending:?} {file}:{at}");
                        cut += 1;
                    }
                }
            }
        }
        assert!(refused > 1000, "{refused}");
        assert_eq!(cut > 0, ending != Ending::Closed, "{ending:?}: {cut}");
    }
}

#[test]
fn every_cut_of_the_last_file_leaves_the_operations_before_it() {
    let (files, written) = sample(Ending::Killed);
    let places = places(&files);
    let last = files.len() - 1;
    for len in 0..files[last].1.len() {
        let mut cut = files.clone();
        cut[last].1.truncate(len);
        let lost = places.iter().find(|place| place.file == last && place.end > len);
        let kept = lost.map_or(written.clone(), |place| before(&written, &places, place.header.seq));
        let dir = directory(&cut);
        assert_eq!(replayed(&open(&dir, options()).unwrap()), kept, "cut at {len}");
        // The same, if somebody else knows that more was durable.
        let synced = written.last().unwrap().0;
        let known = open(&directory(&cut), LogOptions { synced, ..options() });
        let refused = matches!(known, Err(LogError::Corrupt { expected, durable, .. }) if expected <= synced && durable == synced);
        assert!(refused || kept.len() == written.len(), "cut at {len}: {known:?}");
    }
}

#[test]
fn a_missing_file_is_noticed() {
    let (files, written) = sample(Ending::Closed);
    for missing in 0..files.len() {
        let mut rest = files.clone();
        let (name, _) = rest.remove(missing);
        let first: u64 = name[..20].parse().unwrap();
        let dir = directory(&rest);
        if missing + 1 < files.len() {
            let error = open(&dir, options()).unwrap_err();
            assert!(
                matches!(error, LogError::Corrupt { expected, .. } if expected.0 <= first),
                "{name}: {error}"
            );
        } else {
            // Only a record elsewhere tells that the last file is missing.
            let synced = written.last().unwrap().0;
            open(&directory(&rest), LogOptions { synced, ..options() }).unwrap_err();
            open(&dir, options()).unwrap();
        }
    }
    let dir = directory(&Vec::new());
    let error = open(&dir, LogOptions { synced: Seq(3), ..options() }).unwrap_err();
    let Fault::Missing = fault(&error) else { panic!("{error}") };
}

fn fault(error: &LogError) -> Fault {
    match error {
        LogError::Corrupt { fault, .. } => *fault,
        other => panic!("{other}"),
    }
}

/// A generation begins only when all before it is durable, so its mere header is a record.
#[test]
fn a_later_generation_proves_what_was_before_it() {
    let (files, _) = sample(Ending::Killed);
    let places = places(&files);
    let second_life = files
        .iter()
        .position(|(_, bytes)| FileHeader::decode(bytes).unwrap().file_no > 1 && begins(bytes))
        .unwrap();
    let mut begun = files[..=second_life].to_vec();
    begun[second_life].1.truncate(HEADER_BYTES);
    assert!(open(&directory(&begun), options()).is_ok());
    let last = places.iter().rfind(|place| place.file == second_life - 1 && place.header.flags == 0).unwrap();
    // A record of a Seq that lies between the generations.
    let between =
        open(&directory(&begun), LogOptions { synced: last.header.seq.next(), ..options() }).unwrap_err();
    assert!(
        matches!(between, LogError::Corrupt { expected, .. } if expected == last.header.seq.next()),
        "{between}"
    );
    // The last frame before it is lost, and with it everything that recorded it.
    begun[second_life - 1].1.truncate(last.start);
    let error = open(&directory(&begun), options()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { expected, .. } if expected == last.header.seq), "{error}");
    begun.truncate(second_life);
    assert!(open(&directory(&begun), options()).is_ok(), "without it, it is a torn tail");
    // A reader believes the header too, where no frame says more.
    let dir = MemoryDir::new();
    let (mut writer, _) = start(&dir, options());
    append(&mut writer, 0).unwrap();
    writer.rotate().unwrap();
    let last = writer.last();
    let (mut writer, _) = start(&dir, options());
    append(&mut writer, 1).unwrap();
    let mut begun = super::support::files(&*dir);
    begun[1].1.truncate(HEADER_BYTES);
    assert_eq!(FileLog::read(directory(&begun), "log", options()).unwrap().last(), last);
}

fn begins(bytes: &[u8]) -> bool {
    FileHeader::decode(bytes).unwrap().begins_generation()
}

#[test]
fn what_is_flushed_may_be_missing_or_damaged() {
    let (files, written) = sample(Ending::Closed);
    for (flushed, ..) in &written {
        let options = LogOptions { flushed: *flushed, ..options() };
        let kept: Vec<Operation> = written.iter().filter(|(seq, ..)| seq > flushed).cloned().collect();
        let needed = |(name, _): &&(String, Vec<u8>)| {
            let next = files
                .iter()
                .find(|(other, _)| other > name)
                .map(|(next, _)| next[..20].parse::<u64>().unwrap());
            next.is_none_or(|next| next > flushed.0 + 1)
        };
        let rest: Files = files.iter().filter(needed).cloned().collect();
        assert_eq!(replayed(&open(&directory(&rest), options).unwrap()), kept, "flushed {flushed}");
        // Removed in another order than asked, as a crash may leave it.
        for unneeded in files.iter().take(files.len() - rest.len()) {
            let mut some = rest.clone();
            some.insert(0, unneeded.clone());
            assert_eq!(replayed(&open(&directory(&some), options).unwrap()), kept, "flushed {flushed}");
        }
    }
}

#[test]
fn a_torn_tail_is_kept_until_the_next_release() {
    let (mut files, written) = sample(Ending::Killed);
    let last = files.len() - 1;
    let place = *places(&files).last().unwrap();
    files[last].1[place.start + 50] ^= 1;
    let torn = format!("{}.torn", files[last].0);
    files.push(("replace-0.tmp".to_owned(), vec![1; 10]));
    let dir = directory(&files);
    let log = open(&dir, options()).unwrap();
    let report = *log.report();
    assert!(!report.clean && report.torn == 1 && report.rewritten >= 1, "{report:?}");
    let stop = report.stop.unwrap();
    assert_eq!(
        (stop.offset, stop.expected, stop.fault),
        (place.start as u64, place.header.seq, Fault::Checksum)
    );
    let kept = written[..written.len() - 1].to_vec();
    assert_eq!(replayed(&log), kept);
    let used = files[last].1.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    assert_eq!(
        dir.open(&format!("log/{torn}")).unwrap()[..],
        files[last].1[..used],
        "nothing is thrown away"
    );
    assert!(!names(&*dir).contains(&"replace-0.tmp".to_owned()));
    // A second opening has nothing to do; the release takes the torn file away.
    let log = open(&dir, options()).unwrap();
    assert!(log.report().clean && log.report().rewritten == 0, "{:?}", log.report());
    let (mut writer, syncer) = log.into_writer().unwrap();
    let new = append(&mut writer, 40).unwrap();
    assert!(new.0.0 >= kept.last().unwrap().0.0 + crate::GENERATION_GAP);
    assert!(names(&*dir).contains(&torn));
    syncer.release(Seq::ZERO).unwrap();
    assert!(!names(&*dir).contains(&torn));
    drop(writer);
    assert_eq!(replayed(&open(&dir, options()).unwrap()), [kept, vec![new]].concat());
}

#[test]
fn bytes_of_other_logs_are_no_frames() {
    let (files, written) = sample(Ending::Killed);
    let end = places(&files).last().unwrap().end;
    // The end of a log with the same numbers and another uuid, where recycled blocks of the disk may put it.
    let other = MemoryDir::new();
    let (mut writer, syncer) = start(&other, LogOptions { wal_uuid: [1; 16], ..options() });
    for n in 0..40 {
        append(&mut writer, n).unwrap();
        syncer.sync(Seq::MAX).unwrap();
    }
    for (_, foreign) in super::support::files(&*other) {
        for from in [0, HEADER_BYTES] {
            let mut recycled = files.clone();
            let bytes = &mut recycled.last_mut().unwrap().1;
            bytes.truncate(end);
            bytes.extend_from_slice(&foreign[from..]);
            let log = open(&directory(&recycled), options()).unwrap();
            assert_eq!(replayed(&log), written);
            assert_eq!(log.report().torn, 1);
        }
    }
    let wrong = open(&other, options()).unwrap_err();
    assert_eq!(wrong, LogError::WrongLog { file: 1, found: [1; 16] });
    assert_eq!(
        open(&directory(&files), LogOptions { wal_uuid: UUID, sizes: SMALL, ..options() }).unwrap().last(),
        written.last().unwrap().0
    );
}

#[test]
fn files_of_newer_programs_are_left_alone() {
    let (mut files, _) = sample(Ending::Killed);
    let last = files.len() - 1;
    files[last].1[4] = 9;
    let dir = directory(&files);
    let error = open(&dir, options()).unwrap_err();
    assert!(matches!(error, LogError::Tag { .. }), "{error}");
    assert!(error.to_string().contains("upgrade"), "{error}");
    assert_eq!(super::support::files(&*dir), files);
}

#[test]
fn names_that_are_not_ours_are_ignored() {
    let (files, written) = sample(Ending::Closed);
    let dir = directory(&files);
    for name in [
        "1.log",
        "00000000000000000001.log2",
        "99999999999999999999.log",
        "notes",
        "0000000000000000000a.log",
    ] {
        dir.create(&format!("log/{name}")).unwrap().write_at(0, &[b"x"]).unwrap();
    }
    dir.make_dir("log/00000000000000000099.log").unwrap();
    let log = open(&dir, options()).unwrap();
    assert!(log.report().clean);
    assert_eq!(replayed(&log), written);
}

#[derive(Clone, Debug)]
enum Harm {
    Flip { file: usize, at: usize, bits: u8 },
    Zero { file: usize, from: usize, len: usize },
    Truncate { file: usize, len: usize },
    Remove { file: usize },
    Swap { file: usize, other: usize },
    Splice { file: usize, other: usize, from: usize, to: usize, len: usize },
    Insert { file: usize, at: usize, len: usize },
}

fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let (file, at, len) = (0usize..8, 0usize..4096, 1usize..600);
    let harm = prop_oneof![
        (file.clone(), at.clone(), 1u8..).prop_map(|(file, at, bits)| Harm::Flip { file, at, bits }),
        (file.clone(), at.clone(), len.clone()).prop_map(|(file, from, len)| Harm::Zero { file, from, len }),
        (file.clone(), at.clone()).prop_map(|(file, len)| Harm::Truncate { file, len }),
        file.clone().prop_map(|file| Harm::Remove { file }),
        (file.clone(), file.clone()).prop_map(|(file, other)| Harm::Swap { file, other }),
        (file.clone(), file.clone(), at.clone(), at.clone(), len.clone())
            .prop_map(|(file, other, from, to, len)| Harm::Splice { file, other, from, to: to & !7, len }),
        (file, at, len).prop_map(|(file, at, len)| Harm::Insert { file, at: at & !7, len: len & !7 }),
    ];
    prop::collection::vec(harm, 1..4)
}

fn inflict(files: &mut Files, harm: &Harm) {
    let count = files.len().max(1);
    match *harm {
        _ if files.is_empty() => {}
        Harm::Flip { file, at, bits } => {
            if let Some(byte) = files[file % count].1.get_mut(at) {
                *byte ^= bits;
            }
        }
        Harm::Zero { file, from, len } => {
            files[file % count].1.iter_mut().skip(from).take(len).for_each(|byte| *byte = 0);
        }
        Harm::Truncate { file, len } => files[file % count].1.truncate(len),
        Harm::Remove { file } => drop(files.remove(file % count)),
        Harm::Swap { file, other } => {
            let bytes = std::mem::take(&mut files[file % count].1);
            let bytes = std::mem::replace(&mut files[other % count].1, bytes);
            files[file % count].1 = bytes;
        }
        Harm::Splice { file, other, from, to, len } => {
            let bytes: Vec<u8> = files[other % count].1.iter().skip(from).take(len).copied().collect();
            let target = &mut files[file % count].1;
            target.iter_mut().skip(to).zip(bytes).for_each(|(byte, new)| *byte = new);
        }
        Harm::Insert { file, at, len } => {
            let target = &mut files[file % count].1;
            let at = at.min(target.len());
            target.splice(at..at, std::iter::repeat_n(0, len));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to the files: an error, or a prefix of what was written, and a log that can be written again.
    #[test]
    fn mangled_logs_never_show_a_wrong_operation(harms in harms(), ending in 0usize..3) {
        let (mut files, written) = sample([Ending::Closed, Ending::Killed, Ending::Marked][ending]);
        harms.iter().for_each(|harm| inflict(&mut files, harm));
        let dir = directory(&files);
        if let Ok(log) = open(&dir, options()) {
            let shown = replayed(&log);
            prop_assert!(written.starts_with(&shown), "{} operations", shown.len());
            let (mut writer, _) = log.into_writer().unwrap();
            let new = append(&mut writer, 5).unwrap();
            drop(writer);
            prop_assert_eq!(replayed(&open(&dir, options()).unwrap()), [shown, vec![new]].concat());
        }
    }
}
