//! A random orthonormal rotation that costs O(d log d), for any dimension.
//!
//! It refuses to pad: a vector of d values stays one of d values.
//!
//! Four rounds. Each multiplies by random signs and transforms a part whose length is the largest power of two within d by
//! Walsh-Hadamard: the first values in even rounds, the last ones in odd rounds. Unless the part is everything, each odd round ends
//! with the sum and difference of value i of both halves (one step of Kac's walk), which carries what one end knows to the other.
//!
//! A step after every round would mix less: where d is just below a power of two, half of what is concentrated in one value would
//! each time be handed to the end that the next round leaves out.

use nearfield_simd::CodeKernels;

const ROUNDS: usize = 4;

/// A rotation of vectors of one dimension. The same seed gives the same one, and the same bits on every processor.
///
/// ```
/// use nearfield_quant::Rotation;
///
/// let rotation = Rotation::new(3, Some(7));
/// let mut x = [3.0_f32, 0.0, 4.0];
/// rotation.apply(&mut x);
/// let norm: f32 = x.iter().map(|x| x * x).sum();
/// assert!((norm - 25.0).abs() < 1e-4);
/// ```
#[derive(Clone, Debug)]
pub struct Rotation {
    dim: usize,
    seed: Option<u64>,
    /// Values transformed in each round: the largest power of two within `dim`.
    part: usize,
    /// For each round a sign for each value, times `1 / sqrt(part)` where the value is transformed.
    factors: Vec<f32>,
}

impl Rotation {
    /// The rotation of this seed; without one, vectors stay as they are.
    ///
    /// # Complexity
    ///
    /// O(dim), 16 bytes a dimension.
    pub fn new(dim: usize, seed: Option<u64>) -> Rotation {
        let part = if dim == 0 { 0 } else { 1 << dim.ilog2() };
        let mut factors = Vec::new();
        if let Some(seed) = seed {
            let mut signs = Signs { state: seed, word: 0, left: 0 };
            let scale = 1.0 / (part as f32).sqrt();
            for round in 0..ROUNDS {
                let transformed = part_of(round, dim, part);
                factors.extend((0..dim).map(|at| {
                    let magnitude = if transformed.contains(&at) { scale } else { 1.0 };
                    if signs.next() { magnitude } else { -magnitude }
                }));
            }
        }
        Rotation { dim, seed, part, factors }
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The seed; `None` for the rotation that changes nothing.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Rotates in place. Values must be so small that the sum of their squares is finite.
    ///
    /// # Panics
    ///
    /// If there are not `dim` values.
    ///
    /// # Complexity
    ///
    /// O(dim log dim), no allocation.
    pub fn apply(&self, values: &mut [f32]) {
        self.apply_with(nearfield_simd::kernels().codes(), values);
    }

    pub(crate) fn apply_with(&self, kernels: &CodeKernels, values: &mut [f32]) {
        assert_eq!(values.len(), self.dim, "a vector of another dimension than its rotation");
        if self.dim == 0 {
            return;
        }
        for (round, factors) in self.factors.chunks_exact(self.dim).enumerate() {
            for (value, factor) in values.iter_mut().zip(factors) {
                *value *= factor;
            }
            kernels.hadamard(&mut values[part_of(round, self.dim, self.part)]);
            if self.part < self.dim && !round.is_multiple_of(2) {
                let half = self.dim / 2;
                let (low, high) = values.split_at_mut(self.dim - half);
                kernels.butterflies(&mut low[..half], high, std::f32::consts::FRAC_1_SQRT_2);
            }
        }
    }
}

fn part_of(round: usize, dim: usize, part: usize) -> std::ops::Range<usize> {
    if round.is_multiple_of(2) { 0..part } else { dim - part..dim }
}

/// Random signs from SplitMix64.
struct Signs {
    state: u64,
    word: u64,
    left: u32,
}

impl Signs {
    fn next(&mut self) -> bool {
        if self.left == 0 {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (self.word, self.left) = (word ^ (word >> 31), u64::BITS);
        }
        let sign = self.word & 1 == 1;
        self.word >>= 1;
        self.left -= 1;
        sign
    }
}

#[cfg(test)]
mod tests {
    use nearfield_simd::Kernels;

    use super::*;

    fn vector(dim: usize, seed: u64) -> Vec<f32> {
        let mut signs = Signs { state: seed, word: 0, left: 0 };
        (0..dim).map(|_| (0..8).map(|_| if signs.next() { 0.25 } else { -0.25 }).sum()).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn angles_and_lengths_stay_in_every_dimension() {
        for dim in (1..70).chain([96, 100, 127, 128, 129, 255, 257, 384, 511, 768, 1000, 1536, 4097]) {
            let rotation = Rotation::new(dim, Some(dim as u64));
            let (a, b) = (vector(dim, 1), vector(dim, 2));
            let (mut x, mut y) = (a.clone(), b.clone());
            rotation.apply(&mut x);
            rotation.apply(&mut y);
            let limit = 1e-5 * (1.0 + dot(&a, &a) + dot(&b, &b));
            for (before, after) in [(dot(&a, &b), dot(&x, &y)), (dot(&a, &a), dot(&x, &x))] {
                assert!((before - after).abs() < limit, "dim {dim}: {before} became {after}");
            }
        }
    }

    #[test]
    fn one_coordinate_is_spread_over_all() {
        for dim in [32, 48, 96, 100, 129, 192, 255, 300, 384, 768, 960, 1023, 1025, 1536] {
            let rotation = Rotation::new(dim, Some(11));
            let sigma = 1.0 / (dim as f32).sqrt();
            for at in [0, 1, dim / 2, dim - 1] {
                let mut x = vec![0.0; dim];
                x[at] = 1.0;
                rotation.apply(&mut x);
                let most = x.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                assert!(most < 6.0 * sigma, "dim {dim}: coordinate {at} stays at {} sigma", most / sigma);
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits_and_no_seed_changes_nothing() {
        for dim in [1, 2, 7, 64, 100, 384, 1000] {
            let rotation = Rotation::new(dim, Some(5));
            let mut expected = vector(dim, 3);
            rotation.apply(&mut expected);
            for level in Kernels::available() {
                let mut found = vector(dim, 3);
                rotation.apply_with(level.codes(), &mut found);
                assert_eq!(found, expected, "{} in dimension {dim}", level.name());
            }
            let mut same = vector(dim, 3);
            Rotation::new(dim, None).apply(&mut same);
            assert_eq!(same, vector(dim, 3));
        }
        assert_ne!(Rotation::new(64, Some(1)).factors, Rotation::new(64, Some(2)).factors);
    }
}
