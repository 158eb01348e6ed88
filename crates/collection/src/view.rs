//! Reading: one version and one Seq, taken once; everything asked of a view is true at that Seq.

use std::cell::RefCell;
use std::sync::Arc;

use nearfield_ann::{Budget, Scratch};
use nearfield_hnsw::EF_MAX;
use nearfield_payload::decode;
use nearfield_payload::filter::Filter;
use nearfield_segment::{
    Ask, Depth, Filtering, OpenError, RECALL_MAX, RECALL_MIN, SearchError, Segment, Work,
};
use nearfield_types::limits::{BATCH_POINTS_MAX, LIMIT_MAX};
use nearfield_types::{Object, PointId, Score, Seq, Slot};

use crate::config::CollectionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Fields;
use crate::point::{Hit, NamedVectors, Query, Record, With};
use crate::prepare;
use crate::recovery::UNTRUSTED;
use crate::version::{Member, Version};

thread_local! {
    /// Working memory of this thread's searches.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a reader sees: it does not change, however much is written beside it.
///
/// It keeps the segments of its version alive, so a view held for long holds back memory.
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) version: Arc<Version>,
    pub(crate) config: Arc<CollectionConfig>,
    /// The payload indexes there are: they say how texts are split into words.
    pub(crate) fields: Arc<Fields>,
    pub(crate) seen: Seq,
}

impl View {
    /// Every operation at or before this Seq is seen, and none after.
    pub fn seq(&self) -> Seq {
        self.seen
    }

    /// The points of these ids, in their order; `None` where there is none. O(ids * segments * log rows).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] past the limits, [`ErrorKind::Corrupt`] if stored bytes are damaged.
    pub fn get(&self, ids: &[PointId], with: With) -> Result<Vec<Option<Record>>> {
        prepare::ids(ids)?;
        ids.iter().map(|id| self.record(id, with)).collect()
    }

    /// Whether there is a point of this id.
    pub fn contains(&self, id: &PointId) -> bool {
        self.version.find(id, self.seen).is_some()
    }

    /// How many points there are.
    pub fn count(&self) -> u64 {
        self.version.members().iter().map(|member| member.segment.count(self.seen)).sum()
    }

    /// How many points pass `filter`. O(points in doubt).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the filter is beyond a limit, [`ErrorKind::Corrupt`] if stored bytes are damaged.
    pub fn count_passing(&self, filter: &Filter) -> Result<u64> {
        let names = self.vector_names();
        let filtering = self.filtering(filter, &names)?;
        let counts = self.version.members().iter().map(|Member { segment, .. }| {
            let passing = segment.passing(&filtering, self.seen);
            passing.map(|slots| slots.len() as u64).map_err(|e| self.located(segment, search_error(e)))
        });
        counts.sum()
    }

    /// Up to `limit` points with ids after `after`, in id order.
    ///
    /// # Errors
    ///
    /// As [`View::get`].
    pub fn scroll(&self, after: Option<&PointId>, limit: usize, with: With) -> Result<Vec<Record>> {
        self.page(None, after, limit, with)
    }

    /// As [`View::scroll`], of the points that pass `filter`. O(points passed over).
    ///
    /// # Errors
    ///
    /// As [`View::get`], and [`ErrorKind::Invalid`] if the filter is beyond a limit.
    pub fn scroll_passing(
        &self,
        filter: &Filter,
        after: Option<&PointId>,
        limit: usize,
        with: With,
    ) -> Result<Vec<Record>> {
        self.page(Some(filter), after, limit, with)
    }

    fn page(
        &self,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        with: With,
    ) -> Result<Vec<Record>> {
        check_limit(limit)?;
        let names = self.vector_names();
        let filtering = filter.map(|filter| self.filtering(filter, &names)).transpose()?;
        let mut page: Vec<(PointId, &Segment, Slot)> = Vec::new();
        for Member { segment, .. } in self.version.members() {
            let found = match &filtering {
                None => segment.page(after, limit, self.seen),
                Some(filtering) => {
                    let found = segment.page_passing(filtering, after, limit, self.seen);
                    found.map_err(|e| self.located(segment, search_error(e)))?
                }
            };
            page.extend(found.into_iter().map(|(id, slot)| (id, segment, slot)));
        }
        page.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        page.truncate(limit);
        page.into_iter()
            .map(|(id, segment, slot)| {
                let (payload, vectors) = self.fetch(segment, slot, with)?;
                Ok(Record { id, payload, vectors })
            })
            .collect()
    }

    /// The nearest points as far as the query's depth reaches, nearest first, ties by id. Distances are exact; rows that no graph
    /// holds yet are all looked at.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the query does not fit or its depth is outside the limits, [`ErrorKind::Corrupt`] if stored bytes are damaged.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>> {
        self.search_watched(query, &mut |_, _| {})
    }

    /// As [`View::search`]; `watch` is told of each segment and how it was searched.
    pub(crate) fn search_watched<'v>(
        &'v self,
        query: &Query<'_>,
        watch: &mut dyn FnMut(&'v Member, Work),
    ) -> Result<Vec<Hit>> {
        check_limit(query.limit)?;
        check_depth(query.depth)?;
        let Some((vector, config)) = self.config.find(query.using) else {
            return Err(prepare::unknown_vector(&self.config, query.using));
        };
        prepare::query(query.using, config, query.vector)?;
        let names = if query.filter.is_some() { self.vector_names() } else { Vec::new() };
        let filtering = query.filter.map(|filter| self.filtering(filter, &names)).transpose()?;
        let mut winners: Vec<Winner<'_>> = Vec::new();
        for member in self.version.members() {
            let bound =
                (winners.len() == query.limit).then(|| winners.last().map(|last| last.distance)).flatten();
            let Query { vector: values, limit, depth, .. } = *query;
            let filter = filtering.as_ref();
            let ask = Ask { vector, query: values, limit, depth, filter, seen: self.seen, bound };
            let searched =
                SCRATCH.with_borrow_mut(|scratch| member.segment.search(&ask, &Budget::unlimited(), scratch));
            let (found, work) = searched.map_err(|e| self.located(&member.segment, search_error(e)))?;
            watch(member, work);
            merge(&mut winners, &member.segment, found, query.limit);
        }
        let hit = |winner: Winner<'_>| {
            let (payload, vectors) = self.fetch(winner.segment, winner.slot, query.with)?;
            Ok(Hit { id: winner.id, distance: winner.distance, payload, vectors })
        };
        winners.into_iter().map(hit).collect()
    }

    /// Checks every block of the sealed segments against its checksum. O(bytes).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`], naming the segment.
    pub fn verify(&self) -> Result<()> {
        for member in self.version.members() {
            damaged_file(member).map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// The names of the vectors, in schema order.
    pub(crate) fn vector_names(&self) -> Vec<&str> {
        self.config.vectors().map(|(name, _)| name).collect()
    }

    /// The filter made ready for segments with vectors of these names.
    pub(crate) fn filtering<'f>(
        &'f self,
        filter: &'f Filter,
        vectors: &'f [&'f str],
    ) -> Result<Filtering<'f>> {
        Filtering::new(filter, vectors, &self.fields.list).map_err(|e| Error::invalid(format!("filter: {e}")))
    }

    /// An error that says which file is damaged, where the error at hand only says that one is.
    pub(crate) fn located(&self, segment: &Segment, error: Error) -> Error {
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        let member = self.version.members().iter().find(|member| std::ptr::eq(&member.segment, segment));
        member.and_then(damaged_file).unwrap_or(error)
    }

    pub(crate) fn record(&self, id: &PointId, with: With) -> Result<Option<Record>> {
        let Some((segment, slot)) = self.version.find(id, self.seen) else { return Ok(None) };
        let (payload, vectors) = self.fetch(segment, slot, with)?;
        Ok(Some(Record { id: id.clone(), payload, vectors }))
    }

    pub(crate) fn fetch(
        &self,
        segment: &Segment,
        slot: Slot,
        with: With,
    ) -> Result<(Option<Object>, Option<NamedVectors>)> {
        let located = |error| self.located(segment, error);
        let payload =
            with.payload.then(|| read_payload(segment, slot, self.seen)).transpose().map_err(located)?;
        let vectors = with.vectors.then(|| self.read_vectors(segment, slot)).transpose().map_err(located)?;
        Ok((payload, vectors))
    }

    fn read_vectors(&self, segment: &Segment, slot: Slot) -> Result<NamedVectors> {
        let mut vectors = Vec::new();
        for (place, (name, _)) in self.config.vectors().enumerate() {
            if let Some(values) = segment.vector(slot, place).map_err(damage)? {
                vectors.push((name.to_owned(), values));
            }
        }
        Ok(vectors)
    }
}

/// The payload of a row as of `seen`.
pub(crate) fn read_payload(segment: &Segment, slot: Slot, seen: Seq) -> Result<Object> {
    let row = segment.payload(slot, seen).map_err(damage)?;
    decode(&row).map_err(|e| Error::caused(ErrorKind::Corrupt, "a payload row is damaged", e))
}

struct Winner<'a> {
    id: PointId,
    distance: Score,
    segment: &'a Segment,
    slot: Slot,
}

/// Merges the answers of one more segment: exact distances decide, then ids, so the number of segments never shows.
fn merge<'a>(
    winners: &mut Vec<Winner<'a>>,
    segment: &'a Segment,
    found: Vec<nearfield_segment::Found>,
    limit: usize,
) {
    let winner = |near: nearfield_segment::Found| Winner {
        id: segment.id(near.slot),
        distance: near.distance,
        segment,
        slot: near.slot,
    };
    winners.extend(found.into_iter().map(winner));
    winners.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
    winners.truncate(limit);
}

pub(crate) fn check_limit(limit: usize) -> Result<()> {
    if limit > LIMIT_MAX {
        return Err(Error::invalid(format!("limit is {limit}: at most {LIMIT_MAX} is allowed")));
    }
    const { assert!(BATCH_POINTS_MAX <= LIMIT_MAX, "whatever can be written in one go can be read in one") };
    Ok(())
}

fn check_depth(depth: Depth) -> Result<()> {
    match depth {
        Depth::Breadth(ef) if !(1..=EF_MAX).contains(&ef) => {
            Err(Error::invalid(format!("ef is {ef}: it must be 1 to {EF_MAX}")))
        }
        Depth::Margin(share) if !(0.0..=f32::MAX).contains(&share) => {
            Err(Error::invalid(format!("margin is {share}: it must be finite and not negative")))
        }
        Depth::Recall(recall) if !(RECALL_MIN..=RECALL_MAX).contains(&recall) => {
            Err(Error::invalid(format!("recall is {recall}: it must be {RECALL_MIN} to {RECALL_MAX}")))
        }
        _ => Ok(()),
    }
}

/// What is wrong with the files of a sealed segment, if anything is. O(bytes not checked yet).
fn damaged_file(member: &Member) -> Option<Error> {
    let (Segment::Sealed(sealed), Some(number)) = (&member.segment, member.number) else { return None };
    let (file, error) = sealed.verify().err()?;
    let place = format!("segments/{number}/{file}");
    Some(match error {
        OpenError::Io(error) => Error::io(format!("reading {place}"), error),
        other => Error::caused(ErrorKind::Corrupt, format!("{place} is damaged ({UNTRUSTED})"), other),
    })
}

pub(crate) fn damage(error: OpenError) -> Error {
    match error {
        OpenError::Io(error) => Error::io("reading a segment", error),
        other => Error::caused(ErrorKind::Corrupt, "a segment is damaged", other),
    }
}

pub(crate) fn search_error(error: SearchError) -> Error {
    use nearfield_ann::Stopped;
    if let SearchError::Payload(error) = error {
        return damage(error);
    }
    let kind = match &error {
        SearchError::Shape(_) => ErrorKind::Invalid,
        SearchError::Stopped(Stopped::Cancelled) => ErrorKind::Cancelled,
        SearchError::Stopped(Stopped::Deadline | Stopped::Budget) => ErrorKind::Timeout,
        SearchError::Stopped(Stopped::Unreadable) => ErrorKind::Unavailable,
        SearchError::Stopped(Stopped::Damaged) | SearchError::FieldIndex(_) => ErrorKind::Corrupt,
        SearchError::Filter(_) => ErrorKind::Invalid,
        SearchError::Payload(_) => ErrorKind::Corrupt,
    };
    Error::caused(kind, "search", error)
}
