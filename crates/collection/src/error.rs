//! The one error of the upper half of the engine: opaque, with a kind that says what the caller should do.

use std::error::Error as StdError;
use std::fmt;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong: correct it. Nothing was changed.
    Invalid,
    /// There is no such thing: create it or ask for another.
    NotFound,
    /// It is closed: open it first.
    Closed,
    /// There is one already: choose another name or replace it.
    Exists,
    /// Somebody else is at it: try again later.
    Busy,
    /// No room: free space. Reading and deleting go on.
    Full,
    /// Stored bytes are damaged: repair or restore.
    Corrupt,
    /// The caller took it back.
    Cancelled,
    /// It took longer than allowed: allow more.
    Timeout,
    /// Nearfield cannot do this, or not yet: ask differently.
    Unsupported,
    /// The outcome is unknown: open again and repeat. Writes are idempotent.
    Unavailable,
    /// A defect of Nearfield: please report it.
    Internal,
}

/// An error with its kind, one line of context, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of most operations.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this kind; `context` names the field, what was expected and what came.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Error {
        Error { kind, context: context.into(), source: None }
    }

    /// The same with its cause.
    pub fn caused(
        kind: ErrorKind,
        context: impl Into<String>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error { kind, context: context.into(), source: Some(cause.into()) }
    }

    /// The request is wrong.
    pub fn invalid(context: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, context)
    }

    /// A system call failed: full disks are [`ErrorKind::Full`], missing files [`ErrorKind::Corrupt`] where the engine
    /// itself expected them, the rest [`ErrorKind::Unavailable`].
    pub fn io(context: impl Into<String>, cause: std::io::Error) -> Error {
        use std::io::ErrorKind as Io;
        let kind = match cause.kind() {
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::Full,
            Io::NotFound | Io::UnexpectedEof => ErrorKind::Corrupt,
            Io::Unsupported => ErrorKind::Unsupported,
            Io::InvalidInput => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        Error::caused(kind, context, cause)
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with words put before its context.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Error {
        self.context = format!("{place}: {}", self.context);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
