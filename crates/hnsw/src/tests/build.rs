//! Building, one by one and from many threads, and what duplicates do.

use nearfield_ann::conformance::{Points, Promise, check_index};
use nearfield_ann::{
    AdmitAll, AdmitIf, Budget, BySlot, Effort, Estimate, Scorer, Scratch, Search, TopK, VectorIndex,
};
use nearfield_types::Slot;

use super::{ask, assert_whole, build, finish, link, params, recall};
use crate::{Graph, GraphView};

#[test]
fn the_contract_is_kept() {
    check_index(&|points| Box::new(build(points)), Promise::Recall(0.95)).unwrap();
    check_index(&|points| Box::new(GraphView::of(&build(points))), Promise::Recall(0.95)).unwrap();
}

#[test]
fn one_thread_builds_the_same_graph_again() {
    let points = Points::clustered(1_500, 8, 3);
    let rows =
        |graph: &Graph| (0..graph.len()).map(|slot| graph.neighbours(Slot(slot), 0)).collect::<Vec<_>>();
    assert_eq!(rows(&build(&points)), rows(&build(&points)));
}

#[test]
fn the_last_pass_finds_more_with_fewer_distances() {
    let points = Points::clustered(4_000, 16, 5);
    let graph = build(&points);
    let before = recall(&graph, &points, 16);
    assert_eq!(finish(&graph, &points), 0);
    assert_whole(&graph);
    let after = recall(&graph, &points, 16);
    assert!(after >= before && after > 0.9, "{before} to {after}");
    assert!(recall(&graph, &points, 200) > 0.995);
}

#[test]
fn many_threads_build_a_graph_that_is_whole() {
    let points = Points::clustered(3_000, 8, 11);
    let graph = Graph::new(params());
    let readers_ran = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (graph, points) = (&graph, &points);
            scope.spawn(move || link(graph, points, (worker..3_000).step_by(4)));
        }
        scope.spawn(|| {
            while graph.linked() < 3_000 {
                let (found, _) = ask(&graph, &points, points.row(Slot(7)).unwrap(), 5, 20);
                assert!(found.windows(2).all(|pair| pair[0].score <= pair[1].score));
                readers_ran.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    });
    finish(&graph, &points);
    assert_whole(&graph);
    assert!(recall(&graph, &points, 60) > 0.97);
}

#[test]
fn duplicates_hang_together_and_are_all_found() {
    // Every point three times, and one point two hundred times more.
    let unique = Points::clustered(300, 8, 9);
    let mut rows = unique.rows().repeat(3);
    for _ in 0..200 {
        rows.extend_from_slice(unique.row(Slot(5)).unwrap());
    }
    let points = Points::from_rows(8, rows);
    let graph = build(&points);
    assert_whole(&graph);
    assert_eq!(graph.stats().duplicates, 800);
    for index in [&graph as &dyn VectorIndex, &GraphView::of(&graph)] {
        let (found, _) = ask(index, &points, unique.row(Slot(5)).unwrap(), 203, 20);
        assert!(found.iter().all(|hit| hit.score == 0.0), "{found:?}");
        assert_eq!(found.len(), 203);
        let (found, _) = ask(index, &points, unique.row(Slot(9)).unwrap(), 3, 20);
        assert_eq!(found.iter().map(|hit| hit.slot.0).collect::<Vec<_>>(), [9, 309, 609]);
        // One of the copies is admitted, and it is not the one that is linked.
        let (budget, mut best) = (Budget::unlimited(), TopK::new(1, &BySlot));
        let admit = AdmitIf::new(Estimate { low: 0, likely: 2, high: 3 }, |slot| slot.0 == 609 || slot.0 < 3);
        let mut scorer = points.scorer(unique.row(Slot(9)).unwrap());
        let search = Search { effort: Effort::Breadth(20), ..Search::new(&mut scorer, &admit, &budget) };
        index.search(search, &mut Scratch::new(), &mut best).unwrap();
        assert_eq!(best.into_sorted()[0].slot, Slot(609));
    }
}

#[test]
fn a_walk_goes_on_where_it_ended() {
    let points = Points::clustered(2_000, 12, 21);
    let graph = build(&points);
    let query = super::queries(&points, 3).remove(1);
    let (budget, mut scratch) = (Budget::unlimited(), Scratch::new());
    let mut scorer = points.scorer(&query);
    let mut few = TopK::new(5, &BySlot);
    fn ask_for<'a>(ef: u32, scorer: &'a mut dyn Scorer, budget: &'a Budget<'a>) -> Search<'a> {
        Search { effort: Effort::Breadth(ef), ..Search::new(scorer, &AdmitAll, budget) }
    }
    graph.search(ask_for(5, &mut scorer, &budget), &mut scratch, &mut few).unwrap();
    let ticket = graph.ticket(&mut scratch).unwrap();
    let mut more = TopK::new(100, &BySlot);
    let stats =
        graph.resume(ticket, ask_for(100, &mut scorer, &budget), &mut scratch, &mut more).unwrap().unwrap();
    let (whole, from_anew) = ask(&graph, &points, &query, 100, 100);
    let more = more.into_sorted();
    let common = whole.iter().filter(|hit| more.contains(hit)).count();
    assert!(common >= 98, "{common}");
    assert!(stats.hops < from_anew.hops);
    // Another search with the same scratch ends it.
    graph.search(ask_for(5, &mut scorer, &budget), &mut scratch, &mut TopK::new(1, &BySlot)).unwrap();
    assert!(
        graph
            .resume(ticket, ask_for(9, &mut scorer, &budget), &mut scratch, &mut TopK::new(1, &BySlot))
            .is_none()
    );
    assert!(build(&points).ticket(&mut scratch).is_none());
}

#[test]
fn strict_filters_still_find_what_is_admitted() {
    let points = Points::clustered(3_000, 8, 31);
    let graph = build(&points);
    for one_in in [2, 10, 50] {
        let mut hit = 0;
        let queries = super::queries(&points, 50);
        for query in &queries {
            let admitted = |slot: Slot| slot.0.is_multiple_of(one_in);
            let admit = AdmitIf::new(Estimate::exactly(u64::from(3_000 / one_in)), admitted);
            let (budget, mut best) = (Budget::unlimited(), TopK::new(10, &BySlot));
            let mut scorer = points.scorer(query);
            graph.search(Search::new(&mut scorer, &admit, &budget), &mut Scratch::new(), &mut best).unwrap();
            let (truth, _) = ask(&nearfield_ann::Flat::new(3_000), &points, query, 3_000, 0);
            let truth: Vec<_> = truth.into_iter().filter(|hit| admitted(hit.slot)).take(10).collect();
            hit += best.into_sorted().iter().filter(|found| found.score <= truth[9].score).count();
        }
        assert!(hit >= 480, "one in {one_in}: {hit} of {}", 10 * queries.len());
    }
}
