//! An unpacked benchmark set in memory: vectors, payload, queries and the exact answers.

use std::path::{Path, PathBuf};

use nearfield::{Object, Point, PointId, Value};

use crate::Result;
use crate::npy::{self, Table};

/// Two scores nearer than this may change places: the stored answers were made with another order of additions.
const TIE: f64 = 2e-6;

/// A set of vectors with one payload each, and queries with their exact answers by cosine.
pub(crate) struct DataSet {
    /// The vectors; row `i` is the point with the id `i`.
    pub(crate) base: Table<f32>,
    /// Vectors that are not in `base`.
    pub(crate) queries: Table<f32>,
    /// One JSON object for each row of `base`.
    pub(crate) payload: Vec<String>,
    /// Where it was read from.
    pub(crate) folder: PathBuf,
    truth: Table<i32>,
}

impl DataSet {
    /// Reads `base.npy`, `queries.npy`, `payload.jsonl` and `gt.npy` of a folder.
    ///
    /// # Errors
    ///
    /// A file that is missing, damaged or does not fit the others.
    pub(crate) fn read(folder: &Path) -> Result<DataSet> {
        let base = npy::read_f32(&folder.join("base.npy"))?;
        let queries = npy::read_f32(&folder.join("queries.npy"))?;
        let truth = npy::read_i32(&folder.join("gt.npy"))?;
        let path = folder.join("payload.jsonl");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let payload: Vec<String> = text.lines().map(str::to_owned).collect();
        let fits = queries.width == base.width && truth.rows == queries.rows && payload.len() == base.rows;
        if !fits || base.rows == 0 || queries.rows == 0 {
            let shape = (base.rows, base.width, queries.rows, queries.width, truth.rows, payload.len());
            return Err(format!("the files of {} do not belong together: {shape:?}", folder.display()).into());
        }
        Ok(DataSet { base, queries, payload, folder: folder.to_owned(), truth })
    }

    /// The point of row `index`.
    pub(crate) fn point(&self, index: usize) -> Result<Point> {
        let payload =
            object(&self.payload[index]).map_err(|error| format!("payload of row {index}: {error}"))?;
        Ok(Point::new(index as u64, self.base.row(index).to_vec()).payload(payload))
    }

    /// All points, in batches of `size`.
    pub(crate) fn batches(&self, size: usize) -> Result<Vec<Vec<Point>>> {
        let rows: Vec<usize> = (0..self.base.rows).collect();
        rows.chunks(size).map(|rows| rows.iter().map(|row| self.point(*row)).collect()).collect()
    }

    /// What one row is worth in bytes: the vector as it is, the payload as its text.
    pub(crate) fn row_bytes(&self, index: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            self.base.row(index).iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend_from_slice(self.payload[index].as_bytes());
        bytes
    }

    /// The share of the exact answers to query `query` among `found`, ties counted as right.
    pub(crate) fn recall(&self, query: usize, found: &[PointId]) -> f64 {
        let exact = &self.truth.row(query)[..found.len().min(self.truth.width)];
        let score = |row: usize| cosine(self.queries.row(query), self.base.row(row));
        let Some(last) = exact.last().map(|row| score(*row as usize)) else { return 1.0 };
        let right = found.iter().filter(|id| match id {
            PointId::Number(row) => (*row as usize) < self.base.rows && score(*row as usize) >= last - TIE,
            _ => false,
        });
        right.count() as f64 / exact.len() as f64
    }
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// A JSON object as a payload.
pub(crate) fn object(text: &str) -> Result<Object> {
    let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
    Ok(entries.into_iter().map(|(key, value)| (key, payload_value(value))).collect())
}

fn payload_value(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::I64(value),
            (None, Some(value)) => Value::U64(value),
            (None, None) => Value::F64(number.as_f64().unwrap_or(f64::MAX)),
        },
        serde_json::Value::Array(values) => Value::Array(values.into_iter().map(payload_value).collect()),
        serde_json::Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, payload_value(value))).collect())
        }
    }
}

/// Sets for tests: small, with exact answers by brute force.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `rows` vectors of `width` numbers and four queries, spread by a fixed sequence.
    pub(crate) fn small(rows: usize, width: usize) -> DataSet {
        let mut state = 7u64;
        let mut table = |rows: usize| Table {
            rows,
            width,
            numbers: (0..rows * width)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 40) as f32 / (1 << 23) as f32 - 1.0
                })
                .collect(),
        };
        let (base, queries) = (table(rows), table(4));
        let exact = |query: usize| {
            let mut order: Vec<i32> = (0..rows as i32).collect();
            let score = |row: &i32| cosine(queries.row(query), base.row(*row as usize));
            order.sort_by(|a, b| score(b).total_cmp(&score(a)));
            order.truncate(10);
            order
        };
        let numbers: Vec<i32> = (0..4).flat_map(exact).collect();
        let truth = Table { rows: 4, width: 10, numbers };
        let payload = (0..rows).map(|row| format!("{{\"text\": \"row {row}\", \"n\": {row}}}")).collect();
        DataSet { base, queries, payload, folder: PathBuf::new(), truth }
    }

    #[test]
    fn recall_counts_what_is_right() {
        let set = small(100, 8);
        let mut exact: Vec<PointId> = set.truth.row(0).iter().map(|row| PointId::from(*row as u64)).collect();
        assert_eq!(set.recall(0, &exact), 1.0);
        exact[9] = PointId::from("elsewhere");
        assert_eq!(set.recall(0, &exact), 0.9);
        let farthest = (0..100u64).min_by(|a, b| {
            let score = |row: &u64| cosine(set.queries.row(0), set.base.row(*row as usize));
            score(a).total_cmp(&score(b))
        });
        exact[9] = PointId::from(farthest.unwrap());
        assert_eq!(set.recall(0, &exact), 0.9);
    }

    #[test]
    fn payload_keeps_the_kinds_of_json() {
        let object = object(
            "{\"a\": -1, \"b\": 18446744073709551615, \"c\": 0.5, \"d\": [null, true, {\"e\": \"f\"}]}",
        )
        .unwrap();
        assert_eq!(object.get("a"), Some(&Value::I64(-1)));
        assert_eq!(object.get("b"), Some(&Value::U64(u64::MAX)));
        assert_eq!(object.get("c"), Some(&Value::F64(0.5)));
        let Some(Value::Array(list)) = object.get("d") else { panic!("{object:?}") };
        assert_eq!(list[..2], [Value::Null, Value::Bool(true)]);
        assert!(super::object("[1]").is_err());
    }

    #[test]
    fn a_set_is_read_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, kind: &str, rows: usize, width: usize, body: &[u8]| {
            let header =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {width}), }}\n");
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((header.len() as u16).to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend(body);
            std::fs::write(folder.path().join(name), bytes).unwrap();
        };
        write("base.npy", "<f4", 2, 1, &[0, 0, 128, 63, 0, 0, 0, 64]);
        write("queries.npy", "<f4", 1, 1, &[0, 0, 128, 63]);
        write("gt.npy", "<i4", 1, 2, &[0, 0, 0, 0, 1, 0, 0, 0]);
        std::fs::write(folder.path().join("payload.jsonl"), "{\"a\": 1}\n{}\n").unwrap();
        let set = DataSet::read(folder.path()).unwrap();
        assert_eq!(set.row_bytes(1), [0, 0, 0, 64, b'{', b'}']);
        assert_eq!(set.batches(1).unwrap().len(), 2);
        std::fs::write(folder.path().join("payload.jsonl"), "{}\n").unwrap();
        assert!(DataSet::read(folder.path()).is_err());
    }
}
