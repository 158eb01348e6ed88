//! Writes to every point that passes a filter.
//!
//! Which points pass is found out at one Seq, without a lock. They are changed in batches of at most [`BATCH_POINTS`], each of which is one
//! operation of the log: all of it or nothing. Before a batch is written, under the writer's lock, each of its points is asked again with what it is
//! then. So with somebody else writing at the same time:
//!
//! - a point that no longer passes when its batch is written is left as it is;
//! - a point that passes only since the call began may be left as it is;
//! - readers see some batches done and others not;
//! - where a batch fails, those before it stay done, and the error says how many points they changed. The call can be repeated.
//!
//! It refuses to hold ids of more than one segment and payloads of more than one batch.

use std::collections::HashSet;

use nearfield_payload::filter::Filter;
use nearfield_segment::{RowTest, Segment};
use nearfield_types::limits::{BATCH_POINTS_MAX, ID_BYTES_MAX};
use nearfield_types::{Object, PointId, Seq, Slot};
use nearfield_wal::Class;

use crate::collection::Collection;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Operation, Row};
use crate::prepare;
use crate::version::Version;
use crate::view::{damage, read_payload, search_error};

/// Points looked at under the writer's lock in one go: some milliseconds.
const BATCH_POINTS: usize = 4_096;
/// A batch ends once its payloads have so many bytes.
const BATCH_BYTES: usize = 16 << 20;

const _: () = assert!(BATCH_POINTS <= BATCH_POINTS_MAX && BATCH_POINTS * ID_BYTES_MAX <= BATCH_BYTES);

/// What becomes of each point.
enum Change<'a> {
    Delete,
    Replace(Row),
    Merge(&'a Object),
    Drop(&'a HashSet<&'a str>),
}

impl Collection {
    /// Deletes the points that pass `filter`; returns how many. A sequence of atomic batches: a point is deleted only if it still passes when its
    /// batch is written, and one that comes to pass meanwhile may stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the filter is beyond a limit, else as [`Collection::delete`]; batches before the error stay done.
    pub fn delete_passing(&self, filter: &Filter) -> Result<u64> {
        self.write_passing(filter, Class::Reducing, &Change::Delete)
    }

    /// Replaces the payload of the points that pass `filter`; returns how many. In batches, as [`Collection::delete_passing`].
    ///
    /// # Errors
    ///
    /// As [`Collection::delete_passing`], and [`ErrorKind::Invalid`] for a payload past the limits.
    pub fn replace_payload_passing(&self, filter: &Filter, payload: Object) -> Result<u64> {
        self.write_passing(filter, Class::Ordinary, &Change::Replace(prepare::payload(payload)?))
    }

    /// Sets the keys of `changes`, at the top level, in the payload of the points that pass `filter`; returns how many. In batches, as
    /// [`Collection::delete_passing`].
    ///
    /// # Errors
    ///
    /// As [`Collection::replace_payload_passing`].
    pub fn merge_payload_passing(&self, filter: &Filter, changes: Object) -> Result<u64> {
        changes.check().map_err(|e| Error::caused(ErrorKind::Invalid, "payload is refused", e))?;
        self.write_passing(filter, Class::Ordinary, &Change::Merge(&changes))
    }

    /// Removes `keys`, of the top level, from the payload of the points that pass `filter`; returns how many points pass. In batches, as
    /// [`Collection::delete_passing`].
    ///
    /// # Errors
    ///
    /// As [`Collection::delete_passing`].
    pub fn delete_payload_keys_passing(&self, filter: &Filter, keys: &[&str]) -> Result<u64> {
        self.write_passing(filter, Class::Ordinary, &Change::Drop(&keys.iter().copied().collect()))
    }

    /// Removes `keys`, of the top level, from the payload of points; returns how many points there were. One operation.
    ///
    /// # Errors
    ///
    /// As [`Collection::merge_payload`].
    pub fn delete_payload_keys(&self, ids: &[PointId], keys: &[&str]) -> Result<u64> {
        prepare::ids(ids)?;
        let keys: HashSet<&str> = keys.iter().copied().collect();
        let change = Change::Drop(&keys);
        self.write(Class::Ordinary, |version| {
            let mut batch = Batch::new(&change);
            let mut known = HashSet::with_capacity(ids.len());
            for id in ids.iter().filter(|id| known.insert(*id)) {
                if let Some((segment, slot)) = version.find(id, Seq::MAX) {
                    batch.add(segment, slot, id.clone())?;
                    prepare::bytes(batch.bytes)?;
                }
            }
            let count = batch.count;
            Ok((batch.into_operation(), count))
        })
    }

    fn write_passing(&self, filter: &Filter, class: Class, change: &Change<'_>) -> Result<u64> {
        self.check_writable()?;
        let view = self.view();
        let names = view.vector_names();
        let filtering = view.filtering(filter, &names)?;
        let test = RowTest::new(filter, &names, &view.fields.list);
        let test = test.map_err(|e| Error::invalid(format!("filter: {e}")))?;
        let mut changed = 0;
        for member in view.version.members() {
            let segment = &member.segment;
            let located = |error| view.located(segment, error);
            let passing = segment.passing(&filtering, view.seen).map_err(|e| located(search_error(e)))?;
            let mut rest = &passing[..];
            while !rest.is_empty() {
                let written = self.write(class, |version| {
                    let mut batch = Batch::new(change);
                    let taken = batch.fill(version, &test, segment, rest)?;
                    let count = batch.count;
                    Ok((batch.into_operation(), (taken, count)))
                });
                let (taken, count) = written.map_err(|e| partly(e, changed))?;
                rest = &rest[taken..];
                changed += count;
            }
        }
        Ok(changed)
    }
}

/// An error that says what was done before.
fn partly(error: Error, changed: u64) -> Error {
    match changed {
        0 => error,
        _ => error.within(format_args!("after {changed} points were changed")),
    }
}

/// One operation as it is put together.
struct Batch<'a> {
    change: &'a Change<'a>,
    /// Points that all get the same, or are deleted.
    ids: Vec<PointId>,
    /// Points with a payload each.
    rows: Vec<(Row, Vec<PointId>)>,
    bytes: usize,
    count: u64,
}

impl<'a> Batch<'a> {
    fn new(change: &'a Change<'a>) -> Self {
        Batch { change, ids: Vec::new(), rows: Vec::new(), bytes: 0, count: 0 }
    }

    /// Takes points from the front of `slots`, rows of `from`, and adds those that pass `test` as they are now; returns how many it took.
    fn fill(&mut self, now: &Version, test: &RowTest<'_>, from: &Segment, slots: &[Slot]) -> Result<usize> {
        let mut taken = 0;
        for &slot in slots.iter().take(BATCH_POINTS) {
            if self.bytes >= BATCH_BYTES {
                break;
            }
            taken += 1;
            let id = from.id(slot);
            let Some((segment, slot)) = now.find(&id, Seq::MAX) else { continue };
            if test.passes(segment, slot, Seq::MAX).map_err(damage)? {
                self.add(segment, slot, id)?;
            }
        }
        Ok(taken)
    }

    fn add(&mut self, segment: &Segment, slot: Slot, id: PointId) -> Result<()> {
        self.count += 1;
        let payload = match self.change {
            Change::Delete | Change::Replace(_) => {
                self.ids.push(id);
                return Ok(());
            }
            Change::Merge(changes) => {
                let mut payload = read_payload(segment, slot, Seq::MAX)?;
                payload.merge(changes);
                payload
            }
            Change::Drop(keys) => {
                let payload = read_payload(segment, slot, Seq::MAX)?;
                let before = payload.len();
                let payload: Object = payload.into_iter().filter(|(key, _)| !keys.contains(&**key)).collect();
                if payload.len() == before {
                    return Ok(());
                }
                payload
            }
        };
        let row = prepare::payload(payload)?;
        self.bytes += row.len();
        self.rows.push((row, vec![id]));
        Ok(())
    }

    fn into_operation(self) -> Operation {
        match self.change {
            Change::Delete => Operation::Delete(self.ids),
            Change::Replace(row) => Operation::Patch(vec![(Row::clone(row), self.ids)]),
            Change::Merge(_) | Change::Drop(_) => Operation::Patch(self.rows),
        }
    }
}
