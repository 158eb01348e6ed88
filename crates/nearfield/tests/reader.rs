//! Readers: what they see beside a writer and after a crash, and that they change nothing.

use std::sync::Arc;

use nearfield::{
    CollectionConfig, Database, ErrorKind, Metric, Object, Options, Point, PointId, Query, Reader, Record,
    View, With,
};
use nearfield_platform::{Dir, FaultyDir, LossModel, MemoryDir, RealDir};

fn quiet() -> Options {
    let mut options = Options { background: false, ..Options::default() };
    options.collections.head_rows_max = 8;
    options
}

fn point(id: u64) -> Point {
    let payload = Object::from_entries([("n".to_owned(), id.into())]);
    Point::new(id, vec![id as f32, 1.0]).payload(payload)
}

fn records(view: &View) -> Vec<Record> {
    view.scroll(None, 1_000, With::ALL).expect("scrolls")
}

/// Every file below a folder, with its bytes.
fn tree(dir: &dyn Dir, folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in dir.list(folder).expect("lists") {
        let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
        match entry.is_dir {
            true => found.extend(tree(dir, &path)),
            false => found.push((path.clone(), dir.open(&path).expect("opens").to_vec())),
        }
    }
    found
}

#[test]
fn a_reader_sees_what_was_acknowledged_and_nothing_later() {
    let dir = MemoryDir::new();
    let db = Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "db", quiet()).unwrap();
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Euclid)).unwrap();
    db.set_alias("now", "c").unwrap();
    let reader = Reader::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "db").unwrap();
    let mut views = Vec::new();
    for id in 0..40 {
        c.upsert(vec![point(id)]).unwrap();
        if id % 5 == 0 {
            c.delete(&[PointId::from(id / 2)]).unwrap();
        }
        if id % 16 == 7 {
            c.flush().unwrap();
        }
        let before = tree(&*dir, "");
        let view = reader.view(if id % 2 == 0 { "c" } else { "now" }).unwrap();
        assert_eq!(tree(&*dir, ""), before);
        assert_eq!(records(&view), records(&c.view()));
        views.push((view, records(&c.view())));
    }
    // Each goes on seeing what it saw, whatever became of the files.
    for (view, expected) in &views {
        assert_eq!(records(view), *expected);
        assert_eq!(view.count(), expected.len() as u64);
        let hits = view.search(&Query::new(&[0.0, 1.0], 1_000)).unwrap();
        assert_eq!(hits.len(), expected.len());
    }
    assert_eq!(reader.collections().unwrap(), ["c"]);
    assert_eq!(reader.view("d").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_asked_may_write_and_is_forgotten() {
    let dir = MemoryDir::new();
    let db = Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "db", quiet()).unwrap();
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Euclid)).unwrap();
    c.upsert((0..20).map(point).collect()).unwrap();
    let before = tree(&*dir, "");
    let reader = Reader::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "db").unwrap();
    let seen = reader.look(|db| {
        let c = db.collection("c")?;
        c.upsert((15..30).map(point).collect())?;
        c.flush()?;
        db.create_collection("d", CollectionConfig::new(1, Metric::Dot))?;
        Ok((c.view(), db.collections()))
    });
    let (view, names) = seen.unwrap();
    assert_eq!((view.count(), names), (30, vec!["c".to_owned(), "d".to_owned()]));
    assert_eq!(tree(&*dir, ""), before);
    assert_eq!(c.count().unwrap(), 20);
    assert_eq!(reader.collections().unwrap(), ["c"]);
}

/// At every moment at which the power may go, a reader of what is left is what opening it would give.
#[test]
fn after_a_crash_it_sees_what_recovery_would() {
    let dir = FaultyDir::new();
    let db = Database::open_in(Arc::clone(&dir) as Arc<dyn Dir>, "db", quiet()).unwrap();
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Euclid)).unwrap();
    let begun = dir.ops();
    for id in 0..20 {
        c.upsert(vec![point(id % 12)]).unwrap();
        if id % 7 == 6 {
            c.delete(&[PointId::from(id % 5)]).unwrap();
            c.sync().unwrap();
        }
    }
    for ops in (begun..=dir.ops()).step_by(3) {
        for loss in [LossModel::Random, LossModel::All] {
            let image = dir.crash_image_at(ops, loss, ops as u64);
            let before = tree(&*image, "");
            let reader = Reader::open_in(Arc::clone(&image) as Arc<dyn Dir>, "image").unwrap();
            let seen = records(&reader.view("c").unwrap());
            assert_eq!(tree(&*image, ""), before);
            let db = Database::open_in(image, "image", quiet()).unwrap();
            assert_eq!(records(&db.collection("c").unwrap().view()), seen);
        }
    }
}

#[test]
fn where_there_is_no_database_there_is_no_reader() {
    let missing = Reader::open_in(MemoryDir::new(), "nowhere").unwrap_err();
    assert_eq!(
        (missing.kind(), missing.to_string().as_str()),
        (ErrorKind::NotFound, "there is no database at 'nowhere'")
    );
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Reader::open(folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Reader::open(folder.path()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(RealDir::open(folder.path(), false).unwrap().list("").unwrap(), []);
}
