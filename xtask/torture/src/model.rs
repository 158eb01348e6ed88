//! The oracle: what a database must hold after the operations that it acknowledged.
//!
//! It refuses to use any of the engine's code for what the engine does: collections are sorted maps here, and a payload merge is
//! the only thing borrowed (from `types`, which has its own tests).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nearfield::{
    Collection, CollectionConfig, Database, NamedVectors, Object, Point, PointId, Progress, Vectors, View,
    With,
};

use crate::report::{Kind, Violation};
use crate::workload::{Change, Op};

/// A stored point.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The vectors it has, in the order of the configuration.
    pub vectors: NamedVectors,
    /// Its payload.
    pub payload: Object,
}

/// The points of one collection. A clone shares the entries.
pub type Points = BTreeMap<PointId, Arc<Entry>>;

/// What one collection is and holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// Its vectors.
    pub config: CollectionConfig,
    /// Its points.
    pub points: Points,
}

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Collections by name.
    pub collections: BTreeMap<String, Contents>,
    /// Aliases and what they stand for.
    pub aliases: BTreeMap<String, String>,
    /// Snapshots, by collection and name, and what was in them.
    pub snapshots: BTreeMap<(String, String), Contents>,
}

/// What a database answers to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is done to so many points (or to a collection that was there, or was not).
    Count(u64),
    /// Something of that name is there already.
    Exists,
    /// There is no such collection.
    NotFound,
    /// Anything else: the words of the error.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Count(count) => write!(f, "count {count}"),
            Outcome::Exists => f.write_str("exists"),
            Outcome::NotFound => f.write_str("missing"),
            Outcome::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
        }
    }
}

impl Outcome {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Outcome> {
        Some(match text.split_once(' ').unwrap_or((text, "")) {
            ("done", "") => Outcome::Done,
            ("count", count) => Outcome::Count(count.parse().ok()?),
            ("exists", "") => Outcome::Exists,
            ("missing", "") => Outcome::NotFound,
            ("failed", why) => Outcome::Failed(why.to_owned()),
            _ => return None,
        })
    }

    /// True if the operation may have changed something.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Done | Outcome::Count(_))
    }
}

impl Model {
    /// Does `op` and says what a database must answer.
    pub fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Write(name, change) => match self.resolve(name) {
                Some(contents) => contents.run(change),
                None => Outcome::NotFound,
            },
            Op::Flush(name) | Op::Sync(name) => match self.resolve(name) {
                Some(_) => Outcome::Done,
                None => Outcome::NotFound,
            },
            Op::Create(name, _) if self.collections.contains_key(name) || self.aliases.contains_key(name) => {
                Outcome::Exists
            }
            Op::Create(name, config) => {
                self.collections
                    .insert(name.clone(), Contents { config: config.clone(), points: Points::new() });
                Outcome::Done
            }
            Op::Drop(name) => {
                let there = self.collections.remove(name).is_some();
                self.aliases.retain(|_, target| target != name);
                Outcome::Count(u64::from(there))
            }
            Op::SetAlias(_, name) if !self.collections.contains_key(name) => Outcome::NotFound,
            Op::SetAlias(alias, name) => {
                self.aliases.insert(alias.clone(), name.clone());
                Outcome::Done
            }
            Op::DropAlias(alias) => Outcome::Count(u64::from(self.aliases.remove(alias).is_some())),
            Op::Snapshot(of, name) => {
                let key = (of.clone(), name.clone());
                match self.collections.get(of) {
                    None => Outcome::NotFound,
                    Some(_) if self.snapshots.contains_key(&key) => Outcome::Exists,
                    Some(contents) => {
                        self.snapshots.insert(key, contents.clone());
                        Outcome::Done
                    }
                }
            }
            Op::Restore(of, name, target) => match self.snapshots.get(&(of.clone(), name.clone())) {
                None => Outcome::NotFound,
                Some(contents) => {
                    self.collections.insert(target.clone(), contents.clone());
                    Outcome::Done
                }
            },
            Op::DropSnapshot(of, name) => {
                let there = self.snapshots.remove(&(of.clone(), name.clone())).is_some();
                Outcome::Count(u64::from(there))
            }
            Op::Reopen => Outcome::Done,
        }
    }

    /// The collection that a name means.
    pub fn resolve(&mut self, name: &str) -> Option<&mut Contents> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        self.collections.get_mut(name)
    }

    /// Which collections and aliases differ from `found`.
    fn same_names(&self, found: &Model) -> Result<(), String> {
        let names = |model: &Model| model.collections.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(found) {
            return Err(format!("collections are {:?}, expected {:?}", names(found), names(self)));
        }
        if self.aliases != found.aliases {
            return Err(format!("aliases are {:?}, expected {:?}", found.aliases, self.aliases));
        }
        let snapshots = |model: &Model| model.snapshots.keys().cloned().collect::<Vec<_>>();
        if snapshots(self) != snapshots(found) {
            return Err(format!("snapshots are {:?}, expected {:?}", snapshots(found), snapshots(self)));
        }
        Ok(())
    }

    /// Whether `op`, begun and never acknowledged, is in what was `found`; then does it. Each of the pending operations must
    /// touch something of its own.
    ///
    /// # Errors
    ///
    /// It is there in part.
    pub fn settle(&mut self, op: &Op, found: &Model) -> Result<bool, Violation> {
        let mut after = self.clone();
        if !after.run(op).is_success() {
            return Ok(false);
        }
        let half =
            |what: String| Violation::new(Kind::Half, format!("'{op}' was never acknowledged, and {what}"));
        let there = match op {
            Op::Write(name, change) => {
                let name = self.aliases.get(name).unwrap_or(name).clone();
                let Some(points) = found.collections.get(&name).map(|contents| &contents.points) else {
                    return Ok(false);
                };
                let side = |model: &Model| {
                    let held = &model.collections[&name].points;
                    change.ids().iter().find(|id| held.get(**id) != points.get(**id)).map(|id| (**id).clone())
                };
                match (side(self), side(&after)) {
                    (_, None) => true,
                    (None, _) => false,
                    (Some(not_before), Some(not_after)) => {
                        let what = format!(
                            "point {not_before} is not as before it, point {not_after} not as after it"
                        );
                        return Err(half(what));
                    }
                }
            }
            Op::Restore(_, _, target) => {
                let [before, restored, found] =
                    [&*self, &after, found].map(|model| model.collections.get(target));
                match () {
                    () if found == restored => true,
                    () if found == before => false,
                    () => return Err(half(format!("{target} is neither as before it nor as restored"))),
                }
            }
            _ if after.same_names(found).is_ok() => true,
            _ => match self.same_names(found) {
                Ok(()) => false,
                Err(what) => return Err(half(what)),
            },
        };
        if there {
            *self = after;
        }
        Ok(there)
    }

    /// What of the model is not in what was `found`, and the other way round.
    pub fn compare(&self, found: &Model) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (name, contents) in &self.collections {
            match found.collections.get(name) {
                None => violations.push(Violation::new(Kind::Lost, format!("collection {name} is gone"))),
                Some(other) if other.config != contents.config => {
                    let text =
                        format!("collection {name} is {:?}, expected {:?}", other.config, contents.config);
                    violations.push(Violation::new(Kind::Wrong, text));
                }
                Some(other) => violations.extend(contents.compare(name, &other.points)),
            }
        }
        for name in found.collections.keys().filter(|name| !self.collections.contains_key(*name)) {
            violations.push(Violation::new(
                Kind::Resurrected,
                format!("collection {name} is there and should not be"),
            ));
        }
        if self.aliases != found.aliases {
            let text = format!("aliases are {:?}, expected {:?}", found.aliases, self.aliases);
            violations.push(Violation::new(Kind::Lost, text));
        }
        for (key @ (of, name), contents) in &self.snapshots {
            match found.snapshots.get(key) {
                None => {
                    violations.push(Violation::new(Kind::Lost, format!("snapshot {name} of {of} is gone")))
                }
                Some(other) => {
                    violations.extend(contents.compare(&format!("snapshot {name} of {of}"), &other.points))
                }
            }
        }
        for (of, name) in found.snapshots.keys().filter(|key| !self.snapshots.contains_key(*key)) {
            let text = format!("snapshot {name} of {of} is there and should not be");
            violations.push(Violation::new(Kind::Resurrected, text));
        }
        violations
    }

    /// Everything that a database holds.
    ///
    /// # Errors
    ///
    /// What reading met, or an answer that contradicts itself.
    pub fn read(db: &Database, page: usize) -> Result<Model, String> {
        let mut model = Model { aliases: db.aliases().into_iter().collect(), ..Model::default() };
        for name in db.collections() {
            let collection = db.collection(&name).map_err(|e| e.to_string())?;
            let points = read_points(&collection, page).map_err(|e| format!("collection {name}: {e}"))?;
            model
                .collections
                .insert(name, Contents { config: CollectionConfig::clone(&collection.config()), points });
        }
        for name in db.all_snapshots().map_err(|e| e.to_string())? {
            let failed = |e: nearfield::Error| format!("{name}: {e}");
            db.verify_snapshot_digests(&name, &Progress::default()).map_err(failed)?;
            let info = db.describe_snapshot(&name).map_err(failed)?;
            let view = db.snapshot_view(&name, None).map_err(failed)?;
            let points = read_view(&view, page).map_err(|e| format!("{name}: {e}"))?;
            let config = info.collections[0].config.clone();
            let of = name.collection.clone().unwrap_or_default();
            model.snapshots.insert((of, name.name.clone()), Contents { config, points });
        }
        Ok(model)
    }
}

impl Contents {
    fn run(&mut self, change: &Change) -> Outcome {
        match change {
            Change::Insert(points) if points.iter().any(|point| self.points.contains_key(&point.id)) => {
                Outcome::Exists
            }
            Change::Upsert(points) | Change::Insert(points) => {
                for point in points {
                    self.points.insert(point.id.clone(), Arc::new(entry(&self.config, point)));
                }
                Outcome::Done
            }
            Change::Delete(ids) => {
                Outcome::Count(ids.iter().filter(|id| self.points.remove(*id).is_some()).count() as u64)
            }
            Change::Replace(ids, payload) => self.patch(ids, |old| *old = payload.clone()),
            Change::Merge(ids, changes) => self.patch(ids, |old| old.merge(changes)),
        }
    }

    /// Changes the payload of those of `ids` that there are, each once.
    fn patch(&mut self, ids: &[PointId], change: impl Fn(&mut Object)) -> Outcome {
        let ids: std::collections::BTreeSet<&PointId> = ids.iter().collect();
        let mut count = 0;
        for id in ids {
            if let Some(entry) = self.points.get_mut(id) {
                change(&mut Arc::make_mut(entry).payload);
                count += 1;
            }
        }
        Outcome::Count(count)
    }

    /// How `found` differs: points lost, points or older values that should be gone.
    pub fn compare(&self, name: &str, found: &Points) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (id, entry) in &self.points {
            match found.get(id) {
                None => violations
                    .push(Violation::new(Kind::Lost, format!("{name}: point {id} ({}) is gone", by(entry)))),
                Some(other) if other != entry => {
                    let text =
                        format!("{name}: point {id} is as {} wrote it, expected {}", by(other), by(entry));
                    violations.push(Violation::new(Kind::Resurrected, text));
                }
                Some(_) => {}
            }
        }
        for (id, entry) in found.iter().filter(|(id, _)| !self.points.contains_key(*id)) {
            let text = format!("{name}: point {id} ({}) is there and should not be", by(entry));
            violations.push(Violation::new(Kind::Resurrected, text));
        }
        violations
    }
}

/// Which operations last wrote a point, by the tags they left in it.
fn by(entry: &Entry) -> String {
    let tags = entry.payload.iter().filter(|(key, _)| *key == "by" || key.starts_with("merged"));
    tags.map(|(key, tag)| format!("{key} {tag:?}")).collect::<Vec<_>>().join(", ")
}

/// A point as it will be read back.
fn entry(config: &CollectionConfig, point: &Point) -> Entry {
    let given: BTreeMap<&str, &Vec<f32>> = match &point.vectors {
        Vectors::One(vector) => [("", vector)].into(),
        Vectors::Named(named) => named.iter().map(|(name, vector)| (name.as_str(), vector)).collect(),
    };
    let stored = |(name, _)| Some((String::from(name), given.get(name)?.to_vec()));
    Entry { vectors: config.vectors().filter_map(stored).collect(), payload: point.payload.clone() }
}

/// All points of a collection, by scrolling.
///
/// # Errors
///
/// What reading met, or pages out of order.
pub fn read_points(collection: &Collection, page: usize) -> Result<Points, String> {
    read_view(&collection.view(), page)
}

/// All points of a view, by scrolling.
fn read_view(view: &View, page: usize) -> Result<Points, String> {
    let mut points = Points::new();
    let mut after: Option<PointId> = None;
    loop {
        let records = view.scroll(after.as_ref(), page, With::ALL).map_err(|e| e.to_string())?;
        let full = records.len() == page;
        for record in records {
            if after.as_ref().is_some_and(|last| *last >= record.id) {
                return Err(format!(
                    "scrolling came to {} after {}",
                    record.id,
                    after.unwrap_or(record.id.clone())
                ));
            }
            let (Some(vectors), Some(payload)) = (record.vectors, record.payload) else {
                return Err(format!("point {} came without what was asked for", record.id));
            };
            points.insert(record.id.clone(), Arc::new(Entry { vectors, payload }));
            after = Some(record.id);
        }
        if !full {
            return Ok(points);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearfield::Metric;

    fn point(id: u64, tag: &str) -> Point {
        Point::new(id, vec![1.0]).payload(Object::from_entries([("by".to_owned(), tag.into())]))
    }

    fn upsert(ids: &[u64], tag: &str) -> Op {
        Op::Write("c".to_owned(), Change::Upsert(ids.iter().map(|&id| point(id, tag)).collect()))
    }

    fn delete(ids: &[u64]) -> Op {
        Op::Write("c".to_owned(), Change::Delete(ids.iter().map(|&id| id.into()).collect()))
    }

    fn started() -> Model {
        let mut model = Model::default();
        model.run(&Op::Create("c".to_owned(), CollectionConfig::new(1, Metric::Dot)));
        model.run(&upsert(&[1, 2, 3], "first"));
        model
    }

    #[test]
    fn answers_are_those_of_a_map() {
        let mut model = started();
        assert_eq!(model.run(&delete(&[1, 1, 9])), Outcome::Count(1));
        assert_eq!(
            model.run(&Op::Write("c".to_owned(), Change::Insert(vec![point(2, "x")]))),
            Outcome::Exists
        );
        assert_eq!(model.run(&Op::SetAlias("a".to_owned(), "c".to_owned())), Outcome::Done);
        let ids = vec![2.into(), 2.into(), 9.into()];
        assert_eq!(
            model.run(&Op::Write("a".to_owned(), Change::Merge(ids, Object::new()))),
            Outcome::Count(1)
        );
        assert_eq!(model.run(&Op::Drop("c".to_owned())), Outcome::Count(1));
        assert_eq!((model.aliases.len(), model.run(&delete(&[2]))), (0, Outcome::NotFound));
    }

    #[test]
    fn a_pending_operation_is_there_whole_or_not_at_all() {
        let op = upsert(&[2, 4], "second");
        let (before, mut after) = (started(), started());
        after.run(&op);
        assert_eq!(before.clone().settle(&op, &before), Ok(false));
        let mut model = before.clone();
        assert_eq!(model.settle(&op, &after), Ok(true));
        assert_eq!(model, after);
        let mut half = before.clone();
        half.run(&upsert(&[4], "second"));
        assert_eq!(before.clone().settle(&op, &half).unwrap_err().kind, Kind::Half);
    }

    #[test]
    fn each_kind_of_difference_has_its_name() {
        let model = started();
        let kinds = |change: Op| -> Vec<Kind> {
            let mut found = model.clone();
            found.run(&change);
            model.compare(&found).into_iter().map(|violation| violation.kind).collect()
        };
        assert_eq!(kinds(delete(&[2])), [Kind::Lost]);
        assert_eq!(kinds(upsert(&[3, 9], "old")), [Kind::Resurrected; 2]);
        assert_eq!(kinds(Op::Drop("c".to_owned())), [Kind::Lost]);
        assert_eq!(kinds(Op::DropAlias("none".to_owned())), []);
    }

    #[test]
    fn outcomes_are_written_and_read() {
        for outcome in [
            Outcome::Done,
            Outcome::Count(7),
            Outcome::Exists,
            Outcome::NotFound,
            Outcome::Failed("a b".into()),
        ] {
            assert_eq!(Outcome::parse(&outcome.to_string()), Some(outcome));
        }
        assert_eq!(Outcome::parse("what"), None);
    }
}
