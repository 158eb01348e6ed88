//! Counting what a collection holds.

use nearfield_segment::Segment;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::point::{DiskBytes, Stats};

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
                    disk.index += bytes.index;
                }
            }
        }
        let points = view.count();
        Ok(Stats {
            points,
            deleted: rows.saturating_sub(points),
            segments,
            growing_rows,
            unlinked_rows,
            unindexed_segments,
            damaged_indexes: self.indexing.damaged(),
            field_indexes: fields.len() as u64,
            unbuilt_field_indexes: fields.iter().filter(|field| !field.is_ready()).count() as u64,
            partition_graphs,
            index_memory_bytes,
            disk,
            memory_bytes,
            visible_seq: view.seq(),
            synced_seq: self.synced_seq(),
            flushed_seq: self.flushed_seq(),
        })
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
