//! Builds a graph over vectors of one's own and compares it with looking at everything.

use nearfield_ann::{
    AdmitAll, Budget, BuildScorer, BySlot, Effort, Flat, Scorer, Scratch, Search, Stopped, TopK, VectorIndex,
};
use nearfield_hnsw::{Graph, Linker, Params, Scorers};
use nearfield_types::{Score, Slot};

/// Squared Euclidean distances to one vector: the only code a user of the index has to write.
struct Distances<'a> {
    vectors: &'a [[f32; 32]],
    query: [f32; 32],
}

impl Scorer for Distances<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        for (slot, score) in slots.iter().zip(out) {
            let vector = self.vectors.get(slot.index());
            *score = vector
                .map_or(Score::INFINITY, |v| v.iter().zip(&self.query).map(|(a, b)| (a - b).powi(2)).sum());
        }
        Ok(())
    }
}

impl BuildScorer for Distances<'_> {
    fn aim(&mut self, slot: Slot) {
        self.query = self.vectors[slot.index()];
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vectors: Vec<[f32; 32]> = (0..20_000)
        .map(|n| std::array::from_fn(|d| ((n * (d + 7)) as f32 * 0.37).sin() * (1 + n % 5) as f32))
        .collect();
    let scorer = |query| Distances { vectors: &vectors, query };
    let graph = Graph::new(Params::new(16, 100)?);
    let (mut walk, mut judge, mut linker) = (scorer([0.0; 32]), scorer([0.0; 32]), Linker::new());
    let mut scorers = Scorers {
        walk: &mut walk,
        judge: &mut judge,
        same: &|a, b| vectors[a.index()] == vectors[b.index()],
    };
    for slot in 0..vectors.len() as u32 {
        graph.link(Slot(slot), &mut scorers, &mut linker)?;
    }
    let query: [f32; 32] = std::array::from_fn(|d| (d as f32).cos());
    let (budget, mut scratch) = (Budget::unlimited(), Scratch::new());
    for index in [&graph as &dyn VectorIndex, &Flat::new(vectors.len() as u32)] {
        let (mut scorer, mut best) = (scorer(query), TopK::new(5, &BySlot));
        let search = Search { effort: Effort::Breadth(64), ..Search::new(&mut scorer, &AdmitAll, &budget) };
        let stats = index.search(search, &mut scratch, &mut best)?;
        println!(
            "{:6} distances: {:?}",
            stats.distances,
            best.into_sorted().iter().map(|hit| hit.slot.0).collect::<Vec<_>>()
        );
    }
    Ok(())
}
