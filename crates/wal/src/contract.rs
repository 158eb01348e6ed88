//! What a log is: the three traits, and the words they share.
//!
//! Nothing here knows files; the file log is one implementation, `conformance` the laws that every one keeps.

use std::ops::ControlFlow;

use nearfield_types::Seq;

use crate::LogError;

/// What an operation is, to the log only a label that comes back at replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Points written, changed or deleted.
    Batch,
    /// A change of configuration.
    Config,
    /// A note that a checkpoint happened.
    Checkpoint,
}

/// Which room an operation may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Stops at the headroom.
    Ordinary,
    /// Makes data smaller (a delete, a drop): may use the headroom that is kept free, so that a full disk still allows it.
    Reducing,
}

/// The one who appends.
///
/// # Contract
///
/// * A returned [`Seq`] is larger than every Seq that any earlier life of the log returned, replayed or made durable. Between
///   two operations Seqs may be left out: the log numbers frames of its own with them.
/// * An operation is atomic: replay gives all its parts, joined, or nothing.
/// * On return the operation survives the end of the process, not yet a power cut; that is [`Syncer::sync`].
/// * [`LogError::Full`] and [`LogError::TooLarge`] come before anything is written and leave the log as it was. The first
///   failed write or sync stops it for good: [`LogError::Poisoned`] from then on.
///
/// # Complexity
///
/// O(bytes): one checksum over the parts where they lie, one write.
///
/// # Concurrency
///
/// One writer. [`Syncer`] runs beside it.
///
/// The conformance suite is [`conformance`](crate::conformance).
pub trait LogWriter: Send {
    /// Appends one operation, the concatenation of `parts`, and returns its Seq.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] without room, [`LogError::TooLarge`], [`LogError::Io`] where nothing was written,
    /// [`LogError::Poisoned`].
    fn append(&mut self, kind: Kind, class: Class, parts: &[&[u8]]) -> Result<Seq, LogError>;
}

/// The durable side of a log.
///
/// # Contract
///
/// * All operations up to the answer of [`sync`](Syncer::sync) survive a power cut, and so does the name of every file that
///   holds them.
/// * A failed sync is never retried: every later call is [`LogError::Poisoned`], and [`synced`](Syncer::synced) stays.
///
/// # Concurrency
///
/// Any number of threads; callers that wait together are served by one sync.
///
/// The conformance suite is [`conformance`](crate::conformance).
pub trait Syncer: Send + Sync {
    /// Makes all operations up to `through` durable; answers how far the log is durable now, which may be further. A Seq not
    /// yet appended asks for all that was. Returns at once if it is durable already.
    ///
    /// # Errors
    ///
    /// [`LogError::Poisoned`], then and ever after.
    fn sync(&self, through: Seq) -> Result<Seq, LogError>;

    /// How far the log is durable. O(1), never blocks on a sync.
    fn synced(&self) -> Seq;

    /// Allows the log to forget operations up to `through`. It may forget less, never what is not durable, and keeps what it
    /// needs to go on from.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] where something could not be removed; it will be tried again at the next release.
    fn release(&self, through: Seq) -> Result<(), LogError>;
}

/// Takes one operation at a time, and may break off.
pub type Visitor<'a> = dyn FnMut(Seq, Kind, &[u8]) -> ControlFlow<()> + 'a;

/// The one who reads an opened log from the front.
///
/// # Contract
///
/// Every operation after `after` that was appended and kept, in order, each once, whole, with the Seq that `append` returned.
/// Damage is [`LogError::Corrupt`], never skipped.
///
/// # Complexity
///
/// O(bytes read); one file in memory at a time, and an operation of several frames is put together in memory.
///
/// The conformance suite is [`conformance`](crate::conformance).
pub trait LogReader {
    /// Calls `visit` for each operation after `after` until it breaks. Answers the Seq through which the log was visited.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`], [`LogError::Io`].
    fn replay(&self, after: Seq, visit: &mut Visitor<'_>) -> Result<Seq, LogError>;
}

/// [`LogReader::replay`] with a visitor that may fail with an error of its own, which ends the replay.
///
/// # Errors
///
/// What `visit` returns, or what the log does.
pub fn try_replay<E: From<LogError>>(
    log: &dyn LogReader,
    after: Seq,
    mut visit: impl FnMut(Seq, Kind, &[u8]) -> Result<(), E>,
) -> Result<Seq, E> {
    let mut failed = None;
    let through = log.replay(after, &mut |seq, kind, bytes| match visit(seq, kind, bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(through), Err)
}
