//! Power cuts: one run of a workload in memory, then the disk as it may be after any of its calls, again and again.
//!
//! Each image is opened as a database of its own and compared with the `History` of the run: what had to survive (acknowledged
//! in `sync`, or covered by a sync the database told of in `process`), what may have (begun), and in which order. Some images
//! are opened on a disk whose power is cut again, during or after the repair.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearfield::{Database, Durability, Point, Seq};
use nearfield_platform::{
    Dir, Entropy, FaultPlan, Faults, FaultyDir, LossModel, MemoryDir, Replay, SeededEntropy,
};

use crate::answers;
use crate::history::{History, PLACE};
use crate::model::{Model, Outcome};
use crate::report::{Kind, Report, Tally, Violation};
use crate::sabotage::Lie;
use crate::settings::Settings;
use crate::workload::{Op, Size, Stream, World, derive, execute, one_of};

const SIZE: Size = Size { keys: 10, batch: 16, dim: 4 };
/// Images drawn of one run.
const IMAGES_A_RUN: u64 = 400;
/// One image in so many is cut a second time, this often.
const AGAIN_ONE_IN: u64 = 16;
const AGAIN_IMAGES: u64 = 3;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many images at least.
    pub images: u64,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
    /// How the engine is broken, to see whether it is noticed. Stops at the first violation.
    pub lie: Option<Lie>,
}

#[derive(Debug, Default)]
struct Figures {
    runs: u64,
    operations: u64,
    calls: u64,
    images: u64,
    /// By loss model, in the order of [`LossModel::ALL`].
    by_model: [u64; LossModel::ALL.len()],
    again: u64,
    slowest_open: Duration,
    tally: Tally,
}

impl Figures {
    fn merge(&mut self, other: Figures) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.calls += other.calls;
        self.images += other.images;
        self.by_model.iter_mut().zip(other.by_model).for_each(|(sum, more)| *sum += more);
        self.again += other.again;
        self.slowest_open = self.slowest_open.max(other.slowest_open);
        self.tally.merge(other.tally);
    }
}

/// Draws as many images as planned and judges each.
pub fn run(plan: &Plan) -> Report {
    let started = Instant::now();
    let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
    let runs = plan.images.div_ceil(IMAGES_A_RUN);
    let work = || {
        let mut figures = Figures::default();
        loop {
            let run = next.fetch_add(1, Ordering::SeqCst);
            if run >= runs || (plan.lie.is_some() && found.load(Ordering::SeqCst)) {
                return figures;
            }
            one_run(plan, plan.seed.wrapping_add(run), &mut figures);
            found.fetch_or(figures.tally.total() > 0, Ordering::SeqCst);
        }
    };
    let mut figures = Figures::default();
    std::thread::scope(|scope| {
        // A lie is told by the whole process, so nobody may be at something else meanwhile.
        let count = if plan.lie.is_some() { 1 } else { plan.threads.max(1) };
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(more) => figures.merge(more),
                Err(_) => figures.tally.add(&[Violation::new(Kind::Wrong, "a thread panicked")], "see above"),
            }
        }
    });
    let mut report = Report::new("crash images", figures.tally);
    report.figure("images", figures.images);
    for (model, count) in LossModel::ALL.iter().zip(figures.by_model) {
        report.figure(format!("images losing: {model:?}").to_lowercase(), count);
    }
    report.figure("images of a second cut", figures.again);
    report.figure("runs", figures.runs);
    report.figure("operations", figures.operations);
    report.figure("calls of the directory", figures.calls);
    report.figure("slowest opening (ms)", figures.slowest_open.as_millis() as u64);
    report.figure("seconds", started.elapsed().as_secs());
    report
}

/// A disk in memory, and what stands between it and the engine.
pub(crate) struct Rig {
    pub(crate) disk: Arc<FaultyDir>,
    pub(crate) plan: Arc<FaultPlan>,
    pub(crate) dir: Arc<dyn Dir>,
}

impl Rig {
    /// An empty disk.
    pub(crate) fn new(lie: Option<Lie>) -> Rig {
        Rig::over(FaultyDir::new(), lie)
    }

    fn over(disk: Arc<FaultyDir>, lie: Option<Lie>) -> Rig {
        let plan = FaultPlan::new();
        if let Some(skipped) = lie.and_then(Lie::skipped) {
            plan.sabotage(skipped, true);
        }
        let dir = Faults::new(Arc::clone(&disk) as Arc<dyn Dir>, Arc::clone(&plan)) as Arc<dyn Dir>;
        Rig { disk, plan, dir }
    }
}

fn one_run(plan: &Plan, seed: u64, figures: &mut Figures) {
    let world = Arc::new(World::new(seed, SIZE));
    let rig = Rig::new(plan.lie);
    let place = |what: String| {
        let lie = plan.lie.map(|lie| format!(" --sabotage {}", lie.name())).unwrap_or_default();
        format!("again: cargo xtask crash --images {IMAGES_A_RUN} --seed {seed}{lie} ({what})")
    };
    let told = plan.lie.filter(|lie| lie.is_of_the_writer()).map(Lie::guard);
    let history = match work(&rig, &world, seed) {
        Ok(history) => history,
        Err(violation) => return figures.tally.add(&[violation], place("while it ran".to_owned())),
    };
    drop(told);
    // Recovery lies only where the power was cut: that it does is what must be found.
    let _told = plan.lie.map(Lie::guard);
    figures.runs += 1;
    figures.operations += history.operations;
    figures.calls += rig.disk.ops() as u64;
    let mut replay = rig.disk.replay();
    for (number, ops) in cuts(&replay, seed).into_iter().enumerate() {
        let model = LossModel::ALL[number % LossModel::ALL.len()];
        let image_seed = derive(seed, 100 + number as u64);
        let image = replay.image(ops, model, image_seed);
        figures.images += 1;
        figures.by_model[number % LossModel::ALL.len()] += 1;
        let judge = Judge { world: &world, history: &history, seed: image_seed };
        let violations = if (number as u64 / 4).is_multiple_of(AGAIN_ONE_IN) {
            again(&judge, ops, image, plan.lie, figures)
        } else {
            judge.image(ops, image, figures).err().unwrap_or_default()
        };
        if !violations.is_empty() {
            let last = ops.checked_sub(1).and_then(|op| replay.op(op));
            figures.tally.add(
                &violations,
                place(format!("image {number}, cut after call {ops}, {last:?}, losing {model:?}")),
            );
            if plan.lie.is_some() {
                return;
            }
        }
    }
}

/// Where the power is cut: everywhere alike, in order, four times in each place.
fn cuts(replay: &Replay, seed: u64) -> Vec<usize> {
    let random = SeededEntropy::new(derive(seed, 9));
    let places = IMAGES_A_RUN as usize / LossModel::ALL.len();
    let mut cuts: Vec<usize> = (0..places).map(|_| 1 + random.below(replay.ops() as u64) as usize).collect();
    cuts.sort_unstable();
    cuts.into_iter().flat_map(|cut| [cut; LossModel::ALL.len()]).collect()
}

/// Runs the workload of `seed` and takes down when what was begun, acknowledged and synced.
fn work(rig: &Rig, world: &Arc<World>, seed: u64) -> Result<History, Violation> {
    let random = SeededEntropy::new(derive(seed, 5));
    let stream = &Stream::all(world, derive(seed, 6), 1)[0];
    let count = 40 + random.below(60);
    let open = || {
        let settings = small(&random);
        let opened = Database::open_in(Arc::clone(&rig.dir), PLACE, settings.repeatable(random.u64()));
        opened
            .map(|db| (db, settings))
            .map_err(|e| Violation::new(Kind::FailedOpen, format!("{e} ({settings})")))
    };
    let mut history = History::default();
    let (mut db, mut settings) = open()?;
    for n in 0..count {
        let op = stream.op(n);
        history.begin(&op, rig.disk.ops());
        let outcome = match op {
            Op::Reopen => {
                db.close().map_err(|e| Violation::new(Kind::Wrong, format!("closing failed: {e}")))?;
                history.closed(rig.disk.ops());
                (db, settings) = open()?;
                Outcome::Done
            }
            _ => execute(&db, &op),
        };
        if outcome != history.expected() {
            let text = format!("operation {n}, '{op}': {outcome}, expected {}", history.expected());
            return Err(Violation::new(Kind::Wrong, text));
        }
        history.end(&op, rig.disk.ops(), &db, settings.durability);
        if settings.background && n % 10 == 0 {
            // Time for its threads: they look around every 20 ms.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(history)
}

/// Settings for databases of a few dozen points.
fn small(random: &SeededEntropy) -> Settings {
    Settings {
        durability: if random.below(3) == 0 { Durability::Process } else { Durability::Sync },
        background: random.below(8) == 0,
        head_rows_max: one_of(random, &[5, 20, 60]),
        head_bytes_max: one_of(random, &[1 << 10, 1 << 30]),
        log_bytes_max: one_of(random, &[2 << 10, 16 << 10, 1 << 30]),
    }
}

/// Knows what an image must hold.
struct Judge<'a> {
    world: &'a World,
    history: &'a History,
    seed: u64,
}

impl Judge<'_> {
    /// Opens an image of the disk after `ops` calls and judges it; answers what it holds.
    fn image(
        &self,
        ops: usize,
        image: Arc<MemoryDir>,
        figures: &mut Figures,
    ) -> Result<Model, Vec<Violation>> {
        let (db, found, random) = self.open(ops, image, figures)?;
        self.questions(&db, &found, &random).map_err(|violation| vec![violation])?;
        if random.below(4) == 0 {
            self.next_seq(&db, &found, ops).map_err(|violation| vec![violation])?;
        }
        Ok(found)
    }

    /// Opens the database, reads it whole, and compares it with the history.
    fn open(
        &self,
        ops: usize,
        dir: Arc<dyn Dir>,
        figures: &mut Figures,
    ) -> Result<(Database, Model, SeededEntropy), Vec<Violation>> {
        let random = SeededEntropy::new(self.seed);
        let mut settings = small(&random);
        settings.background = false;
        let failed =
            |e: nearfield::Error| vec![Violation::new(Kind::FailedOpen, format!("{e} ({settings})"))];
        let opening = Instant::now();
        let db = Database::open_in(dir, PLACE, settings.repeatable(random.u64())).map_err(failed)?;
        for name in db.collections() {
            db.collection(&name).map_err(failed)?;
        }
        figures.slowest_open = figures.slowest_open.max(opening.elapsed());
        let page = 1 + random.below(50) as usize;
        let found = Model::read(&db, page).map_err(|why| vec![Violation::new(Kind::Wrong, why)])?;
        self.history.judge(ops, &found)?;
        Ok((db, found, random))
    }

    fn questions(&self, db: &Database, found: &Model, random: &SeededEntropy) -> Result<(), Violation> {
        let ids: Vec<_> = self.world.ids().collect();
        for (name, contents) in &found.collections {
            let wrong = |why| Violation::new(Kind::Wrong, format!("{name}: {why}"));
            let collection =
                db.collection(name).map_err(|e| Violation::new(Kind::FailedOpen, e.to_string()))?;
            answers::check(&collection, contents, &ids, random).map_err(wrong)?;
        }
        Ok(())
    }

    /// A Seq that anybody can have seen before the cut never comes again.
    fn next_seq(&self, db: &Database, found: &Model, ops: usize) -> Result<(), Violation> {
        for name in found.collections.keys() {
            let Some(seen) = self.history.last_seq(name, found, ops) else { continue };
            let next = write_one(db, self.world, name)?;
            if next <= seen {
                let text =
                    format!("{name}: {next} was given out again, {seen} may have been seen before the cut");
                return Err(Violation::new(Kind::ReusedSeq, text));
            }
        }
        Ok(())
    }
}

/// The one point that is written into a database after a cut.
fn addition(world: &World, name: &str) -> Op {
    let named = world
        .config(name)
        .vectors()
        .map(|(vector, config)| (vector.to_owned(), vec![1.0; config.dim as usize]));
    let vectors = nearfield::Vectors::Named(named.collect());
    let point = Point { id: "after the cut".into(), vectors, payload: nearfield::Object::new() };
    Op::Write(name.to_owned(), crate::workload::Change::Upsert(vec![point]))
}

fn write_one(db: &Database, world: &World, name: &str) -> Result<Seq, Violation> {
    let Op::Write(_, crate::workload::Change::Upsert(points)) = addition(world, name) else {
        return Err(Violation::new(Kind::Wrong, "the addition is no upsert"));
    };
    let written = db.collection(name).and_then(|collection| collection.upsert(points));
    written.map_err(|e| Violation::new(Kind::Wrong, format!("{name}: writing after the cut failed: {e}")))
}

/// Opens an image on a disk whose power is cut too, while it is repaired or after one more write. What the first opening found
/// must be found again.
fn again(
    judge: &Judge<'_>,
    ops: usize,
    image: Arc<MemoryDir>,
    lie: Option<Lie>,
    figures: &mut Figures,
) -> Vec<Violation> {
    let rig = Rig::over(FaultyDir::over(image), lie);
    let (db, found, random) = match judge.open(ops, Arc::clone(&rig.dir), figures) {
        Ok(opened) => opened,
        Err(violations) => return violations,
    };
    let mut history = History::of(&found);
    if let Some(name) = found.collections.keys().next().cloned() {
        let op = addition(judge.world, &name);
        history.begin(&op, rig.disk.ops());
        if let Err(violation) = write_one(&db, judge.world, &name).and_then(|_| {
            let synced = db.collection(&name).and_then(|collection| collection.sync());
            synced.map_err(|e| {
                Violation::new(Kind::Wrong, format!("{name}: syncing after the cut failed: {e}"))
            })
        }) {
            return vec![violation];
        }
        history.end(&op, rig.disk.ops(), &db, Durability::Sync);
    }
    let mut replay = rig.disk.replay();
    drop(db);
    for number in 0..AGAIN_IMAGES {
        let cut = random.below(replay.ops() as u64 + 1) as usize;
        let model = one_of(&random, &LossModel::ALL);
        let seed = random.u64();
        figures.images += 1;
        figures.again += 1;
        let second = Judge { world: judge.world, history: &history, seed };
        if let Err(mut violations) = second.image(cut, replay.image(cut, model, seed), figures) {
            let last = cut.checked_sub(1).and_then(|op| replay.op(op));
            for violation in &mut violations {
                let text = &violation.text;
                violation.text =
                    format!("{text} (second cut {number}, after call {cut}, {last:?}, losing {model:?})");
            }
            return violations;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_images_of_the_engine_as_it_is_hold() {
        let report = run(&Plan { images: IMAGES_A_RUN, seed: 1, threads: 1, lie: None });
        assert!(report.passed(), "{report}");
    }

    #[test]
    fn cuts_are_ordered_and_lie_within() {
        let disk = FaultyDir::new();
        disk.make_dir("a").unwrap();
        disk.sync_dir("").unwrap();
        let cuts = cuts(&disk.replay(), 3);
        assert_eq!(cuts.len() as u64, IMAGES_A_RUN);
        assert!(cuts.is_sorted() && cuts.iter().all(|cut| (1..=2).contains(cut)));
    }
}
