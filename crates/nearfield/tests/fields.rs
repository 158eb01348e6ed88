//! Payload indexes of a database: made and dropped while it runs, built by its background, there again after a close.

use std::sync::Arc;

use nearfield::filter::{Condition, Filter, Path, Range, Test};
use nearfield::{
    Collection, CollectionConfig, Database, ErrorKind, FieldIndexState, FieldKind, Metric, Object, Options,
    Point,
};
use nearfield_platform::{Dir, MemoryDir};

fn open(dir: &Arc<MemoryDir>) -> Database {
    let mut options = Options::default();
    options.collections.head_rows_max = 2_000;
    Database::open_in(Arc::clone(dir) as Arc<dyn Dir>, "fields", options).expect("opens")
}

fn write(c: &Collection, ids: std::ops::Range<u64>) {
    let payload =
        |id: u64| Object::from_entries([("pos".to_owned(), ["noun", "verb"][id as usize % 2].into())]);
    let points = ids.map(|id| Point::new(id, vec![id as f32]).payload(payload(id)));
    c.upsert(points.collect()).expect("upserts");
}

fn until(c: &Collection, done: impl Fn(&nearfield::Stats) -> bool) {
    while !done(&c.stats().expect("counts")) {
        std::thread::yield_now();
    }
}

/// How many files of payload indexes there are below `folder`.
fn field_files(dir: &MemoryDir, folder: &str) -> usize {
    let count = |entry: nearfield_platform::Entry| match entry.is_dir {
        true => field_files(dir, &format!("{folder}/{}", entry.name)),
        false => usize::from(entry.name.starts_with("field-")),
    };
    dir.list(folder).expect("lists").into_iter().map(count).sum()
}

#[test]
fn the_background_builds_and_removes_by_itself() {
    let dir = MemoryDir::new();
    let db = open(&dir);
    let c = db.create_collection("c", CollectionConfig::new(1, Metric::Euclid)).expect("creates");
    write(&c, 0..1_500);
    c.flush().expect("flushes");
    write(&c, 1_500..3_000);
    let graphs = c.stats().expect("counts").disk.index;
    for path in ["pos", "author.name", "tags[].\"a b\""] {
        assert!(c.create_field_index(path, &FieldKind::Keyword.config()).expect("creates"));
    }
    until(&c, |stats| stats.field_indexes == 3 && stats.unbuilt_field_indexes == 0);
    let built = c.stats().expect("counts");
    assert!(built.disk.index > graphs && built.index_memory_bytes > 0);
    // Heads that are sealed meanwhile are no gap that stays.
    for batch in 2..6 {
        write(&c, batch * 1_500..(batch + 1) * 1_500);
    }
    until(&c, |stats| stats.segments >= 3 && stats.unbuilt_field_indexes == 0);
    assert!(c.drop_field_index("author.name").expect("drops"));
    db.close().expect("closes");
    assert_eq!(c.field_indexes().expect_err("is closed").kind(), ErrorKind::NotFound);

    let db = open(&dir);
    let c = db.collection("c").expect("opens");
    assert_eq!(db.repaired(), Vec::<String>::new());
    let kept = c.field_indexes().expect("lists");
    let paths: Vec<String> = kept.iter().map(|info| info.field.path.to_string()).collect();
    assert_eq!(paths, ["pos", "tags[].\"a b\""]);
    assert!(kept.iter().all(|info| info.memory.mapped > 0));
    c.wait_indexed().expect("indexes");
    assert!(c.field_indexes().expect("lists").iter().all(|info| info.state == FieldIndexState::Ready));
    for path in paths {
        assert!(c.drop_field_index(&path).expect("drops"));
    }
    until(&c, |stats| stats.field_indexes == 0);
    c.wait_indexed().expect("tidies up");
    assert_eq!(field_files(&dir, "collections"), 0);
    assert_eq!(
        c.create_field_index("a..b", &FieldKind::Bool.config()).expect_err("no path").kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn a_filter_has_its_indexes_made() {
    let database = Database::in_memory().expect("opens");
    let c = database.create_collection("points", CollectionConfig::new(2, Metric::Euclid)).expect("creates");
    let path = |text: &str| Path::parse(text).expect("a path");
    let word = Condition::field(path("word"), Test::Value("x".into()));
    let filter = Filter::new().must([word, Condition::field(path("n"), Test::Range(Range::at_least(1)))]);
    c.create_field_index("n", &FieldKind::Integer.config()).expect("creates");
    assert_eq!(c.create_suggested_indexes(&filter).expect("creates"), 1);
    assert_eq!(c.create_suggested_indexes(&filter).expect("creates"), 0);
    let kinds: Vec<_> = c.field_indexes().expect("lists").iter().map(|one| one.field.config.kind()).collect();
    assert_eq!(kinds, [FieldKind::Integer, FieldKind::Keyword]);
}
