//! The index that a segment has from the moment it is sealed until its own is built: that of the growing segment, with the slots of the
//! sealed one.
//!
//! Links and codes are copied, so it takes a moment where building takes minutes, and searches do not notice that a head was sealed. It finds
//! what the growing index found: rows that lost neighbours to dead ones are not healed, nothing is chosen anew, nothing is measured. It refuses
//! to be written down, and to exist where too much is dead or not linked: then rows are scanned.

use std::sync::Arc;

use nearfield_hnsw::{Graph, GraphView};
use nearfield_quant::{Codes, GrowingCodes};
use nearfield_types::Slot;
use nearfield_vectors::VectorStore;

use crate::build::Shared;
use crate::calibration::{Calibration, Tier};
use crate::changes::DROPPED;
use crate::index::{GrowingIndex, SealedIndex, Target};

/// Of so many rows at least one must live for each that is dead or not linked.
const LOST_DIVISOR: u32 = 4;

impl GrowingIndex {
    /// The index of the `rows` that this one's rows become, each in the place that `moved` gives it. Nobody links meanwhile. `None` where it would
    /// not serve: then there is nothing to be had but a scan.
    pub(crate) fn interim(
        &self,
        moved: &[u32],
        rows: &dyn VectorStore,
        threads: usize,
    ) -> Option<SealedIndex> {
        let linked = self.rows().saturating_sub(self.backlog()).min(moved.len() as u32);
        let (in_graph, behind) = moved.split_at(linked as usize);
        let living = in_graph.iter().filter(|&&slot| slot != DROPPED).count() as u32;
        // What is not linked is scanned from some row on.
        let keeps_order = in_graph.iter().all(|&slot| slot == DROPPED || slot < living);
        let lost = behind.len() as u32 + (linked - living);
        if !keeps_order || living == 0 || lost > rows.len() / LOST_DIVISOR {
            return None;
        }
        let codes = match self.codes() {
            None => None,
            Some(codes) => Some(moved_codes(codes, moved, rows.len())?),
        };
        let graph = Graph::new(self.graph().params());
        let source = GraphView::of(self.graph());
        let target = Target { rows, codes: codes.as_deref().map(|codes| codes as &dyn Codes), first: 0 };
        let mut linkers = parking_lot::Mutex::new(Vec::new());
        let each = |_, count: u32, step: &nearfield_hnsw::Step<'_>| {
            target.each_number(0..count, threads, &mut linkers.lock(), step)
        };
        let new_slot =
            |slot: Slot| moved.get(slot.index()).copied().filter(|slot| *slot != DROPPED).map(Slot);
        graph.adopt_unhealed(&source, &new_slot, &each).ok()?;
        linkers.get_mut().clear();
        let calibration = Calibration {
            tier: Tier::default(),
            has_codes: codes.is_some(),
            longest: self.field().longest,
            points: Vec::new(),
        };
        let codes = codes.map(|codes| Box::new(Shared(codes)) as Box<dyn Codes>);
        Some(SealedIndex::new(codes, GraphView::of(&graph), calibration).linked_to(living))
    }
}

/// The codes in the order of the new slots; `None` if some in the midst are missing.
fn moved_codes(codes: &dyn Codes, moved: &[u32], rows: u32) -> Option<Arc<GrowingCodes>> {
    let mut origin = vec![DROPPED; rows as usize];
    for (old, &new) in moved.iter().enumerate().filter(|(_, new)| **new != DROPPED) {
        *origin.get_mut(new as usize)? = old as u32;
    }
    let (mut writer, copy) = GrowingCodes::create(Arc::clone(codes.codec()));
    let all = codes.rows();
    let mut behind = false;
    for old in origin {
        match all.row(Slot(old)) {
            Some(_) if behind => return None,
            Some(code) => {
                writer.push_code(code)?;
            }
            None => behind = true,
        }
    }
    Some(copy)
}
