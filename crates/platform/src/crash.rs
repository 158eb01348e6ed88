//! What a disk may hold after a power cut, computed from the journal of calls.
//!
//! The model of the disk, in the order of what can be relied on:
//!
//! * What a sync covered is there: bytes after the file's sync, a name after the sync of its folder, a rename after the syncs of
//!   both. A later name implies the earlier ones it rests on (a rename implies the creation of what was renamed).
//! * Everything else may be there or not, in any combination, except that each call on names happens whole or not at all, and
//!   each sector of a file (512 or 4096 bytes, drawn per image) holds what the file held there at *some* moment since its sync:
//!   sectors are neither mixed nor invented. A file's length is one it had, or one within a write that grew it; room that was
//!   never written reads as zeros.
//! * A name may be lost though the bytes of its file were synced.
//! * After a failed sync the system may call pages clean that it never wrote: a later successful sync does not help them, only
//!   writing them again does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::call::Call;
use crate::content::Content;
use crate::entropy::{Entropy, SeededEntropy};
use crate::journal::{Edit, Names, Node, Op, ROOT, Record};
use crate::memory::{self, MakeFile, MemoryDir, MemoryFile};
use crate::path::joined;

const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// What of the unsynced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossModel {
    /// The power is not cut at all, the process is killed: all calls made are there.
    Process,
    /// Nothing: the power is cut, and all calls made happen to be there. The same image as [`LossModel::Process`].
    None,
    /// Everything that no sync covered.
    All,
    /// Everything after a random moment since the oldest unsynced call; a write at that moment is torn between sectors.
    Prefix,
    /// A random part: names, whole writes and single sectors, reordered at will between syncs.
    Random,
}

impl LossModel {
    /// The four of a power cut.
    pub const ALL: [LossModel; 4] = [LossModel::None, LossModel::All, LossModel::Prefix, LossModel::Random];
}

/// The state of the disk, moved along the journal of a [`FaultyDir`](crate::FaultyDir), from which crash images are drawn.
///
/// # Complexity
///
/// Moving on costs what the calls in between cost; moving back starts anew. An image costs the number of names, plus a copy of
/// each file that has unsynced bytes: the others are shared.
#[derive(Clone, Debug)]
pub struct Replay {
    pub(crate) journal: Vec<Arc<Record>>,
    start: Disk,
    disk: Disk,
    /// Calls of the journal that `disk` has seen.
    at: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The names that are durable.
    names: Names,
    files: Vec<DiskFile>,
    /// The calls on names that are not durable, in order.
    pending: Vec<PendingNames>,
}

#[derive(Clone, Debug, Default)]
struct DiskFile {
    durable: Content,
    /// What is not durable, in order.
    pending: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct PendingNames {
    /// Its place in the journal.
    op: usize,
    /// The folders whose sync it still waits for.
    awaits: Vec<u32>,
}

/// Unsynced bytes, or unsynced room (no bytes, but an end).
#[derive(Clone, Debug)]
struct Piece {
    op: usize,
    offset: usize,
    bytes: Arc<[u8]>,
    /// The file reaches at least this far.
    end: usize,
    /// A sync failed on it: the system believes it to be on disk.
    forgotten: bool,
}

/// How one image is drawn.
struct Draw {
    model: LossModel,
    random: SeededEntropy,
    /// For `Prefix`: the first call that is lost (or torn).
    cut: usize,
    /// For `Random` and `Prefix`: bytes that reach the disk together.
    sector: usize,
}

impl Replay {
    pub(crate) fn new(start: Disk) -> Self {
        Replay { journal: Vec::new(), disk: start.clone(), start, at: 0 }
    }

    /// Calls in the journal.
    pub fn ops(&self) -> usize {
        self.journal.len()
    }

    /// What the call `op` was and the path it named, if there was one so far.
    pub fn op(&self, op: usize) -> Option<(Call, &str)> {
        self.journal.get(op).map(|record| (record.call, record.path.as_str()))
    }

    /// A directory as it may be if the power fails after the first `ops` calls. The same arguments give the same image.
    pub fn image(&mut self, ops: usize, model: LossModel, seed: u64) -> Arc<MemoryDir> {
        let ops = ops.min(self.journal.len());
        if ops < self.at {
            self.disk = self.start.clone();
            self.at = 0;
        }
        for op in self.at..ops {
            self.disk.play(op, &self.journal);
        }
        self.at = ops;
        Arc::new(self.disk.image(&self.journal, ops, model, seed))
    }
}

impl Disk {
    /// A disk on which these names and files are durable.
    pub(crate) fn new(names: Names, files: Vec<Content>) -> Self {
        let files = files.into_iter().map(|durable| DiskFile { durable, pending: Vec::new() }).collect();
        Disk { names, files, pending: Vec::new() }
    }

    fn file(&mut self, file: u32) -> &mut DiskFile {
        let count = self.files.len().max(file as usize + 1);
        self.files.resize_with(count, DiskFile::default);
        &mut self.files[file as usize]
    }

    fn play(&mut self, op: usize, journal: &[Arc<Record>]) {
        match &journal[op].op {
            Op::Names(edits) => {
                let mut awaits: Vec<u32> = edits.iter().map(|edit| edit.folder).collect();
                awaits.dedup();
                self.pending.push(PendingNames { op, awaits });
            }
            Op::Write { file, offset, bytes } => {
                let (offset, bytes, end) = (*offset, Arc::clone(bytes), offset + bytes.len());
                self.file(*file).pending.push(Piece { op, offset, bytes, end, forgotten: false });
            }
            Op::Reserve { file, len } => {
                let bytes = Arc::new([]);
                self.file(*file).pending.push(Piece { op, offset: *len, bytes, end: *len, forgotten: false });
            }
            Op::Sync { file } => self.file(*file).sync(),
            Op::FailedSync { file } => {
                self.file(*file).pending.iter_mut().for_each(|piece| piece.forgotten = true)
            }
            Op::SyncDir { folder } => self.sync_dir(*folder, journal),
        }
    }

    /// Makes durable what waited only for `folder`, and whatever that rests on.
    fn sync_dir(&mut self, folder: u32, journal: &[Arc<Record>]) {
        let mut needed = HashSet::new();
        let mut durable = Vec::new();
        for at in (0..self.pending.len()).rev() {
            let PendingNames { op, awaits } = &mut self.pending[at];
            awaits.retain(|awaited| *awaited != folder);
            let keys = || keys(&journal[*op]);
            if awaits.is_empty() || keys().any(|key| needed.contains(&key)) {
                needed.extend(keys());
                durable.push(at);
            }
        }
        // From the oldest on, and none twice.
        for &at in durable.iter().rev() {
            self.names.apply(edits(&journal[self.pending[at].op]));
        }
        for at in durable {
            self.pending.remove(at);
        }
    }

    fn image(&self, journal: &[Arc<Record>], ops: usize, model: LossModel, seed: u64) -> MemoryDir {
        let draw = self.draw(model, ops, seed);
        let mut names = self.names.clone();
        let mut lost = HashSet::new();
        for pending in &self.pending {
            let record = &journal[pending.op];
            // What rests on something lost is lost.
            if draw.keeps(pending.op) && !keys(record).any(|key| lost.contains(&key)) {
                names.apply(edits(record));
            } else if model == LossModel::Random {
                lost.extend(keys(record));
            }
        }
        MemoryDir::with_tree(|make| {
            Tree { disk: self, names, draw, make, made: HashMap::new() }.folder(ROOT, "")
        })
    }

    fn draw(&self, model: LossModel, ops: usize, seed: u64) -> Draw {
        let random = SeededEntropy::new(seed);
        let sector = if random.below(2) == 0 { SECTOR_BYTES } else { PAGE_BYTES };
        let cut = match model {
            LossModel::Process | LossModel::None => ops,
            LossModel::All | LossModel::Random => 0,
            LossModel::Prefix => {
                let names = self.pending.iter().map(|pending| pending.op);
                let pieces = self.files.iter().flat_map(|file| file.pending.iter().map(|piece| piece.op));
                let mut pending: Vec<usize> = names.chain(pieces).chain([ops]).collect();
                pending.sort_unstable();
                pending[random.below(pending.len() as u64) as usize]
            }
        };
        Draw { model, random, cut, sector }
    }
}

fn edits(record: &Record) -> &[Edit] {
    match &record.op {
        Op::Names(edits) => edits,
        _ => &[],
    }
}

/// The names a call touched.
fn keys(record: &Record) -> impl Iterator<Item = (u32, &str)> {
    edits(record).iter().map(|edit| (edit.folder, &*edit.name))
}

impl DiskFile {
    fn sync(&mut self) {
        if self.pending.iter().all(|piece| !piece.forgotten) {
            for piece in self.pending.drain(..) {
                self.durable.grow(piece.end);
                self.durable.write(piece.offset, &piece.bytes);
            }
            return;
        }
        // A page goes to disk if something was written to it since the failure, and then as a whole.
        let written: BTreeSet<usize> = self
            .pending
            .iter()
            .filter(|piece| !piece.forgotten)
            .flat_map(|piece| piece.sectors(PAGE_BYTES))
            .collect();
        let mut left = Vec::new();
        for piece in self.pending.drain(..) {
            for page in piece.sectors(PAGE_BYTES) {
                let (offset, bytes) = piece.within(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
                if written.contains(&page) {
                    self.durable.write(offset, bytes);
                } else {
                    left.push(Piece { offset, bytes: bytes.into(), end: offset + bytes.len(), ..piece });
                }
            }
            if !piece.forgotten {
                self.durable.grow(piece.end);
            } else if piece.bytes.is_empty() {
                left.push(piece);
            }
        }
        self.pending = left;
    }

    fn image(&self, draw: &Draw) -> Content {
        let mut content = self.durable.clone();
        match draw.model {
            _ if self.pending.is_empty() => {}
            LossModel::Random => self.scatter(&mut content, draw),
            _ => {
                for piece in self.pending.iter().filter(|piece| piece.op <= draw.cut) {
                    match draw.keeps(piece.op) {
                        true => piece.write(&mut content),
                        false if draw.model == LossModel::Prefix => {
                            let (offset, bytes) = piece.torn(draw);
                            content.write(offset, bytes);
                        }
                        false => {}
                    }
                }
            }
        }
        content
    }

    /// Gives each sector one of the states it has had since the sync.
    fn scatter(&self, content: &mut Content, draw: &Draw) {
        let len = self.some_length(draw);
        content.grow(len);
        let mut sectors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, piece) in self.pending.iter().enumerate() {
            piece.sectors(draw.sector).for_each(|sector| sectors.entry(sector).or_default().push(at));
        }
        // Either whole writes survive (with what their sectors held before), or each sector fares for itself.
        let survives: Option<Vec<bool>> = (draw.random.below(2) == 0)
            .then(|| self.pending.iter().map(|_| draw.random.below(2) == 0).collect());
        for (sector, writes) in sectors {
            let states = match &survives {
                Some(survives) => writes.iter().rposition(|&at| survives[at]).map_or(0, |last| last + 1),
                None => draw.random.below(writes.len() as u64 + 1) as usize,
            };
            let (start, end) = (sector * draw.sector, ((sector + 1) * draw.sector).min(len));
            for &at in &writes[..states] {
                let (offset, bytes) = self.pending[at].within(start, end);
                content.write(offset, bytes);
            }
        }
    }

    /// A length the file may have: one it had, or one on the way there.
    fn some_length(&self, draw: &Draw) -> usize {
        let chosen = draw.random.below(self.pending.len() as u64 + 1) as usize;
        let before = |count: usize| {
            self.pending[..count].iter().map(|piece| piece.end).fold(self.durable.len(), usize::max)
        };
        let (low, high) = (before(chosen.saturating_sub(1)), before(chosen));
        let sectors = (high - low).div_ceil(draw.sector) as u64;
        high.min(low + draw.random.below(sectors + 1) as usize * draw.sector)
    }
}

impl Piece {
    /// The sectors it touches.
    fn sectors(&self, sector: usize) -> Range<usize> {
        match self.bytes.len() {
            0 => 0..0,
            len => self.offset / sector..(self.offset + len).div_ceil(sector),
        }
    }

    /// Its bytes within `start..end`, and where they go.
    fn within(&self, start: usize, end: usize) -> (usize, &[u8]) {
        let reach = self.offset + self.bytes.len();
        let start = start.clamp(self.offset, reach);
        let end = end.clamp(start, reach);
        (start, &self.bytes[start - self.offset..end - self.offset])
    }

    /// Its bytes before a random sector.
    fn torn(&self, draw: &Draw) -> (usize, &[u8]) {
        let sectors = self.sectors(draw.sector);
        let kept = sectors.start + draw.random.below(sectors.len() as u64 + 1) as usize;
        self.within(0, kept * draw.sector)
    }

    fn write(&self, content: &mut Content) {
        content.grow(self.end);
        content.write(self.offset, &self.bytes);
    }
}

impl Draw {
    /// True if the unsynced call `op` reached the disk.
    fn keeps(&self, op: usize) -> bool {
        match self.model {
            LossModel::Random => self.random.below(2) == 0,
            _ => op < self.cut,
        }
    }
}

/// Builds the tree of an image.
struct Tree<'a> {
    disk: &'a Disk,
    names: Names,
    draw: Draw,
    make: &'a MakeFile,
    /// Files met before, which have several names.
    made: HashMap<u32, Arc<MemoryFile>>,
}

impl Tree<'_> {
    fn folder(&mut self, number: u32, path: &str) -> memory::Folder {
        let names = std::mem::take(self.names.folder_mut(number));
        let node = |(name, node): (Arc<str>, Node)| {
            let path = joined(path, &name);
            let node = match node {
                Node::Folder(inner) => memory::Node::Folder(self.folder(inner, &path)),
                Node::File(file) => memory::Node::File(self.file(file, path)),
            };
            (name.to_string(), node)
        };
        names.into_iter().map(node).collect()
    }

    fn file(&mut self, number: u32, path: String) -> Arc<MemoryFile> {
        let Tree { disk, draw, make, made, .. } = self;
        let content = || disk.files.get(number as usize).map(|file| file.image(draw)).unwrap_or_default();
        Arc::clone(made.entry(number).or_insert_with(|| make.sealed(path, content())))
    }
}
