//! What can be typed about tasks and about work on whole collections.

use clap::{Args, Subcommand, ValueEnum};
use nearfield::{TaskKind, TaskState};

use super::Target;

#[derive(Debug, Args)]
#[command(subcommand_value_name = "ACTION", subcommand_help_heading = "Actions")]
#[command(after_help = "\
A task that was interrupted with the process that ran it is taken up again by the next one that opens the database to write, `wait` \
included, if it can be: flush, optimize, rebuild and create-index. How far a running task is only its own process knows.

Example: nearfield tasks ./data list --state failed")]
pub(crate) struct Tasks {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) action: Option<TaskAction>,
}

/// What to do with tasks; without an action they are listed.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskAction {
    /// Show what waits, runs, and ended not too long ago, the newest first
    List {
        /// Only those of this collection or alias
        #[arg(long, value_name = "NAME")]
        collection: Option<String>,
        /// Only those that do this
        #[arg(long)]
        kind: Option<TaskKindName>,
        /// Only those in this state
        #[arg(long)]
        state: Option<TaskStateName>,
        /// Only those that wait or run
        #[arg(long)]
        unfinished: bool,
        /// How many to show
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show all that is known of one task
    Show {
        /// Its number
        id: u64,
    },
    /// Take a task back that has not ended
    Cancel {
        /// Its number
        id: u64,
    },
    /// Wait until a task has ended; exit status 1 if it failed or was cancelled
    Wait {
        /// Its number
        id: u64,
        /// Give up after so many seconds; the task goes on as long as this process does
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
}

/// Work on a whole collection, or on all of them.
#[derive(Debug, Args)]
pub(crate) struct Maintain {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Collection or alias; all collections if left out
    pub(crate) collection: Option<String>,
}

/// The kinds of tasks by the names of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskKindName {
    Rebuild,
    Optimize,
    Flush,
    CreateIndex,
    Import,
    Snapshot,
    Restore,
}

impl From<TaskKindName> for TaskKind {
    fn from(name: TaskKindName) -> Self {
        match name {
            TaskKindName::Rebuild => TaskKind::Rebuild,
            TaskKindName::Optimize => TaskKind::Optimize,
            TaskKindName::Flush => TaskKind::Flush,
            TaskKindName::CreateIndex => TaskKind::CreateIndex,
            TaskKindName::Import => TaskKind::Import,
            TaskKindName::Snapshot => TaskKind::Snapshot,
            TaskKindName::Restore => TaskKind::Restore,
        }
    }
}

/// The states of tasks by the names of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskStateName {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl From<TaskStateName> for TaskState {
    fn from(name: TaskStateName) -> Self {
        match name {
            TaskStateName::Queued => TaskState::Queued,
            TaskStateName::Running => TaskState::Running,
            TaskStateName::Completed => TaskState::Completed,
            TaskStateName::Failed => TaskState::Failed,
            TaskStateName::Cancelled => TaskState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_library() {
        for kind in TaskKind::ALL {
            assert_eq!(TaskKind::from(TaskKindName::from_str(kind.name(), false).unwrap()), kind);
        }
        for state in TaskState::ALL {
            assert_eq!(TaskState::from(TaskStateName::from_str(state.name(), false).unwrap()), state);
        }
    }
}
