//! One file of the log: header, frames, and the search behind the last good frame.

use nearfield_wal::format::{FileHeader, FrameHeader, FrameSeed};
use nearfield_wal::{End, SEARCH_BUDGET_FACTOR, Walk, later_record, scan};

use super::input;
use crate::checksums;

/// Input: control byte, file.
///
/// What must hold: headers are what they encode to; frames are consecutive and lie inside the file; scanning the good frames
/// alone finds them again; the search for later records spends no more than its budget.
pub fn wal_frames(bytes: &[u8]) {
    let (_, file) = input::file(bytes, |file| {
        checksums::log_file(file, None);
    });
    let Ok(header) = FileHeader::decode(&file) else {
        assert!(scan(&file).is_err(), "a file without a header was scanned");
        return;
    };
    assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
    let found = scan(&file).expect("its header is whole");
    let whole = walk(&file, &header);
    assert_eq!((found.frames, found.header), (whole, header));
    assert!(found.bytes <= file.len() as u64);

    let good = &file[..found.bytes as usize];
    let again = scan(good).expect("the header is part of it");
    assert_eq!((again.frames, again.bytes, again.next_seq), (found.frames, found.bytes, found.next_seq));

    let seed = FrameSeed::new(&header.wal_uuid, header.file_no);
    for epoch in [Some(header.epoch), None] {
        let budget = file.len() as u64 * SEARCH_BUDGET_FACTOR;
        let mut left = budget;
        later_record(&file, good.len(), &seed, epoch, found.next_seq, &mut left);
        assert!(left <= budget);
    }
}

/// Walks all frames; answers how many belong to whole operations.
fn walk(file: &[u8], header: &FileHeader) -> u64 {
    let mut walk = Walk::new(file, header);
    let mut expected = header.first_seq;
    let end = loop {
        let frame = match walk.step() {
            Ok(frame) => frame,
            Err(end) => break end,
        };
        assert_eq!(frame.header.seq, expected);
        assert_eq!(FrameHeader::decode(&frame.header.encode()), frame.header);
        assert_eq!(frame.payload.len(), frame.header.len as usize);
        assert!(frame.operation().is_none_or(|(_, bytes)| bytes <= file.len() as u64));
        expected = expected.next();
    };
    assert_eq!(walk.step().err(), Some(end), "the end stays the end");
    assert!(end != End::Clean || walk.next_seq() == expected, "an operation is open at a clean end");
    walk.frames()
}
