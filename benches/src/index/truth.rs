//! The exact neighbours of queries, by looking at every row: blocks that stay in the cache, all queries against each.

use nearfield_simd::F32Kernels;

use crate::npy::Table;

/// How many bytes of rows are looked at by all queries before the next ones are read: they stay in the second-level cache.
const BLOCK_BYTES: usize = 192 << 10;

/// The `k` rows of `base` nearest to each query by cosine, all rows having length 1; the nearest first, equal ones by number.
pub(crate) fn nearest(base: &Table<f32>, queries: &Table<f32>, k: usize, threads: usize) -> Table<i32> {
    let width = k.min(base.rows);
    let mut numbers = vec![0; queries.rows * width];
    let share = queries.rows.div_ceil(threads.max(1)).max(1);
    let dot = nearfield_simd::kernels().dot();
    std::thread::scope(|scope| {
        for (part, out) in numbers.chunks_mut((share * width).max(1)).enumerate() {
            scope.spawn(move || nearest_of(dot, base, queries, part * share, width, out));
        }
    });
    Table { rows: queries.rows, width, numbers }
}

/// Fills `out`, the answers of the queries from `first` on.
fn nearest_of(
    dot: &F32Kernels,
    base: &Table<f32>,
    queries: &Table<f32>,
    first: usize,
    width: usize,
    out: &mut [i32],
) {
    let mut best: Vec<Best> = out.chunks(width).map(|_| Best::new(width)).collect();
    let block = (BLOCK_BYTES / (4 * base.width)).max(1);
    let mut scores = vec![0.0; block];
    for (at, rows) in base.numbers.chunks(block * base.width).enumerate() {
        let scores = &mut scores[..rows.len() / base.width];
        for (query, best) in best.iter_mut().enumerate() {
            dot.batch(queries.row(first + query), rows, scores);
            for (row, score) in scores.iter().enumerate() {
                best.offer(*score, at * block + row);
            }
        }
    }
    for (out, best) in out.chunks_mut(width).zip(best) {
        out.copy_from_slice(&best.into_rows());
    }
}

/// The best so far: kept unsorted up to twice its size, then cut.
struct Best {
    width: usize,
    least: f32,
    kept: Vec<(f32, i32)>,
}

impl Best {
    fn new(width: usize) -> Best {
        Best { width, least: f32::NEG_INFINITY, kept: Vec::with_capacity(2 * width) }
    }

    #[inline]
    fn offer(&mut self, score: f32, row: usize) {
        // Rows come in the order of their numbers, so one that only equals the least loses to it.
        if score > self.least {
            self.kept.push((score, row as i32));
            if self.kept.len() == 2 * self.width {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.kept.sort_unstable_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
        self.kept.truncate(self.width);
        if self.kept.len() == self.width {
            self.least = self.kept.last().map_or(self.least, |(score, _)| *score);
        }
    }

    fn into_rows(mut self) -> Vec<i32> {
        self.cut();
        self.kept.into_iter().map(|(_, row)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::generate::Recipe;

    #[test]
    fn it_is_what_sorting_all_of_them_gives() {
        let (base, queries) = Recipe { rows: 2_500, queries: 9, dim: 48, seed: 1 }.make(2);
        for (k, threads) in [(1, 1), (10, 2), (100, 4)] {
            let found = nearest(&base, &queries, k, threads);
            for query in 0..queries.rows {
                let scores = (0..base.rows)
                    .map(|row| nearfield_simd::kernels().dot().pair(queries.row(query), base.row(row)));
                let mut all: Vec<(f32, i32)> = scores.zip(0..).collect();
                all.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
                let rows: Vec<i32> = all[..k].iter().map(|(_, row)| *row).collect();
                assert_eq!(found.row(query), rows, "query {query}, k {k}");
            }
        }
    }

    #[test]
    fn there_may_be_fewer_rows_than_asked_for() {
        let (base, queries) = Recipe { rows: 3, queries: 2, dim: 8, seed: 1 }.make(1);
        assert_eq!(nearest(&base, &queries, 10, 2).width, 3);
    }
}
