//! What can go wrong with a log.

use std::io;

use nearfield_codec::TagError;
use nearfield_types::Seq;

use crate::walk::Fault;

/// What the log was doing with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Listing the folder or making it.
    List,
    /// Reading a file.
    Open,
    /// Making the next file.
    Create,
    /// Writing frames.
    Write,
    /// Making bytes or names durable.
    Sync,
    /// Writing a damaged or doubtful tail anew.
    Repair,
    /// Removing files no longer needed.
    Remove,
}

/// An error of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What was tried.
    pub op: Op,
    /// What kind of error it was.
    pub kind: io::ErrorKind,
    /// The system's number for it, if it has one.
    pub code: Option<i32>,
}

impl Cause {
    pub(crate) fn new(op: Op, error: &io::Error) -> Self {
        Cause { op, kind: error.kind(), code: error.raw_os_error() }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tried = match self.op {
            Op::List => "list the log's folder",
            Op::Open => "read a log file",
            Op::Create => "make the next log file",
            Op::Write => "write to the log",
            Op::Sync => "sync the log",
            Op::Repair => "rewrite the log's tail",
            Op::Remove => "remove a log file",
        };
        write!(f, "could not {tried}: {}", self.kind)?;
        self.code.map_or(Ok(()), |code| write!(f, " (os error {code})"))
    }
}

/// Why the log did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The store failed; the log is as it was and may be asked again.
    #[error("{0}")]
    Io(Cause),
    /// Data known to have been durable is damaged. Nothing was changed; restore from a snapshot or a replica.
    #[error(
        "log file {file:020}.log is damaged at offset {offset} ({fault}): operation {expected} is unreadable, \
         although the log was durable through {durable}; restore it from a snapshot or a replica"
    )]
    Corrupt {
        /// The first Seq of the file, which is its name.
        file: u64,
        /// Where in the file.
        offset: u64,
        /// The Seq that should be found there.
        expected: Seq,
        /// The largest Seq found recorded as durable; at least `expected`.
        durable: Seq,
        /// What is there instead.
        fault: Fault,
    },
    /// No room for the next file. Nothing was written; ask again when there is room.
    #[error("no space left for the next log file: free some space; nothing was written")]
    Full,
    /// An earlier write or sync failed, so what the log holds is uncertain until it is opened anew.
    #[error(
        "the log stopped at an earlier failure ({0}); whether the last operations are kept is known after reopening"
    )]
    Poisoned(Cause),
    /// One operation of too many bytes.
    #[error("operation of {bytes} bytes, at most {max} fit into one")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The files are those of another log.
    #[error("log file {file:020}.log belongs to another log")]
    WrongLog {
        /// The first Seq of the file, which is its name.
        file: u64,
        /// The uuid in the file.
        found: [u8; 16],
    },
    /// A file for a newer program, or not a log file.
    #[error("log file {file:020}.log: {error}")]
    Tag {
        /// The first Seq of the file, which is its name.
        file: u64,
        /// What its tag says.
        error: TagError,
    },
    /// The log was opened for reading.
    #[error("the log was opened for reading only")]
    ReadOnly,
    /// No sequence number is left.
    #[error("the log has used up its sequence numbers")]
    Exhausted,
}

impl LogError {
    /// An error of the store while doing `op`; a full disk is [`LogError::Full`] where nothing of the log was touched yet.
    pub(crate) fn io(op: Op, error: &io::Error) -> Self {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match op {
            Op::Create | Op::Repair | Op::List if full => LogError::Full,
            _ => LogError::Io(Cause::new(op, error)),
        }
    }
}
