//! Encoding and decoding of the structures, and reading one file from its bytes.

use nearfield_types::Seq;
use proptest::prelude::*;

use super::support::{UUID, append, files, options, start};
use crate::format::{
    FILE_BEGINS_GENERATION, FRAME_BYTES, FRAME_LAYOUT, FileHeader, FrameHeader, FrameSeed, HEADER_BYTES,
    HEADER_LAYOUT, HeaderError, Layout,
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
