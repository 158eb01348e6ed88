//! A disk that fails: one short run, repeated with a fault at every call of the directory in turn, in each of several ways.
//!
//! Every operation must end in the right answer or an error; nothing is acknowledged after a failed log or manifest until the
//! database is opened again; and then, as after a power cut, all that was acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nearfield::{Database, Durability, Point};
use nearfield_platform::{Action, Call, Fault, LossModel};

use crate::history::PLACE;
use crate::images::Rig;
use crate::model::{Model, Outcome};
use crate::report::{Kind, Report, Tally, Violation};
use crate::settings::Settings;
use crate::watch::Phase;
use crate::workload::{BASE, Change, Op, Size, Stream, World, derive, execute};

const SIZE: Size = Size { keys: 5, batch: 8, dim: 3 };
const OPS: u64 = 28;
/// Reading is tried after every so many operations, and after every failed one.
const READ_EVERY: u64 = 5;

/// Ways in which things may stand at most.
const STANDINGS_MAX: usize = 30;

const SETTINGS: Settings = Settings {
    durability: Durability::Sync,
    background: false,
    head_rows_max: 12,
    head_bytes_max: 1 << 30,
    log_bytes_max: 4 << 10,
};

/// What befalls the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// One call fails.
    Once(Fault),
    /// All calls fail from one on.
    Lasting(Fault),
    /// No room from one call on, until the end of the run.
    Full,
    /// A sync fails, and the system takes the bytes it did not write for written.
    LostPages,
}

const BLOWS: [Blow; 9] = [
    Blow::Once(Fault::Io),
    Blow::Once(Fault::NoSpace),
    Blow::Once(Fault::Interrupted),
    Blow::Once(Fault::Quota),
    Blow::Once(Fault::TooManyFiles),
    Blow::Once(Fault::ShortWrite),
    Blow::Lasting(Fault::Io),
    Blow::Full,
    Blow::LostPages,
];

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
}

#[derive(Debug, Default)]
struct Figures {
    runs: u64,
    fired: u64,
    refused: u64,
    stopped: u64,
    images: u64,
    tally: Tally,
}

/// Repeats the run with every fault at every call.
pub fn run(plan: &Plan) -> Report {
    let started = Instant::now();
    let world = Arc::new(World::new(plan.seed, SIZE));
    let ops: Vec<Op> = {
        let stream = &Stream::all(&world, derive(plan.seed, 1), 1)[0];
        (0..OPS).map(|n| stream.op(n)).chain([Op::Reopen]).collect()
    };
    let (calls, syncs) = {
        let mut rehearsal = Trial::new(&ops);
        rehearsal.run();
        (rehearsal.rig.plan.calls(), rehearsal.rig.plan.calls_of(Call::Sync))
    };
    let trials: Vec<(u64, Blow)> = BLOWS
        .into_iter()
        .flat_map(|blow| (0..if blow == Blow::LostPages { syncs } else { calls }).map(move |at| (at, blow)))
        .collect();
    let next = AtomicU64::new(0);
    let work = || {
        let mut figures = Figures::default();
        while let Some(&(at, blow)) = trials.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
            let mut trial = Trial::new(&ops);
            trial.arm(at, blow);
            trial.run();
            let call = trial.blamed();
            trial.finish();
            figures.runs += 1;
            figures.fired += u64::from(trial.befallen() > 0);
            figures.refused += trial.refused;
            figures.stopped += u64::from(trial.ever_stopped);
            figures.images += trial.images;
            figures
                .tally
                .add(&trial.violations, format!("{blow:?} at call {at}: {call:?}, seed {}", plan.seed));
        }
        figures
    };
    let mut sum = Figures::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(more) => {
                    sum.runs += more.runs;
                    sum.fired += more.fired;
                    sum.refused += more.refused;
                    sum.stopped += more.stopped;
                    sum.images += more.images;
                    sum.tally.merge(more.tally);
                }
                Err(_) => sum.tally.add(&[Violation::new(Kind::Wrong, "a thread panicked")], "see above"),
            }
        }
    });
    let mut report = Report::new("failing disk", sum.tally);
    report.figure("calls of the run", calls);
    report.figure("ways to fail", BLOWS.len());
    report.figure("runs", sum.runs);
    report.figure("runs in which something failed", sum.fired);
    report.figure("operations refused", sum.refused);
    report.figure("collections stopped", sum.stopped);
    report.figure("power cuts afterwards", sum.images);
    report.figure("seconds", started.elapsed().as_secs());
    report
}

/// One way in which things may stand: what readers see, and what the next opening finds.
#[derive(Clone, Debug, PartialEq)]
struct Standing {
    seen: Model,
    kept: Model,
}

/// One run with one fault.
struct Trial<'a> {
    ops: &'a [Op],
    rig: Rig,
    /// The sync that fails at [`Blow::LostPages`].
    lost: Option<u64>,
    /// The call that something befell last.
    fired: Arc<std::sync::Mutex<Option<Blamed>>>,
    standings: Vec<Standing>,
    /// Names under which nothing may be acknowledged until the next opening; the catalog's is empty.
    stopped: Vec<String>,
    /// Names under which writes may be refused until then.
    wary: Vec<String>,
    ever_stopped: bool,
    refused: u64,
    images: u64,
    violations: Vec<Violation>,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blamed {
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

    /// True if a collection's manifest was being replaced.
    fn is_manifest(&self) -> bool {
        let does = matches!(
            self.call,
            Call::Create | Call::Write | Call::Sync | Call::Seal | Call::Overwrite | Call::SyncDir
        );
        Phase::of(&self.path) == Phase::Manifest && does
    }

    /// True if the catalog was replaced and may not stay so. Whatever fails before is known to have changed nothing.
    fn is_catalog(&self) -> bool {
        Phase::of(&self.path) == Phase::Catalog && self.call == Call::SyncDir
    }

    /// True if a careful collection may take no more writes after it, though it need not.
    fn may_stop(&self) -> bool {
        matches!(Phase::of(&self.path), Phase::Append | Phase::Manifest)
    }
}

impl<'a> Trial<'a> {
    fn new(ops: &'a [Op]) -> Trial<'a> {
        let rig = Rig::new(None);
        let fired = Arc::new(std::sync::Mutex::new(None));
        let (tell, disk) = (Arc::clone(&fired), Arc::clone(&rig.disk));
        rig.plan.on_fire(move |call, path| {
            let before = disk.ops().checked_sub(1).and_then(|last| disk.op(last));
            let making = call == Call::Write && before == Some((Call::Reserve, path.to_owned()));
            let blamed = Blamed { call, path: path.to_owned(), making };
            *tell.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(blamed);
        });
        let empty = Standing { seen: Model::default(), kept: Model::default() };
        Trial {
            ops,
            rig,
            lost: None,
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

    fn arm(&mut self, at: u64, blow: Blow) {
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

    fn run(&mut self) {
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
            let befell = self.befallen() != fired;
            self.settle(op, &outcome, befell);
            if befell || n as u64 % READ_EVERY == 0 {
                self.look(db);
            }
        }
        if let Some(db) = db {
            self.close(db);
        }
    }

    /// How much befell the disk so far.
    fn befallen(&self) -> u64 {
        let lost = self.lost.is_some_and(|at| self.rig.plan.calls_of(Call::Sync) > at);
        self.rig.plan.fired() + u64::from(lost)
    }

    fn open(&mut self) -> Option<Database> {
        for _ in 0..2 {
            let fired = self.befallen();
            match Database::open_in(Arc::clone(&self.rig.dir), PLACE, SETTINGS.repeatable(7)) {
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
    fn settle(&mut self, op: &Op, outcome: &Outcome, befell: bool) {
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
        if !befell && !self.wary.contains(&place) {
            let text = format!("'{op}' failed though nothing had befallen it: {why}");
            self.violations.push(Violation::new(Kind::Wrong, text));
        }
        self.unsure(op);
        if befell {
            self.note_stop(place, op);
        }
    }

    /// The operation was acknowledged.
    fn done(&mut self, op: &Op, outcome: &Outcome, befell: bool) {
        let mut answers = Vec::new();
        self.standings.retain_mut(|standing| {
            answers.push(standing.seen.run(op));
            if outcome.is_success() {
                standing.kept.run(op);
            }
            answers.last() == Some(outcome)
        });
        if self.standings.is_empty() {
            let text = format!("'{op}': {outcome}, expected one of {answers:?}");
            self.violations.push(Violation::new(Kind::Wrong, text));
            // What is there is found at the next look.
            self.standings = Vec::new();
        }
        if befell && self.blamed().is_some_and(|blamed| blamed.is_log()) && self.changes(op) {
            let text = format!("'{op}' was acknowledged though the log failed under it");
            self.violations.push(Violation::new(Kind::LateAck, text));
        }
        if befell {
            let place = self.place(op);
            self.note_stop(place, op);
        }
    }

    /// The operation failed: it did not happen, or it did, or it will have happened after the next opening.
    fn unsure(&mut self, op: &Op) {
        let mut more = Vec::new();
        for standing in &self.standings {
            let mut after = standing.clone();
            after.kept.run(op);
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
    fn note_stop(&mut self, place: String, op: &Op) {
        let Some(blamed) = self.blamed() else { return };
        let data = matches!(op, Op::Write(..) | Op::Flush(_) | Op::Sync(_));
        let stops = if data { blamed.is_log() || blamed.is_manifest() } else { blamed.is_catalog() };
        if stops {
            self.stopped.push(place.clone());
            self.ever_stopped = true;
        }
        if data && blamed.may_stop() {
            self.wary.push(place);
        }
    }

    fn blamed(&self) -> Option<Blamed> {
        if let Some(at) = self.lost.filter(|_| self.befallen() > 0) {
            // The disk has every sync on record.
            let calls = (0..self.rig.disk.ops()).filter_map(|op| self.rig.disk.op(op));
            let (call, path) = calls.filter(|(call, _)| *call == Call::Sync).nth(at as usize)?;
            return Some(Blamed { call, path, making: false });
        }
        self.fired.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The collection that an operation touches; the catalog's is empty.
    fn place(&self, op: &Op) -> String {
        match op {
            Op::Write(name, _) | Op::Flush(name) | Op::Sync(name) => {
                let aliases = self.standings.first().map(|standing| &standing.seen.aliases);
                aliases.and_then(|aliases| aliases.get(name)).unwrap_or(name).clone()
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

    /// The disk works again: the database is opened, read and written; and the same on a disk whose power was cut.
    fn finish(&mut self) {
        let calls = self.rig.disk.ops();
        self.rig.plan.disarm();
        self.rig.disk.fail_sync_after(u64::MAX);
        let mut replay = self.rig.disk.replay();
        for (model, seed) in [(LossModel::All, 1), (LossModel::Random, 2), (LossModel::Random, 3)] {
            self.images += 1;
            let image = replay.image(calls, model, seed);
            let found = Database::open_in(image, PLACE, SETTINGS.repeatable(8)).map_err(|e| e.to_string());
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
        let Some(db) = self.open() else { return };
        let ids = |name: &str| {
            db.collection(name).and_then(|collection| collection.upsert(vec![Point::new(1, Vec::new())]))
        };
        // A point that does not fit is refused and harms nothing.
        for name in BASE.iter().filter(|name| db.collections().iter().any(|known| known == *name)) {
            if ids(name).is_ok() {
                self.violations
                    .push(Violation::new(Kind::Wrong, format!("{name} took a point without numbers")));
            }
        }
        for name in db.collections() {
            let op = Op::Write(name, Change::Delete(vec![1.into()]));
            let outcome = execute(&db, &op);
            self.settle(&op, &outcome, false);
        }
        self.close(db);
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
        assert!(blamed(Call::Overwrite, "MANIFEST-00000000000000000002", false).is_manifest());
        assert!(!blamed(Call::Remove, "MANIFEST-00000000000000000002", false).is_manifest());
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
