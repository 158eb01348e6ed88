//! Values as keys: an order-preserving code for each kind, and back.
//!
//! It refuses to round: a value that the code does not hold exactly is no key.

use crate::filter::Datetime;

use super::config::IndexKind;
use super::view::KeysView;

/// A value of an index, as a facet, an order or a group shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyRef<'a> {
    /// Of a bool index.
    Bool(bool),
    /// Of an integer index.
    I64(i64),
    /// Of a float index; integers too are floats there.
    F64(f64),
    /// Of a keyword index.
    String(&'a str),
    /// Of a datetime index.
    Datetime(Datetime),
    /// Of a UUID index.
    Uuid([u8; 16]),
}

const SIGN: u64 = 1 << 63;

/// Integers in order.
pub(crate) fn from_i64(value: i64) -> u64 {
    value.cast_unsigned() ^ SIGN
}

/// The integer of a key.
pub(crate) fn to_i64(key: u64) -> i64 {
    (key ^ SIGN).cast_signed()
}

/// Floats in order; -0.0 is 0.0.
pub(crate) fn from_f64(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits & SIGN != 0 { !bits } else { bits ^ SIGN }
}

/// The float of a key.
pub(crate) fn to_f64(key: u64) -> f64 {
    f64::from_bits(if key & SIGN != 0 { key ^ SIGN } else { !key })
}

/// The float that is the same number, where there is one.
pub(crate) fn integer_as_f64(value: i128) -> Option<f64> {
    let float = value as f64;
    (float as i128 == value).then_some(float)
}

/// The UUID of a text in its canonical form: 36 characters, lower case.
pub(crate) fn uuid(text: &str) -> Option<[u64; 2]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut value: u128 = 0;
    for (at, &byte) in text.iter().enumerate() {
        let digit = match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some([(value >> 64) as u64, value as u64])
}

/// The bytes of a UUID, as its text has them.
fn uuid_bytes([high, low]: [u64; 2]) -> [u8; 16] {
    let mut bytes = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
    bytes.reverse();
    bytes
}

/// Key number `key` as a value; `None` past the end, and for kinds whose keys are no values.
pub(crate) fn value<'a>(kind: IndexKind, keys: &KeysView<'a>, key: u32) -> Option<KeyRef<'a>> {
    match *keys {
        KeysView::Narrow(keys) => {
            let &code = keys.get(key as usize)?;
            match kind {
                IndexKind::Bool => Some(KeyRef::Bool(code != 0)),
                IndexKind::Integer => Some(KeyRef::I64(to_i64(code))),
                IndexKind::Float => Some(KeyRef::F64(to_f64(code))),
                IndexKind::Datetime => Some(KeyRef::Datetime(Datetime(to_i64(code)))),
                _ => None,
            }
        }
        KeysView::Wide(keys) => keys.get(key as usize).map(|&key| KeyRef::Uuid(uuid_bytes(key))),
        KeysView::Terms { ends, .. } => (kind == IndexKind::Keyword && (key as usize) < ends.len())
            .then(|| KeyRef::String(keys.text(key))),
    }
}

/// Codes in order, to compare keys of several files.
pub(crate) fn compare(a: &KeysView<'_>, a_key: u32, b: &KeysView<'_>, b_key: u32) -> std::cmp::Ordering {
    match (a, b) {
        (KeysView::Narrow(a), KeysView::Narrow(b)) => a.get(a_key as usize).cmp(&b.get(b_key as usize)),
        (KeysView::Wide(a), KeysView::Wide(b)) => a.get(a_key as usize).cmp(&b.get(b_key as usize)),
        _ => a.term(a_key).cmp(b.term(b_key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_the_order_and_come_back() {
        let integers = [i64::MIN, -5, -1, 0, 1, 7, i64::MAX];
        assert!(integers.map(from_i64).is_sorted());
        assert_eq!(integers.map(|value| to_i64(from_i64(value))), integers);
        let floats = [f64::NEG_INFINITY, -1e300, -1.5, -5e-324, 0.0, 5e-324, 0.1, 1e300, f64::INFINITY];
        assert!(floats.map(from_f64).is_sorted());
        assert_eq!(floats.map(|value| to_f64(from_f64(value))), floats);
        assert_eq!(from_f64(-0.0), from_f64(0.0));
        assert_eq!(integer_as_f64((1 << 53) + 1), None);
        assert_eq!(integer_as_f64(-(1 << 53)), Some(-9_007_199_254_740_992.0));
        assert_eq!(integer_as_f64(u64::MAX.into()), None);
    }

    #[test]
    fn uuids_are_canonical_only() {
        let text = "550e8400-e29b-41d4-a716-446655440000";
        let key = uuid(text).unwrap();
        assert_eq!(key, [0x550e_8400_e29b_41d4, 0xa716_4466_5544_0000]);
        assert_eq!(uuid_bytes(key)[..5], [0x55, 0x0e, 0x84, 0x00, 0xe2]);
        for wrong in [&text.to_uppercase(), &text.replace('-', ""), &text[1..], "", &format!("{text}0")] {
            assert_eq!(uuid(wrong), None, "{wrong}");
        }
    }
}
