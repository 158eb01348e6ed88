//! Codes files: round trip, every truncation, damage.

use nearfield_ann::Scorer;
use nearfield_codec::{Container, ContainerWriter, Region};

use super::*;
use crate::format::{SECTION_CODEC, SECTION_HEADER, SECTION_HIGH, SECTION_HOT, TAG};
use crate::{CodeRow, OpenError, SealedCodes, WriteError, write_codes, write_rows};

fn file(codec: &Arc<Codec>, rows: &Rows) -> Vec<u8> {
    let (bytes, summary) = write_rows(Vec::new(), codec, rows.iter().map(Option::as_deref)).unwrap();
    assert_eq!(summary.length, bytes.len() as u64);
    bytes
}

fn open(bytes: &[u8]) -> Result<SealedCodes, OpenError> {
    SealedCodes::open(&Container::open(Region::from(bytes.to_vec()), TAG)?)
}

pub(super) fn seal(codec: &Arc<Codec>, rows: &Rows) -> SealedCodes {
    let sealed = open(&file(codec, rows)).unwrap();
    sealed.verify().unwrap();
    assert_eq!((sealed.codec().config(), sealed.memory()), (codec.config(), 0));
    sealed
}

fn sample() -> (Arc<Codec>, Rows) {
    let mut random = Random(1);
    let rows: Rows = (0..20).map(|i| (i != 5).then(|| random.vector(40))).collect();
    (rotated(40, Metric::Euclid, Some(1), vec![0.25; 40]), rows)
}

#[test]
fn every_truncation_is_refused() {
    let (codec, rows) = sample();
    let bytes = file(&codec, &rows);
    for len in 0..bytes.len() {
        assert!(open(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn every_flipped_byte_is_found_or_changes_nothing() {
    let (codec, rows) = sample();
    let bytes = file(&codec, &rows);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        if let Ok(sealed) = open(&damaged) {
            assert!(sealed.verify().is_err(), "byte {at} is not checked");
        }
    }
}

#[test]
fn damage_that_nobody_looked_for_gives_wrong_scores_and_no_panic() {
    let (codec, rows) = sample();
    let good = seal(&codec, &rows);
    let query = good.query(&[0.5; 40]).unwrap();
    let mut random = Random(3);
    for factor in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 0.0, 1e-45] {
        let high: Vec<u8> = (0..32).map(|_| random.next() as u8).collect();
        for hot in [[factor, 1.0], [1.0, factor]] {
            let row = CodeRow { high: &high, low: &high, hot: &hot, cold: &[factor] };
            for precision in PRECISIONS {
                let score = codec.score(&query, row, precision);
                assert!(score.is_finite() || score == f32::INFINITY, "{score}");
            }
        }
    }
}

/// A file with one section replaced; `None` leaves it out.
fn with_section(section: u32, replaced: Option<&[u8]>) -> Result<SealedCodes, OpenError> {
    let (codec, rows) = sample();
    let bytes = file(&codec, &rows);
    let container = Container::open(Region::from(bytes), TAG).unwrap();
    let mut writer = ContainerWriter::new(Vec::new(), TAG).unwrap();
    for id in 1..=6 {
        let range = container.section(id).unwrap();
        let own = &container.region()[range.start as usize..range.end as usize];
        let Some(bytes) = (if id == section { replaced } else { Some(own) }) else { continue };
        writer.section(id).unwrap();
        writer.write(bytes).unwrap();
    }
    open(&writer.finish().unwrap().0)
}

#[test]
fn sound_files_of_wrong_content_are_refused_by_name() {
    let refused = |section, bytes: Option<&[u8]>| with_section(section, bytes).unwrap_err().to_string();
    // 40 dimensions are padded to 64: 32 bytes in each plane.
    let header = |count: u32, planes: u8| {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&count.to_le_bytes());
        (header[4], header[8], header[10], header[12]) = (32, planes, 2, 1);
        header
    };
    assert!(with_section(SECTION_HEADER, Some(&header(20, 2))).is_ok());
    assert_eq!(refused(SECTION_HEADER, Some(&header(20, 1))), "codes have planes 1, expected 2");
    assert_eq!(refused(SECTION_HEADER, Some(&header(21, 2))), "section 3 has 640 bytes, expected 672");
    assert_eq!(
        refused(SECTION_HEADER, Some(&header(1 << 31, 2))),
        "codes file has 2147483648 slots, more than 2147483647"
    );
    assert_eq!(refused(SECTION_HIGH, Some(&[0; 639])), "section 3 has 639 bytes, expected 640");
    assert_eq!(refused(SECTION_HOT, None), "section 5 is missing");
    assert_eq!(
        refused(SECTION_CODEC, Some(&[9; 40])),
        "codec has version 9, which this program does not know: upgrade Nearfield to use it"
    );
    assert_eq!(refused(SECTION_HEADER, Some(&[0; 3])), "needs 4 bytes at offset 0, 3 are left");
}

#[test]
fn codes_of_another_codec_are_not_written() {
    let (codec, rows) = sample();
    let other = grow(&rotated(40, Metric::Cosine, Some(1), vec![]), &rows);
    let written = write_codes(Vec::new(), &codec, 20, |slot| other.row(Slot(slot)));
    assert!(matches!(written, Err(WriteError::Code { slot: 0, found: 72, expected: 76 })));
    let short = write_rows(Vec::new(), &codec, [None, Some(&[1.0; 39][..])]);
    assert!(matches!(short, Err(WriteError::Dimension { slot: 1, found: 39, expected: 40 })));
    assert!(matches!(write_codes(Vec::new(), &codec, u32::MAX, |_| None), Err(WriteError::Full)));
}

#[test]
fn a_file_may_gather_codes_in_any_order() {
    let (codec, rows) = sample();
    let codes = grow(&codec, &rows);
    let reversed = |slot: u32| codes.row(Slot(19 - slot));
    let (bytes, _) = write_codes(Vec::new(), &codec, 20, reversed).unwrap();
    let sealed = open(&bytes).unwrap();
    let query = codes.query(&[0.1; 40]).unwrap();
    let (mut forward, mut backward) = ([0.0; 20], [0.0; 20]);
    codes.scorer(&query, Precision::Fine).score_run(Slot(0), &mut forward).unwrap();
    sealed.scorer(&query, Precision::Fine).score_run(Slot(0), &mut backward).unwrap();
    backward.reverse();
    assert_eq!(forward, backward);
}
