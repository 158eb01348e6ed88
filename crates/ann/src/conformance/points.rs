//! Data whose answers are known: points on a coarse grid, and a scorer that can be counted on.
//!
//! Coordinates are multiples of 1/4 below 64, so that a squared distance is exact in f32 in whatever order it is summed.

use nearfield_types::{Score, Slot};

use crate::{BuildScorer, Scorer, Stopped};

/// A small set of points under the squared Euclidean distance.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    dim: usize,
    rows: Vec<f32>,
}

impl Points {
    /// `len` points in `dim` dimensions around a few centres. The same seed gives the same points.
    pub fn clustered(len: u32, dim: usize, seed: u64) -> Self {
        let mut mix = Mix(seed);
        let centres: Vec<f32> = (0..8 * dim).map(|_| mix.below(128) as f32 / 4.0).collect();
        let mut rows = Vec::new();
        for _ in 0..len {
            let centre = mix.below(8) as usize * dim;
            let near = centres[centre..centre + dim].iter().map(|x| x + mix.below(32) as f32 / 4.0);
            rows.extend(near);
        }
        Points { dim, rows }
    }

    /// The points of `rows`, one after another, of `dim` values each. A rest shorter than a point is left out.
    pub fn from_rows(dim: usize, rows: Vec<f32>) -> Self {
        Points { dim, rows }
    }

    /// `len` times the same point: everything ties.
    pub fn equal(len: u32, dim: usize) -> Self {
        Points { dim, rows: vec![1.0; len as usize * dim] }
    }

    /// How many points there are.
    pub fn len(&self) -> u32 {
        (self.rows.len() / self.dim) as u32
    }

    /// True without points.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Values of one point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All points, one row after another.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// One point, if there is one.
    pub fn row(&self, slot: Slot) -> Option<&[f32]> {
        let start = slot.index().checked_mul(self.dim)?;
        self.rows.get(start..start.checked_add(self.dim)?)
    }

    /// A scorer for `query`, which holds [`dim`](Points::dim) values.
    pub fn scorer(&self, query: &[f32]) -> PointsScorer<'_> {
        PointsScorer { points: self, query: Some(query.to_vec()), scored: 0, calls_left: u64::MAX }
    }

    /// A point that is not in the set, of the same kind.
    pub(super) fn stranger(&self, seed: u64) -> Vec<f32> {
        let mut mix = Mix(seed ^ 0x5eed);
        (0..self.dim).map(|_| mix.below(160) as f32 / 4.0).collect()
    }
}

/// The reference scorer: one plain loop, counting what it is asked.
#[derive(Clone, Debug)]
pub struct PointsScorer<'a> {
    points: &'a Points,
    query: Option<Vec<f32>>,
    pub(super) scored: u64,
    /// Calls until it reports damage.
    pub(super) calls_left: u64,
}

impl PointsScorer<'_> {
    /// Scores computed so far.
    pub fn scored(&self) -> u64 {
        self.scored
    }

    pub(super) fn score_one(&self, slot: Slot) -> Score {
        match (&self.query, self.points.row(slot)) {
            (Some(query), Some(row)) => row.iter().zip(query).map(|(x, y)| (x - y) * (x - y)).sum(),
            _ => Score::INFINITY,
        }
    }
}

impl Scorer for PointsScorer<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        if self.calls_left == 0 {
            return Err(Stopped::Damaged);
        }
        self.calls_left -= 1;
        self.scored += slots.len() as u64;
        for (&slot, score) in slots.iter().zip(out) {
            *score = self.score_one(slot);
        }
        Ok(())
    }
}

impl BuildScorer for PointsScorer<'_> {
    fn aim(&mut self, slot: Slot) {
        self.query = self.points.row(slot).map(<[f32]>::to_vec);
    }
}

/// SplitMix64: a sequence that is the same everywhere, for data that must be the same everywhere.
pub(super) struct Mix(pub(super) u64);

impl Mix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is small.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        (self.next() % u64::from(end)) as u32
    }
}
