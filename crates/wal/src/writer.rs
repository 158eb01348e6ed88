//! Appending: where a frame goes, when a file is full, and what the first failure does.
//!
//! Everything that can be refused is refused before a byte is written: the next file has its room reserved before the old one is
//! sealed. After that, a failed write may have left bytes, so it stops the log.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use nearfield_platform::File;
use nearfield_types::Seq;

use crate::contract::{Class, Kind, LogWriter, Syncer};
use crate::error::Op;
use crate::format::{
    Begin, FILE_BEGINS_GENERATION, FRAME_BYTES, FileHeader, FrameHeader, FrameKind, FrameSeed, HEADER_BYTES,
    SEAL_BYTES, SEQ_MAX, Tally, clean_mark, frame_bytes, padding,
};
use crate::options::{FILE_TAIL_BYTES, GENERATION_GAP, LogSizes, Room};
use crate::recover::Scan;
use crate::sync::{FileSyncer, Filled, FinishedFile};
use crate::{Cause, LogError, LogOptions};

/// The [`LogWriter`] of a file log.
///
/// Dropping it is what a crash does to it; [`FileLogWriter::close`] is how to end.
#[derive(Debug)]
pub struct FileLogWriter {
    syncer: Arc<FileSyncer>,
    wal_uuid: [u8; 16],
    sizes: LogSizes,
    cursor: Cursor,
    /// Number and planned size of the next file.
    next_file_no: u64,
    next_file_bytes: u64,
    /// False until the first file of this generation stands.
    begun: bool,
    active: Option<Active>,
    /// A file that could not be finished and not be removed either: nothing is appended while it stands.
    leftover: Option<Seq>,
    /// The last Seq used, and the last one of an operation.
    last: Seq,
    last_operation: Seq,
    /// The newest `synced_seq` that a frame carries.
    recorded: Seq,
}

/// What the next frame continues.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    epoch: u64,
    next_seq: Seq,
    prev_crc: u32,
}

/// The file being written.
#[derive(Debug)]
struct Active {
    file: Arc<dyn File>,
    seed: FrameSeed,
    at: u64,
    room: Room,
    tally: Tally,
}

/// Where a writer starts: behind everything that an opened log holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    cursor: Cursor,
    file_no: u64,
    last: Seq,
}

impl Start {
    pub(crate) fn after(scan: &Scan) -> Result<Start, LogError> {
        let next_seq = scan.next_generation()?;
        let (epoch, file_no, prev_crc) =
            scan.tip.map_or((0, 0, 0), |tip| (tip.epoch, tip.file_no, tip.prev_crc));
        match (epoch.checked_add(1), file_no.checked_add(1)) {
            (Some(epoch), Some(file_no)) => {
                Ok(Start { cursor: Cursor { epoch, next_seq, prev_crc }, file_no, last: scan.last })
            }
            _ => Err(LogError::Exhausted),
        }
    }
}

/// One frame to be written.
struct Body<'a> {
    kind: FrameKind,
    count: u16,
    parts: &'a [&'a [u8]],
}

impl Body<'_> {
    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// A frame of the log's own, without payload.
    fn bare(kind: FrameKind) -> Body<'static> {
        Body { kind, count: 0, parts: &[] }
    }
}

/// The headers of frames that follow one another, and what continues them.
struct Encoded {
    heads: Vec<[u8; FRAME_BYTES]>,
    bytes: u64,
    after: Cursor,
}

/// Encodes the headers of `bodies` from `cursor` on. One pass over the payloads, for their checksums.
fn encode(seed: &FrameSeed, cursor: Cursor, synced_seq: Seq, bodies: &[Body<'_>]) -> Encoded {
    let mut encoded = Encoded { heads: Vec::with_capacity(bodies.len()), bytes: 0, after: cursor };
    for body in bodies {
        let len = body.bytes();
        let mut header = FrameHeader {
            crc: 0,
            len: len as u32,
            epoch: cursor.epoch,
            seq: encoded.after.next_seq,
            synced_seq,
            prev_crc: encoded.after.prev_crc,
            kind: body.kind as u8,
            flags: 0,
            count: body.count,
        };
        let payload = body.parts.iter().copied().chain([padding(len as usize)]);
        header.crc = seed.checksum(&header.encode(), payload);
        encoded.after = Cursor { next_seq: header.seq.next(), prev_crc: header.crc, ..cursor };
        encoded.bytes += header.frame_bytes();
        encoded.heads.push(header.encode());
    }
    encoded
}

impl Active {
    /// Whether frames of `need` bytes still fit.
    fn has_room(&self, class: Class, need: u64) -> bool {
        let kept = match class {
            Class::Ordinary => self.room.headroom,
            Class::Reducing => 0,
        };
        self.at + need + kept + FILE_TAIL_BYTES <= self.room.bytes
    }

    /// Writes frames in one call.
    fn write(&mut self, encoded: &Encoded, bodies: &[Body<'_>]) -> io::Result<()> {
        let mut slices: Vec<&[u8]> = Vec::with_capacity(bodies.iter().map(|body| body.parts.len() + 2).sum());
        for (head, body) in encoded.heads.iter().zip(bodies) {
            slices.push(head);
            slices.extend_from_slice(body.parts);
            slices.push(padding(body.bytes() as usize));
        }
        self.file.write_at(self.at, &slices)?;
        self.at += encoded.bytes;
        encoded.heads.iter().for_each(|head| self.tally.add(FrameHeader::decode(head).crc));
        Ok(())
    }

    /// The payload of the frame that ends this file here.
    fn seal(&self) -> [u8; SEAL_BYTES] {
        self.tally.seal(self.at).encode()
    }
}

impl FileLogWriter {
    pub(crate) fn new(syncer: Arc<FileSyncer>, options: &LogOptions, start: Start) -> Self {
        let sizes = options.sizes.in_range();
        FileLogWriter {
            syncer,
            wal_uuid: options.wal_uuid,
            sizes,
            cursor: start.cursor,
            next_file_no: start.file_no,
            next_file_bytes: sizes.first_bytes,
            begun: false,
            active: None,
            leftover: None,
            last: start.last,
            last_operation: start.last,
            recorded: start.last,
        }
    }

    /// The last Seq used; before the first append the last one of the log that was opened.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Writes a frame that records how far the log is durable, if no frame does yet. The caller syncs through the answer.
    ///
    /// Meant for the first quiet moment after a sync: until a later frame records that sync, damage to what it covered looks
    /// like a torn tail.
    ///
    /// # Errors
    ///
    /// As [`LogWriter::append`]; [`LogError::Full`] may be ignored.
    pub fn sync_mark(&mut self) -> Result<Option<Seq>, LogError> {
        let synced = self.syncer.check()?;
        if self.recorded >= self.last_operation || synced <= self.recorded {
            return Ok(None);
        }
        self.put(Class::Reducing, &[Body::bare(FrameKind::SyncMark)]).map(Some)
    }

    /// Ends the current file, so that it never changes again; the next append begins another, sized after what this one was filled with.
    /// Not durable until [`FileLogWriter::last`] is synced. Does nothing where no file was begun since the last time.
    ///
    /// # Errors
    ///
    /// [`LogError::Poisoned`].
    pub fn rotate(&mut self) -> Result<(), LogError> {
        let synced = self.syncer.check()?;
        if let Some(mut active) = self.active.take() {
            let payload = active.seal();
            let bodies = [Body { parts: &[&payload], ..Body::bare(FrameKind::Seal) }];
            let seal = encode(&active.seed, self.cursor, synced, &bodies);
            active.write(&seal, &bodies).map_err(|error| self.syncer.poison(Op::Write, &error))?;
            self.advance(seal.after, synced);
            self.syncer.ended(self.filled(active.at));
            // Or a row of early ends would reserve ever more room for ever fewer bytes.
            self.next_file_bytes = self.next_file_bytes.min(self.sizes.after(active.at));
        }
        Ok(())
    }

    /// The finished files that hold operations after `after`, oldest first, and the last Seq before them, which is `after` or a later one
    /// with no operation in between. The file being written is none of them: see [`FileLogWriter::rotate`].
    pub fn finished(&self, after: Seq) -> (Seq, Vec<FinishedFile>) {
        self.syncer.finished(after)
    }

    /// Bytes in the file being written.
    pub fn unfinished_bytes(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.at)
    }

    /// What is known of a file whose frames end here.
    fn filled(&self, bytes: u64) -> Filled {
        Filled { last: self.last, last_operation: self.last_operation, bytes }
    }

    /// Makes everything durable and marks the log as closed, so that opening it again has nothing to do. Answers the last durable
    /// Seq. Without an append since opening nothing is written.
    ///
    /// # Errors
    ///
    /// [`LogError::Poisoned`]; [`LogError::Io`] if everything is durable but the mark could not be set. A full disk is no
    /// error: the next opening only has to look.
    pub fn close(mut self) -> Result<Seq, LogError> {
        let durable = self.syncer.sync(self.last)?;
        if !self.begun {
            return Ok(durable);
        }
        let (active, is_new) = match self.active.take() {
            Some(active) => (active, false),
            None => match self.create_file(self.cursor, frame_bytes(0)) {
                Ok(active) => (active, true),
                Err(LogError::Full) => return Ok(durable),
                Err(error) => return Err(error),
            },
        };
        let Cursor { epoch, next_seq, prev_crc } = self.cursor;
        let mark = clean_mark(&active.seed, epoch, next_seq, prev_crc);
        active.file.write_at(active.at, &[&mark]).map_err(|error| self.syncer.poison(Op::Write, &error))?;
        let named = if is_new { self.syncer.sync_names() } else { Ok(()) };
        named.and_then(|()| active.file.sync()).map_err(|error| self.syncer.poison(Op::Sync, &error))?;
        // Only a guard against mistakes, and lets the next opening map the file: all bytes are durable already.
        let _ = active.file.seal();
        Ok(durable)
    }

    /// Writes frames that belong together; answers the Seq of the last.
    fn put(&mut self, class: Class, bodies: &[Body<'_>]) -> Result<Seq, LogError> {
        let mut synced = self.syncer.check()?;
        let (frames, need) = (bodies.len() as u64, bodies.iter().map(|body| frame_bytes(body.bytes())).sum());
        // Two more may follow: the seal of a file and the mark of a close.
        if self.cursor.next_seq.0.saturating_add(frames + 2) > SEQ_MAX {
            return Err(LogError::Exhausted);
        }
        self.remove_leftover()?;
        // No more may be seen beyond the last durable Seq, see GENERATION_GAP.
        if self.last.0.saturating_sub(synced.0) + frames > GENERATION_GAP / 2 {
            synced = self.syncer.sync(self.last)?;
        }
        let mut active = match self.active.take() {
            Some(active) if active.has_room(class, need) => active,
            old => self.turn(old, need, synced)?,
        };
        let encoded = encode(&active.seed, self.cursor, synced, bodies);
        active.write(&encoded, bodies).map_err(|error| self.syncer.poison(Op::Write, &error))?;
        self.active = Some(active);
        self.advance(encoded.after, synced);
        self.syncer.appended(self.last);
        Ok(self.last)
    }

    /// Frames were written.
    fn advance(&mut self, after: Cursor, synced: Seq) {
        self.cursor = after;
        self.last = Seq(after.next_seq.0 - 1);
        self.recorded = synced;
    }

    /// Turns from `old` to a new file with room for `need` bytes of frames. The room is had before `old` is sealed, so an error
    /// that is not a failed write leaves everything as it was.
    fn turn(&mut self, old: Option<Active>, need: u64, synced: Seq) -> Result<Active, LogError> {
        if self.syncer.is_backed_up() {
            self.syncer.sync(self.last)?;
        }
        let payload = old.as_ref().map(Active::seal).unwrap_or_default();
        let bodies = [Body { parts: &[&payload], ..Body::bare(FrameKind::Seal) }];
        let seal = old.as_ref().map(|old| encode(&old.seed, self.cursor, synced, &bodies));
        let cursor = seal.as_ref().map_or(self.cursor, |seal| seal.after);
        let next = match self.create_file(cursor, need) {
            Ok(next) => next,
            Err(error) => {
                self.active = old;
                return Err(error);
            }
        };
        if !self.begun {
            // A generation is durable before its first Seq can be seen, so that no later one begins with the same.
            let synced = next.file.sync().and_then(|()| self.syncer.sync_names());
            synced.map_err(|error| self.syncer.poison(Op::Sync, &error))?;
        }
        let mut filled = 0;
        if let (Some(mut old), Some(seal)) = (old, seal) {
            old.write(&seal, &bodies).map_err(|error| self.syncer.poison(Op::Write, &error))?;
            self.advance(seal.after, synced);
            filled = old.at;
        }
        self.syncer.turned(Arc::clone(&next.file), cursor.next_seq, self.filled(filled), !self.begun);
        self.begun = true;
        self.next_file_no += 1;
        self.next_file_bytes = self.sizes.after(next.room.bytes);
        Ok(next)
    }

    /// Makes the file that `cursor` continues in, with room for `need` bytes of frames; a smaller one where the planned size
    /// does not fit on the disk.
    fn create_file(&mut self, cursor: Cursor, need: u64) -> Result<Active, LogError> {
        let planned = Room::planned(self.next_file_bytes, need);
        let least = Room::planned(self.sizes.first_bytes, need);
        match self.try_create_file(cursor, planned) {
            Err(LogError::Full) if least != planned => self.try_create_file(cursor, least),
            made => made,
        }
    }

    fn try_create_file(&mut self, cursor: Cursor, room: Room) -> Result<Active, LogError> {
        let header = FileHeader {
            wal_uuid: self.wal_uuid,
            file_no: self.next_file_no,
            first_seq: cursor.next_seq,
            prev_file_last_crc: cursor.prev_crc,
            flags: if self.begun { 0 } else { FILE_BEGINS_GENERATION },
            epoch: cursor.epoch,
        };
        let path = self.syncer.named(cursor.next_seq);
        let file = self.syncer.dir().create(&path).map_err(|error| LogError::io(Op::Create, &error))?;
        let made = file.reserve(room.bytes).and_then(|()| file.write_at(0, &[&header.encode()]));
        if let Err(error) = made {
            self.leftover = Some(cursor.next_seq);
            // The first error is the one to report; the next append tries again and reports this one.
            let _ = self.remove_leftover();
            return Err(LogError::io(Op::Create, &error));
        }
        #[cfg(feature = "sabotage")]
        let file = crate::sabotage::late(file);
        let seed = FrameSeed::new(&self.wal_uuid, self.next_file_no);
        Ok(Active { file, seed, at: HEADER_BYTES as u64, room, tally: Tally::default() })
    }

    fn remove_leftover(&mut self) -> Result<(), LogError> {
        if let Some(first) = self.leftover {
            match self.syncer.dir().remove(&self.syncer.named(first)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(LogError::Io(Cause::new(Op::Remove, &error)));
                }
                _ => self.leftover = None,
            }
        }
        Ok(())
    }
}

impl LogWriter for FileLogWriter {
    /// As the contract says; where it rotates it also reserves the next file, and the first append after opening syncs the new
    /// generation's header.
    fn append(&mut self, kind: Kind, class: Class, parts: &[&[u8]]) -> Result<Seq, LogError> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        let (frame_bytes, max) = (self.sizes.frame_bytes, self.sizes.operation_bytes_max());
        if bytes > max {
            return Err(LogError::TooLarge { bytes, max });
        }
        let seq = if bytes <= frame_bytes as u64 {
            self.put(class, &[Body { kind: kind.into(), count: 0, parts }])?
        } else {
            let begin = Begin { kind, total_bytes: bytes }.encode();
            self.put(class, &in_parts(&[&begin], &cut(parts, frame_bytes)))?
        };
        self.last_operation = seq;
        Ok(seq)
    }
}

/// The frames of an operation that does not fit into one.
fn in_parts<'a>(begin: &'a [&'a [u8]], chunks: &'a [Vec<&'a [u8]>]) -> Vec<Body<'a>> {
    // `LogSizes::operation_bytes_max` keeps the number of chunks within 16 bits.
    let count = chunks.len() as u16;
    let first = Body { kind: FrameKind::Begin, count, parts: begin };
    let parts = chunks.iter().zip(0..).map(|(parts, count)| Body { kind: FrameKind::Part, count, parts });
    let last = Body { count, ..Body::bare(FrameKind::Commit) };
    std::iter::once(first).chain(parts).chain([last]).collect()
}

/// Cuts the concatenation of `parts` into pieces of `bytes`, the last one shorter, without copying.
fn cut<'a>(parts: &[&'a [u8]], bytes: usize) -> Vec<Vec<&'a [u8]>> {
    let mut chunks = vec![Vec::new()];
    let mut room = bytes;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            if room == 0 {
                chunks.push(Vec::new());
                room = bytes;
            }
            let (taken, left) = rest.split_at(rest.len().min(room));
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(taken);
            }
            room -= taken.len();
            rest = left;
        }
    }
    chunks
}
