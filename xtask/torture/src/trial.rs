//! One run with one fault, and every way in which things may stand after it.
//!
//! An operation that failed did not happen, or it did, or it will have happened after the next opening; each is a [`Standing`],
//! and what is read later tells which it is.

use std::sync::{Arc, Mutex, PoisonError};

use nearfield::{Database, Durability, Point, Vectors};
use nearfield_platform::{Action, Call, LossModel};

use crate::faults::Blow;
use crate::history::PLACE;
use crate::images::Rig;
use crate::model::{Model, Outcome};
use crate::report::{Kind, Violation};
use crate::settings::Settings;
use crate::watch::Phase;
use crate::workload::{Change, Op, execute};

/// Reading is tried after every so many operations, and after every one that met a fault.
const READ_EVERY: usize = 5;
/// Ways in which things may stand at most.
const STANDINGS_MAX: usize = 30;

const SETTINGS: Settings = Settings {
    durability: Durability::Sync,
    background: false,
    head_rows_max: 12,
    head_bytes_max: 1 << 30,
    log_bytes_max: 4 << 10,
};

/// One way in which things may stand: what readers see, and what the next opening finds.
#[derive(Clone, Debug, PartialEq)]
struct Standing {
    seen: Model,
    kept: Model,
}

impl Standing {
    /// Does `op` to what the next opening finds. What a name means is what it means now.
    fn keep(&mut self, op: &Op) {
        let mut op = op.clone();
        if let Op::Write(name, _) = &mut op
            && let Some(target) = self.seen.aliases.get(name)
        {
            name.clone_from(target);
        }
        self.kept.run(&op);
    }
}

/// One run with one fault.
pub(crate) struct Trial<'a> {
    ops: &'a [Op],
    pub(crate) rig: Rig,
    /// The sync that fails at [`Blow::LostPages`].
    lost: Option<u64>,
    /// How often a database was opened; each time identities come from another source.
    openings: u64,
    /// The calls that something befell.
    fired: Arc<Mutex<Vec<Blamed>>>,
    standings: Vec<Standing>,
    /// Names under which nothing may be acknowledged until the next opening; the catalog's is empty.
    stopped: Vec<String>,
    /// Names under which writes may be refused until then.
    wary: Vec<String>,
    pub(crate) ever_stopped: bool,
    pub(crate) refused: u64,
    pub(crate) images: u64,
    pub(crate) violations: Vec<Violation>,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blamed {
    call: Call,
    path: String,
    /// It was part of making a new log file, which is no failure of the log.
    making: bool,
}

impl Blamed {
    /// True if the log failed: whatever was being written is not acknowledged.
    fn is_log(&self) -> bool {
        let does = matches!(self.call, Call::Write | Call::Sync | Call::SyncDir);
        Phase::of(&self.path) == Phase::Append && does && !self.making
    }

    /// True if a manifest or the catalog was replaced and nobody knows whether it stays so. Whatever fails before is known to have
    /// changed nothing.
    fn is_switch(&self, phase: Phase) -> bool {
        Phase::of(&self.path) == phase && self.call == Call::SyncDir
    }

    /// True if a careful collection may take no more writes after it, though it need not.
    fn may_stop(&self) -> bool {
        matches!(Phase::of(&self.path), Phase::Append | Phase::Manifest)
    }
}

impl<'a> Trial<'a> {
    pub(crate) fn new(ops: &'a [Op]) -> Trial<'a> {
        let rig = Rig::new(None);
        let fired = Arc::new(Mutex::new(Vec::new()));
        let (tell, disk) = (Arc::clone(&fired), Arc::clone(&rig.disk));
        rig.plan.on_fire(move |call, path| {
            let before = disk.ops().checked_sub(1).and_then(|last| disk.op(last));
            let making = call == Call::Write && before == Some((Call::Reserve, path.to_owned()));
            let blamed = Blamed { call, path: path.to_owned(), making };
            tell.lock().unwrap_or_else(PoisonError::into_inner).push(blamed);
        });
        let empty = Standing { seen: Model::default(), kept: Model::default() };
        Trial {
            ops,
            rig,
            lost: None,
            openings: 0,
            fired,
            standings: vec![empty],
            stopped: Vec::new(),
            wary: Vec::new(),
            ever_stopped: false,
            refused: 0,
            images: 0,
            violations: Vec::new(),
        }
    }

    pub(crate) fn arm(&mut self, at: u64, blow: Blow) {
        match blow {
            Blow::Once(fault) => self.rig.plan.arm(at, Action::Fail { fault, lasting: false }),
            Blow::Lasting(fault) => self.rig.plan.arm(at, Action::Fail { fault, lasting: true }),
            Blow::Full => self.rig.plan.arm(at, Action::Full),
            Blow::LostPages => {
                self.rig.disk.fail_sync_after(at);
                self.lost = Some(at);
            }
        }
    }

    pub(crate) fn run(&mut self) -> Option<Database> {
        let mut db = self.open();
        for (n, op) in self.ops.iter().enumerate() {
            if *op == Op::Reopen {
                if let Some(db) = db.take() {
                    self.close(db);
                }
                db = self.open();
                continue;
            }
            // While the disk fails there may be no database, then there is nothing to be asked; or nothing can be read, then each
            // failed operation multiplies what may be, and there comes a point where nothing more is learnt.
            let Some(db) = db.as_ref().filter(|_| self.standings.len() <= STANDINGS_MAX) else { continue };
            let fired = self.befallen();
            let outcome = execute(db, op);
            let befell = self.blamed(fired);
            self.settle(op, &outcome, &befell);
            if !befell.is_empty() || n % READ_EVERY == 0 {
                self.look(db);
            }
        }
        db
    }

    /// How much befell the disk so far.
    pub(crate) fn befallen(&self) -> u64 {
        let lost = self.lost.is_some_and(|at| self.rig.plan.calls_of(Call::Sync) > at);
        self.rig.plan.fired() + u64::from(lost)
    }

    fn open(&mut self) -> Option<Database> {
        for _ in 0..2 {
            let fired = self.befallen();
            self.openings += 1;
            match Database::open_in(Arc::clone(&self.rig.dir), PLACE, SETTINGS.repeatable(self.openings)) {
                Ok(db) => {
                    self.stopped.clear();
                    self.wary.clear();
                    if self.look_after_opening(&db) {
                        return Some(db);
                    }
                }
                Err(error) if self.befallen() == fired => {
                    self.violations.push(Violation::new(Kind::FailedOpen, error.to_string()));
                }
                Err(_) => self.refused += 1,
            }
        }
        None
    }

    /// Reads everything right after opening; false if a fault came in between.
    fn look_after_opening(&mut self, db: &Database) -> bool {
        let fired = self.befallen();
        match Model::read(db, 10) {
            Ok(found) => {
                self.narrow(&found, |standing| &standing.kept, "after opening");
                self.standings = vec![Standing { seen: found.clone(), kept: found }];
                true
            }
            Err(why) => {
                if self.befallen() == fired {
                    self.violations.push(Violation::new(Kind::FailedOpen, why));
                }
                self.refused += 1;
                false
            }
        }
    }

    fn close(&mut self, db: Database) {
        let fired = self.befallen();
        if let Err(error) = db.close()
            && self.befallen() == fired
            && self.stopped.is_empty()
            && self.wary.is_empty()
        {
            self.violations
                .push(Violation::new(Kind::Wrong, format!("closing failed without a cause: {error}")));
        }
    }

    /// Compares what readers see now.
    fn look(&mut self, db: &Database) {
        let fired = self.befallen();
        match Model::read(db, 10) {
            Ok(found) => self.narrow(&found, |standing| &standing.seen, "while open"),
            Err(why) if self.befallen() == fired => self.violations.push(Violation::new(Kind::Wrong, why)),
            Err(_) => self.refused += 1,
        }
    }

    /// Keeps the standings that agree with what was found.
    fn narrow(&mut self, found: &Model, side: impl Fn(&Standing) -> &Model, when: &str) {
        let (fit, unfit): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.standings).into_iter().partition(|standing| side(standing) == found);
        self.standings = fit;
        if self.standings.is_empty() {
            let mut differences =
                unfit.first().map(|standing| side(standing).compare(found)).unwrap_or_default();
            differences.truncate(2);
            for difference in &mut differences {
                difference.text = format!("{when}: {} (of {} possible states)", difference.text, unfit.len());
            }
            self.violations.extend(differences);
            self.standings = vec![Standing { seen: found.clone(), kept: found.clone() }];
        }
    }

    /// Draws the conclusions of an operation and its outcome.
    fn settle(&mut self, op: &Op, outcome: &Outcome, befell: &[Blamed]) {
        let place = self.place(op);
        let stopped = self.stopped.contains(&place);
        let Outcome::Failed(why) = outcome else {
            if stopped && matches!(op, Op::Sync(_)) {
                // It promises nothing new.
                return;
            }
            if stopped && outcome.is_success() && self.changes(op) {
                let text = format!("'{op}' was acknowledged though the log or manifest had failed");
                self.violations.push(Violation::new(Kind::LateAck, text));
            }
            return self.done(op, outcome, befell);
        };
        self.refused += 1;
        if stopped {
            return;
        }
        if befell.is_empty() && !self.wary.contains(&place) {
            let text = format!("'{op}' failed though nothing had befallen it: {why}");
            self.violations.push(Violation::new(Kind::Wrong, text));
        }
        self.unsure(op);
        self.note_stop(place, op, befell);
    }

    /// The operation was acknowledged.
    fn done(&mut self, op: &Op, outcome: &Outcome, befell: &[Blamed]) {
        let mut answers = Vec::new();
        self.standings.retain_mut(|standing| {
            answers.push(standing.seen.run(op));
            // What changed nothing was not written either, whatever an earlier failure may have left.
            if outcome.is_success() && *outcome != Outcome::Count(0) {
                standing.keep(op);
            }
            answers.last() == Some(outcome)
        });
        if self.standings.is_empty() {
            let text = format!("'{op}': {outcome}, expected one of {answers:?}");
            self.violations.push(Violation::new(Kind::Wrong, text));
            // What is there is found at the next look.
            self.standings = Vec::new();
        }
        if befell.iter().any(Blamed::is_log) && self.changes(op) {
            let text = format!("'{op}' was acknowledged though the log failed under it");
            self.violations.push(Violation::new(Kind::LateAck, text));
        }
        self.note_stop(self.place(op), op, befell);
    }

    /// The operation failed: it did not happen, or it did, or it will have happened after the next opening.
    fn unsure(&mut self, op: &Op) {
        let mut more = Vec::new();
        for standing in &self.standings {
            let mut after = standing.clone();
            after.keep(op);
            more.push(after.clone());
            after.seen.run(op);
            more.push(after);
        }
        for standing in more {
            if !self.standings.contains(&standing) {
                self.standings.push(standing);
            }
        }
    }

    /// Takes down that nothing more may be acknowledged where the log or the manifest failed.
    fn note_stop(&mut self, place: String, op: &Op, befell: &[Blamed]) {
        let data = matches!(op, Op::Write(..) | Op::Flush(_) | Op::Sync(_));
        let stops = |blamed: &Blamed| match data {
            true => blamed.is_log() || blamed.is_switch(Phase::Manifest),
            false => blamed.is_switch(Phase::Catalog),
        };
        if befell.iter().any(stops) {
            self.stopped.push(place.clone());
            self.ever_stopped = true;
        }
        if data && befell.iter().any(Blamed::may_stop) {
            self.wary.push(place);
        }
    }

    /// The calls that something befell, after so many others.
    pub(crate) fn blamed(&self, since: u64) -> Vec<Blamed> {
        let mut blamed = self.fired.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(at) = self.lost.filter(|_| self.befallen() > 0) {
            // The disk has every sync on record.
            let calls = (0..self.rig.disk.ops()).filter_map(|op| self.rig.disk.op(op));
            let lost = calls.filter(|(call, _)| *call == Call::Sync).nth(at as usize);
            blamed.extend(lost.map(|(call, path)| Blamed { call, path, making: false }));
        }
        blamed.drain(..(since as usize).min(blamed.len()));
        blamed
    }

    /// The collection that an operation touches; the catalog's is empty.
    fn place(&self, op: &Op) -> String {
        match op {
            Op::Write(name, _) | Op::Flush(name) | Op::Sync(name) => {
                let aliases = self.standings.iter().find_map(|standing| standing.seen.aliases.get(name));
                aliases.unwrap_or(name).clone()
            }
            _ => String::new(),
        }
    }

    /// True if the operation, acknowledged, changes something in at least one standing.
    fn changes(&self, op: &Op) -> bool {
        self.standings.iter().any(|standing| {
            let mut after = standing.seen.clone();
            after.run(op);
            after != standing.seen
        })
    }

    /// The disk works again. What is open goes on where it may; a power cut leaves all that was acknowledged; so does closing and
    /// opening, and then everything is writable.
    pub(crate) fn finish(&mut self, db: Option<Database>) {
        self.rig.plan.disarm();
        self.rig.disk.fail_sync_after(u64::MAX);
        if let Some(db) = &db {
            self.look(db);
            self.write_everywhere(db);
        }
        self.cut();
        if let Some(db) = db {
            self.close(db);
        }
        if let Some(db) = self.open() {
            self.write_everywhere(&db);
            self.look(&db);
            // Whatever the first run left unsynced has been built upon by now.
            self.cut();
            self.close(db);
        }
    }

    /// Refused and accepted writes in every collection.
    fn write_everywhere(&mut self, db: &Database) {
        for name in db.collections() {
            let misfit = Point { vectors: Vectors::Named(Vec::new()), ..Point::new(1, Vec::new()) };
            if db.collection(&name).and_then(|collection| collection.upsert(vec![misfit])).is_ok() {
                self.violations
                    .push(Violation::new(Kind::Wrong, format!("{name} took a point without a vector")));
            }
            let some = self
                .standings
                .first()
                .and_then(|one| one.seen.collections.get(&name)?.points.keys().next().cloned());
            let op = Op::Write(name, Change::Delete(some.into_iter().collect()));
            let outcome = execute(db, &op);
            self.settle(&op, &outcome, &[]);
        }
    }

    /// Opens the disk as power cuts now may leave it.
    fn cut(&mut self) {
        let calls = self.rig.disk.ops();
        let mut replay = self.rig.disk.replay();
        for (model, seed) in [(LossModel::All, 1), (LossModel::Random, 2), (LossModel::Random, 3)] {
            self.images += 1;
            let image = replay.image(calls, model, seed);
            let found = Database::open_in(image, PLACE, SETTINGS.repeatable(seed)).map_err(|e| e.to_string());
            match found.and_then(|db| Model::read(&db, 10)) {
                Ok(found) if self.standings.iter().any(|standing| standing.kept == found) => {}
                Ok(found) => {
                    let mut wrong =
                        self.standings.first().map(|one| one.kept.compare(&found)).unwrap_or_default();
                    wrong.truncate(2);
                    wrong
                        .iter_mut()
                        .for_each(|one| one.text = format!("after a cut losing {model:?}: {}", one.text));
                    self.violations.extend(wrong);
                }
                Err(why) => {
                    let text = format!("after a cut losing {model:?}: {why}");
                    self.violations.push(Violation::new(Kind::FailedOpen, text));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_fails_but_for_files_in_the_making() {
        let shard = "collections/u/shards/0";
        let blamed = |call, path: &str, making| Blamed { call, path: format!("{shard}/{path}"), making };
        assert!(blamed(Call::Sync, "log/1.log", false).is_log());
        assert!(!blamed(Call::Write, "log/1.log", true).is_log());
        assert!(!blamed(Call::Create, "log/1.log", false).is_log());
        assert!(!blamed(Call::Write, "staging/1/ids", false).is_log());
        assert!(!blamed(Call::Write, "replace-0.tmp", false).is_switch(Phase::Manifest));
        let switch = Blamed { call: Call::SyncDir, path: shard.to_owned(), making: false };
        assert!(switch.is_switch(Phase::Manifest) && !switch.is_switch(Phase::Catalog));
    }

    #[test]
    fn a_failed_operation_leaves_three_ways_to_stand() {
        let mut trial = Trial::new(&[]);
        let op = Op::Create("c0".to_owned(), nearfield::CollectionConfig::new(1, nearfield::Metric::Dot));
        trial.unsure(&op);
        assert_eq!(trial.standings.len(), 3);
        let there = trial.standings[2].seen.clone();
        trial.narrow(&there, |standing| &standing.seen, "now");
        assert_eq!((trial.standings.len(), trial.violations.len()), (1, 0));
        assert_eq!(trial.standings[0].kept, there);
    }
}
