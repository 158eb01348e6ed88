//! Building field indexes and binding filters over them, on rows as a dictionary entry has them. Memory is printed.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nearfield_payload::filter::{Condition, Filter, Range, Test};
use nearfield_payload::index::{
    FieldBuilder, FieldIndex, FieldReader, GrowingField, IndexKind, Resolve, bind,
};
use nearfield_payload::{Path, RowRef, Scratch, encode_into};
use nearfield_types::{Object, PointId};
use roaring::RoaringBitmap;

const ROWS: u32 = 50_000;
const FIELDS: &[(&str, IndexKind)] = &[
    ("category", IndexKind::Keyword),
    ("lemma", IndexKind::Keyword),
    ("bucket", IndexKind::Integer),
    ("id", IndexKind::Integer),
    ("gloss_len", IndexKind::Float),
    ("text", IndexKind::Text),
];

/// Rows on the heap that begin at multiples of eight.
fn rows() -> Vec<Box<[u64]>> {
    let mut scratch = Scratch::default();
    (0..i64::from(ROWS))
        .map(|id| {
            let mut object = Object::new();
            object.set(
                "text",
                format!("word{} having the necessary means or skill to do {}", id % 977, id % 31),
            );
            object.set("lemma", format!("lemma {}", id * 7919 % 40_000));
            object.set("category", format!("noun.{}", id * id % 45));
            object.set("gloss_len", id * 31 % 400);
            object.set("id", id);
            object.set("bucket", id * 7919 % 1_000);
            let row = encode_into(&object, &mut scratch).unwrap();
            let word = |bytes: &[u8]| {
                let mut raw = [0; 8];
                raw[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(raw)
            };
            assert_eq!(row.len() % 8, 0, "rows end with a root of 24 bytes, padded to four");
            row.chunks(8).map(word).collect()
        })
        .collect()
}

fn view(row: &[u64]) -> RowRef<'_> {
    RowRef::new(bytemuck::cast_slice(row)).unwrap()
}

fn build(rows: &[Box<[u64]>], name: &str, kind: IndexKind) -> FieldReader {
    let mut builder = FieldBuilder::new(kind.config(), Path::key(name)).unwrap();
    rows.iter().for_each(|row| builder.push(&view(row)).unwrap());
    FieldReader::open(builder.write(Vec::new()).unwrap().0.into(), ROWS).unwrap()
}

fn building(c: &mut Criterion) {
    let rows = rows();
    let mut group = c.benchmark_group("build");
    group.throughput(Throughput::Elements(ROWS.into())).sample_size(10);
    for &(name, kind) in FIELDS {
        let memory = build(&rows, name, kind).memory();
        println!("{name} ({}): {:.1} bytes a row", kind.name(), memory.mapped as f64 / f64::from(ROWS));
        group.bench_function(format!("{name} ({})", kind.name()), |b| {
            b.iter(|| build(black_box(&rows), name, kind))
        });
    }
    group.bench_function("category (growing)", |b| {
        b.iter(|| {
            let field = GrowingField::new(IndexKind::Keyword.config(), Path::key("category")).unwrap();
            rows.iter().for_each(|row| field.push(&view(row)).unwrap());
            field.reader().covered()
        });
    });
    group.finish();
}

struct Segment(Vec<(Path, FieldReader)>);

impl Resolve for Segment {
    fn field(&self, path: &Path) -> Option<&dyn FieldIndex> {
        self.0.iter().find(|(own, _)| own == path).map(|(_, index)| index as &dyn FieldIndex)
    }

    fn ids(&self, _ids: &[PointId]) -> Option<RoaringBitmap> {
        None
    }

    fn vectors(&self, _name: &str) -> Option<RoaringBitmap> {
        None
    }
}

fn binding(c: &mut Criterion) {
    let rows = rows();
    let segment =
        Segment(FIELDS.iter().map(|&(name, kind)| (Path::key(name), build(&rows, name, kind))).collect());
    let below = |bound: i64| Condition::field(Path::key("bucket"), Test::Range(Range::below(bound)));
    let category = || Condition::field(Path::key("category"), Test::value("noun.1"));
    let filters = [
        ("half", Filter::all([below(500)])),
        ("a hundredth", Filter::all([below(10)])),
        ("one keyword", Filter::all([category()])),
        ("both", Filter::all([below(500), category()])),
        ("not", Filter::all([below(500)]).must_not([category()])),
    ];
    let mut group = c.benchmark_group("bind");
    for (name, filter) in filters {
        let bound = bind(filter.view(), &segment, ROWS, &RoaringBitmap::new()).unwrap();
        let estimate = bound.estimate;
        let found = bound.candidates.len(ROWS);
        assert!(bound.residual.is_none() && estimate.low <= found && found <= estimate.high);
        group.bench_function(name, |b| {
            b.iter(|| bind(black_box(&filter).view(), &segment, ROWS, &RoaringBitmap::new()).unwrap())
        });
    }
    group.finish();
}

criterion_group!(benches, building, binding);
criterion_main!(benches);
