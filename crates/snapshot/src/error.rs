//! Why a store could not do what it was asked.

use std::io;

use nearfield_codec::TagError;

use crate::manifest::{Digest, ManifestError};

/// The result of a store's operations.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory failed. Nothing was published or removed that the call does not say.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An object that was asked for, or that a manifest names, is not there.
    #[error("object {digest} is missing from the snapshots")]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// Bytes are not what their name says.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What does not hold, with the offset where one is known.
        why: String,
    },
    /// Written by a newer program.
    #[error("{path}: {error}")]
    TooNew {
        /// The file.
        path: String,
        /// What it needs.
        error: TagError,
    },
    /// The name stands for something else than expected.
    #[error("{name:?} was changed meanwhile: {}", match found { Some(found) => format!("it stands for {found}"), None => "it stands for nothing".to_owned() })]
    Conflict {
        /// The name.
        name: String,
        /// What it stands for.
        found: Option<Digest>,
    },
    /// There is no such name.
    #[error("there is no snapshot {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A name is empty or too long.
    #[error("snapshot name has {bytes} bytes: it must have 1 to {max}")]
    Name {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A pin would last too short or too long.
    #[error("ttl is {secs} s: it must be 1 to {max} s")]
    Ttl {
        /// What was asked, whole seconds.
        secs: u64,
        /// The limit.
        max: u64,
    },
    /// There are as many pins as may be.
    #[error("there are {max} pins: that is the most allowed, remove one")]
    TooManyPins {
        /// The limit.
        max: usize,
    },
    /// A manifest that breaks a limit or cannot be read.
    #[error("the manifest of a snapshot: {0}")]
    Manifest(#[from] ManifestError),
}

impl StoreError {
    /// An error of the directory that says what was done.
    pub(crate) fn damaged(path: &str, why: impl std::fmt::Display) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), why: why.to_string() }
    }

    /// True if the disk has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, StoreError::Io(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
