//! Small valid files of every format, always the same, made by the code that writes them.

use std::sync::{Arc, OnceLock};

use nearfield::{
    CollectionConfig, Database, Metric, Object, Options, Point, PointId, Progress, Uuid, Value, Vectors,
};
use nearfield_ann::conformance::Points;
use nearfield_codec::{AlignedBytes, ContainerWriter, FileTag};
use nearfield_collection::{Cell, CollectionOptions, ManifestCell};
use nearfield_hnsw::{Graph, Linker, Params, Scorers};
use nearfield_payload::index::{FieldBuilder, IndexConfig, IndexKind};
use nearfield_payload::text::TextConfig;
use nearfield_payload::{Path, RowRef, encode};
use nearfield_platform::{Dir, ManualClock, MemoryDir, SeededEntropy};
use nearfield_quant::{Codec, CodecConfig, RotatedConfig, ScalarConfig};
use nearfield_types::{Seq, Slot};
use nearfield_wal::{Class, FileLog, Kind, LogOptions, LogSizes, LogWriter, Syncer};

/// The kind of the container that belongs to nobody.
pub(crate) const CONTAINER_TAG: FileTag = FileTag::new(*b"NFfz", 1, 1);
/// Sections that a fixture has and a target asks for.
pub(crate) const CONTAINER_SECTIONS: std::ops::Range<u32> = 1..6;
/// The log that all fixtures and targets speak of.
pub(crate) const LOG: [u8; 16] = [0x5a; 16];
/// Files so small that a few operations fill them, frames so small that some operations need several.
pub(crate) const SMALL: LogSizes =
    LogSizes { first_bytes: 1 << 10, largest_bytes: 1 << 10, frame_bytes: 200 };
/// Vectors of the collection of fixtures and targets: dimension and metric, in the order of the configuration.
pub(crate) const SHAPES: [(usize, Metric); 2] = [(3, Metric::Cosine), (2, Metric::Euclid)];
/// Rows of its first segment.
pub(crate) const ROWS: u32 = 12;

/// Options without threads, with time that stands still and repeatable chance.
pub(crate) fn options() -> Options {
    let collections = CollectionOptions {
        clock: Arc::new(ManualClock::new(1_000_000)),
        entropy: Arc::new(SeededEntropy::new(7)),
        ..CollectionOptions::system()
    };
    Options { background: false, collections, ..Options::default() }
}

/// The options of one collection, as [`options`].
pub(crate) fn collection_options() -> CollectionOptions {
    CollectionOptions { inline_maintenance: true, ..options().collections }
}

/// The collection of fixtures and targets.
pub(crate) fn config() -> CollectionConfig {
    let [(text_dim, text), (image_dim, image)] = SHAPES;
    CollectionConfig::new(text_dim, text).vector("image", image_dim, image)
}

/// A container with [`CONTAINER_SECTIONS`], `bytes` in all of them together.
pub(crate) fn container(bytes: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let write = || {
        let mut writer = ContainerWriter::new(Vec::new(), CONTAINER_TAG)?;
        let sections = CONTAINER_SECTIONS.len();
        for (part, section) in content.chunks(bytes.div_ceil(sections).max(1)).zip(CONTAINER_SECTIONS) {
            writer.section(section)?;
            writer.write(part)?;
        }
        writer.finish()
    };
    let (file, _) = write().expect("writing to memory does not fail");
    file
}

/// Values of the points under [`graph`].
pub(crate) const GRAPH_DIM: usize = 4;

/// A graph over 30 points, some of them twice.
pub(crate) fn graph() -> Vec<u8> {
    let mut rows = Points::clustered(24, GRAPH_DIM, 1).rows().to_vec();
    rows.extend_from_within(..6 * GRAPH_DIM);
    let points = Points::from_rows(GRAPH_DIM, rows);
    let graph = Graph::new(Params::new(3, 20).expect("settings within the limits"));
    let (mut walk, mut judge, mut linker) = (points.scorer(&[]), points.scorer(&[]), Linker::new());
    let same = |a, b| points.row(a) == points.row(b);
    let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &same };
    for slot in (0..points.len()).map(Slot) {
        graph.link(slot, &mut scorers, &mut linker).expect("these scorers do not fail");
    }
    nearfield_hnsw::format::write(&graph, b"notes", Vec::new()).expect("writing to memory does not fail").0
}

/// Indexes of all kinds over one field that has values of all kinds.
pub(crate) fn field_indexes() -> Vec<Vec<u8>> {
    let values: [Value; 10] = [
        "noun".into(),
        "able to do, to do".into(),
        1i64.into(),
        Value::F64(0.5),
        true.into(),
        "2024-01-02T03:04:05Z".into(),
        "550e8400-e29b-41d4-a716-446655440000".into(),
        vec![Value::from("verb"), Value::Null, Value::from(7i64)].into(),
        Value::Object(Object::from_entries([
            ("lon".to_owned(), Value::F64(2.5)),
            ("lat".to_owned(), 48i64.into()),
        ])),
        Value::Null,
    ];
    let phrases = TextConfig { phrase_matching: true, ..TextConfig::default() };
    let configs = IndexKind::ALL.map(IndexKind::config).into_iter().chain([IndexConfig::Text(phrases)]);
    let build = |config: IndexConfig| {
        let mut builder = FieldBuilder::new(config, Path::key("a")).expect("a sound configuration");
        for value in &values {
            let row =
                encode(&Object::from_entries([("a".to_owned(), value.clone())])).expect("a small payload");
            let row = AlignedBytes::from(row.as_slice());
            builder.push(&RowRef::new(&row).expect("a sound row")).expect("few rows");
        }
        builder.push_absent().expect("few rows");
        builder.write(Vec::new()).expect("writing to memory does not fail").0
    };
    configs.map(build).collect()
}

/// Codes of a few vectors, one of them absent: rotated with a mean, and scalar.
pub(crate) fn codes() -> [Vec<u8>; 2] {
    let rows: Vec<Vec<f32>> =
        (0..9).map(|row| (0..40).map(|at| ((row * 40 + at) as f32 * 0.7).sin() + 0.3).collect()).collect();
    let rotated =
        RotatedConfig { dim: 40, metric: Metric::Euclid, epoch: 3, seed: Some(5), mean: vec![0.25; 40] };
    let scalar = ScalarConfig::from_sample(40, Metric::Cosine, 0.99, rows.iter().map(Vec::as_slice));
    [CodecConfig::Rotated(rotated), CodecConfig::Scalar(scalar)].map(|config| {
        let codec = Arc::new(Codec::new(config).expect("a sound codec"));
        let rows = rows.iter().enumerate().map(|(at, row)| (at != 4).then_some(row.as_slice()));
        nearfield_quant::write_rows(Vec::new(), &codec, rows).expect("writing to memory does not fail").0
    })
}

/// Archives of a snapshot of one collection, and of the whole database.
pub(crate) fn archives() -> Vec<Vec<u8>> {
    let db = Database::open_in(MemoryDir::new(), "fixture", options()).expect("memory does not fail");
    let c = db.create_collection("c", CollectionConfig::new(2, Metric::Dot)).expect("creates");
    let points = |ids: std::ops::Range<u64>| -> Vec<Point> {
        ids.map(|id| Point::new(id, vec![id as f32, 1.0]).payload(payload(id))).collect()
    };
    c.upsert(points(0..5)).expect("writes");
    c.flush().expect("seals");
    c.delete(&[1.into()]).expect("deletes");
    c.upsert(points(7..9)).expect("writes");
    db.set_alias("now", "c").expect("names it");
    let names = [c.create_snapshot("one", "words"), db.create_full_snapshot("all", "")];
    names
        .into_iter()
        .map(|made| {
            let (name, mut file) = (made.expect("is made").name, Vec::new());
            db.archive_snapshot(&name, &mut file, &Progress::default()).expect("memory does not fail");
            file
        })
        .collect()
}

/// Tasks of a database: none, and some of several kinds, one of them failed.
pub(crate) fn tasks() -> Vec<Vec<u8>> {
    let dir: Arc<dyn Dir> = MemoryDir::new();
    let db = Database::open_in(Arc::clone(&dir), "fixture", options()).expect("memory does not fail");
    let c = db.create_collection("c", CollectionConfig::new(1, Metric::Dot)).expect("creates");
    let cell = ManifestCell::new(dir, "tasks");
    let mut values = Vec::new();
    for _ in 0..2 {
        c.flush_task().expect("flushes");
        c.create_index_task("author.name", &IndexKind::Keyword.config()).expect("makes an index");
        values.push(cell.read().expect("reads").expect("there are tasks").bytes);
    }
    // The state of the first one: it waits, as after a kill.
    let mut waits = values[0].clone();
    waits[16 + 9] = 1;
    values.push(waits);
    values
}

/// The files of a log with sealed files, an operation of several frames, a mark and a clean close, without the zeros at their
/// ends.
pub(crate) fn log_files() -> Vec<Vec<u8>> {
    let dir = MemoryDir::new();
    let options = LogOptions { sizes: SMALL, ..LogOptions::new(LOG) };
    let log = FileLog::open(dir.clone(), "log", options).expect("an empty log opens");
    let (mut writer, syncer) = log.into_writer().expect("it was opened for writing");
    for n in 0..9u8 {
        let kind = [Kind::Batch, Kind::Config, Kind::Checkpoint][usize::from(n) % 3];
        let bytes = vec![n | 1; if n == 4 { 450 } else { 20 * usize::from(n) }];
        let seq = writer.append(kind, Class::Ordinary, &[&bytes]).expect("there is room");
        if n % 4 == 1 {
            syncer.sync(seq).expect("memory syncs");
        }
        if n == 6 {
            writer.sync_mark().expect("there is room");
        }
    }
    writer.close().expect("memory syncs");
    let names = dir.list("log").expect("the log has a folder");
    let open = |name: &str| dir.open(&format!("log/{name}")).expect("it was just listed");
    names.iter().map(|entry| used(&open(&entry.name))).collect()
}

/// Bytes without the room reserved behind them.
fn used(bytes: &[u8]) -> Vec<u8> {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes[..used.next_multiple_of(8).min(bytes.len())].to_vec()
}

/// What a small database consists of.
pub(crate) struct Parts {
    /// The newest file of the catalog's cell, and its version.
    pub(crate) catalog: (u64, Vec<u8>),
    /// The newest file of a shard's cell, and its version.
    pub(crate) manifest: (u64, Vec<u8>),
    /// The files of the first segment.
    pub(crate) ids: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) vectors: [Vec<u8>; 2],
    /// The deaths and patches of the first segment.
    pub(crate) delta: Vec<u8>,
    /// Operations, as the log holds them.
    pub(crate) operations: Vec<Vec<u8>>,
}

/// A database with two collections, aliases, two segments, a delta and something left in the log. Made once.
pub(crate) fn database() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let dir = MemoryDir::new();
        write_database(dir.clone()).expect("what fits the limits is stored");
        read_parts(&*dir).expect("what was stored is there")
    })
}

fn write_database(dir: Arc<dyn Dir>) -> nearfield::Result<()> {
    let db = Database::open_in(dir, "fixture", options())?;
    db.create_collection("other", CollectionConfig::new(1, Metric::Manhattan))?;
    let books = db.create_collection("books", config())?;
    db.set_alias("now", "books")?;
    books.upsert((0..u64::from(ROWS)).map(point).collect())?;
    books.flush()?;
    books.upsert((20..24).map(point).collect())?;
    books.delete(&[id(1), id(8)])?;
    books.replace_payload(&[id(2), id(3)], payload(50))?;
    books.merge_payload(&[id(4)], payload(51))?;
    books.flush()?;
    books.upsert(vec![point(30), point(5)])?;
    books.delete(&[id(6), id(21)])?;
    books.replace_payload(&[id(7)], Object::new())?;
    books.merge_payload(&[id(9), id(10)], payload(52))?;
    books.create_field_index("text", &nearfield::FieldKind::Text.config())?;
    books.create_field_index("list[]", &nearfield::FieldKind::Integer.config())?;
    books.drop_field_index("list[]")?;
    db.close()
}

fn read_parts(dir: &dyn Dir) -> std::io::Result<Parts> {
    let collections = dir.list("collections")?;
    // Of the two collections the one with segments.
    let shard = |name: &str| format!("collections/{name}/shards/0");
    let full =
        |name: &str| dir.list(&format!("{}/segments", shard(name))).is_ok_and(|found| !found.is_empty());
    let books = collections
        .iter()
        .map(|entry| entry.name.as_str())
        .find(|name| full(name))
        .map(shard)
        .unwrap_or_default();
    let read = |path: String| dir.open(&path).map(|bytes| bytes.to_vec());
    let newest = |folder: &str| {
        let names = dir.list(folder)?.into_iter().map(|entry| entry.name);
        let name = names.filter(|name| name.starts_with("MANIFEST-")).max().unwrap_or_default();
        let version = name.trim_start_matches("MANIFEST-").parse().unwrap_or(0);
        Ok::<_, std::io::Error>((version, read(format!("{folder}/{name}"))?))
    };
    let segment = |name: &str| read(format!("{books}/segments/1/{name}"));
    let deltas = dir.list(&format!("{books}/deltas"))?;
    let (version, manifest) = newest(&books)?;
    let value = nearfield_collection::decode_cell(&manifest, version).unwrap_or_default();
    let wal = nearfield_collection::Manifest::decode(value).map(|manifest| manifest.wal).unwrap_or_default();
    let mut operations = Vec::new();
    for entry in dir.list(&format!("{books}/log"))? {
        operations.extend(batches(&read(format!("{books}/log/{}", entry.name))?, wal));
    }
    Ok(Parts {
        catalog: newest("catalog")?,
        ids: segment("ids")?,
        payload: segment("payload")?,
        vectors: [segment("vectors-0")?, segment("vectors-1")?],
        delta: read(format!("{books}/deltas/{}", deltas.first().map_or("", |entry| &entry.name)))?,
        manifest: (version, manifest),
        operations,
    })
}

/// The operations in one file of the log `wal`.
fn batches(file: &[u8], wal: [u8; 16]) -> Vec<Vec<u8>> {
    use nearfield_wal::Walk;
    use nearfield_wal::format::{FileHeader, FrameKind};
    let Some(header) = FileHeader::decode(file).ok().filter(|header| header.wal_uuid == wal) else {
        return Vec::new();
    };
    let mut walk = Walk::new(file, &header);
    let frames = std::iter::from_fn(|| walk.step().ok());
    frames.filter(|frame| frame.kind == FrameKind::Batch).map(|frame| frame.payload.to_vec()).collect()
}

/// The three kinds of ids take turns.
pub(crate) fn id(n: u64) -> PointId {
    match n % 3 {
        0 => PointId::Number(n),
        1 => PointId::Uuid(Uuid::from_u128(u128::from(n) << 64 | 9)),
        _ => PointId::from(format!("point {n}")),
    }
}

/// Whole numbers, so that norms and distances are exact whatever the machine.
fn point(n: u64) -> Point {
    let text = vec![n as f32, 1.0, -2.0];
    let mut vectors = vec![(String::new(), text)];
    if n % 4 != 3 {
        vectors.push(("image".to_owned(), vec![4.0 - n as f32, 0.0]));
    }
    Point { id: id(n), vectors: Vectors::Named(vectors), payload: payload(n) }
}

/// A payload with a value of every kind.
pub(crate) fn payload(n: u64) -> Object {
    let inner = Object::from_entries([
        ("leer".to_owned(), Value::Array(Vec::new())),
        ("ü".to_owned(), Value::Bool(n.is_multiple_of(2))),
    ]);
    match n % 3 {
        0 => Object::from_entries([
            ("number".to_owned(), n.into()),
            ("text".to_owned(), "wörd ".repeat(n as usize % 4).into()),
            (
                "list".to_owned(),
                vec![Value::Null, Value::I64(-7), Value::U64(u64::MAX), Value::F64(0.5), inner.into()].into(),
            ),
        ]),
        1 => Object::from_entries([("number".to_owned(), n.into()), ("inner".to_owned(), inner.into())]),
        _ => Object::new(),
    }
}

/// The log options of targets.
pub(crate) fn log_options(synced: Seq, flushed: Seq) -> LogOptions {
    LogOptions { synced, flushed, sizes: SMALL, ..LogOptions::new(LOG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_has_all_its_parts_and_always_the_same() {
        let parts = database();
        assert!(parts.operations.len() >= 4, "{}", parts.operations.len());
        assert!(parts.catalog.0 >= 3 && parts.manifest.0 >= 3);
        let dir = MemoryDir::new();
        write_database(dir.clone()).unwrap();
        let again = read_parts(&*dir).unwrap();
        assert_eq!((&again.manifest, &again.delta, &again.ids), (&parts.manifest, &parts.delta, &parts.ids));
        assert_eq!((&again.vectors, &again.payload), (&parts.vectors, &parts.payload));
    }

    #[test]
    fn the_log_has_several_files_and_is_closed() {
        let files = log_files();
        assert!(files.len() >= 2, "{}", files.len());
        assert!(files.iter().all(|file| file.len() <= 2 << 10), "room behind the frames is left out");
    }
}
