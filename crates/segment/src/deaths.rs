//! When rows died: `slot -> Seq of death`, written by one writer, read by anybody without a lock.
//!
//! Memory follows the deaths: a chunk of 4,096 entries exists only once a slot in it died, so a segment without deaths costs a
//! pointer per 4,096 rows. It refuses to bring rows back: a death is final, and the first one stands.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nearfield_types::limits::SEGMENT_ROWS_MAX;
use nearfield_types::{Seq, Slot};

const CHUNK_SLOTS: usize = 4_096;
/// Pages of chunks, so that a growing segment needs no room for chunks it may never reach.
const PAGE_CHUNKS: usize = 1_024;
const ALIVE: u64 = 0;

type Chunk = Box<[AtomicU64]>;
type Page = Box<[OnceLock<Chunk>]>;

/// The deaths of one segment.
///
/// A row is visible at S iff `born <= S < died`; this holds the right-hand side. Relaxed atomics suffice: a death becomes
/// binding for a reader only through the visible Seq, which is stored with Release after it and loaded with Acquire before.
#[derive(Debug)]
pub(crate) struct Deaths {
    pages: Box<[OnceLock<Page>]>,
    last: AtomicU64,
    count: AtomicU32,
}

impl Deaths {
    /// Nobody has died.
    pub(crate) fn new() -> Self {
        let pages = SEGMENT_ROWS_MAX.div_ceil(CHUNK_SLOTS * PAGE_CHUNKS);
        Deaths { pages: empty(pages), last: AtomicU64::new(0), count: AtomicU32::new(0) }
    }

    /// Records that `slot` died at `at`. Called by the writer alone.
    pub(crate) fn kill(&self, slot: Slot, at: Seq) {
        let chunk = slot.index() / CHUNK_SLOTS;
        let page = self.pages[chunk / PAGE_CHUNKS].get_or_init(|| empty(PAGE_CHUNKS));
        let chunk = page[chunk % PAGE_CHUNKS]
            .get_or_init(|| std::iter::repeat_with(|| AtomicU64::new(ALIVE)).take(CHUNK_SLOTS).collect());
        let entry = &chunk[slot.index() % CHUNK_SLOTS];
        if entry.load(Ordering::Relaxed) == ALIVE {
            entry.store(at.0, Ordering::Relaxed);
            self.last.fetch_max(at.0, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When `slot` died, if it did.
    #[inline]
    pub(crate) fn died(&self, slot: Slot) -> Option<Seq> {
        let chunk = slot.index() / CHUNK_SLOTS;
        let page = self.pages.get(chunk / PAGE_CHUNKS)?.get()?;
        let chunk = page[chunk % PAGE_CHUNKS].get()?;
        match chunk[slot.index() % CHUNK_SLOTS].load(Ordering::Relaxed) {
            ALIVE => None,
            at => Some(Seq(at)),
        }
    }

    /// True while `slot` has not died at `seen`.
    #[inline]
    pub(crate) fn alive_at(&self, slot: Slot, seen: Seq) -> bool {
        self.died(slot).is_none_or(|died| seen < died)
    }

    /// How many died so far, at whatever Seq.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// The latest death so far; [`Seq::ZERO`] without any.
    pub(crate) fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::Relaxed))
    }

    /// Every death, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, Seq)> + '_ {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.get()?)));
        let chunks = pages.flat_map(|(page_at, page)| {
            let chunks = page.iter().enumerate();
            chunks.filter_map(move |(at, chunk)| Some((page_at * PAGE_CHUNKS + at, chunk.get()?)))
        });
        chunks.flat_map(|(chunk_at, chunk)| {
            let entries = chunk.iter().enumerate();
            entries.filter_map(move |(at, entry)| match entry.load(Ordering::Relaxed) {
                ALIVE => None,
                died => Some((Slot((chunk_at * CHUNK_SLOTS + at) as u32), Seq(died))),
            })
        })
    }
}

fn empty<T>(len: usize) -> Box<[OnceLock<T>]> {
    std::iter::repeat_with(OnceLock::new).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_death_stands() {
        let deaths = Deaths::new();
        assert!(deaths.alive_at(Slot(5), Seq::MAX));
        deaths.kill(Slot(5), Seq(10));
        deaths.kill(Slot(5), Seq(12));
        deaths.kill(Slot(9_000_000), Seq(11));
        assert_eq!(deaths.died(Slot(5)), Some(Seq(10)));
        assert!(deaths.alive_at(Slot(5), Seq(9)) && !deaths.alive_at(Slot(5), Seq(10)));
        assert_eq!(deaths.iter().collect::<Vec<_>>(), [(Slot(5), Seq(10)), (Slot(9_000_000), Seq(11))]);
        assert_eq!(deaths.last(), Seq(11));
    }
}
