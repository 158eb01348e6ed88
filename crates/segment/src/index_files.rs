//! The files of an index: codes and graph, beside the rows they belong to.
//!
//! They are derived: whoever finds one damaged or missing builds it anew. So opening checks every byte unless told that it was
//! checked before, and it refuses to repair.

use std::fmt;
use std::io;

use nearfield_codec::{Container, Summary};
use nearfield_hnsw::{Graph, GraphView};
use nearfield_platform::Dir;
use nearfield_quant::{Codes, SealedCodes, write_codes};
use nearfield_types::Slot;
use nearfield_vectors::Shape;

use crate::calibration::Calibration;
use crate::error::{IndexError, damaged};
use crate::index::SealedIndex;
use crate::partitions::{open_partitions, partitions_file};
use crate::seal::write_file;

/// Which index of a segment: that of which vector, and how many were written for it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexName {
    /// The place of the vector in the schema.
    pub vector: usize,
    /// 0 for the first one. From 1 on it stands in the names of the files, so that the one before serves until this one is there.
    pub generation: u32,
}

/// The first index of that vector.
impl From<usize> for IndexName {
    fn from(vector: usize) -> Self {
        IndexName { vector, generation: 0 }
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "{}", self.vector),
            generation => write!(f, "{}.{generation}", self.vector),
        }
    }
}

/// The path of the codes of an index inside a segment's folder.
pub fn codes_file(name: impl Into<IndexName>) -> String {
    format!("codes-{}", name.into())
}

/// The path of the graph of an index inside a segment's folder.
pub fn graph_file(name: impl Into<IndexName>) -> String {
    format!("graph-{}", name.into())
}

/// What a manifest says of the files of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFiles {
    /// The codes; `None` where walks use the vectors themselves.
    pub codes: Option<Summary>,
    /// The graph.
    pub graph: Summary,
    /// The graphs over partitions; `None` where rows are not put together.
    pub partitions: Option<Summary>,
}

/// Writes codes and graph of the index `name` into `folder`, synced and read-only. Nobody links meanwhile. Graphs over
/// partitions come beside them: see [`write_partitions`](crate::write_partitions).
///
/// # Errors
///
/// What the directory returns; one of the files may be there then.
pub fn write_index(
    dir: &dyn Dir,
    folder: &str,
    name: impl Into<IndexName>,
    codes: Option<&dyn Codes>,
    graph: &Graph,
    calibration: &Calibration,
) -> io::Result<IndexFiles> {
    let name = name.into();
    let codes = codes.map(|codes| {
        write_file(dir, &format!("{folder}/{}", codes_file(name)), |sink| {
            write_codes(sink, codes.codec(), codes.len(), |slot| codes.row(Slot(slot)))
                .map_err(io::Error::other)
        })
    });
    let notes = calibration.encode();
    let graph = write_file(dir, &format!("{folder}/{}", graph_file(name)), |sink| {
        nearfield_hnsw::format::write(graph, &notes, sink)
    })?;
    Ok(IndexFiles { codes: codes.transpose()?, graph, partitions: None })
}

/// Opens what [`write_index`] wrote, for `rows` rows of this shape: maps the files and checks every byte of them. Whether there are codes is what
/// the notes beside the graph say. `expected` is what the manifest says, where there is one.
///
/// # Errors
///
/// [`IndexError`], with the file's path.
///
/// # Complexity
///
/// One pass over the files at the speed of checksums.
pub fn open_index(
    dir: &dyn Dir,
    folder: &str,
    name: impl Into<IndexName>,
    shape: Shape,
    rows: u32,
    expected: Option<&IndexFiles>,
) -> Result<SealedIndex, (String, IndexError)> {
    let name = name.into();
    let path = format!("{folder}/{}", graph_file(name));
    let (graph, calibration) =
        open_graph(dir, &path, rows, expected.map(|files| &files.graph)).map_err(|e| (path, e))?;
    let has_codes = match expected {
        Some(files) => files.codes.is_some(),
        None => calibration.has_codes,
    };
    let codes = if has_codes {
        let path = format!("{folder}/{}", codes_file(name));
        let expected = expected.and_then(|files| files.codes.as_ref());
        Some(open_codes(dir, &path, shape, rows, expected).map_err(|e| (path, e))?)
    } else {
        None
    };
    let codes = codes.map(|codes| Box::new(codes) as Box<dyn Codes>);
    let index = SealedIndex::new(codes, graph, calibration);
    let Some(expected) = expected.and_then(|files| files.partitions.as_ref()) else { return Ok(index) };
    let path = format!("{folder}/{}", partitions_file(name));
    let partitions = open_partitions(dir, &path, rows, expected).map_err(|e| (path, e))?;
    Ok(index.with_partitions(partitions))
}

fn open_graph(
    dir: &dyn Dir,
    path: &str,
    rows: u32,
    expected: Option<&Summary>,
) -> Result<(GraphView, Calibration), IndexError> {
    let region = dir.open(path)?;
    let container = Container::open(region.clone(), nearfield_hnsw::format::TAG)?;
    check(&container, expected)?;
    let graph = GraphView::open(region)?;
    if graph.len() > rows {
        return Err(damaged("graph and rows").into());
    }
    let calibration = Calibration::decode(graph.notes())?;
    Ok((graph, calibration))
}

fn open_codes(
    dir: &dyn Dir,
    path: &str,
    shape: Shape,
    rows: u32,
    expected: Option<&Summary>,
) -> Result<SealedCodes, IndexError> {
    let container = Container::open(dir.open(path)?, nearfield_quant::format::TAG)?;
    check(&container, expected)?;
    let codes = SealedCodes::open(&container)?;
    let codec = codes.codec();
    if codes.len() != rows || codec.dim() != shape.dim() || codec.metric() != shape.metric() {
        return Err(damaged("codes and rows").into());
    }
    Ok(codes)
}

pub(crate) fn check(container: &Container, expected: Option<&Summary>) -> Result<(), IndexError> {
    if let Some(expected) = expected {
        let length = container.region().len() as u64;
        if length != expected.length || container.tables_crc() != expected.tables_crc {
            return Err(damaged("file and the manifest").into());
        }
    }
    Ok(container.verify_all()?)
}
