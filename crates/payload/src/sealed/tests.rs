//! The sealed file: round trips, every flipped byte, every prefix, and offsets that lie behind sound checksums.

use std::sync::Arc;

use nearfield_codec::{ContainerError, ContainerWriter, Region};
use nearfield_platform::{Blob, BlobError, MappedBlob};
use nearfield_types::{Object, Slot};

use super::*;
use crate::format::PAYLOAD_TAG;
use crate::{RowRef, decode, encode};

fn open_blob(bytes: Vec<u8>) -> Result<Arc<dyn Blob>, ContainerError> {
    Ok(Arc::new(MappedBlob::open(Region::from(bytes), PAYLOAD_TAG)?))
}

fn sample() -> Vec<Vec<u8>> {
    let object = |n: i64, text: &str| {
        encode(&Object::from_entries([("n".to_owned(), n.into()), ("text".to_owned(), text.into())])).unwrap()
    };
    vec![
        Vec::new(),
        object(1, "one"),
        object(2, ""),
        Vec::new(),
        Vec::new(),
        object(-3, "drei Wörter"),
        Vec::new(),
    ]
}

fn file(rows: &[Vec<u8>]) -> Vec<u8> {
    write(Vec::new(), rows).unwrap().0
}

/// Opens the file and reads all rows, each of them twice.
fn read(bytes: Vec<u8>, count: u32) -> Result<Vec<Vec<u8>>, String> {
    let blob = open_blob(bytes).map_err(|error| error.to_string())?;
    let payload = SealedPayload::open(blob, count).map_err(|error| error.to_string())?;
    let slots: Vec<Slot> = (0..count).map(Slot).collect();
    let mut rows = Vec::new();
    payload
        .read_many(&slots, &mut |at, row| {
            assert_eq!(at, rows.len());
            assert!(row.is_empty() || row.as_ptr().addr().is_multiple_of(ROW_ALIGN));
            rows.push(row.to_vec());
        })
        .map_err(|error| error.to_string())?;
    for (slot, row) in slots.iter().zip(&rows) {
        assert_eq!(payload.row(*slot).unwrap(), *row);
    }
    Ok(rows)
}

#[test]
fn rows_come_back() {
    for rows in [
        vec![],
        vec![Vec::new(); 3],
        sample(),
        vec![vec![7; 300_000], Vec::new(), vec![8; 1], vec![9; 70_000]],
    ] {
        assert_eq!(read(file(&rows), rows.len() as u32), Ok(rows));
    }
    let many: Vec<Vec<u8>> = (0..40_000u32).map(|n| n.to_le_bytes().repeat(n as usize % 7)).collect();
    assert_eq!(read(file(&many), many.len() as u32), Ok(many));
}

#[test]
fn slots_are_read_in_the_order_asked_for_and_in_place() {
    let payload = SealedPayload::open(open_blob(file(&sample())).unwrap(), 7).unwrap();
    assert_eq!((payload.len(), payload.is_empty()), (7, false));
    let mut seen = Vec::new();
    let slots = [Slot(5), Slot(0), Slot(3), Slot(1), Slot(5), Slot(6)];
    payload
        .read_many(&slots, &mut |at, row| {
            let found = RowRef::new(row).unwrap().to_object().unwrap();
            assert_eq!(found, decode(&sample()[slots[at].index()]).unwrap());
            seen.push(at);
        })
        .unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    let error = payload.read_many(&[Slot(0), Slot(7)], &mut |_, _| panic!("nothing is visited")).unwrap_err();
    assert!(matches!(error, ReadError::Slot { slot: 7, count: 7 }));
}

#[test]
fn every_flipped_byte_is_detected() {
    let bytes = file(&sample());
    for at in 0..bytes.len() {
        for bit in [0, 5] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(damaged, 7).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn every_prefix_is_refused_at_open() {
    let bytes = file(&sample());
    for cut in 0..bytes.len() {
        assert!(open_blob(bytes[..cut].to_vec()).is_err(), "prefix {cut}");
    }
}

#[test]
fn damage_is_found_where_it_is_touched() {
    let rows = vec![vec![1; 100_000], vec![2; 100_000], vec![3; 100_000]];
    let mut bytes = file(&rows);
    bytes[64 + 150_000] ^= 1;
    let payload = SealedPayload::open(open_blob(bytes).unwrap(), 3).unwrap();
    assert_eq!(payload.row(Slot(0)).unwrap(), rows[0]);
    let error = payload.row(Slot(1)).unwrap_err();
    assert!(
        matches!(error, ReadError::Blob(BlobError::Damaged(ContainerError::Block { block: 2, .. }))),
        "{error}"
    );
}

#[test]
fn a_file_of_another_segment_is_refused() {
    for count in [0, 6, 8, u32::MAX] {
        let blob = open_blob(file(&sample())).unwrap();
        let error = SealedPayload::open(blob, count).unwrap_err();
        assert!(matches!(error, OpenError::Count { have: 7, expected } if expected == count), "{error}");
    }
}

/// A file whose checksums hold and whose numbers are free.
fn crafted(header: [u64; 2], offsets: &[u64], rows: &[u8]) -> Arc<dyn Blob> {
    let mut file = ContainerWriter::new(Vec::new(), PAYLOAD_TAG).unwrap();
    let section = |file: &mut ContainerWriter<Vec<u8>>, id, bytes: &[u8]| {
        file.section(id).unwrap();
        file.write(bytes).unwrap();
    };
    let bytes = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    section(&mut file, SECTION_ROWS, rows);
    section(&mut file, SECTION_OFFSETS, &bytes(offsets));
    section(&mut file, SECTION_HEADER, &bytes(&header));
    open_blob(file.finish().unwrap().0).unwrap()
}

#[test]
fn numbers_behind_sound_checksums_are_only_compared() {
    let open = |header, offsets: &[u64]| SealedPayload::open(crafted(header, offsets, &[5; 64]), 2);
    assert!(open([2, PACKING_RAW], &[0, 20, 64]).is_ok());
    assert!(matches!(open([2, 1], &[0, 20, 64]), Err(OpenError::Packing { packing: 1 })));
    assert!(matches!(
        open([2, 0], &[0, 20]),
        Err(OpenError::Length { id: SECTION_OFFSETS, have: 16, expected: 24 })
    ));
    for wrong in [[0, 20, 63], [0, 20, 80], [1, 20, 64], [0, 20, u64::MAX]] {
        assert!(matches!(open([2, 0], &wrong), Err(OpenError::Offsets { len: 64, .. })), "{wrong:?}");
    }
    for (middle, slot) in [(80, 0), (u64::MAX, 0), (u64::MAX, 1), (60, 1), (63, 1)] {
        let payload = open([2, 0], &[0, middle, 64]).unwrap();
        let error = payload.row(Slot(slot)).unwrap_err();
        assert!(
            matches!(error, ReadError::Offsets { slot: found, .. } if found == slot),
            "{middle}: {error}"
        );
    }
}
