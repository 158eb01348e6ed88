//! Searches among some of the slots only: what is not admitted is walked through.

use nearfield_ann::conformance::Points;
use nearfield_ann::{AdmitIf, Budget, BySlot, Estimate, Scratch, Search, TopK, VectorIndex};
use nearfield_hnsw::{Graph, Linker, Params, Scorers};
use nearfield_types::Slot;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let points = Points::clustered(20_000, 16, 3);
    let graph = Graph::new(Params::new(16, 100)?);
    let (mut walk, mut judge, mut linker) = (points.scorer(&[]), points.scorer(&[]), Linker::new());
    let mut scorers =
        Scorers { walk: &mut walk, judge: &mut judge, same: &|a, b| points.row(a) == points.row(b) };
    for slot in 0..points.len() {
        graph.link(Slot(slot), &mut scorers, &mut linker)?;
    }
    let query = points.row(Slot(11)).ok_or("there are 20,000 points")?;
    for one_in in [1u32, 2, 10, 100] {
        let admitted = Estimate::exactly(u64::from(points.len() / one_in));
        let admit = AdmitIf::new(admitted, |slot| slot.0.is_multiple_of(one_in));
        let (mut scorer, budget, mut best) =
            (points.scorer(query), Budget::unlimited(), TopK::new(5, &BySlot));
        let stats =
            graph.search(Search::new(&mut scorer, &admit, &budget), &mut Scratch::new(), &mut best)?;
        let slots: Vec<u32> = best.into_sorted().iter().map(|hit| hit.slot.0).collect();
        println!("one in {one_in:3}: {slots:?}, {} distances, {} tested", stats.distances, stats.tested);
    }
    Ok(())
}
