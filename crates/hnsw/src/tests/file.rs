//! The file: what is written is read back, and no damage is answered with more than an error.

use nearfield_ann::conformance::Points;
use nearfield_codec::{Container, Region};
use nearfield_types::Slot;

use super::{ask, assert_whole, build};
use crate::format::{TAG, write};
use crate::verify::Verify;
use crate::{Graph, GraphView, Params, Scorers};

fn bytes() -> (Points, Vec<u8>) {
    let mut rows = Points::clustered(400, 6, 2).rows().to_vec();
    let copy = rows[..60].to_vec();
    rows.extend(copy);
    let points = Points::from_rows(6, rows);
    let graph = build(&points);
    (points, write(&graph, b"notes", Vec::new()).unwrap().0)
}

#[test]
fn a_graph_is_read_back_as_it_was() {
    let (points, bytes) = bytes();
    let graph = build(&points);
    let view = GraphView::open(Region::from(bytes)).unwrap();
    assert_whole(&view);
    assert_eq!(view.notes(), b"notes");
    assert_eq!((view.params(), view.len(), view.linked()), (graph.params(), graph.len(), graph.linked()));
    for slot in (0..view.len()).map(Slot) {
        for level in 0..3 {
            assert_eq!(view.neighbours(slot, level), graph.neighbours(slot, level));
        }
    }
    let mut stats = graph.stats();
    stats.memory = view.stats().memory;
    assert_eq!(view.stats(), stats);
    let (mut walk, mut judge) = (points.scorer(&[]), points.scorer(&[]));
    let mut scorers = Scorers { walk: &mut walk, judge: &mut judge, same: &|_, _| false };
    let restored = Graph::restore(&view, &mut scorers).unwrap();
    assert_whole(&restored);
    assert_eq!(
        write(&restored, b"notes", Vec::new()).unwrap().0,
        write(&graph, b"notes", Vec::new()).unwrap().0
    );
    let empty = GraphView::of(&Graph::new(Params::new(4, 9).unwrap()));
    assert!(empty.is_empty() && ask(&empty, &points, &[0.0; 6], 3, 9).0.is_empty());
}

#[test]
fn every_cut_is_an_error() {
    let (_, bytes) = bytes();
    for length in 0..bytes.len() {
        // Near the end every length, before it some: each begins with a look at the footer.
        if length + 600 > bytes.len() || length % 97 == 0 {
            assert!(GraphView::open(Region::from(bytes[..length].to_vec())).is_err(), "{length}");
        }
    }
}

/// A flip is found by the checksums; and whoever does not look at those gets an answer from among the slots.
#[test]
fn every_flip_is_found_and_none_is_harmful() {
    let (points, bytes) = bytes();
    let mut at = 7u64;
    for _ in 0..3_000 {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (at >> 20) as usize % (bytes.len() * 8);
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let region = Region::from(damaged);
        let checked = Container::open(region.clone(), TAG).and_then(|file| file.verify_all());
        assert!(checked.is_err(), "bit {bit}");
        if let Ok(view) = GraphView::open(region) {
            let (found, _) = ask(&view, &points, points.row(Slot(3)).unwrap(), 5, 20);
            assert!(found.len() <= 5 && found.iter().all(|hit| hit.slot.0 < view.len()));
            view.verify(5);
            view.stats();
        }
    }
}
