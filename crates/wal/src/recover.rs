//! Finding where a log ends, and telling a torn tail from damage (the *tail rule*).
//!
//! It only reads; `repair` acts on what is found here. It never trusts a position in the order: a frame behind a bad one counts
//! only for what it records as durable.
//!
//! # The tail rule
//!
//! Walk the frames in order. At the first place where the expected frame, Seq x, is not whole, look for a record that x was
//! durable: the manifest's, a later whole frame's `synced_seq`, or the header of a later generation (which is written only after
//! everything before it was made durable). Such a record means damage: refuse. None means a tail that was torn while nobody had
//! been promised anything: cut there.

use nearfield_codec::{Region, TagError};
use nearfield_platform::Dir;
use nearfield_types::Seq;

use crate::format::{FileHeader, FrameKind, FrameSeed, HEADER_BYTES, HeaderError};
use crate::listing::{Listing, open_file};
use crate::options::GENERATION_GAP;
use crate::walk::{End, Evidence, Fault, SEARCH_BUDGET_FACTOR, Walk, later_record};
use crate::{LogError, LogOptions};

/// One file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// The Seq it is named after.
    pub(crate) first: Seq,
    /// The last Seq up to its end; before `first` where it holds no frame.
    pub(crate) last: Seq,
    /// No operation up to its end is later.
    pub(crate) last_operation: Seq,
    /// Where its frames end.
    pub(crate) bytes: u64,
}

/// Where the log ends: what the next file must continue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip {
    pub(crate) epoch: u64,
    pub(crate) file_no: u64,
    pub(crate) prev_crc: u32,
    pub(crate) next_seq: Seq,
    /// How the last file ends.
    pub(crate) end: End,
}

/// What a log holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Files that are not needed any more, unread.
    pub(crate) unneeded: Vec<LogFile>,
    /// The files of the log, in order.
    pub(crate) files: Vec<LogFile>,
    /// Files behind the end of the log.
    pub(crate) stale: Vec<Seq>,
    /// Names of torn and temporary files.
    pub(crate) leftovers: Vec<String>,
    /// None without a file.
    pub(crate) tip: Option<Tip>,
    /// The last Seq of the log; zero, or `flushed`, if it holds nothing.
    pub(crate) last: Seq,
    /// The last Seq known to have been made durable.
    pub(crate) durable: Seq,
    /// How many whole frames there are.
    pub(crate) frames: u64,
    /// Bytes that are not zeros follow the last frame in its file.
    pub(crate) torn: bool,
    /// Where the log ends other than by a clean close.
    pub(crate) stop: Option<Stop>,
    pub(crate) folder_missing: bool,
}

/// Where a log stops, and why there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The first Seq of the file, which is its name.
    pub file: Seq,
    /// Where in the file.
    pub offset: u64,
    /// The Seq expected there.
    pub expected: Seq,
    /// What is there instead.
    pub fault: Fault,
}

/// What opening had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The log had been closed, or never written; nothing had to be done.
    pub clean: bool,
    /// Where the log stops, if not closed.
    pub stop: Option<Stop>,
    /// Files whose frames were copied to new ones to make them durable.
    pub rewritten: u32,
    /// Files put aside as `.torn`, wholly or for their tail.
    pub torn: u32,
    /// Files of the log.
    pub files: u32,
    /// Whole frames in them, the log's own included.
    pub frames: u64,
}

impl Scan {
    /// Reads the log. O(bytes of the needed files); one file in memory at a time.
    pub(crate) fn run(dir: &dyn Dir, path: &str, options: &LogOptions) -> Result<Scan, LogError> {
        let listing = Listing::read(dir, path)?;
        // The file that holds `flushed` is read too: the next one must continue it.
        let needed = listing.files.partition_point(|&first| first <= options.flushed);
        let (unneeded, names) = listing.files.split_at(needed.saturating_sub(1));
        let mut scan = Scan {
            unneeded: unneeded
                .iter()
                .map(|&first| LogFile {
                    first,
                    last: options.flushed,
                    last_operation: options.flushed,
                    bytes: 0,
                })
                .collect(),
            files: Vec::new(),
            stale: Vec::new(),
            leftovers: listing.leftovers,
            tip: None,
            last: options.flushed,
            durable: options.recorded(),
            frames: 0,
            torn: false,
            stop: None,
            folder_missing: listing.folder_missing,
        };
        let (mut broken, mut tail) = (None, None);
        for &name in names {
            let region = open_file(dir, path, name)?;
            match scan.link(&region, name, options)? {
                Ok(header) => {
                    broken = None;
                    scan.read(&region, &header);
                    tail = Some(region);
                }
                Err(fault) => {
                    broken.get_or_insert(fault);
                    scan.stale.push(name);
                }
            }
        }
        let stop = scan.stop_at(options, broken);
        let evidence =
            match tail.as_ref().and_then(|region| scan.evidence_in_tail(region, options, stop.expected)) {
                Some(evidence) => evidence,
                None => scan.evidence_behind(dir, path, options, stop.expected)?,
            };
        scan.judge(stop, evidence, options.recorded())?;
        Ok(scan)
    }

    /// The header of a file, if the file continues the log or the log may begin with it.
    fn link(
        &mut self,
        region: &Region,
        name: Seq,
        options: &LogOptions,
    ) -> Result<Result<FileHeader, Fault>, LogError> {
        let header = match FileHeader::decode(region) {
            Err(HeaderError::Tag(error @ TagError::TooNew { .. })) => {
                return Err(LogError::Tag { file: name.0, error });
            }
            Err(_) => return Ok(Err(Fault::Header)),
            Ok(header) => header,
        };
        let first = self.tip.is_none() && self.stale.is_empty();
        if header.wal_uuid != options.wal_uuid {
            let wrong = LogError::WrongLog { file: name.0, found: header.wal_uuid };
            return if first { Err(wrong) } else { Ok(Err(Fault::Header)) };
        }
        if header.first_seq != name {
            return Ok(Err(Fault::Header));
        }
        if self.stale.is_empty() && self.tip.is_some_and(|tip| tip.is_continued_by(&header)) {
            return Ok(Ok(header));
        }
        let begins_log = first && header.file_no == 1;
        if !begins_log && !may_begin(region, &header, options.flushed) {
            return Ok(Err(Fault::Missing));
        }
        // All before this file is unneeded, whatever state it is in.
        let last = options.flushed;
        let before = self.files.drain(..).map(|file| file.first).chain(self.stale.drain(..));
        self.unneeded.extend(before.map(|first| LogFile { first, last, last_operation: last, bytes: 0 }));
        (self.tip, self.last, self.frames) = (None, last, 0);
        Ok(Ok(header))
    }

    /// Reads the frames of the next file of the log.
    fn read(&mut self, region: &Region, header: &FileHeader) {
        if header.begins_generation() {
            self.durable = self.durable.max(self.last);
        }
        let mut walk = Walk::new(region, header);
        let mut last_operation = self.files.last().map_or(Seq::ZERO, |file| file.last_operation);
        let end = loop {
            match walk.step() {
                Ok(frame) if frame.kind == FrameKind::Commit || frame.kind.operation().is_some() => {
                    last_operation = frame.header.seq;
                }
                Ok(_) => {}
                Err(end) => break end,
            }
        };
        if walk.frames() > 0 {
            self.last = Seq(walk.next_seq().0 - 1);
            self.frames += walk.frames();
        }
        self.durable = self.durable.max(walk.synced());
        self.files.push(LogFile {
            first: header.first_seq,
            last: self.last,
            last_operation,
            bytes: walk.at(),
        });
        self.torn = matches!(end, End::Open(_)) && region[walk.at() as usize..].iter().any(|&byte| byte != 0);
        self.tip = Some(Tip {
            epoch: header.epoch,
            file_no: header.file_no,
            prev_crc: walk.prev_crc(),
            next_seq: walk.next_seq(),
            end,
        });
    }

    /// Where the log stops, `broken` being what is wrong with the file that should follow, if one does.
    fn stop_at(&self, options: &LogOptions, broken: Option<Fault>) -> Stop {
        let next = self.stale.first().copied();
        match (self.files.last(), self.tip) {
            (Some(file), Some(tip)) => {
                let (file, offset, fault) = match (tip.end, broken, next) {
                    (End::Open(fault), _, _) => (file.first, file.bytes, fault),
                    (_, Some(Fault::Header), Some(next)) => (next, 0, Fault::Header),
                    _ => (file.first, file.bytes, Fault::Missing),
                };
                Stop { file, offset, expected: tip.next_seq, fault }
            }
            _ => {
                let wanted = Seq(options.flushed.0.saturating_add(1));
                let file = next.unwrap_or(wanted);
                Stop { file, offset: 0, expected: wanted.min(file), fault: broken.unwrap_or(Fault::Missing) }
            }
        }
    }

    /// Applies the tail rule.
    fn judge(&mut self, stop: Stop, evidence: Evidence, recorded: Seq) -> Result<(), LogError> {
        let Stop { file, offset, mut expected, fault } = stop;
        let (durable, fault) = match evidence {
            _ if recorded > self.last => {
                // The record may name a Seq that the gap between two generations leaves out.
                expected = expected.min(self.last.next());
                (recorded, fault)
            }
            _ if recorded >= expected => (recorded, fault),
            Evidence::Durable(durable) => (durable, fault),
            Evidence::Unclear => (expected, Fault::Unclear),
            Evidence::None => {
                let closed = self.tip.is_none_or(|tip| tip.end == End::Clean);
                if closed {
                    self.durable = self.last;
                }
                self.stop = Some(stop).filter(|_| !closed || !self.stale.is_empty());
                return Ok(());
            }
        };
        Err(LogError::Corrupt { file: file.0, offset, expected, durable, fault })
    }

    /// Looks behind the last frame in its file for a record that `expected` was durable.
    fn evidence_in_tail(&self, region: &Region, options: &LogOptions, expected: Seq) -> Option<Evidence> {
        let (file, tip) = (self.files.last()?, self.tip?);
        if !matches!(tip.end, End::Open(_)) {
            return None;
        }
        let seed = FrameSeed::new(&options.wal_uuid, tip.file_no);
        let mut budget = (region.len() as u64).saturating_mul(SEARCH_BUDGET_FACTOR);
        let found = later_record(region, file.bytes as usize, &seed, Some(tip.epoch), expected, &mut budget);
        Some(found).filter(|found| *found != Evidence::None)
    }

    /// Looks in the files behind the end for a record that `expected` was durable.
    fn evidence_behind(
        &self,
        dir: &dyn Dir,
        path: &str,
        options: &LogOptions,
        expected: Seq,
    ) -> Result<Evidence, LogError> {
        for (i, &name) in self.stale.iter().enumerate() {
            let region = open_file(dir, path, name)?;
            let found = match stale_header(&region, options) {
                // It was written only after all before it had been made durable.
                Some(header) if header.begins_generation() => Evidence::Durable(expected),
                Some(header) => search(&region, options, &[header.file_no], Some(header.epoch), expected),
                None => search(&region, options, &self.guesses(&region, i as u64), None, expected),
            };
            if found != Evidence::None {
                return Ok(found);
            }
        }
        Ok(Evidence::None)
    }

    /// Numbers that a file with a damaged header may have: what it says, what it said before one byte changed, what its place says.
    fn guesses(&self, region: &Region, place: u64) -> Vec<u64> {
        let said = region.first_chunk::<HEADER_BYTES>().map(|raw| FileHeader::decode_unchecked(raw).file_no);
        let healed = FileHeader::decode_healed(region).map(|header| header.file_no);
        let placed = self.tip.map_or(0, |tip| tip.file_no).saturating_add(1 + place);
        let mut guesses: Vec<u64> = said.into_iter().chain(healed).chain([placed]).collect();
        guesses.sort_unstable();
        guesses.dedup();
        guesses
    }

    /// The first Seq of the next generation.
    ///
    /// # Errors
    ///
    /// [`LogError::Exhausted`] beyond all Seqs.
    pub(crate) fn next_generation(&self) -> Result<Seq, LogError> {
        let seen = self.files.iter().map(|file| file.first).chain([self.last, self.durable]).max();
        match seen {
            None | Some(Seq::ZERO) => Ok(Seq(1)),
            Some(seen) => match seen.0.checked_add(GENERATION_GAP) {
                Some(first) if first <= crate::format::SEQ_MAX => Ok(Seq(first)),
                _ => Err(LogError::Exhausted),
            },
        }
    }

    /// What was found.
    pub(crate) fn report(&self) -> Report {
        Report {
            clean: self.stop.is_none(),
            stop: self.stop,
            files: self.files.len() as u32,
            frames: self.frames,
            ..Report::default()
        }
    }
}

impl Tip {
    /// Whether a file with this header is the next one.
    fn is_continued_by(&self, header: &FileHeader) -> bool {
        let next_file =
            self.file_no.checked_add(1) == Some(header.file_no) && header.prev_file_last_crc == self.prev_crc;
        let same_generation =
            header.epoch == self.epoch && header.first_seq == self.next_seq && self.end == End::Sealed;
        let next_generation = header.epoch > self.epoch && header.first_seq >= self.next_seq;
        next_file && if header.begins_generation() { next_generation } else { same_generation }
    }
}

/// Whether nothing before a file is needed: it begins early enough, or with it begins a generation, and all before that
/// generation, which its first frame records as durable, is unneeded.
fn may_begin(region: &Region, header: &FileHeader, flushed: Seq) -> bool {
    let early = header.first_seq.0 <= flushed.0.saturating_add(1);
    let before_is_unneeded = || {
        let first = Walk::new(region, header).step();
        first.is_ok_and(|frame| frame.header.synced_seq <= flushed)
    };
    early || (header.begins_generation() && before_is_unneeded())
}

/// The header of a file behind the end, if it is whole and of this log.
fn stale_header(region: &Region, options: &LogOptions) -> Option<FileHeader> {
    FileHeader::decode(region).ok().filter(|header| header.wal_uuid == options.wal_uuid)
}

/// Searches a whole file behind the end of the log, under each number it may have.
fn search(
    region: &Region,
    options: &LogOptions,
    numbers: &[u64],
    epoch: Option<u64>,
    expected: Seq,
) -> Evidence {
    let mut budget = (region.len() as u64).saturating_mul(SEARCH_BUDGET_FACTOR);
    let mut found = numbers.iter().map(|&file_no| {
        let seed = FrameSeed::new(&options.wal_uuid, file_no);
        later_record(region, HEADER_BYTES, &seed, epoch, expected, &mut budget)
    });
    found.find(|evidence| *evidence != Evidence::None).unwrap_or(Evidence::None)
}
