//! An index that is asked: one file of a sealed segment, or the files of a growing one as they are at a moment.
//!
//! It refuses to change. Files stand in the order of their rows; what each answers is put together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use nearfield_codec::Region;
use nearfield_types::Slot;
use roaring::RoaringBitmap;

use super::answer::{Answer, lookup};
use super::config::{IndexConfig, IndexKind};
use super::file::{FieldFile, OpenError, equal};
use super::key::{self, KeyRef};
use super::sets::Sets;
use super::view::{Ranges, View};
use super::{
    Direction, Estimate, Exactness, FieldIndex, IndexError, IndexMemory, Ordered, Question, Terms, Values,
    WordStats, bits,
};
use crate::filter::Test;

/// An immutable field index. A clone shares it.
#[derive(Clone, Debug)]
pub struct FieldReader {
    config: Arc<IndexConfig>,
    files: Arc<[Arc<FieldFile>]>,
    covered: u32,
    mapped: bool,
}

impl FieldReader {
    /// The index in `file`, of a segment of `rows` rows. Reads header and configuration; the rest is verified at the first question.
    /// O(size / 64 KiB).
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the file is damaged or of another segment.
    pub fn open(file: Region, rows: u32) -> Result<FieldReader, OpenError> {
        let file = FieldFile::open(file, rows, 0)?;
        let config = Arc::new(file.config().clone());
        Ok(FieldReader { config, files: Arc::new([Arc::new(file)]), covered: rows, mapped: true })
    }

    /// As [`FieldReader::open`], of a file that must be what `config` makes.
    ///
    /// # Errors
    ///
    /// [`OpenError::OtherConfig`]: the index must be built anew.
    pub fn open_as(file: Region, rows: u32, config: &IndexConfig) -> Result<FieldReader, OpenError> {
        let reader = FieldReader::open(file, rows)?;
        match *reader.config == *config {
            true => Ok(reader),
            false => Err(OpenError::OtherConfig),
        }
    }

    /// Checks that the file is the one whose tables a manifest knows.
    ///
    /// # Errors
    ///
    /// [`OpenError::Value`]: it is another.
    pub fn check_tables(&self, tables_crc: u32) -> Result<(), OpenError> {
        self.files
            .iter()
            .try_for_each(|file| equal("checksum of the tables", file.tables_crc().into(), tables_crc.into()))
    }

    pub(crate) fn of_files(
        config: Arc<IndexConfig>,
        files: Arc<[Arc<FieldFile>]>,
        covered: u32,
    ) -> FieldReader {
        FieldReader { config, files, covered, mapped: false }
    }

    /// Checks every byte, and every number against every other. O(size).
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), IndexError> {
        self.files.iter().try_for_each(|file| file.verify())
    }

    /// Distinct values; counted once for each file of a growing index. O(files).
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    pub fn distinct(&self) -> Result<u64, IndexError> {
        self.files.iter().map(|file| Ok(u64::from(file.view()?.keys.len()))).sum()
    }

    /// Covered rows with a value of a kind that the index does not hold; null is none.
    ///
    /// # Errors
    ///
    /// [`IndexError`]: the index is damaged.
    pub fn foreign(&self) -> Result<RoaringBitmap, IndexError> {
        self.special(|sets| &sets.foreign)
    }

    /// Covered rows with a value of its kind that the index does not hold as itself: a float in an index of integers.
    ///
    /// # Errors
    ///
    /// As [`FieldReader::foreign`].
    pub fn unsure(&self) -> Result<RoaringBitmap, IndexError> {
        self.special(|sets| &sets.unsure)
    }

    fn special(&self, of: impl Fn(&Sets) -> &RoaringBitmap) -> Result<RoaringBitmap, IndexError> {
        let mut rows = RoaringBitmap::new();
        for view in self.views()? {
            bits::add_set(&mut rows, of(view.sets), view.base);
        }
        Ok(rows)
    }

    fn kind(&self) -> IndexKind {
        self.config.kind()
    }

    /// The views of all files.
    fn views(&self) -> Result<Vec<View<'_>>, IndexError> {
        self.files.iter().map(|file| file.view()).collect()
    }

    /// The file of a slot.
    fn file_of(&self, slot: u32) -> Option<&FieldFile> {
        let after = self.files.partition_point(|file| file.base() <= slot);
        let file = self.files.get(after.checked_sub(1)?)?;
        (slot - file.base() < file.rows()).then_some(&**file)
    }
}

impl FieldIndex for FieldReader {
    fn config(&self) -> &IndexConfig {
        &self.config
    }

    fn covered(&self) -> u32 {
        self.covered
    }

    fn estimate(&self, question: Question<'_>) -> Result<Option<Estimate>, IndexError> {
        let mut total = Estimate::default();
        for file in self.files.iter() {
            let view = file.view()?;
            if let (IndexKind::Keyword, Question::Test(Test::Substring(_))) = (self.kind(), question) {
                // Finding the keys would be the scan that estimates do without.
                let high = u64::from(view.documents);
                total = total.plus(Estimate { low: 0, likely: high / 8, high });
                continue;
            }
            let Some(answer) = Answer::new(&self.config, &view, question) else { return Ok(None) };
            total = total.plus(answer.estimate(&view));
        }
        Ok(Some(total))
    }

    fn select(
        &self,
        question: Question<'_>,
        out: &mut RoaringBitmap,
    ) -> Result<Option<Exactness>, IndexError> {
        let mut recheck = RoaringBitmap::new();
        for file in self.files.iter() {
            let view = file.view()?;
            // Whether there is an answer depends on kind and question alone, so this is the first file.
            let Some(answer) = Answer::new(&self.config, &view, question) else { return Ok(None) };
            answer.select(&view, out, &mut recheck);
        }
        Ok(Some(Exactness::from_recheck(recheck)))
    }

    fn narrow(
        &self,
        question: Question<'_>,
        rows: &mut RoaringBitmap,
    ) -> Result<Option<Exactness>, IndexError> {
        let (mut kept, mut recheck) = (Vec::new(), Vec::new());
        for file in self.files.iter() {
            let view = file.view()?;
            let Some(answer) = Answer::new(&self.config, &view, question) else { return Ok(None) };
            if !answer.is_narrowing(&view) {
                return Ok(None);
            }
            for slot in rows.range(view.base..view.base + view.rows) {
                match answer.test(&view, slot - view.base) {
                    Some(true) => kept.push(slot),
                    Some(false) => {}
                    None => {
                        kept.push(slot);
                        recheck.push(slot);
                    }
                }
            }
        }
        let mut left = RoaringBitmap::new();
        bits::add_list(&mut left, kept, 0);
        left.extend(rows.range(self.covered..));
        *rows = left;
        Ok(Some(Exactness::from_recheck(recheck.into_iter().collect())))
    }

    fn memory(&self) -> IndexMemory {
        let sum = |of: fn(&FieldFile) -> u64| self.files.iter().map(|file| of(file)).sum::<u64>();
        let (heap, bytes) = (sum(FieldFile::heap), sum(FieldFile::bytes));
        match self.mapped {
            true => IndexMemory { heap, mapped: bytes },
            false => IndexMemory { heap: heap + bytes, mapped: 0 },
        }
    }

    fn ordered(&self) -> Option<&dyn Ordered> {
        matches!(self.kind(), IndexKind::Integer | IndexKind::Float | IndexKind::Datetime).then_some(self)
    }

    fn terms(&self) -> Option<&dyn Terms> {
        (!matches!(self.kind(), IndexKind::Geo | IndexKind::Text)).then_some(self)
    }

    fn values(&self) -> Option<&dyn Values> {
        (!matches!(self.kind(), IndexKind::Geo | IndexKind::Text)).then_some(self)
    }

    fn words(&self) -> Option<&dyn WordStats> {
        matches!(self.kind(), IndexKind::Text).then_some(self)
    }
}

/// Entries of a view in the order of their keys, forwards or backwards.
struct Walk<'v, 'a> {
    view: &'v View<'a>,
    ranges: Ranges,
    direction: Direction,
    /// The current key and its slots that are left.
    key: u32,
    left: Range<usize>,
}

impl<'v, 'a> Walk<'v, 'a> {
    fn new(view: &'v View<'a>, mut ranges: Ranges, direction: Direction) -> Self {
        if direction == Direction::Ascending {
            ranges.reverse();
        }
        Walk { view, ranges, direction, key: 0, left: 0..0 }
    }

    fn next(&mut self) -> Option<(u32, u32)> {
        while self.left.is_empty() {
            let range = self.ranges.last_mut()?;
            let key = match self.direction {
                Direction::Ascending => range.next(),
                Direction::Descending => range.next_back(),
            };
            match key {
                Some(key) => (self.key, self.left) = (key, self.view.entries(&(key..key + 1))),
                None => drop(self.ranges.pop()),
            }
        }
        let entry = match self.direction {
            Direction::Ascending => self.left.next(),
            Direction::Descending => self.left.next_back(),
        };
        Some((self.key, self.view.slots.get(entry?).copied()?))
    }
}

impl Ordered for FieldReader {
    fn visit(
        &self,
        within: Option<&Test>,
        direction: Direction,
        visit: &mut dyn FnMut(KeyRef<'_>, Slot) -> ControlFlow<()>,
    ) -> Result<bool, IndexError> {
        let kind = self.kind();
        if within.is_some_and(|test| !matches!(test, Test::Range(_) | Test::Datetimes(_))) {
            return Ok(false);
        }
        let views = self.views()?;
        let mut walks = Vec::with_capacity(views.len());
        for view in &views {
            let ranges = match within {
                None => std::iter::once(0..view.keys.len()).collect(),
                Some(test) => match lookup(kind, view, test) {
                    Some(found) => found.ranges,
                    None => return Ok(false),
                },
            };
            walks.push(Walk::new(view, ranges, direction));
        }
        // The heads of all files; equal values come by slot, which is the order of the files.
        let head = |at: usize, walk: &mut Walk<'_, '_>| {
            let (key, slot) = walk.next()?;
            let code = match walk.view.keys {
                super::view::KeysView::Narrow(codes) => codes.get(key as usize).copied().unwrap_or(0),
                _ => 0,
            };
            let order = if direction == Direction::Ascending { code } else { !code };
            let file = if direction == Direction::Ascending { at } else { usize::MAX - at };
            Some(Reverse((order, file, key, slot, at)))
        };
        let mut heads: BinaryHeap<_> =
            walks.iter_mut().enumerate().filter_map(|(at, walk)| head(at, walk)).collect();
        while let Some(Reverse((_, _, key, slot, at))) = heads.pop() {
            let view = &views[at];
            if let (Some(value), true) = (key::value(kind, &view.keys, key), slot < view.rows)
                && visit(value, Slot(view.base + slot)).is_break()
            {
                break;
            }
            heads.extend(head(at, &mut walks[at]));
        }
        Ok(true)
    }
}

/// How many rows of `within` have each key.
fn tally(view: &View<'_>, within: Option<&RoaringBitmap>) -> Vec<u32> {
    let mut counts = vec![0u32; view.keys.len() as usize];
    let Some(within) = within else {
        for (key, count) in counts.iter_mut().enumerate() {
            *count = view.entries(&(key as u32..key as u32 + 1)).len() as u32;
        }
        return counts;
    };
    for slot in within.range(view.base..view.base + view.rows) {
        for &key in view.keys_of(slot - view.base) {
            if let Some(count) = counts.get_mut(key.wrapping_sub(1) as usize) {
                *count += 1;
            }
        }
    }
    counts
}

impl Terms for FieldReader {
    fn visit(
        &self,
        within: Option<&RoaringBitmap>,
        visit: &mut dyn FnMut(KeyRef<'_>, u64) -> ControlFlow<()>,
    ) -> Result<(), IndexError> {
        let (kind, views) = (self.kind(), self.views()?);
        let tallies: Vec<Vec<u32>> = views.iter().map(|view| tally(view, within)).collect();
        let mut next = vec![0u32; views.len()];
        let behind = |at: usize, next: &[u32]| next[at] >= views[at].keys.len();
        loop {
            // The least key that any file has next; files are few.
            let left = (0..views.len()).filter(|&at| !behind(at, &next));
            let least = left.min_by(|&a, &b| key::compare(&views[a].keys, next[a], &views[b].keys, next[b]));
            let Some(least) = least else { return Ok(()) };
            let least_key = next[least];
            let mut count = 0;
            for at in 0..views.len() {
                let same =
                    |key: u32| key::compare(&views[at].keys, key, &views[least].keys, least_key).is_eq();
                if !behind(at, &next) && same(next[at]) {
                    count += u64::from(tallies[at][next[at] as usize]);
                    next[at] += 1;
                }
            }
            if count == 0 {
                continue;
            }
            let Some(value) = key::value(kind, &views[least].keys, least_key) else { continue };
            if visit(value, count).is_break() {
                return Ok(());
            }
        }
    }
}

impl Values for FieldReader {
    fn visit(&self, slot: Slot, visit: &mut dyn FnMut(KeyRef<'_>)) -> Result<(), IndexError> {
        let Some(file) = self.file_of(slot.0) else { return Ok(()) };
        let view = file.view()?;
        for &key in view.keys_of(slot.0 - view.base) {
            if let Some(value) = key::value(self.kind(), &view.keys, key.wrapping_sub(1)) {
                visit(value);
            }
        }
        Ok(())
    }

    fn has_others(&self) -> Result<bool, IndexError> {
        for view in self.views()? {
            if !view.sets.foreign.is_empty() || !view.sets.unsure.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl WordStats for FieldReader {
    fn totals(&self) -> Result<(u64, u64), IndexError> {
        let views = self.views()?;
        Ok(views.iter().fold((0, 0), |sum, view| (sum.0 + u64::from(view.documents), sum.1 + view.tokens)))
    }

    fn document_count(&self, token: &str) -> Result<u64, IndexError> {
        let views = self.views()?;
        let count =
            |view: &View<'_>| view.keys.find_term(token.as_bytes()).map_or(0, |key| view.slots_of(key).len());
        Ok(views.iter().map(|view| count(view) as u64).sum())
    }

    fn postings(&self, token: &str, visit: &mut dyn FnMut(Slot, u32, u32)) -> Result<(), IndexError> {
        for view in self.views()? {
            let Some(key) = view.keys.find_term(token.as_bytes()) else { continue };
            for entry in view.entries(&(key..key + 1)) {
                let Some(&row) = view.slots.get(entry).filter(|&&row| row < view.rows) else { continue };
                let length = view.lengths.get(row as usize).copied().unwrap_or(0);
                visit(Slot(view.base + row), view.frequency(entry), length);
            }
        }
        Ok(())
    }
}
