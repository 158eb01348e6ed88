//! `nearfield tasks`: long work that waits, runs or ended; waiting for it and taking it back.
//!
//! **It refuses** to open the database for writing where looking is enough: tasks are listed beside the process that works on them.

use std::time::Duration;

use nearfield::{Database, ErrorKind, Task, TaskFilter, TaskId, TaskState};
use serde_json::{Value as Json, json};

use crate::args::{TaskAction, Tasks};
use crate::bar::Bar;
use crate::database;
use crate::failure::{Failure, Outcome};
use crate::output::{Screen, clean, counted, duration, moment, shorten};

/// Columns of a message in a list.
const MESSAGE_WIDTH: usize = 60;
/// How often a bar is drawn anew.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the command.
pub(crate) fn run(screen: &Screen, command: &Tasks) -> Outcome<()> {
    match &command.action {
        None => list(screen, command, &TaskFilter::new(), 20),
        Some(TaskAction::List { collection, kind, state, unfinished, limit }) => {
            let mut filter = TaskFilter::new();
            if let Some(name) = collection {
                filter = filter.collection(name);
            }
            if let Some(kind) = kind {
                filter = filter.kind((*kind).into());
            }
            if let Some(state) = state {
                filter = filter.state((*state).into());
            }
            list(screen, command, &if *unfinished { filter.unfinished() } else { filter }, *limit)
        }
        Some(TaskAction::Show { id }) => {
            let tasks = database::reader(&command.target)?.tasks(&TaskFilter::new())?;
            let missing = || Failure::not_found(format!("there is no task {id}, or it was forgotten"));
            let task = tasks.into_iter().find(|task| task.id == TaskId(*id)).ok_or_else(missing)?;
            show(screen, &task)
        }
        Some(TaskAction::Cancel { id }) => {
            let database = database::open(&command.target)?;
            let cancelled = database.cancel_task(TaskId(*id))?;
            let task = database.wait_task(TaskId(*id), None)?;
            let line = match cancelled {
                true => format!("Task {id} is {}", task.state.name()),
                false => format!("Task {id} had ended: it is {}", task.state.name()),
            };
            screen.say(&line)?;
            screen.answer(&task_json(&task))?;
            Ok(database.close()?)
        }
        Some(TaskAction::Wait { id, timeout }) => {
            let database = database::open(&command.target)?;
            let task = watch(screen, &database, TaskId(*id), timeout.map(Duration::from_secs))?;
            database.close()?;
            show(screen, &task)?;
            ended_well(&task)
        }
    }
}

/// Waits for a task with a bar, for people.
pub(crate) fn watch(
    screen: &Screen,
    database: &Database,
    id: TaskId,
    timeout: Option<Duration>,
) -> Outcome<Task> {
    let task = database.task(id)?;
    let bar = Bar::new(&format!("{} {}", task.kind.name(), clean(&task.collection)));
    let mut waited = Duration::ZERO;
    loop {
        let portion = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(waited).min(LOOK));
        match database.wait_task(id, Some(portion)) {
            Ok(task) => return Ok(task),
            Err(error) if error.kind() != ErrorKind::Timeout => return Err(error.into()),
            Err(error) if timeout.is_some_and(|timeout| waited >= timeout) => {
                return Err(Failure::from(error));
            }
            Err(_) => {
                waited += portion;
                if !screen.is_json() {
                    bar.reached(database.task(id)?.progress);
                }
            }
        }
    }
}

/// A task that failed is a command that failed.
pub(crate) fn ended_well(task: &Task) -> Outcome<()> {
    match task.state {
        TaskState::Completed => Ok(()),
        TaskState::Cancelled => Err(Failure::cancelled(format!("task {} was cancelled", task.id))),
        _ => Err(Failure::failed(format!("task {} failed: {}", task.id, task.message))),
    }
}

fn list(screen: &Screen, command: &Tasks, filter: &TaskFilter, limit: usize) -> Outcome<()> {
    let tasks = database::reader(&command.target)?.tasks(filter)?;
    let shown = &tasks[..limit.min(tasks.len())];
    if tasks.is_empty() {
        screen.say("There are no such tasks.")?;
    } else {
        let row = |task: &Task| {
            vec![
                task.id.to_string(),
                task.kind.name().to_owned(),
                clean(&task.collection),
                task.state.name().to_owned(),
                moment(task.created_ms),
                took(task).map(duration).unwrap_or_default(),
                shorten(about(task), MESSAGE_WIDTH),
            ]
        };
        let heading = ["task", "kind", "collection", "state", "created", "took", "about"];
        screen.table(&heading, &[0, 5], shown.iter().map(row).collect())?;
        if tasks.len() > shown.len() {
            let more = counted((tasks.len() - shown.len()) as u64, "older task", "older tasks");
            screen.say(&screen.dim(&format!("  and {more}: --limit shows more")))?;
        }
    }
    let all: Json = shown.iter().map(task_json).collect();
    screen.answer(&json!({"tasks": all, "total": tasks.len()}))
}

fn show(screen: &Screen, task: &Task) -> Outcome<()> {
    let line =
        |label: &str, text: String| screen.say(&format!("  {} {text}", screen.dim(&format!("{label:<10}"))));
    screen.say(&screen.bold(&format!("Task {}", task.id)))?;
    line("kind", task.kind.name().to_owned())?;
    line("state", task.state.name().to_owned())?;
    for (label, text) in
        [("collection", &task.collection), ("of", &task.argument), ("message", &task.message)]
    {
        if !text.is_empty() {
            line(label, clean(text))?;
        }
    }
    line("created", moment(task.created_ms))?;
    for (label, time) in [("started", task.started_ms), ("finished", task.finished_ms)] {
        if let Some(time) = time {
            line(label, moment(time))?;
        }
    }
    screen.answer(&task_json(task))
}

/// What it was about: why it ended so, or what it works on.
fn about(task: &Task) -> &str {
    if task.message.is_empty() { &task.argument } else { &task.message }
}

fn took(task: &Task) -> Option<Duration> {
    Some(Duration::from_millis(task.finished_ms?.saturating_sub(task.started_ms?)))
}

/// A task for scripts; times are milliseconds since 1970.
pub(crate) fn task_json(task: &Task) -> Json {
    json!({
        "id": task.id.0,
        "kind": task.kind.name(),
        "state": task.state.name(),
        "collection": task.collection,
        "argument": task.argument,
        "progress": task.progress,
        "created_ms": task.created_ms,
        "started_ms": task.started_ms,
        "finished_ms": task.finished_ms,
        "message": task.message,
    })
}
