//! Turnovers: points die, a new graph takes over what is left, others come.

use nearfield_ann::conformance::Points;
use nearfield_types::Slot;

use super::{assert_whole, build, finish, link, params, recall};
use crate::{Graph, GraphView, Linker, Scorers};

/// Keeps those of `points` that `lives` says and adds `added`; the survivors keep their order.
fn turn_over(
    graph: &Graph,
    points: &Points,
    lives: impl Fn(u32) -> bool,
    added: &Points,
) -> (Graph, Points, crate::Adopted) {
    let dim = points.dim();
    let mut rows = Vec::new();
    let mut moved = vec![None; points.len() as usize];
    for slot in (0..points.len()).filter(|&slot| lives(slot)) {
        moved[slot as usize] = Some(Slot((rows.len() / dim) as u32));
        rows.extend_from_slice(points.row(Slot(slot)).unwrap());
    }
    let kept = (rows.len() / dim) as u32;
    rows.extend_from_slice(added.rows());
    let points = Points::from_rows(dim, rows);
    let merged = Graph::new(params().with_seed(99));
    let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
    let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
    let source = GraphView::of(graph);
    let adopted =
        merged.adopt(&source, &|slot| moved[slot.index()], &mut scorers, &mut Linker::new()).unwrap();
    assert_eq!(adopted.slots.len(), kept as usize);
    link(&merged, &points, kept..points.len());
    (merged, points, adopted)
}

#[test]
fn five_turnovers_are_as_good_as_a_fresh_build() {
    let mut points = Points::clustered(2_000, 12, 40);
    let mut graph = build(&points);
    finish(&graph, &points);
    for round in 0..5u32 {
        let added = Points::clustered(400, 12, 41 + u64::from(round));
        let (merged, now, adopted) = turn_over(&graph, &points, |slot| slot % 5 != round % 5, &added);
        assert!(adopted.healed > 0);
        (graph, points) = (merged, now);
        finish(&graph, &points);
        assert_whole(&graph);
    }
    let fresh = build(&points);
    finish(&fresh, &points);
    let (merged, fresh) = (recall(&graph, &points, 16), recall(&fresh, &points, 16));
    assert!(merged > fresh - 0.01, "{merged} against {fresh}");
}

#[test]
fn a_chain_whose_head_dies_lives_on() {
    let unique = Points::clustered(200, 8, 50);
    let points = Points::from_rows(8, unique.rows().repeat(3));
    let graph = build(&points);
    let added = Points::clustered(0, 8, 1);
    let (merged, points, _) = turn_over(&graph, &points, |slot| slot >= 200 && slot != 207, &added);
    assert_whole(&merged);
    assert_eq!((merged.linked(), merged.stats().duplicates), (399, 199));
    assert!(recall(&merged, &points, 60) > 0.98);
}

#[test]
fn nothing_left_is_an_empty_graph() {
    let points = Points::clustered(100, 4, 1);
    let (merged, points, adopted) =
        turn_over(&build(&points), &points, |_| false, &Points::clustered(30, 4, 2));
    assert_eq!((adopted.slots.len(), merged.linked()), (0, 30));
    assert_eq!(recall(&merged, &points, 30), 1.0);
}
