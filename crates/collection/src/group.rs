//! Groups: the nearest points by the values of a field, the group of the nearest point first.
//!
//! It refuses to search by itself: every round is an ordinary search of the same view, so groups hold what searches find.
//!
//! ```text
//! best    search; the values of what is found are groups, until there are enough. While there are not, search on among points with other
//!         values than those known
//! fill    search among the points of the groups that lack points, for more each time: every round fills one, or there are no more
//! ```

use std::collections::HashMap;

use nearfield_payload::Path;
use nearfield_payload::filter::{Condition, Key, Test};
use nearfield_payload::index::KeyRef;
use nearfield_types::limits::LIMIT_MAX;
use nearfield_types::{PointId, Score, Uuid};

use crate::error::{Error, Result};
use crate::facet::uuid_text;
use crate::point::{Hit, Query, With};
use crate::view::{View, check_limit, search_error};

/// So many searches look for groups.
const ROUNDS_MAX: usize = 32;
/// The first search asks for so many points for each that is wanted.
const SPARE: usize = 2;
/// Points that a search asks for at least: fewer cost as much.
const ROUND_POINTS_MIN: usize = 32;

/// The nearest points that have one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The value.
    pub value: Key,
    /// Its nearest points, nearest first, ties by id.
    pub hits: Vec<Hit>,
}

/// A group that is being found.
struct Open {
    value: Key,
    hits: Vec<(PointId, Score)>,
}

impl View {
    /// The nearest points by the texts and integers (below 2^63) at `group_by`: at most [`Query::limit`] groups, in the order of their nearest points, of at
    /// most `group_size` points each. A point with several values is in several groups, one without any in none. An index of the values makes
    /// it fast and changes nothing else.
    ///
    /// Groups are looked for in 32 searches at most, each of which passes over the groups known by then; as many more as there are groups may be needed to
    /// fill them. Fewer are found than there are only where a search of 10,000 points meets no value that names a new one.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if groups and points together are past the limit of results, or the values found are longer together than those of a
    /// filter may be; else as [`View::search`].
    pub fn search_groups(&self, query: &Query<'_>, group_by: &Path, group_size: usize) -> Result<Vec<Group>> {
        check_limit(query.limit)?;
        if group_size == 0 {
            return Err(Error::invalid("group_size is 0: at least 1 is needed"));
        }
        let wanted = query.limit.saturating_mul(group_size);
        if wanted > LIMIT_MAX {
            let context = format!(
                "limit {} times group_size {group_size} is {wanted} points: at most {LIMIT_MAX} are allowed",
                query.limit
            );
            return Err(Error::invalid(context));
        }
        let search = GroupSearch { view: self, query, path: group_by, size: group_size };
        let mut groups = search.best()?;
        search.fill(&mut groups)?;
        groups.into_iter().map(|open| search.closed(open)).collect()
    }
}

/// What all rounds have in common.
struct GroupSearch<'a> {
    view: &'a View,
    query: &'a Query<'a>,
    path: &'a Path,
    size: usize,
}

impl GroupSearch<'_> {
    /// The best groups, with some of their points.
    fn best(&self) -> Result<Vec<Open>> {
        let mut groups: Vec<Open> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        let mut limit = round_points(self.query.limit * self.size);
        for _ in 0..ROUNDS_MAX {
            if groups.len() >= self.query.limit {
                break;
            }
            // What was found before is passed over unless it has another value too: such points are no news of the groups known.
            let before = groups.len();
            let known = groups.iter().map(|open| open.value.clone()).collect();
            let hits = self.round(limit, Test::Except(known))?;
            for hit in &hits {
                for value in self.values_of(&hit.id)? {
                    match places.get(&value) {
                        Some(&place) if place >= before => self.put(&mut groups[place], hit),
                        Some(_) => {}
                        None if groups.len() < self.query.limit => {
                            places.insert(value.clone(), groups.len());
                            groups.push(Open { value, hits: vec![(hit.id.clone(), hit.distance)] });
                        }
                        None => {}
                    }
                }
            }
            if hits.len() < limit || limit == LIMIT_MAX && groups.len() == before {
                break;
            }
            limit = round_points(limit);
        }
        Ok(groups)
    }

    /// Adds what groups lack, as far as there is more.
    fn fill(&self, groups: &mut [Open]) -> Result<()> {
        let mut limit = 0;
        // A round of as many points as all open groups hold fills one of them, or meets all there are.
        for _ in 0..groups.len() + ROUNDS_MAX {
            let lacking = groups.iter().enumerate().filter(|(_, open)| open.hits.len() < self.size);
            let lacking: HashMap<Key, usize> =
                lacking.map(|(place, open)| (open.value.clone(), place)).collect();
            if lacking.is_empty() {
                break;
            }
            limit = round_points(limit.max(lacking.len() * self.size));
            let hits = self.round(limit, Test::Any(lacking.keys().cloned().collect()))?;
            for hit in &hits {
                for place in self.values_of(&hit.id)?.iter().filter_map(|value| lacking.get(value)) {
                    self.put(&mut groups[*place], hit);
                }
            }
            if hits.len() < limit {
                break;
            }
        }
        Ok(())
    }

    /// The nearest points with a value that passes `test`, ids and distances only.
    fn round(&self, limit: usize, test: Test) -> Result<Vec<Hit>> {
        let filter = self.query.filter.cloned().unwrap_or_default();
        let filter = filter.must([Condition::field(self.path.clone(), test)]);
        self.view.search(&Query { limit, with: With::NOTHING, filter: Some(&filter), ..*self.query })
    }

    /// Adds a point to a group that has room, once.
    fn put(&self, open: &mut Open, hit: &Hit) {
        if open.hits.iter().any(|(id, _)| *id == hit.id) {
            return;
        }
        let after = |(id, distance): &(PointId, Score)| {
            distance.total_cmp(&hit.distance).then_with(|| id.cmp(&hit.id)).is_lt()
        };
        let at = open.hits.partition_point(after);
        open.hits.insert(at, (hit.id.clone(), hit.distance));
        open.hits.truncate(self.size);
    }

    /// The groups of a point, in the order of their values.
    fn values_of(&self, id: &PointId) -> Result<Vec<Key>> {
        let View { version, seen, .. } = self.view;
        let Some((segment, slot)) = version.find(id, *seen) else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        let read = segment.values_of(slot, self.path, *seen, &mut |value| values.extend(key_of(value)));
        read.map_err(|e| self.view.located(segment, search_error(e)))?;
        Ok(values)
    }

    /// The group with what is wanted of its points.
    fn closed(&self, open: Open) -> Result<Group> {
        let hit = |(id, distance): (PointId, Score)| {
            let record = self.view.record(&id, self.query.with)?;
            let (payload, vectors) = record.map_or((None, None), |record| (record.payload, record.vectors));
            Ok(Hit { id, distance, payload, vectors })
        };
        Ok(Group { value: open.value, hits: open.hits.into_iter().map(hit).collect::<Result<_>>()? })
    }
}

fn round_points(points: usize) -> usize {
    points.saturating_mul(SPARE).clamp(ROUND_POINTS_MIN, LIMIT_MAX)
}

/// The value as one that names a group.
fn key_of(value: KeyRef<'_>) -> Option<Key> {
    match value {
        KeyRef::I64(value) => Some(Key::I64(value)),
        KeyRef::String(text) => Some(Key::String(text.into())),
        KeyRef::Uuid(bytes) => Some(Key::String(uuid_text(bytes, &mut Uuid::encode_buffer()).into())),
        KeyRef::Bool(_) | KeyRef::F64(_) | KeyRef::Datetime(_) => None,
    }
}
