//! What a run did and when, in calls of its directory: what a disk may hold after a power cut, and what it must.
//!
//! A collection has an order of its own, and so has the catalog: of the states that each has had, one must be found, not older
//! than what was promised to survive the cut and not newer than what was begun. Between two orders nothing is promised but what
//! follows from that.

use std::collections::BTreeMap;
use std::ops::Range;

use nearfield::{Database, Durability, Seq};

use crate::model::{Contents, Model, Outcome, Points};
use crate::report::{Kind, Violation};
use crate::workload::Op;

/// How errors call a database in memory.
pub(crate) const PLACE: &str = "disk";

/// The life of one collection from its creation on; a name may be given to several, one after another.
#[derive(Debug)]
struct Instance {
    empty: Contents,
    steps: Vec<Step>,
    /// From so many calls on, so many steps survive a cut.
    floors: Vec<(usize, usize)>,
    /// After so many calls, this Seq may have been seen.
    seen: Vec<(usize, Seq)>,
}

/// One operation and the points after it.
#[derive(Debug)]
struct Step {
    /// Calls before it began.
    begun: usize,
    /// The last Seq when it was acknowledged.
    seq: Seq,
    points: Points,
}

/// The catalog after an operation: which instance a name stands for, and the aliases.
#[derive(Clone, Debug, Default)]
struct Names {
    begun: usize,
    acknowledged: usize,
    instances: BTreeMap<String, usize>,
    aliases: BTreeMap<String, String>,
}

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct History {
    instances: Vec<Instance>,
    /// Never empty but before the first operation.
    catalog: Vec<Names>,
    model: Model,
    expected: Option<Outcome>,
    pub(crate) operations: u64,
}

impl History {
    /// The history of a disk that begins with `model`, all of it durable.
    pub(crate) fn of(model: &Model) -> History {
        let mut history = History { model: model.clone(), ..History::default() };
        let mut names = Names { aliases: model.aliases.clone(), ..Names::default() };
        for (name, contents) in &model.collections {
            names.instances.insert(name.clone(), history.instances.len());
            let first = Step { begun: 0, seq: Seq::ZERO, points: contents.points.clone() };
            let instance = Instance::new(contents.clone());
            history.instances.push(Instance { steps: vec![first], floors: vec![(0, 1)], ..instance });
        }
        history.catalog.push(names);
        history
    }

    /// `op` begins after so many calls.
    pub(crate) fn begin(&mut self, op: &Op, calls: usize) {
        if self.catalog.is_empty() {
            self.catalog.push(Names::default());
        }
        self.operations += 1;
        let outcome = self.model.run(op);
        let changes = outcome.is_success();
        self.expected = Some(outcome);
        match op {
            Op::Write(name, _) if changes => {
                if let Some((at, contents)) = self.current(name) {
                    let points = contents.points.clone();
                    self.instances[at].steps.push(Step { begun: calls, seq: Seq::MAX, points });
                }
            }
            Op::Create(name, config) if changes => {
                let contents = Contents { config: config.clone(), points: Points::new() };
                self.instances.push(Instance::new(contents));
                let at = self.instances.len() - 1;
                self.rename(calls, |names| {
                    names.instances.insert(name.clone(), at);
                });
            }
            Op::Drop(name) => self.rename(calls, |names| {
                names.instances.remove(name);
            }),
            Op::SetAlias(..) | Op::DropAlias(_) => self.rename(calls, |_| ()),
            _ => {}
        }
    }

    /// What the database must answer to the operation begun last.
    pub(crate) fn expected(&self) -> Outcome {
        self.expected.clone().unwrap_or(Outcome::Done)
    }

    /// `op`, begun last, is acknowledged after so many calls.
    pub(crate) fn end(&mut self, op: &Op, calls: usize, db: &Database, durability: Durability) {
        if let Some(names) = self.catalog.last_mut() {
            names.acknowledged = names.acknowledged.min(calls);
        }
        let (Op::Write(name, _) | Op::Flush(name) | Op::Sync(name)) = op else { return };
        let (Some((at, _)), Ok(collection)) = (self.current(name), db.collection(name)) else { return };
        let instance = &mut self.instances[at];
        let (visible, synced) = (collection.visible_seq(), collection.synced_seq());
        instance.seen.push((calls, visible));
        if let Some(step) = instance.steps.last_mut() {
            step.seq = step.seq.min(visible);
        }
        let acknowledged = instance.steps.len();
        let durable = match (durability, op) {
            (Durability::Sync, _) | (_, Op::Sync(_) | Op::Flush(_)) => acknowledged,
            // The Seq of the last step may be that of a later frame of the log's own, so this errs on the safe side.
            (Durability::Process, _) => instance.steps.iter().take_while(|step| step.seq <= synced).count(),
        };
        instance.floors.push((calls, durable));
    }

    /// The database was closed after so many calls: everything is durable.
    pub(crate) fn closed(&mut self, calls: usize) {
        for instance in &mut self.instances {
            instance.floors.push((calls, instance.steps.len()));
        }
    }

    /// Whether `found` may be what a cut after `calls` calls leaves.
    ///
    /// # Errors
    ///
    /// In which ways it may not.
    pub(crate) fn judge(&self, calls: usize, found: &Model) -> Result<(), Vec<Violation>> {
        let names = self.judge_names(calls, found).map_err(|violation| vec![violation])?;
        let mut violations = Vec::new();
        for (name, contents) in &found.collections {
            let Some(&at) = names.instances.get(name) else { continue };
            violations.extend(self.instances[at].judge(name, calls, contents));
        }
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    /// The last Seq of a collection that anybody may have seen before the cut.
    pub(crate) fn last_seq(&self, name: &str, found: &Model, calls: usize) -> Option<Seq> {
        let names = self.judge_names(calls, found).ok()?;
        let seen = &self.instances.get(*names.instances.get(name)?)?.seen;
        seen.iter().filter(|(at, _)| *at <= calls).map(|(_, seq)| *seq).max()
    }

    fn judge_names(&self, calls: usize, found: &Model) -> Result<&Names, Violation> {
        let fits = |names: &&Names| {
            names.instances.keys().eq(found.collections.keys()) && names.aliases == found.aliases
        };
        let ceiling = self.catalog.partition_point(|names| names.begun < calls || names.acknowledged == 0);
        let floor = self.catalog.partition_point(|names| names.acknowledged <= calls).saturating_sub(1);
        let (old, allowed) = self.catalog[..ceiling.max(floor + 1)].split_at(floor);
        if let Some(names) = allowed.iter().rfind(fits) {
            return Ok(names);
        }
        let names = found.collections.keys().collect::<Vec<_>>();
        let text =
            format!("collections {names:?} and aliases {:?}: expected {:?}", found.aliases, allowed[0]);
        let kind = if old.iter().any(|names| fits(&names)) { Kind::Lost } else { Kind::Half };
        Err(Violation::new(kind, text))
    }

    /// The instance that a name or alias means now, and what it holds.
    fn current(&mut self, name: &str) -> Option<(usize, &Contents)> {
        let names = self.catalog.last()?;
        let name = self.model.aliases.get(name).map_or(name, String::as_str);
        Some((*names.instances.get(name)?, self.model.collections.get(name)?))
    }

    fn rename(&mut self, calls: usize, change: impl FnOnce(&mut Names)) {
        let mut names = self.catalog.last().cloned().unwrap_or_default();
        (names.begun, names.acknowledged) = (calls, usize::MAX);
        names.aliases.clone_from(&self.model.aliases);
        change(&mut names);
        self.catalog.push(names);
    }
}

impl Instance {
    fn new(empty: Contents) -> Instance {
        Instance { empty, steps: Vec::new(), floors: Vec::new(), seen: Vec::new() }
    }

    /// The points after so many steps.
    fn after(&self, steps: usize) -> &Points {
        steps.checked_sub(1).map_or(&self.empty.points, |last| &self.steps[last].points)
    }

    /// How many steps may be found after so many calls.
    fn allowed(&self, calls: usize) -> Range<usize> {
        let floor =
            self.floors.iter().filter(|(at, _)| *at <= calls).map(|(_, steps)| *steps).max().unwrap_or(0);
        let begun = self.steps.iter().filter(|step| step.begun < calls || step.begun == 0).count();
        floor..begun.max(floor) + 1
    }

    fn judge(&self, name: &str, calls: usize, found: &Contents) -> Vec<Violation> {
        if found.config != self.empty.config {
            let text = format!("{name} is {:?}, expected {:?}", found.config, self.empty.config);
            return vec![Violation::new(Kind::Wrong, text)];
        }
        let allowed = self.allowed(calls);
        if allowed.clone().rev().any(|steps| *self.after(steps) == found.points) {
            return Vec::new();
        }
        let must = Contents { points: self.after(allowed.start).clone(), ..self.empty.clone() };
        let mut violations = must.compare(name, &found.points);
        if (0..allowed.start).any(|steps| *self.after(steps) == found.points) {
            violations.iter_mut().for_each(|violation| violation.text.push_str(" (an older state is back)"));
        } else {
            let text = format!("{name} holds {} points and was never like that", found.points.len());
            violations.insert(0, Violation::new(Kind::Half, text));
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Change;
    use nearfield::{CollectionConfig, Metric, Point};

    fn upsert(id: u64) -> Op {
        Op::Write("c0".to_owned(), Change::Upsert(vec![Point::new(id, vec![id as f32])]))
    }

    /// A collection made within calls 0 to 10, then points 1, 2 and 3, each within ten calls more; the first two are durable.
    fn three_points() -> (History, Vec<Model>) {
        let mut history = History::default();
        let mut states = vec![Model::default()];
        let create = Op::Create("c0".to_owned(), CollectionConfig::new(1, Metric::Dot));
        let db = Database::in_memory().unwrap();
        for (at, op) in [create, upsert(1), upsert(2), upsert(3)].into_iter().enumerate() {
            history.begin(&op, at * 10);
            assert_eq!(crate::workload::execute(&db, &op), history.expected());
            let durability = if at < 3 { Durability::Sync } else { Durability::Process };
            history.end(&op, at * 10 + 10, &db, durability);
            states.push(history.model.clone());
        }
        // A database in memory calls everything synced; here the third point is only in the page cache.
        history.instances[0].floors.pop();
        (history, states)
    }

    fn kinds(history: &History, calls: usize, found: &Model) -> Vec<Kind> {
        let judged = history.judge(calls, found).err().unwrap_or_default();
        judged.into_iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn an_operation_under_way_may_be_there_and_one_not_begun_may_not() {
        let (history, states) = three_points();
        assert_eq!(kinds(&history, 15, &states[1]), []);
        assert_eq!(kinds(&history, 15, &states[2]), []);
        assert_eq!(kinds(&history, 15, &states[3]), [Kind::Half, Kind::Resurrected, Kind::Resurrected]);
        assert_eq!(kinds(&history, 5, &states[0]), []);
        assert_eq!(kinds(&history, 5, &states[1]), []);
    }

    #[test]
    fn what_is_durable_may_not_be_missing_and_the_rest_only_from_the_end() {
        let (history, states) = three_points();
        assert_eq!(kinds(&history, 40, &states[3]), []);
        assert_eq!(kinds(&history, 40, &states[4]), []);
        assert_eq!(kinds(&history, 40, &states[2]), [Kind::Lost]);
        assert_eq!(kinds(&history, 40, &states[0]), [Kind::Lost]);
        let mut hole = states[4].clone();
        hole.run(&Op::Write("c0".to_owned(), Change::Delete(vec![2.into()])));
        assert_eq!(kinds(&history, 40, &hole), [Kind::Half, Kind::Lost, Kind::Resurrected]);
    }

    #[test]
    fn a_second_history_begins_with_what_was_found() {
        let (_, states) = three_points();
        let history = History::of(&states[2]);
        assert_eq!(kinds(&history, 0, &states[2]), []);
        assert_eq!(kinds(&history, 9, &states[1]), [Kind::Half, Kind::Lost]);
    }
}
