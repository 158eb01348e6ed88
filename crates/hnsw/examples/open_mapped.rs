//! Writes a graph as bytes and searches these bytes in place, as one would search a mapped file.

use nearfield_ann::conformance::Points;
use nearfield_ann::{AdmitAll, Budget, BySlot, Scratch, Search, TopK, VectorIndex};
use nearfield_codec::{Container, Region};
use nearfield_hnsw::verify::Verify;
use nearfield_hnsw::{Graph, GraphView, Linker, Params, Scorers, format};
use nearfield_types::Slot;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let points = Points::clustered(20_000, 16, 5);
    let graph = Graph::new(Params::new(16, 100)?);
    let (mut walk, mut judge, mut linker) = (points.scorer(&[]), points.scorer(&[]), Linker::new());
    let mut scorers =
        Scorers { walk: &mut walk, judge: &mut judge, same: &|a, b| points.row(a) == points.row(b) };
    for slot in 0..points.len() {
        graph.link(Slot(slot), &mut scorers, &mut linker)?;
    }
    graph.reconnect(&mut scorers, &mut linker)?;
    let (bytes, summary) = format::write(&graph, b"built by an example", Vec::new())?;
    println!("{} bytes, digest {:02x?}", summary.length, &summary.blake3[..4]);

    // In a program the region would be a map of the file.
    let region = Region::from(bytes);
    Container::open(region.clone(), format::TAG)?.verify_all()?;
    let view = GraphView::open(region)?;
    println!("{:?}, violations: {:?}", view, view.verify(10));
    let query = points.row(Slot(1234)).ok_or("there are 20,000 points")?;
    let (mut scorer, budget, mut best) = (points.scorer(query), Budget::unlimited(), TopK::new(3, &BySlot));
    view.search(Search::new(&mut scorer, &AdmitAll, &budget), &mut Scratch::new(), &mut best)?;
    println!("{:?}", best.into_sorted());
    Ok(())
}
