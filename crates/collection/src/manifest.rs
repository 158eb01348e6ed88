//! What a shard is made of at one moment: its configuration, its files, and up to which Seq they hold everything.
//!
//! Names given by users stand only here; files are numbered. Sizes are compared, never allocated from.

use std::sync::Arc;

use nearfield_codec::{DecodeError, Decoder, Encoder, Summary};
use nearfield_payload::PATH_BYTES_MAX;
use nearfield_payload::index::IndexKind;
use nearfield_segment::{PayloadField, Quantization};
use nearfield_types::limits::{DIMENSION_MAX, FIELD_INDEXES_MAX, NAME_BYTES_MAX};
use nearfield_types::{Metric, Seq};

use crate::config::{CollectionConfig, IndexConfig, PartitionConfig};
use crate::format::{
    FILE_CODES, FILE_DELTA, FILE_FIELD, FILE_GRAPH, FILE_IDS, FILE_PARTITIONS, FILE_PAYLOAD, FILE_VECTORS,
    MANIFEST_READ_VERSION, MANIFEST_VERSION, PARTITION_INTEGER, PARTITION_KEYWORD, PARTITION_NONE,
    QUANTIZATION_AUTO, QUANTIZATION_NONE, QUANTIZATION_ROTATED, QUANTIZATION_SCALAR,
};
use crate::operation::{decode_field, encode_field};
use crate::optimizers::OptimizerConfig;

/// What a file of a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The point map.
    Ids,
    /// The payload rows.
    Payload,
    /// The rows of the vector at this place in the configuration.
    Vectors(u16),
    /// Deaths and patches of a checkpoint.
    Delta,
    /// The codes of the vector at this place. Derived: it may be lost.
    Codes(u16),
    /// The graph of the vector at this place. Derived: it may be lost.
    Graph(u16),
    /// The graphs over partitions of the vector at this place. Derived: it may be lost.
    Partitions(u16),
    /// The payload index that this operation made. Derived: it may be lost.
    Field(Seq),
}

/// One file, as it must be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// What it holds.
    pub kind: FileKind,
    /// Counts how often a derived file was written anew: from 1 on it is a part of the name of codes and graphs, so that one serves while
    /// another is written. Ground truth stays at 0.
    pub generation: u32,
    /// Length and checksums.
    pub summary: Summary,
}

/// One sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Its number, never reused in the shard.
    pub id: u64,
    /// How many rows it has, dead ones included.
    pub rows: u32,
    /// Codec epoch of its codes; 0 while there are none.
    pub codec_epoch: u64,
    /// Of each vector the epoch of the settings that its index was built with; 0 without one.
    pub epochs: Vec<u32>,
    /// Its write-once files, and those of its indexes.
    pub files: Vec<FileEntry>,
    /// Number and entry of its newest delta file, if anything in it died or changed.
    pub delta: Option<(u64, FileEntry)>,
}

/// How the index settings of a vector stand to the indexes that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexEpoch {
    /// Counts changes of the settings, and rebuildings without one. Indexes of an earlier epoch are stale.
    pub number: u32,
    /// Stale indexes are being built anew, and are taken up again after a kill. Without this they serve until their segment is merged.
    pub rebuilding: bool,
}

/// The payload indexes that there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// The last operation that changed them.
    pub changed: Seq,
    /// In the order in which they were made.
    pub list: Vec<Arc<PayloadField>>,
}

/// The value in a shard's cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Names the collection, whatever users call it.
    pub collection: [u8; 16],
    /// Names the log whose frames continue this manifest.
    pub wal: [u8; 16],
    /// Every operation at or before this Seq is in the files.
    pub flushed: Seq,
    /// Every operation at or before this Seq was durable when the manifest was written.
    pub synced: Seq,
    /// The number the next segment will have.
    pub next_segment: u64,
    /// CRC-32C of the manifest before, 0 for the first.
    pub previous_crc: u32,
    /// The vectors.
    pub config: CollectionConfig,
    /// Of each vector the epoch of its index settings.
    pub epochs: Vec<IndexEpoch>,
    /// How the background works on segments.
    pub optimizers: OptimizerConfig,
    /// The payload indexes when the manifest was written, which may be after `flushed`.
    pub fields: Fields,
    /// The sealed segments, oldest first.
    pub segments: Vec<SegmentEntry>,
}

impl Manifest {
    /// The manifest as bytes. See `docs/format.md`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u16(MANIFEST_VERSION).u16(0).u32(self.previous_crc).bytes(&self.collection).bytes(&self.wal);
        out.u64(self.flushed.0).u64(self.synced.0).u64(self.next_segment);
        out.u32(self.config.vectors().len() as u32);
        for (name, vector) in self.config.vectors() {
            out.counted(name.as_bytes()).u32(vector.dim).u8(vector.metric.code());
            encode_index(&mut out, &vector.index);
        }
        encode_partition(&mut out, self.config.partition());
        for epoch in &self.epochs {
            out.u32(epoch.number).u8(u8::from(epoch.rebuilding));
        }
        encode_optimizers(&mut out, &self.optimizers);
        out.u64(self.fields.changed.0).u32(self.fields.list.len() as u32);
        for field in &self.fields.list {
            out.u64(field.created.0);
            encode_field(&mut out, &field.path, &field.config);
        }
        out.u32(self.segments.len() as u32);
        for segment in &self.segments {
            out.u64(segment.id).u32(segment.rows).u64(segment.codec_epoch);
            for epoch in &segment.epochs {
                out.u32(*epoch);
            }
            out.u32(segment.files.len() as u32);
            for file in &segment.files {
                encode_file(&mut out, file);
            }
            match &segment.delta {
                None => {
                    out.u8(0);
                }
                Some((number, file)) => {
                    out.u8(1).u64(*number);
                    encode_file(&mut out, file);
                }
            }
        }
        out.into_vec()
    }

    /// Of each vector, how many indexes were built with earlier settings.
    pub fn stale_indexes(&self) -> Vec<u64> {
        let of = |(place, epoch): (usize, &IndexEpoch)| {
            let graph = FileKind::Graph(u16::try_from(place).unwrap_or(u16::MAX));
            let is_stale = |entry: &&SegmentEntry| {
                entry.epochs.get(place).is_some_and(|built| *built < epoch.number)
                    && entry.files.iter().any(|file| file.kind == graph)
            };
            self.segments.iter().filter(is_stale).count() as u64
        };
        self.epochs.iter().enumerate().map(of).collect()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u16()?;
        if !(MANIFEST_READ_VERSION..=MANIFEST_VERSION).contains(&version) {
            return Err(decoder.range_error(u64::from(version)));
        }
        decoder.u16()?;
        let previous_crc = decoder.u32()?;
        let (collection, wal) = (decoder.array()?, decoder.array()?);
        let (flushed, synced, next_segment) = (Seq(decoder.u64()?), Seq(decoder.u64()?), decoder.u64()?);
        let config = decode_config(&mut decoder, version)?;
        let vectors = config.vectors().len();
        let (epochs, optimizers) = match version {
            ..5 => (vec![IndexEpoch::default(); vectors], OptimizerConfig::default()),
            _ => (decode_epochs(&mut decoder, vectors)?, decode_optimizers(&mut decoder)?),
        };
        let fields = if version < 3 { Fields::default() } else { decode_fields(&mut decoder, synced)? };
        let naming = Naming { version, vectors, fields: &fields };
        let count = decoder.count(8 + 4 + 8 + 4 + 1)?;
        let mut segments: Vec<SegmentEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let segment = decode_segment(&mut decoder, &naming)?;
            if segment.epochs.iter().zip(&epochs).any(|(built, epoch)| *built > epoch.number) {
                return Err(decoder.range_error(segment.id));
            }
            if segment.id >= next_segment || segments.iter().any(|other| other.id == segment.id) {
                return Err(decoder.range_error(segment.id));
            }
            segments.push(segment);
        }
        decoder.finish()?;
        Ok(Manifest {
            collection,
            wal,
            flushed,
            synced,
            next_segment,
            previous_crc,
            config,
            epochs,
            optimizers,
            fields,
            segments,
        })
    }
}

fn encode_file(out: &mut Encoder, file: &FileEntry) {
    let (code, place) = match file.kind {
        FileKind::Ids => (FILE_IDS, 0),
        FileKind::Payload => (FILE_PAYLOAD, 0),
        FileKind::Vectors(place) => (FILE_VECTORS, place.into()),
        FileKind::Delta => (FILE_DELTA, 0),
        FileKind::Codes(place) => (FILE_CODES, place.into()),
        FileKind::Graph(place) => (FILE_GRAPH, place.into()),
        FileKind::Partitions(place) => (FILE_PARTITIONS, place.into()),
        FileKind::Field(created) => (FILE_FIELD, created.0),
    };
    out.u8(code).u64(place).u32(file.generation);
    out.u64(file.summary.length)
        .u64(file.summary.crc64)
        .bytes(&file.summary.blake3)
        .u32(file.summary.tables_crc);
}

/// What files may be named after.
struct Naming<'a> {
    version: u16,
    vectors: usize,
    fields: &'a Fields,
}

fn decode_file(decoder: &mut Decoder<'_>, naming: &Naming<'_>) -> Result<FileEntry, DecodeError> {
    let code = decoder.u8()?;
    let number = if naming.version < 3 { decoder.u16()?.into() } else { decoder.u64()? };
    let generation = decoder.u32()?;
    let named = |created: &Seq| naming.fields.list.iter().any(|field| field.created == *created);
    // What is not named after a vector has 0, and what is past all vectors fits none of the kinds.
    let (place, vectors) = (u16::try_from(number).unwrap_or(u16::MAX), naming.vectors);
    let kind = match code {
        FILE_IDS => FileKind::Ids,
        FILE_PAYLOAD => FileKind::Payload,
        FILE_VECTORS if usize::from(place) < vectors => FileKind::Vectors(place),
        FILE_DELTA => FileKind::Delta,
        FILE_CODES if usize::from(place) < vectors => FileKind::Codes(place),
        FILE_GRAPH if usize::from(place) < vectors => FileKind::Graph(place),
        FILE_PARTITIONS if usize::from(place) < vectors => FileKind::Partitions(place),
        FILE_FIELD if named(&Seq(number)) => FileKind::Field(Seq(number)),
        _ => return Err(decoder.range_error(u64::from(code))),
    };
    let summary = Summary {
        length: decoder.u64()?,
        crc64: decoder.u64()?,
        blake3: decoder.array()?,
        tables_crc: decoder.u32()?,
    };
    // Before version 5 it was no part of a name.
    let generation = if naming.version < 5 { 0 } else { generation };
    Ok(FileEntry { kind, generation, summary })
}

fn decode_epochs(decoder: &mut Decoder<'_>, vectors: usize) -> Result<Vec<IndexEpoch>, DecodeError> {
    let one = |decoder: &mut Decoder<'_>| {
        let number = decoder.u32()?;
        match decoder.u8()? {
            flag @ (0 | 1) => Ok(IndexEpoch { number, rebuilding: flag == 1 }),
            other => Err(decoder.range_error(other.into())),
        }
    };
    (0..vectors).map(|_| one(decoder)).collect()
}

fn encode_optimizers(out: &mut Encoder, optimizers: &OptimizerConfig) {
    let OptimizerConfig {
        deleted_threshold,
        vacuum_min_vector_number,
        default_segment_number,
        max_segment_size,
        memmap_threshold,
        indexing_threshold,
        flush_interval_sec,
        max_optimization_threads,
    } = *optimizers;
    out.u64(deleted_threshold.to_bits()).u64(vacuum_min_vector_number).u32(default_segment_number);
    let threads = max_optimization_threads.map(u64::from);
    for value in [max_segment_size, memmap_threshold, indexing_threshold, threads] {
        out.u8(u8::from(value.is_some())).u64(value.unwrap_or(0));
    }
    out.u64(flush_interval_sec);
}

fn decode_optimizers(decoder: &mut Decoder<'_>) -> Result<OptimizerConfig, DecodeError> {
    fn optional(decoder: &mut Decoder<'_>) -> Result<Option<u64>, DecodeError> {
        let (flag, value) = (decoder.u8()?, decoder.u64()?);
        match (flag, value) {
            (0, 0) => Ok(None),
            (1, value) => Ok(Some(value)),
            _ => Err(decoder.range_error(u64::from(flag))),
        }
    }
    let optimizers = OptimizerConfig {
        deleted_threshold: f64::from_bits(decoder.u64()?),
        vacuum_min_vector_number: decoder.u64()?,
        default_segment_number: decoder.u32()?,
        max_segment_size: optional(decoder)?,
        memmap_threshold: optional(decoder)?,
        indexing_threshold: optional(decoder)?,
        max_optimization_threads: optional(decoder)?
            .map(|threads| u32::try_from(threads).map_err(|_| decoder.range_error(threads)))
            .transpose()?,
        flush_interval_sec: decoder.u64()?,
    };
    optimizers.check().map_err(|_| decoder.range_error(0))?;
    Ok(optimizers)
}

fn decode_fields(decoder: &mut Decoder<'_>, synced: Seq) -> Result<Fields, DecodeError> {
    let changed = Seq(decoder.u64()?);
    // A manifest is written when what it says is durable.
    if changed > synced {
        return Err(decoder.range_error(changed.0));
    }
    let count = decoder.count(8 + 4 + 4)?;
    if count > FIELD_INDEXES_MAX {
        return Err(decoder.range_error(count as u64));
    }
    let mut list: Vec<Arc<PayloadField>> = Vec::with_capacity(count);
    for _ in 0..count {
        let created = Seq(decoder.u64()?);
        let (path, config) = decode_field(decoder)?;
        // The one that came with the collection was made by operation 0.
        let ascends = list.last().is_none_or(|last| created > last.created);
        if !ascends || created > changed || list.iter().any(|field| field.path == path) {
            return Err(decoder.range_error(created.0));
        }
        list.push(Arc::new(PayloadField { created, path, config }));
    }
    Ok(Fields { changed, list })
}

fn encode_index(out: &mut Encoder, index: &IndexConfig) {
    let (code, quantile) = match index.quantization {
        Quantization::Auto => (QUANTIZATION_AUTO, 0.0),
        Quantization::Rotated => (QUANTIZATION_ROTATED, 0.0),
        Quantization::Scalar { quantile } => (QUANTIZATION_SCALAR, quantile),
        Quantization::None => (QUANTIZATION_NONE, 0.0),
    };
    out.u32(index.m).u32(index.ef_construct).u8(code).f32(quantile);
}

fn decode_index(decoder: &mut Decoder<'_>) -> Result<IndexConfig, DecodeError> {
    let (m, ef_construct, code, quantile) = (decoder.u32()?, decoder.u32()?, decoder.u8()?, decoder.f32()?);
    let quantization = match code {
        QUANTIZATION_AUTO => Quantization::Auto,
        QUANTIZATION_ROTATED => Quantization::Rotated,
        QUANTIZATION_SCALAR => Quantization::Scalar { quantile },
        QUANTIZATION_NONE => Quantization::None,
        _ => return Err(decoder.range_error(u64::from(code))),
    };
    Ok(IndexConfig { m, ef_construct, quantization })
}

fn encode_partition(out: &mut Encoder, partition: Option<&PartitionConfig>) {
    let Some(PartitionConfig { path, kind }) = partition else {
        out.u8(PARTITION_NONE);
        return;
    };
    out.u8(if *kind == IndexKind::Integer { PARTITION_INTEGER } else { PARTITION_KEYWORD });
    out.counted(path.as_bytes());
}

fn decode_partition(decoder: &mut Decoder<'_>) -> Result<Option<PartitionConfig>, DecodeError> {
    let kind = match decoder.u8()? {
        PARTITION_NONE => return Ok(None),
        PARTITION_KEYWORD => IndexKind::Keyword,
        PARTITION_INTEGER => IndexKind::Integer,
        other => return Err(decoder.range_error(other.into())),
    };
    Ok(Some(PartitionConfig { path: decoder.text(PATH_BYTES_MAX)?.to_owned(), kind }))
}

fn decode_config(decoder: &mut Decoder<'_>, version: u16) -> Result<CollectionConfig, DecodeError> {
    let count = decoder.count(4 + 4 + 1)?;
    let mut config: Option<CollectionConfig> = None;
    for _ in 0..count {
        let name = decoder.text(NAME_BYTES_MAX)?;
        let (dim, code) = (decoder.u32()? as usize, decoder.u8()?);
        let metric = Metric::from_code(code).ok_or(decoder.range_error(u64::from(code)))?;
        if dim == 0 || dim > DIMENSION_MAX {
            return Err(decoder.range_error(dim as u64));
        }
        let index = if version == 1 { IndexConfig::default() } else { decode_index(decoder)? };
        let vectors = match config {
            None => CollectionConfig::named(name, dim, metric),
            Some(config) => config.vector(name, dim, metric),
        };
        config = Some(vectors.index(index));
    }
    let mut config = config.ok_or(decoder.range_error(0))?;
    if version >= 4
        && let Some(PartitionConfig { path, kind }) = decode_partition(decoder)?
    {
        config = config.partition_by_kind(path, kind);
    }
    config.check().map_err(|_| decoder.range_error(count as u64))?;
    Ok(config)
}

fn decode_segment(decoder: &mut Decoder<'_>, naming: &Naming<'_>) -> Result<SegmentEntry, DecodeError> {
    let (id, rows, codec_epoch) = (decoder.u64()?, decoder.u32()?, decoder.u64()?);
    let epochs = match naming.version {
        ..5 => vec![0; naming.vectors],
        _ => (0..naming.vectors).map(|_| decoder.u32()).collect::<Result<_, _>>()?,
    };
    let count = decoder.count(7 + 52)?;
    let files = (0..count).map(|_| decode_file(decoder, naming)).collect::<Result<Vec<_>, _>>()?;
    let delta = match decoder.u8()? {
        0 => None,
        1 => Some((decoder.u64()?, decode_file(decoder, naming)?)),
        other => return Err(decoder.range_error(u64::from(other))),
    };
    Ok(SegmentEntry { id, rows, codec_epoch, epochs, files, delta })
}

#[cfg(test)]
mod tests;
