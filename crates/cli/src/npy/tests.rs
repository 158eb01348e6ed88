//! Every version and type, everything that is refused, and headers of arbitrary bytes.

use std::io::Cursor as Bytes;

use proptest::prelude::*;

use super::*;

/// A file of `version` whose header is `dictionary`, padded as NumPy does.
fn file(version: u8, dictionary: &str, data: &[u8]) -> Vec<u8> {
    let prefix = if version == 1 { 10 } else { 12 };
    let padding = (64 - (prefix + dictionary.len() + 1) % 64) % 64;
    let text = format!("{dictionary}{}\n", " ".repeat(padding));
    let mut bytes = MAGIC.to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn dictionary(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}")
}

fn rows(bytes: Vec<u8>) -> Result<Vec<Vec<f32>>, NpyError> {
    let mut reader = Reader::new(Bytes::new(bytes))?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    Ok(rows)
}

#[test]
fn every_version_and_both_types_are_read() {
    let data = floats(&[1.0, -2.0, 3.5, 4.0]);
    for version in [1, 2, 3] {
        let bytes = file(version, &dictionary("'<f4'", "False", "(2, 2)"), &data);
        assert_eq!(rows(bytes).unwrap(), [[1.0, -2.0], [3.5, 4.0]]);
    }
    let halves: Vec<u8> =
        [0.5f32, -2.0, 65_504.0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    assert_eq!(
        rows(file(1, &dictionary("'<f2'", "False", "(1,3)"), &halves)).unwrap(),
        [[0.5, -2.0, 65_504.0]]
    );
    assert_eq!(
        rows(file(1, &dictionary("\"<f4\"", "False", "(4,)"), &data)).unwrap(),
        [[1.0, -2.0, 3.5, 4.0]]
    );
    assert_eq!(rows(file(1, &dictionary("'<f4'", "False", "(0, 2)"), &[])).unwrap(), [[0.0; 2]; 0]);
}

#[test]
fn rows_come_in_order_over_many_chunks_and_after_a_seek() {
    let dimension = 1_000;
    let values: Vec<f32> = (0..200 * dimension).map(|i| i as f32).collect();
    let bytes = file(1, &dictionary("'<f4'", "False", "(200, 1000)"), &floats(&values));
    let mut reader = Reader::new(Bytes::new(bytes)).unwrap();
    for row in (0..200).chain([150, 3]) {
        if row == 150 || row == 3 {
            reader.seek(row as u64).unwrap();
        }
        assert_eq!(reader.next_row().unwrap().unwrap(), values[row * dimension..(row + 1) * dimension]);
    }
    reader.seek(u64::MAX).unwrap();
    assert_eq!(reader.next_row().unwrap(), None);
}

#[test]
fn what_is_refused_is_named() {
    let data = floats(&[0.0; 4]);
    let refused = |descr: &str, fortran: &str, shape: &str| {
        rows(file(1, &dictionary(descr, fortran, shape), &data)).unwrap_err().to_string()
    };
    for (text, part) in [
        (refused("'<f8'", "False", "(2, 2)"), "'<f8'"),
        (refused("'>f4'", "False", "(2, 2)"), "'>f4'"),
        (refused("'|O'", "False", "(2, 2)"), "'|O'"),
        (refused("[('a', '<f4')]", "False", "(2, 2)"), "list of fields"),
        (refused("'<f4'", "True", "(2, 2)"), "ascontiguousarray"),
        (refused("'<f4'", "Maybe", "(2, 2)"), "True or False"),
        (refused("'<f4'", "False", "(1, 2, 2)"), "3 axes"),
        (refused("'<f4'", "False", "()"), "0 axes"),
        (refused("'<f4'", "False", "(2, 0)"), "dimension is 0"),
        (refused("'<f4'", "False", "(2, 65537)"), "dimension is 65537"),
        (refused("'<f4'", "False", "(2, -2)"), "a number"),
        (refused("'<f4'", "False", "(3, 2)"), "needs 24 bytes"),
        (refused("'<f4'", "False", "(1, 2)"), "16 are there"),
        (refused("'<f4'", "False", "(18446744073709551615, 65536)"), "needs"),
        (refused("'<f4'", "False", "(18446744073709551616, 2)"), "64 bits"),
    ] {
        assert!(text.contains(part), "{text} does not name {part}");
    }
    assert!(matches!(rows(b"PK\x03\x04 zip".to_vec()), Err(NpyError::Magic)));
    assert!(matches!(rows(Vec::new()), Err(NpyError::HeaderCut { bytes: 0 })));
    assert!(matches!(rows(file(9, "{}", &[])), Err(NpyError::Version { major: 9, .. })));
    assert!(matches!(rows(file(1, "{}", &[])), Err(NpyError::HeaderKey { key: "descr" })));
    let mut huge = file(2, "{}", &[]);
    huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(rows(huge), Err(NpyError::HeaderLength { bytes: u32::MAX })));
}

#[test]
fn nan_is_named_with_its_row_and_component() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = file(1, &dictionary("'<f4'", "False", "(2, 2)"), &floats(&[0.0, 1.0, 2.0, bad]));
        let mut reader = Reader::new(Bytes::new(bytes)).unwrap();
        assert_eq!(reader.next_row().unwrap().unwrap(), [0.0, 1.0]);
        assert!(matches!(reader.next_row(), Err(NpyError::NotFinite { row: 1, component: 1, .. })));
    }
}

proptest! {
    #[test]
    fn a_header_of_any_bytes_never_panics(version in 0u8..5, text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(&text);
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(header.dimension >= 1 && header.dimension <= DIMENSION_MAX);
            prop_assert!(header.data_offset <= bytes.len());
        }
    }

    #[test]
    fn a_changed_header_is_refused_or_consistent(at in 0usize..128, byte in any::<u8>()) {
        let mut bytes = file(1, &dictionary("'<f4'", "False", "(2, 2)"), &floats(&[1.0, 2.0, 3.0, 4.0]));
        bytes[at] = byte;
        if let Ok(mut reader) = Reader::new(Bytes::new(bytes)) {
            prop_assert_eq!(reader.header().data_bytes(), 16);
            while let Ok(Some(row)) = reader.next_row() {
                prop_assert_eq!(row.len(), reader.header().dimension);
            }
        }
    }
}
