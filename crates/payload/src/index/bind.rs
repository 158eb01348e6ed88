//! A whole filter over the field indexes of a segment: which rows may match, and what remains to be tested on which of them.
//!
//! It refuses to test rows, to plan, and to recurse. Every part of a filter is answered with two sets: the rows that may match it, and
//! of them those in doubt. They follow the three-valued logic of *yes, no, perhaps*:
//!
//! ```text
//! a and b   may: a ∩ b       doubt: (doubt a ∪ doubt b) ∩ may
//! a or b    may: a ∪ b       doubt: (doubt a ∪ doubt b) − sure a − sure b
//! not a     may: all − sure  doubt: doubt a
//! ```
//!
//! A part without an index is all rows in doubt, which costs nothing to say. Conditions of `must` are asked the most selective first; when
//! few rows are left, the others are asked about these rows alone.
//!
//! Every operation decides each row by itself. So rows whose values changed since they were indexed, and rows that no index has yet, may be
//! answered in any way: at the end they are put aside, to be tested by the whole filter.

use nearfield_types::PointId;
use roaring::RoaringBitmap;

use super::{Estimate, FieldIndex, IndexError, Question};
use crate::filter::{Condition, ConditionRef, Filter, FilterRef, Leaf, Test};
use crate::path::Path;

/// What a binder asks its owner.
pub trait Resolve {
    /// The index of a field.
    fn field(&self, path: &Path) -> Option<&dyn FieldIndex>;

    /// The rows of these points; `None` leaves the question to the rows.
    fn ids(&self, ids: &[PointId]) -> Option<RoaringBitmap>;

    /// The rows that have a vector of this name; `None` leaves the question to the rows.
    fn vectors(&self, name: &str) -> Option<RoaringBitmap>;
}

/// Some rows of a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    /// Every row there is.
    All,
    /// These.
    Some(RoaringBitmap),
}

/// What is known of a filter before any row was looked at.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The rows that may match.
    pub candidates: Rows,
    /// Of them those that match iff [`Bound::residual`] does. What is neither here nor in `whole` matches.
    pub recheck: Rows,
    /// What is left of the filter; `None` where no row is in doubt.
    pub residual: Option<Filter>,
    /// Of the candidates those to be tested by the filter as it was given: rows that were masked, or that an index does not cover yet.
    pub whole: RoaringBitmap,
    /// What was expected before selecting.
    pub estimate: Estimate,
    /// Fields that were asked for and have no index that could answer, each once.
    pub unindexed: Vec<Path>,
}

/// Asks the indexes of one segment.
#[derive(Clone, Copy)]
pub struct Binder<'a, R: ?Sized> {
    resolve: &'a R,
    rows: u32,
    masked: &'a RoaringBitmap,
}

/// Binds `filter` to the indexes that `resolve` has, over slots below `rows`; `masked` are the slots whose payload is not the one that was
/// indexed. The filter has passed [`Filter::check`].
///
/// # Errors
///
/// [`IndexError`]: an index is damaged. Without it in `resolve` the filter can be bound again.
pub fn bind<R: Resolve + ?Sized>(
    filter: FilterRef<'_>,
    resolve: &R,
    rows: u32,
    masked: &RoaringBitmap,
) -> Result<Bound, IndexError> {
    Binder { resolve, rows, masked }.bind(filter)
}

/// So many rows of the next answer for one that is left: then these are looked at one by one.
const NARROW_SHARE: u64 = 16;
/// Most set operations for `min_should`; what needs more is left to the rows.
const AT_LEAST_MAX: u64 = 4_096;

/// What is known of a part of a filter.
#[derive(Clone, Debug)]
struct Part {
    may: Rows,
    /// Among `may`.
    doubt: Rows,
}

/// What a condition is to its filter.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Must,
    Should,
    MustNot,
    MinShould,
}

/// A filter that is being put together.
struct Frame<'f> {
    filter: FilterRef<'f>,
    /// Conditions to come, the last one first.
    open: Vec<(Role, ConditionRef<'f>)>,
    /// The conjunction so far.
    so_far: Part,
    should: Option<Part>,
    min_should: Vec<Part>,
    /// The rows that matter: those left by the filters around it.
    within: Rows,
    /// Of the outermost filter: the doubt that each conjunct brought.
    doubts: Option<Vec<(Conjunct<'f>, Rows)>>,
}

/// What the outermost filter is a conjunction of.
#[derive(Clone, Copy)]
enum Conjunct<'f> {
    Must(ConditionRef<'f>),
    MustNot(ConditionRef<'f>),
    Should,
    MinShould,
}

impl Rows {
    fn none() -> Rows {
        Rows::Some(RoaringBitmap::new())
    }

    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        matches!(self, Rows::Some(rows) if rows.is_empty())
    }

    /// How many there are of `rows`.
    pub fn len(&self, rows: u32) -> u64 {
        match self {
            Rows::All => rows.into(),
            Rows::Some(some) => some.len(),
        }
    }

    /// True for rows without a gap between them.
    pub fn is_run(&self) -> bool {
        match self {
            Rows::All => true,
            Rows::Some(some) => match (some.min(), some.max()) {
                (Some(first), Some(last)) => u64::from(last - first) + 1 == some.len(),
                _ => false,
            },
        }
    }

    /// As a set, of a segment of `rows` rows.
    pub fn into_set(self, rows: u32) -> RoaringBitmap {
        match self {
            Rows::All => all(rows),
            Rows::Some(some) => some,
        }
    }

    fn and(self, other: &Rows) -> Rows {
        match (self, other) {
            (rows, Rows::All) => rows,
            (Rows::All, other) => other.clone(),
            (Rows::Some(mut rows), Rows::Some(other)) => {
                rows &= other;
                Rows::Some(rows)
            }
        }
    }

    fn or(self, other: &Rows) -> Rows {
        match (self, other) {
            (Rows::All, _) | (_, Rows::All) => Rows::All,
            (Rows::Some(mut rows), Rows::Some(other)) => {
                rows |= other;
                Rows::Some(rows)
            }
        }
    }

    fn without(self, other: &Rows, rows: u32) -> Rows {
        match other {
            Rows::All => Rows::none(),
            Rows::Some(other) if other.is_empty() => self,
            Rows::Some(other) => {
                let mut left = self.into_set(rows);
                left -= other;
                Rows::Some(left)
            }
        }
    }
}

fn all(rows: u32) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..rows);
    all
}

impl Part {
    /// Every row matches.
    fn yes() -> Part {
        Part { may: Rows::All, doubt: Rows::none() }
    }

    /// No row matches.
    fn no() -> Part {
        Part { may: Rows::none(), doubt: Rows::none() }
    }

    /// Only rows can tell.
    fn unknown() -> Part {
        Part { may: Rows::All, doubt: Rows::All }
    }

    fn sure(may: RoaringBitmap) -> Part {
        Part { may: Rows::Some(may), doubt: Rows::none() }
    }

    fn and(self, other: Part) -> Part {
        let doubt = self.doubt.or(&other.doubt);
        let may = self.may.and(&other.may);
        let doubt = if doubt.is_empty() { doubt } else { doubt.and(&may) };
        Part { may, doubt }
    }

    fn or(self, other: Part, rows: u32) -> Part {
        let may = |part: &Part| part.may.clone();
        if self.doubt.is_empty() && other.doubt.is_empty() {
            return Part { may: self.may.or(&other.may), doubt: Rows::none() };
        }
        let sure = may(&self).without(&self.doubt, rows).or(&may(&other).without(&other.doubt, rows));
        let doubt = self.doubt.or(&other.doubt).without(&sure, rows);
        Part { may: self.may.or(&other.may), doubt }
    }

    /// The rows of `within` that do not match.
    fn not(self, within: &Rows, rows: u32) -> Part {
        let sure = self.may.without(&self.doubt, rows);
        Part { may: within.clone().without(&sure, rows), doubt: self.doubt.and(within) }
    }
}

impl<'a, R: Resolve + ?Sized> Binder<'a, R> {
    /// A binder over slots below `rows`; `masked` are those whose payload is not the one that was indexed.
    pub fn new(resolve: &'a R, rows: u32, masked: &'a RoaringBitmap) -> Self {
        Binder { resolve, rows, masked }
    }

    /// As [`bind`].
    ///
    /// # Errors
    ///
    /// As [`bind`].
    pub fn bind(&self, filter: FilterRef<'_>) -> Result<Bound, IndexError> {
        let mut notes = Notes { covered: self.rows, unindexed: Vec::new() };
        let (part, doubts) = self.part(filter, &mut notes)?;
        let mut whole = self.masked.clone();
        whole.remove_range(self.rows..);
        whole.insert_range(notes.covered..self.rows);
        let mut recheck = part.doubt;
        let mut candidates = part.may;
        if let Rows::Some(rows) = &mut candidates {
            rows.remove_range(self.rows..);
        }
        if recheck == Rows::All
            && let Rows::Some(rows) = &candidates
        {
            recheck = Rows::Some(rows.clone());
        }
        if let Rows::Some(rows) = &mut recheck {
            rows.remove_range(self.rows..);
        }
        let aside = Rows::Some(whole);
        recheck = recheck.without(&aside, self.rows);
        candidates = candidates.or(&aside);
        let Rows::Some(whole) = aside else { unreachable!("it was just made") };
        let residual = (!recheck.is_empty()).then(|| residual(filter, doubts, &recheck));
        let estimate = self.estimate(filter)?;
        Ok(Bound { candidates, recheck, residual, whole, estimate, unindexed: notes.unindexed })
    }

    /// What is known of the filter, and which doubt each of its conjuncts brought.
    fn part<'f>(
        &self,
        filter: FilterRef<'f>,
        notes: &mut Notes,
    ) -> Result<(Part, Vec<(Conjunct<'f>, Rows)>), IndexError> {
        let mut frames = vec![self.frame(filter, Rows::All, Some(Vec::new()))?];
        // A part that was put together, on its way to the filter around it.
        let mut done: Option<(Role, ConditionRef<'f>, Part)> = None;
        loop {
            let Some(frame) = frames.last_mut() else { return Ok((Part::unknown(), Vec::new())) };
            if let Some((role, condition, part)) = done.take() {
                frame.take(role, condition, part, self.rows);
            }
            // Nothing can be added to no rows at all.
            if frame.so_far.may.is_empty() {
                frame.open.clear();
            }
            let Some((role, condition)) = frame.open.pop() else {
                frame.close(self.rows);
                let Some(frame) = frames.pop() else { continue };
                match (frame.doubts, frames.last_mut()) {
                    (Some(doubts), _) => return Ok((frame.so_far, doubts)),
                    (None, Some(parent)) => {
                        // The parent left the condition on its list until it is done.
                        let Some((role, condition)) = parent.open.pop() else { continue };
                        done = Some((role, condition, frame.so_far));
                    }
                    (None, None) => return Ok((frame.so_far, Vec::new())),
                }
                continue;
            };
            // The rows that the condition can still change.
            let within = frame.so_far.may.clone();
            done = match condition {
                ConditionRef::Leaf(leaf) => Some((role, condition, self.leaf(leaf, &within, notes)?)),
                ConditionRef::Nested(path, inner) => {
                    Some((role, condition, self.nested(path, inner, &within, notes)?))
                }
                ConditionRef::Filter(inner) => {
                    frame.open.push((role, condition));
                    frames.push(self.frame(inner, within, None)?);
                    None
                }
            };
        }
    }

    /// A filter with nothing put together yet; its conditions in the order in which they are to be asked.
    fn frame<'f>(
        &self,
        filter: FilterRef<'f>,
        within: Rows,
        doubts: Option<Vec<(Conjunct<'f>, Rows)>>,
    ) -> Result<Frame<'f>, IndexError> {
        let [must, should, must_not, min_should] = filter.clauses();
        let mut ranked: Vec<(u64, ConditionRef<'f>)> = Vec::with_capacity(must.len());
        for condition in must.rev() {
            let rank = match condition {
                ConditionRef::Leaf(leaf) if must.len() > 1 => {
                    self.leaf_estimate(leaf)?.map_or(u64::MAX, |found| found.likely)
                }
                _ => u64::MAX - 1,
            };
            ranked.push((rank, condition));
        }
        // Stable, and the last one is asked first.
        ranked.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let mut open = Vec::with_capacity(ranked.len() + should.len() + must_not.len() + min_should.len());
        open.extend(min_should.rev().map(|condition| (Role::MinShould, condition)));
        open.extend(should.rev().map(|condition| (Role::Should, condition)));
        open.extend(must_not.rev().map(|condition| (Role::MustNot, condition)));
        open.extend(ranked.into_iter().map(|(_, condition)| (Role::Must, condition)));
        let so_far = Part { may: within.clone(), doubt: Rows::none() };
        Ok(Frame { filter, open, so_far, should: None, min_should: Vec::new(), within, doubts })
    }

    /// What is known of one question, right for the rows of `within`.
    fn leaf(&self, leaf: &Leaf, within: &Rows, notes: &mut Notes) -> Result<Part, IndexError> {
        let (path, question) = match leaf {
            Leaf::Field { path, test } => (path, Question::Test(test)),
            Leaf::IsEmpty(path) => (path, Question::IsEmpty),
            Leaf::IsNull(path) => (path, Question::IsNull),
            Leaf::Exists(path) => (path, Question::Exists),
            Leaf::HasId(ids) => return Ok(self.resolve.ids(ids).map_or_else(Part::unknown, Part::sure)),
            Leaf::HasVector(name) => {
                return Ok(self.resolve.vectors(name).map_or_else(Part::unknown, Part::sure));
            }
            Leaf::Slice { .. } => return Ok(Part::unknown()),
        };
        self.field(path, question, within, notes)
    }

    fn field(
        &self,
        path: &Path,
        question: Question<'_>,
        within: &Rows,
        notes: &mut Notes,
    ) -> Result<Part, IndexError> {
        let Some(index) = self.resolve.field(path) else {
            notes.unindexed(path);
            return Ok(Part::unknown());
        };
        if let Some(part) = narrowed(index, question, within)? {
            notes.covered = notes.covered.min(index.covered());
            return Ok(part);
        }
        let mut may = RoaringBitmap::new();
        let Some(exactness) = index.select(question, &mut may)? else {
            notes.unindexed(path);
            return Ok(Part::unknown());
        };
        notes.covered = notes.covered.min(index.covered());
        Ok(Part { may: Rows::Some(may), doubt: Rows::Some(exactness.into_recheck()) })
    }

    /// An object of a list that matches must have, among others, the values asked for: rows where the list has them may match.
    fn nested(
        &self,
        path: &Path,
        filter: FilterRef<'_>,
        within: &Rows,
        notes: &mut Notes,
    ) -> Result<Part, IndexError> {
        let mut may = within.clone();
        for condition in filter.must.rev() {
            let ConditionRef::Leaf(Leaf::Field { path: below, test }) = condition else { continue };
            // Of a count, a list of objects tells nothing about one of them.
            if matches!(test, Test::Count(_)) {
                continue;
            }
            let Ok(full) = path.each().and_then(|list| list.join(below)) else { continue };
            let part = self.field(&full, Question::Test(test), &may, notes)?;
            may = may.and(&part.may);
        }
        Ok(Part { doubt: may.clone(), may })
    }

    fn leaf_estimate(&self, leaf: &Leaf) -> Result<Option<Estimate>, IndexError> {
        let (path, question) = match leaf {
            Leaf::Field { path, test } => (path, Question::Test(test)),
            Leaf::IsEmpty(path) => (path, Question::IsEmpty),
            Leaf::IsNull(path) => (path, Question::IsNull),
            Leaf::Exists(path) => (path, Question::Exists),
            Leaf::HasId(ids) => {
                let high = (ids.len() as u64).min(self.rows.into());
                return Ok(Some(Estimate { low: 0, likely: high, high }));
            }
            Leaf::HasVector(_) => return Ok(None),
            Leaf::Slice { total, .. } => {
                let likely = u64::from(self.rows) / u64::from(*total).max(1);
                return Ok(Some(Estimate { low: 0, likely, high: self.rows.into() }));
            }
        };
        let Some(index) = self.resolve.field(path) else { return Ok(None) };
        let Some(found) = index.estimate(question)? else { return Ok(None) };
        // Rows that are not covered, and those that changed, may be anything. Covered rows beyond these do not count.
        let missing = u64::from(self.rows.saturating_sub(index.covered()));
        let beyond = u64::from(index.covered().saturating_sub(self.rows));
        let other = missing + self.masked.len();
        let high = (found.high + other).min(self.rows.into());
        let low = found.low.saturating_sub(beyond + self.masked.len()).min(high);
        Ok(Some(Estimate { low, likely: found.likely.clamp(low, high), high }))
    }

    /// How many rows match, before anything is selected. Conditions are taken for independent of each other where bounds do not say more.
    ///
    /// # Errors
    ///
    /// As [`bind`].
    pub fn estimate(&self, filter: FilterRef<'_>) -> Result<Estimate, IndexError> {
        struct Sum<'f> {
            filter: FilterRef<'f>,
            open: Vec<(Role, ConditionRef<'f>)>,
            found: Vec<(Role, Estimate)>,
        }
        let unknown = Estimate::unknown(self.rows.into());
        let mut sums = vec![Sum { filter, open: conditions(filter), found: Vec::new() }];
        loop {
            let Some(sum) = sums.last_mut() else { return Ok(unknown) };
            match sum.open.pop() {
                Some((role, ConditionRef::Leaf(leaf))) => {
                    let found = self.leaf_estimate(leaf)?.unwrap_or(unknown);
                    sum.found.push((role, found));
                }
                Some((role, ConditionRef::Nested(..))) => sum.found.push((role, unknown)),
                Some((role, ConditionRef::Filter(inner))) => {
                    sum.open.push((role, ConditionRef::Filter(inner)));
                    sums.push(Sum { filter: inner, open: conditions(inner), found: Vec::new() });
                }
                None => {
                    let total = combine(&sum.found, sum.filter.min_count, self.rows.into());
                    sums.pop();
                    let Some(parent) = sums.last_mut() else { return Ok(total) };
                    if let Some((role, _)) = parent.open.pop() {
                        parent.found.push((role, total));
                    }
                }
            }
        }
    }
}

/// The conditions of a filter with what they are to it.
fn conditions(filter: FilterRef<'_>) -> Vec<(Role, ConditionRef<'_>)> {
    let [must, should, must_not, min_should] = filter.clauses();
    let mut all = Vec::new();
    all.extend(must.rev().map(|condition| (Role::Must, condition)));
    all.extend(should.rev().map(|condition| (Role::Should, condition)));
    all.extend(must_not.rev().map(|condition| (Role::MustNot, condition)));
    all.extend(min_should.rev().map(|condition| (Role::MinShould, condition)));
    all
}

/// Asks about the rows of `within` alone, where they are few beside what the index would find.
fn narrowed(
    index: &dyn FieldIndex,
    question: Question<'_>,
    within: &Rows,
) -> Result<Option<Part>, IndexError> {
    let Rows::Some(rows) = within else { return Ok(None) };
    let Some(expected) = index.estimate(question)? else { return Ok(None) };
    if rows.len() * NARROW_SHARE > expected.likely {
        return Ok(None);
    }
    let mut may = rows.clone();
    let exactness = index.narrow(question, &mut may)?;
    Ok(exactness.map(|exactness| Part { may: Rows::Some(may), doubt: Rows::Some(exactness.into_recheck()) }))
}

/// What is learnt on the way.
struct Notes {
    /// Rows below are covered by every index that was asked.
    covered: u32,
    unindexed: Vec<Path>,
}

impl Notes {
    fn unindexed(&mut self, path: &Path) {
        if !self.unindexed.contains(path) {
            self.unindexed.push(path.clone());
        }
    }
}

impl<'f> Frame<'f> {
    fn take(&mut self, role: Role, condition: ConditionRef<'f>, part: Part, rows: u32) {
        match role {
            Role::Must => self.conjunct(Conjunct::Must(condition), part),
            Role::MustNot => {
                let part = part.not(&self.so_far.may, rows);
                self.conjunct(Conjunct::MustNot(condition), part);
            }
            Role::Should => {
                self.should = Some(match self.should.take() {
                    Some(others) => others.or(part, rows),
                    None => part,
                });
            }
            Role::MinShould => self.min_should.push(part),
        }
    }

    fn conjunct(&mut self, conjunct: Conjunct<'f>, part: Part) {
        if let (Some(doubts), false) = (&mut self.doubts, part.doubt.is_empty()) {
            doubts.push((conjunct, part.doubt.clone()));
        }
        let so_far = std::mem::replace(&mut self.so_far, Part::no());
        self.so_far = so_far.and(part);
    }

    /// Puts together what was waiting for all its conditions.
    fn close(&mut self, rows: u32) {
        if self.so_far.may.is_empty() {
            return;
        }
        if let Some(part) = self.should.take() {
            self.conjunct(Conjunct::Should, part);
        }
        if let Some(count) = self.filter.min_count {
            let parts = std::mem::take(&mut self.min_should);
            self.conjunct(Conjunct::MinShould, at_least(count, parts, rows));
        }
        let within = std::mem::replace(&mut self.within, Rows::All);
        let so_far = std::mem::replace(&mut self.so_far, Part::no());
        self.so_far = Part { may: so_far.may.and(&within), doubt: so_far.doubt };
    }
}

/// The rows that match `count` of `parts`: after each part, those that match one, two, … of the parts so far.
fn at_least(count: u64, parts: Vec<Part>, rows: u32) -> Part {
    let len = parts.len() as u64;
    if count == 0 {
        return Part::yes();
    }
    if count > len {
        return Part::no();
    }
    if count.saturating_mul(len) > AT_LEAST_MAX {
        return Part::unknown();
    }
    let mut reached: Vec<Part> = vec![Part::no(); count as usize];
    for part in parts {
        for at in (1..reached.len()).rev() {
            let next = reached[at - 1].clone().and(part.clone());
            reached[at] = std::mem::replace(&mut reached[at], Part::no()).or(next, rows);
        }
        reached[0] = std::mem::replace(&mut reached[0], Part::no()).or(part, rows);
    }
    reached.pop().unwrap_or_else(Part::unknown)
}

/// The conjuncts of `filter` that left some row of `recheck` in doubt.
fn residual(filter: FilterRef<'_>, doubts: Vec<(Conjunct<'_>, Rows)>, recheck: &Rows) -> Filter {
    let matters = |doubt: &Rows| match (doubt, recheck) {
        (Rows::All, _) | (_, Rows::All) => true,
        (Rows::Some(doubt), Rows::Some(recheck)) => !doubt.is_disjoint(recheck),
    };
    let mut left = Filter::new();
    for (conjunct, _) in doubts.into_iter().filter(|(_, doubt)| matters(doubt)) {
        left = match conjunct {
            Conjunct::Must(condition) => left.must([owned(condition)]),
            Conjunct::MustNot(condition) => left.must_not([owned(condition)]),
            Conjunct::Should => left.should(filter.should.to_vec().into_iter().map(owned)),
            Conjunct::MinShould => {
                let count = filter.min_count.unwrap_or(0);
                left.min_should(count, filter.min_should.to_vec().into_iter().map(owned))
            }
        };
    }
    left
}

fn owned(condition: ConditionRef<'_>) -> Condition {
    match condition {
        ConditionRef::Leaf(leaf) => leaf.clone().into(),
        ConditionRef::Filter(filter) => filter.to_filter().into(),
        ConditionRef::Nested(path, filter) => Condition::nested(path.clone(), filter.to_filter()),
    }
}

/// The estimate of a filter from those of its conditions, in bounds that hold whatever depends on what.
fn combine(found: &[(Role, Estimate)], min_count: Option<u64>, rows: u64) -> Estimate {
    let of = |role: Role| found.iter().filter(move |(own, _)| *own == role).map(|(_, estimate)| *estimate);
    let share = |likely: u64| likely as f64 / rows.max(1) as f64;
    let not = |e: Estimate| Estimate {
        low: rows - e.high.min(rows),
        likely: rows - e.likely.min(rows),
        high: rows - e.low.min(rows),
    };
    let mut conjuncts: Vec<Estimate> = of(Role::Must).chain(of(Role::MustNot).map(not)).collect();
    if of(Role::Should).next().is_some() {
        let miss: f64 = of(Role::Should).map(|one| 1.0 - share(one.likely)).product();
        let low = of(Role::Should).map(|one| one.low).max().unwrap_or(0);
        let high = of(Role::Should).map(|one| one.high).sum::<u64>().min(rows);
        let likely = ((1.0 - miss) * rows as f64) as u64;
        conjuncts.push(Estimate { low, likely: likely.clamp(low, high), high });
    }
    if let Some(count) = min_count.filter(|&count| count > 0) {
        // Each match needs `count` of the entries.
        let high = (of(Role::MinShould).map(|one| one.high).sum::<u64>() / count).min(rows);
        let likely = (of(Role::MinShould).map(|one| one.likely).sum::<u64>() / count).min(high);
        conjuncts.push(Estimate { low: 0, likely, high });
    }
    let high = conjuncts.iter().map(|one| one.high).min().unwrap_or(rows);
    let missing: u64 = conjuncts.iter().map(|one| rows - one.low.min(rows)).sum();
    let low = rows.saturating_sub(missing).min(high);
    let likely: f64 = conjuncts.iter().map(|one| share(one.likely)).product::<f64>() * rows as f64;
    Estimate { low, likely: (likely as u64).clamp(low, high), high }
}
