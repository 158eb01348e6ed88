//! What happens to rows after they were written: deaths and patches, side by side, whatever the segment.

use nearfield_types::{Seq, Slot};
use roaring::RoaringBitmap;

use crate::deaths::Deaths;
use crate::deltas::Delta;
use crate::patches::{Patches, Row};

/// Deaths and patches of one segment.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) deaths: Deaths,
    pub(crate) patches: Patches,
}

impl Default for Changes {
    fn default() -> Self {
        Changes { deaths: Deaths::new(), patches: Patches::default() }
    }
}

impl Changes {
    /// The changes a delta file holds; all of them happened at or before its Seq, which stands for them.
    pub(crate) fn from_delta(delta: &Delta) -> Self {
        let changes = Changes::default();
        for slot in &delta.deaths {
            changes.deaths.kill(Slot(slot), delta.through);
        }
        for (slot, row) in &delta.patches {
            changes.patches.put(*slot, delta.through, Row::clone(row));
        }
        changes
    }

    /// The latest change; [`Seq::ZERO`] without any.
    pub(crate) fn last(&self) -> Seq {
        self.deaths.last().max(self.patches.last())
    }

    /// What a checkpoint at `through` must keep. Patches of rows that are dead by then are dropped.
    pub(crate) fn delta(&self, through: Seq) -> Delta {
        let dead = self.deaths.iter().filter(|(_, died)| *died <= through).map(|(slot, _)| slot.0);
        let deaths: RoaringBitmap = dead.collect();
        let mut patches = self.patches.as_of(through);
        patches.retain(|(slot, _)| !deaths.contains(slot.0));
        Delta { through, deaths, patches }
    }

    /// The same changes without the patches no reader at `through` or later can ask for.
    pub(crate) fn compacted(&self, through: Seq) -> Changes {
        let changes = Changes::default();
        for (slot, died) in self.deaths.iter() {
            changes.deaths.kill(slot, died);
        }
        for (slot, at, row) in self.patches.since(through) {
            changes.patches.put(slot, at, row);
        }
        changes
    }

    /// Copies every change after `through` onto `target`, whose slot of our slot `s` is `moved[s]` ([`DROPPED`]: it has none).
    pub(crate) fn carry(&self, through: Seq, moved: &[u32], target: &Changes) {
        let new_slot =
            |slot: Slot| moved.get(slot.index()).copied().filter(|slot| *slot != DROPPED).map(Slot);
        for (slot, died) in self.deaths.iter().filter(|(_, died)| *died > through) {
            if let Some(slot) = new_slot(slot) {
                target.deaths.kill(slot, died);
            }
        }
        for (slot, at, row) in self.patches.since(through).into_iter().filter(|(_, at, _)| *at > through) {
            if let Some(slot) = new_slot(slot) {
                target.patches.put(slot, at, row);
            }
        }
    }
}

/// In a slot map: the row was dead and not written.
pub(crate) const DROPPED: u32 = u32::MAX;
