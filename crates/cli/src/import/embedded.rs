//! Turns the one JSON object of the embedded Python API into batches of points, an element at a time.
//!
//! **It refuses** to hold more than one element, and elements that are no objects. The parts of an element are read by `json`.

use std::io::{BufRead, BufReader, Read};

use nearfield::{CollectionConfig, Metric, Point, PointId};
use serde_json::Value as Json;

use super::records::{LINE_BYTES_MAX, vectors_of};
use super::source::{BATCH_BYTES, Batch, Place, Points};
use crate::failure::{Failure, Outcome};
use crate::json::record::{PointLine, parse_line};

/// The key of the list.
const LIST_KEY: &str = "vectors";
/// Bytes before the list at most.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Splits the list into its elements.
struct Elements<R> {
    source: R,
    /// Bytes read.
    offset: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Elements<R> {
    fn new(source: R, offset: u64) -> Self {
        Elements { source, offset, text: Vec::new() }
    }

    fn byte(&mut self) -> Outcome<Option<u8>> {
        let buffer = self.source.fill_buf().map_err(|error| Failure::invalid(format!("reading: {error}")))?;
        let byte = buffer.first().copied();
        if byte.is_some() {
            self.source.consume(1);
            self.offset += 1;
        }
        Ok(byte)
    }

    fn refused(&self, what: &str) -> Failure {
        Failure::invalid(format!("offset {}: {what}", self.offset))
    }

    /// Reads up to the list; returns what stands before it, as an object.
    fn head(&mut self) -> Outcome<Json> {
        let mut head = Vec::new();
        let (mut depth, mut in_text, mut escaped) = (0, false, false);
        loop {
            let byte = self.byte()?.ok_or_else(|| self.refused("it ends before the list of vectors"))?;
            if head.len() == HEAD_BYTES_MAX {
                return Err(self.refused("there is no list of vectors near the beginning"));
            }
            head.push(byte);
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'{' => depth += 1,
                b'[' if depth == 1 && is_list(&head) => break,
                b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth <= 0 && !byte.is_ascii_whitespace() {
                return Err(self.refused("there is no list of vectors"));
            }
        }
        head.extend_from_slice(b"]}");
        serde_json::from_slice(&head).map_err(|error| self.refused(&error.to_string()))
    }

    /// Reads what stands after the list, to the end of the file; returns it as an object.
    fn tail(&mut self) -> Outcome<Json> {
        let mut tail = b"{\"\":0".to_vec();
        while let Some(byte) = self.byte()? {
            if tail.len() == HEAD_BYTES_MAX {
                return Err(self.refused("there is too much after the list of vectors"));
            }
            tail.push(byte);
        }
        serde_json::from_slice(&tail)
            .map_err(|error| self.refused(&format!("after the list of vectors: {error}")))
    }

    /// The next element; nothing after the last.
    fn next(&mut self) -> Outcome<Option<&str>> {
        self.text.clear();
        let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
        loop {
            let byte = self.byte()?.ok_or_else(|| self.refused("it ends inside the list of vectors"))?;
            if depth == 0 {
                match byte {
                    b',' | b' ' | b'\t' | b'\n' | b'\r' => continue,
                    b']' => return Ok(None),
                    b'{' => {}
                    _ => return Err(self.refused("an element of the list of vectors is no object")),
                }
            }
            if self.text.len() == LINE_BYTES_MAX {
                return Err(self.refused(&format!("an element has more than {LINE_BYTES_MAX} bytes")));
            }
            self.text.push(byte);
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let offset = self.offset;
                let text = std::str::from_utf8(&self.text);
                return text
                    .map(Some)
                    .map_err(|_| Failure::invalid(format!("offset {offset}: it is not UTF-8")));
            }
        }
    }
}

/// True if `"vectors": [` is the end of these bytes.
fn is_list(head: &[u8]) -> bool {
    let trimmed = |bytes: &[u8], end: u8| {
        let bytes = bytes.trim_ascii_end();
        bytes.strip_suffix(&[end]).map(<[u8]>::to_vec)
    };
    trimmed(head, b'[')
        .and_then(|head| trimmed(&head, b':'))
        .is_some_and(|head| head.trim_ascii_end().ends_with(format!("\"{LIST_KEY}\"").as_bytes()))
}

/// What stands before the list, and how many elements are in it. Reads the whole file.
pub(crate) fn survey(label: &str, source: impl Read) -> Outcome<(CollectionConfig, u64, u64)> {
    let mut elements = Elements::new(BufReader::with_capacity(1 << 20, source), 0);
    let located = |failure: Failure| failure.within(label);
    let head = elements.head().map_err(located)?;
    let first = elements.offset;
    let mut count = 0;
    while elements.next().map_err(located)?.is_some() {
        count += 1;
    }
    let tail = elements.tail().map_err(located)?;
    if !tail[LIST_KEY].is_null() {
        return Err(Failure::invalid(format!("{label}: there are two lists of vectors")));
    }
    let of = |key: &str| if head[key].is_null() { &tail[key] } else { &head[key] };
    let dim = of("dim").as_u64().and_then(|dim| usize::try_from(dim).ok());
    let dim = dim.ok_or_else(|| Failure::invalid(format!("{label}: dim is missing")))?;
    let metric = match of("metric").as_str() {
        None | Some("cosine") => Metric::Cosine,
        Some("euclidean") => Metric::Euclid,
        Some("dot_product") => Metric::Dot,
        Some(other) => return Err(Failure::invalid(format!("{label}: metric {other:?} is not known"))),
    };
    let config = CollectionConfig::new(dim, metric);
    config.check()?;
    Ok((config, count, first))
}

/// The elements of the list.
pub(crate) struct EmbeddedSource {
    label: String,
    elements: Elements<BufReader<Box<dyn Read + Send>>>,
    /// The name of the vector in the collection.
    name: String,
    batch: usize,
    place: Place,
    rows: u64,
}

impl EmbeddedSource {
    /// The elements from `place` on, where `source` stands.
    pub(crate) fn new(
        label: String,
        source: Box<dyn Read + Send>,
        name: String,
        batch: usize,
        place: Place,
        rows: u64,
    ) -> Self {
        let source = BufReader::with_capacity(1 << 20, source);
        let elements = Elements::new(source, place.payload_offset);
        EmbeddedSource { label, elements, name, batch: batch.max(1), place, rows }
    }

    fn next_point(&mut self) -> Outcome<Option<(Point, usize)>> {
        let EmbeddedSource { label, elements, name, place, .. } = self;
        let Some(text) = elements.next().map_err(|failure| failure.within(label))? else { return Ok(None) };
        let located = |what: String| Failure::invalid(format!("{label}, element {}: {what}", place.row));
        let line = parse_line(text).map_err(|error| located(error.to_string()))?;
        let PointLine { id, mut vectors, payload, bytes, .. } = line;
        let id: PointId = id.ok_or_else(|| located("the id is missing".to_owned()))?;
        if vectors.len() != 1 || !vectors[0].0.is_empty() {
            return Err(located("it has no vector".to_owned()));
        }
        vectors[0].0.clone_from(name);
        place.row += 1;
        place.payload_offset = elements.offset;
        Ok(Some((Point { id, vectors: vectors_of(vectors), payload }, bytes)))
    }
}

impl Points for EmbeddedSource {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn next_batch(&mut self) -> Outcome<Option<Batch>> {
        let (mut points, mut bytes) = (Vec::new(), 0);
        while points.len() < self.batch && bytes < BATCH_BYTES && self.place.row < self.rows {
            let Some((point, size)) = self.next_point()? else { break };
            bytes += size;
            points.push(point);
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
    fn elements_are_split_whatever_is_in_their_texts() {
        let text = r#" {"version":1, "dim" : 2,"note":"\"vectors\":[","metric":"dot_product","vectors" : [
            {"id":"a]}\"{","vector":[1,2]} , {"id":"b","vector":[3,4],"metadata":{"x":[{}]}}] } "#;
        let (config, count, first) = survey("f", text.as_bytes()).unwrap();
        assert_eq!((config, count), (CollectionConfig::new(2, Metric::Dot), 2));
        let rest = Box::new(std::io::Cursor::new(text.as_bytes()[first as usize..].to_vec()));
        let place = Place { payload_offset: first, ..Place::default() };
        let mut source = EmbeddedSource::new("f".into(), rest, String::new(), 1, place, count);
        let one = source.next_batch().unwrap().unwrap();
        assert_eq!(one.points[0].id, PointId::from("a]}\"{"));
        // From the place after it the rest is the same.
        let rest =
            Box::new(std::io::Cursor::new(text.as_bytes()[one.end.payload_offset as usize..].to_vec()));
        let mut again = EmbeddedSource::new("f".into(), rest, String::new(), 9, one.end, count);
        let (two, same) = (source.next_batch().unwrap().unwrap(), again.next_batch().unwrap().unwrap());
        assert_eq!((two.points.len(), two.points), (1, same.points));
        assert!(source.next_batch().unwrap().is_none());
    }

    #[test]
    fn keys_after_the_list_count_too() {
        let (config, count, _) =
            survey("f", &br#"{"vectors":[{"id":"a","vector":[1,2]}] , "metric":"dot_product","dim":2} "#[..])
                .unwrap();
        assert_eq!((config, count), (CollectionConfig::new(2, Metric::Dot), 1));
    }

    #[test]
    fn other_files_are_refused() {
        for (text, part) in [
            ("", "ends before"),
            ("[1]", "no list of vectors"),
            ("{}", "no list of vectors"),
            (r#"{"vectors":[]}"#, "dim is missing"),
            (r#"{"dim":2,"metric":"x","vectors":[]}"#, "metric \"x\""),
            (r#"{"dim":2,"vectors":[1]}"#, "no object"),
            (r#"{"dim":2,"vectors":[{"#, "ends inside"),
            (r#"{"dim":0,"vectors":[]}"#, "dim is 0"),
            (r#"{"dim":2,"vectors":[]"#, "after the list"),
            (r#"{"dim":2,"vectors":[]}{"#, "after the list"),
            (r#"{"dim":2,"vectors":[],"metric":"x"}"#, "metric \"x\""),
        ] {
            let error = survey("f", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
