//! Turns rows of vector files and JSON lines into batches of points, in file order.
//!
//! **It refuses** to write: it runs beside the writer and hands batches over. It knows no database.
//!
//! # Invariants
//!
//! 1. Row i of every vector file and line i + 1 of the payload are one point.
//! 2. A batch holds at most the asked number of points and about [`BATCH_BYTES`], at least one point; its [`Place`] is where the next begins.
//! 3. The points before an error come in whole batches before it, none of them partly.

use std::io::{BufReader, Read, Seek};

use nearfield::limits::ID_BYTES_MAX;
use nearfield::{Object, Point, PointId, Value, Vectors};

use super::rows::Rows;
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::jsonl::{LINE_BYTES_MAX, Lines};

/// Bytes of vectors and payloads after which a batch is cut, however few its points.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
/// Bytes read from the payload at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes that can be read from any place.
pub(crate) trait Seekable: Read + Seek + Send {}
impl<T: Read + Seek + Send> Seekable for T {}

/// Where ids come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The number of the row, from 0.
    Row,
    /// This field of the payload.
    Field(String),
}

impl Ids {
    /// `row`, or the name of a field.
    pub(crate) fn new(text: &str) -> Self {
        if text == "row" { Ids::Row } else { Ids::Field(text.to_owned()) }
    }
}

/// How far the input was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Place {
    /// The next row.
    pub(crate) row: u64,
    /// Where its line begins in the payload, in bytes.
    pub(crate) payload_offset: u64,
    /// The id of the row before it.
    pub(crate) last_id: Option<PointId>,
}

/// Points to be written at once.
pub(crate) struct Batch {
    pub(crate) points: Vec<Point>,
    /// Where the next batch begins.
    pub(crate) end: Place,
}

/// One file of vectors.
pub(crate) struct VectorFile {
    /// The name of the vector in the collection.
    pub(crate) name: String,
    /// What errors call the file.
    pub(crate) label: String,
    pub(crate) rows: Rows,
}

/// Points in batches, whatever they are read from.
pub(crate) trait Points: Send {
    /// How many rows there are in all.
    fn rows(&self) -> u64;

    /// The next batch, or nothing after the last row.
    fn next_batch(&mut self) -> Outcome<Option<Batch>>;
}

/// The lines of a payload.
pub(crate) struct PayloadFile {
    /// What errors call the file.
    label: String,
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
}

impl PayloadFile {
    /// Of a source that stands at the line of `place.row`.
    pub(crate) fn new(label: String, source: Box<dyn Read + Send>, place: &Place) -> Self {
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        PayloadFile { label, lines: Lines::new(source, place.row, place.payload_offset, LINE_BYTES_MAX) }
    }

    /// The object in the next line, and its size.
    fn next(&mut self, rows: u64) -> Outcome<(Object, usize)> {
        let PayloadFile { label, lines } = self;
        let number = lines.number() + 1;
        let line = lines.next_line().map_err(|error| Failure::invalid(format!("{label}, {error}")))?;
        let Some(line) = line else {
            let message =
                format!("{label} ends after line {}, but there are {rows} rows of vectors", number - 1);
            return Err(Failure::invalid(message)
                .advise("each row needs one line with a JSON object; {} is an empty one"));
        };
        json::parse_sized(line).map_err(|error| Failure::invalid(format!("{label}, line {number}, {error}")))
    }

    /// Checks that nothing but blank lines follows the last row.
    fn finish(&mut self, rows: u64) -> Outcome<()> {
        let PayloadFile { label, lines } = self;
        while let Some(line) =
            lines.next_line().map_err(|error| Failure::invalid(format!("{label}, {error}")))?
        {
            if !line.trim().is_empty() {
                let message = format!(
                    "{label} goes on at line {}, but there are only {rows} rows of vectors",
                    rows + 1
                );
                return Err(Failure::invalid(message)
                    .advise("all rows are stored; check that the two files belong together"));
            }
        }
        Ok(())
    }
}

/// All files of an import, read side by side.
pub(crate) struct Source {
    vectors: Vec<VectorFile>,
    payload: Option<PayloadFile>,
    ids: Ids,
    batch: usize,
    place: Place,
    rows: u64,
}

impl Source {
    /// Files of the same points: the payload was opened at `place`, the vectors are put there.
    pub(crate) fn new(
        mut vectors: Vec<VectorFile>,
        payload: Option<PayloadFile>,
        ids: Ids,
        batch: usize,
        place: Place,
    ) -> Outcome<Self> {
        let mut rows = None;
        for file in &mut vectors {
            file.rows
                .seek(place.row)
                .map_err(|error| Failure::invalid(format!("{}: {error}", file.label)))?;
            let here = file.rows.rows();
            rows = Some(rows.map_or(here, |rows: u64| rows.min(here)));
        }
        let rows = rows.unwrap_or(0);
        Ok(Source { vectors, payload, ids, batch: batch.max(1), place, rows })
    }

    /// The point of the next row and the bytes of its vectors and payload.
    fn next_point(&mut self) -> Outcome<(Point, usize)> {
        let mut bytes = 0;
        let payload = match &mut self.payload {
            None => Object::new(),
            Some(payload) => {
                let (object, size) = payload.next(self.rows)?;
                bytes += size;
                object
            }
        };
        let mut vectors = Vec::with_capacity(self.vectors.len());
        for file in &mut self.vectors {
            let row =
                file.rows.next_row().map_err(|error| Failure::invalid(format!("{}, {error}", file.label)))?;
            let row =
                row.ok_or_else(|| Failure::internal(format!("{} ended before its last row", file.label)))?;
            bytes += row.len() * size_of::<f32>();
            vectors.push((file.name.clone(), row));
        }
        let id = self.id(&payload)?;
        self.place.row += 1;
        self.place.payload_offset = self.payload.as_ref().map_or(0, |payload| payload.lines.offset());
        let vectors = match vectors.pop() {
            Some((name, row)) if vectors.is_empty() && name.is_empty() => Vectors::One(row),
            last => Vectors::Named(vectors.into_iter().chain(last).collect()),
        };
        Ok((Point { id, vectors, payload }, bytes))
    }

    /// The id of the next row.
    fn id(&self, payload: &Object) -> Outcome<PointId> {
        let field = match &self.ids {
            Ids::Row => return Ok(PointId::Number(self.place.row)),
            Ids::Field(field) => field,
        };
        let found = match payload.get(field) {
            Some(Value::I64(number)) if *number >= 0 => return Ok(PointId::Number(number.unsigned_abs())),
            Some(Value::U64(number)) => return Ok(PointId::Number(*number)),
            Some(Value::String(text)) if text.len() <= ID_BYTES_MAX => {
                return Ok(PointId::from(text.as_str()));
            }
            Some(Value::String(text)) => format!("is a string of {} bytes", text.len()),
            Some(Value::Array(_)) => "is a list".to_owned(),
            Some(Value::Object(_)) => "is an object".to_owned(),
            Some(value) => format!("is {}", json::from_value(value)),
            None => "is missing".to_owned(),
        };
        let label = self.payload.as_ref().map_or("the payload", |payload| &payload.label);
        let message = format!("{label}, line {}: the id field {field:?} {found}", self.place.row + 1);
        let allowed =
            format!("an id is an integer from 0 to {} or a string of at most {ID_BYTES_MAX} bytes", u64::MAX);
        Err(Failure::invalid(message).advise(allowed))
    }
}

impl Points for Source {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn next_batch(&mut self) -> Outcome<Option<Batch>> {
        let mut points = Vec::with_capacity(self.batch.min((self.rows - self.place.row) as usize));
        let mut bytes = 0;
        while points.len() < self.batch && bytes < BATCH_BYTES && self.place.row < self.rows {
            let (point, size) = self.next_point()?;
            bytes += size;
            points.push(point);
        }
        let Some(last) = points.last() else {
            return self.payload.as_mut().map_or(Ok(()), |payload| payload.finish(self.rows)).map(|()| None);
        };
        self.place.last_id = Some(last.id.clone());
        Ok(Some(Batch { points, end: self.place.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A `.npy` file of `rows` x `dimension` numbers that count up.
    fn vectors(name: &str, rows: usize, dimension: usize) -> VectorFile {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension})}}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes.extend((0..rows * dimension).flat_map(|i| (i as f32).to_le_bytes()));
        let rows = Rows::open("v.npy".as_ref(), Box::new(Cursor::new(bytes))).unwrap();
        VectorFile { name: name.to_owned(), label: "v.npy".to_owned(), rows }
    }

    fn payload(text: &str, place: &Place) -> Option<PayloadFile> {
        let rest = text.as_bytes()[place.payload_offset as usize..].to_vec();
        Some(PayloadFile::new("p.jsonl".to_owned(), Box::new(Cursor::new(rest)), place))
    }

    fn source(rows: usize, text: &str, ids: &str, place: Place) -> Source {
        Source::new(vec![vectors("", rows, 2)], payload(text, &place), Ids::new(ids), 2, place).unwrap()
    }

    fn drain(source: &mut Source) -> (Vec<Point>, Vec<Place>, Option<String>) {
        let (mut points, mut places) = (Vec::new(), Vec::new());
        loop {
            match source.next_batch() {
                Ok(Some(batch)) => {
                    points.extend(batch.points);
                    places.push(batch.end);
                }
                Ok(None) => return (points, places, None),
                Err(failure) => return (points, places, Some(failure.to_string())),
            }
        }
    }

    #[test]
    fn rows_and_lines_become_points_and_any_place_can_be_gone_on_from() {
        let text = "{\"id\":\"a\"}\n{\"id\":7}\r\n{\"id\":18446744073709551615}\n{\"id\":\"7\"}\n{\"id\":0}";
        let (points, places, end) = drain(&mut source(5, text, "id", Place::default()));
        assert_eq!(end, None);
        let ids: Vec<PointId> = points.iter().map(|point| point.id.clone()).collect();
        assert_eq!(ids, ["a".into(), 7.into(), u64::MAX.into(), "7".into(), PointId::from(0)]);
        assert_eq!(points[3].vectors, Vectors::One(vec![6.0, 7.0]));
        assert_eq!(places.iter().map(|place| place.row).collect::<Vec<_>>(), [2, 4, 5]);
        for place in places {
            let (rest, _, end) = drain(&mut source(5, text, "id", place.clone()));
            assert_eq!((rest.as_slice(), end), (&points[place.row as usize..], None));
        }
    }

    #[test]
    fn several_vectors_a_point() {
        let files = vec![vectors("a", 1, 1), vectors("b", 1, 3)];
        let mut source = Source::new(files, None, Ids::Row, 9, Place::default()).unwrap();
        let (points, ..) = drain(&mut source);
        let expected = vec![("a".to_owned(), vec![0.0]), ("b".to_owned(), vec![0.0, 1.0, 2.0])];
        assert_eq!(points[0].vectors, Vectors::Named(expected));
    }

    #[test]
    fn errors_name_the_line_and_the_field_and_come_after_whole_batches() {
        let good = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";
        for (last, part) in [
            ("", "p.jsonl ends after line 3, but there are 4 rows"),
            ("{\"id\":-1}", "line 4: the id field \"id\" is -1"),
            ("{\"id\":1.5}", "is 1.5"),
            ("{\"id\":[]}", "is a list"),
            ("{}", "line 4: the id field \"id\" is missing"),
            ("{\"id\":4,\"id\":4}", "line 4, column 12: the key \"id\" stands twice"),
            ("{\"id\":4}\n{\"id\":5}", "goes on at line 5"),
            ("oops", "line 4, column 1: expected"),
        ] {
            let (points, _, end) = drain(&mut source(4, &format!("{good}{last}"), "id", Place::default()));
            let end = end.unwrap();
            assert!(end.contains(part), "{part}: {end}");
            assert_eq!(points.len(), if part.contains("goes on") { 4 } else { 2 });
        }
        let long = format!("{good}{{\"id\":\"{}\"}}", "x".repeat(ID_BYTES_MAX + 1));
        let (.., end) = drain(&mut source(4, &long, "id", Place::default()));
        assert!(end.unwrap().contains("a string of 4097 bytes"));
        let blank = format!("{good}{{\"id\":4}}\n\n  \n");
        assert_eq!(drain(&mut source(4, &blank, "id", Place::default())).2, None);
    }

    #[test]
    fn large_payloads_make_small_batches() {
        let line = format!("{{\"t\":\"{}\"}}\n", "x".repeat(BATCH_BYTES / 2));
        let mut source = source(3, &line.repeat(3), "row", Place::default());
        source.batch = 1_000;
        assert_eq!(source.next_batch().unwrap().unwrap().points.len(), 2);
        assert_eq!(source.next_batch().unwrap().unwrap().points.len(), 1);
    }
}
