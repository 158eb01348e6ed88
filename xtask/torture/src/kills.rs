//! Processes killed while they write, and the judge outside who knows what each had acknowledged.
//!
//! A round is one directory that lives through several kills. Half of the victims are killed by this process at a random moment,
//! half by themselves around a chosen call. A killed process leaves the page cache behind, so `process` durability must hold as
//! `sync` does. The directory is judged as a copy; half of the time the copy takes its place, so that processes also find what a
//! crash left and nobody has repaired yet.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nearfield::Database;
use nearfield_platform::{Entropy, Moment, SeededEntropy};

use crate::answers;
use crate::child::{Line, streams};
use crate::model::Model;
use crate::report::{Kind, Report, Tally, Violation};
use crate::sabotage::Lie;
use crate::settings::Settings;
use crate::watch::{Phase, Target, Watched};
use crate::workload::{Op, Size, World, derive, one_of};

/// How much there is in the databases of this test.
pub const SIZE: Size = Size { keys: 120, batch: 200, dim: 16 };

/// Kills that one directory lives through.
const KILLS_A_ROUND: u64 = 8;
/// A child that has not opened by then is judged to hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// A child that has not met its target by then is killed from outside.
const TARGET_WITHIN: Duration = Duration::from_millis(400);
/// Of all kills, this share at least must land in each of the three phases that matter.
const SHARE_MIN: f64 = 0.1;
const SHARED: [Phase; 3] = [Phase::Append, Phase::Seal, Phase::Manifest];

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many kills.
    pub kills: u64,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Where the databases lie; a temporary folder otherwise.
    pub dir: Option<PathBuf>,
    /// How the engine is broken, to see whether it is noticed. Stops at the first violation.
    pub lie: Option<Lie>,
    /// Whether the directory of a violation is kept.
    pub keep: bool,
}

#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    from_inside: u64,
    by_phase: BTreeMap<&'static str, u64>,
    begun: u64,
    acknowledged: u64,
    settled: [u64; 2],
    slowest_open: Duration,
    points: usize,
    tally: Tally,
}

/// Kills as often as planned and judges after each.
///
/// # Errors
///
/// If the machine does not play along: no folder, no child.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let started = Instant::now();
    let mut figures = Figures::default();
    for round in 0.. {
        if figures.kills >= plan.kills || (plan.lie.is_some() && figures.tally.total() > 0) {
            break;
        }
        Round::new(plan, plan.seed.wrapping_add(round))?.run(plan, &mut figures)?;
    }
    Ok(report(plan, figures, started.elapsed()))
}

fn report(plan: &Plan, figures: Figures, took: Duration) -> Report {
    let mut report = Report::new("killed processes", figures.tally);
    report.figure("kills", figures.kills);
    report.figure("kills from inside", figures.from_inside);
    for phase in Phase::ALL {
        let count = figures.by_phase.get(phase.name()).copied().unwrap_or(0);
        report.figure(format!("kills in: {}", phase.name()), count);
        // A handful of kills proves nothing about shares.
        if SHARED.contains(&phase) && plan.kills >= 100 && (count as f64) < SHARE_MIN * figures.kills as f64 {
            let text = format!("only {count} of {} kills landed in {}", figures.kills, phase.name());
            report.shortcomings.push(text);
        }
    }
    report.figure("operations begun", figures.begun);
    report.figure("operations acknowledged", figures.acknowledged);
    report.figure("unacknowledged and there", figures.settled[1]);
    report.figure("unacknowledged and not there", figures.settled[0]);
    report.figure("most points in a database", figures.points);
    report.figure("slowest reopening (ms)", figures.slowest_open.as_millis() as u64);
    report.figure("seconds", took.as_secs());
    report
}

/// One directory and its life.
struct Round {
    seed: u64,
    world: Arc<World>,
    /// Removed when dropped, unless something was found.
    place: tempfile::TempDir,
    model: Model,
}

/// What a victim said before it died.
struct Session {
    seed: u64,
    lines: Vec<Line>,
    /// None if it was killed, else how it ended.
    ended: Option<String>,
    from_inside: bool,
    hung: bool,
}

impl Round {
    fn new(plan: &Plan, seed: u64) -> Result<Round, String> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("nearfield-crash-");
        let place = match &plan.dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        let place = place.map_err(|e| format!("no temporary folder: {e}"))?;
        std::fs::create_dir_all(place.path().join("db"))
            .map_err(|e| format!("no folder for the database: {e}"))?;
        Ok(Round { seed, world: Arc::new(World::new(seed, SIZE)), place, model: Model::default() })
    }

    fn run(mut self, plan: &Plan, figures: &mut Figures) -> Result<(), String> {
        // Sessions that end by themselves do not count, but must not go on for ever either.
        for number in 0..2 * KILLS_A_ROUND {
            let kills = figures.kills;
            if number >= KILLS_A_ROUND || kills >= plan.kills {
                break;
            }
            let session = self.session(plan, number)?;
            let phase = Watched::last_word(&self.note());
            if session.ended.is_none() {
                figures.kills += 1;
                figures.from_inside += u64::from(session.from_inside);
                *figures.by_phase.entry(phase.name()).or_default() += 1;
            }
            let violations = self.judge(&session, plan, figures);
            if !violations.is_empty() {
                let left = match plan.keep {
                    true => format!("left in {}", self.place.keep().display()),
                    false => "not kept".to_owned(),
                };
                let lie = plan.lie.map(|lie| format!(" --sabotage {}", lie.name())).unwrap_or_default();
                let place = format!(
                    "again: cargo xtask crash --kills {} --seed {}{lie} (session {number}, killed in {}, {left})",
                    number + 1,
                    self.seed,
                    phase.name(),
                );
                figures.tally.add(&violations, place);
                return Ok(());
            }
        }
        Ok(())
    }

    fn note(&self) -> PathBuf {
        self.place.path().join("note")
    }

    fn db(&self) -> PathBuf {
        self.place.path().join("db")
    }

    /// Lets a child work and kills it.
    fn session(&self, plan: &Plan, number: u64) -> Result<Session, String> {
        let seed = derive(self.seed, 1000 + number);
        let random = SeededEntropy::new(derive(seed, 3));
        let target = (number % 2 == 1).then(|| target(&random, self.seed.wrapping_add(number / 2)));
        let _ = std::fs::remove_file(self.note());
        let program = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
        let mut command = Command::new(program);
        command.arg("child").arg(self.db()).arg(self.note()).args([self.seed.to_string(), seed.to_string()]);
        command.args(target.iter().flat_map(|target| ["--target".to_owned(), target.to_string()]));
        command.args(plan.lie.iter().flat_map(|lie| ["--sabotage", lie.name()]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| format!("no child: {e}"))?;
        Victim::new(child, seed)?.watch(target, &random)
    }

    /// Compares what is there with what was acknowledged.
    fn judge(&mut self, session: &Session, plan: &Plan, figures: &mut Figures) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(how) = &session.ended {
            violations
                .push(Violation::new(Kind::Wrong, format!("the child was not killed but ended: {how}")));
        }
        if session.hung {
            let text = format!("opening took more than {} s", PATIENCE.as_secs());
            violations.push(Violation::new(Kind::FailedOpen, text));
        }
        let pending = self.replay(session, figures, &mut violations);
        if let Err(violation) = self.judge_copy(session, plan, &pending, figures, &mut violations) {
            violations.push(violation);
        }
        violations
    }

    /// Does what was acknowledged to the model; returns what was begun and not acknowledged.
    fn replay(
        &mut self,
        session: &Session,
        figures: &mut Figures,
        violations: &mut Vec<Violation>,
    ) -> Vec<Op> {
        let streams = streams(&self.world, session.seed);
        let mut pending = BTreeMap::new();
        for line in &session.lines {
            match line {
                Line::Opened => {}
                Line::Begin(stream, n) => {
                    figures.begun += 1;
                    pending.insert(*stream, streams[*stream].op(*n));
                }
                Line::Ack(stream, n, outcome) => {
                    figures.acknowledged += 1;
                    let Some(op) = pending.remove(stream) else { continue };
                    let expected = self.model.run(&op);
                    if expected != *outcome {
                        let text = format!(
                            "operation {n} of stream {stream}, '{op}': {outcome}, expected {expected}"
                        );
                        violations.push(Violation::new(Kind::Wrong, text));
                    }
                }
            }
        }
        pending.into_values().collect()
    }

    fn judge_copy(
        &mut self,
        session: &Session,
        plan: &Plan,
        pending: &[Op],
        figures: &mut Figures,
        violations: &mut Vec<Violation>,
    ) -> Result<(), Violation> {
        let random = SeededEntropy::new(derive(session.seed, 4));
        let broken =
            |e: std::io::Error| Violation::new(Kind::Wrong, format!("the directory cannot be copied: {e}"));
        let copy = self.place.path().join("copy");
        copy_tree(&self.db(), &copy).map_err(broken)?;
        let settings = Settings::draw(&random);
        let opening = Instant::now();
        let failed = |e: nearfield::Error| Violation::new(Kind::FailedOpen, format!("{e} ({settings})"));
        let told = plan.lie.map(Lie::guard);
        let db = Database::open(&copy, settings.options()).map_err(failed)?;
        for name in db.collections() {
            db.collection(&name).map_err(failed)?;
        }
        figures.slowest_open = figures.slowest_open.max(opening.elapsed());
        let found = Model::read(&db, 1 + random.below(400) as usize)
            .map_err(|why| Violation::new(Kind::Wrong, why))?;
        for op in pending {
            match self.model.settle(op, &found) {
                Ok(there) => figures.settled[usize::from(there)] += 1,
                Err(violation) => violations.push(violation),
            }
        }
        violations.extend(self.model.compare(&found));
        figures.points =
            figures.points.max(found.collections.values().map(|contents| contents.points.len()).sum());
        if violations.is_empty() {
            let ids: Vec<_> = self.world.ids().collect();
            for (name, contents) in &self.model.collections {
                let wrong = |why| Violation::new(Kind::Wrong, format!("{name}: {why}"));
                let collection = db.collection(name).map_err(failed)?;
                answers::check(&collection, contents, &ids, &random).map_err(wrong)?;
            }
        }
        db.close().map_err(|e| Violation::new(Kind::Wrong, format!("closing failed: {e}")))?;
        drop(told);
        if violations.is_empty() {
            let gone = if random.below(2) == 0 { self.db() } else { copy.clone() };
            std::fs::remove_dir_all(&gone).map_err(broken)?;
            if gone != copy {
                std::fs::rename(&copy, self.db()).map_err(broken)?;
            }
        }
        Ok(())
    }
}

/// Where the child kills itself. The phases take turns, so that each gets its share.
fn target(random: &SeededEntropy, turn: u64) -> Target {
    use Phase::{Append, Catalog, Manifest, Opening, Seal, Snapshots};
    const TURNS: [Phase; 12] =
        [Append, Seal, Manifest, Opening, Append, Seal, Manifest, Catalog, Append, Seal, Manifest, Snapshots];
    let phase = TURNS[(turn % TURNS.len() as u64) as usize];
    // Early calls and late ones alike: the reach is drawn first.
    let reach = match phase {
        Append => 1 << random.below(9),
        Opening => 1 << random.below(6),
        Catalog | Snapshots => 1 << random.below(5),
        _ => 1 << random.below(7),
    };
    let moment = one_of(random, &[Moment::Before, Moment::Midway, Moment::After]);
    Target { phase, skip: random.below(reach), moment }
}

/// A child and what it says.
struct Victim {
    child: Child,
    seed: u64,
    said: Receiver<Line>,
    errors: std::thread::JoinHandle<String>,
}

impl Victim {
    fn new(mut child: Child, seed: u64) -> Result<Victim, String> {
        let (Some(out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("the child has no pipes".to_owned());
        };
        let (tell, said) = channel();
        // It ends with the child, whose end of the pipe is the only one.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // A last line may be cut by the kill.
                let Ok(line) = line.parse() else { continue };
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = err.read_to_string(&mut text);
            text
        });
        Ok(Victim { child, seed, said, errors })
    }

    /// Listens, kills at the chosen moment or leaves it to the child, and takes down its last words.
    fn watch(mut self, target: Option<Target>, random: &SeededEntropy) -> Result<Session, String> {
        // Some are killed before they have opened, most while they work.
        let early = target.is_none() && random.below(6) == 0;
        let after = match target {
            Some(_) => TARGET_WITHIN,
            None if early => Duration::from_micros(random.below(6_000)),
            None => Duration::from_micros(random.below(1 << (10 + random.below(9)))),
        };
        let mut lines = Vec::new();
        let mut hung = false;
        let mut over = false;
        if !early {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => hung = true,
                Err(RecvTimeoutError::Disconnected) => over = true,
            }
        }
        let until = Instant::now() + after;
        while !hung && !over {
            match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => over = true,
            }
        }
        // Too late for one that ended by itself, which its status will tell.
        let _ = self.child.kill();
        lines.extend(self.said.iter());
        let status = self.child.wait().map_err(|e| format!("the child cannot be waited for: {e}"))?;
        let errors = self.errors.join().unwrap_or_default();
        let ended = (status.signal() != Some(9)).then(|| format!("{status}: {}", errors.trim()));
        Ok(Session { seed: self.seed, lines, ended, from_inside: over, hung })
    }
}

/// Copies a folder with all it holds.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    #[test]
    fn each_phase_whose_share_is_asked_gets_more_of_the_targets() {
        let random = SeededEntropy::new(1);
        for phase in SHARED {
            let count = (0..120).filter(|turn| target(&random, *turn).phase == phase).count();
            assert!(count >= 30, "{count} of 120 in {phase:?}");
        }
    }

    #[test]
    fn the_model_follows_what_was_acknowledged_and_leaves_the_rest_pending() {
        let plan = Plan { kills: 1, seed: 3, dir: None, lie: None, keep: false };
        let mut round = Round::new(&plan, 3).unwrap();
        let lines = vec![
            Line::Opened,
            Line::Begin(0, 0),
            Line::Ack(0, 0, Outcome::Done),
            Line::Begin(0, 1),
            Line::Ack(0, 1, Outcome::Exists),
            Line::Begin(0, 2),
        ];
        let session = Session { seed: 9, lines, ended: None, from_inside: false, hung: false };
        let (mut figures, mut violations) = (Figures::default(), Vec::new());
        let pending = round.replay(&session, &mut figures, &mut violations);
        assert_eq!((pending.len(), figures.begun, figures.acknowledged), (1, 3, 2));
        assert_eq!(violations.len(), 1, "the second collection did not exist: {violations:?}");
        assert_eq!(round.model.collections.len(), 2);
    }
}
