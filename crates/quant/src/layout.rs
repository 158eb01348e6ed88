//! Where the parts of a code stand: planes of nibbles in blocks, factors beside them.

use std::ops::Range;

/// Dimensions of a full block: 64 bytes, one cache line.
const BLOCK: usize = 128;
/// The dimensions of the last block are padded to a multiple of this.
const TAIL: usize = 32;

/// How exact a score is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// The high plane of a rotated code (4 bits a dimension): for walks. A scalar code has one plane only, which is this.
    #[default]
    Coarse,
    /// Both planes of a rotated code (8 bits a dimension): for building and for refining. For a scalar code as `Coarse`.
    Fine,
}

/// Sizes of one code, the same for all rows of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// Bytes of a row in each plane, a multiple of 16.
    pub plane_bytes: usize,
    /// Planes: 2 for rotated codes (high and low nibbles), 1 for scalar ones.
    pub planes: usize,
    /// f32 factors that every score needs.
    pub hot: usize,
    /// f32 factors that only [`Precision::Fine`] needs.
    pub cold: usize,
}

impl CodeLayout {
    /// Bytes of one code with its factors.
    pub fn bytes(&self) -> usize {
        self.planes * self.plane_bytes + (self.hot + self.cold) * size_of::<f32>()
    }
}

/// One code as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeRow<'a> {
    /// The first plane.
    pub high: &'a [u8],
    /// The second plane; empty where there is none.
    pub low: &'a [u8],
    /// Hot factors. The first is NaN for a slot without a vector.
    pub hot: &'a [f32],
    /// Cold factors.
    pub cold: &'a [f32],
}

impl CodeRow<'_> {
    /// True where there is a vector.
    #[inline]
    pub fn is_present(&self) -> bool {
        self.hot.first().is_some_and(|factor| !factor.is_nan())
    }

    /// Bytes of it.
    pub fn bytes(&self) -> usize {
        self.high.len() + self.low.len() + size_of_val(self.hot) + size_of_val(self.cold)
    }

    /// Equal codes and equal factors, bit for bit; never true of slots without a vector.
    pub fn same(&self, other: &CodeRow<'_>) -> bool {
        let bits = |a: &[f32], b: &[f32]| a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()));
        self.is_present()
            && self.high == other.high
            && self.low == other.low
            && bits(self.hot, other.hot)
            && bits(self.cold, other.cold)
    }
}

/// One code that is being made, to be used again and again.
#[derive(Clone, Debug, Default)]
pub struct CodeBuffer {
    pub(crate) high: Vec<u8>,
    pub(crate) low: Vec<u8>,
    pub(crate) hot: Vec<f32>,
    pub(crate) cold: Vec<f32>,
    /// Room for the vector while it is worked on.
    pub(crate) values: Vec<f32>,
    /// Codes in the order of dimensions.
    pub(crate) codes: Vec<u8>,
}

impl CodeBuffer {
    /// An empty one; memory comes with the first code.
    pub fn new() -> CodeBuffer {
        CodeBuffer::default()
    }

    /// The code made last.
    pub fn row(&self) -> CodeRow<'_> {
        CodeRow { high: &self.high, low: &self.low, hot: &self.hot, cold: &self.cold }
    }

    /// The code of a slot without a vector.
    pub(crate) fn set_absent(&mut self, layout: &CodeLayout) {
        self.reset(layout);
        self.hot.fill(f32::NAN);
        self.cold.fill(f32::NAN);
    }

    /// Zeros of the right sizes.
    pub(crate) fn reset(&mut self, layout: &CodeLayout) {
        let second = if layout.planes > 1 { layout.plane_bytes } else { 0 };
        for (bytes, len) in [(&mut self.high, layout.plane_bytes), (&mut self.low, second)] {
            bytes.clear();
            bytes.resize(len, 0);
        }
        for (factors, len) in [(&mut self.hot, layout.hot), (&mut self.cold, layout.cold)] {
            factors.clear();
            factors.resize(len, 0.0);
        }
    }
}

/// Dimensions with those that pad the last block.
pub(crate) fn padded(dim: usize) -> usize {
    dim.next_multiple_of(TAIL)
}

/// The blocks of `padded` dimensions: which dimensions stand in the low nibbles, which in the high ones, from which byte on.
pub(crate) fn blocks(padded: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>, usize)> {
    (0..padded).step_by(BLOCK).map(move |begin| {
        let half = (padded - begin).min(BLOCK) / 2;
        (begin..begin + half, begin + half..begin + 2 * half, begin / 2)
    })
}

/// 8-bit codes in the order of dimensions to planes of their high and low nibbles.
pub(crate) fn split(codes: &[u8], high: &mut [u8], low: &mut [u8]) {
    for (first, second, at) in blocks(codes.len()) {
        let nibbles = codes[first].iter().zip(&codes[second]);
        let planes = high[at..].iter_mut().zip(&mut low[at..]);
        for ((&a, &b), (high, low)) in nibbles.zip(planes) {
            *high = (a >> 4) | (b & 0xf0);
            *low = (a & 15) | (b << 4);
        }
    }
}

/// Query codes in the order of dimensions to that in which the kernel meets the nibbles of a plane.
pub(crate) fn arrange(codes: &[i8], query: &mut [i8]) {
    let (low, high) = query.split_at_mut(codes.len() / 2);
    for (first, second, at) in blocks(codes.len()) {
        low[at..at + first.len()].copy_from_slice(&codes[first]);
        high[at..at + second.len()].copy_from_slice(&codes[second]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_has_its_own_nibble() {
        for dim in [1, 32, 33, 64, 96, 128, 129, 160, 384, 400] {
            let padded = padded(dim);
            let codes: Vec<u8> = (0..padded).map(|i| (i * 37 % 256) as u8).collect();
            let (mut high, mut low) = (vec![0; padded / 2], vec![0; padded / 2]);
            split(&codes, &mut high, &mut low);
            let order: Vec<i8> = (0..padded).map(|i| (i % 101) as i8).collect();
            let mut arranged = vec![0; padded];
            arrange(&order, &mut arranged);
            let mut seen = vec![];
            for (first, second, at) in blocks(padded) {
                for (j, (a, b)) in first.zip(second).enumerate() {
                    let nibble = |plane: &[u8], high: bool| (plane[at + j] >> if high { 4 } else { 0 }) & 15;
                    assert_eq!((nibble(&high, false) << 4) | nibble(&low, false), codes[a]);
                    assert_eq!((nibble(&high, true) << 4) | nibble(&low, true), codes[b]);
                    assert_eq!((arranged[at + j], arranged[padded / 2 + at + j]), (order[a], order[b]));
                    seen.extend([a, b]);
                }
            }
            seen.sort();
            assert_eq!(seen, (0..padded).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_full_block_is_a_cache_line() {
        assert_eq!(
            blocks(384).collect::<Vec<_>>(),
            [(0..64, 64..128, 0), (128..192, 192..256, 64), (256..320, 320..384, 128)]
        );
        assert_eq!(blocks(160).last(), Some((128..144, 144..160, 64)));
    }
}
