//! What the file log is told when it is opened.

use nearfield_types::Seq;
use nearfield_types::limits::BATCH_BYTES_MAX;

use crate::format::{FRAME_BYTES, FRAME_PAYLOAD_MAX, HEADER_BYTES, SEAL_BYTES};

/// Most payload bytes of one operation.
pub const OPERATION_BYTES_MAX: u64 = BATCH_BYTES_MAX as u64;

/// By how much a new generation's first Seq exceeds all before it.
///
/// Whoever saw a Seq that a power cut then took away must never meet it again with another meaning. The writer lets at most half
/// of this many frames wait for a sync, so at most that many were ever seen beyond the last durable one, and a generation is
/// durable itself before its first Seq is given out.
pub const GENERATION_GAP: u64 = 1 << 20;

/// At the end of every file: room for a `Seal` frame and for the mark of a clean close.
pub(crate) const FILE_TAIL_BYTES: u64 = (FRAME_BYTES + SEAL_BYTES + FRAME_BYTES) as u64;

/// Room kept for [`Class::Reducing`](crate::Class::Reducing) in one file is at most this.
const HEADROOM_BYTES_MAX: u64 = 1 << 20;

/// What the file log must know of the log before it opens it.
///
/// ```
/// use nearfield_types::Seq;
/// use nearfield_wal::LogOptions;
///
/// // As a manifest recorded them.
/// let options = LogOptions { synced: Seq(120), flushed: Seq(100), ..LogOptions::new([7; 16]) };
/// assert_eq!(options.sizes.first_bytes, 64 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Which log it is. A log made anew needs a uuid never used before.
    pub wal_uuid: [u8; 16],
    /// A Seq recorded elsewhere as durable. If the log ends before it, the log is damaged.
    pub synced: Seq,
    /// Nothing up to here is needed from the log any more; files that hold nothing else may be missing. Implies durable.
    pub flushed: Seq,
    /// How large files and frames grow.
    pub sizes: LogSizes,
}

impl LogOptions {
    /// The options of a log of which nothing is known yet.
    pub fn new(wal_uuid: [u8; 16]) -> Self {
        LogOptions { wal_uuid, synced: Seq::ZERO, flushed: Seq::ZERO, sizes: LogSizes::default() }
    }

    /// The last Seq known durable without reading the log.
    pub(crate) fn recorded(&self) -> Seq {
        self.synced.max(self.flushed)
    }
}

/// How large files and frames grow. They bind the writer only; a log is read whatever sizes it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSizes {
    /// Bytes of the first file that a writer makes, at least 1 KiB; each further one is twice as long.
    pub first_bytes: u64,
    /// Bytes at which files stop growing. An operation that needs more has a file of its own size.
    pub largest_bytes: u64,
    /// Payload bytes of one frame, from 8 to [`FRAME_PAYLOAD_MAX`]; an operation of more takes several.
    pub frame_bytes: usize,
}

impl Default for LogSizes {
    fn default() -> Self {
        LogSizes { first_bytes: 64 << 10, largest_bytes: 64 << 20, frame_bytes: FRAME_PAYLOAD_MAX }
    }
}

impl LogSizes {
    /// The sizes with every field in its range.
    pub(crate) fn in_range(self) -> Self {
        let first_bytes = self.first_bytes.max(1 << 10);
        LogSizes {
            first_bytes,
            largest_bytes: self.largest_bytes.max(first_bytes),
            frame_bytes: self.frame_bytes.clamp(8, FRAME_PAYLOAD_MAX),
        }
    }

    /// Most payload bytes of one operation with frames of this size, whose parts are counted in 16 bits.
    pub(crate) fn operation_bytes_max(self) -> u64 {
        OPERATION_BYTES_MAX.min(self.frame_bytes as u64 * u64::from(u16::MAX))
    }

    /// The planned size of the file after one of `bytes`.
    pub(crate) fn after(self, bytes: u64) -> u64 {
        bytes.saturating_mul(2).clamp(self.first_bytes, self.largest_bytes)
    }
}

/// A file's size and the part of it that only [`Class::Reducing`](crate::Class::Reducing) may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) headroom: u64,
}

impl Room {
    /// A file planned with `planned` bytes that must take frames of `need` bytes.
    pub(crate) fn planned(planned: u64, need: u64) -> Room {
        let headroom = (planned / 4).min(HEADROOM_BYTES_MAX);
        let least = HEADER_BYTES as u64 + need + FILE_TAIL_BYTES + headroom;
        Room { bytes: if least <= planned { planned } else { least.next_multiple_of(4096) }, headroom }
    }
}
