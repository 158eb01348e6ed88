//! The byte layout of log files: one header a file, then frames.
//!
//! It is encoding and decoding only: pure functions of bytes, nothing is judged against a neighbour (that is `walk`) and
//! nothing is opened. All numbers are little-endian. [`LAYOUTS`] is the one source of the layout; its sizes are asserted when
//! the crate is compiled and the format document is checked against it.

use nearfield_codec::{Crc32c, FileTag, TagError, crc32c};
use nearfield_types::Seq;

use crate::Kind;

/// What every log file begins with: its kind, the oldest reader that understands it, and the writer's version.
pub const TAG: FileTag = FileTag::new(*b"NFWL", 1, 1);
/// Bytes of the header of a file.
pub const HEADER_BYTES: usize = 64;
/// Bytes of the header of a frame.
pub const FRAME_BYTES: usize = 40;
/// Frames begin at multiples of this; payloads are padded to it with zeros.
pub const ALIGN: usize = 8;
/// Most payload bytes of one frame. A larger operation takes several frames.
pub const FRAME_PAYLOAD_MAX: usize = 64 << 20;
/// Payload bytes of a `Begin` frame.
pub const BEGIN_BYTES: usize = 16;
/// Payload bytes of a `Seal` frame.
pub const SEAL_BYTES: usize = 24;
/// No Seq of a log is larger, so adding a gap to one cannot overflow.
pub const SEQ_MAX: u64 = u64::MAX / 2;

/// Header flag: the file begins a generation, so the frames before it ended where its `prev_file_last_crc` says.
pub const FILE_BEGINS_GENERATION: u32 = 1;
/// Frame flag of a `SyncMark`: the log was closed here; everything before this frame is durable.
pub const FRAME_CLEAN: u8 = 1;

/// The fields of a structure: name, offset, bytes.
pub type Layout = &'static [(&'static str, usize, usize)];

/// Header of a file.
pub const HEADER_LAYOUT: Layout = &[
    ("magic", 0, 4),
    ("read_version", 4, 2),
    ("write_version", 6, 2),
    ("wal_uuid", 8, 16),
    ("file_no", 24, 8),
    ("first_seq", 32, 8),
    ("prev_file_last_crc", 40, 4),
    ("flags", 44, 4),
    ("epoch", 48, 8),
    ("reserved", 56, 4),
    ("crc32c", 60, 4),
];

/// Header of a frame. Its checksum covers everything after itself, payload and padding included.
pub const FRAME_LAYOUT: Layout = &[
    ("crc32c", 0, 4),
    ("len", 4, 4),
    ("epoch", 8, 8),
    ("seq", 16, 8),
    ("synced_seq", 24, 8),
    ("prev_crc", 32, 4),
    ("kind", 36, 1),
    ("flags", 37, 1),
    ("count", 38, 2),
];

/// Payload of a `Begin` frame.
pub const BEGIN_LAYOUT: Layout = &[("kind", 0, 1), ("reserved", 1, 7), ("total_bytes", 8, 8)];

/// Payload of a `Seal` frame.
pub const SEAL_LAYOUT: Layout =
    &[("frames", 0, 8), ("bytes", 8, 8), ("frames_crc", 16, 4), ("reserved", 20, 4)];

/// Every structure of the log with its size, for the format document.
pub const LAYOUTS: &[(&str, Layout, usize)] = &[
    ("log file header", HEADER_LAYOUT, HEADER_BYTES),
    ("log frame header", FRAME_LAYOUT, FRAME_BYTES),
    ("log begin payload", BEGIN_LAYOUT, BEGIN_BYTES),
    ("log seal payload", SEAL_LAYOUT, SEAL_BYTES),
];

/// True where the fields follow one another without a hole and fill `bytes`.
const fn is_packed(layout: Layout, bytes: usize) -> bool {
    let (mut i, mut at) = (0, 0);
    while i < layout.len() {
        if layout[i].1 != at {
            return false;
        }
        at += layout[i].2;
        i += 1;
    }
    at == bytes
}

const _: () = {
    let mut i = 0;
    while i < LAYOUTS.len() {
        assert!(is_packed(LAYOUTS[i].1, LAYOUTS[i].2));
        assert!(LAYOUTS[i].2.is_multiple_of(ALIGN));
        i += 1;
    }
    assert!(FRAME_PAYLOAD_MAX.is_multiple_of(ALIGN));
};

/// What a frame is. Callers append [`Kind`]s; the other kinds are the log's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Points written, changed or deleted.
    Batch = 1,
    /// Begins an operation of several frames.
    Begin = 2,
    /// A part of such an operation.
    Part = 3,
    /// Ends such an operation; without it the operation never happened.
    Commit = 4,
    /// A change of configuration.
    Config = 5,
    /// The last frame of a file that another file follows.
    Seal = 6,
    /// Carries a newer `synced_seq`, nothing else.
    SyncMark = 7,
    /// A note that a checkpoint happened.
    Checkpoint = 8,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<FrameKind> {
        use FrameKind::{Batch, Begin, Checkpoint, Commit, Config, Part, Seal, SyncMark};
        let kinds = [Batch, Begin, Part, Commit, Config, Seal, SyncMark, Checkpoint];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The caller's kind, if it is one.
    pub fn operation(self) -> Option<Kind> {
        match self {
            FrameKind::Batch => Some(Kind::Batch),
            FrameKind::Config => Some(Kind::Config),
            FrameKind::Checkpoint => Some(Kind::Checkpoint),
            _ => None,
        }
    }
}

impl From<Kind> for FrameKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Batch => FrameKind::Batch,
            Kind::Config => FrameKind::Config,
            Kind::Checkpoint => FrameKind::Checkpoint,
        }
    }
}

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Which log the file belongs to.
    pub wal_uuid: [u8; 16],
    /// The number of the file in its log, from 1.
    pub file_no: u64,
    /// The Seq its first frame has or will have.
    pub first_seq: Seq,
    /// Checksum of the last frame before this file, 0 if there is none.
    pub prev_file_last_crc: u32,
    /// [`FILE_BEGINS_GENERATION`] or 0.
    pub flags: u32,
    /// The generation: grows whenever a log is written again after having been opened.
    pub epoch: u64,
}

/// Why a file header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Not a log file, or one for newer readers.
    Tag(TagError),
    /// Shorter than a header.
    Short,
    /// The checksum does not hold.
    Checksum,
    /// The checksum holds and a field is outside its range.
    Range,
}

impl FileHeader {
    /// True where the file begins a generation.
    pub fn begins_generation(&self) -> bool {
        self.flags & FILE_BEGINS_GENERATION != 0
    }

    /// The header as bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&TAG.encode());
        out[8..24].copy_from_slice(&self.wal_uuid);
        out[24..32].copy_from_slice(&self.file_no.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_seq.0.to_le_bytes());
        out[40..44].copy_from_slice(&self.prev_file_last_crc.to_le_bytes());
        out[44..48].copy_from_slice(&self.flags.to_le_bytes());
        out[48..56].copy_from_slice(&self.epoch.to_le_bytes());
        let crc = crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// [`HeaderError`]. A file for newer readers is told apart before its checksum is looked at.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, HeaderError> {
        TAG.check(bytes).map_err(HeaderError::Tag)?;
        let raw = bytes.first_chunk::<HEADER_BYTES>().ok_or(HeaderError::Short)?;
        if u32_at(raw, 60) != crc32c(&raw[..60]) {
            return Err(HeaderError::Checksum);
        }
        let header = FileHeader::decode_unchecked(raw);
        let in_range = header.file_no > 0
            && header.epoch > 0
            && (1..=SEQ_MAX).contains(&header.first_seq.0)
            && header.flags & !FILE_BEGINS_GENERATION == 0
            && u32_at(raw, 56) == 0;
        if in_range { Ok(header) } else { Err(HeaderError::Range) }
    }

    /// The fields as they stand, whatever the checksum says: hints for judging a damaged file.
    pub(crate) fn decode_unchecked(raw: &[u8; HEADER_BYTES]) -> FileHeader {
        let mut wal_uuid = [0; 16];
        wal_uuid.copy_from_slice(&raw[8..24]);
        FileHeader {
            wal_uuid,
            file_no: u64_at(raw, 24),
            first_seq: Seq(u64_at(raw, 32)),
            prev_file_last_crc: u32_at(raw, 40),
            flags: u32_at(raw, 44),
            epoch: u64_at(raw, 48),
        }
    }

    /// The header that `bytes` held before one of its bytes changed, if that is what happened to it. O(64 × 256) checksums.
    ///
    /// Only evidence: it tells a damaged header from one that was never written; nothing is read on its word.
    pub(crate) fn decode_healed(bytes: &[u8]) -> Option<FileHeader> {
        let mut raw = *bytes.first_chunk::<HEADER_BYTES>()?;
        if raw.iter().all(|&byte| byte == 0) {
            return None;
        }
        for i in 0..HEADER_BYTES {
            let kept = raw[i];
            for value in 0..=u8::MAX {
                raw[i] = value;
                if let Ok(header) = FileHeader::decode(&raw) {
                    return Some(header);
                }
            }
            raw[i] = kept;
        }
        None
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Checksum of all after itself, seeded with the log's uuid and the file's number.
    pub crc: u32,
    /// Bytes of the payload, without padding.
    pub len: u32,
    /// The generation of the file.
    pub epoch: u64,
    /// The place of the frame; frames of a generation have consecutive ones.
    pub seq: Seq,
    /// The last Seq known durable when the frame was written.
    pub synced_seq: Seq,
    /// Checksum of the frame before this one, also across files.
    pub prev_crc: u32,
    /// A [`FrameKind`] as its byte.
    pub kind: u8,
    /// [`FRAME_CLEAN`] or 0.
    pub flags: u8,
    /// `Begin` and `Commit`: how many parts; `Part`: which, from 0; else 0.
    pub count: u16,
}

impl FrameHeader {
    /// The kind, if it is one.
    pub fn kind(&self) -> Option<FrameKind> {
        FrameKind::from_byte(self.kind)
    }

    /// Bytes of the whole frame: header, payload, padding. At most 2^32 + 48.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.len))
    }

    /// The header as bytes.
    pub fn encode(&self) -> [u8; FRAME_BYTES] {
        let mut out = [0; FRAME_BYTES];
        out[..4].copy_from_slice(&self.crc.to_le_bytes());
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        out[16..24].copy_from_slice(&self.seq.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.synced_seq.0.to_le_bytes());
        out[32..36].copy_from_slice(&self.prev_crc.to_le_bytes());
        out[36] = self.kind;
        out[37] = self.flags;
        out[38..].copy_from_slice(&self.count.to_le_bytes());
        out
    }

    /// Reads a frame header; nothing is judged.
    pub fn decode(raw: &[u8; FRAME_BYTES]) -> FrameHeader {
        FrameHeader {
            crc: u32_at(raw, 0),
            len: u32_at(raw, 4),
            epoch: u64_at(raw, 8),
            seq: Seq(u64_at(raw, 16)),
            synced_seq: Seq(u64_at(raw, 24)),
            prev_crc: u32_at(raw, 32),
            kind: raw[36],
            flags: raw[37],
            count: u16::from_le_bytes([raw[38], raw[39]]),
        }
    }
}

/// Bytes of a frame with `len` payload bytes.
pub(crate) fn frame_bytes(len: u64) -> u64 {
    FRAME_BYTES as u64 + len.next_multiple_of(ALIGN as u64)
}

/// The zeros that pad `len` payload bytes.
pub(crate) fn padding(len: usize) -> &'static [u8] {
    &[0; ALIGN][..len.next_multiple_of(ALIGN) - len]
}

/// What the checksums of one file's frames begin with, so that bytes of another file or log never validate.
#[derive(Clone, Debug)]
pub struct FrameSeed(Crc32c);

impl FrameSeed {
    /// The seed of the file `file_no` of the log `wal_uuid`.
    pub fn new(wal_uuid: &[u8; 16], file_no: u64) -> Self {
        let mut seed = Crc32c::new();
        seed.update(wal_uuid).update(&file_no.to_le_bytes());
        FrameSeed(seed)
    }

    /// The checksum of a frame: its encoded header without the first four bytes, then the payload in `parts`, then padding.
    pub fn checksum<'a>(&self, head: &[u8; FRAME_BYTES], parts: impl Iterator<Item = &'a [u8]>) -> u32 {
        let mut sum = self.0.clone();
        sum.update(&head[4..]);
        parts.for_each(|part| {
            sum.update(part);
        });
        sum.value()
    }
}

/// The frame that a clean close leaves behind everything: `next_seq` is the Seq after the last one.
pub(crate) fn clean_mark(seed: &FrameSeed, epoch: u64, next_seq: Seq, prev_crc: u32) -> [u8; FRAME_BYTES] {
    let synced_seq = Seq(next_seq.0 - 1);
    let kind = FrameKind::SyncMark as u8;
    let mut header = FrameHeader {
        crc: 0,
        len: 0,
        epoch,
        seq: next_seq,
        synced_seq,
        prev_crc,
        kind,
        flags: FRAME_CLEAN,
        count: 0,
    };
    header.crc = seed.checksum(&header.encode(), std::iter::empty());
    header.encode()
}

/// Payload of a `Begin` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// What the whole operation is.
    pub(crate) kind: Kind,
    /// Payload bytes of all its parts together.
    pub(crate) total_bytes: u64,
}

impl Begin {
    pub(crate) fn encode(&self) -> [u8; BEGIN_BYTES] {
        let mut out = [0; BEGIN_BYTES];
        out[0] = FrameKind::from(self.kind) as u8;
        out[8..].copy_from_slice(&self.total_bytes.to_le_bytes());
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Begin> {
        let raw: &[u8; BEGIN_BYTES] = payload.try_into().ok()?;
        let kind = FrameKind::from_byte(raw[0])?.operation()?;
        let begin = Begin { kind, total_bytes: u64_at(raw, 8) };
        (begin.encode() == *raw).then_some(begin)
    }
}

/// Payload of a `Seal` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Frames of the file before this one.
    pub(crate) frames: u64,
    /// Bytes of the file before this frame.
    pub(crate) bytes: u64,
    /// CRC-32C over the checksums of those frames, in order.
    pub(crate) frames_crc: u32,
}

impl Seal {
    pub(crate) fn encode(&self) -> [u8; SEAL_BYTES] {
        let mut out = [0; SEAL_BYTES];
        out[..8].copy_from_slice(&self.frames.to_le_bytes());
        out[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        out[16..20].copy_from_slice(&self.frames_crc.to_le_bytes());
        out
    }
}

/// What a `Seal` frame will say, kept while frames are written or read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    frames: u64,
    sum: Crc32c,
}

impl Tally {
    /// Counts a frame with the checksum `crc`.
    pub(crate) fn add(&mut self, crc: u32) {
        self.frames += 1;
        self.sum.update(&crc.to_le_bytes());
    }

    /// The seal of a file whose frames so far take it to `bytes`.
    pub(crate) fn seal(&self, bytes: u64) -> Seal {
        Seal { frames: self.frames, bytes, frames_crc: self.sum.value() }
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}
