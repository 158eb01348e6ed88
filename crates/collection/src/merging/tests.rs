//! Merges lose nothing, whoever writes, crashes or gives up meanwhile.

use std::collections::BTreeMap;

use nearfield_payload::Path;
use nearfield_payload::filter::{Condition, Filter, Test};
use nearfield_payload::index::IndexKind;
use nearfield_platform::{Action, Dir, Fault, FaultPlan, Faults, FaultyDir, LossModel, MemoryDir};
use nearfield_types::{Metric, Object, PointId, Value};

use super::*;
use crate::collection::{CollectionOptions, Durability};
use crate::config::{CollectionConfig, IndexConfig};
use crate::optimizers::OptimizerConfig;
use crate::point::{Point, Query, Vectors, With};

const UUID: [u8; 16] = [7; 16];

fn options() -> CollectionOptions {
    CollectionOptions { durability: Durability::Sync, index_threads: 1, ..CollectionOptions::system() }
}

fn config(partitioned: bool) -> CollectionConfig {
    let config = CollectionConfig::new(3, Metric::Euclid).vector("side", 2, Metric::Dot);
    if partitioned { config.partition_by("tenant") } else { config }
}

fn create(dir: &Arc<dyn Dir>, partitioned: bool) -> Arc<Collection> {
    dir.make_dir("c").unwrap();
    Collection::create(dir, "c", UUID, &config(partitioned), &options()).unwrap();
    let c = open(dir);
    c.create_field_index(&Path::key("n"), &IndexKind::Integer.config()).unwrap();
    c
}

fn open(dir: &Arc<dyn Dir>) -> Arc<Collection> {
    Collection::open(dir, "c", UUID, options()).unwrap().0
}

/// What the collection must hold: of each id the generation in which it was written and its payload.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<u64, (u64, u64)>);

fn vector(id: u64, generation: u64) -> Vec<f32> {
    [1, 7, 31].map(|factor| ((id * factor + generation * 13) % 101) as f32).to_vec()
}

fn vectors(id: u64, generation: u64) -> Vec<(String, Vec<f32>)> {
    let side = id.is_multiple_of(2).then(|| ("side".to_owned(), vec![id as f32, 1.0]));
    [(String::new(), vector(id, generation))].into_iter().chain(side).collect()
}

fn payload(id: u64, n: u64) -> Object {
    let tenant = format!("t{}", id % 3);
    Object::from_entries([("n".to_owned(), Value::from(n)), ("tenant".to_owned(), tenant.as_str().into())])
}

impl Model {
    fn upsert(&mut self, c: &Collection, ids: impl IntoIterator<Item = u64>, generation: u64) {
        let point = |id: u64| {
            self.0.insert(id, (generation, id % 10));
            let vectors = Vectors::Named(vectors(id, generation));
            Point { id: id.into(), vectors, payload: payload(id, id % 10) }
        };
        c.upsert(ids.into_iter().map(point).collect()).unwrap();
    }

    fn delete(&mut self, c: &Collection, ids: impl IntoIterator<Item = u64>) {
        let ids: Vec<u64> = ids.into_iter().collect();
        self.0.retain(|id, _| !ids.contains(id));
        c.delete(&ids.into_iter().map(PointId::from).collect::<Vec<_>>()).unwrap();
    }

    fn patch(&mut self, c: &Collection, ids: impl IntoIterator<Item = u64>, n: u64) {
        for id in ids {
            if let Some((_, held)) = self.0.get_mut(&id) {
                *held = n;
                c.replace_payload(&[id.into()], payload(id, n)).unwrap();
            }
        }
    }

    /// Everything is there, and nothing else, by every way of asking.
    fn check(&self, c: &Collection) {
        let view = c.view();
        assert_eq!(view.count(), self.0.len() as u64);
        let records = view.scroll(None, 10_000, With::ALL).unwrap();
        assert_eq!(records.len(), self.0.len());
        for (record, (&id, &(generation, n))) in records.iter().zip(&self.0) {
            assert_eq!(record.id, id.into());
            assert_eq!(record.payload.as_ref(), Some(&payload(id, n)), "{id}");
            assert_eq!(record.vectors, Some(vectors(id, generation)), "{id}");
        }
        for n in [0, 3, 77] {
            let filter = Filter::all([Condition::field(Path::key("n"), Test::value(n as i64))]);
            let right = self.0.values().filter(|(_, held)| *held == n).count() as u64;
            assert_eq!(view.count_passing(&filter).unwrap(), right, "n = {n}");
        }
        for query in [[1.0, 50.0, 9.0], [99.0, 2.0, 60.0]] {
            let found = view.search(&Query::new(&query, 5).exact()).unwrap();
            let distance = |(&id, &(generation, _)): (&u64, &(u64, u64))| {
                let row = vector(id, generation);
                let score: f32 = row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum();
                (score, id)
            };
            let mut truth: Vec<_> = self.0.iter().map(distance).collect();
            truth.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let truth: Vec<PointId> = truth.into_iter().take(5).map(|(_, id)| id.into()).collect();
            let found: Vec<PointId> = found.into_iter().map(|hit| hit.id).collect();
            assert_eq!(found, truth);
        }
    }
}

fn numbers(c: &Collection) -> Vec<u64> {
    c.current.load().settled().iter().filter_map(|member| member.number).collect()
}

fn merge_all_of(c: &Collection) -> Result<Option<u64>> {
    c.merge_segments(&numbers(c), &Progress::default())
}

/// Files of segments, deltas and staging, to see what is left behind.
fn leftovers(dir: &dyn Dir) -> (usize, usize, usize) {
    let count = |place| dir.list(place).unwrap().len();
    (count("c/segments"), count("c/deltas"), count("c/staging"))
}

/// Three segments with deaths and patches in them, some of them since the last checkpoint.
fn three_segments(dir: &Arc<dyn Dir>, partitioned: bool) -> (Arc<Collection>, Model) {
    let (c, mut model) = (create(dir, partitioned), Model::default());
    model.upsert(&c, 0..120, 0);
    c.flush().unwrap();
    model.upsert(&c, 100..260, 1);
    model.patch(&c, [5, 105, 110], 77);
    c.flush().unwrap();
    model.delete(&c, (0..260).step_by(4));
    model.upsert(&c, 250..300, 2);
    c.flush().unwrap();
    model.patch(&c, [6, 251], 78);
    model.delete(&c, [7, 252]);
    (c, model)
}

#[test]
fn a_merge_holds_what_its_inputs_held() {
    for partitioned in [false, true] {
        let dir: Arc<dyn Dir> = MemoryDir::new();
        let (c, mut model) = three_segments(&dir, partitioned);
        model.check(&c);
        let held = c.view();
        let before = held.scroll(None, 10_000, With::NOTHING).unwrap();
        merge_all_of(&c).unwrap();
        model.check(&c);
        assert_eq!(numbers(&c).len(), 1);
        assert_eq!(leftovers(&*dir), (1, 0, 0));
        assert_eq!(held.scroll(None, 10_000, With::NOTHING).unwrap(), before, "readers go on");
        model.upsert(&c, 290..310, 3);
        model.delete(&c, [1, 290, 9]);
        model.patch(&c, [2, 291], 79);
        model.check(&c);
        c.close().unwrap();
        let c = open(&dir);
        model.check(&c);
        c.flush().unwrap();
        merge_all_of(&c).unwrap();
        model.check(&c);
        let stats = c.stats().unwrap();
        assert_eq!((stats.deleted, stats.segments, stats.unbuilt_field_indexes), (0, 1, 0));
        c.close().unwrap();
        model.check(&open(&dir));
    }
}

#[test]
fn what_happens_during_a_merge_is_carried_over() {
    for checkpoints in 0..3 {
        let dir: Arc<dyn Dir> = MemoryDir::new();
        let (c, mut model) = three_segments(&dir, true);
        let (inputs, settings, through) = c.inputs(&numbers(&c));
        let staging = "c/staging/merge";
        let progress = Progress::default();
        let output = c.write_merged(&inputs, &settings, through, staging, &progress).unwrap();
        for round in 0..checkpoints {
            model.delete(&c, [10 + round, 255 + round]);
            model.patch(&c, [20, 150, 260], 80 + round);
            model.upsert(&c, 30 + round..35, 4);
            c.flush().unwrap();
        }
        model.delete(&c, [13, 258]);
        model.patch(&c, [20, 151], 90);
        // An index that is made now, and one that is dropped.
        c.create_field_index(&Path::key("tenant.x"), &IndexKind::Keyword.config()).unwrap();
        c.drop_field_index(&Path::key("n")).unwrap();
        c.commit_merged(&inputs, output, staging).unwrap();
        model.check(&c);
        model.patch(&c, [21], 91);
        model.delete(&c, [22]);
        assert!(progress.fraction() > 0.99);
        // With and without a checkpoint after it.
        if checkpoints == 1 {
            c.flush().unwrap();
        }
        drop(c);
        let c = open(&dir);
        model.check(&c);
        c.wait_indexed().unwrap();
        model.check(&c);
    }
}

#[test]
fn a_crash_at_any_moment_costs_nothing_but_time() {
    let dir = FaultyDir::new();
    let shared = Arc::clone(&dir) as Arc<dyn Dir>;
    let (c, mut model) = three_segments(&shared, true);
    let before = dir.ops();
    merge_all_of(&c).unwrap();
    let merged = dir.ops();
    let old = model.clone();
    model.delete(&c, [31]);
    c.flush().unwrap();
    for ops in before..=dir.ops() {
        for loss in LossModel::ALL {
            let image = dir.crash_image_at(ops, loss, ops as u64) as Arc<dyn Dir>;
            let c = open(&image);
            // Between the two the delete may have been logged or not.
            let is_new = c.view().count() == model.0.len() as u64;
            assert!(is_new || ops < dir.ops());
            assert!(!is_new || ops > merged);
            if is_new { &model } else { &old }.check(&c);
            let segments = numbers(&c).len();
            assert!(segments == 3 || segments <= 2 && ops > before, "{segments} at {ops}");
            c.flush().unwrap();
            merge_all_of(&c).unwrap();
            if is_new { &model } else { &old }.check(&c);
            c.flush().unwrap();
            let (segments, deltas, staged) = leftovers(&*image);
            assert_eq!((segments, staged), (1, 0), "operation {ops}");
            assert!(deltas <= 1);
        }
    }
}

#[test]
fn a_fault_at_any_call_leaves_everything_as_it_was() {
    for fault in [Fault::NoSpace, Fault::Io] {
        let mut at = 0;
        loop {
            let dir = MemoryDir::new();
            let plan = FaultPlan::new();
            let faulty = Faults::new(Arc::clone(&dir) as Arc<dyn Dir>, Arc::clone(&plan)) as Arc<dyn Dir>;
            let (c, model) = three_segments(&faulty, false);
            let fired = plan.fired();
            plan.arm(plan.calls() + at, Action::Fail { fault, lasting: false });
            let merged = merge_all_of(&c);
            plan.disarm();
            if plan.fired() == fired {
                assert!(merged.is_ok() && at > 20, "{at} calls");
                break;
            }
            model.check(&c);
            // Only a manifest whose fate is unknown stops the collection.
            if c.check_writable().is_ok() {
                merge_all_of(&c).unwrap_or_else(|e| panic!("after call {at}: {e}"));
                model.check(&c);
                c.flush().unwrap();
                assert_eq!(numbers(&c).len(), 1);
            }
            drop(c);
            let c = open(&(dir as Arc<dyn Dir>));
            model.check(&c);
            at += 1;
        }
    }
}

#[test]
fn without_room_nothing_begins_and_the_state_says_why() {
    let dir = MemoryDir::new();
    let (c, model) = three_segments(&(Arc::clone(&dir) as Arc<dyn Dir>), false);
    let only = OptimizerConfig { default_segment_number: 1, ..OptimizerConfig::default() };
    c.set_optimizers(only).unwrap();
    c.flush().unwrap();
    dir.set_capacity(u64::MAX);
    let used = u64::MAX - dir.free_space().unwrap();
    dir.set_capacity(used + 2_000);
    let limits = Limits { slack: 0, ..c.optimizers().limits(2) };
    let error = c.merge_all(&limits, &Progress::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("of room and there are 0 MB"), "{error}");
    assert!(c.status().reasons()[0].contains("segments wait to be merged: merging 3 segments needs"));
    assert!(c.merging_blocked().is_some_and(|why| why.contains("free some space")));
    assert_eq!(leftovers(&*dir).2, 0);
    dir.set_capacity(u64::MAX);
    c.optimize(&Progress::default()).unwrap();
    assert_eq!((c.merging_blocked(), numbers(&c).len()), (None, 1));
    model.check(&c);
}

#[test]
fn what_is_given_up_leaves_everything_as_it_was() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let (c, model) = three_segments(&dir, false);
    let progress = Progress::default();
    progress.cancel();
    let error = c.merge_segments(&numbers(&c), &progress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(c.optimize(&progress).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(leftovers(&*dir).2, 0);
    model.check(&c);
    assert_eq!(c.merging_blocked(), None);
    c.halt_indexing();
    assert_eq!(c.optimize(&Progress::default()).unwrap_err().kind(), ErrorKind::Cancelled);
    c.maintain_merges().unwrap();
}

#[test]
fn optimising_takes_every_dead_row_away() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let (c, mut model) = three_segments(&dir, false);
    model.upsert(&c, 400..450, 5);
    model.delete(&c, 440..450);
    assert!(c.stats().unwrap().deleted > 0);
    c.optimize(&Progress::default()).unwrap();
    model.check(&c);
    assert_eq!(c.stats().unwrap().deleted, 0);
    // A segment of which nothing lives goes without a trace.
    let only = OptimizerConfig { default_segment_number: 1, ..OptimizerConfig::default() };
    c.set_optimizers(only).unwrap();
    c.optimize(&Progress::default()).unwrap();
    assert_eq!(numbers(&c).len(), 1);
    model.delete(&c, 0..450);
    c.optimize(&Progress::default()).unwrap();
    model.check(&c);
    assert_eq!((numbers(&c).len(), leftovers(&*dir)), (0, (0, 0, 0)));
    model.upsert(&c, 0..5, 6);
    c.close().unwrap();
    model.check(&open(&dir));
}

#[test]
fn the_background_does_what_the_settings_say() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let (c, mut model) = (create(&dir, false), Model::default());
    let off = OptimizerConfig { max_optimization_threads: Some(0), ..OptimizerConfig::default() };
    c.set_optimizers(off).unwrap();
    for round in 0..12 {
        model.upsert(&c, round * 20..round * 20 + 20, 0);
        c.flush().unwrap();
        c.maintain_merges().unwrap();
    }
    assert_eq!(numbers(&c).len(), 12);
    c.close().unwrap();
    let c = open(&dir);
    assert_eq!(c.optimizers(), off);
    let two = OptimizerConfig {
        default_segment_number: 2,
        vacuum_min_vector_number: 50,
        ..OptimizerConfig::default()
    };
    c.set_optimizers(two).unwrap();
    c.maintain_merges().unwrap();
    assert_eq!(numbers(&c).len(), 1);
    model.check(&c);
    // Rows that died since the last checkpoint count.
    model.delete(&c, 0..100);
    c.maintain_merges().unwrap();
    assert_eq!(c.stats().unwrap().deleted, 0);
    model.check(&c);
    let error = c.set_optimizers(OptimizerConfig { flush_interval_sec: 0, ..two }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(c.optimizers(), two);
}

/// Vectors of one number a row are walked by themselves, and graphs of a thousand rows are made in no time.
fn indexed(dir: &Arc<dyn Dir>) -> Arc<Collection> {
    dir.make_dir("c").unwrap();
    Collection::create(dir, "c", UUID, &CollectionConfig::new(2, Metric::Euclid), &options()).unwrap();
    let c = open(dir);
    for first in [0, 1_100] {
        write(&c, first..first + 1_100);
        c.flush().unwrap();
        c.maintain_indexes().unwrap();
    }
    c
}

fn write(c: &Collection, ids: std::ops::Range<u64>) {
    let point = |id: u64| Point::new(id, vec![(id * 7_919 % 2_003) as f32, (id * 104_729 % 1_999) as f32]);
    c.upsert(ids.map(point).collect()).unwrap();
}

/// The links of the graphs on level 0, and how many rows the graphs hold.
fn graphs(c: &Collection) -> (Vec<u32>, u32) {
    let stats = c.view().graph_stats("");
    (
        stats.iter().map(|one| (one.degrees.len() as u32 - 1) / 2).collect(),
        stats.iter().map(|one| one.linked).sum(),
    )
}

/// The share of true neighbours that walks find.
fn recall(c: &Collection) -> f64 {
    let view = c.view();
    let mut found = 0;
    for at in 0..50 {
        let query = [(at * 41) as f32 + 0.5, (at * 39) as f32 + 0.25];
        let ids = |query: &Query<'_>| -> Vec<PointId> {
            view.search(query).unwrap().into_iter().map(|hit| hit.id).collect()
        };
        let truth = ids(&Query::new(&query, 10).exact());
        found += ids(&Query::new(&query, 10)).iter().filter(|id| truth.contains(id)).count();
    }
    found as f64 / 500.0
}

#[test]
fn merged_segments_have_their_graph_at_once() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = indexed(&dir);
    assert_eq!(graphs(&c), (vec![16, 16], 2_200));
    merge_all_of(&c).unwrap();
    assert_eq!((graphs(&c), c.stats().unwrap().unindexed_segments), ((vec![16], 2_200), 0));
    assert!(recall(&c) > 0.97, "{}", recall(&c));
    c.close().unwrap();
    let c = open(&dir);
    assert_eq!(graphs(&c), (vec![16], 2_200));
    // With most rows dead, with rows of no graph, with others.
    c.delete(&(0..1_300).map(PointId::from).collect::<Vec<_>>()).unwrap();
    write(&c, 3_000..3_200);
    c.flush().unwrap();
    merge_all_of(&c).unwrap();
    assert_eq!(graphs(&c), (vec![16], 1_100));
    assert!(recall(&c) > 0.97, "{}", recall(&c));
}

#[test]
fn graphs_are_rebuilt_with_other_settings_while_the_old_ones_serve() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = indexed(&dir);
    assert_eq!(c.set_index("x", IndexConfig::default()).unwrap_err().kind(), ErrorKind::Invalid);
    let wide = IndexConfig { m: 24, ..IndexConfig::default() };
    assert_eq!(c.set_index("", IndexConfig { m: 1, ..wide }).unwrap_err().kind(), ErrorKind::Invalid);
    c.set_index("", wide).unwrap();
    assert_eq!((c.config().find("").unwrap().1.index, graphs(&c).0), (wide, vec![16, 16]));
    // Cancelled before it began, and half way.
    let progress = Progress::default();
    progress.cancel();
    assert_eq!(c.rebuild(None, &progress).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((graphs(&c).0, c.is_rebuilding()), (vec![16, 16], false));
    let held = c.view();
    let progress = Progress::default();
    c.rebuild(Some(""), &progress).unwrap();
    assert_eq!((progress.fraction(), c.is_rebuilding()), (1.0, false));
    assert_eq!(graphs(&c), (vec![24, 24], 2_200));
    assert_eq!(held.graph_stats("").len(), 2, "readers keep what they hold");
    assert!(recall(&c) > 0.97);
    // The same once more: from scratch, with the settings of now.
    c.rebuild(None, &Progress::default()).unwrap();
    assert_eq!(graphs(&c), (vec![24, 24], 2_200));
    let files = dir.list("c/segments/1").unwrap();
    let graph_files = files.iter().filter(|file| file.name.starts_with("graph-")).count();
    assert_eq!(graph_files, 1, "{files:?}");
    c.close().unwrap();
    assert_eq!(graphs(&open(&dir)), (vec![24, 24], 2_200));
}

#[test]
fn a_merge_of_old_and_new_settings_ends_with_the_new() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = indexed(&dir);
    c.set_index("", IndexConfig { m: 24, ..IndexConfig::default() }).unwrap();
    write(&c, 2_200..3_300);
    c.flush().unwrap();
    c.maintain_indexes().unwrap();
    assert_eq!(graphs(&c).0, [16, 16, 24]);
    merge_all_of(&c).unwrap();
    assert_eq!(graphs(&c), (vec![24], 3_300));
    assert!(recall(&c) > 0.97, "{}", recall(&c));
}

#[test]
fn a_merge_that_began_with_other_settings_is_discarded_and_begun_again() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = indexed(&dir);
    let (inputs, settings, through) = c.inputs(&numbers(&c));
    let staging = "c/staging/merge";
    let output = c.write_merged(&inputs, &settings, through, staging, &Progress::default()).unwrap();
    c.set_index("", IndexConfig { m: 24, ..IndexConfig::default() }).unwrap();
    assert_eq!(c.commit_merged(&inputs, output, staging).unwrap(), None);
    assert_eq!((graphs(&c).0, leftovers(&*dir)), (vec![16, 16], (2, 0, 0)));
    merge_all_of(&c).unwrap();
    assert_eq!(graphs(&c), (vec![24], 2_200));
}

#[test]
fn rebuilding_is_taken_up_again_after_a_kill() {
    let dir = FaultyDir::new();
    let c = indexed(&(Arc::clone(&dir) as Arc<dyn Dir>));
    c.set_index("", IndexConfig { m: 8, ..IndexConfig::default() }).unwrap();
    let before = dir.ops();
    c.rebuild(None, &Progress::default()).unwrap();
    let after = dir.ops();
    let mut taken_up = 0;
    for ops in (before..=after).step_by(3) {
        let image = dir.crash_image_at(ops, LossModel::ALL[ops % LossModel::ALL.len()], 5) as Arc<dyn Dir>;
        let (c, report) = Collection::open(&image, "c", UUID, options()).unwrap();
        assert!(report.repaired.iter().all(|why| why.contains(".log")), "{:?}: {ops}", report.repaired);
        assert_eq!(graphs(&c).1, 2_200, "the old ones or the new ones: {ops}");
        let was = c.is_rebuilding();
        taken_up += u32::from(was);
        c.maintain_indexes().unwrap();
        assert!(!c.is_rebuilding());
        let (ms, _) = graphs(&c);
        assert!(ms.iter().all(|&m| m == 8) || !was && ms == [16, 16] && ops < after, "{ms:?} at {ops}");
    }
    assert!(taken_up > 2, "{taken_up}");
}

#[test]
fn small_segments_are_scanned_where_the_settings_say_so() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    dir.make_dir("c").unwrap();
    Collection::create(&dir, "c", UUID, &CollectionConfig::new(2, Metric::Euclid), &options()).unwrap();
    let c = open(&dir);
    let threshold = |size| OptimizerConfig { indexing_threshold: size, ..OptimizerConfig::default() };
    // 1,500 rows are 12,000 bytes.
    c.set_optimizers(threshold(Some(12))).unwrap();
    write(&c, 0..1_500);
    c.wait_indexed().unwrap();
    c.flush().unwrap();
    c.maintain_indexes().unwrap();
    assert_eq!((graphs(&c).1, c.stats().unwrap().unindexed_segments), (0, 0));
    c.set_optimizers(threshold(Some(11))).unwrap();
    assert_eq!(c.stats().unwrap().unindexed_segments, 1);
    c.maintain_indexes().unwrap();
    assert_eq!(graphs(&c).1, 1_500);
    c.set_optimizers(threshold(Some(0))).unwrap();
    write(&c, 1_500..3_000);
    c.optimize(&Progress::default()).unwrap();
    assert_eq!(c.stats().unwrap().unlinked_rows, 0);
    assert_eq!(graphs(&c).1, 1_500, "a graph that was built stays");
}

#[test]
fn readers_see_one_moment_and_all_of_it_while_segments_come_and_go() {
    const POINTS: u64 = 400;
    let dir: Arc<dyn Dir> = MemoryDir::new();
    dir.make_dir("c").unwrap();
    let options = CollectionOptions { head_rows_max: 1_500, ..options() };
    Collection::create(&dir, "c", UUID, &CollectionConfig::new(2, Metric::Euclid), &options).unwrap();
    let (c, _) = Collection::open(&dir, "c", UUID, options).unwrap();
    // Each operation rewrites all points, so whoever sees a part of one sees two rounds, a point twice, or none.
    let write = |round: u64| {
        let point = |id: u64| {
            Point::new(id, vec![(id % 20) as f32, round as f32])
                .payload(Object::from_entries([("n".to_owned(), Value::from(round))]))
        };
        c.upsert((0..POINTS).map(point).collect()).unwrap();
        let ids: Vec<PointId> = (0..POINTS).step_by(3).map(PointId::from).collect();
        c.replace_payload(&ids, Object::from_entries([("n".to_owned(), Value::from(round))])).unwrap();
    };
    write(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done() {
                c.maintain_segments().unwrap();
                c.maintain_indexes().unwrap();
                c.maintain_merges().unwrap();
                while c.maintain_links().unwrap() {}
            }
        });
        for reader in 0..2u64 {
            let (c, is_done) = (&c, &is_done);
            scope.spawn(move || {
                let mut last = 0;
                while !is_done() {
                    let view = c.view();
                    assert_eq!(view.count(), POINTS);
                    let records = view.scroll(None, 1_000, With::ALL).unwrap();
                    let rounds: Vec<u64> = records
                        .iter()
                        .map(|record| record.vectors.as_ref().unwrap()[0].1[1] as u64)
                        .collect();
                    assert_eq!(rounds.len() as u64, POINTS);
                    assert!(rounds.iter().all(|&round| round == rounds[0] && round >= last), "{rounds:?}");
                    last = rounds[0];
                    let query = [reader as f32, last as f32];
                    let found = view.search(&Query::new(&query, 20)).unwrap();
                    // Twenty points lie exactly there.
                    assert!(found.len() == 20 && found.iter().all(|hit| hit.distance == 0.0), "{found:?}");
                }
            });
        }
        (1..60).for_each(&write);
        done.store(true, Ordering::Relaxed);
    });
    c.optimize(&Progress::default()).unwrap();
    let stats = c.stats().unwrap();
    assert_eq!((stats.points, stats.deleted), (POINTS, 0));
    assert_eq!(c.status().name(), "green", "{:?}", c.status());
    // However often points were rewritten, little more is left on disk than they take.
    assert!(stats.disk.vectors < 40_000, "{:?}", stats.disk);
}
