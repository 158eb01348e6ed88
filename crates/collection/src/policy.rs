//! What to merge next: a pure function of the figures of the sealed segments and of limits.
//!
//! It refuses to look at anything else, to do anything, and to know what merging costs beyond rows and bytes.
//!
//! # Rules, the first that applies
//!
//! 1. A segment of which nothing lives is written anew, which removes it.
//! 2. Where more segments stand than wanted, the smallest are merged, as many of about one size as there are: the largest of them holds at
//!    most twice as much as the others together. So a row is written anew about as often as its segment grows by a half.
//! 3. Where sizes are too unlike for that, nothing is merged until there are a few segments too many; then as many of the smallest as it takes.
//! 4. A segment whose share of dead rows is above the threshold is written anew.
//!
//! A merge never makes a segment larger than the limit. Segments that wait for an index are left alone: they get it first.
//!
//! # Invariants
//!
//! Every choice but [`Choice::Nothing`] makes the segments fewer or takes dead rows away, so choosing and doing comes to an end.

/// What is known of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFigures {
    /// Its number.
    pub number: u64,
    /// Its rows, dead ones included.
    pub rows: u64,
    /// Those of them that nobody can find any more.
    pub dead: u64,
    /// Bytes of the vectors of the others.
    pub bytes: u64,
    /// It has all the indexes that it is to have.
    pub is_ready: bool,
}

impl SegmentFigures {
    fn living(&self) -> u64 {
        self.rows.saturating_sub(self.dead)
    }
}

/// What to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Segments wanted at most.
    pub segments: usize,
    /// So many more are borne where merging would have to put a large one together with small ones.
    pub slack: usize,
    /// Bytes of vectors of a segment that comes from several.
    pub bytes_max: u64,
    /// Rows of any segment.
    pub rows_max: u64,
    /// The share of dead rows above which a segment is written anew.
    pub dead_share_max: f64,
    /// Segments with fewer rows are not written anew for their dead.
    pub dead_rows_min: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing.
    Nothing,
    /// Make one segment of these, of which there are at least two.
    Merge(Vec<u64>),
    /// Write this one anew, without its dead rows; without any, remove it.
    Rewrite(u64),
}

impl Choice {
    /// The segments that it is about.
    pub fn segments(&self) -> &[u64] {
        match self {
            Choice::Nothing => &[],
            Choice::Merge(numbers) => numbers,
            Choice::Rewrite(number) => std::slice::from_ref(number),
        }
    }
}

/// Segments put together at once.
const FAN_IN_MAX: usize = 16;

/// What to do next. O(n log n).
pub fn choose(segments: &[SegmentFigures], limits: &Limits) -> Choice {
    if let Some(empty) = segments.iter().find(|segment| segment.living() == 0) {
        return Choice::Rewrite(empty.number);
    }
    let excess = segments.len().saturating_sub(limits.segments.max(1));
    if excess > 0
        && let Some(merged) = choose_merge(segments, excess, limits)
    {
        return Choice::Merge(merged);
    }
    let worst = segments.iter().filter(|segment| is_worn(segment, limits));
    let worst = worst.max_by(|a, b| share(a).total_cmp(&share(b)).then(b.number.cmp(&a.number)));
    worst.map_or(Choice::Nothing, |segment| Choice::Rewrite(segment.number))
}

fn share(segment: &SegmentFigures) -> f64 {
    segment.dead as f64 / segment.rows.max(1) as f64
}

fn is_worn(segment: &SegmentFigures, limits: &Limits) -> bool {
    segment.is_ready
        && segment.dead > 0
        && segment.rows >= limits.dead_rows_min
        && share(segment) > limits.dead_share_max
}

/// The segments to be merged while there are `excess` too many.
fn choose_merge(segments: &[SegmentFigures], excess: usize, limits: &Limits) -> Option<Vec<u64>> {
    let mut ready: Vec<&SegmentFigures> = segments.iter().filter(|segment| segment.is_ready).collect();
    ready.sort_by_key(|segment| (segment.bytes, segment.living(), segment.number));
    // Each merge of n takes n - 1 away.
    let needed = (excess + 1).min(FAN_IN_MAX);
    let (mut bytes, mut rows, mut fits, mut even) = (0u64, 0u64, 0, 0);
    for (count, segment) in (1..=FAN_IN_MAX).zip(&ready) {
        let before = bytes;
        bytes = bytes.saturating_add(segment.bytes);
        rows = rows.saturating_add(segment.living());
        if bytes > limits.bytes_max || rows > limits.rows_max {
            break;
        }
        fits = count;
        if count >= 2 && segment.bytes <= before.saturating_mul(2) {
            even = count;
        }
    }
    let chosen = match even {
        0 if excess > limits.slack => needed.min(fits),
        0 => return None,
        even => even,
    };
    (chosen >= 2).then(|| ready[..chosen].iter().map(|segment| segment.number).collect())
}

#[cfg(test)]
mod tests;
