//! Counting what a collection holds and what is left to do, and saying how it is.
//!
//! It refuses to keep counters: everything is counted when it is asked for, from what readers would see.

use nearfield_segment::Segment;

use crate::collection::{Collection, cores};
use crate::config::VectorConfig;
use crate::error::{Error, Result};
use crate::point::{Debt, DiskBytes, Stats, Status, VectorStats};
use crate::policy::Choice;
use crate::version::Version;

/// What a scan reads in a microsecond, roughly: memory gives so much to one thread.
const SCAN_BYTES_A_MICRO: u64 = 10_000;

impl Collection {
    /// The state of the collection at one Seq. O(rows in memory + deaths + files).
    ///
    /// # Errors
    ///
    /// What listing the files returned.
    pub fn stats(&self) -> Result<Stats> {
        let view = self.view();
        let mut disk = DiskBytes { log: self.folder_bytes("log")?, ..DiskBytes::default() };
        disk.other = self.folder_bytes("deltas")? + self.files_bytes("")?;
        let (mut segments, mut rows, mut growing_rows, mut memory_bytes) = (0, 0, 0, 0);
        let (mut unlinked_rows, mut unindexed_segments, mut index_memory_bytes) = (0, 0, 0);
        let mut partition_graphs = 0;
        let fields = self.field_indexes();
        index_memory_bytes += fields.iter().map(|field| field.memory.heap).sum::<u64>();
        for member in view.version.members() {
            rows += u64::from(member.segment.rows());
            match &member.segment {
                Segment::Growing(growing) => {
                    growing_rows += u64::from(growing.len());
                    memory_bytes += growing.bytes();
                    unlinked_rows += u64::from(growing.backlog());
                    index_memory_bytes += growing.index_memory();
                }
                Segment::Sealed(sealed) => {
                    segments += 1;
                    memory_bytes += sealed.memory();
                    unindexed_segments += u64::from(!self.unindexed_vectors(sealed).is_empty());
                    index_memory_bytes += sealed.index_memory();
                    partition_graphs += sealed.partition_graphs();
                    let bytes = sealed.bytes();
                    disk.vectors += bytes.vectors;
                    disk.payload += bytes.payload;
                    disk.ids += bytes.ids;
                    disk.codes += bytes.codes;
                    disk.graphs += bytes.graphs;
                    disk.field_indexes += bytes.fields;
                }
            }
        }
        disk.index = disk.codes + disk.graphs + disk.field_indexes;
        let points = view.count();
        Ok(Stats {
            points,
            deleted: rows.saturating_sub(points),
            segments,
            growing_rows,
            unlinked_rows,
            unindexed_segments,
            debt: self.debt_of(&view.version),
            stale_indexes: self.stale_indexes().iter().sum(),
            unmerged_segments: self.unmerged(),
            damaged_indexes: self.indexing.damaged(),
            field_indexes: fields.len() as u64,
            unbuilt_field_indexes: fields.iter().filter(|field| !field.is_ready()).count() as u64,
            partition_graphs,
            index_memory_bytes,
            mapped_index_bytes: disk.codes + disk.graphs,
            disk,
            memory_bytes,
            visible_seq: view.seq(),
            synced_seq: self.synced_seq(),
            flushed_seq: self.flushed_seq(),
        })
    }

    /// How each vector is indexed, in the order of the configuration. What the graphs look like is asked of a view:
    /// [`View::graph_stats`](crate::View::graph_stats). O(segments).
    pub fn vector_stats(&self) -> Vec<VectorStats> {
        let version = self.current.load_full();
        let stale = self.stale_indexes();
        let config = self.config();
        let stats = |(place, (name, config)): (usize, (&str, VectorConfig))| {
            let (mut indexed, mut all) = (0, 0);
            for member in version.members() {
                all += u64::from(member.segment.rows());
                indexed += u64::from(match &member.segment {
                    Segment::Growing(growing) => growing.linked_rows(place),
                    Segment::Sealed(sealed) => sealed.indexed(place).map_or(0, |_| sealed.rows()),
                });
            }
            let (name, stale_indexes) = (name.to_owned(), stale.get(place).copied().unwrap_or(0));
            VectorStats { name, config, indexed_rows: indexed, scanned_rows: all - indexed, stale_indexes }
        };
        config.vectors().enumerate().map(stats).collect()
    }

    /// What searches have to scan for want of a graph. O(segments).
    pub fn debt(&self) -> Debt {
        self.debt_of(&self.current.load())
    }

    /// How the collection is. O(rows in memory + deaths).
    pub fn status(&self) -> Status {
        if let Some(why) = self.stopped_because() {
            return Status::Red(format!("{why}: open the collection again"));
        }
        let reasons = self.pending();
        match self.optimizers().is_off() {
            _ if reasons.is_empty() => Status::Green,
            true => Status::Grey(reasons),
            false => Status::Yellow(reasons),
        }
    }

    /// What is left to do, in words.
    fn pending(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let debt = self.debt();
        if debt.rows > 0 {
            let ms = debt.micros as f64 / 1_000.0;
            reasons.push(format!(
                "{} rows are not indexed yet and are scanned, at about {ms:.1} ms a search",
                debt.rows
            ));
        }
        if let Some(why) = self.indexing.failed() {
            reasons.push(format!("indexes could not be built and are tried again: {why}"));
        }
        if self.is_rebuilding() {
            let stale: u64 = self.stale_indexes().iter().sum();
            reasons.push(format!("indexes are being built anew: {stale} of the old ones still serve"));
        }
        let unbuilt = self.field_indexes().iter().filter(|field| !field.is_ready()).count();
        if unbuilt > 0 {
            reasons.push(format!("{unbuilt} payload indexes do not have all rows yet"));
        }
        if let Some(why) = self.merging_blocked() {
            reasons.push(format!("segments wait to be merged: {why}"));
        } else if self.unmerged() > 0 {
            reasons.push(format!("{} segments are being merged or wait for it", self.unmerged()));
        }
        reasons
    }

    /// Segments that are being merged or that the policy would choose next.
    fn unmerged(&self) -> u64 {
        let chosen = match self.choose_applied(&self.optimizers().limits(cores())) {
            Choice::Nothing => 0,
            choice => choice.segments().len(),
        };
        chosen.max(self.merging_segments()) as u64
    }

    /// Of each vector, how many indexes were built with earlier settings.
    fn stale_indexes(&self) -> Vec<u64> {
        self.stale.load().to_vec()
    }

    fn debt_of(&self, version: &Version) -> Debt {
        let mut debt = Debt::default();
        for member in version.members() {
            let (rows, bytes) = match &member.segment {
                Segment::Growing(growing) => (growing.backlog(), growing.backlog_bytes()),
                Segment::Sealed(sealed) => sealed.scanned(&self.unindexed_vectors(sealed)),
            };
            debt.rows += u64::from(rows);
            debt.bytes += bytes;
        }
        debt.micros = debt.bytes / SCAN_BYTES_A_MICRO;
        debt
    }

    fn folder_bytes(&self, name: &str) -> Result<u64> {
        self.files_bytes(&format!("/{name}"))
    }

    fn files_bytes(&self, below: &str) -> Result<u64> {
        let path = format!("{}{below}", self.folder);
        let entries = self.dir.list(&path).map_err(|e| Error::io(format!("listing {path}"), e))?;
        Ok(entries.iter().map(|entry| entry.len).sum())
    }
}
