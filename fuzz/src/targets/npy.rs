//! NumPy arrays: header and rows.

use std::io::Cursor;

use nearfield::limits::DIMENSION_MAX;
use nearfield_cli::npy::{Header, NpyError, Reader};

/// Input: the file.
///
/// What must hold: a header that is accepted lies inside the bytes and says a possible dimension; a reader hands out as many
/// rows as the header says, finite and of one length, or says which component is not finite; it can begin anywhere.
pub fn npy(bytes: &[u8]) {
    let header = Header::parse(bytes).ok();
    if let Some(header) = header {
        assert!(header.data_offset <= bytes.len() && (1..=DIMENSION_MAX).contains(&header.dimension));
    }
    let Ok(mut reader) = Reader::new(Cursor::new(bytes)) else { return };
    assert_eq!(header, Some(reader.header()));
    let header = reader.header();
    assert_eq!(header.data_bytes(), (bytes.len() - header.data_offset) as u128);
    let all = rows(&mut reader);
    let bad = all.as_ref().err().copied();
    assert!(
        all.as_ref().is_ok_and(|rows| rows.len() as u64 == header.rows)
            || bad.is_some_and(|row| row < header.rows)
    );
    for start in [0, header.rows / 2, header.rows.saturating_sub(1), header.rows, u64::MAX] {
        reader.seek(start).expect("memory can be read from anywhere");
        let found = rows(&mut reader);
        match &all {
            Ok(all) => assert!(found.is_ok_and(|found| found[..] == all[start.min(header.rows) as usize..])),
            Err(row) => assert!(start > *row || found == Err(*row)),
        }
    }
}

/// All rows that follow, or which one is not finite.
fn rows(reader: &mut Reader<Cursor<&[u8]>>) -> Result<Vec<Vec<f32>>, u64> {
    let dimension = reader.header().dimension;
    let mut rows = Vec::new();
    loop {
        match reader.next_row() {
            Ok(None) => return Ok(rows),
            Ok(Some(row)) => {
                assert!(row.len() == dimension && row.iter().all(|value| value.is_finite()));
                rows.push(row);
            }
            Err(NpyError::NotFinite { row, component, value }) => {
                assert!(component < dimension && !value.is_finite());
                return Err(row);
            }
            Err(error) => panic!("a reader over whole bytes fails: {error}"),
        }
    }
}
