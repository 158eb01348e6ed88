//! The row codec against random objects, against the limits, and against bytes that no encoder made.

use nearfield_types::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_KEY_BYTES_MAX};
use nearfield_types::{Object, Value, ValueError};
use proptest::collection::vec;
use proptest::prelude::*;
use rkyv::rancor::Failure;
use rkyv::util::AlignedVec;

use super::tape::{Node, Row, pack};
use super::*;
use crate::format::{NODE_BYTES, ROOT_BYTES, ROW_ALIGN, ROW_VERSION, kind};

/// Any value, nested up to six deep, with text of any script and numbers at every edge.
fn value() -> impl Strategy<Value = Value> {
    let edges =
        [0.0, -0.0, f64::MIN_POSITIVE / 3.0, -f64::MIN_POSITIVE / 7.0, f64::MAX, f64::MIN, f64::EPSILON];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        (1u64 << 63..=u64::MAX).prop_map(Value::U64),
        any::<u64>().prop_map(Value::U64),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::F64),
        proptest::sample::select(edges.to_vec()).prop_map(Value::F64),
        "\\PC{0,20}".prop_map(Value::String),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::Array),
            vec((".{0,6}", inner), 0..8).prop_map(|entries| Value::Object(Object::from_entries(entries))),
        ]
    })
}

fn object() -> impl Strategy<Value = Object> {
    vec((".{0,12}", value()), 0..40).prop_map(Object::from_entries)
}

/// The same object, read by hand through the view.
fn copy(object: ObjectRef<'_>) -> Result<Object, RowError> {
    fn value(found: ValueRef<'_>) -> Result<Value, RowError> {
        Ok(match found {
            ValueRef::Null => Value::Null,
            ValueRef::Bool(yes) => Value::Bool(yes),
            ValueRef::I64(number) => Value::I64(number),
            ValueRef::U64(number) => Value::U64(number),
            ValueRef::F64(number) => Value::F64(number),
            ValueRef::String(text) => Value::String(text.to_owned()),
            ValueRef::Array(array) => {
                Value::Array(array.iter().map(|item| value(item?)).collect::<Result<_, _>>()?)
            }
            ValueRef::Object(object) => Value::Object(copy(object)?),
        })
    }
    object
        .iter()
        .map(|entry| {
            let (key, found) = entry?;
            Ok((key.to_owned(), value(found)?))
        })
        .collect()
}

/// Everything that reads rows, on any bytes at two alignments. Returns what `decode` says.
fn read_all_ways(bytes: &[u8]) -> Result<Object, RowError> {
    let mut room = AlignedVec::<ROW_ALIGN>::new();
    room.extend_from_slice(bytes);
    let decoded = decode(&room);
    assert_eq!(check(&room).err(), decoded.clone().err());
    room.clear();
    room.push(0);
    room.extend_from_slice(bytes);
    assert_eq!(decode(&room[1..]), decoded, "at another alignment");
    if let Ok(object) = &decoded {
        assert!(object.check().is_ok());
    }
    decoded
}

proptest! {
    #[test]
    fn objects_come_back(object in object()) {
        let mut scratch = Scratch::default();
        let row = encode_into(&object, &mut scratch).unwrap();
        prop_assert_eq!(row.is_empty(), object.is_empty());
        prop_assert!(row.is_empty() || row.as_ptr().addr().is_multiple_of(ROW_ALIGN));
        let found = read_all_ways(row).unwrap();
        prop_assert_eq!(&found, &object);
        let order = |object: &Object| object.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
        prop_assert_eq!(order(&found), order(&object));
        // Equality calls 0.0 and -0.0 the same; the bits of the rows do not.
        prop_assert_eq!(&encode(&found).unwrap()[..], row);

        let view = RowRef::new(row).unwrap();
        prop_assert_eq!(&view.to_object().unwrap(), &object);
        prop_assert_eq!(&copy(view.object()).unwrap(), &object);
        for (key, _) in object.iter() {
            prop_assert!(view.get(key).unwrap().is_some());
        }
        prop_assert!(view.get("no such key at all").unwrap().is_none());
    }

    #[test]
    fn random_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read_all_ways(&bytes);
    }

    /// As above, past the version and with a plausible root, so that the deeper checks are reached.
    #[test]
    fn random_nodes_are_read_or_refused(
        nodes in vec((0u8..10, 0u16..4, 0u32..40, 0u64..12, 0u64..12), 0..12),
        text in vec(prop_oneof![Just(b'a'), any::<u8>()], 0..40),
        top in 0u32..12,
    ) {
        let nodes = nodes.iter().map(|&(kind, key_len, key_at, low, high)| {
            Node { kind, zero: 0, key_len, key_at, data: pack(low as usize, high as usize) }
        });
        let row = archive(nodes.collect(), &text, top);
        let _ = read_all_ways(&row);
        if let Ok(view) = RowRef::new(&row) {
            walk(view.object(), &mut 0);
        }
    }

    #[test]
    fn changed_rows_are_read_or_refused(
        object in object(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut row = encode(&object).unwrap();
        prop_assume!(!row.is_empty());
        let _ = read_all_ways(&row[..cut.index(row.len())]);
        for (at, byte) in changes {
            let at = at.index(row.len());
            row[at] ^= byte;
        }
        let _ = read_all_ways(&row);
    }
}

/// Visits what a view shows, to a limit: children stand after parents, but crafted ones may be shared.
fn walk(object: ObjectRef<'_>, steps: &mut usize) {
    let mut open: Vec<ValueRef<'_>> = object.iter().flatten().map(|(_, value)| value).collect();
    while let Some(value) = open.pop() {
        *steps += 1;
        if *steps > 1_000 {
            return;
        }
        match value {
            ValueRef::Array(array) => open.extend(array.iter().flatten()),
            ValueRef::Object(object) => open.extend(object.iter().flatten().map(|(_, value)| value)),
            _ => {}
        }
    }
}

/// A row of these parts, sound or not.
fn archive(nodes: Vec<Node>, text: &[u8], top: u32) -> AlignedVec<ROW_ALIGN> {
    let row = Row { nodes, text: text.to_vec(), top, version: ROW_VERSION };
    rkyv::api::high::to_bytes_in::<_, Failure>(&row, AlignedVec::new()).unwrap()
}

fn node(kind: u8, key_at: u32, key_len: u16, data: u64) -> Node {
    Node { kind, zero: 0, key_len, key_at, data }
}

fn nested(levels: usize) -> Object {
    let mut value = Value::Null;
    for level in 1..levels {
        value = match level % 2 {
            0 => Value::Array(vec![value]),
            _ => Value::Object(Object::from_entries([("k".to_owned(), value)])),
        };
    }
    Object::from_entries([("a".to_owned(), value)])
}

#[test]
fn floats_keep_their_bits_and_integers_their_kinds() {
    let values = [
        Value::F64(-0.0),
        Value::F64(f64::from_bits(1)),
        Value::F64(-f64::from_bits(1)),
        Value::F64(1.0),
        Value::I64(1),
        Value::U64(1),
        Value::I64(i64::MIN),
        Value::U64(u64::MAX),
        Value::String(String::new()),
        Value::String("\u{0}\u{10ffff} ß 語".to_owned()),
        Value::Array(vec![]),
        Value::Object(Object::new()),
    ];
    let object = Object::from_entries([("".to_owned(), Value::Array(values.to_vec()))]);
    let found = decode(&encode(&object).unwrap()).unwrap();
    let Some(Value::Array(found)) = found.get("") else { panic!("{found:?}") };
    assert_eq!(found, &values);
    let bits = |values: &[Value]| {
        let bits = values
            .iter()
            .filter_map(|value| if let Value::F64(number) = value { Some(number.to_bits()) } else { None });
        bits.collect::<Vec<_>>()
    };
    assert_eq!(bits(found), bits(&values));
}

#[test]
fn the_empty_object_is_the_empty_row() {
    assert_eq!(encode(&Object::new()), Ok(Vec::new()));
    assert_eq!(decode(&[]), Ok(Object::new()));
    assert_eq!(check(&[]), Ok(()));
    let view = RowRef::new(&[]).unwrap();
    assert!(view.object().is_empty() && view.get("").unwrap().is_none());
}

#[test]
fn depth_is_refused_without_recursion() {
    let deepest = nested(PAYLOAD_DEPTH_MAX);
    assert_eq!(decode(&encode(&deepest).unwrap()).unwrap(), deepest);
    for levels in [PAYLOAD_DEPTH_MAX + 1, 1_000_000] {
        let deep = nested(levels);
        assert_eq!(encode(&deep), Err(ValueError::Depth));
        // The same as crafted bytes: each node is the only child of the one before.
        let mut nodes: Vec<Node> =
            (1..levels.min(1 << 20)).map(|first| node(kind::ARRAY, 0, 0, pack(first, 1))).collect();
        nodes.push(node(kind::NULL, 0, 0, 0));
        let row = archive(nodes, b"", 1);
        assert_eq!(read_all_ways(&row), Err(RowError::Limit(ValueError::Depth)));
    }
}

#[test]
fn encode_refuses_what_check_refuses() {
    let one = |key: String, value: Value| Object::from_entries([(key, value)]);
    let text = |len: usize| Value::String("x".repeat(len));
    for object in [
        one("k".repeat(PAYLOAD_KEY_BYTES_MAX), Value::Null),
        one("k".repeat(PAYLOAD_KEY_BYTES_MAX + 1), Value::Null),
        one("k".to_owned(), text(PAYLOAD_BYTES_MAX - 9)),
        one("k".to_owned(), text(PAYLOAD_BYTES_MAX - 8)),
        one("k".to_owned(), Value::Array(vec![Value::Null; PAYLOAD_BYTES_MAX / 8 - 2])),
        one("k".to_owned(), Value::Array(vec![Value::Null; PAYLOAD_BYTES_MAX / 8 - 1])),
        one("k".to_owned(), Value::Array(vec![Value::Array(vec![]); 100_000])),
        one("k".to_owned(), Value::F64(f64::NAN)),
        one("k".to_owned(), Value::Array(vec![Value::F64(f64::NEG_INFINITY)])),
    ] {
        let encoded = encode(&object);
        assert_eq!(encoded.as_ref().err(), object.check().as_ref().err());
        if let Ok(row) = encoded {
            assert_eq!(read_all_ways(&row), Ok(object));
        }
    }
}

#[test]
fn scratch_forgets_huge_rows_and_failed_ones() {
    let mut scratch = Scratch::default();
    let small = Object::from_entries([("k".to_owned(), 1i64.into())]);
    let row = encode(&small).unwrap();
    let huge = Object::from_entries([("k".to_owned(), Value::String("x".repeat(4 << 20)))]);
    assert!(encode_into(&huge, &mut scratch).unwrap().len() > 4 << 20);
    assert_eq!(encode_into(&small, &mut scratch).unwrap(), row);
    assert!(encode_into(&nested(PAYLOAD_DEPTH_MAX + 1), &mut scratch).is_err());
    assert_eq!(encode_into(&small, &mut scratch).unwrap(), row);
    assert_eq!(row.len(), NODE_BYTES + 4 + ROOT_BYTES);
}

/// What a crafted row may say, and what is answered.
#[test]
fn crafted_rows_are_refused_precisely() {
    let null = |key_at, key_len| node(kind::NULL, key_at, key_len, 0);
    let cases: Vec<(Vec<Node>, &[u8], u32, RowError)> = vec![
        (vec![], b"", 0, RowError::Top { count: 0, nodes: 0 }),
        (vec![null(0, 1)], b"a", 2, RowError::Top { count: 2, nodes: 1 }),
        (vec![node(0, 0, 1, 0)], b"a", 1, RowError::Kind { node: 0, kind: 0 }),
        (vec![node(9, 0, 1, 0)], b"a", 1, RowError::Kind { node: 0, kind: 9 }),
        (vec![node(kind::NULL, 0, 1, 5)], b"a", 1, RowError::Value { node: 0 }),
        (vec![node(kind::BOOL, 0, 1, 2)], b"a", 1, RowError::Value { node: 0 }),
        (vec![Node { zero: 1, ..null(0, 1) }], b"a", 1, RowError::Value { node: 0 }),
        (vec![node(kind::F64, 0, 1, f64::NAN.to_bits())], b"a", 1, RowError::Limit(ValueError::NotFinite)),
        (vec![null(0, 5000)], &[b'k'; 5000], 1, RowError::Limit(ValueError::Key { bytes: 5000 })),
        // Text shared, skipped, past the end, left over, cut inside a character, not UTF-8.
        (vec![null(0, 1), null(0, 1)], b"a", 2, RowError::Text { node: 1 }),
        (vec![null(1, 1)], b"ab", 1, RowError::Text { node: 0 }),
        (vec![node(kind::STRING, 0, 1, pack(1, 9))], b"ab", 1, RowError::Text { node: 0 }),
        (vec![node(kind::STRING, 0, 1, pack(1, u32::MAX as usize))], b"ab", 1, RowError::Text { node: 0 }),
        (vec![null(0, 1)], b"ab", 1, RowError::Text { node: 1 }),
        (vec![null(0, 1), null(1, 1)], "ß".as_bytes(), 2, RowError::Text { node: 0 }),
        (vec![null(0, 1)], b"\xff", 1, RowError::Utf8),
        // Children shared, before their parent, past the end, missing; nodes of nobody; a key in a list.
        (vec![node(kind::ARRAY, 0, 1, pack(0, 1))], b"a", 1, RowError::Children { node: 0 }),
        (vec![node(kind::ARRAY, 0, 1, pack(1, 1))], b"a", 1, RowError::Children { node: 0 }),
        (vec![node(kind::ARRAY, 0, 1, pack(1, u32::MAX as usize))], b"a", 1, RowError::Children { node: 0 }),
        (
            vec![node(kind::ARRAY, 0, 1, pack(2, 1)), node(kind::ARRAY, 1, 1, pack(2, 1)), null(2, 0)],
            b"ab",
            2,
            RowError::Children { node: 1 },
        ),
        (vec![null(0, 1), null(1, 1)], b"ab", 1, RowError::Children { node: 1 }),
        (vec![node(kind::ARRAY, 0, 1, pack(1, 1)), null(1, 1)], b"ab", 1, RowError::Value { node: 1 }),
        (vec![null(0, 1), null(1, 1)], b"aa", 2, RowError::RepeatedKey),
        (vec![node(kind::OBJECT, 0, 1, pack(1, 2)), null(1, 0), null(1, 0)], b"a", 1, RowError::RepeatedKey),
        ((0..100).map(|_| null(0, 0)).collect(), b"", 100, RowError::RepeatedKey),
    ];
    for (nodes, text, top, error) in cases {
        assert_eq!(read_all_ways(&archive(nodes, text, top)), Err(error));
    }
}

/// Two million values that each claim the same megabytes of text must not become terabytes.
#[test]
fn claims_do_not_multiply_memory() {
    let text = vec![b'x'; 1 << 20];
    let nodes: Vec<Node> = (0..100_000).map(|_| node(kind::STRING, 0, 0, pack(0, text.len()))).collect();
    assert_eq!(read_all_ways(&archive(nodes, &text, 100_000)), Err(RowError::Text { node: 1 }));
    let nodes: Vec<Node> = (0..PAYLOAD_BYTES_MAX / 8 + 1).map(|_| node(kind::NULL, 0, 0, 0)).collect();
    let top = nodes.len() as u32;
    assert_eq!(decode(&archive(nodes, b"", top)), Err(RowError::Limit(ValueError::Bytes)));
}

#[test]
fn parts_out_of_place_are_refused() {
    let row = encode(&Object::from_entries([("a".to_owned(), Value::Null), ("bc".to_owned(), Value::Null)]))
        .unwrap();
    let (gap, root) = (row.len() - ROOT_BYTES - 1, row.len() - ROOT_BYTES);
    let mut padded = row.clone();
    padded[gap] = 1;
    assert_eq!(decode(&padded), Err(RowError::Places));
    // Nodes and text as many as before, and both inside, but the text among the nodes: the archive's own check sees it first.
    let mut moved = row.clone();
    moved[root + 8..root + 12].copy_from_slice(&(-(root as i32)).to_le_bytes());
    assert_eq!(decode(&moved), Err(RowError::Archive));
    assert_eq!(check(&moved), Err(RowError::Archive));
    assert!(decode(&row).is_ok());
}

#[test]
fn frames_are_refused_precisely() {
    let row = encode(&Object::from_entries([("k".to_owned(), "v".into())])).unwrap();
    assert_eq!(decode(&row[..3]), Err(RowError::Short { len: 3 }));
    let mut later = row.clone();
    let at = later.len() - 4;
    later[at] = 2;
    assert_eq!(decode(&later), Err(RowError::Version { found: 2 }));
    assert_eq!(decode(&row[16..]), Err(RowError::Archive));
    assert_eq!(decode(&[vec![0; 16], row.clone()].concat()), Err(RowError::Length { len: row.len() + 16 }));
    let mut room = AlignedVec::<ROW_ALIGN>::new();
    room.push(0);
    room.extend_from_slice(&row);
    assert_eq!(RowRef::new(&room[1..]).err(), Some(RowError::Unaligned));
}

/// The bytes of one row, for ever: a change here is a change of the format.
#[test]
fn golden_row() {
    let object = Object::from_entries([
        ("a".to_owned(), Value::Array(vec![true.into(), "é".into()])),
        ("bc".to_owned(), Value::I64(-2)),
    ]);
    #[rustfmt::skip]
    let expected = [
        kind::ARRAY, 0, 1, 0,  0, 0, 0, 0,  2, 0, 0, 0, 2, 0, 0, 0,
        kind::I64, 0, 2, 0,  1, 0, 0, 0,  0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        kind::BOOL, 0, 0, 0,  3, 0, 0, 0,  1, 0, 0, 0, 0, 0, 0, 0,
        kind::STRING, 0, 0, 0,  3, 0, 0, 0,  3, 0, 0, 0, 2, 0, 0, 0,
        b'a', b'b', b'c', 0xc3, 0xa9, 0, 0, 0,
        (-72i8).cast_unsigned(), 0xff, 0xff, 0xff,  4, 0, 0, 0,
        (-16i8).cast_unsigned(), 0xff, 0xff, 0xff,  5, 0, 0, 0,
        2, 0, 0, 0,  1, 0, 0, 0,
    ];
    assert_eq!(encode(&object).unwrap(), expected);
}
