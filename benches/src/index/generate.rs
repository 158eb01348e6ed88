//! Sets made from a seed: clustered like embeddings of text, of low intrinsic dimension, asked off the clusters.
//!
//! A row is the sum of a topic, a smaller sub-topic, a point of a low-dimensional space of its topic, and noise in every direction; then
//! it is scaled to length 1. What makes a set hard for a graph is the dimension of the space a row may move in, not the dimension of the
//! vector: [`Recipe::freedom`] of it is that of text as embedding models see it. A query is half way between two rows that are not in
//! the set, which lie in different topics more often than not, so few of its neighbours know one another.
//!
//! Every row has its own stream of chance, so the set does not depend on how many threads make it.

use crate::npy::Table;

/// How many topics there are, and how many sub-topics in each.
const TOPICS: usize = 64;
const SUB_TOPICS: usize = 16;

/// The share of each part of a row in its squared length, before scaling.
const TOPIC: f32 = 0.25;
const SUB_TOPIC: f32 = 0.15;
const FREE: f32 = 0.50;
const NOISE: f32 = 0.10;

/// How much of a query is its first row; the rest is the second.
const NEARER: f32 = 0.92;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// How many rows.
    pub(crate) rows: usize,
    /// How many queries.
    pub(crate) queries: usize,
    /// How many numbers a row has.
    pub(crate) dim: usize,
    /// Another seed is another set of the same kind.
    pub(crate) seed: u64,
}

/// What all rows of a set share.
struct World {
    dim: usize,
    freedom: usize,
    /// One vector of length 1 a topic, then one a sub-topic.
    topics: Vec<f32>,
    sub_topics: Vec<f32>,
    /// `freedom` vectors of length 1 for each topic.
    axes: Vec<f32>,
}

impl Recipe {
    /// In how many directions a row of a topic may move.
    fn freedom(self) -> usize {
        (self.dim / 2).clamp(1, 20)
    }

    /// Rows and queries, each of length 1.
    pub(crate) fn make(self, threads: usize) -> (Table<f32>, Table<f32>) {
        let world = World::new(self);
        let base = fill(self.rows, self.dim, threads, |row, out| {
            world.row(&mut Chance::of(self.seed, 1, row), out);
            normalise(out);
        });
        let queries = fill(self.queries, self.dim, threads, |query, out| {
            let mut chance = Chance::of(self.seed, 2, query);
            let mut other = vec![0.0; self.dim];
            world.row(&mut chance, out);
            world.row(&mut chance, &mut other);
            out.iter_mut().zip(&other).for_each(|(x, y)| *x = NEARER * *x + (1.0 - NEARER) * y);
            normalise(out);
        });
        (base, queries)
    }
}

impl World {
    fn new(recipe: Recipe) -> World {
        let Recipe { dim, seed, .. } = recipe;
        let directions = |kind: u64, count: usize| {
            let make = |at: usize, out: &mut [f32]| {
                let mut chance = Chance::of(seed, kind, at);
                out.iter_mut().for_each(|x| *x = chance.normal());
                normalise(out);
            };
            fill(count, dim, 1, make).numbers
        };
        World {
            dim,
            freedom: recipe.freedom(),
            topics: directions(3, TOPICS),
            sub_topics: directions(4, TOPICS * SUB_TOPICS),
            axes: directions(5, TOPICS * recipe.freedom()),
        }
    }

    /// Adds one row, not scaled, to the zeros of `out`.
    fn row(&self, chance: &mut Chance, out: &mut [f32]) {
        out.fill(0.0);
        // Squared, so that some topics have far more rows than others.
        let topic = (chance.uniform().powi(2) * TOPICS as f32) as usize % TOPICS;
        let sub_topic = topic * SUB_TOPICS + (chance.uniform() * SUB_TOPICS as f32) as usize % SUB_TOPICS;
        self.add(&self.topics, topic, TOPIC.sqrt(), out);
        self.add(&self.sub_topics, sub_topic, SUB_TOPIC.sqrt(), out);
        let along = (FREE / self.freedom as f32).sqrt();
        for axis in 0..self.freedom {
            self.add(&self.axes, topic * self.freedom + axis, along * chance.normal(), out);
        }
        let noise = (NOISE / self.dim as f32).sqrt();
        out.iter_mut().for_each(|x| *x += noise * chance.normal());
    }

    fn add(&self, vectors: &[f32], at: usize, scale: f32, out: &mut [f32]) {
        let vector = &vectors[at * self.dim..][..self.dim];
        out.iter_mut().zip(vector).for_each(|(x, y)| *x += scale * y);
    }
}

/// A table whose rows are made one by one, by several threads.
fn fill(rows: usize, width: usize, threads: usize, make: impl Fn(usize, &mut [f32]) + Sync) -> Table<f32> {
    let mut numbers = vec![0.0; rows * width];
    let share = rows.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (part, chunk) in numbers.chunks_mut(share * width).enumerate() {
            let make = &make;
            scope.spawn(move || {
                chunk.chunks_mut(width).enumerate().for_each(|(at, row)| make(part * share + at, row));
            });
        }
    });
    Table { rows, width, numbers }
}

fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

/// A stream of chance: SplitMix64.
struct Chance {
    state: u64,
    /// The second number of the last pair of normal ones.
    spare: Option<f32>,
}

impl Chance {
    /// The stream of the item `at` of a kind.
    fn of(seed: u64, kind: u64, at: usize) -> Chance {
        let mut chance = Chance { state: seed ^ kind.wrapping_mul(0xd605_1e9d_3a1b_7c4f), spare: None };
        chance.state = chance.next() ^ (at as u64).wrapping_mul(0x9e6c_63d0_876a_46bd);
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, below 1.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Normal, mean 0 and variance 1: Marsaglia's polar method.
    fn normal(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe { rows: 300, queries: 7, dim: 24, seed: 5 };

    #[test]
    fn a_set_depends_on_its_recipe_and_on_nothing_else() {
        let (base, queries) = RECIPE.make(1);
        assert_eq!((base.rows, base.width, queries.rows, queries.width), (300, 24, 7, 24));
        assert_eq!(RECIPE.make(3), (base, queries));
        let (other, _) = Recipe { seed: 6, ..RECIPE }.make(2);
        assert_ne!(RECIPE.make(2).0, other);
        let (longer, _) = Recipe { rows: 301, ..RECIPE }.make(2);
        assert_eq!(longer.row(299), RECIPE.make(2).0.row(299));
    }

    #[test]
    fn every_row_has_length_one_and_none_comes_twice() {
        let (base, queries) = RECIPE.make(2);
        let rows =
            (0..base.rows).map(|row| base.row(row)).chain((0..queries.rows).map(|row| queries.row(row)));
        let mut seen = std::collections::HashSet::new();
        for row in rows {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
            assert!(seen.insert(row.iter().map(|x| x.to_bits()).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn chance_is_fair() {
        let mut chance = Chance::of(1, 2, 3);
        let numbers: Vec<f64> = (0..20_000).map(|_| f64::from(chance.normal())).collect();
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
