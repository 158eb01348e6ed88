//! The write-ahead log: append, sync, replay, release.
//!
//! The log contract ([`LogWriter`], [`Syncer`], [`LogReader`]), its simplest correct implementation, a folder of files
//! ([`FileLog`]), and the suite that every implementation must pass ([`conformance`]). Take it where a single writer needs an
//! ordered, atomic, durable journal with group sync and honest recovery.
//!
//! **It refuses** to know what its operations mean: no points, no collections, no manifests. It decides neither when to sync nor
//! what may be forgotten, starts no thread, reads no clock, and never guesses over damage: what was durable and is unreadable is
//! an error that names file and offset.
//!
//! ```
//! use std::ops::ControlFlow;
//! use nearfield_platform::MemoryDir;
//! use nearfield_types::Seq;
//! use nearfield_wal::{Class, FileLog, Kind, LogOptions, LogReader, LogWriter, Syncer};
//!
//! let dir = MemoryDir::new();
//! let log = FileLog::open(dir.clone(), "log", LogOptions::new([1; 16]))?;
//! log.replay(Seq::ZERO, &mut |_seq, _kind, _bytes| ControlFlow::Continue(()))?;
//! let (mut writer, syncer) = log.into_writer()?;
//!
//! let first = writer.append(Kind::Config, Class::Ordinary, &[b"dimension 3"])?;
//! let second = writer.append(Kind::Batch, Class::Ordinary, &[b"point ", b"7"])?;
//! assert!(second > first);
//! syncer.sync(second)?; // one sync for both
//! drop(writer); // as a crash would
//!
//! let log = FileLog::open(dir, "log", LogOptions::new([1; 16]))?;
//! assert_eq!(log.last(), second);
//! # Ok::<(), nearfield_wal::LogError>(())
//! ```
//!
//! # Invariants
//!
//! 1. Frames of a generation have consecutive Seqs, each names the checksum of the one before, also across files. A new
//!    generation begins with a file of its own, a larger epoch, and a Seq larger by [`GENERATION_GAP`] or more.
//! 2. A generation's first file is durable before its first Seq is given out, and at most half the gap of frames waits for a
//!    sync; so no Seq that anybody could have seen is used again.
//! 3. A frame's checksum is seeded with its log's uuid and its file's number: bytes of another file or log never validate.
//! 4. An operation lies in one file and is replayed whole or not at all.
//! 5. Room is reserved before it is used. What is refused for want of room has written nothing.
//! 6. After the first failed write or sync nothing is acknowledged: [`LogError::Poisoned`], with the first cause.
//! 7. Files are never truncated and never written after they are sealed; a torn tail is cut by copying, and kept as `.torn` until
//!    the next release.
//! 8. The mark of a clean close is no part of the log: it takes no Seq, and losing it costs a look at the next opening.
//! 9. Decoders are pure functions of bytes; a length read is compared with the bytes that are there, never allocated from.
//!
//! # Complexity
//!
//! Append: one checksum pass over the bytes where they lie and one write; a frame costs 40 bytes and padding to 8. Sync: one
//! `fdatasync`, and after a file was begun one more and one of the folder. Open and replay: O(bytes not flushed), one or two
//! files in memory at a time.
//!
//! # Concurrency
//!
//! One writer; any number of threads on its syncer, grouped into one sync at a time; any number of readers of their own, also in
//! other processes ([`FileLog::read`]).
//!
//! # Reading order
//!
//! `contract`, `format`, `walk`, `recover` (the tail rule), `repair`, `log`, `writer`, `sync`; then `conformance`.

pub mod conformance;
mod contract;
mod error;
pub mod format;
mod listing;
mod log;
mod options;
mod recover;
mod repair;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod sync;
mod walk;
mod writer;

pub use contract::{Class, Kind, LogReader, LogWriter, Syncer, Visitor, try_replay};
pub use error::{Cause, LogError, Op};
pub use log::FileLog;
pub use options::{GENERATION_GAP, LogOptions, LogSizes, OPERATION_BYTES_MAX};
pub use recover::{Report, Stop};
pub use sync::{FileSyncer, FinishedFile};
pub use walk::{End, Evidence, Fault, FileScan, Frame, SEARCH_BUDGET_FACTOR, Walk, later_record, scan};
pub use writer::FileLogWriter;

#[cfg(test)]
mod tests;
