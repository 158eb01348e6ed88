//! Growing and sealed rows against each other, against plain f64 arithmetic and against damage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nearfield_ann::conformance::{Points, check_scorer};
use nearfield_ann::{
    AdmitAll, Budget, BySlot, Flat, Hit, Scorer, Scratch, Search, Stats, Stopped, TopK, VectorIndex,
};
use nearfield_codec::{ContainerWriter, Region};
use nearfield_platform::{BlobError, MappedBlob};
use nearfield_types::{Metric, Score, Slot};
use proptest::prelude::*;

use crate::format::{HEADER_BYTES, SECTION_HEADER, SECTION_NORMS, SECTION_PRESENCE, SECTION_ROWS, TAG};
use crate::*;

type Rows = Vec<Option<Vec<f32>>>;

fn shape(dim: u32, metric: Metric) -> Shape {
    Shape::new(dim, metric, Element::F32).unwrap()
}

fn grow(shape: Shape, rows: &Rows) -> Arc<GrowingRows> {
    let (mut writer, growing) = GrowingRows::create(shape);
    for (slot, row) in rows.iter().enumerate() {
        assert_eq!(writer.push(row.as_deref()), Ok(Slot(slot as u32)));
    }
    growing
}

fn file(shape: Shape, rows: &Rows) -> Vec<u8> {
    let (bytes, written) = write_rows(Vec::new(), shape, rows.iter().map(Option::as_deref)).unwrap();
    assert_eq!(written.count as usize, rows.len());
    assert_eq!(written.present as usize, rows.iter().flatten().count());
    assert_eq!(written.summary.length, bytes.len() as u64);
    bytes
}

fn open(bytes: &[u8], shape: Shape, count: usize) -> Result<SealedRows, OpenError> {
    let blob = MappedBlob::open(Region::from(bytes.to_vec()), TAG).map_err(BlobError::from)?;
    SealedRows::open(Arc::new(blob), shape, count as u32)
}

fn seal(shape: Shape, rows: &Rows) -> SealedRows {
    open(&file(shape, rows), shape, rows.len()).unwrap()
}

fn read_all(store: &dyn VectorStore, slots: &[Slot]) -> Result<Rows, BlobError> {
    let mut out = Vec::new();
    store.read_many(slots, &mut |at, row| {
        assert_eq!(at, out.len(), "visited out of order");
        out.push(row.map(<[f32]>::to_vec));
    })?;
    Ok(out)
}

fn search(store: &dyn VectorStore, query: &[f32], k: usize) -> Result<(Vec<Hit>, Stats), Stopped> {
    let mut scorer = store.scorer(query).unwrap();
    let (mut best, budget) = (TopK::new(k, &BySlot), Budget::unlimited());
    let question = Search::new(&mut *scorer, &AdmitAll, &budget);
    let stats = Flat::new(store.len()).search(question, &mut Scratch::new(), &mut best)?;
    Ok((best.into_sorted(), stats))
}

/// The distance by its definition, in f64.
fn naive(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::Cosine if norm(a) * norm(b) == 0.0 => 1.0,
        Metric::Cosine => 1.0 - dot / (norm(a) * norm(b)),
        Metric::Dot => -dot,
        Metric::Euclid => pairs().map(|(x, y)| (x - y).powi(2)).sum(),
        Metric::Manhattan => pairs().map(|(x, y)| (x - y).abs()).sum(),
    }
}

/// What f32 arithmetic may lose: relative to the sum of the magnitudes, not to a result that cancelled.
fn tolerance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let magnitude: f64 = a.iter().zip(b).map(|(x, y)| f64::from(x.abs()) * f64::from(y.abs())).sum();
    match metric {
        Metric::Cosine => 1e-5,
        Metric::Dot => 1e-5 * magnitude + 1e-30,
        Metric::Euclid | Metric::Manhattan => 1e-5 * naive(metric, a, b) + 1e-30,
    }
}

fn check_against_naive(metric: Metric, query: &[f32], row: &[f32], found: Score) {
    let limit = f64::from(f32::MAX);
    let wanted = naive(metric, query, row).clamp(-limit, limit);
    let error = (f64::from(found) - wanted).abs();
    assert!(error <= tolerance(metric, query, row), "{metric}: {found} for {wanted}, {query:?} {row:?}");
    assert!(found.is_finite() && (metric != Metric::Cosine || (0.0..=2.0).contains(&found)));
    assert_eq!(found.to_bits(), distance(metric, query, row).unwrap().to_bits());
}

/// Both stores: the same answers, bit for bit, and the right ones.
fn check_stores(metric: Metric, rows: &Rows, query: &[f32]) {
    let shape = shape(query.len() as u32, metric);
    let (growing, sealed) = (grow(shape, rows), seal(shape, rows));
    let len = rows.len() as u32;
    let slots: Vec<Slot> = (0..len + 2).map(Slot).collect();
    let expected: Vec<Score> = rows
        .iter()
        .map(|row| row.as_ref().map_or(Score::INFINITY, |row| distance(metric, query, row).unwrap()))
        .collect();
    for store in [&*growing as &dyn VectorStore, &sealed] {
        assert_eq!((store.len(), store.is_empty(), store.shape()), (len, rows.is_empty(), shape));
        let read = read_all(store, &slots).unwrap();
        assert_eq!(read[..rows.len()], rows[..]);
        assert_eq!(read[rows.len()..], [None, None]);
        for &slot in &slots {
            let row = rows.get(slot.index()).and_then(Option::as_ref);
            assert_eq!(store.is_present(slot), row.is_some());
        }
        let known = |slot: Slot| expected.get(slot.index()).copied();
        check_scorer(&mut *store.scorer(query).unwrap(), len, &known).unwrap();
    }
    for (row, &found) in rows.iter().zip(&expected) {
        if let Some(row) = row {
            check_against_naive(metric, query, row, found);
        }
    }
    assert_eq!(search(&*growing, query, 7).unwrap(), search(&sealed, query, 7).unwrap());
}

/// Ordinary values, and those at which f32 overflows, vanishes or changes sign.
fn value() -> impl Strategy<Value = f32> {
    let odd = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        1e-45,
        1e-38,
        -1e-20,
        1e15,
        1e19,
        -1e30,
        f32::MAX,
        f32::MIN,
    ]);
    prop_oneof![12 => -4.0f32..4.0, 1 => odd]
}

fn row(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    let plain = prop::collection::vec(-1.0f32..1.0, dim);
    let odd = prop::collection::vec(value(), dim);
    let zero = Just(vec![0.0; dim]);
    prop_oneof![6 => plain, 3 => odd, 1 => zero]
}

fn rows_and_query() -> impl Strategy<Value = (Rows, Vec<f32>)> {
    let dim = prop_oneof![1usize..9, Just(16), Just(33), Just(100)];
    dim.prop_flat_map(|dim| {
        let all = prop::collection::vec(row(dim).prop_map(Some), 0..40);
        let some = prop::collection::vec(prop::option::of(row(dim)), 0..80);
        (prop_oneof![all, some], row(dim))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    #[cfg_attr(miri, ignore = "much work, and none of it in unsafe code of its own")]
    fn growing_sealed_and_naive_agree((rows, query) in rows_and_query()) {
        for metric in Metric::ALL {
            check_stores(metric, &rows, &query);
        }
    }
}

/// Deterministic rows of distinct values, every seventh missing where `sparse`.
fn some_rows(count: u32, dim: usize, sparse: bool) -> Rows {
    let value = |slot: u32, at: usize| ((slot * 31 + at as u32 * 17) % 101) as f32 / 7.0 - 6.5;
    let row = |slot: u32| (0..dim).map(|at| value(slot, at)).collect();
    (0..count).map(|slot| (!sparse || slot % 7 != 2).then(|| row(slot))).collect()
}

#[test]
#[cfg_attr(miri, ignore = "much work, and none of it in unsafe code of its own")]
fn stores_of_many_chunks_and_pieces_agree() {
    for (count, dim, sparse) in [(3_000, 40, false), (700, 700, true), (40, 3_000, true), (9, 65_536, false)]
    {
        let rows = some_rows(count, dim, sparse);
        let query: Vec<f32> = (0..dim).map(|at| (at % 13) as f32 / 3.0 - 2.0).collect();
        check_stores(Metric::Cosine, &rows, &query);
        check_stores(Metric::Euclid, &rows, &query);
    }
}

/// On a grid where f32 is exact, the reference of the search contract and the stores must agree to the bit.
#[test]
#[cfg_attr(miri, ignore = "much work, and none of it in unsafe code of its own")]
fn scores_equal_the_reference_scorer() {
    let points = Points::clustered(1_200, 24, 3);
    let rows: Rows = points.rows().chunks(points.dim()).map(|row| Some(row.to_vec())).collect();
    let shape = shape(points.dim() as u32, Metric::Euclid);
    let (growing, sealed) = (grow(shape, &rows), seal(shape, &rows));
    for store in [&*growing as &dyn VectorStore, &sealed] {
        for slot in [Slot(0), Slot(700)] {
            let query = points.row(slot).unwrap();
            let mut wanted = vec![0.0; rows.len()];
            points.scorer(query).score_run(Slot(0), &mut wanted).unwrap();
            let known = |slot: Slot| wanted.get(slot.index()).copied();
            check_scorer(&mut *store.scorer(query).unwrap(), points.len(), &known).unwrap();
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "much work, and none of it in unsafe code of its own")]
fn bulk_and_single_pushes_write_the_same_file() {
    for metric in Metric::ALL {
        let rows = some_rows(5_000, 48, false);
        let flat: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
        let shape = shape(48, metric);
        for split in [0, 1, 700, 5_000] {
            let mut writer = RowsWriter::new(Vec::new(), shape).unwrap();
            writer.push_rows(&flat[..split * 48]).unwrap();
            rows[split..].iter().take(3).for_each(|row| writer.push(row.as_deref()).unwrap());
            writer.push_rows(&flat[(split + 3).min(5_000) * 48..]).unwrap();
            assert!(writer.finish().unwrap().0 == file(shape, &rows), "{metric} split at {split}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = shape(3, Metric::Dot);
    let (mut writer, growing) = GrowingRows::create(shape);
    let short = ShapeError::Dimension { expected: 3, found: 2 };
    assert_eq!(writer.push(Some(&[1.0, 2.0])), Err(PushError::Shape(short)));
    assert_eq!((growing.len(), growing.memory(), writer.is_empty()), (0, 0, true));
    assert_eq!(growing.scorer(&[0.0; 2]).err(), Some(short));
    assert_eq!(growing.scorer(&[0.0, f32::NAN, 0.0]).err(), Some(ShapeError::NotFinite { at: 1 }));

    let mut writer = RowsWriter::new(Vec::new(), shape).unwrap();
    assert!(matches!(writer.push(Some(&[1.0, 2.0])), Err(WriteError::Shape(error)) if error == short));
    assert!(matches!(writer.push_rows(&[1.0; 5]), Err(WriteError::Shape(error)) if error == short));
}

#[test]
fn a_growing_store_is_read_while_it_grows() {
    const DIM: usize = 20;
    let rows: u32 = if cfg!(miri) { 300 } else { 20_000 };
    let value = |slot: u32| slot as f32;
    let is_absent = |slot: u32| slot % 5 == 3;
    let (mut writer, growing) = GrowingRows::create(shape(DIM as u32, Metric::Manhattan));
    let rounds = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < rows {
                    let before = growing.len();
                    let mut scorer = growing.scorer(&[0.0; DIM]).unwrap();
                    let first = seen.saturating_sub(50);
                    let mut scores = vec![0.0; (before - first) as usize + 1];
                    scorer.score_run(Slot(first), &mut scores).unwrap();
                    for (slot, &score) in (first..before).zip(&scores) {
                        let wanted = if is_absent(slot) { Score::INFINITY } else { DIM as f32 * value(slot) };
                        assert_eq!(score, wanted, "slot {slot} of {before}");
                        let row = growing.row(Slot(slot));
                        assert_eq!(row, (!is_absent(slot)).then_some(&[value(slot); DIM][..]));
                    }
                    seen = before;
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
        }
        for slot in 0..rows {
            let row = [value(slot); DIM];
            assert_eq!(writer.push((!is_absent(slot)).then_some(&row)), Ok(Slot(slot)));
        }
    });
    assert!(rounds.load(Ordering::Relaxed) >= 2);
    // A scorer keeps to the length at which it was made.
    let mut scorer = growing.scorer(&[0.0; DIM]).unwrap();
    writer.push(Some(&[1.0; DIM])).unwrap();
    let mut score = [0.0];
    scorer.score(&[Slot(rows)], &mut score).unwrap();
    assert_eq!(score, [Score::INFINITY]);
}

/// Every part of an answer a damaged file could change.
fn read_everything(bytes: &[u8], shape: Shape, count: usize) -> Result<(Rows, Vec<u32>), String> {
    let sealed = open(bytes, shape, count).map_err(|error| error.to_string())?;
    let slots: Vec<Slot> = (0..count as u32).map(Slot).collect();
    let rows = read_all(&sealed, &slots).map_err(|error| error.to_string())?;
    let query = vec![0.5; shape.dim() as usize];
    let mut scores = vec![0.0; count];
    let scored = sealed.scorer(&query).unwrap().score_run(Slot(0), &mut scores);
    scored.map_err(|stopped| stopped.to_string())?;
    Ok((rows, scores.iter().map(|score| score.to_bits()).collect()))
}

#[test]
#[cfg_attr(miri, ignore = "much work, and none of it in unsafe code of its own")]
fn every_flipped_byte_and_every_prefix_is_refused() {
    for (metric, sparse) in [(Metric::Cosine, true), (Metric::Dot, false)] {
        let (rows, shape) = (some_rows(20, 5, sparse), shape(5, metric));
        let bytes = file(shape, &rows);
        assert_eq!(read_everything(&bytes, shape, 20).unwrap().0, rows);
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(read_everything(&damaged, shape, 20).is_err(), "{metric} byte {at} bit {bit}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(read_everything(&bytes[..cut], shape, 20).is_err(), "{metric} prefix {cut}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "much work, and none of it in unsafe code of its own")]
fn damage_is_met_where_it_is_and_only_there() {
    let (rows, shape) = (some_rows(2_000, 64, false), shape(64, Metric::Euclid));
    let mut bytes = file(shape, &rows);
    bytes[64 + 1_000 * 256] ^= 1;
    let sealed = open(&bytes, shape, 2_000).unwrap();
    let query = [0.0; 64];
    let mut scorer = sealed.scorer(&query).unwrap();
    let mut score = [0.0];
    assert_eq!(scorer.score(&[Slot(1_000)], &mut score), Err(Stopped::Damaged));
    assert_eq!(scorer.score(&[Slot(10)], &mut score), Ok(()));
    assert_eq!(score[0], distance(Metric::Euclid, &query, rows[10].as_ref().unwrap()).unwrap());
    assert_eq!(search(&sealed, &query, 3).map(|_| ()), Err(Stopped::Damaged));
    assert!(read_all(&sealed, &[Slot(10), Slot(1_000)]).is_err() && sealed.verify().is_err());
    assert_eq!(read_all(&sealed, &[Slot(10)]).unwrap(), [rows[10].clone()]);
}

/// A sound container with these sections.
fn container(sections: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ContainerWriter::new(Vec::new(), TAG).unwrap();
    for (id, bytes) in sections {
        writer.section(*id).unwrap();
        writer.write(bytes).unwrap();
    }
    writer.finish().unwrap().0
}

fn header(dim: u32, count: u32, present: u32, codes: [u8; 4]) -> (u32, Vec<u8>) {
    let numbers = [dim, count, present].map(u32::to_le_bytes).concat();
    (SECTION_HEADER, [numbers, codes.to_vec()].concat())
}

#[test]
fn sound_files_of_another_kind_are_refused_precisely() {
    let rows = (SECTION_ROWS, vec![0; 3 * 8]);
    let words = |word: u64| (SECTION_PRESENCE, word.to_le_bytes().to_vec());
    let open_with = |sections: &[(u32, Vec<u8>)]| open(&container(sections), shape(2, Metric::Dot), 3);
    let error = |sections: &[(u32, Vec<u8>)]| open_with(sections).unwrap_err().to_string();
    assert!(open_with(&[rows.clone(), header(2, 3, 3, [1, 0, 0, 0])]).is_ok());
    assert!(open_with(&[rows.clone(), words(0b101), header(2, 3, 2, [1, 0, 0, 0])]).is_ok());

    let unsupported = error(&[rows.clone(), header(2, 3, 3, [1, 1, 0, 0])]);
    assert_eq!(
        unsupported,
        "rows have element code 1, which this program does not support: upgrade Nearfield to open them"
    );
    let unsupported = error(&[rows.clone(), header(2, 3, 3, [9, 0, 0, 0])]);
    assert_eq!(
        unsupported,
        "rows have metric code 9, which this program does not support: upgrade Nearfield to open them"
    );
    for (sections, text) in [
        (vec![rows.clone(), header(4, 3, 3, [1, 0, 0, 0])], "rows have dimension 4, expected 2"),
        (vec![rows.clone(), header(2, u32::MAX, 3, [1, 0, 0, 0])], "rows have count 4294967295, expected 3"),
        (vec![rows.clone(), header(2, 3, 3, [2, 0, 0, 0])], "rows have metric code 2, expected 1"),
        (vec![rows.clone(), header(2, 3, 3, [1, 0, 1, 0])], "rows have reserved bytes 1, expected 0"),
        (vec![rows.clone(), header(2, 3, 4, [1, 0, 0, 0])], "presence bits do not stand for 4 of 3 slots"),
        (
            vec![rows.clone(), words(0b1011), header(2, 3, 2, [1, 0, 0, 0])],
            "presence bits do not stand for 2 of 3 slots",
        ),
        (
            vec![rows.clone(), words(0b001), header(2, 3, 2, [1, 0, 0, 0])],
            "presence bits do not stand for 2 of 3 slots",
        ),
        (vec![rows.clone(), header(2, 3, 2, [1, 0, 0, 0])], "section 3 is missing"),
        (
            vec![(SECTION_ROWS, vec![0; 20]), header(2, 3, 3, [1, 0, 0, 0])],
            "section 1 has 20 bytes, expected 24",
        ),
        (vec![rows.clone(), (SECTION_HEADER, vec![0; 15])], "section 4 has 15 bytes, expected 16"),
        (vec![rows.clone()], "section 4 is missing"),
        (vec![header(2, 3, 3, [1, 0, 0, 0])], "section 1 is missing"),
    ] {
        assert_eq!(error(&sections), text);
    }
    let cosine = container(&[rows, header(2, 3, 3, [0, 0, 0, 0])]);
    let missing = open(&cosine, shape(2, Metric::Cosine), 3).unwrap_err().to_string();
    assert_eq!(missing, format!("section {SECTION_NORMS} is missing"));
    assert_eq!(HEADER_BYTES, 16);
}

#[test]
fn stored_norms_that_lie_give_no_score_outside_the_order() {
    let lies = [f32::NAN, f32::INFINITY, -1.0, 1e15, 0.0];
    let row_values = [f32::MAX, f32::MAX, -f32::MAX, 1.0, f32::NAN];
    let rows: Vec<u8> =
        row_values.iter().flat_map(|value| [*value, *value]).flat_map(f32::to_le_bytes).collect();
    let norms: Vec<u8> = lies.into_iter().flat_map(f32::to_le_bytes).collect();
    let bytes = container(&[(SECTION_ROWS, rows), (SECTION_NORMS, norms), header(2, 5, 5, [0, 0, 0, 0])]);
    let sealed = open(&bytes, shape(2, Metric::Cosine), 5).unwrap();
    let mut scores = [0.0; 5];
    sealed.scorer(&[1.0, 1.0]).unwrap().score_run(Slot(0), &mut scores).unwrap();
    assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
    assert_eq!(search(&sealed, &[1.0, 1.0], 10).unwrap().0.len(), 5);
}
