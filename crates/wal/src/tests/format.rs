//! Encoding and decoding of the structures, and reading one file from its bytes.

use nearfield_types::Seq;
use proptest::prelude::*;

use super::support::{UUID, append, files, options, start};
use crate::format::{
    FILE_BEGINS_GENERATION, FRAME_BYTES, FRAME_CLEAN, FRAME_LAYOUT, FileHeader, FrameHeader, FrameKind,
    FrameSeed, HEADER_BYTES, HEADER_LAYOUT, HeaderError, Layout, padding,
};
use crate::{End, Evidence, Fault, Walk, later_record, scan};
use nearfield_platform::MemoryDir;

const HEADER: FileHeader = FileHeader {
    wal_uuid: UUID,
    file_no: 0x0102_0304_0506_0708,
    first_seq: Seq(0x1112_1314_1516_1718),
    prev_file_last_crc: 0x2122_2324,
    flags: FILE_BEGINS_GENERATION,
    epoch: 0x3132_3334_3536_3738,
};

const FRAME: FrameHeader = FrameHeader {
    crc: 0x0102_0304,
    len: 0x1112_1314,
    epoch: 0x2122_2324_2526_2728,
    seq: Seq(0x3132_3334_3536_3738),
    synced_seq: Seq(0x4142_4344_4546_4748),
    prev_crc: 0x5152_5354,
    kind: 0x61,
    flags: 0x62,
    count: 0x6364,
};

#[track_caller]
fn holds(bytes: &[u8], layout: Layout, field: &str, expected: &[u8]) {
    let (_, offset, len) =
        layout.iter().find(|(name, ..)| *name == field).expect("the layout names the field");
    assert_eq!(bytes[*offset..offset + len], *expected, "{field}");
}

#[test]
fn fields_lie_where_the_layout_says() {
    let raw = HEADER.encode();
    for (field, expected) in [
        ("magic", &b"NFWL"[..]),
        ("read_version", &1u16.to_le_bytes()),
        ("write_version", &1u16.to_le_bytes()),
        ("wal_uuid", &UUID),
        ("file_no", &HEADER.file_no.to_le_bytes()),
        ("first_seq", &HEADER.first_seq.0.to_le_bytes()),
        ("prev_file_last_crc", &HEADER.prev_file_last_crc.to_le_bytes()),
        ("flags", &HEADER.flags.to_le_bytes()),
        ("epoch", &HEADER.epoch.to_le_bytes()),
        ("reserved", &[0; 4]),
        ("crc32c", &nearfield_codec::crc32c(&raw[..60]).to_le_bytes()),
    ] {
        holds(&raw, HEADER_LAYOUT, field, expected);
    }
    assert_eq!(FileHeader::decode(&raw), Ok(HEADER));
    let raw = FRAME.encode();
    for (field, expected) in [
        ("crc32c", &FRAME.crc.to_le_bytes()[..]),
        ("len", &FRAME.len.to_le_bytes()),
        ("epoch", &FRAME.epoch.to_le_bytes()),
        ("seq", &FRAME.seq.0.to_le_bytes()),
        ("synced_seq", &FRAME.synced_seq.0.to_le_bytes()),
        ("prev_crc", &FRAME.prev_crc.to_le_bytes()),
        ("kind", &[FRAME.kind]),
        ("flags", &[FRAME.flags]),
        ("count", &FRAME.count.to_le_bytes()),
    ] {
        holds(&raw, FRAME_LAYOUT, field, expected);
    }
    assert_eq!(FrameHeader::decode(&raw), FRAME);
}

#[test]
fn headers_refuse_every_prefix_and_every_flip() {
    let raw = HEADER.encode();
    for cut in 0..HEADER_BYTES {
        assert!(FileHeader::decode(&raw[..cut]).is_err(), "prefix of {cut} bytes");
    }
    for at in 0..HEADER_BYTES {
        for bit in 0..8 {
            let mut flipped = raw;
            flipped[at] ^= 1 << bit;
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit} of byte {at}");
            assert_eq!(FileHeader::decode_healed(&flipped), Some(HEADER), "bit {bit} of byte {at}");
        }
    }
    assert_eq!(FileHeader::decode_healed(&[0; HEADER_BYTES]), None);
    assert_eq!(FileHeader::decode_healed(&[7; HEADER_BYTES]), None);
}

#[test]
fn headers_refuse_what_no_writer_writes() {
    let refused = [
        FileHeader { file_no: 0, ..HEADER },
        FileHeader { epoch: 0, ..HEADER },
        FileHeader { first_seq: Seq::ZERO, ..HEADER },
        FileHeader { first_seq: Seq::MAX, ..HEADER },
        FileHeader { flags: 2, ..HEADER },
    ];
    for header in refused {
        assert_eq!(FileHeader::decode(&header.encode()), Err(HeaderError::Range), "{header:?}");
    }
    let mut newer = HEADER.encode();
    newer[4] = 2;
    assert!(matches!(
        FileHeader::decode(&newer),
        Err(HeaderError::Tag(nearfield_codec::TagError::TooNew { .. }))
    ));
}

/// One file of a few operations, and where each frame begins.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let dir = MemoryDir::new();
    let (mut writer, _) = start(&dir, options());
    for n in 0..5 {
        append(&mut writer, n).unwrap();
    }
    let (_, bytes) = files(&*dir).remove(0);
    let header = FileHeader::decode(&bytes).unwrap();
    let mut walk = Walk::new(&bytes, &header);
    let mut starts = vec![walk.at() as usize];
    while walk.step().is_ok() {
        starts.push(walk.at() as usize);
    }
    (bytes, starts)
}

#[test]
fn a_cut_file_holds_the_frames_before_the_cut() {
    let (bytes, starts) = sample();
    for cut in HEADER_BYTES..bytes.len() {
        let found = scan(&bytes[..cut]).unwrap();
        let whole = starts.iter().filter(|&&at| at <= cut).count() as u64 - 1;
        assert_eq!(found.frames, whole.min(5), "cut at {cut}");
        assert!(matches!(found.end, End::Open(Fault::Blank | Fault::Checksum)));
    }
}

#[test]
fn a_flipped_bit_ends_the_walk_before_its_frame() {
    let (bytes, starts) = sample();
    for at in HEADER_BYTES..*starts.last().unwrap() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let found = scan(&flipped).unwrap();
        let before = starts.iter().filter(|&&start| start <= at).count() as u64 - 1;
        assert_eq!((found.frames, found.end), (before, End::Open(Fault::Checksum)), "byte {at}");
    }
}

#[test]
fn frames_of_other_files_never_validate() {
    let (bytes, starts) = sample();
    let header = FileHeader::decode(&bytes).unwrap();
    let foreign = [
        FileHeader { wal_uuid: [9; 16], ..header },
        FileHeader { file_no: header.file_no + 1, ..header },
        FileHeader { epoch: header.epoch + 1, ..header },
        FileHeader { first_seq: Seq(header.first_seq.0 + 1), ..header },
        FileHeader { prev_file_last_crc: 1, ..header },
    ];
    for header in foreign {
        let mut recycled = bytes.clone();
        recycled[..HEADER_BYTES].copy_from_slice(&header.encode());
        assert_eq!(scan(&recycled).unwrap().frames, 0, "{header:?}");
    }
    // Nor out of their place.
    let mut moved = bytes[..starts[1]].to_vec();
    moved.extend_from_slice(&bytes[starts[2]..]);
    assert_eq!(scan(&moved).unwrap().end, End::Open(Fault::Order));
    let mut twice = bytes[..starts[2]].to_vec();
    twice.extend_from_slice(&bytes[starts[1]..]);
    assert_eq!(scan(&twice).unwrap().end, End::Open(Fault::Order));
}

/// A frame to be written by hand: kind, flags, count, synced_seq, payload.
type Handmade<'a> = (FrameKind, u8, u16, u64, &'a [u8]);

/// A file of such frames, from Seq 10 on, each whole and in its place.
fn handmade(frames: &[Handmade<'_>]) -> Vec<u8> {
    let header =
        FileHeader { file_no: 1, first_seq: Seq(10), prev_file_last_crc: 0, flags: 0, epoch: 1, ..HEADER };
    let seed = FrameSeed::new(&UUID, 1);
    let mut bytes = header.encode().to_vec();
    let mut prev_crc = 0;
    for (seq, (kind, flags, count, synced, payload)) in (10..).zip(frames) {
        let (len, synced_seq, kind) = (payload.len() as u32, Seq(*synced), *kind as u8);
        let mut head = FrameHeader {
            crc: 0,
            len,
            epoch: 1,
            seq: Seq(seq),
            synced_seq,
            prev_crc,
            kind,
            flags: *flags,
            count: *count,
        };
        let padded = [payload, padding(payload.len())].concat();
        head.crc = seed.checksum(&head.encode(), [&padded[..]].into_iter());
        prev_crc = head.crc;
        bytes.extend_from_slice(&head.encode());
        bytes.extend_from_slice(&padded);
    }
    bytes
}

#[test]
fn whole_frames_out_of_their_place_are_refused() {
    use FrameKind::{Batch, Begin, Commit, Config, Part, Seal, SyncMark};
    let begin = |kind: u8, total: u8| [kind, 0, 0, 0, 0, 0, 0, 0, total, 0, 0, 0, 0, 0, 0, 0];
    let (six, huge) = (begin(1, 6), begin(1, 255));
    // Good ones first: all frames are taken.
    let good: [&[Handmade<'_>]; 4] = [
        &[(Batch, 0, 0, 9, b"one"), (Config, 0, 0, 9, b""), (SyncMark, 0, 0, 11, b"")],
        &[(Begin, 0, 2, 0, &six), (Part, 0, 0, 0, b"abc"), (Part, 0, 1, 0, b"def"), (Commit, 0, 2, 0, b"")],
        &[(Begin, 0, 1, 0, &six), (Part, 0, 0, 0, b"abcdef"), (Commit, 0, 1, 0, b""), (Batch, 0, 0, 0, b"")],
        &[(Batch, 0, 0, 5, b"one"), (Batch, 0, 0, 6, b"two")],
    ];
    for frames in good {
        let found = scan(&handmade(frames)).unwrap();
        assert_eq!((found.frames, found.end), (frames.len() as u64, End::Open(Fault::Blank)), "{frames:?}");
    }
    let closed = scan(&handmade(&[(Batch, 0, 0, 9, b"x"), (SyncMark, FRAME_CLEAN, 0, 10, b"")])).unwrap();
    assert_eq!((closed.frames, closed.end, closed.synced), (1, End::Clean, Seq(10)));
    // In the bad ones the last frame is refused, for its place or its fields.
    let bad: [&[Handmade<'_>]; 22] = [
        &[(Batch, 1, 0, 0, b"")],
        &[(Batch, 0, 1, 0, b"")],
        &[(Batch, 0, 0, 10, b"")],
        &[(Batch, 0, 0, 5, b""), (Batch, 0, 0, 4, b"")],
        &[(SyncMark, 0, 0, 9, b"x")],
        &[(SyncMark, 0, 1, 9, b"")],
        &[(SyncMark, 2, 0, 9, b"")],
        &[(Batch, 0, 0, 0, b""), (SyncMark, FRAME_CLEAN, 0, 9, b"")],
        &[(Seal, 0, 0, 0, &[0; 24])],
        &[(Part, 0, 0, 0, b"abc")],
        &[(Commit, 0, 0, 0, b"")],
        &[(Begin, 0, 0, 0, &six)],
        &[(Begin, 0, 1, 0, &six[..8])],
        &[(Begin, 0, 1, 0, &begin(2, 6))],
        &[(Begin, 0, 1, 0, &begin(1, 0))],
        &[(Begin, 0, 1, 0, &huge)],
        &[(Begin, 0, 2, 0, &six), (Part, 0, 1, 0, b"abc")],
        &[(Begin, 0, 2, 0, &six), (Part, 0, 0, 0, b"abcdefg")],
        &[(Begin, 0, 2, 0, &six), (Part, 0, 0, 0, b"")],
        &[(Begin, 0, 2, 0, &six), (Part, 0, 0, 0, b"abcdef"), (Commit, 0, 2, 0, b"")],
        &[(Begin, 0, 1, 0, &six), (Part, 0, 0, 0, b"abc"), (Commit, 0, 1, 0, b"")],
        &[(Begin, 0, 1, 0, &six), (Batch, 0, 0, 0, b"")],
    ];
    for frames in bad {
        let found = scan(&handmade(frames)).unwrap();
        assert_eq!(found.end, End::Open(Fault::Order), "{frames:?}");
        assert!(found.frames < frames.len() as u64);
    }
}

#[test]
fn a_search_finds_a_record_behind_garbage_and_has_a_bound() {
    let seed = FrameSeed::new(&UUID, 1);
    let mut frame = FrameHeader {
        len: 0,
        epoch: 3,
        seq: Seq(12),
        synced_seq: Seq(11),
        prev_crc: 5,
        kind: 1,
        flags: 0,
        count: 0,
        crc: 0,
    };
    frame.crc = seed.checksum(&frame.encode(), std::iter::empty());
    let mut bytes = vec![0xab; 1000 * 8];
    bytes[800..800 + FRAME_BYTES].copy_from_slice(&frame.encode());
    let search =
        |epoch, expected, mut budget| later_record(&bytes, 1, &seed, epoch, Seq(expected), &mut budget);
    assert_eq!(search(Some(3), 11, 1000), Evidence::Durable(Seq(11)));
    assert_eq!(search(None, 5, 1000), Evidence::Durable(Seq(11)));
    assert_eq!(search(Some(3), 12, 1000), Evidence::None, "it records less");
    assert_eq!(search(Some(4), 11, 1000), Evidence::None, "another generation");
    // Crafted: every position looks like a long frame.
    let crafted = FrameHeader { len: 4000, ..frame };
    bytes.chunks_exact_mut(FRAME_BYTES).for_each(|chunk| chunk.copy_from_slice(&crafted.encode()));
    let mut budget = 64 * bytes.len() as u64;
    assert_eq!(later_record(&bytes, 0, &seed, None, Seq(1), &mut budget), Evidence::None);
    let mut budget = 5000;
    assert_eq!(later_record(&bytes, 0, &seed, None, Seq(1), &mut budget), Evidence::Unclear);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600), from in 0usize..700) {
        let _ = scan(&bytes);
        let mut behind = HEADER.encode().to_vec();
        behind.extend_from_slice(&bytes);
        prop_assert_eq!(scan(&behind).unwrap().frames, 0);
        let mut budget = 64 * bytes.len() as u64;
        let seed = FrameSeed::new(&UUID, 1);
        prop_assert_eq!(later_record(&bytes, from, &seed, None, Seq(1), &mut budget), Evidence::None);
    }
}
