//! The choices by example, and what holds of them whatever the segments.

use proptest::prelude::*;

use super::*;

const USUAL: Limits = Limits {
    segments: 2,
    slack: 4,
    bytes_max: 1_000,
    rows_max: 1 << 31,
    dead_share_max: 0.2,
    dead_rows_min: 100,
};

/// Segments of a byte a living row, numbered from 0: (rows, dead).
fn segments(of: &[(u64, u64)]) -> Vec<SegmentFigures> {
    let figures = |(number, &(rows, dead)): (usize, &(u64, u64))| SegmentFigures {
        number: number as u64,
        rows,
        dead,
        bytes: rows - dead,
        is_ready: true,
    };
    of.iter().enumerate().map(figures).collect()
}

fn chosen(of: &[(u64, u64)]) -> Choice {
    choose(&segments(of), &USUAL)
}

#[test]
fn segments_of_one_size_are_merged_once_there_are_too_many() {
    assert_eq!(chosen(&[]), Choice::Nothing);
    assert_eq!(chosen(&[(100, 0), (100, 0)]), Choice::Nothing);
    assert_eq!(chosen(&[(100, 0), (100, 0), (100, 0)]), Choice::Merge(vec![0, 1, 2]));
    // The large one stays out of it.
    assert_eq!(chosen(&[(800, 0), (9, 0), (8, 0)]), Choice::Merge(vec![2, 1]));
    // Too large together.
    assert_eq!(chosen(&[(400, 0), (600, 0), (500, 0)]), Choice::Merge(vec![0, 2]));
    assert_eq!(chosen(&[(501, 0), (600, 0), (502, 0)]), Choice::Nothing);
}

#[test]
fn unlike_sizes_wait_until_there_are_a_few_too_many() {
    let sizes = [1, 3, 9, 27, 81, 243].map(|rows| (rows, 0));
    assert_eq!(chosen(&sizes), Choice::Nothing);
    let sizes = [1, 3, 9, 27, 81, 243, 735].map(|rows| (rows, 0));
    assert_eq!(chosen(&sizes), Choice::Merge(vec![0, 1, 2, 3, 4, 5]));
    let strict = Limits { slack: 0, ..USUAL };
    assert_eq!(choose(&segments(&sizes[..3]), &strict), Choice::Merge(vec![0, 1]));
}

#[test]
fn dead_rows_are_taken_away_above_the_threshold() {
    assert_eq!(chosen(&[(100, 20)]), Choice::Nothing);
    assert_eq!(chosen(&[(100, 21), (200, 50)]), Choice::Rewrite(1));
    assert_eq!(chosen(&[(99, 98)]), Choice::Nothing, "too small");
    assert_eq!(chosen(&[(5, 5)]), Choice::Rewrite(0), "nothing lives");
    let all = Limits { dead_share_max: 0.0, dead_rows_min: 0, ..USUAL };
    assert_eq!(choose(&segments(&[(100, 0), (5, 1)]), &all), Choice::Rewrite(1));
    assert_eq!(choose(&segments(&[(100, 0)]), &all), Choice::Nothing);
}

#[test]
fn what_waits_for_an_index_is_left_alone() {
    let mut waiting = segments(&[(100, 0), (100, 0), (100, 90)]);
    waiting.iter_mut().for_each(|segment| segment.is_ready = false);
    assert_eq!(choose(&waiting, &USUAL), Choice::Nothing);
    waiting[0].is_ready = true;
    assert_eq!(choose(&waiting, &USUAL), Choice::Nothing);
    waiting[1].is_ready = true;
    assert_eq!(choose(&waiting, &USUAL), Choice::Merge(vec![0, 1]));
}

fn any_segments() -> impl Strategy<Value = Vec<SegmentFigures>> {
    let one = (1u64..2_000, 0.0f64..=1.0, 1u64..9, prop::bool::weighted(0.9));
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let figures = |(number, (rows, dead, width, is_ready)): (usize, (u64, f64, u64, bool))| {
            let dead = (rows as f64 * dead * dead) as u64;
            SegmentFigures { number: number as u64, rows, dead, bytes: (rows - dead) * width, is_ready }
        };
        all.into_iter().enumerate().map(figures).collect()
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (1usize..9, 0usize..5, 1u64..20_000, 1u64..20_000, 0.0f64..1.0, 0u64..500).prop_map(
        |(segments, slack, bytes_max, rows_max, dead_share_max, dead_rows_min)| Limits {
            segments,
            slack,
            bytes_max,
            rows_max,
            dead_share_max,
            dead_rows_min,
        },
    )
}

proptest! {
    /// Choosing and doing comes to an end, loses no living row, merges nothing beyond the limits and nothing that is not ready.
    #[test]
    fn it_comes_to_an_end(mut segments in any_segments(), limits in any_limits()) {
        let living = |all: &[SegmentFigures]| all.iter().map(SegmentFigures::living).sum::<u64>();
        let before = living(&segments);
        let mut next = segments.len() as u64;
        let bound = 2 * segments.len() + 1;
        for _ in 0..bound {
            let choice = choose(&segments, &limits);
            let inputs = choice.segments();
            if inputs.is_empty() {
                prop_assert_eq!(living(&segments), before);
                return Ok(());
            }
            let parts: Vec<_> = inputs
                .iter()
                .map(|number| *segments.iter().find(|segment| segment.number == *number).unwrap())
                .collect();
            prop_assert_eq!(parts.len() == 1, matches!(choice, Choice::Rewrite(_)));
            let rows = living(&parts);
            let bytes = parts.iter().map(|part| part.bytes).sum();
            if parts.len() > 1 {
                prop_assert!(parts.iter().all(|part| part.is_ready));
                prop_assert!(bytes <= limits.bytes_max && rows <= limits.rows_max);
            }
            segments.retain(|segment| !inputs.contains(&segment.number));
            if rows > 0 {
                segments.push(SegmentFigures { number: next, rows, dead: 0, bytes, is_ready: true });
                next += 1;
            }
        }
        prop_assert!(false, "no end after {} steps", bound);
    }

    /// Without slack, as few segments are left as wanted, or no two of the smallest fit together.
    #[test]
    fn the_count_is_reached(mut segments in any_segments(), limits in any_limits()) {
        segments.iter_mut().for_each(|segment| segment.is_ready = true);
        let limits = Limits { slack: 0, ..limits };
        let mut next = segments.len() as u64;
        loop {
            let choice = choose(&segments, &limits);
            let inputs = choice.segments();
            if inputs.is_empty() {
                break;
            }
            let taken = |segment: &&SegmentFigures| inputs.contains(&segment.number);
            let rows = segments.iter().filter(taken).map(SegmentFigures::living).sum();
            let bytes = segments.iter().filter(taken).map(|segment| segment.bytes).sum();
            segments.retain(|segment| !inputs.contains(&segment.number));
            if rows > 0 {
                segments.push(SegmentFigures { number: next, rows, dead: 0, bytes, is_ready: true });
                next += 1;
            }
        }
        segments.sort_by_key(|segment| (segment.bytes, segment.living(), segment.number));
        let two: Vec<_> = segments.iter().take(2).collect();
        let fit = two.len() == 2
            && two[0].bytes + two[1].bytes <= limits.bytes_max
            && two[0].living() + two[1].living() <= limits.rows_max;
        prop_assert!(segments.len() <= limits.segments || !fit);
    }
}
