//! The writing half of a collection: resolve, log, apply, acknowledge.
//!
//! A refused request changed nothing; what was logged is applied at once, by the same code that replays it.

use std::sync::atomic::Ordering;

use nearfield_segment::NewPoint;
use nearfield_types::{Object, PointId, Seq};
use nearfield_wal::{Class, Kind, LogWriter};

use crate::collection::{Collection, Durability, Writer, closed};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Operation, Row, Stored};
use crate::point::Point;
use crate::prepare;
use crate::version::Version;
use crate::view::read_payload;

impl Collection {
    /// Stores points; those of the same ids are replaced, vectors and payload. One operation: all or nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a point that does not fit, [`ErrorKind::Full`] without room, [`ErrorKind::Unavailable`] if the
    /// outcome is unknown.
    pub fn upsert(&self, points: Vec<Point>) -> Result<Seq> {
        let stored = prepare::points(&self.config(), points)?;
        self.write_points(Operation::Upsert(stored), |_| Ok(()))
    }

    /// Stores points whose ids are not there yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if one is, else as [`Collection::upsert`].
    pub fn insert(&self, points: Vec<Point>) -> Result<Seq> {
        let given = points.len();
        let stored = prepare::points(&self.config(), points)?;
        if stored.len() < given {
            return Err(Error::invalid("an id occurs more than once among the points to insert"));
        }
        let ids: Vec<PointId> = stored.iter().map(|point| point.id.clone()).collect();
        self.write_points(Operation::Upsert(stored), |version| {
            match ids.iter().find(|id| version.find(id, Seq::MAX).is_some()) {
                Some(id) => Err(Error::new(ErrorKind::Exists, format!("point {id:?} exists already"))),
                None => Ok(()),
            }
        })
    }

    /// Deletes points; returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`]. Deleting goes on where the disk is too full for other writes, as long as it can be logged.
    pub fn delete(&self, ids: &[PointId]) -> Result<u64> {
        prepare::ids(ids)?;
        self.write(Class::Reducing, |version| {
            let found = existing(version, ids);
            let count = found.len() as u64;
            Ok((Operation::Delete(found), count))
        })
    }

    /// Replaces the payload of points; returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`].
    pub fn replace_payload(&self, ids: &[PointId], payload: Object) -> Result<u64> {
        prepare::ids(ids)?;
        let row = prepare::payload(payload)?;
        self.write(Class::Ordinary, |version| {
            let found = existing(version, ids);
            let count = found.len() as u64;
            Ok((Operation::Patch(vec![(row, found)]), count))
        })
    }

    /// Sets the keys of `changes` in the payload of points, at the top level; returns how many points there were.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`]; [`ErrorKind::Invalid`] if a merged payload passes the limits.
    pub fn merge_payload(&self, ids: &[PointId], changes: Object) -> Result<u64> {
        prepare::ids(ids)?;
        changes.check().map_err(|e| Error::caused(ErrorKind::Invalid, "payload is refused", e))?;
        self.write(Class::Ordinary, |version| {
            let found = existing(version, ids);
            let count = found.len() as u64;
            Ok((Operation::Patch(merged_rows(version, found, &changes)?), count))
        })
    }

    /// Logs, applies and acknowledges points, if `check` accepts them. What made it refuse is made durable before it is told.
    fn write_points(&self, operation: Operation, check: impl FnOnce(&Version) -> Result<()>) -> Result<Seq> {
        prepare::size(&operation)?;
        // The bulk of the work needs no lock: it only turns values into bytes.
        let bytes = operation.encode();
        let rows = operation.rows();
        self.make_room()?;
        let (seq, checked) = {
            let mut writer = self.writer.lock();
            self.check_writable()?;
            match check(&self.current.load()) {
                Ok(()) if !operation.is_empty() => {
                    (self.log_and_apply(&mut writer, Class::Ordinary, &bytes, &operation)?, Ok(()))
                }
                checked => (self.applied(), checked),
            }
        };
        self.account();
        self.acknowledge(seq)?;
        // The write is done: what keeps its rows from being linked shows in searches and is tried again.
        let _ = self.pace(rows);
        checked.map(|()| seq)
    }

    /// Resolves an operation against the applied state, logs, applies and acknowledges it. It adds no rows, so it needs no room in
    /// memory. One that changes nothing is not logged, but answered no sooner than what it was resolved against is as durable as
    /// it must be: "deleted already" must not come back either.
    pub(crate) fn write<R>(
        &self,
        class: Class,
        resolve: impl FnOnce(&Version) -> Result<(Operation, R)>,
    ) -> Result<R> {
        let (seq, result) = {
            let mut writer = self.writer.lock();
            self.check_writable()?;
            let (operation, result) = resolve(&self.current.load())?;
            prepare::size(&operation)?;
            let seq = match operation.is_empty() {
                true => self.applied(),
                false => self.log_and_apply(&mut writer, class, &operation.encode(), &operation)?,
            };
            (seq, result)
        };
        self.acknowledge(seq)?;
        Ok(result)
    }

    fn log_and_apply(
        &self,
        writer: &mut Writer,
        class: Class,
        bytes: &[u8],
        operation: &Operation,
    ) -> Result<Seq> {
        let log = writer.log.as_mut().ok_or_else(closed)?;
        let seq = log.append(Kind::Batch, class, &[bytes]).map_err(|e| self.log_error(e))?;
        self.logged_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // A panic in between leaves the operation half applied: nobody may write on, and so reveal it.
        let whole = PoisonUnlessWhole(self);
        let applied = self.apply(seq, operation);
        if applied.is_ok() {
            std::mem::forget(whole);
        }
        applied?;
        self.dirty.mark(self.options.clock.now_ms());
        if self.options.durability == Durability::Process {
            self.reveal(seq);
        }
        Ok(seq)
    }

    /// Changes memory as the operation says. Called with the writer's lock, or by recovery before anybody else can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] for rows that do not fit: validation has let something through.
    pub(crate) fn apply(&self, seq: Seq, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Upsert(points) => {
                let version = self.version_with_room(points.len());
                for point in points {
                    kill(&version, &point.id, seq);
                }
                let rows: Vec<NewPoint<'_>> = points.iter().map(Stored::as_new).collect();
                let pushed = version.head().push(seq, &rows);
                pushed
                    .map_err(|e| Error::caused(ErrorKind::Internal, "a row does not fit its segment", e))?;
            }
            Operation::Delete(ids) => {
                let version = self.current.load();
                ids.iter().for_each(|id| kill(&version, id, seq));
            }
            Operation::Patch(groups) => {
                let version = self.current.load();
                for (row, ids) in groups {
                    for id in ids {
                        if let Some((segment, slot)) = version.find(id, Seq::MAX) {
                            segment.patch(slot, seq, Row::clone(row));
                        }
                    }
                }
            }
            Operation::CreateField(path, config) => self.apply_create_field(seq, path, config)?,
            Operation::DropField(path) => self.apply_drop_field(seq, path),
        }
        self.set_applied(seq);
        Ok(())
    }
}

/// Poisons the collection when dropped, by an error or a panic.
struct PoisonUnlessWhole<'a>(&'a Collection);

impl Drop for PoisonUnlessWhole<'_> {
    fn drop(&mut self) {
        self.0.poison(&"an operation could not be applied whole");
    }
}

impl Operation {
    /// Rows that it appends.
    fn rows(&self) -> usize {
        match self {
            Operation::Upsert(points) => points.len(),
            Operation::Delete(_)
            | Operation::Patch(_)
            | Operation::CreateField(..)
            | Operation::DropField(_) => 0,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Operation::Upsert(points) => points.is_empty(),
            Operation::Delete(ids) => ids.is_empty(),
            Operation::Patch(groups) => groups.iter().all(|(_, ids)| ids.is_empty()),
            Operation::CreateField(..) | Operation::DropField(_) => false,
        }
    }
}

/// Those of `ids` that there are, each once.
fn existing(version: &Version, ids: &[PointId]) -> Vec<PointId> {
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    let there = ids.iter().filter(|id| seen.insert(*id) && version.find(id, Seq::MAX).is_some());
    there.cloned().collect()
}

fn kill(version: &Version, id: &PointId, at: Seq) {
    if let Some((segment, slot)) = version.find(id, Seq::MAX) {
        segment.kill(slot, at);
    }
}

fn merged_rows(version: &Version, ids: Vec<PointId>, changes: &Object) -> Result<Vec<(Row, Vec<PointId>)>> {
    let mut rows = Vec::with_capacity(ids.len());
    let mut bytes = 0;
    for id in ids {
        let found = version.find(&id, Seq::MAX);
        let (segment, slot) = found.ok_or(Error::new(ErrorKind::Internal, "a point just found is gone"))?;
        let mut payload = read_payload(segment, slot, Seq::MAX)?;
        payload.merge(changes);
        let row = prepare::payload(payload)?;
        bytes += row.len();
        prepare::bytes(bytes)?;
        rows.push((row, vec![id]));
    }
    Ok(rows)
}
