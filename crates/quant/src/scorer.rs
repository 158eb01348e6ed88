//! Scores of codes: one pass that finds the rows, the kernel, one pass that turns sums into scores.
//!
//! It refuses to know metrics: what differs between them stands in the query and in the rows' factors.
//!
//! # One score
//!
//! The kernel gives `S`, the sum of code times query byte. A code of the high plane stands for `code - 7.5` in steps of 4 bits, a
//! code of both planes for `(code - 127.5) / 16`, so
//!
//! ```text
//! score = base + offset - step * scale * (S - zero * sum)       zero: 7.5, 127.5, or 0 for scalar codes
//! ```
//!
//! `S` less the whole part of `zero * sum` is exact in 32 bits; the half is taken off in f32. Where the result is not finite it
//! is computed again in f64 and clamped; a factor that is NaN says that there is no vector.

use std::ops::Range;

use nearfield_ann::{BuildScorer, Scorer, Stopped};
use nearfield_simd::{CodeKernels, prefetch, prefetch_one, prefetch_rows};
use nearfield_types::{Score, Slot};

use crate::lanes::finite;
use crate::rows::{Kind, SealedRows, Source};
use crate::{Codec, Precision, Prepared, Quantizer, Rows};

/// Slots handed to the kernel at once.
const BATCH: usize = 64;
/// The sign of an f32.
const SIGN_BIT: u32 = 1 << 31;
/// Rows of a batch asked for before the kernel runs.
const EARLY: usize = 8;

/// How codes are read: which planes and which factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The high plane, scaled by the first hot factor.
    Coarse,
    /// As above, and the second hot factor is the row's own part.
    CoarseWithOffset,
    /// Both planes, scaled by the cold factor.
    Fine,
    /// As above, and the second hot factor is the row's own part.
    FineWithOffset,
    /// One plane of 7-bit codes; the hot factor is the row's own part.
    Scalar,
}

/// A [`Family`] and the sizes of its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) family: Family,
    pub(crate) plane_bytes: usize,
    pub(crate) dim: u32,
}

/// Scores codes against one prepared query. From [`Codes::scorer`](crate::Codes::scorer); making one is cheap.
pub struct CodeScorer<'a> {
    engine: Engine<'a>,
    query: &'a Prepared,
}

/// Scores codes against one stored code after another. From [`Codes::build_scorer`](crate::Codes::build_scorer).
///
/// The query is the stored code at its finest, whatever the precision of the scoring: `aim` neither rotates nor leaves the code.
pub struct CodeBuildScorer<'a> {
    engine: Engine<'a>,
    codec: &'a Codec,
    query: Prepared,
    is_aimed: bool,
}

struct Engine<'a> {
    kernels: CodeKernels,
    reading: Reading,
    rows: Rows<'a>,
    batch: Batch<'a>,
}

/// Memory of one call of the kernel: the high planes and hot factors of its slots, then, for [`Precision::Fine`], the low planes
/// and cold factors. Nothing is kept from one call to the next.
#[derive(Default)]
struct Batch<'a> {
    rows: Vec<&'a [u8]>,
    factors: Vec<&'a [f32]>,
    sums: Vec<i32>,
}

/// What turns a sum into a score.
#[derive(Clone, Copy)]
struct Line {
    base: f32,
    step: f32,
    /// The whole part of `zero * sum`, and what is left of it.
    whole: i32,
    half: f32,
}

impl<'a> CodeScorer<'a> {
    pub(crate) fn new(kernels: CodeKernels, reading: Reading, query: &'a Prepared, rows: Rows<'a>) -> Self {
        assert_eq!(query.code().len(), reading.query_len(), "a query that was not prepared for these codes");
        CodeScorer { engine: Engine::new(kernels, reading, rows), query }
    }
}

impl Scorer for CodeScorer<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        self.engine.score(self.query, slots, out);
        Ok(())
    }

    fn prefetch(&mut self, slots: &[Slot]) {
        self.engine.prefetch(slots);
    }

    /// With [`Precision::Fine`] the high plane decides which rows are looked at in full: one of about 700 whose score is at the
    /// limit, and fewer below it, is lost (3 standard deviations).
    fn score_within(&mut self, slots: &[Slot], limit: Score, out: &mut [Score]) -> Result<(), Stopped> {
        self.engine.score_within(self.query, slots, limit, out);
        Ok(())
    }

    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        self.engine.score_run(self.query, first, out);
        Ok(())
    }
}

impl<'a> CodeBuildScorer<'a> {
    pub(crate) fn new(codec: &'a Codec, rows: Rows<'a>, precision: Precision) -> Self {
        let (kernels, reading) = (*nearfield_simd::kernels().codes(), codec.reading(precision));
        CodeBuildScorer {
            engine: Engine::new(kernels, reading, rows),
            codec,
            query: Prepared::new(),
            is_aimed: false,
        }
    }

    /// Sees what was pushed to the store since the scorer was made. What it is aimed at stays.
    pub fn refresh(&mut self) {
        self.engine.rows = self.engine.rows.refreshed();
    }
}

impl Scorer for CodeBuildScorer<'_> {
    fn score(&mut self, slots: &[Slot], out: &mut [Score]) -> Result<(), Stopped> {
        if self.is_aimed {
            self.engine.score(&self.query, slots, out);
        } else {
            assert_eq!(slots.len(), out.len(), "slots and out differ in length");
            out.fill(Score::INFINITY);
        }
        Ok(())
    }

    fn prefetch(&mut self, slots: &[Slot]) {
        self.engine.prefetch(slots);
    }

    /// As [`CodeScorer`]'s.
    fn score_within(&mut self, slots: &[Slot], limit: Score, out: &mut [Score]) -> Result<(), Stopped> {
        if !self.is_aimed {
            return self.score(slots, out);
        }
        self.engine.score_within(&self.query, slots, limit, out);
        Ok(())
    }

    fn score_run(&mut self, first: Slot, out: &mut [Score]) -> Result<(), Stopped> {
        if self.is_aimed {
            self.engine.score_run(&self.query, first, out);
        } else {
            out.fill(Score::INFINITY);
        }
        Ok(())
    }
}

impl BuildScorer for CodeBuildScorer<'_> {
    fn aim(&mut self, slot: Slot) {
        let code = self.engine.rows.row(slot);
        self.is_aimed = code.is_some_and(|code| self.codec.prepare_code(code, &mut self.query));
    }
}

impl Reading {
    /// 8-bit values of a query.
    fn query_len(self) -> usize {
        if self.family == Family::Scalar { self.plane_bytes } else { 2 * self.plane_bytes }
    }

    /// The same codes by their high plane alone, where there is more than that.
    fn coarse(self) -> Option<Reading> {
        let family = match self.family {
            Family::Fine => Family::Coarse,
            Family::FineWithOffset => Family::CoarseWithOffset,
            Family::Coarse | Family::CoarseWithOffset | Family::Scalar => return None,
        };
        Some(Reading { family, ..self })
    }

    fn line(self, query: &Prepared) -> Line {
        let (zero, half, share) = match self.family {
            Family::Coarse | Family::CoarseWithOffset => (7, 0.5, 1.0),
            Family::Fine | Family::FineWithOffset => (127, 0.5, 1.0 / 16.0),
            Family::Scalar => (0, 0.0, 1.0),
        };
        let sum = query.sum;
        Line { base: query.base, step: query.step * share, whole: zero * sum, half: half * sum as f32 }
    }
}

impl Line {
    /// Scores of at most [`BATCH`] rows, whose numbers are `slots`; `factors` gives scale and offset. As [`score`](Line::score) for each.
    #[inline(always)]
    fn score_all(
        self,
        sums: &[i32],
        slots: &[u32],
        out: &mut [Score],
        factors: impl Fn(usize) -> (f32, f32),
    ) {
        // Finding the factors and computing with them are loops of their own: the second is vectorised.
        let (mut scales, mut offsets) = ([0.0; BATCH], [0.0; BATCH]);
        let (scales, offsets) = (&mut scales[..slots.len()], &mut offsets[..slots.len()]);
        for ((&slot, scale), offset) in slots.iter().zip(&mut *scales).zip(&mut *offsets) {
            (*scale, *offset) = factors(slot as usize);
        }
        let mut marks = 0_u32;
        for (((out, &sum), &scale), &offset) in out.iter_mut().zip(sums).zip(&*scales).zip(&*offsets) {
            let product = (sum - self.whole) as f32 - self.half;
            *out = (self.base + offset) - (self.step * scale) * product;
            // The addition carries into the sign where all bits of the exponent are set.
            marks |= (out.to_bits() & !SIGN_BIT) + (1 << (f32::MANTISSA_DIGITS - 1));
        }
        if marks & SIGN_BIT != 0 {
            for (((out, &sum), &scale), &offset) in out.iter_mut().zip(sums).zip(&*scales).zip(&*offsets) {
                *out = self.score(sum, scale, offset);
            }
        }
    }

    #[inline(always)]
    fn score(self, sum: i32, scale: f32, offset: f32) -> Score {
        let product = (sum - self.whole) as f32 - self.half;
        let score = (self.base + offset) - (self.step * scale) * product;
        if score.is_finite() { score } else { self.wide_score(product, scale, offset) }
    }

    #[cold]
    fn wide_score(self, product: f32, scale: f32, offset: f32) -> Score {
        let whole = f64::from(self.base) + f64::from(offset);
        let score = whole - f64::from(self.step) * f64::from(scale) * f64::from(product);
        if score.is_nan() { Score::INFINITY } else { finite(score) }
    }
}

impl<'a> Engine<'a> {
    fn new(kernels: CodeKernels, reading: Reading, rows: Rows<'a>) -> Self {
        Engine { kernels, reading, rows, batch: Batch::default() }
    }

    fn score(&mut self, query: &Prepared, slots: &[Slot], out: &mut [Score]) {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        if let Kind::Sealed(rows) = self.rows.0
            && self.reading.family != Family::Scalar
            && slots.iter().map(|slot| slot.0).max().is_none_or(|last| last < rows.len)
        {
            for (slots, out) in slots.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
                self.score_sealed(query, rows, slots, out);
            }
            return;
        }
        for (slots, out) in slots.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            self.part(query, slots.iter().map(|slot| slot.0), out);
        }
    }

    /// As [`score`](Engine::score) for at most [`BATCH`] slots that are all there: without a slice for each.
    fn score_sealed(&self, query: &Prepared, rows: SealedRows<'a>, slots: &[Slot], out: &mut [Score]) {
        let numbers: &[u32] = bytemuck::cast_slice(slots);
        let (mut sums, mut low) = ([0; BATCH], [0; BATCH]);
        let (sums, low) = (&mut sums[..numbers.len()], &mut low[..numbers.len()]);
        for &slot in numbers {
            if let Some(first) = rows.hot.get(slot as usize * rows.hot_count) {
                prefetch_one(first);
            }
        }
        self.kernels.dot_u4i8_at(query.code(), rows.high, numbers, sums);
        let line = self.reading.line(query);
        match self.reading.family {
            Family::Fine | Family::FineWithOffset => {
                self.kernels.dot_u4i8_at(query.code(), rows.low, numbers, low);
                sums.iter_mut().zip(low).for_each(|(high, low)| *high = 16 * *high + *low);
                let (pairs, _) = rows.hot.as_chunks::<2>();
                if self.reading.family == Family::Fine {
                    // The first hot factor of a slot without a vector is NaN, which it passes on.
                    line.score_all(sums, numbers, out, |slot| (rows.cold[slot] + 0.0 * rows.hot[slot], 0.0));
                } else {
                    line.score_all(sums, numbers, out, |slot| {
                        (rows.cold[slot] + 0.0 * pairs[slot][0], pairs[slot][1])
                    });
                }
            }
            Family::CoarseWithOffset => {
                let (pairs, _) = rows.hot.as_chunks::<2>();
                line.score_all(sums, numbers, out, |slot| (pairs[slot][0], pairs[slot][1]));
            }
            Family::Coarse | Family::Scalar => {
                line.score_all(sums, numbers, out, |slot| (rows.hot[slot], 0.0));
            }
        }
    }

    fn score_run(&mut self, query: &Prepared, first: Slot, out: &mut [Score]) {
        let known = self.rows.len().saturating_sub(first.0) as usize;
        let (out, beyond) = out.split_at_mut(known.min(out.len()));
        beyond.fill(Score::INFINITY);
        let mut next = first.0;
        for out in out.chunks_mut(BATCH) {
            let end = next + out.len() as u32;
            self.part(query, next..end, out);
            next = end;
        }
    }

    fn score_within(&mut self, query: &Prepared, slots: &[Slot], limit: Score, out: &mut [Score]) {
        assert_eq!(slots.len(), out.len(), "slots and out differ in length");
        let Some(coarse) = self.reading.coarse().filter(|_| limit < Score::INFINITY) else {
            return self.score(query, slots, out);
        };
        let ask =
            Ask { kernels: &self.kernels, reading: coarse, query: query.code(), line: coarse.line(query) };
        let slack = query.slack(self.reading.dim);
        let limit = Limit { limit, slack, fine: self.reading.line(query) };
        for (slots, out) in slots.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            match self.rows.0 {
                Kind::Growing(rows) => self.batch.score_within(&ask, limit, rows, slots, out),
                Kind::Sealed(rows) => self.batch.score_within(&ask, limit, rows, slots, out),
            }
        }
    }

    /// Asks for the first plane and the factors of it: all that [`Precision::Coarse`] reads.
    fn prefetch(&mut self, slots: &[Slot]) {
        match self.rows.0 {
            Kind::Growing(rows) => prefetch_all(rows, slots),
            Kind::Sealed(rows) => {
                prefetch_rows(rows.high, rows.plane_bytes, bytemuck::cast_slice(slots));
                prefetch_rows(rows.hot, rows.hot_count, bytemuck::cast_slice(slots));
            }
        }
    }

    #[inline]
    fn part(&mut self, query: &Prepared, slots: impl Iterator<Item = u32> + Clone, out: &mut [Score]) {
        let reading = self.reading;
        let ask = Ask { kernels: &self.kernels, reading, query: query.code(), line: reading.line(query) };
        match self.rows.0 {
            Kind::Growing(rows) => self.batch.score(&ask, rows, slots, out),
            Kind::Sealed(rows) => self.batch.score(&ask, rows, slots, out),
        }
    }
}

fn prefetch_all<'a>(rows: impl Source<'a>, slots: &[Slot]) {
    for slot in slots {
        prefetch(rows.high(slot.0).unwrap_or_default());
        if let Some([factor, ..]) = rows.hot(slot.0) {
            prefetch_one(factor);
        }
    }
}

/// What stays the same over the batches of a call.
struct Ask<'q> {
    kernels: &'q CodeKernels,
    reading: Reading,
    query: &'q [i8],
    line: Line,
}

/// Which rows deserve both planes.
#[derive(Clone, Copy)]
struct Limit {
    limit: Score,
    /// How far a score by the high plane may be too high, for a row of scale 1.
    slack: f32,
    fine: Line,
}

impl<'a> Batch<'a> {
    #[inline]
    fn score<S: Source<'a>>(
        &mut self,
        ask: &Ask<'_>,
        rows: S,
        slots: impl Iterator<Item = u32> + Clone,
        out: &mut [Score],
    ) {
        let family = ask.reading.family;
        let is_fine = matches!(family, Family::Fine | Family::FineWithOffset);
        let count = out.len();
        let all = if is_fine { 2 * count } else { count };
        self.reserve(all);
        let found = self.find(rows, 0, slots.clone(), S::high, S::hot);
        if !(found && (!is_fine || self.find(rows, count, slots.clone(), S::low, S::cold))) {
            return self.score_known(ask, rows, slots, out);
        }
        self.sum(ask, 0..all);
        let (high, low) = self.sums[..all].split_at(count);
        let (hot, cold) = self.factors[..all].split_at(count);
        let line = ask.line;
        let coarse = out.iter_mut().zip(high).zip(hot);
        match family {
            Family::Coarse => coarse.for_each(|((out, &sum), hot)| *out = line.score(sum, hot[0], 0.0)),
            Family::CoarseWithOffset => {
                coarse.for_each(|((out, &sum), hot)| *out = line.score(sum, hot[0], hot[1]));
            }
            Family::Scalar => coarse.for_each(|((out, &sum), hot)| *out = line.score(sum, 1.0, hot[0])),
            Family::Fine => {
                let fine = coarse.zip(low.iter().zip(cold));
                fine.for_each(|(((out, high), _), (low, cold))| {
                    *out = line.score(16 * high + low, cold[0], 0.0);
                });
            }
            Family::FineWithOffset => {
                let fine = coarse.zip(low.iter().zip(cold));
                fine.for_each(|(((out, high), hot), (low, cold))| {
                    *out = line.score(16 * high + low, cold[0], hot[1]);
                });
            }
        }
    }

    /// By the high plane first, then by both where that leaves a chance to be within the limit. `ask` is for the high plane.
    fn score_within<S: Source<'a>>(
        &mut self,
        ask: &Ask<'_>,
        limit: Limit,
        rows: S,
        slots: &[Slot],
        out: &mut [Score],
    ) {
        let count = out.len();
        self.reserve(2 * count);
        if !self.find(rows, 0, slots.iter().map(|slot| slot.0), S::high, S::hot) {
            return self.score_known_within(ask, limit, rows, slots, out);
        }
        self.sum(ask, 0..count);
        let mut kept = [0_u8; BATCH];
        let mut kept_count = 0;
        let has_offset = ask.reading.family == Family::CoarseWithOffset;
        let offset = |hot: &[f32]| if has_offset { hot[1] } else { 0.0 };
        for (at, (out, (&sum, hot))) in out.iter_mut().zip(self.sums.iter().zip(&self.factors)).enumerate() {
            let score = ask.line.score(sum, hot[0], offset(hot));
            kept[kept_count] = at as u8;
            kept_count += usize::from(score - limit.slack * hot[0] <= limit.limit);
            *out = Score::INFINITY;
        }
        let kept = &kept[..kept_count];
        if !self.find(rows, count, kept.iter().map(|&at| slots[usize::from(at)].0), S::low, S::cold) {
            return;
        }
        self.sum(ask, count..count + kept_count);
        for (low, &at) in (count..).zip(kept) {
            let at = usize::from(at);
            let sum = 16 * self.sums[at] + self.sums[low];
            out[at] = limit.fine.score(sum, self.factors[low][0], offset(self.factors[at]));
        }
    }

    /// Makes room for so many planes.
    #[inline]
    fn reserve(&mut self, count: usize) {
        if self.sums.len() < count {
            self.rows.resize(count, &[]);
            self.factors.resize(count, &[]);
            self.sums.resize(count, 0);
        }
    }

    /// Lists a plane and the factors of each slot from place `from` on, and asks for the factors. False where a slot has none.
    #[inline(always)]
    fn find<S: Source<'a>>(
        &mut self,
        rows: S,
        from: usize,
        slots: impl Iterator<Item = u32>,
        plane: impl Fn(S, u32) -> Option<&'a [u8]>,
        factors: impl Fn(S, u32) -> Option<&'a [f32]>,
    ) -> bool {
        let places = self.rows[from..].iter_mut().zip(&mut self.factors[from..]);
        for (at, (slot, (row, factor))) in slots.zip(places).enumerate() {
            let (Some(bytes), Some(values)) = (plane(rows, slot), factors(rows, slot)) else { return false };
            (*row, *factor) = (bytes, values);
            // The kernel asks for what comes later; these travel while the list is made.
            if at < EARLY {
                prefetch(bytes);
            }
            if let [first, ..] = values {
                prefetch_one(first);
            }
        }
        true
    }

    /// Runs the kernel over the planes in these places.
    #[inline]
    fn sum(&mut self, ask: &Ask<'_>, places: Range<usize>) {
        let (rows, sums) = (&self.rows[places.clone()], &mut self.sums[places]);
        match ask.reading.family {
            Family::Scalar => ask.kernels.dot_u7i8(ask.query, rows, sums),
            _ => ask.kernels.dot_u4i8(ask.query, rows, sums),
        }
    }

    /// As [`score`](Batch::score) where some slots lie beyond the end: one after the other, which is rare.
    #[cold]
    fn score_known<S: Source<'a>>(
        &mut self,
        ask: &Ask<'_>,
        rows: S,
        slots: impl Iterator<Item = u32>,
        out: &mut [Score],
    ) {
        for (slot, out) in slots.zip(out) {
            *out = Score::INFINITY;
            if slot < rows.len() {
                self.score(ask, rows, std::iter::once(slot), std::slice::from_mut(out));
            }
        }
    }

    /// As [`score_known`](Batch::score_known), within a limit.
    #[cold]
    fn score_known_within<S: Source<'a>>(
        &mut self,
        ask: &Ask<'_>,
        limit: Limit,
        rows: S,
        slots: &[Slot],
        out: &mut [Score],
    ) {
        for (slot, out) in slots.iter().zip(out) {
            *out = Score::INFINITY;
            if slot.0 < rows.len() {
                self.score_within(ask, limit, rows, std::slice::from_ref(slot), std::slice::from_mut(out));
            }
        }
    }
}
