//! The file log: opening it, replaying it, and handing it over to its writer.

use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_platform::Dir;
use nearfield_types::Seq;

use crate::contract::{Kind, LogReader, Visitor};
use crate::format::{FileHeader, FrameKind};
use crate::listing::{make_folder, open_file};
use crate::recover::{LogFile, Report, Scan};
use crate::repair::repair;
use crate::sync::FileSyncer;
use crate::walk::{End, Fault, Frame, Walk};
use crate::writer::{FileLogWriter, Start};
use crate::{LogError, LogOptions};

/// How often a reader beside a writer looks again before it believes in damage.
const LOOKS: u32 = 4;

/// A log in a folder of files, opened and not yet written.
///
/// # Concurrency
///
/// One [`FileLog::open`] at a time for one folder, whoever holds the lock of the database; any number of [`FileLog::read`]
/// beside it, in other processes too.
///
/// ```
/// use std::ops::ControlFlow;
/// use nearfield_platform::MemoryDir;
/// use nearfield_types::Seq;
/// use nearfield_wal::{Class, FileLog, Kind, LogOptions, LogReader, LogWriter, Syncer};
///
/// let dir = MemoryDir::new();
/// let options = LogOptions::new([7; 16]);
/// let (mut writer, syncer) = FileLog::open(dir.clone(), "log", options)?.into_writer()?;
/// let seq = writer.append(Kind::Batch, Class::Ordinary, &[b"put ", b"7"])?;
/// assert!(syncer.sync(seq)? >= seq); // now it survives a power cut
/// writer.close()?;
///
/// let log = FileLog::open(dir, "log", options)?;
/// assert!(log.report().clean);
/// let mut found = Vec::new();
/// log.replay(Seq::ZERO, &mut |seq, _kind, bytes| {
///     found.push((seq, bytes.to_vec()));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(found, [(seq, b"put 7".to_vec())]);
/// # Ok::<(), nearfield_wal::LogError>(())
/// ```
#[derive(Debug)]
pub struct FileLog {
    dir: Arc<dyn Dir>,
    path: String,
    options: LogOptions,
    scan: Scan,
    report: Report,
    /// Replay goes no further.
    limit: Seq,
    read_only: bool,
}

impl FileLog {
    /// Opens the log in the folder `path` to write it; the folder is made if missing.
    ///
    /// Finds the end of the log by the tail rule, cuts what was torn, and makes all that is left durable. After a clean close it
    /// only reads.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] where data known durable is damaged, with nothing changed; [`LogError::WrongLog`],
    /// [`LogError::Tag`] for files that are not this program's to judge; [`LogError::Full`], [`LogError::Io`].
    ///
    /// # Complexity
    ///
    /// O(bytes of the files that hold something after `flushed`); writes at most the files not known durable.
    pub fn open(dir: Arc<dyn Dir>, path: &str, options: LogOptions) -> Result<FileLog, LogError> {
        let mut scan = Scan::run(&*dir, path, &options)?;
        if scan.folder_missing {
            make_folder(&*dir, path)?;
        }
        let report = repair(&mut scan, &*dir, path, &options.wal_uuid)?;
        let limit = scan.last;
        Ok(FileLog { dir, path: path.to_owned(), options, scan, report, limit, read_only: false })
    }

    /// Opens the log in the folder `path` as it stands, beside its writer perhaps. Never writes; shows only what is durable.
    ///
    /// # Errors
    ///
    /// As [`FileLog::open`]. A file that vanished meanwhile, released by the writer, is an [`LogError::Io`] of the kind
    /// `NotFound`: take a newer manifest and open again.
    pub fn read(dir: Arc<dyn Dir>, path: &str, options: LogOptions) -> Result<FileLog, LogError> {
        let mut looks = 1;
        let scan = loop {
            match Scan::run(&*dir, path, &options) {
                // A frame may have been written between two looks at neighbouring bytes; damage stays.
                Err(LogError::Corrupt { .. }) if looks < LOOKS => looks += 1,
                scanned => break scanned?,
            }
        };
        let report = scan.report();
        let limit = scan.durable.min(scan.last);
        Ok(FileLog { dir, path: path.to_owned(), options, scan, report, limit, read_only: true })
    }

    /// The last Seq of the log that replay reaches; `flushed` if it holds nothing later.
    pub fn last(&self) -> Seq {
        self.limit
    }

    /// The last Seq known durable. After [`FileLog::open`] that is all of the log.
    pub fn durable(&self) -> Seq {
        self.scan.durable
    }

    /// What was found and done.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The writer and the syncer of this log. Nothing is written before the first append, which begins a new generation.
    ///
    /// # Errors
    ///
    /// [`LogError::ReadOnly`] after [`FileLog::read`]; [`LogError::Exhausted`].
    pub fn into_writer(self) -> Result<(FileLogWriter, Arc<FileSyncer>), LogError> {
        if self.read_only {
            return Err(LogError::ReadOnly);
        }
        let start = Start::after(&self.scan)?;
        let files = self.scan.unneeded.into_iter().chain(self.scan.files).collect();
        let syncer = FileSyncer::new(self.dir, self.path, files, self.scan.leftovers, self.scan.last);
        Ok((FileLogWriter::new(Arc::clone(&syncer), &self.options, start), syncer))
    }

    /// Replays one file; true when there is nothing left to visit.
    fn replay_file(&self, file: &LogFile, visit: &mut Visit<'_>) -> Result<bool, LogError> {
        let region = open_file(&*self.dir, &self.path, file.first)?;
        let damaged = |offset, expected, fault| LogError::Corrupt {
            file: file.first.0,
            offset,
            expected,
            durable: self.scan.durable,
            fault,
        };
        let header =
            FileHeader::decode(&region).ok().filter(|header| header.wal_uuid == self.options.wal_uuid);
        let header = header.ok_or(damaged(0, file.first, Fault::Header))?;
        let frames = region.get(..file.bytes as usize).unwrap_or(&region);
        let mut walk = Walk::new(frames, &header);
        loop {
            let (at, expected) = (walk.at(), walk.next_seq());
            match walk.step() {
                Ok(frame) if frame.header.seq > self.limit => return Ok(true),
                Ok(frame) => {
                    if visit.frame(&frame).is_break() {
                        return Ok(true);
                    }
                }
                Err(End::Sealed | End::Clean) => return Ok(false),
                Err(End::Open(_)) if at == file.bytes => return Ok(false),
                // It was whole when the log was opened.
                Err(End::Open(fault)) => return Err(damaged(at, expected, fault)),
            }
        }
    }
}

impl LogReader for FileLog {
    /// As the contract says; operations up to the `flushed` of the options are never visited, and after [`FileLog::read`] none
    /// after [`FileLog::last`].
    fn replay(&self, after: Seq, visit: &mut Visitor<'_>) -> Result<Seq, LogError> {
        let after = after.max(self.options.flushed);
        let mut visit = Visit { after, visit, open: None, stopped: None };
        for file in self.scan.files.iter().filter(|file| file.last > after) {
            // An operation lies in one file; one without its end never happened.
            visit.open = None;
            if self.replay_file(file, &mut visit)? {
                break;
            }
        }
        Ok(visit.stopped.unwrap_or(self.limit))
    }
}

/// Puts operations together and hands them on.
struct Visit<'a> {
    after: Seq,
    visit: &'a mut Visitor<'a>,
    /// An operation of several frames under way.
    open: Option<(Kind, Vec<u8>)>,
    /// Where the visitor broke.
    stopped: Option<Seq>,
}

impl Visit<'_> {
    fn frame(&mut self, frame: &Frame<'_>) -> ControlFlow<()> {
        let seq = frame.header.seq;
        match frame.kind {
            FrameKind::Begin => {
                let commit = seq.0 + 1 + u64::from(frame.header.count);
                let wanted = frame.operation().filter(|_| commit > self.after.0);
                // The walk has compared the bytes with what the file holds.
                self.open = wanted.map(|(kind, bytes)| (kind, Vec::with_capacity(bytes as usize)));
                ControlFlow::Continue(())
            }
            FrameKind::Part => {
                if let Some((_, bytes)) = &mut self.open {
                    bytes.extend_from_slice(frame.payload);
                }
                ControlFlow::Continue(())
            }
            FrameKind::Commit => match self.open.take() {
                Some((kind, bytes)) => self.operation(seq, kind, &bytes),
                None => ControlFlow::Continue(()),
            },
            kind => match kind.operation().filter(|_| seq > self.after) {
                Some(kind) => self.operation(seq, kind, frame.payload),
                None => ControlFlow::Continue(()),
            },
        }
    }

    fn operation(&mut self, seq: Seq, kind: Kind, bytes: &[u8]) -> ControlFlow<()> {
        let flow = (self.visit)(seq, kind, bytes);
        if flow.is_break() {
            self.stopped = Some(seq);
        }
        flow
    }
}
