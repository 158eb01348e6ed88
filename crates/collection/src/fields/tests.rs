//! Payload indexes follow what is written, answer like the rows, and cost nothing but time when they are lost.

use std::ops::Range as Ids;

use nearfield_payload::filter::{Condition, Filter, Matcher, Range, Test};
use nearfield_payload::index::{Exactness, FieldIndex, IndexError, IndexKind, Question};
use nearfield_payload::text::{Analyzer, TextConfig};
use nearfield_payload::{RowRef, Step};
use nearfield_platform::{Action, Call, Fault, FaultPlan, Faults, FaultyDir, LossModel, MemoryDir};
use nearfield_types::{Metric, Object, PointId, Slot, Value};
use roaring::RoaringBitmap;

use super::*;
use crate::collection::{CollectionOptions, Durability};
use crate::config::CollectionConfig;
use crate::point::{Point, With};
use crate::recovery::OpenReport;

const UUID: [u8; 16] = [7; 16];

fn options(inline_maintenance: bool) -> CollectionOptions {
    let durability = Durability::Sync;
    CollectionOptions { durability, inline_maintenance, head_rows_max: 900, ..CollectionOptions::system() }
}

fn create(dir: &Arc<dyn Dir>, inline: bool) -> Arc<Collection> {
    dir.make_dir("c").unwrap();
    Collection::create(dir, "c", UUID, &CollectionConfig::new(1, Metric::Dot), &options(inline)).unwrap();
    Collection::open(dir, "c", UUID, options(inline)).unwrap().0
}

fn reopen(dir: &Arc<dyn Dir>) -> (Arc<Collection>, OpenReport) {
    Collection::open(dir, "c", UUID, options(false)).unwrap()
}

fn word(id: u64) -> Value {
    ["noun", "verb", "adjective"][id as usize % 3].into()
}

fn payload(id: u64) -> Object {
    let list = Value::Array(vec![Value::from(id % 7), Value::Null, Value::from(id % 11)]);
    let text = format!("the {}. word of {}", id % 13, id % 17);
    let all = [("pos", word(id)), ("n", list), ("text", text.as_str().into()), ("odd", (id % 2 == 1).into())];
    let kept = all.into_iter().enumerate().filter(|(at, _)| !(id + *at as u64).is_multiple_of(5));
    Object::from_entries(kept.map(|(_, (key, value))| (key.to_owned(), value)))
}

fn points(ids: Ids<u64>) -> Vec<Point> {
    ids.map(|id| Point::new(id, vec![id as f32]).payload(payload(id))).collect()
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<PointId> {
    ids.into_iter().map(PointId::from).collect()
}

fn kinds() -> [(Path, IndexConfig); 4] {
    let kind = |key: &str, kind: IndexKind| (Path::key(key), kind.config());
    [
        kind("pos", IndexKind::Keyword),
        kind("n", IndexKind::Integer),
        kind("text", IndexKind::Text),
        kind("odd", IndexKind::Bool),
    ]
}

fn create_all(c: &Collection) {
    for (path, config) in kinds() {
        c.create_field_index(&path, &config).unwrap();
    }
}

fn tests(key: &str) -> Vec<Test> {
    match key {
        "pos" => vec![Test::value("noun"), Test::except(["verb"]), Test::Prefix("adj".into())],
        "n" => vec![Test::value(3), Test::Range(Range { gte: Some(5.into()), ..Range::default() })],
        "text" => vec![Test::Text("word 3".into()), Test::TextAny("7 12".into())],
        _ => vec![Test::value(true)],
    }
}

/// Every index of every segment answers what the rows say, rows that were patched left out. Returns the covered rows of all.
fn check(c: &Collection) -> u64 {
    let view = c.view();
    let mut covered = 0;
    for member in view.version.members() {
        let segment = &member.segment;
        for (path, _) in kinds() {
            let Some(reader) = segment.field_index(&path) else { continue };
            covered += u64::from(reader.covered());
            let [Step::Key(key)] = path.steps() else { panic!("a key") };
            for test in tests(key) {
                let mut found = RoaringBitmap::new();
                let worth = reader.select(Question::Test(&test), &mut found).unwrap().expect("answers");
                let unsure = worth.into_recheck();
                let filter = Filter::all([Condition::field(path.clone(), test.clone())]);
                let analyzer = Arc::new(Analyzer::new(&TextConfig::default()).unwrap());
                let matcher = Matcher::with_texts(filter.view(), |_| Some(Arc::clone(&analyzer))).unwrap();
                let patched = segment.patched();
                for slot in (0..reader.covered()).filter(|slot| !patched.contains(*slot)) {
                    let row = segment.payload(Slot(slot), Seq::MAX).unwrap();
                    let row = RowRef::new(&row).unwrap();
                    let passes = matcher.matches(row, &segment.id(Slot(slot)), |_| false).unwrap();
                    let said = found.contains(slot);
                    assert!(said == passes || said && unsure.contains(slot), "{path} {test:?}: slot {slot}");
                }
            }
        }
    }
    covered
}

/// Nothing is left to do: every sealed row is covered, and of each segment in memory all but less than a run.
fn check_ready(c: &Collection, indexes: usize) {
    let infos = c.field_indexes();
    assert_eq!(infos.len(), indexes);
    assert!(infos.iter().all(FieldIndexInfo::is_ready), "{infos:?}");
    check(c);
}

fn field_files(dir: &dyn Dir) -> Vec<String> {
    let mut found = Vec::new();
    for segment in dir.list("c/segments").unwrap() {
        let folder = format!("c/segments/{}", segment.name);
        let names = dir.list(&folder).unwrap().into_iter().map(|entry| entry.name);
        found.extend(names.filter(|name| name.starts_with("field-")).map(|name| format!("{folder}/{name}")));
    }
    found
}

#[test]
fn indexes_follow_whatever_is_written() {
    for inline in [false, true] {
        let dir: Arc<dyn Dir> = MemoryDir::new();
        let mut c = create(&dir, inline);
        for round in 0..12u64 {
            c.upsert(points(round * 250..round * 250 + 300)).unwrap();
            c.delete(&ids((0..20).map(|at| round * 31 + at * 7))).unwrap();
            let changes = Object::from_entries([("pos".to_owned(), word(round))]);
            c.merge_payload(&ids((0..30).map(|at| round * 200 + at * 3)), changes).unwrap();
            match round {
                2 | 9 => create_all(&c),
                3 | 7 => c.flush().unwrap(),
                5 => {
                    let before = check(&c);
                    c.close().unwrap();
                    c = Collection::open(&dir, "c", UUID, options(inline)).unwrap().0;
                    assert_eq!(c.field_indexes().len(), 4);
                    assert!(check(&c) <= before || inline);
                }
                6 => c.wait_indexed().unwrap(),
                8 => assert!(c.drop_field_index(&Path::key("n")).unwrap()),
                _ => {}
            }
            check(&c);
            // What was replayed is taken in with the next write.
            if inline && round >= 2 && round != 5 {
                check_ready(&c, if round == 8 { 3 } else { 4 });
            }
        }
        c.flush().unwrap();
        c.wait_indexed().unwrap();
        check_ready(&c, 4);
        let stats = c.stats().unwrap();
        assert_eq!((stats.field_indexes, stats.unbuilt_field_indexes, stats.damaged_indexes), (4, 0, 0));
        assert!(stats.disk.index > 0);
        assert_eq!(field_files(&*dir).len() as u64, 4 * stats.segments);
        c.close().unwrap();
        let (c, report) = reopen(&dir);
        assert_eq!(report.repaired, Vec::<String>::new());
        // Nothing has to be built again.
        assert_eq!(check(&c), 4 * c.stats().unwrap().deleted + 4 * c.stats().unwrap().points);
    }
}

#[test]
fn what_is_refused() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = create(&dir, false);
    let keyword = |prefix| IndexConfig::Keyword { prefix };
    assert!(c.create_field_index(&Path::key("a"), &keyword(false)).unwrap());
    let seq = c.visible_seq();
    assert!(!c.create_field_index(&Path::key("a"), &keyword(false)).unwrap());
    assert!(!c.drop_field_index(&Path::key("b")).unwrap());
    assert_eq!(c.visible_seq(), seq, "what changes nothing is not logged");
    for other in [keyword(true), IndexKind::Text.config()] {
        let error = c.create_field_index(&Path::key("a"), &other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists);
        assert!(error.to_string().starts_with("there is a keyword index of \"a\""), "{error}");
    }
    let useless = IndexConfig::Integer { lookup: false, range: false };
    let words = (0..30_000).map(|n| format!("{n:0>60}").into_boxed_str()).collect();
    let long = IndexConfig::Text(TextConfig { stopwords_custom: words, ..TextConfig::default() });
    for (path, config) in
        [(Path::key("b"), useless), (Path::key("b"), long), (Path::key("\""), keyword(false))]
    {
        assert_eq!(c.create_field_index(&path, &config).unwrap_err().kind(), ErrorKind::Invalid);
    }
    for n in 1..FIELD_INDEXES_MAX {
        assert!(c.create_field_index(&Path::key(&n.to_string()), &keyword(true)).unwrap());
    }
    let error = c.create_field_index(&Path::key("b"), &keyword(true)).unwrap_err();
    assert_eq!(error.to_string(), "there are 64 payload indexes: that is the most allowed");
    assert!(c.drop_field_index(&Path::key("a")).unwrap());
    assert!(c.create_field_index(&Path::key("a"), &keyword(true)).unwrap());
    c.close().unwrap();
    let (c, _) = reopen(&dir);
    let infos = c.field_indexes();
    assert_eq!(infos.len(), FIELD_INDEXES_MAX);
    assert_eq!((&infos[63].field.path, &infos[63].field.config), (&Path::key("a"), &keyword(true)));
}

#[test]
fn a_dropped_index_leaves_nothing_behind() {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = create(&dir, false);
    c.upsert(points(0..500)).unwrap();
    create_all(&c);
    c.flush().unwrap();
    c.upsert(points(500..800)).unwrap();
    c.wait_indexed().unwrap();
    assert_eq!(field_files(&*dir).len(), 4);
    assert!(c.drop_field_index(&Path::key("pos")).unwrap());
    assert!(
        c.view().version.members().iter().all(|one| one.segment.field_index(&Path::key("pos")).is_none())
    );
    // Made again before anybody tidied up: another one.
    c.create_field_index(&Path::key("pos"), &IndexConfig::Keyword { prefix: true }).unwrap();
    c.drop_field_index(&Path::key("n")).unwrap();
    c.wait_indexed().unwrap();
    check_ready(&c, 3);
    assert_eq!(field_files(&*dir).len(), 3);
    // The log still says that all of them were made; the manifest knows better.
    c.close().unwrap();
    let (c, report) = reopen(&dir);
    assert_eq!(report.repaired, Vec::<String>::new());
    c.wait_indexed().unwrap();
    check_ready(&c, 3);
    for (path, _) in kinds() {
        c.drop_field_index(&path).unwrap();
    }
    // Dropped and not tidied up: the manifest names files that no index has.
    c.close().unwrap();
    let (c, report) = reopen(&dir);
    assert_eq!(report.repaired, Vec::<String>::new());
    assert!(!c.has_field_indexes());
    c.wait_indexed().unwrap();
    assert_eq!(field_files(&*dir), Vec::<String>::new());
}

#[test]
fn a_crash_at_any_moment_costs_nothing_but_time() {
    let dir = FaultyDir::new();
    let shared = Arc::clone(&dir) as Arc<dyn Dir>;
    let c = create(&shared, false);
    c.upsert(points(0..300)).unwrap();
    c.flush().unwrap();
    let before = dir.ops();
    let created = [kinds()[0].clone(), kinds()[2].clone()].map(|(path, config)| {
        c.create_field_index(&path, &config).unwrap();
        dir.ops()
    });
    c.wait_indexed().unwrap();
    c.upsert(points(300..600)).unwrap();
    let written = dir.ops();
    c.flush().unwrap();
    c.drop_field_index(&Path::key("pos")).unwrap();
    let dropped = dir.ops();
    c.wait_indexed().unwrap();
    for ops in before..=dir.ops() {
        for model in LossModel::ALL {
            let image = dir.crash_image_at(ops, model, ops as u64) as Arc<dyn Dir>;
            let (c, report) = reopen(&image);
            // The log may have a torn tail.
            assert!(report.repaired.iter().all(|why| why.contains(".log")), "{:?}: {ops}", report.repaired);
            let has = |key: &str| c.field_indexes().iter().any(|one| one.field.path == Path::key(key));
            assert!(has("pos") || ops < created[0] || ops > written, "operation {ops}");
            assert!(has("text") || ops < created[1], "operation {ops}");
            assert!(!has("pos") || ops < dropped, "operation {ops}");
            assert!(c.view().count() >= if ops < written { 300 } else { 600 });
            check(&c);
            c.wait_indexed().unwrap();
            check_ready(&c, c.field_indexes().len());
            let segments = c.stats().unwrap().segments as usize;
            assert_eq!(field_files(&*image).len(), segments * c.field_indexes().len(), "operation {ops}");
        }
    }
}

#[test]
fn an_index_that_could_not_be_written_is_written_later() {
    for call in [Call::Create, Call::Overwrite, Call::Open, Call::SyncDir] {
        let dir = MemoryDir::new();
        let plan = FaultPlan::new();
        let faulty = Faults::new(Arc::clone(&dir) as Arc<dyn Dir>, Arc::clone(&plan)) as Arc<dyn Dir>;
        let c = create(&faulty, false);
        c.upsert(points(0..300)).unwrap();
        c.flush().unwrap();
        create_all(&c);
        plan.arm_on(call, plan.calls_of(call), Action::Fail { fault: Fault::NoSpace, lasting: false });
        assert!(c.wait_indexed().is_err() || plan.fired() > 0, "{call:?} is made");
        check(&c);
        c.upsert(points(300..301)).unwrap_or_else(|e| panic!("after {call:?}: {e}"));
        c.wait_indexed().unwrap();
        check_ready(&c, 4);
        // As a head is sealed it costs no more than a wait either.
        plan.arm_on(call, plan.calls_of(call) + 5, Action::Fail { fault: Fault::NoSpace, lasting: false });
        let _ = c.flush();
        plan.disarm();
        c.flush().unwrap();
        c.wait_indexed().unwrap();
        check_ready(&c, 4);
        c.close().unwrap();
        let (c, report) = reopen(&(dir as Arc<dyn Dir>));
        assert_eq!(report.repaired, Vec::<String>::new(), "{call:?}");
        check_ready(&c, 4);
    }
}

#[test]
fn a_damaged_index_is_built_anew() {
    const ROWS: u64 = 3_000;
    let options = CollectionOptions { head_rows_max: ROWS as u32, ..options(false) };
    let reopen = |dir: &Arc<dyn Dir>| Collection::open(dir, "c", UUID, options.clone()).unwrap();
    // Gone, a byte of the header, a byte of the second block, which nobody looks at before the first question.
    for at in [None, Some(20), Some(70_000)] {
        let dir: Arc<dyn Dir> = MemoryDir::new();
        create(&dir, false).close().unwrap();
        let (c, _) = reopen(&dir);
        c.upsert(points(0..ROWS)).unwrap();
        create_all(&c);
        c.flush().unwrap();
        c.wait_indexed().unwrap();
        c.close().unwrap();
        let name = field_file(c.field_indexes()[2].field.created);
        let path = field_files(&*dir).into_iter().find(|path| path.ends_with(&name)).unwrap();
        let mut bytes = dir.open(&path).unwrap().to_vec();
        dir.remove(&path).unwrap();
        if let Some(at) = at {
            bytes[at] ^= 1;
            let file = dir.create(&path).unwrap();
            file.write_at(0, &[&bytes]).unwrap();
            file.sync().unwrap();
        }
        let (c, report) = reopen(&dir);
        let text = Path::key("text");
        if at == Some(70_000) {
            let view = c.view();
            let segment = &view.version.members()[0].segment;
            let asked = segment
                .field_index(&text)
                .unwrap()
                .select(Question::Test(&Test::Text("word".into())), &mut RoaringBitmap::new());
            assert!(matches!(asked, Err(IndexError::Damaged(_))), "{asked:?}");
            // A filter finds the damage, tests rows instead and gives the index up.
            let filter = Filter::all([Condition::field(text.clone(), Test::Text("word".into()))]);
            let with_text = (0..ROWS).filter(|id| payload(*id).get("text").is_some()).count();
            assert_eq!(view.count_passing(&filter).unwrap(), with_text as u64);
            assert!(segment.field_index(&text).is_none());
        } else {
            assert!(report.repaired[0].contains(&path), "{:?} names {path}", report.repaired);
            assert_eq!(c.stats().unwrap().damaged_indexes, 1);
        }
        assert_eq!(c.stats().unwrap().unbuilt_field_indexes, 1);
        check(&c);
        let rows = FieldIndexState::Building { done: 0, rows: ROWS };
        assert_eq!(c.field_indexes()[2].state, rows);
        c.wait_indexed().unwrap();
        check_ready(&c, 4);
        c.close().unwrap();
        let (c, report) = reopen(&dir);
        assert_eq!(report.repaired, Vec::<String>::new());
        check_ready(&c, 4);
    }
}

#[test]
fn points_are_none_of_their_business() {
    // An index of a field that no row has, of one that every row has, and a point without anything.
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let c = create(&dir, true);
    c.create_field_index(&Path::key("missing"), &IndexKind::Geo.config()).unwrap();
    c.upsert(vec![Point::new(1, vec![1.0])]).unwrap();
    c.flush().unwrap();
    let view = c.view();
    let reader = view.version.members()[0].segment.field_index(&Path::key("missing")).unwrap();
    let mut empty = RoaringBitmap::new();
    assert_eq!(reader.select(Question::IsEmpty, &mut empty), Ok(Some(Exactness::Exact)));
    assert_eq!(empty.len(), 1);
    let got = c.view().get(&ids([1]), With::ALL).unwrap();
    assert_eq!(got[0].as_ref().map(|record| &record.id), Some(&PointId::from(1)));
}
