//! How much of the true answer an answer has.
//!
//! It refuses to average: a mean over queries is the caller's, who also knows how it varies.

use nearfield_types::Score;

/// Recall@k by identity: the share of `truth` that is among the first k of `found`, where k is the length of `truth`.
///
/// An id found twice counts once. An empty truth gives 1. O(k log k).
///
/// ```
/// use nearfield_ann::recall;
///
/// assert_eq!(recall::by_id(&["b", "a", "x"], &["a", "b", "c"]), 2.0 / 3.0);
/// ```
pub fn by_id<T: Ord>(found: &[T], truth: &[T]) -> f64 {
    let mut head: Vec<&T> = found.iter().take(truth.len()).collect();
    head.sort_unstable();
    let hits = truth.iter().filter(|id| head.binary_search(id).is_ok()).count();
    share(hits, truth.len())
}

/// Recall@k by distance: the share of the k places filled with something no farther than the k-th true neighbour.
///
/// Where several points are equally far, any of them is as good as the other, which recall by identity does not see.
/// `tolerance` is added to the k-th true score, for scores computed in another order or precision. `found` must not hold a
/// point twice. O(k).
///
/// ```
/// use nearfield_ann::recall;
///
/// assert_eq!(recall::by_score(&[0.1, 0.5, 0.9], &[0.1, 0.4, 0.5], 0.0), 2.0 / 3.0);
/// ```
pub fn by_score(found: &[Score], truth: &[Score], tolerance: Score) -> f64 {
    let farthest = truth.iter().copied().fold(Score::NEG_INFINITY, Score::max) + tolerance;
    let hits = found.iter().take(truth.len()).filter(|&&score| score <= farthest).count();
    share(hits, truth.len())
}

fn share(hits: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { hits as f64 / of as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_ignores_order_repeats_and_what_lies_beyond_k() {
        assert_eq!(by_id(&[3, 2, 1], &[1, 2, 3]), 1.0);
        assert_eq!(by_id(&[1, 1, 1], &[1, 2, 3]), 1.0 / 3.0);
        assert_eq!(by_id(&[9, 9, 1], &[1, 2]), 0.0);
        assert_eq!(by_id(&[], &[1, 2]), 0.0);
        assert_eq!(by_id::<u32>(&[7], &[]), 1.0);
    }

    #[test]
    fn distance_accepts_any_of_the_tied() {
        assert_eq!(by_score(&[0.0, 1.0], &[0.0, 1.0], 0.0), 1.0);
        assert_eq!(by_score(&[1.0, 1.0], &[0.0, 1.0], 0.0), 1.0);
        assert_eq!(by_score(&[0.0, 1.01], &[0.0, 1.0], 0.0), 0.5);
        assert_eq!(by_score(&[0.0, 1.01], &[0.0, 1.0], 0.02), 1.0);
        assert_eq!(by_score(&[], &[0.0, 1.0], 0.0), 0.0);
        assert_eq!(by_score(&[f32::NAN], &[1.0], 0.0), 0.0);
        assert_eq!(by_score(&[], &[], 0.0), 1.0);
    }
}
