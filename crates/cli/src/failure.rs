//! Why a command stopped, in words for the person who typed it: what is wrong and what to do next.
//!
//! **It refuses** to carry backtraces or several lines of causes: the message is one line, the advice another.

use std::fmt;
use std::io;
use std::path::Path;

use serde_json::{Value as Json, json};

/// What a command returns.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Exit status 1: one line of message, perhaps a line of advice, and a stable word for scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: String,
    message: String,
    advice: Option<String>,
}

impl Failure {
    /// The request or its files are wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Failure { kind: "Invalid".to_owned(), message: message.into(), advice: None }
    }

    /// Something named does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Failure { kind: "NotFound".to_owned(), message: message.into(), advice: None }
    }

    /// The work was done in part or not at all, for a reason that was written down.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Failure { kind: "Failed".to_owned(), message: message.into(), advice: None }
    }

    /// Somebody took the work back.
    pub(crate) fn cancelled(message: impl Into<String>) -> Self {
        Failure { kind: "Cancelled".to_owned(), message: message.into(), advice: None }
    }

    /// The file system refused `what` ("read", "write") on one of the user's own files.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        let kind = if error.kind() == io::ErrorKind::NotFound { "NotFound" } else { "Io" };
        Failure {
            kind: kind.to_owned(),
            message: format!("cannot {what} {}: {error}", path.display()),
            advice: None,
        }
    }

    /// Something that cannot happen did.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let message = format!("{} (please report this, with the command you ran)", message.into());
        Failure { kind: "Internal".to_owned(), message, advice: None }
    }

    /// The same failure with what to do next, unless it says so already.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.get_or_insert(advice.into());
        self
    }

    /// The same failure, saying where.
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// What to do next, if there is something to say.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// For scripts; `kind` is one of the error kinds of the library, `Io`, or `Failed` for a task that did.
    pub(crate) fn json(&self) -> Json {
        json!({"error": {"kind": self.kind, "message": self.message, "advice": self.advice}})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<nearfield::Error> for Failure {
    fn from(error: nearfield::Error) -> Self {
        use nearfield::ErrorKind;
        let advice = match error.kind() {
            ErrorKind::Busy => Some("another process holds this database: wait until it ends, or stop it"),
            ErrorKind::Closed => Some("`nearfield collections DB open NAME` opens it"),
            ErrorKind::Full => Some("free some space on the disk and run the command again"),
            ErrorKind::Corrupt => Some("the files are damaged: restore the directory from a backup"),
            _ => None,
        };
        Failure {
            kind: format!("{:?}", error.kind()),
            message: error.to_string(),
            advice: advice.map(str::to_owned),
        }
    }
}
