//! Merged segments against what their inputs said, whatever died or changed in them.

use std::collections::BTreeMap;

use nearfield_codec::Region;
use nearfield_payload::encode;
use nearfield_platform::MemoryDir;
use nearfield_types::{Metric, Object, PointId, Uuid, Value};
use nearfield_vectors::{Element, Shape};
use proptest::prelude::*;

use super::*;
use crate::growing::{Growing, NewPoint};
use crate::patches::Row;
use crate::schema::Schema;
use crate::seal::seal;
use crate::segment::Segment;

fn schema() -> Schema {
    let shape = |dim| Shape::new(dim, Metric::Cosine, Element::F32).unwrap();
    Schema::new(vec![shape(2), shape(3)])
}

/// Ids of every kind, all different.
fn id(number: u64) -> PointId {
    match number % 4 {
        0 => number.into(),
        1 => Uuid::from_u128(u128::from(number) << 70 | 5).into(),
        2 => format!("point {number}").as_str().into(),
        _ => format!("{}{number}", "x".repeat(number as usize % 40)).as_str().into(),
    }
}

fn row(number: u64, tenant: u8) -> Row {
    let tenant: Value = if tenant < 2 { Value::Null } else { Value::from(u64::from(tenant)) };
    let object = Object::from_entries([("n".to_owned(), Value::from(number)), ("t".to_owned(), tenant)]);
    Row::from(encode(&object).unwrap())
}

/// A point as it should be found: birth, payload, vectors.
type Held = (Seq, Vec<u8>, [Option<Vec<f32>>; 2]);

/// What happens to a point after it was sealed.
#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    Dies { late: bool },
    Patched { tenant: u8, late: bool },
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::None),
        1 => any::<bool>().prop_map(|late| Change::Dies { late }),
        1 => (0u8..5, any::<bool>()).prop_map(|(tenant, late)| Change::Patched { tenant, late }),
    ]
}

/// Segments of points: of each its tenant, which vectors it has, and what becomes of it.
fn any_segments() -> impl Strategy<Value = Vec<Vec<(u8, bool, Change)>>> {
    let point = (0u8..5, any::<bool>(), any_change());
    prop::collection::vec(prop::collection::vec(point, 1..60), 1..5)
}

const SEALED: Seq = Seq(10_000);
const MERGED: Seq = Seq(20_000);
const LATER: Seq = Seq(30_000);

struct Built {
    inputs: Vec<Sealed>,
    /// As of the merge, and as of later.
    models: [BTreeMap<PointId, Held>; 2],
}

fn build(dir: &MemoryDir, segments: &[Vec<(u8, bool, Change)>], path: Option<&Path>) -> Built {
    let schema = schema();
    let mut built = Built { inputs: Vec::new(), models: Default::default() };
    let mut number = 0;
    for (at, points) in segments.iter().enumerate() {
        let growing = Growing::new(&schema);
        for &(tenant, has_both, _) in points {
            let (id, payload) = (id(number), row(number, tenant));
            let first = Some(vec![number as f32, 1.0]);
            let vectors = [first, has_both.then(|| vec![1.0, 2.0, number as f32])];
            let born = Seq(number + 1);
            growing.push(born, &[NewPoint { id: &id, vectors: &vectors, payload: &payload }]).unwrap();
            built.models[0].insert(id.clone(), (born, payload.to_vec(), vectors.clone()));
            number += 1;
        }
        let folder = format!("{at}");
        dir.make_dir(&folder).unwrap();
        let written = seal(&growing, SEALED, path, dir, &folder).unwrap();
        built.inputs.push(Sealed::open(dir, &folder, &schema, written.rows, &written.files, None).unwrap());
    }
    built.models[1] = built.models[0].clone();
    let mut number = 0;
    for (input, points) in built.inputs.iter().zip(segments) {
        for &(_, _, change) in points {
            let id = id(number);
            let slot = input.ids().slot(&id).unwrap();
            match change {
                Change::None => {}
                Change::Dies { late } => {
                    input.changes.deaths.kill(slot, if late { LATER } else { MERGED });
                    built.models[usize::from(late)..].iter_mut().for_each(|model| drop(model.remove(&id)));
                }
                Change::Patched { tenant, late } => {
                    let payload = row(number + 1_000, tenant);
                    input.changes.patches.put(slot, if late { LATER } else { MERGED }, Row::clone(&payload));
                    for model in &mut built.models[usize::from(late)..] {
                        model.get_mut(&id).unwrap().1 = payload.to_vec();
                    }
                }
            }
            number += 1;
        }
    }
    built
}

/// Everything in a segment as of a Seq.
fn contents(sealed: &Arc<Sealed>, seen: Seq) -> BTreeMap<PointId, Held> {
    let segment = Segment::Sealed(Arc::clone(sealed));
    let held = |(id, slot): (PointId, Slot)| {
        let vectors = [0, 1].map(|vector| segment.vector(slot, vector).unwrap());
        (id, (segment.born(slot), segment.payload(slot, seen).unwrap().to_vec(), vectors))
    };
    segment.page(None, usize::MAX, seen).into_iter().map(held).collect()
}

fn open_merged(dir: &MemoryDir, merged: &Merged) -> Arc<Sealed> {
    Arc::new(Sealed::open(dir, "merged", &schema(), merged.rows, &merged.files, None).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_merge_says_what_its_inputs_said(segments in any_segments(), partitioned in any::<bool>()) {
        let dir = MemoryDir::new();
        let path = partitioned.then(|| Path::key("t"));
        let built = build(&dir, &segments, path.as_ref());
        let inputs: Vec<&Sealed> = built.inputs.iter().collect();
        dir.make_dir("merged").unwrap();
        let steps = std::cell::Cell::new(0);
        let count = |more| {
            steps.set(steps.get() + more);
            true
        };
        let merged = merge(&inputs, MERGED, path.as_ref(), &*dir, "merged", &count).unwrap();
        prop_assert_eq!(u64::from(merged.rows) * 3, steps.get());
        let target = open_merged(&dir, &merged);
        prop_assert_eq!(&contents(&target, Seq::MAX), &built.models[0]);
        target.verify().unwrap();
        // What comes later is carried over, and written beside where a checkpoint was made meanwhile.
        let delta = merged.delta(&inputs, LATER);
        let has_later = segments.iter().flatten().any(|(_, _, change)| {
            matches!(change, Change::Dies { late: true } | Change::Patched { late: true, .. })
        });
        prop_assert_eq!(delta.is_some(), has_later);
        prop_assert!(merged.delta(&inputs, MERGED).is_none());
        for (at, input) in inputs.iter().enumerate() {
            merged.carry(at, input, &target);
        }
        prop_assert_eq!(&contents(&target, LATER), &built.models[1]);
        prop_assert_eq!(&contents(&target, MERGED), &built.models[0]);
        if let Some(delta) = delta {
            prop_assert_eq!(target.delta(LATER), delta);
        }
        if let Some(path) = &path {
            let key = |slot| {
                let row = target.payload_rows().row(Slot(slot)).unwrap();
                Key::of(path, &Region::from(row)).unwrap()
            };
            let keys: Vec<Key> = (0..merged.rows).map(key).collect();
            prop_assert!(keys.is_sorted());
        }
    }
}

#[test]
fn the_largest_input_keeps_its_slots() {
    let dir = MemoryDir::new();
    let whole = |rows| vec![(0, true, Change::None); rows];
    let built = build(&dir, &[whole(3), whole(20), whole(7)], None);
    dir.make_dir("merged").unwrap();
    let inputs: Vec<&Sealed> = built.inputs.iter().collect();
    let merged = merge(&inputs, MERGED, None, &*dir, "merged", &|_| true).unwrap();
    assert_eq!(merged.plan.ranking, [1, 2, 0]);
    assert!(merged.plan.moved[1].iter().zip(0..).all(|(&new, old)| new == old));
}

#[test]
fn damage_names_the_input_and_giving_up_is_no_damage() {
    let dir = MemoryDir::new();
    // So many rows that damage lies in a block that opening does not look at.
    let built = build(&dir, &[vec![(0, true, Change::None); 5], vec![(0, true, Change::None); 4_000]], None);
    let mut bytes = dir.open("1/payload").unwrap().to_vec();
    bytes[80] ^= 1;
    dir.remove("1/payload").unwrap();
    let file = dir.create("1/payload").unwrap();
    file.write_at(0, &[&bytes]).unwrap();
    let blob = dir.blob("1/payload", nearfield_payload::format::PAYLOAD_TAG).unwrap();
    assert!(blob.verify_all().is_err());
    let summary = |path: &str, tag| {
        let blob = dir.blob(path, tag).unwrap();
        Summary { length: blob.file_len(), crc64: 0, blake3: [0; 32], tables_crc: blob.tables_crc() }
    };
    let rows = |vector| summary(&format!("1/{}", vectors_file(vector)), nearfield_vectors::format::TAG);
    let files = SealedFiles {
        ids: summary("1/ids", crate::format::IDS_TAG),
        payload: summary("1/payload", nearfield_payload::format::PAYLOAD_TAG),
        vectors: vec![rows(0), rows(1)],
    };
    let damaged = Sealed::open(&*dir, "1", &schema(), 4_000, &files, None).unwrap();
    for folder in ["a", "b"] {
        dir.make_dir(folder).unwrap();
    }
    let failed = merge(&[&built.inputs[0], &damaged], MERGED, None, &*dir, "a", &|_| true).unwrap_err();
    assert!(matches!(failed, MergeError::Input { input: 1, .. }), "{failed}");
    let stopped = merge(&[&built.inputs[0]], MERGED, None, &*dir, "b", &|_| false).unwrap_err();
    assert!(matches!(stopped, MergeError::Stopped));
}
