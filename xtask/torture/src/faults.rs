//! A disk that fails: one short run, repeated with a fault at every call of the directory in turn, in each of several ways.
//!
//! Every operation must end in the right answer or an error; nothing is acknowledged after a failed log or manifest until the
//! database is opened again; and then, as after a power cut, all that was acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use nearfield_platform::{Call, Fault};

use crate::report::{Kind, Report, Tally, Violation};
use crate::trial::Trial;
use crate::workload::{Op, Size, Stream, World, derive};

const SIZE: Size = Size { keys: 5, batch: 8, dim: 3 };
/// Operations of one run.
const OPS: u64 = 28;

/// What befalls the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
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
    /// How many different runs are repeated with every fault.
    pub workloads: u64,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
}

#[derive(Debug, Default)]
struct Figures {
    calls: u64,
    runs: u64,
    fired: u64,
    refused: u64,
    stopped: u64,
    images: u64,
    tally: Tally,
}

impl Figures {
    fn merge(&mut self, other: Figures) {
        self.calls += other.calls;
        self.runs += other.runs;
        self.fired += other.fired;
        self.refused += other.refused;
        self.stopped += other.stopped;
        self.images += other.images;
        self.tally.merge(other.tally);
    }
}

/// Repeats each run with every fault at every call.
pub fn run(plan: &Plan) -> Report {
    let started = Instant::now();
    let mut sum = Figures::default();
    for workload in 0..plan.workloads {
        sum.merge(sweep(plan.seed.wrapping_add(workload), plan.threads));
    }
    let mut report = Report::new("failing disk", sum.tally);
    report.figure("workloads", plan.workloads);
    report.figure("calls that may fail", sum.calls);
    report.figure("ways to fail", BLOWS.len());
    report.figure("runs", sum.runs);
    report.figure("runs in which something failed", sum.fired);
    report.figure("operations refused", sum.refused);
    report.figure("collections stopped", sum.stopped);
    report.figure("power cuts afterwards", sum.images);
    report.figure("seconds", started.elapsed().as_secs());
    report
}

/// All faults of one workload.
fn sweep(seed: u64, threads: usize) -> Figures {
    let world = Arc::new(World::new(seed, SIZE));
    let stream = &Stream::all(&world, derive(seed, 1), 1)[0];
    let ops: Vec<Op> = (0..OPS).map(|n| stream.op(n)).chain([Op::Reopen]).collect();
    let (calls, syncs) = {
        let mut rehearsal = Trial::new(&ops);
        rehearsal.run();
        (rehearsal.rig.plan.calls(), rehearsal.rig.plan.calls_of(Call::Sync))
    };
    let ends = |blow| if blow == Blow::LostPages { syncs } else { calls };
    let trials: Vec<(u64, Blow)> =
        BLOWS.iter().flat_map(|&blow| (0..ends(blow)).map(move |at| (at, blow))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut figures = Figures::default();
        while let Some(&(at, blow)) = trials.get(next.fetch_add(1, Ordering::SeqCst)) {
            one(&ops, at, blow, seed, &mut figures);
        }
        figures
    };
    let mut sum = Figures { calls, ..Figures::default() };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(more) => sum.merge(more),
                Err(_) => sum.tally.add(&[Violation::new(Kind::Wrong, "a thread panicked")], "see above"),
            }
        }
    });
    sum
}

fn one(ops: &[Op], at: u64, blow: Blow, seed: u64, figures: &mut Figures) {
    let mut trial = Trial::new(ops);
    trial.arm(at, blow);
    let db = trial.run();
    let blamed = trial.blamed(0).into_iter().next();
    figures.runs += 1;
    figures.fired += u64::from(trial.befallen() > 0);
    trial.finish(db);
    figures.refused += trial.refused;
    figures.stopped += u64::from(trial.ever_stopped);
    figures.images += trial.images;
    let place =
        format!("again: cargo xtask crash --faults 1 --seed {seed} ({blow:?} at call {at}: {blamed:?})");
    figures.tally.add(&trial.violations, place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_of_the_engine_as_it_is_finds_nothing() {
        let world = Arc::new(World::new(4, SIZE));
        let stream = &Stream::all(&world, 5, 1)[0];
        let ops: Vec<Op> = (0..OPS).map(|n| stream.op(n)).collect();
        let mut figures = Figures::default();
        for (number, blow) in BLOWS.into_iter().enumerate() {
            (number as u64..200).step_by(23).for_each(|at| one(&ops, at, blow, 5, &mut figures));
        }
        assert!(figures.tally.shown().is_empty(), "{:?}", figures.tally.shown());
        assert!(figures.fired > 50 && figures.refused > figures.fired / 2, "{figures:?}");
    }
}
