//! The index against a list of vectors that is searched by looking at all of them.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests look at saved folders and damage them from outside"
)]

use std::collections::BTreeMap;

use nearfield_types::Metric;
use nearfield_vectors::distance;

use super::*;

/// Clustered vectors; the same for the same seed.
fn vectors(count: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let centres: Vec<f32> = (0..20 * dim).map(|_| 2.0 * next()).collect();
    let mut all = Vec::with_capacity(count * dim);
    for row in 0..count {
        let centre = row * 7 % 20 * dim;
        all.extend(centres[centre..centre + dim].iter().map(|value| value + next()));
    }
    all
}

/// More of the same clusters as `vectors(count, dim, 5)`.
fn queries(count: usize, dim: usize, asked: usize) -> Vec<f32> {
    vectors(count + asked, dim, 5).split_off(count * dim)
}

struct Model {
    metric: Metric,
    rows: BTreeMap<u64, Vec<f32>>,
}

impl Model {
    fn nearest(&self, query: &[f32], k: usize) -> Vec<(f32, u64)> {
        let mut all: Vec<(f32, u64)> =
            self.rows.iter().map(|(&id, row)| (distance(self.metric, query, row).unwrap(), id)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.truncate(k);
        all
    }

    /// The share of the ten nearest that `index` finds; every distance it says must be true.
    fn recall(&self, index: &Index, queries: &[f32], breadth: Breadth) -> f64 {
        let (mut hit, mut all) = (0, 0);
        for query in queries.chunks(index.dim() as usize) {
            let (mut ids, mut distances) = ([0; 10], [0.0; 10]);
            let found = index.search(query, 10, breadth, &mut ids, &mut distances).unwrap();
            let truth = self.nearest(query, 10);
            assert_eq!(found, truth.len());
            assert!(distances[..found].windows(2).all(|pair| pair[0] <= pair[1]));
            for (id, said) in ids[..found].iter().zip(distances) {
                let row = &self.rows[id];
                let expected = distance(self.metric, query, row).unwrap();
                assert!((said - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{said} for {expected}");
                hit += usize::from(said <= truth[truth.len() - 1].0 + 1e-5);
            }
            all += truth.len();
        }
        hit as f64 / all as f64
    }
}

fn filled(metric: Metric, dim: usize, count: usize, quantization: Quantization) -> (Index, Model) {
    let options = IndexOptions { quantization, ..IndexOptions::new(metric) };
    let index = Index::new(dim as u32, &options).unwrap();
    let rows = vectors(count, dim, 5);
    let ids: Vec<u64> = (0..count as u64).map(|n| n * 3 + 1).collect();
    index.add(Some(&ids), &rows, 2).unwrap();
    let rows = ids.into_iter().zip(rows.chunks(dim).map(<[f32]>::to_vec)).collect();
    (index, Model { metric, rows })
}

#[test]
fn every_metric_and_code_finds_what_is_near() {
    let quantizations = [
        Quantization::Auto,
        Quantization::Scalar { quantile: 0.99 },
        Quantization::None,
        Quantization::Rotated,
    ];
    for metric in Metric::ALL {
        for quantization in quantizations {
            let (index, model) = filled(metric, 48, 2_500, quantization);
            let queries = queries(2_500, 48, 40);
            let recall = model.recall(&index, &queries, Breadth::Ef(100));
            assert!(recall > 0.95, "{metric} {quantization:?}: {recall}");
            assert_eq!(model.recall(&index, &queries, Breadth::Exact), 1.0);
            let stats = index.stats();
            assert_eq!((stats.len, stats.dead, stats.unlinked, stats.graph.linked), (2_500, 0, 0, 2_500));
        }
    }
}

#[test]
fn few_dimensions_are_walked_on_vectors() {
    let (index, model) = filled(Metric::Euclid, 3, 3_000, Quantization::Auto);
    assert_eq!(index.stats().tier, Tier::Exact);
    assert!(model.recall(&index, &queries(3_000, 3, 40), Breadth::Ef(60)) > 0.97);
}

#[test]
fn a_recall_that_was_asked_for_is_reached() {
    let (index, model) = filled(Metric::Cosine, 64, 6_000, Quantization::Auto);
    assert!(!index.stats().calibration.points.is_empty());
    let queries = queries(6_000, 64, 100);
    for recall in [0.9, 0.99] {
        let reached = model.recall(&index, &queries, Breadth::Recall(recall));
        assert!(reached > f64::from(recall) - 0.03, "{reached} for {recall}");
    }
}

#[test]
fn removed_and_replaced_vectors_are_gone() {
    let (index, mut model) = filled(Metric::Dot, 32, 1_500, Quantization::Auto);
    let gone: Vec<u64> = model.rows.keys().copied().filter(|id| id % 5 == 0).collect();
    assert_eq!(index.remove(&gone).unwrap(), gone.len());
    assert_eq!(index.remove(&gone).unwrap(), 0);
    model.rows.retain(|id, _| id % 5 != 0);
    let fresh = vectors(50, 32, 123);
    let ids: Vec<u64> = model.rows.keys().copied().step_by(7).take(50).collect();
    index.add(Some(&ids), &fresh, 1).unwrap();
    for (id, row) in ids.iter().zip(fresh.chunks(32)) {
        model.rows.insert(*id, row.to_vec());
    }
    assert_eq!(index.len(), model.rows.len() as u64);
    assert!(!index.contains(gone[0]) && index.get(gone[0]).unwrap().is_none());
    assert_eq!(index.get(ids[3]).unwrap().as_deref(), Some(&fresh[96..128]));
    let recall = model.recall(&index, &queries(1_500, 32, 40), Breadth::Ef(120));
    assert!(recall > 0.95, "{recall}");
    // As many rows came as went, and what is gone stays gone.
    let (mut ids, mut distances) = ([0; 50], [0.0; 50]);
    for query in queries(1_500, 32, 40).chunks(32) {
        let found = index.search(query, 50, Breadth::Ef(50), &mut ids, &mut distances).unwrap();
        assert!(ids[..found].iter().all(|id| model.rows.contains_key(id)));
    }
}

#[test]
fn saved_indexes_come_back() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("saved");
    let (index, mut model) = filled(Metric::Cosine, 40, 2_000, Quantization::Auto);
    let queries = queries(2_000, 40, 30);
    index.save(&path).unwrap();
    let answers = |index: &Index| {
        let (mut ids, mut distances) = (vec![0; 300], vec![0.0; 300]);
        index.search_many(&queries, 10, Breadth::Ef(50), 2, &mut ids, &mut distances).unwrap();
        (ids, distances)
    };
    let expected = answers(&index);
    let view = Index::view(&path).unwrap();
    assert_eq!(answers(&view), expected);
    assert_eq!((view.len(), view.contains(4), view.get(4).unwrap()), (2_000, true, index.get(4).unwrap()));
    for refused in [view.add(None, &[0.0; 40], 1).err(), view.remove(&[4]).err(), view.save(&path).err()] {
        assert_eq!(refused.unwrap().kind(), ErrorKind::Unsupported);
    }
    let loaded = Index::load(&path).unwrap();
    assert_eq!(answers(&loaded), expected);
    // The loaded one goes on, without its dead when it is saved again. Whole clusters die: id % 4 follows the cluster.
    let gone: Vec<u64> = model.rows.keys().copied().filter(|id| id % 4 == 0).collect();
    loaded.remove(&gone).unwrap();
    loaded.add(None, &vectors(100, 40, 31), 2).unwrap();
    assert!(loaded.contains(5_999) && !loaded.contains(6_099));
    loaded.save(&path).unwrap();
    drop(view);
    model.rows.retain(|id, _| id % 4 != 0);
    let added = vectors(100, 40, 31);
    model.rows.extend(added.chunks(40).enumerate().map(|(n, row)| (5_999 + n as u64, row.to_vec())));
    for index in [&loaded, &Index::view(&path).unwrap(), &Index::load(&path).unwrap()] {
        assert_eq!(index.len(), model.rows.len() as u64);
        let recall = model.recall(index, &queries, Breadth::Ef(100));
        assert!(recall > 0.95, "{recall}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn searches_beside_an_addition_know_every_id() {
    let index = Index::new(16, &IndexOptions::new(Metric::Euclid)).unwrap();
    let rows = vectors(3_000, 16, 5);
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            for (at, rows) in rows.chunks(100 * 16).enumerate() {
                let ids: Vec<u64> = (0..100).map(|n| 1_000_000 + 100 * at as u64 + n).collect();
                index.add(Some(&ids), rows, 1).unwrap();
            }
        });
        let (mut ids, mut distances) = ([0; 10], [0.0; 10]);
        while !adding.is_finished() {
            let found = index.search(&rows[..16], 10, Breadth::Auto, &mut ids, &mut distances).unwrap();
            assert!(ids[..found].iter().all(|id| (1_000_000..1_003_000).contains(id)), "{ids:?}");
            let once: std::collections::BTreeSet<u64> = ids[..found].iter().copied().collect();
            assert_eq!(once.len(), found, "{ids:?}");
        }
    });
    assert_eq!(index.len(), 3_000);
}

#[test]
fn numbers_end_before_the_one_that_means_no_id() {
    let index = Index::new(2, &IndexOptions::new(Metric::Euclid)).unwrap();
    index.add(Some(&[u64::MAX - 2]), &[0.0; 2], 1).unwrap();
    assert_eq!(index.add(None, &[1.0; 4], 1).unwrap_err().kind(), ErrorKind::Full);
    index.add(None, &[1.0; 2], 1).unwrap();
    assert!(index.contains(u64::MAX - 1) && index.len() == 2);
    assert_eq!(index.add(None, &[2.0; 2], 1).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(index.len(), 2);
}

#[test]
fn bad_input_is_named() {
    let options = IndexOptions::new(Metric::Euclid);
    let text = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    assert_eq!(text(Index::new(0, &options).unwrap_err()), "dimension 0 is outside 1 to 65536");
    let bad = IndexOptions { m: 1, ..options };
    assert_eq!(text(Index::new(4, &bad).unwrap_err()), "m is 1: it must be 2 to 128");
    let index = Index::new(4, &options).unwrap();
    assert!(text(index.add(None, &[0.0; 5], 1).unwrap_err()).contains("5 values"));
    assert!(text(index.add(Some(&[1]), &[0.0; 8], 1).unwrap_err()).contains("1 ids for 2 vectors"));
    let value = [0.0, 0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0];
    assert!(text(index.add(None, &value, 1).unwrap_err()).contains("vector 1 has a value at index 1"));
    let (mut ids, mut distances) = ([0; 3], [0.0; 3]);
    let mut ask = |query: &[f32], k, breadth| {
        text(index.search(query, k, breadth, &mut ids, &mut distances).unwrap_err())
    };
    assert!(ask(&[0.0; 3], 1, Breadth::Auto).contains("expected 4"));
    assert!(ask(&[0.0; 4], 0, Breadth::Auto).contains("k is 0"));
    assert!(ask(&[0.0; 4], 4, Breadth::Auto).contains("room for 3 ids"));
    assert!(ask(&[0.0; 4], 1, Breadth::Ef(0)).contains("ef is 0"));
    assert!(ask(&[0.0; 4], 1, Breadth::Recall(1.0)).contains("recall is 1"));
    assert_eq!(
        (index.len(), index.search(&[0.0; 4], 3, Breadth::Auto, &mut ids, &mut distances).unwrap()),
        (0, 0)
    );
    let place = tempfile::tempdir().unwrap();
    let missing = Index::view(&place.path().join("none")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    std::fs::write(place.path().join("file"), "mine").unwrap();
    assert_eq!(index.save(&place.path().join("file")).unwrap_err().kind(), ErrorKind::Exists);
}

/// Every file of a saved index cut anywhere and changed anywhere: an error, or the right answer.
#[test]
fn codes_of_other_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let saved = |name: &str, metric: Metric, dim: usize| {
        let path = folder.path().join(name);
        filled(metric, dim, 300, Quantization::Rotated).0.save(&path).unwrap();
        path
    };
    let right = saved("right", Metric::Cosine, 64);
    for (name, metric, dim) in [("metric", Metric::Euclid, 64), ("dim", Metric::Cosine, 96)] {
        let other = saved(name, metric, dim);
        std::fs::remove_file(other.join("codes-0")).unwrap();
        std::fs::copy(right.join("codes-0"), other.join("codes-0")).unwrap();
        let refused = Index::load(&other).unwrap_err().to_string();
        assert!(refused.contains("codes-0"), "{refused}");
    }
}

#[test]
fn damaged_files_never_give_wrong_answers() {
    let place = tempfile::tempdir().unwrap();
    let (path, copy) = (place.path().join("saved"), place.path().join("copy"));
    let (index, _) = filled(Metric::Cosine, 32, 1_100, Quantization::Auto);
    index.save(&path).unwrap();
    let queries = queries(1_100, 32, 5);
    let answers = |index: &Index| -> Result<(Vec<u64>, Vec<f32>)> {
        let (mut ids, mut distances) = (vec![0; 50], vec![0.0; 50]);
        index.search_many(&queries, 10, Breadth::Ef(40), 1, &mut ids, &mut distances)?;
        Ok((ids, distances))
    };
    let expected = answers(&index).unwrap();
    let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 4);
    let mut state = 3u64;
    for file in &files {
        let sound = std::fs::read(path.join(file)).unwrap();
        for round in 0..200 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 16) as usize % (8 * sound.len());
            let damaged = if round % 4 == 0 {
                sound[..at / 8].to_vec()
            } else {
                let mut bytes = sound.clone();
                bytes[at / 8] ^= 1 << (at % 8);
                bytes
            };
            let _ = std::fs::remove_dir_all(&copy);
            std::fs::create_dir(&copy).unwrap();
            for other in &files {
                if other != file {
                    std::fs::hard_link(path.join(other), copy.join(other)).unwrap();
                }
            }
            std::fs::write(copy.join(file), damaged).unwrap();
            for opened in [Index::view(&copy), Index::load(&copy)] {
                let answered = opened.and_then(|index| answers(&index));
                match answered {
                    Ok(found) => assert_eq!(found, expected, "{file:?}, bit {at}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{file:?}, bit {at}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_save_that_was_cut_short_says_where_the_index_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("saved"), folder.path().join("saved.replaced"));
    let index = Index::new(4, &IndexOptions::new(Metric::Euclid)).unwrap();
    index.add(Some(&[7]), &[1.0, 0.0, 0.0, 0.0], 1).unwrap();
    index.save(&path).unwrap();
    std::fs::rename(&path, &aside).unwrap();
    let error = Index::view(&path).unwrap_err().to_string();
    assert!(error.contains("\"saved.replaced\" beside it: rename that back"), "{error}");
    // The next save does not take it away before it is in its place.
    index.save(&path).unwrap();
    assert!(!aside.exists() && Index::view(&path).is_ok());
}

#[test]
fn a_save_removes_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let index = Index::new(4, &IndexOptions::new(Metric::Euclid)).unwrap();
    index.add(Some(&[7]), &[1.0, 0.0, 0.0, 0.0], 1).unwrap();
    index.save(&path).unwrap();
    index.save(&path).unwrap();
    for place in ["saved", "saved.saving", "saved.replaced"] {
        let other = folder.path().join(place).join("mine.txt");
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(&other, "mine").unwrap();
        let error = index.save(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists);
        assert!(error.to_string().contains("\"mine.txt\" in the folder"), "{error}");
        assert!(other.exists() && Index::view(&path).is_ok());
        std::fs::remove_file(&other).unwrap();
    }
    index.save(&path).unwrap();
}
