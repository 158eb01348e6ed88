//! Turns what `nearfield export` wrote into batches of points, in file order.
//!
//! **It refuses** a file that ends before its last line, and one whose checksum does not hold. It knows no database.

use std::io::{BufReader, Read};

use nearfield::limits::DIMENSION_MAX;
use nearfield::{
    CollectionConfig, FieldConfig, FieldKind, IndexConfig, Metric, PartitionConfig, Point, Quantization,
    Vectors,
};
use nearfield_codec::Crc64;
use serde_json::Value as Json;

use super::source::{BATCH_BYTES, Batch, Place, Points, VectorFile};
use crate::export::{EXPORT_KEY, EXPORT_VERSION};
use crate::failure::{Failure, Outcome};
use crate::json::record::{PointLine, parse_line};
use crate::jsonl::Lines;

/// Most bytes of a line: a payload and vectors.
pub(crate) const LINE_BYTES_MAX: usize = 128 << 20;

/// What the first line of an export says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) config: CollectionConfig,
    /// How many points follow.
    pub(crate) points: u64,
    /// The file of each vector, where they are not in the lines.
    pub(crate) files: Vec<Option<String>>,
    /// Paths of payload fields and the settings of their indexes.
    pub(crate) indexes: Vec<(String, FieldConfig)>,
}

impl Head {
    /// True for the first line of an export.
    pub(crate) fn is_head(line: &str) -> bool {
        line.starts_with(&format!("{{\"{EXPORT_KEY}\":"))
    }

    /// Reads the first line.
    pub(crate) fn parse(line: &str) -> Result<Head, String> {
        let json: Json = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match json[EXPORT_KEY].as_u64() {
            Some(EXPORT_VERSION) => {}
            other => return Err(format!("{EXPORT_KEY} is {other:?}: this program reads {EXPORT_VERSION}")),
        }
        let points = json["points"].as_u64().ok_or("points is no number")?;
        let list = |key: &str| json[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let (mut config, mut files) = (None, Vec::new());
        for vector in list("vectors") {
            config = Some(with_vector(config, vector)?);
            files.push(vector["file"].as_str().map(str::to_owned));
        }
        let mut config: CollectionConfig = config.ok_or("vectors is empty")?;
        if let Some(partition) = json.get("partition").filter(|partition| !partition.is_null()) {
            let PartitionConfig { path, kind } = read_partition(partition)?;
            config = config.partition_by_kind(path, kind);
        }
        config.check().map_err(|error| error.to_string())?;
        let indexes = list("indexes").iter().map(read_index).collect::<Result<_, _>>()?;
        Ok(Head { config, points, files, indexes })
    }
}

fn with_vector(config: Option<CollectionConfig>, json: &Json) -> Result<CollectionConfig, String> {
    let name = json["name"].as_str().ok_or("the name of a vector is missing")?;
    let dim =
        json["dim"].as_u64().and_then(|dim| usize::try_from(dim).ok()).filter(|dim| *dim <= DIMENSION_MAX);
    let dim = dim.ok_or_else(|| format!("dim of vector {name:?} is not 1 to {DIMENSION_MAX}"))?;
    let metric = json["metric"].as_str().and_then(|text| text.parse::<Metric>().ok());
    let metric = metric.ok_or_else(|| format!("metric of vector {name:?} is not known"))?;
    let usual = IndexConfig::default();
    let number = |key: &str, usual: u32| match json.get(key) {
        None => Ok(usual),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| format!("{key} of vector {name:?} is no number"))
        }
    };
    let quantization = match (json["quantization"].as_str(), json["quantization"]["scalar"].as_f64()) {
        (Some("auto"), _) => Quantization::Auto,
        (Some("rotated"), _) => Quantization::Rotated,
        (Some("none"), _) => Quantization::None,
        (None, Some(quantile)) => Quantization::Scalar { quantile: quantile as f32 },
        (None, None) if json.get("quantization").is_none() => usual.quantization,
        _ => return Err(format!("quantization of vector {name:?} is not known")),
    };
    let index = IndexConfig {
        m: number("m", usual.m)?,
        ef_construct: number("ef_construct", usual.ef_construct)?,
        quantization,
    };
    let config = match config {
        None => CollectionConfig::named(name, dim, metric),
        Some(config) => config.vector(name, dim, metric),
    };
    Ok(config.index(index))
}

fn read_partition(json: &Json) -> Result<PartitionConfig, String> {
    let path = json["path"].as_str().ok_or("the path of the partition is missing")?.to_owned();
    let kind = json["kind"]
        .as_str()
        .and_then(FieldKind::from_name)
        .ok_or("the kind of the partition is not known")?;
    Ok(PartitionConfig { path, kind })
}

fn read_index(json: &Json) -> Result<(String, FieldConfig), String> {
    let path = json["path"].as_str().ok_or("the path of an index is missing")?.to_owned();
    let wrong = || format!("the settings of the index of {path:?} are not understood");
    let text = json["settings"].as_str().ok_or_else(wrong)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8))
        .collect();
    let config = bytes.and_then(|bytes| FieldConfig::decode(&bytes).ok()).ok_or_else(wrong)?;
    Ok((path, config))
}

/// Assembles the vectors of a point.
pub(crate) fn vectors_of(vectors: Vec<(String, Vec<f32>)>) -> Vectors {
    match <[_; 1]>::try_from(vectors) {
        Ok([(name, vector)]) if name.is_empty() => Vectors::One(vector),
        Ok(one) => Vectors::Named(one.into()),
        Err(vectors) => Vectors::Named(vectors),
    }
}

/// The lines of an export, and the arrays beside them.
pub(crate) struct RecordSource {
    label: String,
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
    arrays: Vec<VectorFile>,
    batch: usize,
    place: Place,
    rows: u64,
    /// The checksum of all lines, where they are all read.
    crc: Option<Crc64>,
    ended: bool,
}

impl RecordSource {
    /// The lines of `source`, which stands at the line of `place.row`. `head` is the first line where that is the first point.
    pub(crate) fn new(
        label: String,
        source: Box<dyn Read + Send>,
        mut arrays: Vec<VectorFile>,
        batch: usize,
        place: Place,
        (rows, head): (u64, &str),
    ) -> Outcome<Self> {
        for file in &mut arrays {
            let moved = file.rows.seek(place.row);
            moved.map_err(|error| Failure::invalid(format!("{}: {error}", file.label)))?;
            if file.rows.rows() != rows {
                let found = file.rows.rows();
                return Err(Failure::invalid(format!(
                    "{} has {found} rows, {label} {rows} points",
                    file.label
                )));
            }
        }
        let crc = (place.row == 0).then(|| {
            let mut crc = Crc64::new();
            crc.update(head.as_bytes());
            crc.update(b"\n");
            crc
        });
        let source = BufReader::with_capacity(1 << 20, source);
        let lines = Lines::new(source, place.row + 1, place.payload_offset, LINE_BYTES_MAX);
        Ok(RecordSource { label, lines, arrays, batch: batch.max(1), place, rows, crc, ended: false })
    }

    /// The next point and its size; nothing after the last line.
    fn next_point(&mut self) -> Outcome<Option<(Point, usize)>> {
        let label = &self.label;
        let before = self.crc.as_ref().map(|crc| format!("{:016x}", crc.value()));
        let number = self.lines.number() + 1;
        let text = self.lines.next_line().map_err(|error| Failure::invalid(format!("{label}, {error}")))?;
        let Some(text) = text else {
            let message = format!("{label} ends after line {}, before its last line", number - 1);
            return Err(Failure::invalid(message).advise("it was cut off: export it again"));
        };
        if let Some(crc) = &mut self.crc {
            crc.update(text.as_bytes());
            crc.update(b"\n");
        }
        let located = |what: String| Failure::invalid(format!("{label}, line {number}: {what}"));
        let line = parse_line(text).map_err(|error| located(error.to_string()))?;
        let PointLine { id, mut vectors, absent, payload, end, mut bytes } = line;
        if let Some((points, crc)) = end {
            if points != self.place.row || before.is_some_and(|before| before != crc) {
                let row = self.place.row;
                return Err(located(format!(
                    "it says {points} points and checksum {crc}, which {row} points do not have"
                ))
                .advise("the file was changed or damaged after it was exported"));
            }
            self.ended = true;
            return Ok(None);
        }
        let id = id.ok_or_else(|| located("the id is missing".to_owned()))?;
        for file in &mut self.arrays {
            let row =
                file.rows.next_row().map_err(|error| Failure::invalid(format!("{}, {error}", file.label)))?;
            let row = row.ok_or_else(|| Failure::invalid(format!("{} has too few rows", file.label)))?;
            if !absent.contains(&file.name) {
                bytes += row.len() * 4;
                vectors.push((file.name.clone(), row));
            }
        }
        self.place.row += 1;
        self.place.payload_offset = self.lines.offset();
        Ok(Some((Point { id, vectors: vectors_of(vectors), payload }, bytes)))
    }
}

impl Points for RecordSource {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn next_batch(&mut self) -> Outcome<Option<Batch>> {
        let (mut points, mut bytes) = (Vec::new(), 0);
        while !self.ended && points.len() < self.batch && bytes < BATCH_BYTES {
            match self.next_point() {
                Ok(Some((point, size))) => {
                    bytes += size;
                    points.push(point);
                }
                Ok(None) => {}
                Err(failure) => return Err(failure),
            }
        }
        let Some(last) = points.last() else { return Ok(None) };
        self.place.last_id = Some(last.id.clone());
        Ok(Some(Batch { points, end: self.place.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_what_is_wrong() {
        let good = r#"{"nearfield_export":1,"points":2,"vectors":[{"name":"","dim":3,"metric":"dot"}]}"#;
        let head = Head::parse(good).unwrap();
        assert_eq!((head.points, head.config), (2, CollectionConfig::new(3, Metric::Dot)));
        assert!(Head::is_head(good) && !Head::is_head("{\"version\":1}"));
        for (from, to, part) in [
            (":1,", ":2,", "this program reads 1"),
            ("\"points\":2", "\"points\":\"x\"", "points"),
            ("\"dim\":3", "\"dim\":0", "dim"),
            ("\"dim\":3", "\"dim\":99999999999", "dim"),
            ("\"dot\"", "\"dots\"", "metric"),
            ("\"name\":\"\"", "\"nome\":\"\"", "name"),
        ] {
            let error = Head::parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(part), "{from} -> {to}: {error}");
        }
    }
}
