//! The invariants of the f32 kernels (numbers as in the crate docs), for every level this processor runs.
//!
//! Rows lie between NaNs, so that a value read past either end would show in the result.

use nearfield_simd::{F32Kernels, Kernels, Level, reference};
use proptest::collection::vec;
use proptest::prelude::*;
use simsimd::SpatialSimilarity;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A distance of simsimd.
type Baseline = fn(&[f32], &[f32]) -> Option<f64>;

/// What the tests need to know of one distance.
struct Distance {
    name: &'static str,
    pick: fn(&Kernels) -> &F32Kernels,
    exact: fn(&[f32], &[f32]) -> f64,
    /// The sum of the absolute values of the terms.
    magnitude: fn(&[f32], &[f32]) -> f64,
    /// Adds one term, with or without a fused multiply-add.
    add_term: fn(f32, f32, f32, bool) -> f32,
    /// simsimd has no Manhattan distance.
    simsimd: Option<Baseline>,
}

const DISTANCES: [Distance; 3] = [
    Distance {
        name: "dot",
        pick: Kernels::dot,
        exact: reference::dot,
        magnitude: reference::absolute_dot,
        add_term: |sum, q, r, fused| if fused { q.mul_add(r, sum) } else { sum + q * r },
        simsimd: Some(<f32 as SpatialSimilarity>::dot),
    },
    Distance {
        name: "squared_l2",
        pick: Kernels::squared_l2,
        exact: reference::squared_l2,
        magnitude: reference::squared_l2,
        add_term: |sum, q, r, fused| {
            if fused { (q - r).mul_add(q - r, sum) } else { sum + (q - r) * (q - r) }
        },
        simsimd: Some(<f32 as SpatialSimilarity>::sqeuclidean),
    },
    Distance {
        name: "l1",
        pick: Kernels::l1,
        exact: reference::l1,
        magnitude: reference::l1,
        add_term: |sum, q, r, _| sum + (q - r).abs(),
        simsimd: None,
    },
];

/// Rows of one batch: one group of four and a rest.
const ROWS: usize = 5;

/// Every level with every distance.
fn cases() -> impl Iterator<Item = (&'static Kernels, &'static Distance, F32Kernels)> {
    Kernels::available().flat_map(|level| DISTANCES.iter().map(move |d| (level, d, *(d.pick)(level))))
}

/// `values` at `offset` elements past a cache-line border, between NaNs.
struct Placed {
    buffer: Vec<f32>,
    begin: usize,
    count: usize,
}

impl Placed {
    fn new(values: &[f32], offset: usize) -> Self {
        let mut buffer = vec![f32::NAN; values.len() + 16 + offset + 16];
        let border = buffer.as_ptr().align_offset(64);
        assert!(border < 16, "a border lies within the first 64 bytes");
        let begin = border + offset;
        buffer[begin..begin + values.len()].copy_from_slice(values);
        Self { buffer, begin, count: values.len() }
    }

    fn get(&self) -> &[f32] {
        &self.buffer[self.begin..self.begin + self.count]
    }
}

/// Values in -1..1, the same for the same seed (splitmix64).
fn random_values(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let mut x = (seed << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((x ^ x >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// The value of each row by `pair`, after checking that all forms give its bits at these alignments.
fn all_forms(kernels: F32Kernels, query: &[f32], rows: &[f32], count: usize, offset: usize) -> Vec<f32> {
    let dim = query.len();
    let row = |i: usize| &rows[i * dim..][..dim];
    let expected: Vec<f32> = (0..count).map(|i| kernels.pair(query, row(i))).collect();

    let placed_query = Placed::new(query, (offset * 5 + 3) % 16);
    let block = Placed::new(rows, offset);
    let mut out = vec![f32::NAN; count];
    kernels.batch(placed_query.get(), block.get(), &mut out);
    assert_same(&out, &expected);

    let placed: [Placed; 4] = std::array::from_fn(|i| Placed::new(row(i), (offset + 5 * i) % 16));
    let [a, b, c, d] = placed.each_ref().map(Placed::get);
    assert_same(&kernels.x4(placed_query.get(), [a, b, c, d]), &expected[..4]);
    let [x, y, z, w] = kernels.x4(query, [d, b, a, c]);
    assert_same(&[z, y, w, x], &expected[..4]);
    // Also exchanged, and from another place.
    assert_same(&[kernels.pair(a, placed_query.get())], &expected[..1]);
    expected
}

/// Equal bits; any NaN equals any NaN.
fn assert_same(got: &[f32], expected: &[f32]) {
    let bits = |values: &[f32]| -> Vec<u32> {
        values.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
    };
    assert_eq!(bits(got), bits(expected), "{got:?} against {expected:?}");
}

/// Checks I3 for one value.
fn assert_near(got: f32, distance: &Distance, query: &[f32], row: &[f32]) {
    let error = (f64::from(got) - (distance.exact)(query, row)).abs();
    let limit = reference::tolerance(query.len(), (distance.magnitude)(query, row));
    assert!(error <= limit, "{got} is off by {error:e}, more than {limit:e}");
}

/// What the checks of one length found, told with the case when they fail.
fn named<T>(case: impl FnOnce() -> String, check: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| panic!("failed for {}", case()))
}

/// simsimd keeps its choice of kernels in a plain static: make it before two threads can.
fn simsimd_once() {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        for distance in &DISTANCES {
            if let Some(f) = distance.simsimd {
                assert_eq!(f(&[1.0], &[1.0]).map(|v| v.is_finite()), Some(true));
            }
        }
    });
}

#[test]
fn i1_i3_i5_every_length_agrees_with_the_oracle_and_all_forms_agree() {
    let values = random_values(1, (ROWS + 1) * 4096);
    for dim in 0..=4096 {
        let (query, rest) = values.split_at(dim);
        let rows = &rest[..ROWS * dim];
        for (level, distance, kernels) in cases() {
            let case = || format!("{} {} dim {dim}", level.name(), distance.name);
            named(case, || {
                let got = all_forms(kernels, query, rows, ROWS, dim * 7 % 16);
                assert_same(&all_forms(kernels, query, rows, ROWS, (dim * 7 + 4) % 16), &got);
                assert_same(&all_forms(kernels, query, rows, ROWS, (dim * 7 + 9) % 16), &got);
                for (i, &value) in got.iter().enumerate() {
                    assert_near(value, distance, query, &rows[i * dim..][..dim]);
                }
            });
        }
    }
}

#[test]
fn i1_i5_every_alignment_of_short_and_usual_lengths() {
    let values = random_values(2, (ROWS + 1) * 1536);
    for dim in (0..=140).chain([255, 256, 257, 300, 384, 768, 960, 1024, 1536]) {
        let (query, rest) = values.split_at(dim);
        let rows = &rest[..ROWS * dim];
        for (level, distance, kernels) in cases() {
            for offset in 0..16 {
                let case = || format!("{} {} dim {dim} offset {offset}", level.name(), distance.name);
                named(case, || {
                    let got = all_forms(kernels, query, rows, ROWS, offset);
                    assert_near(got[ROWS - 1], distance, query, &rows[(ROWS - 1) * dim..]);
                });
            }
        }
    }
}

/// simsimd adds in an order of its own, in f32, so its value may err by `n` roundings and the few of each term.
#[test]
fn i3_every_length_agrees_with_simsimd() {
    simsimd_once();
    let values = random_values(3, 2 * 4096);
    for dim in 0..=4096 {
        let (query, row) = (&values[..dim], &values[4096..][..dim]);
        for (level, distance, kernels) in cases() {
            let Some(simsimd) = distance.simsimd else { continue };
            let theirs = simsimd(query, row).expect("equal lengths");
            let ours = f64::from(kernels.pair(query, row));
            let magnitude = (distance.magnitude)(query, row);
            let their_limit = (dim + 16) as f64 * f64::from(f32::EPSILON) / 2.0 * magnitude;
            let limit = their_limit + reference::tolerance(dim, magnitude);
            let error = (ours - theirs).abs();
            assert!(error <= limit, "{} {} dim {dim}: {ours} against {theirs}", level.name(), distance.name);
        }
    }
}

/// The order of additions that each level's file promises, spelt out value by value.
fn model(level: Level, distance: &Distance, query: &[f32], row: &[f32]) -> f32 {
    let (lanes, accumulators, fused) = match level {
        Level::Avx512 => (16, 4, true),
        Level::Avx2 => (8, 4, true),
        Level::Scalar => (16, 1, false),
    };
    let mut sums = vec![vec![0.0_f32; lanes]; accumulators];
    for (i, (&q, &r)) in query.iter().zip(row).enumerate() {
        let sum = &mut sums[i / lanes % accumulators][i % lanes];
        *sum = (distance.add_term)(*sum, q, r, fused);
    }
    let mut joined: Vec<f32> = (0..lanes)
        .map(|lane| match sums.as_slice() {
            [a, b, c, d] => (a[lane] + b[lane]) + (c[lane] + d[lane]),
            [a] => a[lane],
            _ => unreachable!("one or four accumulators"),
        })
        .collect();
    while joined.len() > 1 {
        let upper = joined.split_off(joined.len() / 2);
        joined.iter_mut().zip(upper).for_each(|(low, high)| *low += high);
    }
    joined[0]
}

#[test]
fn i1_the_order_of_additions_is_the_documented_one() {
    let values = random_values(4, 2 * 4096);
    for dim in (0..=300).chain((301..=4096).step_by(37)) {
        let (query, row) = (&values[..dim], &values[4096..][..dim]);
        for (level, distance, kernels) in cases() {
            let (got, expected) = (kernels.pair(query, row), model(level.level(), distance, query, row));
            assert_eq!(got.to_bits(), expected.to_bits(), "{} {} dim {dim}", level.name(), distance.name);
        }
    }
}

#[test]
fn dimension_0_gives_0_in_every_form() {
    for (_, _, kernels) in cases() {
        let mut out = [f32::NAN; 6];
        kernels.batch(&[], &[], &mut out);
        assert_same(&out, &[0.0; 6]);
        assert_same(&kernels.x4(&[], [&[]; 4]), &[0.0; 4]);
        assert_same(&[kernels.pair(&[], &[])], &[0.0]);
        kernels.batch(&[1.0], &[], &mut []);
    }
}

/// `query` 1 everywhere and `row` 2 everywhere, but for one place in each.
fn with_special(dim: usize, place: usize, in_query: f32, in_row: f32) -> (Vec<f32>, Vec<f32>) {
    let (mut query, mut row) = (vec![1.0; dim], vec![2.0; dim]);
    (query[place], row[place]) = (in_query, in_row);
    (query, row)
}

#[test]
fn special_values_travel_through_the_sum_from_every_place() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    // In query, in row; then the class of dot, squared L2 and L1.
    let table = [
        (nan, 2.0, [nan, nan, nan]),
        (1.0, nan, [nan, nan, nan]),
        (inf, nan, [nan, nan, nan]),
        (inf, 2.0, [inf, inf, inf]),
        (-inf, 2.0, [-inf, inf, inf]),
        (1.0, -inf, [-inf, inf, inf]),
        (inf, 0.0, [nan, inf, inf]),
        (inf, inf, [inf, nan, nan]),
        (inf, -inf, [-inf, inf, inf]),
        (3e38, -3e38, [-inf, inf, inf]),
    ];
    for dim in [1, 7, 8, 16, 17, 33, 64, 65, 127, 130] {
        for place in 0..dim {
            for (in_query, in_row, expected) in table {
                let (query, special) = with_special(dim, place, in_query, in_row);
                let ordinary = vec![2.0; dim];
                let rows = [&special, &ordinary, &ordinary, &special, &ordinary].map(Vec::as_slice).concat();
                for (level, distance, kernels) in cases() {
                    let case = || {
                        format!("{} {} {in_query} {in_row} at {place} of {dim}", level.name(), distance.name)
                    };
                    named(case, || {
                        let i = DISTANCES.iter().position(|d| d.name == distance.name).unwrap();
                        let got = all_forms(kernels, &query, &rows, ROWS, place % 16);
                        assert_same(&[got[0], got[3]], &[expected[i]; 2]);
                        // One row never affects another: where only the row is special, its neighbours are not.
                        if in_query == 1.0 {
                            let neighbour = kernels.pair(&query, &ordinary);
                            assert!(neighbour.is_finite());
                            assert_same(&[got[1], got[2], got[4]], &[neighbour; 3]);
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn opposite_infinities_in_different_places_give_nan_and_overflow_gives_infinity() {
    for (_, distance, kernels) in cases() {
        let mut row = vec![0.0; 100];
        (row[3], row[97]) = (f32::INFINITY, f32::NEG_INFINITY);
        let got = all_forms(kernels, &[1.0; 100], &row.repeat(4), 4, 1);
        let expected = if distance.name == "dot" { f32::NAN } else { f32::INFINITY };
        assert_same(&got, &[expected; 4]);
        // Each term is finite, their sum is not.
        let got = all_forms(
            kernels,
            &[1e19; 100],
            &vec![if distance.name == "l1" { -3.4e38 } else { -1e19 }; 400],
            4,
            1,
        );
        let expected = if distance.name == "dot" { f32::NEG_INFINITY } else { f32::INFINITY };
        assert_same(&got, &[expected; 4]);
    }
}

#[test]
fn lengths_that_do_not_fit_panic_before_anything_is_read() {
    let refused = |call: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(call)).is_err();
    for (_, _, kernels) in cases() {
        let (two, three) = ([1.0; 2], [1.0; 3]);
        assert!(refused(&mut || {
            kernels.pair(&two, &three);
        }));
        assert!(refused(&mut || {
            kernels.pair(&three, &two);
        }));
        for bad in 0..4 {
            let rows: [&[f32]; 4] = std::array::from_fn(|i| if i == bad { &two[..] } else { &three[..] });
            assert!(refused(&mut || {
                kernels.x4(&three, rows);
            }));
        }
        for count in [0, 1, 3] {
            assert!(refused(&mut || kernels.batch(&three, &[1.0; 6], &mut vec![0.0; count])));
        }
        assert!(refused(&mut || kernels.batch(&[], &three, &mut [0.0; 3])));
    }
}

/// Finite values of many magnitudes, small enough that no sum of squares overflows.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1.0..1.0_f32,
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(-1.0), Just(f32::MIN_POSITIVE), Just(f32::from_bits(1))],
        2 => (any::<bool>(), 0_u32..=((127 + 50) << 23)).prop_map(|(negative, bits)| {
            let value = f32::from_bits(bits);
            if negative { -value } else { value }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn i1_i3_any_values(
        (query, rows) in (0_usize..400).prop_flat_map(|dim| (vec(value(), dim), vec(value(), dim * 7))),
        offset in 0_usize..16,
    ) {
        for (_, distance, kernels) in cases() {
            let got = all_forms(kernels, &query, &rows, 7, offset);
            for (i, &value) in got.iter().enumerate() {
                let row = &rows[i * query.len()..][..query.len()];
                assert_near(value, distance, &query, row);
                prop_assert!(distance.name == "dot" || value >= 0.0);
                let itself = kernels.pair(row, row);
                prop_assert!(distance.name == "dot" || itself == 0.0);
            }
        }
    }
}
