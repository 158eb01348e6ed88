//! The work of fixed searches on fixed graphs, to the count. A change here is a change of the algorithm: it belongs into the
//! commit's message, with the reason.

use nearfield_ann::conformance::Points;

use super::{ask, build, finish, queries};

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
    assert_eq!((linked, refined), ([(1553, 9132), (3898, 16774)], [(1545, 10047), (3899, 18072)]));
}
