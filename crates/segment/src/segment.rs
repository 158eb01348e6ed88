//! One segment, growing or sealed, behind one set of questions.

use std::sync::Arc;

use nearfield_ann::{Admit, Budget, Estimate, Scratch, Stats, Ties, TopK};
use nearfield_types::{PointId, Score, Seq, Slot};
use nearfield_vectors::VectorStore;

use crate::changes::Changes;
use crate::error::{OpenError, SearchError};
use crate::field::{Depth, Field, FieldAsk};
use crate::filtered::{self, Filtering, Passing, Work};
use crate::growing::Growing;
use crate::partitions::Partition;
use crate::patches::Row;
use crate::sealed::Sealed;

/// A segment as readers of one version see it.
#[derive(Clone, Debug)]
pub enum Segment {
    /// In memory; the last one of a version takes writes.
    Growing(Arc<Growing>),
    /// On disk.
    Sealed(Arc<Sealed>),
}

/// One nearest-neighbour question to one segment.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The place of the vector in the schema.
    pub vector: usize,
    /// The query, as long as that vector.
    pub query: &'a [f32],
    /// At most this many answers.
    pub limit: usize,
    /// How hard to look.
    pub depth: Depth,
    /// Only rows that pass this.
    pub filter: Option<&'a Filtering<'a>>,
    /// As of this Seq.
    pub seen: Seq,
    /// The worst exact distance that is still of use; answers beyond it are left out, equal ones stay.
    pub bound: Option<Score>,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The row.
    pub slot: Slot,
    /// Its exact distance.
    pub distance: Score,
}

impl Segment {
    /// The row of `id` visible at `seen`; [`Seq::MAX`] asks for the state as applied.
    pub fn find(&self, id: &PointId, seen: Seq) -> Option<Slot> {
        match self {
            Segment::Growing(growing) => growing.find(id, seen),
            Segment::Sealed(sealed) => sealed.find(id, seen),
        }
    }

    /// Up to `limit` points visible at `seen` with ids after `after`, in id order. O(log n + what is passed over).
    pub fn page(&self, after: Option<&PointId>, limit: usize, seen: Seq) -> Vec<(PointId, Slot)> {
        match self {
            Segment::Growing(growing) => growing.page(after, limit, seen),
            Segment::Sealed(sealed) => sealed.page(after, limit, seen),
        }
    }

    /// As [`Segment::page`], of the points that pass.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if a payload or a field index is damaged.
    pub fn page_passing(
        &self,
        filter: &Filtering<'_>,
        after: Option<&PointId>,
        limit: usize,
        seen: Seq,
    ) -> Result<Vec<(PointId, Slot)>, SearchError> {
        Passing::new(self, seen, filter)?.page(after, limit)
    }

    /// The rows visible at `seen` that pass, ascending.
    ///
    /// # Errors
    ///
    /// As [`Segment::page_passing`].
    pub fn passing(&self, filter: &Filtering<'_>, seen: Seq) -> Result<Vec<Slot>, SearchError> {
        Passing::new(self, seen, filter)?.all()
    }

    /// How many points are visible at `seen`. O(rows) while growing, O(deaths) when sealed.
    pub fn count(&self, seen: Seq) -> u64 {
        match self {
            Segment::Growing(growing) => growing.count(seen),
            Segment::Sealed(sealed) => sealed.count(seen),
        }
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        match self {
            Segment::Growing(growing) => growing.len(),
            Segment::Sealed(sealed) => sealed.rows(),
        }
    }

    /// The id of a row.
    pub fn id(&self, slot: Slot) -> PointId {
        match self {
            Segment::Growing(growing) => growing.id(slot),
            Segment::Sealed(sealed) => sealed.ids().id(slot),
        }
    }

    /// When a row was born.
    pub fn born(&self, slot: Slot) -> Seq {
        match self {
            Segment::Growing(growing) => growing.born(slot),
            Segment::Sealed(sealed) => sealed.ids().born(slot),
        }
    }

    /// The encoded payload of a row as of `seen`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if its block is damaged.
    pub fn payload(&self, slot: Slot, seen: Seq) -> Result<Row, OpenError> {
        match self {
            Segment::Growing(growing) => Ok(growing.payload(slot, seen)),
            Segment::Sealed(sealed) => sealed.payload(slot, seen),
        }
    }

    /// Calls `visit(i, row)` with the encoded payload of each of `slots` as of `seen`, in order.
    pub(crate) fn visit_payloads(
        &self,
        slots: &[Slot],
        seen: Seq,
        visit: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), OpenError> {
        match self {
            Segment::Growing(growing) => {
                for (at, &slot) in slots.iter().enumerate() {
                    growing.visit_payload(slot, seen, &mut |row| visit(at, row));
                }
                Ok(())
            }
            Segment::Sealed(sealed) => sealed.visit_payloads(slots, seen, visit),
        }
    }

    /// Whether a row has the vector at place `vector`.
    pub(crate) fn has_vector(&self, slot: Slot, vector: usize) -> bool {
        self.store(vector).is_present(slot)
    }

    /// The vector at place `vector` of a row, as it was given; `None` if the point has none.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if its block is damaged.
    pub fn vector(&self, slot: Slot, vector: usize) -> Result<Option<Vec<f32>>, OpenError> {
        let mut values = None;
        self.store(vector).read_many(&[slot], &mut |_, row| values = row.map(<[f32]>::to_vec))?;
        Ok(values)
    }

    /// Records that a row died. Called by the writer alone.
    pub fn kill(&self, slot: Slot, at: Seq) {
        self.changes().deaths.kill(slot, at);
    }

    /// Records a row's payload from `at` on. Called by the writer alone.
    pub fn patch(&self, slot: Slot, at: Seq, row: Row) {
        self.changes().patches.put(slot, at, row);
    }

    /// The nearest visible rows as far as the depth reaches, nearest first, ties by id, with exact distances. Rows without a graph
    /// are all looked at.
    ///
    /// # Errors
    ///
    /// [`SearchError`] if the query does not fit the vector, a block is damaged, or the budget ran out.
    ///
    /// # Complexity
    ///
    /// With a filter as without, or a test of every payload in doubt and a score of every row that passes, whichever is expected to be less;
    /// at most the sum of both.
    pub fn search(
        &self,
        ask: &Ask<'_>,
        budget: &Budget<'_>,
        scratch: &mut Scratch,
    ) -> Result<(Vec<Found>, Work), SearchError> {
        if let Some(filtering) = ask.filter {
            return filtered::search(self, ask, filtering, budget, scratch);
        }
        let (found, stats) = self.search_among(ask, self.estimate(ask.seen), budget, scratch)?;
        if found.iter().all(|one| self.visible(one.slot, ask.seen)) {
            return Ok((found, Work::unfiltered(stats, self.rows())));
        }
        // A walk that was told that all is visible met a row linked meanwhile, as the duplicate of an older one.
        let unsure = Estimate::unknown(self.rows().into());
        let (found, again) = self.search_among(ask, unsure, budget, scratch)?;
        let mut both = stats;
        both += again;
        Ok((found, Work::unfiltered(both, self.rows())))
    }

    fn search_among(
        &self,
        ask: &Ask<'_>,
        estimate: Estimate,
        budget: &Budget<'_>,
        scratch: &mut Scratch,
    ) -> Result<(Vec<Found>, Stats), SearchError> {
        let mut best = TopK::new(ask.limit, self);
        let visible = Visible { segment: self, seen: ask.seen, estimate };
        let Ask { query, depth, bound, .. } = *ask;
        let question = FieldAsk { query, depth, admit: &visible, budget, bound };
        let stats = self.field(ask.vector).search(&question, scratch, &mut best)?;
        let found = best.into_sorted().into_iter();
        Ok((found.map(|near| Found { slot: near.slot, distance: near.score }).collect(), stats))
    }

    fn estimate(&self, seen: Seq) -> Estimate {
        match self {
            Segment::Growing(growing) => growing.estimate(seen),
            Segment::Sealed(sealed) => sealed.estimate(),
        }
    }

    /// True if every row is visible at `seen`, as far as that is known without looking.
    pub(crate) fn is_all_visible(&self, seen: Seq) -> bool {
        self.estimate(seen).low >= u64::from(self.rows())
    }

    pub(crate) fn visible(&self, slot: Slot, seen: Seq) -> bool {
        match self {
            Segment::Growing(growing) => growing.visible(slot, seen),
            Segment::Sealed(sealed) => sealed.visible(slot, seen),
        }
    }

    pub(crate) fn field(&self, vector: usize) -> Field<'_> {
        match self {
            Segment::Growing(growing) => growing.field(vector),
            Segment::Sealed(sealed) => sealed.field(vector),
        }
    }

    /// The graph over a partition that holds all of these rows.
    pub(crate) fn partition(&self, vector: usize, first: u32, last: u32) -> Option<&Partition> {
        match self {
            Segment::Growing(_) => None,
            Segment::Sealed(sealed) => sealed.partition(vector, first, last),
        }
    }

    fn store(&self, vector: usize) -> &dyn VectorStore {
        match self {
            Segment::Growing(growing) => growing.store(vector),
            Segment::Sealed(sealed) => sealed.store(vector),
        }
    }

    fn changes(&self) -> &Changes {
        match self {
            Segment::Growing(growing) => &growing.changes,
            Segment::Sealed(sealed) => &sealed.changes,
        }
    }
}

/// Equal distances are ordered by id, as everywhere.
impl Ties for Segment {
    fn compare(&self, a: Slot, b: Slot) -> std::cmp::Ordering {
        match self {
            Segment::Growing(growing) => growing.id_ref(a).cmp(growing.id_ref(b)),
            Segment::Sealed(sealed) => sealed.ids().rank(a).cmp(&sealed.ids().rank(b)),
        }
    }
}

/// Admits what a reader at one Seq may see.
struct Visible<'a> {
    segment: &'a Segment,
    seen: Seq,
    estimate: Estimate,
}

impl Admit for Visible<'_> {
    fn retain(&self, slots: &mut Vec<Slot>) {
        slots.retain(|&slot| self.segment.visible(slot, self.seen));
    }

    fn estimate(&self) -> Estimate {
        self.estimate
    }
}
