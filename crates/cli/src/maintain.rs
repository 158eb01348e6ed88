//! `nearfield flush`, `optimize` and `rebuild`: work on whole collections, done when the command ends.
//!
//! **It refuses** to leave work behind silently: what fails in one collection is reported after the others had their turn.

use nearfield::{Collection, Database, TaskId, TaskState};
use serde_json::{Value as Json, json};

use crate::args::Maintain;
use crate::database;
use crate::failure::Outcome;
use crate::output::{Screen, bytes, clean, counted, duration, thousands};
use crate::tasks::{ended_well, task_json, watch};
use crate::timing::Stopwatch;

/// Which work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chore {
    Flush,
    Optimize,
    Rebuild,
}

impl Chore {
    fn start(self, collection: &Collection) -> nearfield::Result<TaskId> {
        match self {
            Chore::Flush => collection.flush_task(),
            Chore::Optimize => collection.optimize(),
            Chore::Rebuild => collection.rebuild(None),
        }
    }

    fn done(self) -> &'static str {
        match self {
            Chore::Flush => "Flushed",
            Chore::Optimize => "Optimized",
            Chore::Rebuild => "Rebuilt the indexes of",
        }
    }
}

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Maintain, chore: Chore) -> Outcome<()> {
    let database = database::open(&command.target)?;
    let names = match &command.collection {
        Some(name) => vec![database::collection(&database, name)?.name().to_owned()],
        None => database.collections(),
    };
    let (mut answer, mut first) = (Vec::new(), None);
    for name in &names {
        match one(screen, &database, name, chore) {
            Ok(done) => answer.push(done),
            Err(failure) if names.len() == 1 => return Err(failure),
            Err(failure) => {
                screen.say(&format!("{}: {failure}", clean(name)))?;
                first.get_or_insert(failure.within(name));
            }
        }
    }
    if names.is_empty() {
        screen.say("There are no collections yet.")?;
    }
    database.close()?;
    match first {
        Some(failure) => Err(failure),
        None => screen.answer(&json!({"collections": answer})),
    }
}

fn one(screen: &Screen, database: &Database, name: &str, chore: Chore) -> Outcome<Json> {
    let collection = database::collection(database, name)?;
    let watch_time = Stopwatch::start();
    let before = collection.stats()?.disk.total();
    let id = chore.start(&collection)?;
    let task = watch(screen, database, id, None)?;
    ended_well(&task)?;
    debug_assert_eq!(task.state, TaskState::Completed);
    let stats = collection.stats()?;
    screen.say(&format!(
        "{} {} in {}: {} in {} segments, {} on disk, {} before",
        chore.done(),
        clean(name),
        duration(watch_time.elapsed()),
        counted(stats.points, "point", "points"),
        thousands(stats.segments),
        bytes(stats.disk.total()),
        bytes(before)
    ))?;
    Ok(json!({
        "collection": name,
        "task": task_json(&task),
        "points": stats.points,
        "segments": stats.segments,
        "bytes": stats.disk.total(),
        "bytes_before": before,
        "seconds": watch_time.elapsed().as_secs_f64(),
    }))
}
