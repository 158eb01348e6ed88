//! The databases that are damaged: written with default settings into a real folder and closed.

use std::path::Path;
use std::sync::Arc;

use nearfield::{CollectionConfig, Database, Metric, Object, Options, Point, PointId, Uuid, Value, Vectors};
use nearfield_platform::{Entropy, SeededEntropy};

use super::questions::Questions;

/// How a database ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// The last writes are in the log, where a clean close leaves them if they are few.
    Log,
    /// Everything is in segments and deltas.
    Sealed,
}

impl Variant {
    pub(super) const ALL: [Variant; 2] = [Variant::Log, Variant::Sealed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Variant::Log => "log",
            Variant::Sealed => "sealed",
        }
    }
}

const TEXT: usize = 24;
const IMAGE: usize = 8;
/// Points of the collection with everything, ever written.
const POINTS: u64 = 330;

/// Writes a database into `home` and says what to ask of it. It has a collection with two named vectors, three kinds of ids, two
/// segments, deltas and perhaps a log; a small one; two empty ones that differ; aliases; and one was deleted.
pub(super) fn write(home: &Path, variant: Variant, seed: u64) -> nearfield::Result<Questions> {
    let random = SeededEntropy::new(seed);
    let mut options = Options::default();
    // Uuids repeat with the seed, too.
    options.collections.entropy = Arc::new(SeededEntropy::new(seed ^ 4));
    let db = Database::open(home, options)?;
    let articles =
        CollectionConfig::named("text", TEXT, Metric::Cosine).vector("image", IMAGE, Metric::Euclid);
    let articles = db.create_collection("articles", articles)?;
    db.create_collection("gone", CollectionConfig::new(2, Metric::Dot))?
        .upsert(vec![Point::new(1, vec![1.0, 2.0])])?;
    let notes = db.create_collection("notes", CollectionConfig::new(5, Metric::Dot))?;
    db.create_collection("empty-a", CollectionConfig::new(3, Metric::Cosine))?;
    db.create_collection("empty-b", CollectionConfig::new(4, Metric::Manhattan))?;
    db.delete_collection("gone")?;
    db.set_alias("old", "notes")?;
    db.set_alias("current", "articles")?;

    let points = |range: std::ops::Range<u64>| range.map(|n| article(n, &random)).collect::<Vec<_>>();
    articles.upsert(points(0..160))?;
    articles.flush()?;
    articles.upsert(points(150..260))?;
    articles.delete(&ids(20..32))?;
    articles.replace_payload(&ids(40..44), payload(1_000))?;
    articles.flush()?;
    articles.delete(&ids(100..104))?;
    articles.merge_payload(&ids(180..184), payload(1_001))?;
    articles.flush()?;
    // What the log keeps, or another segment.
    articles.upsert(points(250..POINTS))?;
    articles.delete(&ids(5..9))?;
    articles.merge_payload(&ids(60..63), payload(1_002))?;
    articles.replace_payload(&ids(254..256), Object::new())?;
    notes.upsert((0..40).map(|n| Point::new(id(n), floats(5, &random)).payload(payload(n))).collect())?;
    notes.delete(&ids(3..5))?;
    if variant == Variant::Sealed {
        articles.flush()?;
        notes.flush()?;
    }
    db.close()?;

    let names = ["articles", "current", "empty-a", "empty-b", "notes", "old"].map(str::to_owned).to_vec();
    let query = |of: &str, vector: &str, dim| (of.to_owned(), vector.to_owned(), floats(dim, &random));
    let shapes =
        [("articles", "text", TEXT), ("articles", "image", IMAGE), ("notes", "", 5), ("empty-a", "", 3)];
    let searches =
        shapes.iter().flat_map(|(of, vector, dim)| [query(of, vector, *dim), query(of, vector, *dim)]);
    Ok(Questions { names, searches: searches.collect(), ids: ids(0..POINTS + 5) })
}

fn ids(range: std::ops::Range<u64>) -> Vec<PointId> {
    range.map(id).collect()
}

/// The three kinds take turns.
fn id(n: u64) -> PointId {
    match n % 3 {
        0 => PointId::Number(n * 7),
        1 => PointId::Uuid(Uuid::from_u128(u128::from(n) << 70 | 5)),
        _ => PointId::from(format!("article {n}")),
    }
}

fn article(n: u64, random: &SeededEntropy) -> Point {
    let mut vectors = vec![("text".to_owned(), floats(TEXT, random))];
    if n % 5 != 2 {
        vectors.push(("image".to_owned(), floats(IMAGE, random)));
    }
    Point { id: id(n), vectors: Vectors::Named(vectors), payload: payload(n) }
}

fn floats(dim: usize, random: &SeededEntropy) -> Vec<f32> {
    (0..dim).map(|_| random.below(2_001) as f32 / 1_000.0 - 1.0).collect()
}

fn payload(n: u64) -> Object {
    let mut payload = Object::new();
    payload.set("number", n);
    if n % 4 != 3 {
        payload.set("title", format!("Ein Titel für {n}, {}", "lang ".repeat(n as usize % 6)));
        payload.set(
            "tags",
            vec![Value::from("a"), (n as f64 / 8.0).into(), Value::Null, n.is_multiple_of(2).into()],
        );
    }
    payload
}
