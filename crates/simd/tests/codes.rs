//! The invariants of the code kernels (numbers as in the crate docs), for every level this processor runs.
//!
//! Rows end where their memory ends, or lie between bytes that would change the result.

use nearfield_simd::{CODE_ALIGN, Centred, CodeKernels, Kernels, reference};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes of a row: around registers, the number of steps that fits 16-bit sums, and the lengths with functions of their own.
fn row_bytes() -> impl Strategy<Value = usize> {
    let usual = prop::sample::select(vec![16, 32, 48, 64, 192, 240, 256, 272, 384, 512, 544, 768]);
    prop_oneof![usual, (0usize..70).prop_map(|steps| steps * CODE_ALIGN)]
}

/// Values of a query: any, or only the most extreme, which fill the sums.
fn query(count: usize) -> impl Strategy<Value = Vec<i8>> {
    let extreme = prop::sample::select(vec![i8::MIN, i8::MAX]);
    let same = extreme.clone().prop_map(move |value| vec![value; count]);
    prop_oneof![3 => vec(any::<i8>(), count), 1 => vec(extreme, count), 1 => same]
}

fn rows(bytes: usize, most: u8) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let row = prop_oneof![3 => vec(0..=most, bytes), 1 => Just(vec![most; bytes])];
    vec(row, 0..23)
}

/// `bytes` at `offset` bytes past a cache-line border, all else set.
struct Placed {
    buffer: Vec<u8>,
    begin: usize,
    count: usize,
}

impl Placed {
    fn new(bytes: &[u8], offset: usize) -> Self {
        let mut buffer = vec![0xff; bytes.len() + 64 + offset + 64];
        let begin = buffer.as_ptr().align_offset(64) + offset;
        buffer[begin..begin + bytes.len()].copy_from_slice(bytes);
        Self { buffer, begin, count: bytes.len() }
    }

    fn get(&self) -> &[u8] {
        &self.buffer[self.begin..self.begin + self.count]
    }
}

type Dot = fn(&CodeKernels, &[i8], &[&[u8]], &mut [i32]);

fn check_dot(dot: Dot, oracle: fn(&[i8], &[u8]) -> i64, query: &[i8], rows: &[Vec<u8>], offset: usize) {
    let expected: Vec<i64> = rows.iter().map(|row| oracle(query, row)).collect();
    let placed: Vec<Placed> =
        rows.iter().enumerate().map(|(i, row)| Placed::new(row, (offset + 7 * i) % 64)).collect();
    let placed_query = Placed::new(bytemuck::cast_slice(query), offset * 3 % 64);
    let scattered: Vec<&[u8]> = placed.iter().map(Placed::get).collect();
    let exact: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    for level in Kernels::available() {
        for (query, rows) in [(query, &exact), (bytemuck::cast_slice(placed_query.get()), &scattered)] {
            let mut out = vec![i32::MIN; rows.len()];
            dot(level.codes(), query, rows, &mut out);
            let found: Vec<i64> = out.iter().map(|&sum| sum.into()).collect();
            assert_eq!(found, expected, "{} with {} values", level.name(), query.len());
        }
    }
}

/// Rows by their numbers in one plane, in an order of their own, against rows as slices.
fn check_numbered(query: &[i8], rows: &[Vec<u8>]) {
    let plane = rows.concat();
    if plane.is_empty() {
        return;
    }
    let numbers: Vec<u32> = (0..3 * rows.len()).map(|at| (at * 7 % rows.len()) as u32).collect();
    let slices: Vec<&[u8]> = numbers.iter().map(|&row| &rows[row as usize][..]).collect();
    for kernels in Kernels::available() {
        let (mut found, mut expected) = (vec![0; numbers.len()], vec![0; numbers.len()]);
        kernels.codes().dot_u4i8_at(query, &plane, &numbers, &mut found);
        kernels.codes().dot_u4i8(query, &slices, &mut expected);
        assert_eq!(found, expected, "{}", kernels.name());
    }
}

proptest! {
    #[test]
    fn i5_i6_sums_over_4_bit_codes_are_exact(
        (query, rows) in row_bytes().prop_flat_map(|bytes| (query(2 * bytes), rows(bytes, 255))),
        offset in 0usize..64,
    ) {
        check_numbered(&query, &rows);
        check_dot(CodeKernels::dot_u4i8, reference::dot_u4i8, &query, &rows, offset);
    }

    #[test]
    fn i5_i6_sums_over_7_bit_codes_are_exact(
        (query, rows) in row_bytes().prop_flat_map(|bytes| (query(bytes), rows(bytes, 127))),
        offset in 0usize..64,
    ) {
        check_dot(CodeKernels::dot_u7i8, reference::dot_u7i8, &query, &rows, offset);
    }

    #[test]
    fn i6_nibbles_are_centred_alike(
        (high, low) in row_bytes().prop_flat_map(|bytes| (vec(any::<u8>(), bytes), vec(any::<u8>(), bytes))),
    ) {
        let code = |at: usize, shift: u32| (i32::from(high[at] >> shift & 15) << 4) + i32::from(low[at] >> shift & 15);
        let codes = (0..high.len()).map(|at| code(at, 0)).chain((0..high.len()).map(|at| code(at, 4)));
        let expected: Vec<i8> = codes.map(|code| (f64::from(code) - 127.5) as i8).collect();
        let wide = || expected.iter().map(|&value| i32::from(value));
        let sums = Centred {
            sum: wide().sum(),
            sum_absolute: wide().map(i32::abs).sum(),
            sum_squares: wide().map(|value| value * value).sum(),
        };
        for level in Kernels::available() {
            let mut out = vec![99; expected.len()];
            assert_eq!(level.codes().centre_nibbles(&high, &low, &mut out), sums, "{}", level.name());
            assert_eq!(&out, &expected, "{}", level.name());
        }
    }

    #[test]
    fn i6_values_are_quantised_alike_and_to_the_nearest(
        values in vec(prop_oneof![9 => -2.0f32..2.0, 1 => Just(0.0f32)], 0..200),
        exponent in -60i32..60,
    ) {
        let values: Vec<f32> = values.iter().map(|value| value * 2.0_f32.powi(exponent)).collect();
        let most = values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
        let mut known = None;
        for level in Kernels::available() {
            let mut out = vec![99; values.len()];
            let found = level.codes().quantize(&values, &mut out);
            assert_eq!(found.sum, out.iter().map(|&code| i32::from(code)).sum::<i32>());
            assert_eq!(found.step, most / 127.0);
            for (value, &code) in values.iter().zip(&out) {
                assert!((value - f32::from(code) * found.step).abs() <= 0.5001 * found.step && code > i8::MIN);
            }
            assert!(most == 0.0 || out.iter().any(|code| code.abs() == 127));
            assert_eq!(known.get_or_insert((found, out.clone())), &(found, out), "{}", level.name());
        }
    }

    #[test]
    fn i6_values_are_encoded_alike_and_to_the_nearest(values in vec(-3.0f32..3.0, 0..200), scale in 1.0f32..300.0) {
        let mut known = None;
        for level in Kernels::available() {
            let mut out = vec![99; values.len()];
            let found = level.codes().encode_u8(&values, scale, &mut out);
            let (mut fine, mut coarse, mut size) = (0.0_f64, 0.0_f64, 0.0_f64);
            for (&value, &code) in values.iter().zip(&out) {
                let wanted = (f64::from(value) * f64::from(scale) + 127.5).clamp(0.0, 255.0);
                assert!((wanted - f64::from(code)).abs() < 0.5001, "{value} * {scale} became {code}");
                fine += f64::from(value) * (f64::from(code) - 127.5);
                coarse += f64::from(value) * (f64::from(code >> 4) - 7.5);
                size += f64::from(value.abs());
            }
            assert!((fine - f64::from(found.fine)).abs() <= 1e-4 * (1.0 + 128.0 * size));
            assert!((coarse - f64::from(found.coarse)).abs() <= 1e-4 * (1.0 + 8.0 * size));
            assert_eq!(known.get_or_insert((found, out.clone())), &(found, out), "{}", level.name());
        }
    }

    #[test]
    fn i6_transforms_are_alike_and_right(
        values in (0u32..11).prop_flat_map(|bits| vec(-1.0f32..1.0, 1usize << bits)),
        scale in 0.1f32..2.0,
    ) {
        let exact = reference::hadamard(&values);
        let limit = 1e-6 * (1.0 + values.len() as f64);
        let (mut known, mut known_pairs) = (None, None);
        for level in Kernels::available() {
            let mut found = values.clone();
            level.codes().hadamard(&mut found);
            for (&found, exact) in found.iter().zip(&exact) {
                assert!((f64::from(found) - exact).abs() <= limit, "{found} for {exact}");
            }
            assert_eq!(known.get_or_insert(found.clone()), &found, "{}", level.name());

            let mut pairs = values.clone();
            let (low, high) = pairs.split_at_mut(values.len() / 2);
            let high = &mut high[..low.len()];
            level.codes().butterflies(low, high, scale);
            for at in 0..values.len() / 2 {
                let (l, h) = (values[at], values[at + values.len() / 2]);
                assert_eq!((pairs[at], pairs[at + values.len() / 2]), ((l + h) * scale, (l - h) * scale));
            }
            assert_eq!(known_pairs.get_or_insert(pairs.clone()), &pairs, "{}", level.name());
        }
    }
}

#[test]
fn i6_every_length_has_its_sum() {
    for steps in 0..=130 {
        let bytes = steps * CODE_ALIGN;
        let row: Vec<u8> = (0..bytes).map(|i| (i * 31 % 256) as u8).collect();
        let query: Vec<i8> = (0..2 * bytes).map(|i| (i * 17 % 256) as u8 as i8).collect();
        check_dot(CodeKernels::dot_u4i8, reference::dot_u4i8, &query, &vec![row.clone(); 6], steps % 64);
        let row: Vec<u8> = row.iter().map(|code| code & 127).collect();
        check_dot(CodeKernels::dot_u7i8, reference::dot_u7i8, &query[..bytes], &vec![row; 6], steps % 64);
    }
}

#[test]
fn the_largest_sums_fit() {
    let bytes = 1 << 16;
    for value in [i8::MIN, i8::MAX] {
        check_dot(
            CodeKernels::dot_u4i8,
            reference::dot_u4i8,
            &vec![value; 2 * bytes],
            &[vec![255; bytes]],
            0,
        );
        check_dot(CodeKernels::dot_u7i8, reference::dot_u7i8, &vec![value; bytes], &[vec![127; bytes]], 0);
    }
}

#[test]
fn wrong_lengths_panic() {
    fn panics(call: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(call).is_err()
    }
    let row = [0_u8; 32];
    for level in Kernels::available() {
        let codes = *level.codes();
        assert!(panics(|| codes.dot_u4i8(&[0; 63], &[&row], &mut [0])));
        assert!(panics(|| codes.dot_u4i8(&[0; 62], &[&row[..31]], &mut [0])));
        assert!(panics(|| codes.dot_u4i8(&[0; 64], &[&row, &row[..16]], &mut [0; 2])));
        assert!(panics(|| codes.dot_u4i8(&[0; 64], &[&row], &mut [0; 2])));
        assert!(panics(|| codes.dot_u4i8_at(&[0; 64], &[0; 64], &[1, 2], &mut [0; 2])));
        assert!(panics(|| codes.dot_u4i8_at(&[0; 64], &[0; 64], &[1], &mut [0; 2])));
        assert!(panics(|| codes.dot_u7i8(&[0; 16], &[&row], &mut [0])));
        assert!(panics(|| codes.hadamard(&mut [0.0; 3])));
        assert!(panics(|| codes.hadamard(&mut [])));
        assert!(panics(|| codes.butterflies(&mut [0.0; 3], &mut [0.0; 2], 1.0)));
        assert!(panics(|| {
            codes.quantize(&[0.0; 3], &mut [0; 2]);
        }));
        assert!(panics(|| {
            codes.encode_u8(&[0.0; 3], 1.0, &mut [0; 2]);
        }));
        assert!(panics(|| {
            codes.centre_nibbles(&row, &row[..16], &mut [0; 64]);
        }));
        assert!(panics(|| {
            codes.centre_nibbles(&row, &row, &mut [0; 32]);
        }));
    }
}
