//! What a careless or hostile caller sends: a clear error that names field, value and limit, and nothing changed.

use nearfield::{
    CollectionConfig, Database, ErrorKind, Metric, Object, Options, Point, PointId, Query, Value, Vectors,
    With, limits,
};

fn collection() -> (Database, nearfield::Collection) {
    let db = Database::in_memory().expect("opens");
    let collection = db.create_collection("c", CollectionConfig::new(3, Metric::Cosine)).expect("creates");
    (db, collection)
}

/// The request is refused with exactly this text, and the collection is as it was.
#[track_caller]
fn refused<T: std::fmt::Debug>(collection: &nearfield::Collection, result: nearfield::Result<T>, text: &str) {
    let error = result.expect_err("is refused");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, text.to_owned()));
    assert_eq!(collection.count().expect("counts"), 0);
    assert_eq!(collection.visible_seq().0, 0, "nothing was logged");
}

#[test]
fn vectors() {
    let (_db, c) = collection();
    let upsert = |vector: Vec<f32>| c.upsert(vec![Point::new(1, vec![1.0; 3]), Point::new(2, vector)]);
    refused(&c, upsert(vec![1.0; 2]), "point 2: vector has 2 dimensions, expected 3");
    refused(&c, upsert(vec![]), "point 2: vector has 0 dimensions, expected 3");
    let text = "point 2: vector holds NaN at dimension 1: only finite numbers are allowed";
    refused(&c, upsert(vec![1.0, f32::NAN, 1.0]), text);
    let text = "point 2: vector holds -inf at dimension 2: only finite numbers are allowed";
    refused(&c, upsert(vec![1.0, 1.0, f32::NEG_INFINITY]), text);
    let named = |vectors| {
        c.upsert(vec![Point { id: 1.into(), vectors: Vectors::Named(vectors), payload: Object::new() }])
    };
    refused(&c, named(vec![]), "point 1: no vector is given: a point needs at least one");
    let unknown = vec![("image".to_owned(), vec![1.0])];
    refused(&c, named(unknown), "point 1: there is no vector \"image\": the collection has \"\"");
    let twice = vec![(String::new(), vec![1.0; 3]), (String::new(), vec![1.0; 3])];
    refused(&c, named(twice), "point 1: vector \"\" is given twice");
}

#[test]
fn queries() {
    let (_db, c) = collection();
    let search = |vector: &[f32], limit| c.search(&Query::new(vector, limit));
    refused(&c, search(&[1.0; 4], 1), "query: vector has 4 dimensions, expected 3");
    refused(
        &c,
        search(&[f32::INFINITY; 3], 1),
        "query: vector holds inf at dimension 0: only finite numbers are allowed",
    );
    let text = format!("limit is {}: at most 10000 is allowed", usize::MAX);
    refused(&c, search(&[1.0; 3], usize::MAX), &text);
    refused(&c, c.scroll(None, usize::MAX, With::ALL), &text);
    assert!(search(&[1.0; 3], 0).unwrap().is_empty());
    let unknown = c.search(&Query::new(&[1.0; 3], 1).using("x"));
    refused(&c, unknown, "there is no vector \"x\": the collection has \"\"");
}

#[test]
fn ids_and_batches() {
    let (_db, c) = collection();
    let long = PointId::from("x".repeat(limits::ID_BYTES_MAX + 1));
    let error = c.upsert(vec![Point::new(long.clone(), vec![1.0; 3])]).unwrap_err().to_string();
    assert!(error.ends_with("id has 4097 bytes: at most 4096 are allowed"), "{error}");
    assert!(error.len() < 200, "a long id is cut in the error");
    refused(&c, c.delete(&[long]), "id has 4097 bytes: at most 4096 are allowed");
    let many: Vec<_> = (0..=limits::BATCH_POINTS_MAX as u64).map(|id| Point::new(id, vec![1.0; 3])).collect();
    refused(&c, c.upsert(many), "points has 10001 entries: at most 10000 are allowed, send them in parts");
    let twice = vec![Point::new(1, vec![1.0; 3]), Point::new(1, vec![1.0; 3])];
    refused(&c, c.insert(twice), "an id occurs more than once among the points to insert");
    assert_eq!(c.upsert(Vec::new()).unwrap().0, 0);
}

#[test]
fn payloads() {
    let (_db, c) = collection();
    let with = |payload| c.upsert(vec![Point::new(1, vec![1.0; 3]).payload(payload)]);
    let deep = || {
        let mut value = Value::Null;
        for _ in 0..100_000 {
            value = Value::Array(vec![value]);
        }
        Object::from_entries([("a".to_owned(), value)])
    };
    let text = "payload is refused: payload is nested more than 64 levels deep";
    refused(&c, with(deep()), &format!("point 1: {text}"));
    refused(&c, c.merge_payload(&[1.into()], deep()), text);
    refused(&c, c.replace_payload(&[1.into()], deep()), text);
    // The deep one comes after a wrong one: it must be dropped safely all the same.
    let points = vec![Point::new(1, vec![1.0; 2]), Point::new(2, vec![1.0; 3]).payload(deep())];
    refused(&c, c.upsert(points), "point 1: vector has 2 dimensions, expected 3");
    let number = Object::from_entries([("x".to_owned(), Value::F64(f64::NAN))]);
    refused(&c, with(number), "point 1: payload is refused: payload holds a number that is NaN or infinite");
    let huge = Object::from_entries([("x".to_owned(), Value::String("y".repeat(17 << 20)))]);
    refused(&c, with(huge), "point 1: payload is refused: payload has more than 16777216 bytes");
    // Ten megabytes are within the limit and come back as they were.
    let large = Object::from_entries([("x".to_owned(), Value::String("y".repeat(10 << 20)))]);
    with(large.clone()).unwrap();
    let record = c.get(&[1.into()], With::ALL).unwrap().remove(0).unwrap();
    assert_eq!(record.payload, Some(large));
    // A merge that would pass the limit is refused, and the payload stays.
    let more = Object::from_entries([("z".to_owned(), Value::String("y".repeat(8 << 20)))]);
    let error = c.merge_payload(&[1.into()], more).unwrap_err();
    assert_eq!(error.to_string(), "payload is refused: payload has more than 16777216 bytes");
    assert_eq!(c.get(&[1.into()], With::PAYLOAD).unwrap().remove(0).unwrap().payload.unwrap().len(), 1);
}

#[test]
fn names_and_configurations() {
    let (db, _c) = collection();
    let create = |name: &str, config| {
        db.create_collection(name, config).map(|_| ()).map_err(|e| (e.kind(), e.to_string()))
    };
    let config = || CollectionConfig::new(3, Metric::Dot);
    for dim in [0, 65_537, usize::MAX] {
        let text = format!("dim is {dim}: it must be 1 to 65536");
        assert_eq!(create("x", CollectionConfig::new(dim, Metric::Dot)), Err((ErrorKind::Invalid, text)));
    }
    assert_eq!(create("c", config()), Err((ErrorKind::Exists, "collection 'c' already exists".into())));
    for name in ["", ".", "..", "../x", "a/b", "a\0", &"x".repeat(256)] {
        assert_eq!(create(name, config()).unwrap_err().0, ErrorKind::Invalid, "{name:?}");
    }
    let missing = db.collection("nothing").unwrap_err();
    assert_eq!(
        (missing.kind(), missing.to_string()),
        (ErrorKind::NotFound, "there is no collection or alias \"nothing\"".into())
    );
    db.set_alias("now", "c").unwrap();
    assert_eq!(create("now", config()), Err((ErrorKind::Exists, "alias 'now' already exists".into())));
    assert_eq!(db.set_alias("c", "c").unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(db.set_alias("x", "now").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.delete_collection("now").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.collections(), ["c"]);
    assert_eq!(db.collection("now").unwrap().name(), "c");
}

#[test]
fn a_second_writer_is_told_who_is_first() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path(), Options::default()).unwrap();
    // In this process a second opening shares the database, however the path is spelt.
    let again = Database::open(place.path().join("."), Options::default()).unwrap();
    db.create_collection("c", CollectionConfig::new(1, Metric::Dot)).unwrap();
    assert_eq!(again.collections(), ["c"]);
    // Another process would use the file lock; a second directory handle does the same here.
    let other = nearfield_platform::RealDir::open(place.path(), false).unwrap();
    let error =
        nearfield_platform::Dir::lock(&other, "LOCK", nearfield_platform::LockKind::Exclusive).unwrap_err();
    assert_eq!(error.to_string(), format!("held by process {}", std::process::id()));
    db.close().unwrap();
    assert_eq!(
        again.create_collection("d", CollectionConfig::new(1, Metric::Dot)).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let db = Database::open(place.path(), Options::default()).unwrap();
    assert_eq!(db.collections(), ["c"]);
}

#[test]
fn a_directory_that_is_no_database_stays_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let error = Database::open(place.path(), Options::default().create(false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
    let missing = place.path().join("missing");
    assert_eq!(
        Database::open(&missing, Options::default().create(false)).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(!missing.exists());
}

#[test]
fn deleted_and_closed_collections_refuse() {
    let (db, c) = collection();
    c.upsert(vec![Point::new(1, vec![1.0; 3])]).unwrap();
    assert!(db.delete_collection("c").unwrap());
    assert!(!db.delete_collection("c").unwrap());
    assert_eq!(c.upsert(vec![Point::new(2, vec![1.0; 3])]).unwrap_err().kind(), ErrorKind::NotFound);
    let again = db.create_collection("c", CollectionConfig::new(3, Metric::Cosine)).unwrap();
    assert_eq!(again.count().unwrap(), 0);
}
