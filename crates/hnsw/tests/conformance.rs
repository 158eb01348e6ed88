//! The suite that ships with the contract, as any user of the crate would run it.

use nearfield_ann::conformance::{Points, Promise, check_index};
use nearfield_hnsw::{Graph, Linker, Params, Scorers};
use nearfield_types::Slot;

#[test]
fn the_graph_keeps_the_contract() {
    check_index(&|points| Box::new(build(points)), Promise::Recall(0.95)).unwrap();
}

fn build(points: &Points) -> Graph {
    let graph = Graph::new(Params::new(8, 60).expect("these settings are within the limits"));
    let (mut walk, mut judge, mut linker) = (points.scorer(&[]), points.scorer(&[]), Linker::new());
    let mut scorers =
        Scorers { walk: &mut walk, judge: &mut judge, same: &|a, b| points.row(a) == points.row(b) };
    for slot in 0..points.len() {
        graph.link(Slot(slot), &mut scorers, &mut linker).expect("these scorers do not fail");
    }
    graph
}
