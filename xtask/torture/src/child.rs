//! The process that works until it is killed. It says what it begins before it begins it and what came of it afterwards, one line
//! each, and is never asked anything.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use nearfield::Database;
use nearfield_platform::{Dir, RealDir, RealOptions, SeededEntropy};

use crate::kills::SIZE;
use crate::model::Outcome;
use crate::sabotage::Lie;
use crate::settings::Settings;
use crate::watch::{Target, Watched};
use crate::workload::{Op, Stream, World, derive, execute};

/// Operations of one stream, should nobody come to kill it.
const OPS_MAX: u64 = 20_000;

/// What a child is told to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The directory of the database.
    pub dir: PathBuf,
    /// Where it leaves word of what it is at.
    pub note: PathBuf,
    /// The seed of the world.
    pub world: u64,
    /// The seed of the session.
    pub session: u64,
    /// Where it is killed from inside.
    pub target: Option<Target>,
    /// How the engine is broken.
    pub lie: Option<Lie>,
}

/// A line of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The database is open.
    Opened,
    /// The stream (first) begins its n-th operation.
    Begin(usize, u64),
    /// It is done, with this outcome.
    Ack(usize, u64, Outcome),
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Line::Opened => f.write_str("opened"),
            Line::Begin(stream, n) => write!(f, "begin {stream} {n}"),
            Line::Ack(stream, n, outcome) => write!(f, "ack {stream} {n} {outcome}"),
        }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Line, String> {
        let parse = || {
            let mut words = text.splitn(4, ' ');
            Some(match words.next()? {
                "opened" => Line::Opened,
                "begin" => Line::Begin(words.next()?.parse().ok()?, words.next()?.parse().ok()?),
                "ack" => {
                    let (stream, n) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                    Line::Ack(stream, n, Outcome::parse(words.next()?)?)
                }
                _ => return None,
            })
        };
        parse().ok_or_else(|| format!("the child says {text:?}"))
    }
}

/// How many streams a session has: often one, which then also closes and opens the database.
pub fn streams(world: &Arc<World>, session: u64) -> Vec<Stream> {
    let count = [1, 1, 2, 4][(derive(session, 1) % 4) as usize];
    Stream::all(world, session, count).into_iter().map(Stream::with_snapshots).collect()
}

/// Works until it is killed, or until the work is done.
///
/// # Errors
///
/// Only if something is wrong: the database cannot be opened or closed, or nobody listens.
pub fn run(job: &Job) -> Result<(), String> {
    if let Some(lie) = job.lie {
        lie.tell();
    }
    let world = Arc::new(World::new(job.world, SIZE));
    let options = RealOptions { create: true, allow_unsupported_fs: true, ..RealOptions::default() };
    let real =
        RealDir::open_with(&job.dir, options).map_err(|e| format!("the directory cannot be opened: {e}"))?;
    let watched = Watched::new(Arc::new(real), &job.note, job.target)
        .map_err(|e| format!("no note can be left: {e}"))?;
    let random = SeededEntropy::new(derive(job.session, 2));
    let mut db = open(&watched, &random)?;
    say(&Line::Opened)?;
    let streams = streams(&world, job.session);
    for n in 0..streams[0].preparations() {
        step(&db, &streams[0], 0, n)?;
    }
    if let [alone] = &streams[..] {
        for n in alone.preparations()..OPS_MAX {
            if alone.op(n) == Op::Reopen {
                say(&Line::Begin(0, n))?;
                db.close().map_err(|e| format!("the database cannot be closed: {e}"))?;
                db = open(&watched, &random)?;
                say(&Line::Ack(0, n, Outcome::Done))?;
            } else {
                step(&db, alone, 0, n)?;
            }
        }
    } else {
        std::thread::scope(|scope| {
            let work = |(at, stream): (usize, &Stream)| {
                let (db, stream) = (db.clone(), stream.clone());
                scope.spawn(move || {
                    (stream.preparations()..OPS_MAX).try_for_each(|n| step(&db, &stream, at, n))
                })
            };
            let threads: Vec<_> = streams.iter().enumerate().map(work).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err("a thread of the child panicked".to_owned()))
            })
        })?;
    }
    db.close().map_err(|e| format!("the database cannot be closed: {e}"))
}

/// Opens the database with all its collections.
fn open(watched: &Arc<Watched>, random: &SeededEntropy) -> Result<Database, String> {
    watched.opening(true);
    let settings = Settings::draw(random);
    let dir = Arc::clone(watched) as Arc<dyn Dir>;
    let opened = Database::open_in(dir, "the database to be killed", settings.options()).and_then(|db| {
        db.collections().iter().try_for_each(|name| db.collection(name).map(drop))?;
        Ok(db)
    });
    watched.opening(false);
    opened.map_err(|e| format!("the database cannot be opened ({settings}): {e}"))
}

fn step(db: &Database, stream: &Stream, at: usize, n: u64) -> Result<(), String> {
    let op = stream.op(n);
    say(&Line::Begin(at, n))?;
    let outcome = execute(db, &op);
    say(&Line::Ack(at, n, outcome.clone()))?;
    match outcome {
        Outcome::Failed(why) => Err(format!("'{op}' failed: {why}")),
        _ => Ok(()),
    }
}

/// One line in one write, so that a kill leaves whole lines.
fn say(line: &Line) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| format!("nobody listens: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_and_read() {
        for line in
            [Line::Opened, Line::Begin(3, 17), Line::Ack(0, 9, Outcome::Failed("no room at all".to_owned()))]
        {
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        for bad in ["", "begin 1", "ack 1 2", "ack 1 2 what"] {
            assert!(bad.parse::<Line>().is_err(), "{bad:?}");
        }
    }
}
