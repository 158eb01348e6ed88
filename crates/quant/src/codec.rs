//! [`Quantizer`], the contract of a code, and [`Codec`], any of the codes there are.

use nearfield_ann::Scorer;
use nearfield_types::{Metric, Score};

use crate::scorer::Reading;
use crate::{
    CodeBuffer, CodeLayout, CodeRow, CodeScorer, CodecConfig, ConfigError, Precision, Prepared, QueryError,
    Rotated, Rows, Scalar,
};

/// Turns vectors into short codes and codes into estimated scores.
///
/// # Contract
///
/// * The code of a vector depends on the vector and the codec's numbers alone, and has the same bits on every processor.
/// * A score depends on the query, the code and the precision alone, bit for bit. It estimates what the metric says of the
///   vector that was encoded: it errs to both sides, so an estimated cosine or Euclidean distance may be a little below 0.
/// * Scores are finite, and [`Score::INFINITY`] for a code without a vector.
/// * Vectors are finite; that was checked where they entered. A vector that is not gets a code that means nothing.
/// * The numbers that data decides (a mean, a range) are given: training is not part of this trait.
///
/// # Complexity
///
/// `encode` and `prepare` are O(dim log dim) with a rotation, O(dim) without, and allocate nothing once the buffers are warm.
///
/// # Concurrency
///
/// Codecs are immutable and shared by any number of threads; buffers belong to one of them.
///
/// The conformance suites are [`nearfield_ann::conformance::check_scorer`] and
/// [`check_build_scorer`](nearfield_ann::conformance::check_build_scorer) over its scorers.
pub trait Quantizer {
    /// Sizes of a code.
    fn layout(&self) -> CodeLayout;

    /// Makes the code of `row` in `code`.
    ///
    /// # Panics
    ///
    /// If the row has another dimension.
    fn encode(&self, row: &[f32], code: &mut CodeBuffer);

    /// Prepares `query` in `out`, for all stores and both precisions.
    ///
    /// # Errors
    ///
    /// [`QueryError`]; then `out` holds no query.
    fn prepare(&self, query: &[f32], out: &mut Prepared) -> Result<(), QueryError>;

    /// Prepares the vector that `code` stands for, at its finest. False where it stands for none.
    fn prepare_code(&self, code: CodeRow<'_>, out: &mut Prepared) -> bool;

    /// A scorer of `query` over codes of this codec.
    ///
    /// # Panics
    ///
    /// If the query was prepared for codes of another size.
    fn scorer<'a>(&self, query: &'a Prepared, rows: Rows<'a>, precision: Precision) -> CodeScorer<'a>;

    /// How far a score may be from the true one: exceeded by about one in twenty where coordinates are spread as a rotation
    /// spreads them (1.9 standard deviations).
    fn error_bound(&self, query: &Prepared, code: CodeRow<'_>, precision: Precision) -> Score;
}

/// Any codec, as stores and files keep it.
#[derive(Clone, Debug)]
pub enum Codec {
    /// Nested 4 + 4 bit codes.
    Rotated(Rotated),
    /// 7-bit codes on one grid.
    Scalar(Scalar),
}

impl Codec {
    /// The codec of these numbers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: CodecConfig) -> Result<Codec, ConfigError> {
        Ok(match config {
            CodecConfig::Rotated(config) => Codec::Rotated(Rotated::new(config)?),
            CodecConfig::Scalar(config) => Codec::Scalar(Scalar::new(config)?),
        })
    }

    /// Its numbers. Codecs with equal ones make equal codes, and a query prepared for one serves the other.
    pub fn config(&self) -> CodecConfig {
        match self {
            Codec::Rotated(codec) => CodecConfig::Rotated(codec.config().clone()),
            Codec::Scalar(codec) => CodecConfig::Scalar(*codec.config()),
        }
    }

    /// Values of a vector.
    pub fn dim(&self) -> u32 {
        match self {
            Codec::Rotated(codec) => codec.config().dim,
            Codec::Scalar(codec) => codec.config().dim,
        }
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        match self {
            Codec::Rotated(codec) => codec.config().metric,
            Codec::Scalar(codec) => codec.config().metric,
        }
    }

    /// Which of a collection's codecs this is.
    pub fn epoch(&self) -> u32 {
        match self {
            Codec::Rotated(codec) => codec.config().epoch,
            Codec::Scalar(codec) => codec.config().epoch,
        }
    }

    /// A query prepared in fresh memory.
    ///
    /// # Errors
    ///
    /// As [`Quantizer::prepare`].
    pub fn query(&self, query: &[f32]) -> Result<Prepared, QueryError> {
        let mut prepared = Prepared::new();
        self.prepare(query, &mut prepared)?;
        Ok(prepared)
    }

    pub(crate) fn reading(&self, precision: Precision) -> Reading {
        match self {
            Codec::Rotated(codec) => codec.reading(precision),
            Codec::Scalar(codec) => codec.reading(precision),
        }
    }

    /// The estimated score of a query against one code; infinity where it stands for no vector. For tests and few codes.
    pub fn score(&self, query: &Prepared, code: CodeRow<'_>, precision: Precision) -> Score {
        let mut out = [Score::INFINITY];
        let rows = Rows::one(code);
        let scored = self.scorer(query, rows, precision).score(&[nearfield_types::Slot(0)], &mut out);
        debug_assert!(scored.is_ok(), "codes in memory can always be read");
        out[0]
    }
}

impl Quantizer for Codec {
    fn layout(&self) -> CodeLayout {
        match self {
            Codec::Rotated(codec) => codec.layout(),
            Codec::Scalar(codec) => codec.layout(),
        }
    }

    fn encode(&self, row: &[f32], code: &mut CodeBuffer) {
        match self {
            Codec::Rotated(codec) => codec.encode(row, code),
            Codec::Scalar(codec) => codec.encode(row, code),
        }
    }

    fn prepare(&self, query: &[f32], out: &mut Prepared) -> Result<(), QueryError> {
        match self {
            Codec::Rotated(codec) => codec.prepare(query, out),
            Codec::Scalar(codec) => codec.prepare(query, out),
        }
    }

    fn prepare_code(&self, code: CodeRow<'_>, out: &mut Prepared) -> bool {
        match self {
            Codec::Rotated(codec) => codec.prepare_code(code, out),
            Codec::Scalar(codec) => codec.prepare_code(code, out),
        }
    }

    fn scorer<'a>(&self, query: &'a Prepared, rows: Rows<'a>, precision: Precision) -> CodeScorer<'a> {
        match self {
            Codec::Rotated(codec) => codec.scorer(query, rows, precision),
            Codec::Scalar(codec) => codec.scorer(query, rows, precision),
        }
    }

    fn error_bound(&self, query: &Prepared, code: CodeRow<'_>, precision: Precision) -> Score {
        match self {
            Codec::Rotated(codec) => codec.error_bound(query, code, precision),
            Codec::Scalar(codec) => codec.error_bound(query, code, precision),
        }
    }
}
