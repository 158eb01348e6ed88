//! Codes in memory, pushed by one writer and read by anybody.
//!
//! It refuses to change a code.
//!
//! Invariant: the hot factors of a slot are published after everything else of it, and readers take their length.

use std::sync::Arc;

use nearfield_column::{Column, ColumnWriter};
use nearfield_types::Slot;

use crate::rows::{GrowingRows, Kind};
use crate::{CodeBuffer, CodeLayout, CodeRow, Codec, Codes, Quantizer, Rows};

/// The codes of a growing segment. Made by [`GrowingCodes::create`], together with its only writer.
pub struct GrowingCodes {
    codec: Arc<Codec>,
    high: Arc<Column<u8>>,
    low: Option<Arc<Column<u8>>>,
    hot: Arc<Column<f32>>,
    cold: Option<Arc<Column<f32>>>,
}

/// Pushes codes. There is one per [`GrowingCodes`].
pub struct CodesWriter {
    codec: Arc<Codec>,
    layout: CodeLayout,
    high: ColumnWriter<u8>,
    low: Option<ColumnWriter<u8>>,
    hot: ColumnWriter<f32>,
    cold: Option<ColumnWriter<f32>>,
    buffer: CodeBuffer,
}

impl GrowingCodes {
    /// An empty store and its writer. Memory is taken as codes come.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use nearfield_quant::{Codec, CodecConfig, Codes, GrowingCodes, Precision, RotatedConfig};
    /// use nearfield_types::{Metric, Slot};
    ///
    /// let config = RotatedConfig { dim: 40, metric: Metric::Cosine, epoch: 0, seed: Some(1), mean: vec![] };
    /// let codec = Arc::new(Codec::new(CodecConfig::Rotated(config))?);
    /// let (mut writer, codes) = GrowingCodes::create(codec);
    /// assert_eq!(writer.push(Some(&[0.5; 40])), Some(Slot(0)));
    /// assert_eq!(writer.push(None), Some(Slot(1)));
    ///
    /// let query = codes.query(&[2.0; 40])?;
    /// let mut scores = [0.0; 2];
    /// nearfield_ann::Scorer::score(&mut codes.scorer(&query, Precision::Fine), &[Slot(0), Slot(1)], &mut scores)?;
    /// assert!(scores[0].abs() < 0.02 && scores[1] == f32::INFINITY);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(codec: Arc<Codec>) -> (CodesWriter, Arc<GrowingCodes>) {
        let layout = codec.layout();
        let (high_writer, high) = Column::create(layout.plane_bytes);
        let (low_writer, low) = (layout.planes > 1).then(|| Column::create(layout.plane_bytes)).unzip();
        let (hot_writer, hot) = Column::create(layout.hot);
        let (cold_writer, cold) = (layout.cold > 0).then(|| Column::create(layout.cold)).unzip();
        let writer = CodesWriter {
            codec: Arc::clone(&codec),
            layout,
            high: high_writer,
            low: low_writer,
            hot: hot_writer,
            cold: cold_writer,
            buffer: CodeBuffer::new(),
        };
        (writer, Arc::new(GrowingCodes { codec, high, low, hot, cold }))
    }
}

impl Codes for GrowingCodes {
    fn codec(&self) -> &Arc<Codec> {
        &self.codec
    }

    fn rows(&self) -> Rows<'_> {
        // The length first: whatever it counts is in the other columns by then.
        let hot = self.hot.view();
        Rows(Kind::Growing(GrowingRows {
            high: self.high.view(),
            low: self.low.as_ref().map(|column| column.view()),
            hot,
            cold: self.cold.as_ref().map(|column| column.view()),
        }))
    }

    fn memory(&self) -> u64 {
        let low = self.low.as_ref().map_or(0, |column| column.memory());
        let cold = self.cold.as_ref().map_or(0, |column| column.memory());
        self.high.memory() + low + self.hot.memory() + cold
    }
}

impl CodesWriter {
    /// Encodes the vector of the next slot, or notes that it has none, and shows it to readers. `None` once the store holds as
    /// many slots as a segment can.
    ///
    /// # Panics
    ///
    /// If the row has another dimension than the codec.
    ///
    /// # Complexity
    ///
    /// As [`Quantizer::encode`], and one copy of the code; an allocation of at most 1 MiB now and then.
    pub fn push(&mut self, row: Option<&[f32]>) -> Option<Slot> {
        match row {
            Some(row) => self.codec.encode(row, &mut self.buffer),
            None => self.buffer.set_absent(&self.layout),
        }
        let buffer = std::mem::take(&mut self.buffer);
        let slot = self.push_code(buffer.row());
        self.buffer = buffer;
        slot
    }

    /// Appends a code of an equal codec: one copied from another store, or encoded elsewhere (by several threads, say).
    ///
    /// # Panics
    ///
    /// If a part of the code has another length than the codec's.
    pub fn push_code(&mut self, code: CodeRow<'_>) -> Option<Slot> {
        let slot = self.high.push(code.high)?;
        if let Some(low) = &mut self.low {
            low.push(code.low)?;
        }
        if let Some(cold) = &mut self.cold {
            cold.push(code.cold)?;
        }
        self.hot.push(code.hot)?;
        Some(Slot(slot))
    }

    /// Slots pushed so far.
    pub fn len(&self) -> u32 {
        self.hot.len()
    }

    /// True before the first push.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
