//! The file of a graph, and searches over what it says.

use nearfield_ann::conformance::Points;
use nearfield_ann::{AdmitAll, Budget, BySlot, Scratch, Search, TopK, VectorIndex};
use nearfield_codec::Region;
use nearfield_hnsw::GraphView;
use nearfield_hnsw::verify::Verify;
use nearfield_types::Slot;

use super::input;
use crate::{checksums, fixtures};

/// Slots that answers are drawn from, at most.
const SLOTS_MAX: u32 = 10_000;

/// Input: control byte, graph file.
///
/// What must hold: a graph that is accepted gives answers that end, are in order and lie among its slots, whatever its rows, levels
/// and chains say; checking it and counting it end too.
pub fn graph(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::container);
    let Ok(view) = GraphView::open(Region::from(file)) else { return };
    if view.len() > SLOTS_MAX {
        return;
    }
    let points = Points::clustered(view.len(), fixtures::GRAPH_DIM, 1);
    for k in [1, 10] {
        let (budget, mut best) = (Budget::unlimited(), TopK::new(k, &BySlot));
        let mut scorer = points.scorer(&[1.0; fixtures::GRAPH_DIM]);
        let search = Search::new(&mut scorer, &AdmitAll, &budget);
        let searched = view.search(search, &mut Scratch::new(), &mut best);
        let stats = searched.expect("nothing stops this search");
        assert!(stats.distances <= 4 * u64::from(view.len()) + 64, "{stats:?}");
        let hits = best.into_sorted();
        assert!(hits.len() <= k && hits.iter().all(|hit| hit.slot.0 < view.len()));
        assert!(hits.windows(2).all(|pair| pair[0].score <= pair[1].score));
    }
    view.verify(10);
    view.stats();
    view.neighbours(Slot(0), 0);
}
