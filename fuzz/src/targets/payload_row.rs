//! One payload row: decoding, checking, and walking it in place.

use nearfield_codec::AlignedBytes;
use nearfield_payload::{ObjectRef, RowError, RowRef, ValueRef, check, decode, encode};
use nearfield_types::{Object, Value};

use super::input::Input;

/// Values that one walk looks at: rows that only the walk accepts may lead to the same children again and again.
const STEPS_MAX: usize = 10_000;

/// Input: the row.
///
/// What must hold: the alignment of the bytes changes nothing. `check` and `decode` accept the same rows, those that the
/// encoder makes: what is decoded is within the limits and encodes to the same bytes. A walk in place finds in such a row what
/// was decoded, and comes to an end in any other.
pub fn payload_row(bytes: &[u8]) {
    let row = Input::new(bytes).rest();
    let aligned = AlignedBytes::from(row);
    let shifted = AlignedBytes::from([&[0], row].concat().as_slice());
    let decoded = decode(&aligned);
    assert_eq!(decode(&shifted[1..]), decoded);
    assert_eq!(check(&aligned), decoded.as_ref().map(|_| ()).map_err(RowError::clone));
    let view = RowRef::new(&aligned);
    match decoded {
        Ok(object) => {
            assert_eq!(object.check().map(|_| ()), Ok(()));
            assert_eq!(encode(&object).as_deref(), Ok(row), "{object:?}");
            let view = view.expect("what is decoded can be viewed");
            assert!(same_object(view.object(), &object), "{object:?}");
            assert_eq!(view.to_object().as_ref(), Ok(&object));
            for (key, value) in object.iter() {
                assert!(view.get(key).is_ok_and(|found| found.is_some_and(|found| same(found, value))));
            }
            assert!(view.get("no such key, for it is longer").is_ok_and(|found| found.is_none()));
        }
        Err(_) => {
            if let Ok(view) = view {
                walk(view.object());
            }
        }
    }
}

fn same_object(view: ObjectRef<'_>, object: &Object) -> bool {
    let pairs = view.iter().zip(object.iter());
    view.len() == object.len()
        && pairs
            .into_iter()
            .all(|(found, (key, value))| found.is_ok_and(|found| found.0 == key && same(found.1, value)))
}

fn same(view: ValueRef<'_>, value: &Value) -> bool {
    match (view, value) {
        (ValueRef::Null, Value::Null) => true,
        (ValueRef::Bool(a), Value::Bool(b)) => a == *b,
        (ValueRef::I64(a), Value::I64(b)) => a == *b,
        (ValueRef::U64(a), Value::U64(b)) => a == *b,
        (ValueRef::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (ValueRef::String(a), Value::String(b)) => a == b,
        (ValueRef::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_ok_and(|a| same(a, b)))
        }
        (ValueRef::Object(a), Value::Object(b)) => same_object(a, b),
        _ => false,
    }
}

fn walk(object: ObjectRef<'_>) {
    let mut open: Vec<ValueRef<'_>> = vec![ValueRef::Object(object)];
    for _ in 0..STEPS_MAX {
        match open.pop() {
            None => return,
            Some(ValueRef::Object(object)) => {
                open.extend(object.iter().take(64).flatten().map(|(_, value)| value))
            }
            Some(ValueRef::Array(items)) => open.extend(items.iter().take(64).flatten()),
            Some(_) => {}
        }
    }
}
