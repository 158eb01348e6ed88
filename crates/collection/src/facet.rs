//! Facets and estimates: which values points have and how many have each; how many points may pass a filter.
//!
//! It refuses to hold more than [`FACET_BYTES_MAX`] of values: an exact facet of more is an error, another one gives up the rarest.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_payload::Path;
use nearfield_payload::filter::{Filter, Key};
use nearfield_payload::index::{Estimate, KeyRef};
use nearfield_segment::{Filtering, PayloadField};
use nearfield_types::Uuid;

use crate::error::{Error, Result};
use crate::view::{View, check_limit, search_error};

/// Most bytes of distinct values that a facet holds while it counts: a few million values.
pub const FACET_BYTES_MAX: usize = 256 << 20;
/// A distinct value beside its text: map entry, count, pointer, slack of the map.
const VALUE_BYTES: usize = 64;

/// A value and how many points have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetHit {
    /// The value.
    pub value: Key,
    /// How many points have it, each counted once.
    pub count: u64,
}

impl View {
    /// How many points pass `filter`, as far as payload indexes tell: no payload is read. The bounds hold; between them, conditions are taken
    /// for independent of each other, and half of the points pass one that no index knows.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if the filter is beyond a limit.
    pub fn count_estimate(&self, filter: &Filter) -> Result<Estimate> {
        let mut total = Estimate::default();
        for member in self.version.members() {
            let found = member.segment.estimate_passing(filter, &self.fields.list, self.seen);
            let found = found.map_err(|e| self.located(&member.segment, search_error(e)))?;
            total = Estimate {
                low: total.low + found.low,
                likely: total.likely + found.likely,
                high: total.high + found.high,
            };
        }
        Ok(total)
    }

    /// The `limit` values at `path` that most points have, those in most points first, then in their order (booleans, integers, texts); of
    /// the points that pass `filter`, if there is one. Counted are texts, integers below 2^63 and booleans; of a list its items; a value that
    /// a point has twice once. An index of the values makes it fast and changes nothing else.
    ///
    /// Without `exact`, the rarest values are given up where all of them take more than [`FACET_BYTES_MAX`]: counts are then too low, by no more
    /// than the most frequent value left out had when it was given up, each time.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] past the limits, that of values included, [`crate::ErrorKind::Corrupt`] if stored bytes are damaged.
    ///
    /// # Complexity
    ///
    /// O(values) and a step for each point with an index of keywords, integers, booleans or UUIDs; without, every payload that passes is read.
    pub fn facet(
        &self,
        path: &Path,
        filter: Option<&Filter>,
        limit: usize,
        exact: bool,
    ) -> Result<Vec<FacetHit>> {
        let counts = Counts { exact, ..Counts::new(FACET_BYTES_MAX) };
        self.facet_within(path, filter, limit, counts)
    }

    fn facet_within(
        &self,
        path: &Path,
        filter: Option<&Filter>,
        limit: usize,
        mut counts: Counts,
    ) -> Result<Vec<FacetHit>> {
        check_limit(limit)?;
        let names = self.vector_names();
        let filtering: Option<Filtering<'_>> =
            filter.map(|filter| self.filtering(filter, &names)).transpose()?;
        let field = self.field(path);
        for member in self.version.members() {
            let mut count = |value: KeyRef<'_>, more: u64| counts.add(value, more);
            let counted = member.segment.facet(path, field, filtering.as_ref(), self.seen, &mut count);
            counted.map_err(|e| self.located(&member.segment, search_error(e)))?;
            if counts.is_full {
                let context = format!(
                    "facet of \"{path}\" has more than {} bytes of different values: that is the most allowed; narrow the filter, or ask for one that need not be exact",
                    counts.bytes_max
                );
                return Err(Error::invalid(context));
            }
        }
        Ok(counts.into_most(limit))
    }

    /// The index of the values at `path`, built or not.
    pub(crate) fn field(&self, path: &Path) -> Option<&Arc<PayloadField>> {
        self.fields.list.iter().find(|field| field.path == *path)
    }
}

/// Points by value.
struct Counts {
    exact: bool,
    bytes_max: usize,
    booleans: [u64; 2],
    integers: HashMap<i64, u64>,
    texts: HashMap<Box<str>, u64>,
    bytes: usize,
    /// More values than fit were met, and none may be given up.
    is_full: bool,
}

impl Counts {
    fn new(bytes_max: usize) -> Self {
        let (integers, texts) = (HashMap::new(), HashMap::new());
        Counts { exact: true, bytes_max, booleans: [0; 2], integers, texts, bytes: 0, is_full: false }
    }

    fn add(&mut self, value: KeyRef<'_>, more: u64) -> ControlFlow<()> {
        match value {
            KeyRef::Bool(value) => self.booleans[usize::from(value)] += more,
            KeyRef::I64(value) => match self.integers.get_mut(&value) {
                Some(count) => *count += more,
                None => {
                    self.integers.insert(value, more);
                    self.bytes += VALUE_BYTES;
                }
            },
            KeyRef::String(text) => self.add_text(text, more),
            KeyRef::Uuid(bytes) => self.add_text(uuid_text(bytes, &mut Uuid::encode_buffer()), more),
            // No index of these is asked.
            KeyRef::F64(_) | KeyRef::Datetime(_) => {}
        }
        match self.bytes > self.bytes_max {
            true => self.overflow(),
            false => ControlFlow::Continue(()),
        }
    }

    fn add_text(&mut self, text: &str, more: u64) {
        match self.texts.get_mut(text) {
            Some(count) => *count += more,
            None => {
                self.texts.insert(text.into(), more);
                self.bytes += VALUE_BYTES + text.len();
            }
        }
    }

    fn overflow(&mut self) -> ControlFlow<()> {
        if self.exact {
            self.is_full = true;
            return ControlFlow::Break(());
        }
        // Down to a half, so that it does not come to this at every new value.
        let mut counts: Vec<u64> = self.integers.values().chain(self.texts.values()).copied().collect();
        while self.bytes > self.bytes_max / 2 && !counts.is_empty() {
            let middle = counts.len() / 2;
            let (_, &mut floor, _) = counts.select_nth_unstable(middle);
            counts.retain(|&count| count > floor);
            self.integers.retain(|_, count| *count > floor);
            self.texts.retain(|_, count| *count > floor);
            let texts: usize = self.texts.keys().map(|text| text.len()).sum();
            self.bytes = texts + VALUE_BYTES * (self.integers.len() + self.texts.len());
        }
        ControlFlow::Continue(())
    }

    fn into_most(self, limit: usize) -> Vec<FacetHit> {
        let booleans = [false, true].map(Key::Bool).into_iter().zip(self.booleans);
        let integers = self.integers.into_iter().map(|(value, count)| (Key::I64(value), count));
        let texts = self.texts.into_iter().map(|(text, count)| (Key::String(text), count));
        let all = booleans.chain(integers).chain(texts);
        let mut hits: Vec<FacetHit> =
            all.filter(|(_, count)| *count > 0).map(|(value, count)| FacetHit { value, count }).collect();
        let order = |a: &FacetHit, b: &FacetHit| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value));
        if limit < hits.len() {
            hits.select_nth_unstable_by(limit, order);
            hits.truncate(limit);
        }
        hits.sort_unstable_by(order);
        hits
    }
}

/// The canonical text of a UUID, which is what an index of UUIDs holds.
pub(crate) fn uuid_text(bytes: [u8; 16], buffer: &mut [u8]) -> &str {
    Uuid::from_bytes(bytes).hyphenated().encode_lower(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(at: u64) -> String {
        format!("value {at:04}")
    }

    /// One value in ten comes often; all of them do not fit.
    fn count_many(counts: &mut Counts) {
        for round in 0..20 {
            for at in 0..1_000 {
                if at % 10 == 0 || at % 20 == round {
                    let _ = counts.add(KeyRef::String(&text(at)), 1);
                    let _ = counts.add(KeyRef::I64(-(at as i64)), 1);
                }
            }
        }
    }

    #[test]
    fn exact_counts_stop_at_the_limit() {
        let mut counts = Counts::new(40_000);
        count_many(&mut counts);
        assert!(counts.is_full);
    }

    #[test]
    fn other_counts_keep_the_common_values() {
        let mut counts = Counts { exact: false, ..Counts::new(40_000) };
        count_many(&mut counts);
        assert!(!counts.is_full && counts.bytes <= 40_000);
        let most = counts.into_most(200);
        let common = |hit: &FacetHit| match &hit.value {
            Key::I64(value) => value % 10 == 0,
            Key::String(text) => text.ends_with('0'),
            Key::Bool(_) => false,
        };
        assert!(most.len() == 200 && most.iter().all(|hit| common(hit) && hit.count <= 20));
        assert!(most.iter().all(|hit| hit.count >= 10));
    }

    #[test]
    fn values_of_all_kinds_in_their_order() {
        let mut counts = Counts::new(FACET_BYTES_MAX);
        let uuid = Uuid::from_u128(7);
        for value in [KeyRef::Bool(true), KeyRef::I64(3), KeyRef::String("b"), KeyRef::Bool(true)] {
            assert!(counts.add(value, 1).is_continue());
        }
        assert!(counts.add(KeyRef::Uuid(*uuid.as_bytes()), 1).is_continue());
        assert!(counts.add(KeyRef::String(&uuid.to_string()), 1).is_continue());
        let found: Vec<(Key, u64)> =
            counts.into_most(3).into_iter().map(|hit| (hit.value, hit.count)).collect();
        let uuid = Key::String(uuid.to_string().into());
        assert_eq!(found, [(true.into(), 2), (uuid, 2), (Key::I64(3), 1)]);
    }
}
