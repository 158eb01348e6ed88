//! What is done to a database: operations that follow from a seed, so that whoever knows the seed knows what was done.
//!
//! It refuses to know what the operations lead to; that is `model`. The n-th operation of a [`Stream`] is a pure function of the
//! stream and n, never of what a database answered: the process that works and the one that judges it derive it independently.
//!
//! Two streams of one session never touch the same thing: ids are divided into [`LANES`], a lane belongs to one stream, and
//! collections that come and go belong to the first.

use std::fmt;
use std::sync::Arc;

use nearfield::{
    Collection, CollectionConfig, Database, ErrorKind, Metric, Object, Point, PointId, Progress, Replace,
    SnapshotName, Uuid, Value, Vectors,
};
use nearfield_platform::{Entropy, SeededEntropy};

use crate::model::Outcome;

/// Ids belong to lanes, so that several writers can be told apart afterwards.
pub const LANES: u64 = 4;

/// Collections that every session makes sure of before it does anything else.
pub const BASE: [&str; 2] = ["c0", "c1"];
const SPARE: [&str; 3] = ["s0", "s1", "s2"];
const ALIASES: [&str; 2] = ["a0", "a1"];
const SNAPSHOTS: [&str; 2] = ["p0", "p1"];

/// A seed for the `n`-th thing that `seed` leads to.
pub fn derive(seed: u64, n: u64) -> u64 {
    SeededEntropy::new(seed ^ n.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(17)).u64()
}

/// One of `choices`.
pub(crate) fn one_of<T: Copy>(random: &SeededEntropy, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

/// How much there may be of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Ids of one lane.
    pub keys: u64,
    /// Points of one write.
    pub batch: u64,
    /// Dimensions of a vector.
    pub dim: u64,
}

/// What is fixed for the life of one database.
#[derive(Clone, Debug)]
pub struct World {
    size: Size,
    /// A plain collection, and one with several named vectors.
    shapes: [CollectionConfig; 2],
}

impl World {
    /// The world of this seed.
    pub fn new(seed: u64, size: Size) -> World {
        let random = SeededEntropy::new(seed);
        let dim = || 1 + random.below(size.dim) as usize;
        let metric = || one_of(&random, &Metric::ALL);
        let plain = CollectionConfig::new(dim(), metric());
        let named = match random.below(2) {
            0 => CollectionConfig::new(dim(), metric()).vector("image", dim(), metric()),
            _ => CollectionConfig::named("title", dim(), metric()).vector("", dim(), metric()).vector(
                "body",
                dim(),
                metric(),
            ),
        };
        World { size, shapes: [plain, named] }
    }

    /// What the collection or alias `name` is made of: names that end in the same parity share it.
    pub fn config(&self, name: &str) -> &CollectionConfig {
        let odd = name.bytes().last().is_some_and(|digit| digit % 2 == 1);
        &self.shapes[usize::from(odd)]
    }

    /// All ids that may ever be written.
    pub fn ids(&self) -> impl Iterator<Item = PointId> {
        let keys = self.size.keys;
        (0..LANES).flat_map(move |lane| (0..keys).map(move |key| id(lane, key)))
    }
}

/// An id of a lane; the three kinds take turns.
fn id(lane: u64, key: u64) -> PointId {
    match key % 3 {
        0 => PointId::Number(lane << 32 | key),
        1 => PointId::Uuid(Uuid::from_u128(u128::from(derive(lane, key)) << 64 | u128::from(key))),
        _ => PointId::from(format!("lane {lane}, key {key}")),
    }
}

/// One thing done to a database.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Points of the collection (or alias) of this name change, atomically.
    Write(String, Change),
    /// What is in memory is sealed.
    Flush(String),
    /// All acknowledged so far is made durable.
    Sync(String),
    /// A collection is made.
    Create(String, CollectionConfig),
    /// A collection is deleted.
    Drop(String),
    /// An alias (first) stands for a collection (second).
    SetAlias(String, String),
    /// An alias is forgotten.
    DropAlias(String),
    /// A snapshot (second) of a collection (first) is made.
    Snapshot(String, String),
    /// The snapshot (second) of a collection (first) is restored as a collection (third), in the place of what is there.
    Restore(String, String, String),
    /// A snapshot (second) of a collection (first) is dropped.
    DropSnapshot(String, String),
    /// The database is closed and opened again, perhaps with other settings.
    Reopen,
}

/// How points change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Points are stored, old ones replaced.
    Upsert(Vec<Point>),
    /// Points are stored unless one of them is there.
    Insert(Vec<Point>),
    /// Points are deleted.
    Delete(Vec<PointId>),
    /// Points get another payload.
    Replace(Vec<PointId>, Object),
    /// Keys of the payload are set.
    Merge(Vec<PointId>, Object),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Write(name, change) => write!(f, "{change} in {name}"),
            Op::Flush(name) => write!(f, "flush {name}"),
            Op::Sync(name) => write!(f, "sync {name}"),
            Op::Create(name, _) => write!(f, "create {name}"),
            Op::Drop(name) => write!(f, "delete collection {name}"),
            Op::SetAlias(alias, name) => write!(f, "alias {alias} = {name}"),
            Op::DropAlias(alias) => write!(f, "delete alias {alias}"),
            Op::Snapshot(of, name) => write!(f, "snapshot {name} of {of}"),
            Op::Restore(of, name, target) => write!(f, "restore {name} of {of} as {target}"),
            Op::DropSnapshot(of, name) => write!(f, "forget {name} of {of}"),
            Op::Reopen => f.write_str("close and open"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Upsert(points) => write!(f, "upsert {} points", points.len()),
            Change::Insert(points) => write!(f, "insert {} points", points.len()),
            Change::Delete(ids) => write!(f, "delete {} ids", ids.len()),
            Change::Replace(ids, _) => write!(f, "replace {} payloads", ids.len()),
            Change::Merge(ids, _) => write!(f, "merge {} payloads", ids.len()),
        }
    }
}

impl Change {
    /// The ids it names.
    pub fn ids(&self) -> Vec<&PointId> {
        match self {
            Change::Upsert(points) | Change::Insert(points) => points.iter().map(|point| &point.id).collect(),
            Change::Delete(ids) | Change::Replace(ids, _) | Change::Merge(ids, _) => ids.iter().collect(),
        }
    }
}

/// The operations of one thread of one session.
#[derive(Clone, Debug)]
pub struct Stream {
    world: Arc<World>,
    seed: u64,
    number: u64,
    lanes: Vec<u64>,
    /// Whether it closes and opens the database; only where it is alone.
    alone: bool,
    /// Whether it makes and restores snapshots.
    snapshots: bool,
}

impl Stream {
    /// All `count` streams of the session of this seed.
    pub fn all(world: &Arc<World>, seed: u64, count: u64) -> Vec<Stream> {
        let stream = |number| Stream {
            world: Arc::clone(world),
            seed: derive(seed, number),
            number,
            lanes: (0..LANES).filter(|lane| lane % count == number).collect(),
            alone: count == 1,
            snapshots: false,
        };
        (0..count).map(stream).collect()
    }

    /// The same, with snapshots among what is done to the catalog. Only for judges that know at which operation a process ended:
    /// after a power cut in `process` durability a snapshot may hold what its collection has lost.
    #[must_use]
    pub fn with_snapshots(self) -> Stream {
        Stream { snapshots: true, ..self }
    }

    /// How many operations at the front of the first stream make sure of the [`BASE`]; others wait for them.
    pub fn preparations(&self) -> u64 {
        if self.number == 0 { BASE.len() as u64 } else { 0 }
    }

    /// The `n`-th operation.
    pub fn op(&self, n: u64) -> Op {
        if n < self.preparations() {
            let name = BASE[n as usize];
            return Op::Create(name.to_owned(), self.world.config(name).clone());
        }
        let random = SeededEntropy::new(derive(self.seed, n));
        let catalog = self.number == 0;
        match random.below(100) {
            0..=5 if catalog => self.catalog_op(&random),
            // A large share, so that enough kills meet them.
            22..=45 if catalog && self.snapshots => self.snapshot_op(&random),
            6..=7 if self.alone => Op::Reopen,
            8..=9 => Op::Flush(one_of(&random, &BASE).to_owned()),
            10..=12 => Op::Sync(one_of(&random, &BASE).to_owned()),
            13..=18 if catalog => self.write(one_of(&random, &SPARE), &random, n),
            19..=21 if catalog => self.write(one_of(&random, &ALIASES), &random, n),
            _ => self.write(one_of(&random, &BASE), &random, n),
        }
    }

    fn catalog_op(&self, random: &SeededEntropy) -> Op {
        let (spare, alias) = (one_of(random, &SPARE).to_owned(), one_of(random, &ALIASES).to_owned());
        match random.below(10) {
            0..=3 => {
                let config = self.world.config(&spare).clone();
                Op::Create(spare, config)
            }
            4..=5 => Op::Drop(spare),
            6..=8 => {
                let even = ["c0", "s0", "s2"];
                let odd = ["c1", "s1"];
                let target = if alias == ALIASES[0] { one_of(random, &even) } else { one_of(random, &odd) };
                Op::SetAlias(alias, target.to_owned())
            }
            _ => Op::DropAlias(alias),
        }
    }

    /// Only of collections that this stream alone writes.
    fn snapshot_op(&self, random: &SeededEntropy) -> Op {
        let (spare, other) = (one_of(random, &SPARE).to_owned(), one_of(random, &SPARE).to_owned());
        let name = one_of(random, &SNAPSHOTS).to_owned();
        match random.below(6) {
            0..=2 => Op::Snapshot(spare, name),
            3..=4 => {
                // Whoever has the name afterwards must be of its shape.
                let fits = self.world.config(&other) == self.world.config(&spare);
                Op::Restore(spare.clone(), name, if fits { other } else { spare })
            }
            _ => Op::DropSnapshot(spare, name),
        }
    }

    fn write(&self, name: &str, random: &SeededEntropy, n: u64) -> Op {
        let lane = one_of(random, &self.lanes);
        let tag = format!("{:016x}/{}/{n}", self.seed, self.number);
        let config = self.world.config(name);
        let count = self.batch(random);
        let change = match random.below(100) {
            0..=49 => Change::Upsert(self.points(config, lane, count, &tag, random)),
            50..=59 => {
                let mut points = self.points(config, lane, count.min(5), &tag, random);
                let mut seen = std::collections::HashSet::new();
                points.retain(|point| seen.insert(point.id.clone()));
                Change::Insert(points)
            }
            60..=77 => Change::Delete(self.some_ids(lane, count, random)),
            78..=87 => Change::Replace(self.some_ids(lane, count, random), payload(&tag, random)),
            _ => Change::Merge(self.some_ids(lane, count, random), changes(&tag, random)),
        };
        Op::Write(name.to_owned(), change)
    }

    /// Often one, sometimes many.
    fn batch(&self, random: &SeededEntropy) -> u64 {
        let most = match random.below(10) {
            0..=3 => 1,
            4..=7 => self.world.size.batch.div_ceil(10),
            _ => self.world.size.batch,
        };
        1 + random.below(most)
    }

    fn some_ids(&self, lane: u64, count: u64, random: &SeededEntropy) -> Vec<PointId> {
        (0..count).map(|_| id(lane, random.below(self.world.size.keys))).collect()
    }

    fn points(
        &self,
        config: &CollectionConfig,
        lane: u64,
        count: u64,
        tag: &str,
        random: &SeededEntropy,
    ) -> Vec<Point> {
        let ids = self.some_ids(lane, count, random);
        let point = |id| Point { id, vectors: vectors(config, random), payload: payload(tag, random) };
        ids.into_iter().map(point).collect()
    }
}

/// Small whole numbers: sums of their products are exact in any order, so scores can be compared to the last bit.
pub(crate) fn vector(dim: usize, random: &SeededEntropy) -> Vec<f32> {
    let reach = if random.below(40) == 0 { 1 } else { 17 };
    (0..dim).map(|_| (random.below(reach) as f32) - (reach / 2) as f32).collect()
}

fn vectors(config: &CollectionConfig, random: &SeededEntropy) -> Vectors {
    let all: Vec<(&str, usize)> =
        config.vectors().map(|(name, vector)| (name, vector.dim as usize)).collect();
    if let [("", dim)] = all[..] {
        return Vectors::One(vector(dim, random));
    }
    // At least one, seldom all.
    let sure = random.below(all.len() as u64) as usize;
    let given = all.iter().enumerate().filter(|(at, _)| *at == sure || random.below(3) > 0);
    Vectors::Named(given.map(|(_, (name, dim))| ((*name).to_owned(), vector(*dim, random))).collect())
}

/// A payload that says which operation wrote it.
fn payload(tag: &str, random: &SeededEntropy) -> Object {
    let mut payload = Object::new();
    payload.set("by", tag);
    payload.set("number", random.u64());
    match random.below(4) {
        0 => payload.set("text", "längst ".repeat(random.below(40) as usize)),
        1 => payload.set("list", vec![Value::Null, true.into(), (random.below(9) as f64 / 4.0).into()]),
        2 => payload.set(
            "inner",
            Object::from_entries([("negative".to_owned(), Value::I64(-(random.below(99) as i64)))]),
        ),
        _ => {}
    }
    payload
}

/// Keys to be set in a payload.
fn changes(tag: &str, random: &SeededEntropy) -> Object {
    let mut changes = Object::new();
    changes.set(format!("merged{}", random.below(3)), tag);
    if random.below(2) == 0 {
        changes.set("number", random.u64());
    }
    changes
}

/// Does `op` (any but [`Op::Reopen`], which is the caller's) and says what the database answered.
pub fn execute(db: &Database, op: &Op) -> Outcome {
    let done = |()| Outcome::Done;
    let answer = match op {
        Op::Write(name, change) => db.collection(name).and_then(|collection| write(&collection, change)),
        Op::Flush(name) => db.collection(name).and_then(|collection| collection.flush()).map(done),
        Op::Sync(name) => db.collection(name).and_then(|collection| collection.sync()).map(|_| Outcome::Done),
        Op::Create(name, config) => db.create_collection(name, config.clone()).map(|_| Outcome::Done),
        Op::Drop(name) => db.delete_collection(name).map(|there| Outcome::Count(u64::from(there))),
        Op::SetAlias(alias, name) => db.set_alias(alias, name).map(done),
        Op::DropAlias(alias) => db.delete_alias(alias).map(|there| Outcome::Count(u64::from(there))),
        Op::Snapshot(of, name) => db.create_snapshot(of, name, "").map(|_| Outcome::Done),
        Op::Restore(of, name, target) => {
            let (name, done) = (SnapshotName::of(of, name), Progress::default());
            let restored = db.restore_snapshot_with(&name, None, target, Replace::Existing, &done);
            restored.map(|_| Outcome::Done)
        }
        Op::DropSnapshot(of, name) => {
            let dropped = db.drop_snapshot(&SnapshotName::of(of, name));
            dropped.map(|there| Outcome::Count(u64::from(there)))
        }
        Op::Reopen => Ok(Outcome::Failed("only who holds the database can open it again".to_owned())),
    };
    answer.unwrap_or_else(|error| match error.kind() {
        ErrorKind::Exists => Outcome::Exists,
        ErrorKind::NotFound => Outcome::NotFound,
        kind => Outcome::Failed(format!("{kind:?}: {error}")),
    })
}

fn write(collection: &Collection, change: &Change) -> nearfield::Result<Outcome> {
    match change {
        Change::Upsert(points) => collection.upsert(points.clone()).map(|_| Outcome::Done),
        Change::Insert(points) => collection.insert(points.clone()).map(|_| Outcome::Done),
        Change::Delete(ids) => collection.delete(ids).map(Outcome::Count),
        Change::Replace(ids, payload) => collection.replace_payload(ids, payload.clone()).map(Outcome::Count),
        Change::Merge(ids, changes) => collection.merge_payload(ids, changes.clone()).map(Outcome::Count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { keys: 30, batch: 20, dim: 6 };

    #[test]
    fn an_operation_follows_from_stream_and_number_alone() {
        let world = Arc::new(World::new(5, SIZE));
        let ops = |seed| -> Vec<Op> {
            let streams = Stream::all(&Arc::clone(&world), seed, 2);
            streams.iter().flat_map(|stream| (0..50).rev().map(|n| stream.op(n))).collect()
        };
        assert_eq!(ops(1), ops(1));
        assert_ne!(ops(1), ops(2));
    }

    #[test]
    fn streams_share_no_ids_and_only_the_first_touches_the_catalog() {
        let world = Arc::new(World::new(6, SIZE));
        let mut owner = std::collections::HashMap::new();
        for (number, stream) in Stream::all(&world, 9, 3).iter().enumerate() {
            for op in (0..500).map(|n| stream.op(n)) {
                match op {
                    Op::Write(_, change) => {
                        for id in change.ids() {
                            assert_eq!(*owner.entry(id.clone()).or_insert(number), number);
                        }
                    }
                    Op::Flush(_) | Op::Sync(_) => {}
                    other => assert_eq!(number, 0, "{other}"),
                }
            }
        }
        assert!(owner.keys().all(|id| world.ids().any(|known| known == *id)));
    }

    #[test]
    fn all_kinds_of_operations_and_ids_occur() {
        let world = Arc::new(World::new(7, SIZE));
        let stream = &Stream::all(&world, 1, 1)[0].clone().with_snapshots();
        let words = (0..4000).map(|n| stream.op(n).to_string().split(' ').next().map(str::to_owned));
        let seen: std::collections::HashSet<_> = words.collect();
        for word in [
            "upsert", "insert", "delete", "replace", "merge", "flush", "sync", "create", "alias", "snapshot",
            "restore", "forget", "close",
        ] {
            assert!(seen.contains(&Some(word.to_owned())), "{word}");
        }
        let kinds: std::collections::HashSet<_> = world.ids().map(|id| std::mem::discriminant(&id)).collect();
        assert_eq!((kinds.len(), world.ids().count() as u64), (3, LANES * SIZE.keys));
    }
}
