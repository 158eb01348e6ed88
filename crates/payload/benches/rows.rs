//! Encoding and decoding of a payload as a dictionary entry has it: ten keys, a hundred characters of text.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nearfield_payload::{RowRef, Scratch, check, decode, encode_into, write};
use nearfield_types::Object;

fn typical(id: i64) -> Object {
    let mut object = Object::new();
    object.set(
        "text",
        "able: (usually followed by `to') having the necessary means or skill or know-how or authority to do",
    );
    object.set("lemma", "able");
    object.set("pos", "adjective");
    object.set("category", "adj.all");
    object.set("words", 1i64);
    object.set("first_letter", "a");
    object.set("offset", 1740i64);
    object.set("gloss_len", 94i64);
    object.set("id", id);
    object.set("bucket", id % 100);
    object
}

fn nested() -> Object {
    let mut object = typical(7);
    object.set("senses", (0..5).map(|id| typical(id).into()).collect::<Vec<_>>());
    object
}

fn rows(c: &mut Criterion) {
    for (name, object) in [("flat", typical(7)), ("nested", nested())] {
        let mut scratch = Scratch::default();
        let row = encode_into(&object, &mut scratch).unwrap().to_vec();
        assert_eq!(decode(&row).unwrap(), object);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(row.len() as u64));
        group.bench_function("encode", |b| {
            b.iter(|| encode_into(black_box(&object), &mut scratch).unwrap().len())
        });
        group.bench_function("decode", |b| b.iter(|| decode(black_box(&row)).unwrap()));
        group.bench_function("check", |b| b.iter(|| check(black_box(&row)).unwrap()));
        group.bench_function("get last key", |b| {
            b.iter(|| RowRef::new(black_box(&row)).unwrap().get("bucket").unwrap().is_some())
        });
        group.finish();
    }
}

fn sealed(c: &mut Criterion) {
    let mut scratch = Scratch::default();
    let rows: Vec<Vec<u8>> =
        (0..10_000).map(|id| encode_into(&typical(id), &mut scratch).unwrap().to_vec()).collect();
    let bytes: usize = rows.iter().map(Vec::len).sum();
    let mut group = c.benchmark_group("sealed");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("write 10,000 rows", |b| {
        b.iter(|| {
            let (len, summary) = write(Counting(0), black_box(&rows)).unwrap();
            assert_eq!(len.0, summary.length);
        })
    });
    group.finish();
}

/// A sink that counts, so that the checksums are measured and not the disk.
struct Counting(u64);

impl std::io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

criterion_group!(benches, rows, sealed);
criterion_main!(benches);
