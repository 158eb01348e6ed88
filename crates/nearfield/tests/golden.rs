//! The bytes of a fixed database are golden: a change of any file format shows here, and is meant or not.
//!
//! Clock and entropy are fixed, so the same operations give the same files. `cargo xtask golden` rewrites the list; a changed
//! list needs a changed version in `docs/format.md`.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use nearfield::{
    CollectionConfig, Database, FieldKind, Metric, Object, Options, Point, PointId, Uuid, Value, Vectors,
};
use nearfield_platform::{Dir, ManualClock, MemoryDir, SeededEntropy};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/files.txt");

/// Every kind of file and, as far as few points can, everything that is in them.
fn write_all(dir: &Arc<MemoryDir>) -> nearfield::Result<()> {
    let mut options = Options { background: false, ..Options::default() };
    options.collections.clock = Arc::new(ManualClock::new(1_000_000));
    options.collections.entropy = Arc::new(SeededEntropy::new(7));
    let db = Database::open_in(Arc::clone(dir) as Arc<dyn Dir>, "golden", options)?;
    let config = CollectionConfig::new(3, Metric::Cosine).vector("image", 2, Metric::Manhattan);
    let c = db.create_collection("c", config)?;
    db.set_alias("now", "c")?;
    let ids: [PointId; 4] = [7.into(), "seven".into(), Uuid::from_u128(7).into(), u64::MAX.into()];
    for (at, id) in ids.iter().enumerate() {
        let mut vectors = vec![(String::new(), vec![at as f32, 1.0, -0.5])];
        if at % 2 == 0 {
            vectors.push(("image".to_owned(), vec![0.25, at as f32]));
        }
        let list = Value::Array(vec![Value::Null, true.into(), (-3i64).into(), u64::MAX.into(), 0.5.into()]);
        let payload = Object::from_entries([("text".to_owned(), "wörd".into()), ("list".to_owned(), list)]);
        c.upsert(vec![Point { id: id.clone(), vectors: Vectors::Named(vectors), payload }])?;
    }
    c.create_field_index("text", &FieldKind::Keyword.config())?;
    c.create_field_index("list", &FieldKind::Integer.config())?;
    c.flush()?;
    c.drop_field_index("list")?;
    c.delete(&ids[..1])?;
    c.merge_payload(&ids[1..2], Object::from_entries([("n".to_owned(), 1i64.into())]))?;
    c.flush()?;
    c.upsert(vec![Point::new(8, vec![1.0, 2.0, 3.0])])?;
    c.delete(&ids[3..])?;
    c.replace_payload(&ids[2..3], Object::new())?;
    db.close()
}

fn list(dir: &MemoryDir, folder: &str, out: &mut String) {
    for entry in dir.list(folder).expect("lists") {
        let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
        if entry.is_dir {
            list(dir, &path, out);
        } else if path != "LOCK" {
            let bytes = dir.open(&path).expect("opens");
            writeln!(out, "{path} {} {:016x}", bytes.len(), nearfield_codec::crc64(&bytes))
                .expect("writes to a string");
        }
    }
}

#[test]
fn golden_files() {
    let dir = MemoryDir::new();
    write_all(&dir).expect("writes");
    let mut found = String::new();
    list(&dir, "", &mut found);
    if std::env::var_os("NEARFIELD_GOLDEN").is_some_and(|value| value == "overwrite") {
        overwrite(Path::new(GOLDEN), &found);
    }
    assert_eq!(found, include_str!("../golden/files.txt"), "run `cargo xtask golden` if the change is meant");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the golden list is a file of the repository, not of a database"
)]
fn overwrite(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writes the golden list");
}
