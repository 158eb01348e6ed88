//! Indexes in manifests: under which names their files lie, which of them a manifest names, and what is left of others.
//!
//! It refuses to build.

use nearfield_codec::Summary;
use nearfield_platform::Dir;
use nearfield_segment::{
    IndexFiles, IndexName, Sealed, SealedIndex, codes_file, field_file, graph_file, open_index,
    partitions_file,
};

use crate::checkpoint::segment_folder;
use crate::manifest::{FileEntry, FileKind, Manifest, SegmentEntry};

/// An index that was written and opened.
pub(crate) struct Made {
    pub(crate) index: SealedIndex,
    pub(crate) files: IndexFiles,
    pub(crate) generation: u32,
    /// Of the settings that it was built with.
    pub(crate) epoch: u32,
}

impl Made {
    /// Names it in the entry of its segment, in the place of the one that there was.
    pub(crate) fn enter(&self, entry: &mut SegmentEntry, vector: usize) {
        entry.files.retain(|file| !is_of_index(file.kind, vector));
        let place = vector as u16;
        let files = [
            (FileKind::Codes(place), self.files.codes),
            (FileKind::Graph(place), Some(self.files.graph)),
            (FileKind::Partitions(place), self.files.partitions),
        ];
        let named = files.into_iter().filter_map(|(kind, summary)| Some((kind, summary?)));
        let generation = self.generation;
        entry.files.extend(named.map(|(kind, summary)| FileEntry { kind, generation, summary }));
        if let Some(epoch) = entry.epochs.get_mut(vector) {
            *epoch = self.epoch;
        }
    }
}

/// True for the files of the index of `vector`.
pub(crate) fn is_of_index(kind: FileKind, vector: usize) -> bool {
    let place = vector as u16;
    [FileKind::Codes(place), FileKind::Graph(place), FileKind::Partitions(place)].contains(&kind)
}

/// The generation of the next index of `vector`.
pub(crate) fn next_generation(entry: &SegmentEntry, vector: usize) -> u32 {
    let of_index = entry.files.iter().filter(|file| is_of_index(file.kind, vector));
    of_index.map(|file| file.generation).max().map_or(0, |generation| generation.wrapping_add(1))
}

/// Puts the files of an index into the entry of its segment, in the place of those of these kinds that there were.
pub(crate) fn name_files(
    entry: &mut SegmentEntry,
    kinds: &[FileKind],
    files: impl IntoIterator<Item = (FileKind, Summary)>,
) {
    let before =
        entry.files.iter().filter(|file| kinds.contains(&file.kind)).map(|file| file.generation).max();
    let generation = before.map_or(0, |generation| generation.wrapping_add(1));
    entry.files.retain(|file| !kinds.contains(&file.kind));
    let named = |(kind, summary)| FileEntry { kind, generation, summary };
    entry.files.extend(files.into_iter().map(named));
}

/// The index of `vector` that the manifest names, if it has one, and its files.
pub(crate) fn named_index(entry: &SegmentEntry, vector: usize) -> Option<(IndexName, IndexFiles)> {
    let one = |kind| entry.files.iter().find(|file| file.kind == kind);
    let graph = one(FileKind::Graph(vector as u16))?;
    let [codes, partitions] = [FileKind::Codes(vector as u16), FileKind::Partitions(vector as u16)]
        .map(|kind| one(kind).map(|file| file.summary));
    let name = IndexName { vector, generation: graph.generation };
    Some((name, IndexFiles { codes, graph: graph.summary, partitions }))
}

/// Attaches the indexes that the manifest names; returns what is wrong with those that cannot be used.
pub(crate) fn open_indexes(
    dir: &dyn Dir,
    folder: &str,
    entry: &SegmentEntry,
    sealed: &Sealed,
) -> Vec<String> {
    let mut damaged = Vec::new();
    for vector in sealed.unindexed(0) {
        let Some((name, files)) = named_index(entry, vector) else { continue };
        let (folder, shape) = (segment_folder(folder, entry.id), sealed.vectors(vector).shape());
        let opened: Result<SealedIndex, _> = open_index(dir, &folder, name, shape, entry.rows, Some(&files));
        match opened {
            Ok(index) => sealed.attach(vector, index, &files),
            Err((path, e)) => damaged.push(format!("{path} cannot be used ({e}): the index is built anew")),
        }
    }
    damaged
}

/// Removes index files that the newest manifest does not name: attempts that were never committed, and what was dropped. Failing to is
/// harmless.
pub(crate) fn remove_unnamed_indexes(dir: &dyn Dir, folder: &str, newest: &Manifest) {
    for entry in &newest.segments {
        let folder = segment_folder(folder, entry.id);
        let named: Vec<String> = entry.files.iter().filter_map(index_name).collect();
        for entry in dir.list(&folder).unwrap_or_default() {
            let derived = ["codes-", "graph-", "field-"].iter().any(|kind| entry.name.starts_with(kind));
            if derived && !named.contains(&entry.name) {
                let _ = dir.remove(&format!("{folder}/{}", entry.name));
            }
        }
    }
}

pub(crate) fn index_name(file: &FileEntry) -> Option<String> {
    let name = |vector: u16| IndexName { vector: vector.into(), generation: file.generation };
    match file.kind {
        FileKind::Codes(vector) => Some(codes_file(name(vector))),
        FileKind::Graph(vector) => Some(graph_file(name(vector))),
        FileKind::Partitions(vector) => Some(partitions_file(name(vector))),
        FileKind::Field(created) => Some(field_file(created)),
        FileKind::Ids | FileKind::Payload | FileKind::Vectors(_) | FileKind::Delta => None,
    }
}
