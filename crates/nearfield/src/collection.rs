//! A handle to one collection of a database.

use std::sync::Arc;

use nearfield_collection::{
    Collection as Shard, CollectionConfig, CountEstimate, Error, ErrorKind, Explanation, FacetHit,
    FieldConfig, FieldIndexInfo, Group, Hit, IndexConfig, OptimizerConfig, OrderBy, OrderedRecord, Point,
    Query, Record, Result, Stats, Status, View, With,
};
use nearfield_payload::Path;
use nearfield_types::{Object, PointId, Seq};

use crate::filter::Filter;
use crate::shared::Shared;
use crate::slots::Slot;

/// A collection. A clone is another handle; all methods may be called from several threads.
///
/// Every reading method looks at one moment. To ask several questions of the same moment, take a [`Collection::view`].
#[derive(Clone, Debug)]
pub struct Collection {
    shard: Arc<Shard>,
    name: String,
    slot: Arc<Slot>,
    /// Keeps the database open.
    shared: Arc<Shared>,
}

impl Collection {
    pub(crate) fn new(shared: Arc<Shared>, name: String, slot: Arc<Slot>, shard: Arc<Shard>) -> Self {
        Collection { shard, name, slot, shared }
    }

    pub(crate) fn uuid(&self) -> [u8; 16] {
        self.slot.uuid
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Damage is told with the collection it is in; other errors are about the request.
    fn named(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Corrupt => error.within(format_args!("collection {:?}", self.name)),
            _ => error,
        }
    }

    /// Has what was written synced, sealed, linked and taken into payload indexes, each when it is due. Also after a failure, which may
    /// have written a part.
    fn written<T>(&self, written: Result<T>) -> Result<T> {
        self.shared.background().written(&self.slot, &self.shard);
        written
    }

    /// Has everybody in the background look at the collection.
    fn changed<T>(&self, changed: Result<T>) -> Result<T> {
        self.shared.background().mark(&self.slot);
        changed
    }

    /// The name of the collection, also if it was asked for by an alias.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the collection is made of, as it is now: index settings may change.
    pub fn config(&self) -> Arc<CollectionConfig> {
        self.shard.config()
    }

    /// Stores points; those of the same ids are replaced, vectors and payload. All or nothing; of points with one id the last
    /// stands. Returns the Seq of the operation.
    ///
    /// # Errors
    ///
    /// `Invalid` for a point that does not fit (nothing was changed), `Full` without room, `Unavailable` if the outcome is unknown.
    pub fn upsert(&self, points: Vec<Point>) -> Result<Seq> {
        self.written(self.shard.upsert(points))
    }

    /// Stores points whose ids are not there yet. All or nothing.
    ///
    /// # Errors
    ///
    /// `Exists` if one is there, else as [`Collection::upsert`].
    pub fn insert(&self, points: Vec<Point>) -> Result<Seq> {
        self.written(self.shard.insert(points))
    }

    /// Deletes points; returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`].
    pub fn delete(&self, ids: &[PointId]) -> Result<u64> {
        self.written(self.shard.delete(ids))
    }

    /// Replaces the payload of points; returns how many there were. Vectors stay.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`].
    pub fn replace_payload(&self, ids: &[PointId], payload: Object) -> Result<u64> {
        self.written(self.shard.replace_payload(ids, payload))
    }

    /// Sets the top-level keys of `changes` in the payload of points; returns how many points there were. Other keys and
    /// vectors stay.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`].
    pub fn merge_payload(&self, ids: &[PointId], changes: Object) -> Result<u64> {
        self.written(self.shard.merge_payload(ids, changes))
    }

    /// Removes `keys`, of the top level, from the payload of points; returns how many points there were. Other keys and vectors stay.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`].
    pub fn delete_payload_keys(&self, ids: &[PointId], keys: &[&str]) -> Result<u64> {
        self.written(self.shard.delete_payload_keys(ids, keys))
    }

    /// Deletes the points that pass `filter`; returns how many.
    ///
    /// This and the other writes by filter are sequences of atomic batches of up to 4,096 points. Which points pass is found out at one Seq;
    /// each is asked again when its batch is written. With another writer at the same time, a point that no longer passes by then is
    /// left as it is, one that comes to pass meanwhile may be left as it is, and readers see some batches done and others not. If a batch
    /// fails, those before it stay done and the error says how many points they changed; the call can be repeated.
    ///
    /// ```
    /// use nearfield::filter::{Condition, Filter, Path, Test};
    /// use nearfield::{CollectionConfig, Database, Metric, Object, Point};
    ///
    /// let db = Database::in_memory()?;
    /// let words = db.create_collection("words", CollectionConfig::new(1, Metric::Dot))?;
    /// let pos = |pos: &str| Object::from_entries([("pos".to_owned(), pos.into())]);
    /// let points = [(1, "noun"), (2, "verb"), (3, "noun")];
    /// words.upsert(points.map(|(id, of)| Point::new(id, vec![1.0]).payload(pos(of))).into())?;
    /// assert_eq!(words.facet("pos", None, 1, true)?[0].count, 2);
    /// let nouns = Filter::all([Condition::field(Path::key("pos"), Test::value("noun"))]);
    /// assert_eq!(words.delete_passing(&nouns)?, 2);
    /// assert_eq!(words.count()?, 1);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` if the filter is beyond a limit, else as [`Collection::upsert`].
    pub fn delete_passing(&self, filter: &Filter) -> Result<u64> {
        self.written(self.shard.delete_passing(filter)).map_err(|e| self.named(e))
    }

    /// Replaces the payload of the points that pass `filter`; returns how many. In batches, as [`Collection::delete_passing`]. An empty payload
    /// clears it.
    ///
    /// # Errors
    ///
    /// As [`Collection::delete_passing`], and `Invalid` for a payload past the limits.
    pub fn replace_payload_passing(&self, filter: &Filter, payload: Object) -> Result<u64> {
        self.written(self.shard.replace_payload_passing(filter, payload)).map_err(|e| self.named(e))
    }

    /// Sets the top-level keys of `changes` in the payload of the points that pass `filter`; returns how many. In batches, as
    /// [`Collection::delete_passing`].
    ///
    /// # Errors
    ///
    /// As [`Collection::replace_payload_passing`].
    pub fn merge_payload_passing(&self, filter: &Filter, changes: Object) -> Result<u64> {
        self.written(self.shard.merge_payload_passing(filter, changes)).map_err(|e| self.named(e))
    }

    /// Removes `keys`, of the top level, from the payload of the points that pass `filter`; returns how many points pass. In batches, as
    /// [`Collection::delete_passing`].
    ///
    /// # Errors
    ///
    /// As [`Collection::delete_passing`].
    pub fn delete_payload_keys_passing(&self, filter: &Filter, keys: &[&str]) -> Result<u64> {
        self.written(self.shard.delete_payload_keys_passing(filter, keys)).map_err(|e| self.named(e))
    }

    /// Has an index of the values at `path` made, in the background; true if there was none. Filters use it as far as it is, and never need it.
    /// An index of the same settings again is no error.
    ///
    /// ```
    /// use nearfield::{CollectionConfig, Database, FieldKind, Metric};
    ///
    /// let db = Database::in_memory()?;
    /// let books = db.create_collection("books", CollectionConfig::new(2, Metric::Cosine))?;
    /// assert!(books.create_field_index("author.name", &FieldKind::Keyword.config())?);
    /// assert!(!books.create_field_index("author.name", &FieldKind::Keyword.config())?);
    /// books.wait_indexed()?;
    /// assert!(books.field_indexes()?[0].is_ready());
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Exists` if there is one of another kind or with other options: drop it first. `Invalid` for what is no path and past the limits,
    /// else as [`Collection::upsert`].
    pub fn create_field_index(&self, path: &str, config: &FieldConfig) -> Result<bool> {
        self.changed(self.shard.create_field_index(&parse_path(path)?, config))
    }

    /// Has the indexes made that would answer `filter` ([`filter::suggested_indexes`](crate::filter::suggested_indexes)), in the background; returns
    /// how many were not there. A field that has an index of any kind keeps it; what cannot be had for the limit of indexes is left out.
    /// O(conditions * indexes) where all are there.
    ///
    /// # Errors
    ///
    /// As [`Collection::upsert`].
    pub fn create_suggested_indexes(&self, filter: &Filter) -> Result<usize> {
        let mut created = 0;
        for (path, kind) in crate::filter::suggested_indexes(filter) {
            if self.shard.has_field_index(&path) {
                continue;
            }
            match self.changed(self.shard.create_field_index(&path, &kind.config())) {
                Ok(is_new) => created += usize::from(is_new),
                // Another one was faster.
                Err(error) if error.kind() == ErrorKind::Exists => {}
                // There are as many as there may be.
                Err(error) if error.kind() == ErrorKind::Invalid => break,
                Err(error) => return Err(error),
            }
        }
        Ok(created)
    }

    /// Whether there is an index of the values at `path`, finished or not.
    pub fn has_field_index(&self, path: &Path) -> bool {
        self.shard.has_field_index(path)
    }

    /// Drops the index of the values at `path`; true if there was one. Filters answer the same without it. Its files go in the background.
    ///
    /// # Errors
    ///
    /// `Invalid` for what is no path, else as [`Collection::upsert`].
    pub fn drop_field_index(&self, path: &str) -> Result<bool> {
        self.changed(self.shard.drop_field_index(&parse_path(path)?))
    }

    /// The payload indexes, in the order in which they were made, how far each is, and what it takes.
    ///
    /// # Errors
    ///
    /// `NotFound` once the collection is closed or deleted.
    pub fn field_indexes(&self) -> Result<Vec<FieldIndexInfo>> {
        self.shard.check_open()?;
        Ok(self.shard.field_indexes())
    }

    /// The points of these ids, in their order; `None` where there is none.
    ///
    /// # Errors
    ///
    /// `Invalid` past the limits, `Corrupt` if stored bytes are damaged.
    pub fn get(&self, ids: &[PointId], with: With) -> Result<Vec<Option<Record>>> {
        self.shard.check_open()?;
        self.view().get(ids, with).map_err(|e| self.named(e))
    }

    /// The nearest points as far as the query's depth reaches, nearest first, ties by id. Distances are exact; what was written and is
    /// not linked yet is found too.
    ///
    /// # Errors
    ///
    /// `Invalid` if the query does not fit or its depth is outside the limits, `Corrupt` if stored bytes are damaged.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>> {
        self.shard.check_open()?;
        self.view().search(query).map_err(|e| self.named(e))
    }

    /// Runs a search and says how it was done, segment by segment: the plan, what was expected beside what is true, the work, and which
    /// index would help.
    ///
    /// ```
    /// use nearfield::filter::{Condition, Filter, Path, Range, Test};
    /// use nearfield::{CollectionConfig, Database, Metric, Plan, Point, Query};
    ///
    /// let db = Database::in_memory()?;
    /// let books = db.create_collection("books", CollectionConfig::new(2, Metric::Cosine))?;
    /// books.upsert(vec![Point::new(1, vec![1.0, 0.0])])?;
    /// let year = Path::parse("year").expect("a path");
    /// let recent = Filter::new().must([Condition::field(year.clone(), Test::Range(Range::default()))]);
    /// let explanation = books.explain(&Query::new(&[1.0, 0.1], 1).filter(&recent))?;
    /// assert_eq!(explanation.segments[0].work.plan, Plan::Scan);
    /// assert_eq!(explanation.unindexed(), [year]);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Collection::search`].
    pub fn explain(&self, query: &Query<'_>) -> Result<Explanation> {
        self.shard.check_open()?;
        self.view().explain(query).map_err(|e| self.named(e))
    }

    /// Up to `limit` points with ids after `after`, in id order: numbers, then UUIDs, then strings.
    ///
    /// # Errors
    ///
    /// As [`Collection::get`].
    pub fn scroll(&self, after: Option<&PointId>, limit: usize, with: With) -> Result<Vec<Record>> {
        self.shard.check_open()?;
        self.view().scroll(after, limit, with).map_err(|e| self.named(e))
    }

    /// As [`Collection::scroll`], of the points that pass `filter`.
    ///
    /// # Errors
    ///
    /// As [`Collection::get`], and `Invalid` if the filter is beyond a limit.
    pub fn scroll_passing(
        &self,
        filter: &Filter,
        after: Option<&PointId>,
        limit: usize,
        with: With,
    ) -> Result<Vec<Record>> {
        self.shard.check_open()?;
        self.view().scroll_passing(filter, after, limit, with).map_err(|e| self.named(e))
    }

    /// How many points pass `filter`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the filter is beyond a limit, `Corrupt` if stored bytes are damaged.
    pub fn count_passing(&self, filter: &Filter) -> Result<u64> {
        self.shard.check_open()?;
        self.view().count_passing(filter).map_err(|e| self.named(e))
    }

    /// How many points pass `filter`, as far as payload indexes tell, without reading a payload: bounds that hold, and a guess between them.
    ///
    /// # Errors
    ///
    /// As [`Collection::count_passing`].
    pub fn count_estimate(&self, filter: &Filter) -> Result<CountEstimate> {
        self.shard.check_open()?;
        self.view().count_estimate(filter).map_err(|e| self.named(e))
    }

    /// The `limit` values at `path` that most points have, of the points that pass `filter` if there is one: see [`View::facet`].
    ///
    /// # Errors
    ///
    /// `Invalid` for what is no path and past the limits, `Corrupt` if stored bytes are damaged.
    pub fn facet(
        &self,
        path: &str,
        filter: Option<&Filter>,
        limit: usize,
        exact: bool,
    ) -> Result<Vec<FacetHit>> {
        self.shard.check_open()?;
        self.view().facet(&parse_path(path)?, filter, limit, exact).map_err(|e| self.named(e))
    }

    /// The first points in the order of the values at a path, which needs an index that has an order: see [`View::order_by`].
    ///
    /// # Errors
    ///
    /// `Invalid` without such an index, if `start_from` is of another kind, and past the limits; `Corrupt` if stored bytes are damaged.
    pub fn order_by(&self, order: &OrderBy<'_>) -> Result<Vec<OrderedRecord>> {
        self.shard.check_open()?;
        self.view().order_by(order).map_err(|e| self.named(e))
    }

    /// The nearest points by the values at `group_by`: at most [`Query::limit`] groups, that of the nearest point first, of at most `group_size`
    /// points each. See [`View::search_groups`].
    ///
    /// # Errors
    ///
    /// As [`Collection::search`], and `Invalid` for what is no path and if groups and points together are past the limit of results.
    pub fn search_groups(&self, query: &Query<'_>, group_by: &str, group_size: usize) -> Result<Vec<Group>> {
        self.shard.check_open()?;
        let path = parse_path(group_by)?;
        self.view().search_groups(query, &path, group_size).map_err(|e| self.named(e))
    }

    /// How many points there are.
    ///
    /// # Errors
    ///
    /// `NotFound` once the collection is closed or deleted.
    pub fn count(&self) -> Result<u64> {
        self.shard.check_open()?;
        Ok(self.view().count())
    }

    /// The state of the collection.
    ///
    /// # Errors
    ///
    /// What listing its files met.
    pub fn stats(&self) -> Result<Stats> {
        self.shard.check_open()?;
        self.shard.stats()
    }

    /// How the collection is, in a word and in words: what is still to be done, or why it takes no writes.
    ///
    /// # Errors
    ///
    /// `NotFound` once the collection is closed or deleted.
    pub fn status(&self) -> Result<Status> {
        self.shard.check_open()?;
        Ok(self.shard.status())
    }

    /// When segments are merged and by how many threads.
    pub fn optimizers(&self) -> OptimizerConfig {
        self.shard.optimizers()
    }

    /// Changes when segments are merged. Durable when this returns; the background goes by it from now on.
    ///
    /// # Errors
    ///
    /// `Invalid` for what cannot be honoured, with the reason; else as [`Collection::flush`].
    pub fn set_optimizers(&self, optimizers: OptimizerConfig) -> Result<()> {
        self.changed(self.shard.set_optimizers(optimizers))
    }

    /// Changes how the vector `name` is indexed: what is sealed from now on, and the rest when it is merged or [rebuilt](Collection::rebuild).
    /// Durable when this returns.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such vector, `Invalid` for settings outside the limits; else as [`Collection::flush`].
    pub fn set_index(&self, name: &str, index: IndexConfig) -> Result<()> {
        self.changed(self.shard.set_index(name, index))
    }

    /// What can be read now, held still: everything asked of the view is true at one Seq, also once the collection is closed or
    /// deleted.
    pub fn view(&self) -> View {
        self.shard.view()
    }

    /// Every operation at or before this survives power loss.
    pub fn synced_seq(&self) -> Seq {
        self.shard.synced_seq()
    }

    /// Every operation at or before this is seen by readers.
    pub fn visible_seq(&self) -> Seq {
        self.shard.visible_seq()
    }

    /// Makes every acknowledged operation survive power loss; returns the last Seq that does.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the disk failed: the collection is then read-only until it is opened again.
    pub fn sync(&self) -> Result<Seq> {
        self.shard.sync()
    }

    /// Reads every block of every sealed file and compares it with its checksum. O(bytes).
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the first damage found.
    pub fn verify(&self) -> Result<()> {
        self.shard.check_open()?;
        self.view().verify().map_err(|e| self.named(e))
    }

    /// Links and builds indexes, those of payload fields too, until nothing is left to do: searches are then as fast as they get. Helps the background instead of
    /// waiting for it. Nobody needs this but measurements, tests and the end of an import.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Full` if an index could not be written, `Corrupt` if vectors are damaged, `Cancelled` or `NotFound` if the
    /// collection is closed meanwhile. No data is in danger.
    pub fn wait_indexed(&self) -> Result<()> {
        self.shard.wait_indexed().map_err(|e| self.named(e))
    }

    /// Seals what is in memory into files and releases the log. Does not wait for indexes: see [`Collection::wait_indexed`].
    ///
    /// # Errors
    ///
    /// `Full` without room (nothing is lost), `Unavailable` if the outcome is unknown.
    pub fn flush(&self) -> Result<()> {
        self.changed(self.shard.flush())
    }
}

fn parse_path(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|e| Error::invalid(e.to_string()))
}
