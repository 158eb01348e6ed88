//! Reading `.npy` files of the benchmark sets: two axes, little-endian, C order, elements of four bytes.
//!
//! It refuses everything else; the command line's reader is the one for files of strangers.

use std::path::Path;

use crate::Result;

/// A table of numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Table<T> {
    /// How many rows.
    pub(crate) rows: usize,
    /// How many numbers a row has.
    pub(crate) width: usize,
    /// All rows, one after another.
    pub(crate) numbers: Vec<T>,
}

impl<T> Table<T> {
    /// One row.
    pub(crate) fn row(&self, index: usize) -> &[T] {
        &self.numbers[index * self.width..][..self.width]
    }
}

/// A table of `<f4`.
pub(crate) fn read_f32(path: &Path) -> Result<Table<f32>> {
    read(path, "<f4", f32::from_le_bytes)
}

/// A table of `<i4`.
pub(crate) fn read_i32(path: &Path) -> Result<Table<i32>> {
    read(path, "<i4", i32::from_le_bytes)
}

fn read<T>(path: &Path, kind: &str, number: fn([u8; 4]) -> T) -> Result<Table<T>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&bytes, kind, number)
        .ok_or_else(|| format!("{} is no table of {kind} in .npy form", path.display()).into())
}

fn parse<T>(bytes: &[u8], kind: &str, number: fn([u8; 4]) -> T) -> Option<Table<T>> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (header_len, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return None,
    };
    let (header, body) = rest.split_at_checked(header_len)?;
    let header = std::str::from_utf8(header).ok()?;
    let is_plain =
        header.contains(&format!("'descr': '{kind}'")) && header.contains("'fortran_order': False");
    let shape = header.split_once("'shape': (")?.1.split_once(')')?.0;
    let (rows, width) = shape.split_once(',')?;
    let (rows, width): (usize, usize) = (rows.trim().parse().ok()?, width.trim().parse().ok()?);
    let is_whole = rows.checked_mul(width)?.checked_mul(4)? == body.len();
    let (parts, _) = body.as_chunks::<4>();
    (is_plain && is_whole).then(|| Table {
        rows,
        width,
        numbers: parts.iter().map(|part| number(*part)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, numbers: &[f32]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_table_comes_back_and_anything_else_is_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let parse = |bytes: &[u8]| parse(bytes, "<f4", f32::from_le_bytes);
        let table = parse(&file(header, &numbers)).unwrap();
        assert_eq!((table.rows, table.width, table.row(1)), (2, 3, &numbers[3..]));
        assert_eq!(parse(&file(header, &numbers[1..])), None);
        assert_eq!(parse(&file(&header.replace("<f4", "<f8"), &numbers)), None);
        assert_eq!(parse(&file(&header.replace("False", "True"), &numbers)), None);
        assert_eq!(parse(&file(&header.replace("(2, 3)", "(6,)"), &numbers)), None);
        assert_eq!(parse(b"\x93NUMPY\x01\x00\xff\xff"), None);
        assert_eq!(parse(b""), None);
    }
}
