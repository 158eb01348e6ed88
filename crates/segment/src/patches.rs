//! Payload changes of rows that stay where they are: `slot -> the payload as of each Seq`.
//!
//! It refuses to merge: a patch is the whole payload after the change, as the writer resolved it, so reading needs the last
//! one only and replay needs no rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_types::{Seq, Slot};
use parking_lot::RwLock;
use roaring::RoaringBitmap;

/// An encoded payload row; empty bytes are the empty object.
pub type Row = Arc<[u8]>;

/// Map entry, Seq and pointer of one patch.
const PATCH_OVERHEAD_BYTES: u64 = 96;

/// The patches of one segment. One writer, any readers; the lock is held for a look-up.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    /// In Seq order for each slot.
    by_slot: RwLock<HashMap<Slot, Vec<(Seq, Row)>>>,
    /// The slots that have any.
    slots: RwLock<RoaringBitmap>,
    last: AtomicU64,
    bytes: AtomicU64,
}

impl Patches {
    /// Records the payload of `slot` from `at` on. Called by the writer alone, in Seq order.
    pub(crate) fn put(&self, slot: Slot, at: Seq, row: Row) {
        self.bytes.fetch_add(row.len() as u64 + PATCH_OVERHEAD_BYTES, Ordering::Relaxed);
        self.slots.write().insert(slot.0);
        self.by_slot.write().entry(slot).or_default().push((at, row));
        self.last.fetch_max(at.0, Ordering::Release);
    }

    /// The payload of `slot` at `seen`, if it was ever patched by then.
    pub(crate) fn get(&self, slot: Slot, seen: Seq) -> Option<Row> {
        if self.last() == Seq::ZERO {
            return None;
        }
        let by_slot = self.by_slot.read();
        let (_, row) = by_slot.get(&slot)?.iter().rev().find(|(at, _)| *at <= seen)?;
        Some(Arc::clone(row))
    }

    /// The latest patch so far; [`Seq::ZERO`] without any.
    pub(crate) fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::Acquire))
    }

    /// The slots that have any. What is not among them when this returns had none at any Seq that was revealed before the call.
    pub(crate) fn slots(&self) -> RoaringBitmap {
        match self.last() {
            Seq::ZERO => RoaringBitmap::new(),
            _ => self.slots.read().clone(),
        }
    }

    /// What a reader at `through` or later can still ask for: of each slot the last patch at or before `through` and all
    /// later ones. Sorted by slot, then Seq.
    pub(crate) fn since(&self, through: Seq) -> Vec<(Slot, Seq, Row)> {
        let mut kept = Vec::new();
        for (&slot, patches) in self.by_slot.read().iter() {
            let first = patches.iter().rposition(|(at, _)| *at <= through).unwrap_or(0);
            kept.extend(patches[first..].iter().map(|(at, row)| (slot, *at, Arc::clone(row))));
        }
        kept.sort_by_key(|&(slot, at, _)| (slot, at));
        kept
    }

    /// True if some slot has more than one patch at or before `through`.
    pub(crate) fn superseded(&self, through: Seq) -> bool {
        self.by_slot.read().values().any(|patches| patches.len() > 1 && patches[1].0 <= through)
    }

    /// The payload of every patched slot as of `through`, sorted by slot.
    pub(crate) fn as_of(&self, through: Seq) -> Vec<(Slot, Row)> {
        let mut found = Vec::new();
        for (&slot, patches) in self.by_slot.read().iter() {
            if let Some((_, row)) = patches.iter().rev().find(|(at, _)| *at <= through) {
                found.push((slot, Arc::clone(row)));
            }
        }
        found.sort_by_key(|&(slot, _)| slot);
        found
    }

    /// Bytes held in memory, to a few per cent. O(1).
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(byte: u8) -> Row {
        Arc::from([byte])
    }

    #[test]
    fn reads_as_of_a_seq() {
        let patches = Patches::default();
        patches.put(Slot(1), Seq(5), row(1));
        patches.put(Slot(1), Seq(7), row(2));
        patches.put(Slot(2), Seq(8), row(3));
        assert_eq!(patches.get(Slot(1), Seq(4)), None);
        assert_eq!(patches.get(Slot(1), Seq(6)), Some(row(1)));
        assert_eq!(patches.get(Slot(1), Seq(7)), Some(row(2)));
        assert_eq!(patches.slots().iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(patches.as_of(Seq(7)), [(Slot(1), row(2))]);
        assert_eq!(patches.since(Seq(7)), [(Slot(1), Seq(7), row(2)), (Slot(2), Seq(8), row(3))]);
    }
}
