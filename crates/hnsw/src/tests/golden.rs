//! The work of fixed searches on fixed graphs, to the count. A change here is a change of the algorithm: it belongs into the
//! commit's message, with the reason.

use nearfield_ann::conformance::Points;
use nearfield_ann::{
    AdmitIf, Budget, BySlot, Effort, Estimate, Flat, Margin, Scratch, Search, TopK, VectorIndex,
};
use nearfield_types::Slot;

use super::{ask, ask_for, build, finish, queries};

#[test]
fn hops_and_distances_are_what_they_were() {
    let points = Points::clustered(3_000, 16, 77);
    let graph = build(&points);
    let work = |ef| {
        let mut work = (0, 0);
        for query in queries(&points, 50) {
            let (_, stats) = ask(&graph, &points, &query, 10, ef);
            work = (work.0 + stats.hops, work.1 + stats.distances);
        }
        work
    };
    let linked = [work(16), work(64)];
    finish(&graph, &points);
    let refined = [work(16), work(64)];
    assert_eq!((linked, refined), ([(1221, 8314), (3571, 15990)], [(1203, 9136), (3570, 17286)]));
}

/// A wider margin takes more work, and one without end is the breadth it stops at. Found and scored, to the count.
#[test]
fn margins_end_walks() {
    let points = Points::clustered(3_000, 16, 78);
    let graph = build(&points);
    finish(&graph, &points);
    let queries = queries(&points, 100);
    let work = |effort| {
        let (mut found, mut distances) = (0, 0);
        for query in &queries {
            let (hits, stats) = ask_for(&graph, &points, query, 10, effort);
            let (truth, _) = ask(&Flat::new(points.len()), &points, query, 10, 0);
            found += hits.iter().filter(|hit| truth.contains(hit)).count();
            distances += stats.distances;
        }
        (found, distances)
    };
    let margin = |share| Effort::Margin(Margin { rank: 10, share, floor: 0.0, slack: 0.0, breadth: 200 });
    let (wide, endless) = (work(margin(0.05)), work(margin(f32::MAX)));
    assert_eq!(endless, work(Effort::Breadth(200)));
    assert!(work(margin(0.0)).1 < wide.1 && wide.1 < endless.1);
    assert_eq!([wide, work(Effort::Breadth(16))], [(978, 17_750), (981, 18_536)]);
}

/// A margin counts for less where less is admitted, and still ends filtered walks. Found of 1,000 and scored, to the count.
#[test]
fn margins_end_filtered_walks() {
    let points = Points::clustered(3_000, 16, 79);
    let graph = build(&points);
    finish(&graph, &points);
    let work = |one_in: u32, share| {
        let (mut found, mut distances) = (0, 0);
        let is_admitted = |slot: Slot| slot.0.is_multiple_of(one_in);
        let admit = AdmitIf::new(Estimate::exactly(u64::from(3_000 / one_in)), is_admitted);
        for query in queries(&points, 100) {
            let (budget, mut best) = (Budget::unlimited(), TopK::new(10, &BySlot));
            let mut scorer = points.scorer(&query);
            let effort = Effort::Margin(Margin { rank: 10, share, floor: 0.0, slack: 0.0, breadth: 200 });
            let search = Search { effort, ..Search::new(&mut scorer, &admit, &budget) };
            distances += graph.search(search, &mut Scratch::new(), &mut best).unwrap().distances;
            let (truth, _) = ask(&Flat::new(points.len()), &points, &query, 3_000, 0);
            let truth: Vec<_> = truth.into_iter().filter(|hit| is_admitted(hit.slot)).take(10).collect();
            found += best.into_sorted().iter().filter(|hit| truth.contains(hit)).count();
        }
        (found, distances)
    };
    let works = [work(2, 0.0), work(2, 0.1), work(10, 0.0), work(10, 0.1)];
    assert_eq!(works, [(972, 20_543), (995, 24_467), (997, 37_532), (1_000, 38_865)]);
}
