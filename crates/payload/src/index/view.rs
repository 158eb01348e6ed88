//! The arrays of an open field index, and the answers that are nothing but ranges of keys.
//!
//! It refuses to index without a bound: the bytes passed their checksums, which proves only that somebody wrote them.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::bits;
use super::file::{OpenError, at_most, equal};
use super::sets::Sets;

/// The keys, ascending.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeysView<'a> {
    /// Numbers in an order-preserving code.
    Narrow(&'a [u64]),
    /// UUIDs.
    Wide(&'a [[u64; 2]]),
    /// Text.
    Terms {
        /// Where each one ends.
        ends: &'a [u64],
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// The arrays of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) base: u32,
    pub(crate) rows: u32,
    pub(crate) keys: KeysView<'a>,
    pub(crate) starts: &'a [u32],
    pub(crate) slots: &'a [u32],
    pub(crate) many: bool,
    pub(crate) marks: &'a [u64],
    pub(crate) mark_count: u32,
    pub(crate) block: u32,
    pub(crate) has_forward: bool,
    pub(crate) forward: &'a [u32],
    pub(crate) forward_starts: &'a [u32],
    pub(crate) sets: &'a Sets,
    pub(crate) counts: &'a [[u32; 2]],
    pub(crate) points: &'a [[f64; 2]],
    pub(crate) frequencies: &'a [u32],
    pub(crate) lengths: &'a [u32],
    pub(crate) has_positions: bool,
    pub(crate) position_starts: &'a [u32],
    pub(crate) positions: &'a [u32],
    pub(crate) documents: u32,
    pub(crate) tokens: u64,
}

/// Ranges of key numbers, ascending and apart.
pub(crate) type Ranges = Vec<Range<u32>>;

/// A part of this size or more of all rows is put together as a bitset.
const DENSE_SHARE: u64 = 1_024;

impl<'a> KeysView<'a> {
    pub(crate) fn len(&self) -> u32 {
        match self {
            KeysView::Narrow(keys) => keys.len() as u32,
            KeysView::Wide(keys) => keys.len() as u32,
            KeysView::Terms { ends, .. } => ends.len() as u32,
        }
    }

    /// The bytes of a text key; empty for others.
    pub(crate) fn term(&self, key: u32) -> &'a [u8] {
        let KeysView::Terms { ends, bytes } = self else { return &[] };
        let at = key as usize;
        let from = at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        let to = ends.get(at).copied().unwrap_or(0);
        bytes.get(from as usize..to as usize).unwrap_or_default()
    }

    /// The text of a text key.
    pub(crate) fn text(&self, key: u32) -> &'a str {
        std::str::from_utf8(self.term(key)).unwrap_or_default()
    }

    /// How many keys are before the first for which `before` is false.
    pub(crate) fn partition(&self, before: impl Fn(u32) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match before(middle) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// The keys from `low` to `high`, both included.
    pub(crate) fn between_narrow(&self, low: u64, high: u64) -> Range<u32> {
        let KeysView::Narrow(keys) = self else { return 0..0 };
        let from = keys.partition_point(|&own| own < low);
        from as u32
            ..from as u32 + keys.get(from..).unwrap_or_default().partition_point(|&own| own <= high) as u32
    }

    /// The place of a UUID.
    pub(crate) fn find_wide(&self, key: [u64; 2]) -> Option<u32> {
        let KeysView::Wide(keys) = self else { return None };
        keys.binary_search(&key).ok().map(|at| at as u32)
    }

    /// The place of a text.
    pub(crate) fn find_term(&self, text: &[u8]) -> Option<u32> {
        let at = self.partition(|key| self.term(key) < text);
        (at < self.len() && self.term(at) == text).then_some(at)
    }

    /// The texts that begin so.
    pub(crate) fn prefixed(&self, prefix: &[u8]) -> Range<u32> {
        let from = self.partition(|key| self.term(key) < prefix);
        from..self.partition(|key| self.term(key) < prefix || self.term(key).starts_with(prefix)).max(from)
    }

    /// The texts that hold `part`, ascending. One search through all of them, for one after another would cost more to begin than to do.
    pub(crate) fn holding(&self, part: &str) -> Vec<u32> {
        let KeysView::Terms { ends, bytes } = self else { return Vec::new() };
        if part.is_empty() {
            return (0..self.len()).collect();
        }
        let all = std::str::from_utf8(bytes).unwrap_or_default();
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(at) = all.get(from..).and_then(|rest| rest.find(part)) {
            let at = from + at;
            let key = ends.partition_point(|&end| end as usize <= at);
            let end = ends.get(key).map_or(all.len(), |&end| end as usize);
            from = at + 1;
            // What reaches over an end is in neither text.
            if at + part.len() <= end {
                found.push(key as u32);
                from = from.max(end);
            }
            while from < all.len() && !all.is_char_boundary(from) {
                from += 1;
            }
        }
        found
    }
}

impl<'a> View<'a> {
    /// The entries of a range of keys.
    pub(crate) fn entries(&self, keys: &Range<u32>) -> Range<usize> {
        let start =
            |key: u32| self.starts.get(key as usize).map_or(0, |&at| (at as usize).min(self.slots.len()));
        let from = start(keys.start);
        from..start(keys.end).max(from)
    }

    /// The slots of one key, ascending.
    pub(crate) fn slots_of(&self, key: u32) -> &'a [u32] {
        let range = self.entries(&(key..key.saturating_add(1)));
        self.slots.get(range).unwrap_or_default()
    }

    /// How many entries the ranges have: rows, where no row has several keys.
    pub(crate) fn count(&self, ranges: &[Range<u32>]) -> u64 {
        ranges.iter().map(|keys| self.entries(keys).len() as u64).sum()
    }

    /// Adds the slots of all keys in `ranges`.
    ///
    /// Few slots are listed and sorted. Many are set in a bitset, and where entries are many in a row, the marks give all of
    /// them but the ends: without several keys a row, mark `i` is everything before `(i + 1) * block`, so a range is one mark
    /// without another.
    pub(crate) fn add(&self, ranges: &[Range<u32>], out: &mut RoaringBitmap) {
        let total = self.count(ranges);
        if total == 0 {
            return;
        }
        if let [keys] = ranges
            && let Some(run) = self.run(keys)
        {
            // The rows of one value that lie together: a partition, say.
            out.insert_range(self.base + run.start..self.base + run.end);
            return;
        }
        if total < u64::from(self.rows) / DENSE_SHARE {
            let mut found = Vec::with_capacity(total as usize);
            for keys in ranges {
                found.extend(
                    self.slots
                        .get(self.entries(keys))
                        .unwrap_or_default()
                        .iter()
                        .filter(|&&slot| slot < self.rows),
                );
            }
            return bits::add_list(out, found, self.base);
        }
        let mut found = vec![0; bits::words(self.rows)];
        for keys in ranges {
            self.fill(self.entries(keys), &mut found);
        }
        self.trim(&mut found);
        bits::add_to(out, &found, self.base);
    }

    /// The slots of these keys, if it is one key and its slots have no gap. O(1).
    fn run(&self, keys: &Range<u32>) -> Option<Range<u32>> {
        // Slots of one key ascend; only those of points may repeat.
        if keys.end.checked_sub(keys.start)? != 1 || !self.points.is_empty() {
            return None;
        }
        let slots = self.slots_of(keys.start);
        let (&first, &last) = (slots.first()?, slots.last()?);
        let span = u64::from(last).checked_sub(first.into())? + 1;
        (span == slots.len() as u64 && last < self.rows).then(|| first..last + 1)
    }

    /// Clears what lies past the last row, for files that lie.
    fn trim(&self, found: &mut [u64]) {
        let tail = self.rows % u64::BITS;
        if let (Some(last), true) = (found.last_mut(), tail != 0) {
            *last &= (1 << tail) - 1;
        }
    }

    fn fill(&self, entries: Range<usize>, found: &mut [u64]) {
        let block = self.block as usize;
        if self.mark_count == 0 || entries.len() < 2 * block {
            return self.set_all(entries, found);
        }
        match self.many {
            true => self.fill_blocks(entries, found),
            false => self.fill_between(entries, found),
        }
    }

    fn set_all(&self, entries: Range<usize>, found: &mut [u64]) {
        for &slot in self.slots.get(entries).unwrap_or_default() {
            bits::set(found, slot);
        }
    }

    fn clear_all(&self, entries: Range<usize>, found: &mut [u64]) {
        for &slot in self.slots.get(entries).unwrap_or_default() {
            bits::clear(found, slot);
        }
    }

    fn mark(&self, at: usize) -> &'a [u64] {
        let words = bits::words(self.rows);
        self.marks.get(at * words..(at + 1) * words).unwrap_or_default()
    }

    /// Each mark is a block of entries: whole blocks by their marks, the ends one by one.
    fn fill_blocks(&self, entries: Range<usize>, found: &mut [u64]) {
        let block = self.block as usize;
        let first = entries.start.div_ceil(block);
        let last = match entries.end == self.slots.len() {
            true => self.mark_count as usize,
            false => entries.end / block,
        };
        for at in first..last {
            found.iter_mut().zip(self.mark(at)).for_each(|(word, mark)| *word |= mark);
        }
        self.set_all(entries.start..first * block, found);
        self.set_all((last * block).clamp(first * block, entries.end)..entries.end, found);
    }

    /// Each mark is all entries before an end: the difference of the two nearest to the range, then what is too much or too
    /// little at its ends.
    fn fill_between(&self, entries: Range<usize>, found: &mut [u64]) {
        let (block, marks, len) = (self.block as usize, self.mark_count as usize, self.slots.len());
        let near = |at: usize| ((at + block / 2) / block).min(marks);
        let place = |boundary: usize| (boundary * block).min(len);
        // A part of its own: what other ranges found stays. No other range shares a slot with this one.
        let mut part = vec![0u64; found.len()];
        let (from, to) = (near(entries.start), near(entries.end));
        if to > 0 {
            part.iter_mut().zip(self.mark(to - 1)).for_each(|(word, mark)| *word = *mark);
        }
        if from > 0 {
            part.iter_mut().zip(self.mark(from - 1)).for_each(|(word, mark)| *word &= !mark);
        }
        match place(from) < entries.start {
            true => self.clear_all(place(from)..entries.start, &mut part),
            false => self.set_all(entries.start..place(from), &mut part),
        }
        match place(to) < entries.end {
            true => self.set_all(place(to)..entries.end, &mut part),
            false => self.clear_all(entries.end..place(to), &mut part),
        }
        found.iter_mut().zip(part).for_each(|(word, part)| *word |= part);
    }

    /// The keys of a row, each its number plus one; none without a forward section.
    pub(crate) fn keys_of(&self, row: u32) -> &'a [u32] {
        let at = row as usize;
        let range = match self.many {
            false => at..at + 1,
            true => match self.forward_starts.get(at..at + 2) {
                Some(&[from, to]) => from as usize..to as usize,
                _ => return &[],
            },
        };
        match self.forward.get(range).unwrap_or_default() {
            [0] => &[],
            keys => keys,
        }
    }

    /// True for a row that has a key in `ranges`.
    pub(crate) fn has(&self, row: u32, ranges: &[Range<u32>]) -> bool {
        self.keys_of(row).iter().any(|&key| {
            let key = key.wrapping_sub(1);
            let after = ranges.partition_point(|range| range.end <= key);
            ranges.get(after).is_some_and(|range| range.contains(&key))
        })
    }

    /// How often the token of an entry stands in its row.
    pub(crate) fn frequency(&self, entry: usize) -> u32 {
        self.frequencies.get(entry).copied().unwrap_or(0)
    }

    /// Where the token of an entry stands in its row.
    pub(crate) fn positions_of(&self, entry: usize) -> &'a [u32] {
        match self.position_starts.get(entry..entry + 2) {
            Some(&[from, to]) => self.positions.get(from as usize..to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Checks every number against every other.
    pub(crate) fn verify(&self) -> Result<(), OpenError> {
        self.verify_keys()?;
        let mut last = 0;
        for &start in self.starts {
            at_most("a start", last, start.into())?;
            last = start.into();
        }
        equal("the first start", self.starts.first().copied().unwrap_or(0).into(), 0)?;
        equal("the last start", last, self.slots.len() as u64)?;
        let geo = !self.points.is_empty();
        for key in 0..self.keys.len() {
            let slots = self.slots_of(key);
            at_most("entries of a key, at least one", 1, slots.len() as u64)?;
            let ascend = slots.windows(2).all(|pair| pair[0] < pair[1] || (geo && pair[0] == pair[1]));
            equal("slots of a key that do not ascend", u64::from(!ascend), 0)?;
            let largest = slots.last().copied().unwrap_or(0);
            at_most("a slot", u64::from(largest) + 1, self.rows.into())?;
        }
        let counts_ascend = self.counts.windows(2).all(|pair| pair[0][0] < pair[1][0]);
        equal("counts that do not ascend", u64::from(!counts_ascend), 0)?;
        if let Some(last) = self.counts.last() {
            at_most("row of a count", u64::from(last[0]) + 1, self.rows.into())?;
        }
        self.verify_documents()?;
        self.verify_forward()?;
        self.verify_marks()?;
        self.verify_positions()
    }

    fn verify_keys(&self) -> Result<(), OpenError> {
        let wrong = match self.keys {
            KeysView::Narrow(keys) => !keys.windows(2).all(|pair| pair[0] < pair[1]),
            KeysView::Wide(keys) => !keys.windows(2).all(|pair| pair[0] < pair[1]),
            KeysView::Terms { ends, bytes } => {
                equal("length of section terms", bytes.len() as u64, ends.last().copied().unwrap_or(0))?;
                let sound = |key: u32| std::str::from_utf8(self.keys.term(key)).is_ok();
                !ends.is_sorted()
                    || !(0..self.keys.len()).all(sound)
                    || !(1..self.keys.len()).all(|key| self.keys.term(key - 1) < self.keys.term(key))
            }
        };
        equal("keys that do not ascend", wrong.into(), 0)
    }

    /// The counts that estimates and ranking go by.
    fn verify_documents(&self) -> Result<(), OpenError> {
        let mut keyed = vec![0; bits::words(self.rows)];
        self.set_all(0..self.slots.len(), &mut keyed);
        let rows: u32 = keyed.iter().map(|word| word.count_ones()).sum();
        equal("number of documents", self.documents.into(), rows.into())?;
        equal("flag of several keys", self.many.into(), (self.slots.len() as u64 > rows.into()).into())?;
        let tokens = self.lengths.iter().map(|&length| u64::from(length)).sum();
        equal("number of tokens", self.tokens, tokens)
    }

    fn verify_forward(&self) -> Result<(), OpenError> {
        if !self.has_forward {
            return Ok(());
        }
        let mut entries = 0;
        for row in 0..self.rows {
            let keys = self.keys_of(row);
            entries += keys.len() as u64;
            for &key in keys {
                let slots = self.slots_of(key.wrapping_sub(1));
                equal(
                    "a key of a row that is not among its slots",
                    slots.binary_search(&row).is_err().into(),
                    0,
                )?;
            }
            let ascend = keys.is_sorted();
            equal("keys of a row that do not ascend", u64::from(!ascend), 0)?;
        }
        equal("number of forward entries", entries, self.slots.len() as u64)
    }

    fn verify_marks(&self) -> Result<(), OpenError> {
        let mut current = vec![0; if self.mark_count > 0 { bits::words(self.rows) } else { 0 }];
        for at in 0..self.mark_count as usize {
            let block = self.block as usize;
            self.set_all(at * block..((at + 1) * block).min(self.slots.len()), &mut current);
            equal("a mark that is not its entries", (self.mark(at) != current).into(), 0)?;
            if self.many {
                current.fill(0);
            }
        }
        Ok(())
    }

    fn verify_positions(&self) -> Result<(), OpenError> {
        if !self.has_positions {
            return Ok(());
        }
        for entry in 0..self.slots.len() {
            let positions = self.positions_of(entry);
            equal("number of positions", positions.len() as u64, self.frequency(entry).into())?;
            let ascend = positions.windows(2).all(|pair| pair[0] < pair[1]);
            equal("positions that do not ascend", u64::from(!ascend), 0)?;
        }
        Ok(())
    }
}
