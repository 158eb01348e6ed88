//! Reading the frames of one file in order, and searching what lies behind a bad one.
//!
//! Pure functions of bytes: they open nothing, repair nothing and decide nothing. A frame that a walk returns is whole, is the
//! next one of its generation, and keeps the grammar of operations; the first that is not ends the walk with a [`Fault`]. An
//! operation of several frames counts when its last one stands: where the frames end, they end before an unfinished one.

use nearfield_types::Seq;

use crate::Kind;
use crate::format::{
    ALIGN, Begin, FRAME_BYTES, FRAME_CLEAN, FRAME_PAYLOAD_MAX, FileHeader, FrameHeader, FrameKind, FrameSeed,
    HEADER_BYTES, HeaderError, SEQ_MAX, Tally, u64_at,
};

/// What is wrong where a frame or a file was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file's header is damaged or belongs elsewhere.
    Header,
    /// Zeros, or the end of the file.
    Blank,
    /// The checksum does not hold.
    Checksum,
    /// A whole frame, but not the one that belongs here.
    Order,
    /// The file that should follow is missing or does not continue this one.
    Missing,
    /// What lies behind the fault could not be judged with a bounded effort, so the worst is assumed.
    Unclear,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Header => "the header of the file does not hold",
            Fault::Blank => "nothing is there",
            Fault::Checksum => "a checksum does not hold",
            Fault::Order => "something else is there",
            Fault::Missing => "the file that goes on is missing",
            Fault::Unclear => "too much looks like a frame and is none",
        })
    }
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No whole frame that belongs here follows.
    Open(Fault),
    /// The file ends with a `Seal`; the next file goes on.
    Sealed,
    /// The log was closed here.
    Clean,
}

/// One frame, checked.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// Its kind.
    pub kind: FrameKind,
    /// Its payload without padding; begins at a multiple of 8 in the file.
    pub payload: &'a [u8],
    /// What the whole operation is, on a `Begin`: kind and bytes.
    pub(crate) begin: Option<Begin>,
}

impl Frame<'_> {
    /// On a `Begin`: the kind of the operation and its bytes, which are no more than the file holds.
    pub fn operation(&self) -> Option<(Kind, u64)> {
        self.begin.map(|begin| (begin.kind, begin.total_bytes))
    }
}

/// An operation of several frames, under way.
#[derive(Clone, Copy, Debug)]
struct OpenOperation {
    parts: u16,
    next: u16,
    bytes_left: u64,
}

/// Walks the frames of one file in order. O(bytes) in all.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    bytes: &'a [u8],
    epoch: u64,
    seed: FrameSeed,
    cursor: Cursor,
    /// The cursor before the operation under way, if there is one, else the same.
    whole: Cursor,
    synced: Seq,
    tally: Tally,
    open: Option<OpenOperation>,
    end: Option<End>,
}

/// Where a frame is expected, and what it must be.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    at: usize,
    next_seq: Seq,
    prev_crc: u32,
    frames: u64,
}

impl<'a> Walk<'a> {
    /// A walk through the file `bytes`, whose header is `header`.
    pub fn new(bytes: &'a [u8], header: &FileHeader) -> Self {
        let (next_seq, prev_crc) = (header.first_seq, header.prev_file_last_crc);
        let cursor = Cursor { at: HEADER_BYTES, next_seq, prev_crc, frames: 0 };
        Walk {
            bytes,
            epoch: header.epoch,
            seed: FrameSeed::new(&header.wal_uuid, header.file_no),
            cursor,
            whole: cursor,
            synced: Seq::ZERO,
            tally: Tally::default(),
            open: None,
            end: None,
        }
    }

    /// The next frame.
    ///
    /// The mark that a clean close leaves ends the walk; it is no part of the log, see [`End::Clean`].
    ///
    /// # Errors
    ///
    /// [`End`], the same one at every further call.
    pub fn step(&mut self) -> Result<Frame<'a>, End> {
        if let Some(end) = self.end {
            return Err(end);
        }
        let frame = self.check().map_err(|fault| *self.end.insert(End::Open(fault)))?;
        let header = &frame.header;
        self.synced = header.synced_seq;
        if frame.kind == FrameKind::SyncMark && header.flags & FRAME_CLEAN != 0 {
            return Err(*self.end.insert(End::Clean));
        }
        self.cursor = Cursor {
            at: self.cursor.at + header.frame_bytes() as usize,
            next_seq: header.seq.next(),
            prev_crc: header.crc,
            frames: self.cursor.frames + 1,
        };
        self.tally.add(header.crc);
        self.open = match (frame.kind, self.open) {
            (FrameKind::Begin, _) => frame.begin.map(|begin| OpenOperation {
                parts: header.count,
                next: 0,
                bytes_left: begin.total_bytes,
            }),
            (FrameKind::Part, Some(open)) => Some(OpenOperation {
                next: open.next + 1,
                bytes_left: open.bytes_left - u64::from(header.len),
                ..open
            }),
            _ => None,
        };
        if self.open.is_none() {
            self.whole = self.cursor;
        }
        if frame.kind == FrameKind::Seal {
            self.end = Some(End::Sealed);
        }
        Ok(frame)
    }

    /// Steps until the end.
    pub(crate) fn run_out(&mut self) -> End {
        loop {
            if let Err(end) = self.step() {
                return end;
            }
        }
    }

    /// Where the frames of whole operations end so far.
    pub fn at(&self) -> u64 {
        self.whole.at as u64
    }

    /// The Seq of a frame that begins there.
    pub fn next_seq(&self) -> Seq {
        self.whole.next_seq
    }

    /// What that frame must name as the checksum of its predecessor.
    pub fn prev_crc(&self) -> u32 {
        self.whole.prev_crc
    }

    /// How many frames end there.
    pub fn frames(&self) -> u64 {
        self.whole.frames
    }

    /// The last Seq recorded as durable; zero without a frame.
    pub fn synced(&self) -> Seq {
        self.synced
    }

    fn check(&self) -> Result<Frame<'a>, Fault> {
        let rest = self.bytes.get(self.cursor.at..).unwrap_or_default();
        let raw = rest.first_chunk::<FRAME_BYTES>().ok_or(Fault::Blank)?;
        if raw.iter().all(|&byte| byte == 0) {
            return Err(Fault::Blank);
        }
        let header = FrameHeader::decode(raw);
        let padded = padded_payload(rest, &header).ok_or(Fault::Checksum)?;
        let whole = self.seed.checksum(raw, [padded].into_iter()) == header.crc;
        #[cfg(feature = "sabotage")]
        let whole = whole || crate::sabotage::ACCEPT_BAD_CHECKSUMS.is_on();
        if !whole {
            return Err(Fault::Checksum);
        }
        let payload = &padded[..header.len as usize];
        let begin = Begin::decode(payload).filter(|_| header.kind() == Some(FrameKind::Begin));
        let frame = header.kind().map(|kind| Frame { header, kind, payload, begin });
        frame.filter(|frame| self.is_next(&frame.header) && self.fits(frame)).ok_or(Fault::Order)
    }

    fn is_next(&self, header: &FrameHeader) -> bool {
        header.epoch == self.epoch
            && header.seq == self.cursor.next_seq
            && header.seq.0 <= SEQ_MAX
            && header.prev_crc == self.cursor.prev_crc
            && header.synced_seq < header.seq
            && header.synced_seq >= self.synced
    }

    /// Whether the frame may stand where it does.
    fn fits(&self, frame: &Frame<'_>) -> bool {
        let header = &frame.header;
        let plain = header.flags == 0 && header.count == 0;
        match (frame.kind, self.open) {
            (FrameKind::Batch | FrameKind::Config | FrameKind::Checkpoint, None) => plain,
            (FrameKind::SyncMark, None) => {
                let clean = header.flags == FRAME_CLEAN && header.synced_seq.next() == header.seq;
                header.len == 0 && header.count == 0 && (header.flags == 0 || clean)
            }
            (FrameKind::Seal, None) => {
                plain && frame.payload == self.tally.seal(self.cursor.at as u64).encode()
            }
            (FrameKind::Begin, None) => {
                let left = (self.bytes.len() - self.cursor.at) as u64;
                let sound = frame.begin.is_some_and(|begin| (1..=left).contains(&begin.total_bytes));
                header.flags == 0 && header.count > 0 && sound
            }
            (FrameKind::Part, Some(open)) => {
                let fits = header.len > 0 && u64::from(header.len) <= open.bytes_left;
                header.flags == 0 && header.count == open.next && open.next < open.parts && fits
            }
            (FrameKind::Commit, Some(open)) => {
                let complete = open.next == open.parts && open.bytes_left == 0;
                header.flags == 0 && header.count == open.parts && header.len == 0 && complete
            }
            _ => false,
        }
    }
}

/// The padded payload of the frame at the front of `rest`, if it lies within.
fn padded_payload<'a>(rest: &'a [u8], header: &FrameHeader) -> Option<&'a [u8]> {
    if header.len as usize > FRAME_PAYLOAD_MAX {
        return None;
    }
    rest.get(FRAME_BYTES..header.frame_bytes() as usize)
}

/// What one file holds, as far as it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileScan {
    /// Its header.
    pub header: FileHeader,
    /// How many frames are whole and in order, and of whole operations.
    pub frames: u64,
    /// Where they end.
    pub bytes: u64,
    /// The Seq the next frame would have.
    pub next_seq: Seq,
    /// The last Seq they record as durable.
    pub synced: Seq,
    /// Why there are no more.
    pub end: End,
}

/// Reads one file from its bytes alone. O(bytes).
///
/// # Errors
///
/// [`HeaderError`]: it has no header that this reader accepts.
pub fn scan(bytes: &[u8]) -> Result<FileScan, HeaderError> {
    let header = FileHeader::decode(bytes)?;
    let mut walk = Walk::new(bytes, &header);
    let end = walk.run_out();
    let (frames, bytes, next_seq) = (walk.frames(), walk.at(), walk.next_seq());
    Ok(FileScan { header, frames, bytes, next_seq, synced: walk.synced(), end })
}

/// What lies behind a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// No frame records the missing one as durable.
    None,
    /// A whole frame records this Seq as durable, the missing one or a later one.
    Durable(Seq),
    /// The budget ran out before the end: crafted bytes.
    Unclear,
}

/// How many bytes a search may checksum for each byte searched. Honest bytes need one: no byte lies in two frames.
pub const SEARCH_BUDGET_FACTOR: u64 = 64;

/// Searches `bytes` from `from` on for a whole frame whose `synced_seq` is `expected` or later.
///
/// `epoch` is the file's, if known. A position in the order proves nothing here; only what the frame records counts.
/// O(bytes), with at most `budget` bytes checksummed for positions that only look like such a frame.
pub fn later_record(
    bytes: &[u8],
    from: usize,
    seed: &FrameSeed,
    epoch: Option<u64>,
    expected: Seq,
    budget: &mut u64,
) -> Evidence {
    let last = bytes.len().saturating_sub(FRAME_BYTES);
    for at in (from.next_multiple_of(ALIGN)..=last).step_by(ALIGN) {
        let Some(raw) = bytes.get(at..).and_then(|rest| rest.first_chunk::<FRAME_BYTES>()) else { break };
        // Reserved room reads as zeros and no epoch is zero, so empty space costs one comparison each 8 bytes.
        let found = u64_at(raw, 8);
        if found == 0 || epoch.is_some_and(|epoch| epoch != found) {
            continue;
        }
        let header = FrameHeader::decode(raw);
        let relevant =
            header.synced_seq >= expected && header.synced_seq < header.seq && header.kind().is_some();
        let Some(padded) = padded_payload(&bytes[at..], &header).filter(|_| relevant) else { continue };
        let Some(left) = budget.checked_sub(header.frame_bytes()) else { return Evidence::Unclear };
        *budget = left;
        if seed.checksum(raw, [padded].into_iter()) == header.crc {
            return Evidence::Durable(header.synced_seq);
        }
    }
    Evidence::None
}
