//! What can go wrong with a segment's files and searches.

use nearfield_codec::{ContainerError, DecodeError};
use nearfield_platform::BlobError;

/// Why a sealed segment cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file is damaged or of another kind.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A structure ends early.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A rows file is not what it should be.
    #[error(transparent)]
    Rows(#[from] nearfield_vectors::OpenError),
    /// A payload file is not what it should be.
    #[error(transparent)]
    Payload(#[from] nearfield_payload::OpenError),
    /// A payload row cannot be read.
    #[error(transparent)]
    PayloadRow(#[from] nearfield_payload::ReadError),
    /// A payload row is none.
    #[error(transparent)]
    PayloadBytes(#[from] nearfield_payload::RowError),
    /// The parts of a file contradict one another.
    #[error("the {part} contradict one another")]
    Damaged {
        /// Which part.
        part: &'static str,
    },
}

impl From<BlobError> for OpenError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Io(error) => OpenError::Io(error),
            BlobError::Damaged(error) => OpenError::Container(error),
            BlobError::Outside { .. } => damaged("sections"),
        }
    }
}

pub(crate) fn damaged(part: &'static str) -> OpenError {
    OpenError::Damaged { part }
}

/// Why the files of an index are not used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file is damaged or of another kind.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The codes are not what they should be.
    #[error(transparent)]
    Codes(#[from] nearfield_quant::OpenError),
    /// The graph is not what it should be.
    #[error(transparent)]
    Graph(#[from] nearfield_hnsw::OpenError),
    /// The notes beside the graph are none.
    #[error(transparent)]
    Notes(#[from] DecodeError),
    /// The files contradict one another.
    #[error(transparent)]
    Damaged(#[from] OpenError),
}

/// Why a search of one segment gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The query does not fit the vector.
    #[error(transparent)]
    Shape(#[from] nearfield_vectors::ShapeError),
    /// It was stopped, or met damage.
    #[error(transparent)]
    Stopped(#[from] nearfield_ann::Stopped),
    /// The filter is beyond a limit.
    #[error(transparent)]
    Filter(#[from] nearfield_payload::filter::FilterError),
    /// A field index is damaged.
    #[error(transparent)]
    FieldIndex(#[from] nearfield_payload::index::IndexError),
    /// A payload that the filter asks for cannot be read.
    #[error(transparent)]
    Payload(OpenError),
}
