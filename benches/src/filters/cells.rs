//! The filters that are measured, and the exact answers under each: every row that passes, scored.

use std::collections::BTreeMap;
use std::thread;

use nearfield::PointId;
use serde_json::{Value, json};

use crate::Result;
use crate::dataset::DataSet;

/// Two scores nearer than this may change places.
const TIE: f32 = 2e-6;

/// What filters ask about, as columns.
struct Columns {
    words: Vec<i64>,
    bucket: Vec<i64>,
    category: Vec<u16>,
    /// The names of the categories.
    names: Vec<String>,
}

/// Which rows pass, for one query or all.
type Rows = Vec<bool>;

/// One filter, or one for each query.
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    /// The share of the rows that pass, the mean over the queries.
    pub(crate) share: f64,
    /// One text, or one for each query.
    filters: Vec<String>,
    /// Of each query the score of the last of the exact answers, its cosine times the length of the query, and how many there are.
    worst: Vec<(f32, usize)>,
    /// The rows that pass each of `filters`.
    passing: Vec<usize>,
    rows: Vec<std::sync::Arc<Rows>>,
}

pub(crate) struct Cells(Vec<Cell>);

impl Cell {
    /// The filter of a query.
    pub(crate) fn filter(&self, query: usize) -> &str {
        &self.filters[self.passing[query]]
    }

    fn rows(&self, query: usize) -> &Rows {
        &self.rows[self.passing[query]]
    }

    /// The share of the exact answers among `found`, ties counted as right.
    ///
    /// # Errors
    ///
    /// A row that does not pass was found.
    pub(crate) fn recall(&self, set: &DataSet, query: usize, found: &[PointId], k: usize) -> Result<f64> {
        let (worst, count) = self.worst[query];
        let mut right = 0usize;
        for id in found {
            let PointId::Number(row) = id else { return Err(format!("{id} was never written").into()) };
            if !self.rows(query)[*row as usize] {
                return Err(format!("{}: point {row} does not pass", self.name).into());
            }
            let row = set.base.row(*row as usize);
            right += usize::from(dot(set.queries.row(query), row) / length(row) >= worst - TIE);
        }
        if count == 0 {
            return Ok(if found.is_empty() { 1.0 } else { 0.0 });
        }
        Ok(right.min(k) as f64 / count as f64)
    }
}

impl Cells {
    /// All cells with their exact answers.
    pub(crate) fn new(set: &DataSet, k: usize) -> Result<Cells> {
        let columns = Columns::read(set)?;
        let mut cells = shared(&columns, set.queries.rows);
        cells.extend(far(&columns, set));
        let queries: Vec<usize> = (0..set.queries.rows).collect();
        let halves: Vec<&[usize]> = queries.chunks(queries.len().div_ceil(2)).collect();
        let answers: Vec<Vec<Vec<(f32, usize)>>> = thread::scope(|scope| {
            let cells = &cells;
            let threads: Vec<_> =
                halves.iter().map(|half| scope.spawn(move || worst(set, cells, half, k))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        });
        for (at, cell) in cells.iter_mut().enumerate() {
            cell.worst = answers.iter().flatten().map(|of_query| of_query[at]).collect();
        }
        Ok(Cells(cells))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cell> {
        self.0.iter()
    }
}

/// For each of `queries`, for each cell: the k-th score and how many answers there are.
fn worst(set: &DataSet, cells: &[Cell], queries: &[usize], k: usize) -> Vec<Vec<(f32, usize)>> {
    let mut scores = vec![0.0f32; set.base.rows];
    let lengths: Vec<f32> = (0..set.base.rows).map(|row| length(set.base.row(row))).collect();
    let of_query = |&query: &usize| {
        for (row, score) in scores.iter_mut().enumerate() {
            *score = dot(set.queries.row(query), set.base.row(row)) / lengths[row];
        }
        cells.iter().map(|cell| kth(&scores, cell.rows(query), k)).collect()
    };
    queries.iter().map(of_query).collect()
}

fn kth(scores: &[f32], rows: &Rows, k: usize) -> (f32, usize) {
    let mut best: Vec<f32> = Vec::with_capacity(k + 1);
    for (&score, _) in scores.iter().zip(rows).filter(|(_, passes)| **passes) {
        if best.len() == k && score <= best[k - 1] {
            continue;
        }
        let at = best.partition_point(|&better| better >= score);
        best.insert(at, score);
        best.truncate(k);
    }
    (best.last().copied().unwrap_or(0.0), best.len())
}

fn length(row: &[f32]) -> f32 {
    dot(row, row).sqrt().max(f32::MIN_POSITIVE)
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, _) = left.as_chunks::<16>();
    let (right, _) = right.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for (a, b) in left.iter().zip(right) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

impl Columns {
    fn read(set: &DataSet) -> Result<Columns> {
        let mut columns =
            Columns { words: Vec::new(), bucket: Vec::new(), category: Vec::new(), names: Vec::new() };
        let mut places: BTreeMap<String, u16> = BTreeMap::new();
        for (row, text) in set.payload.iter().enumerate() {
            let payload: Value = serde_json::from_str(text)?;
            let missing =
                |field: &str| format!("payload of row {row} has no {field:?}: `filters` wants the text set");
            let number = |field: &str| payload[field].as_i64().ok_or_else(|| missing(field));
            columns.words.push(number("words")?);
            columns.bucket.push(number("bucket")?);
            let name = payload["category"].as_str().ok_or_else(|| missing("category"))?;
            let next = places.len() as u16;
            let place = *places.entry(name.to_owned()).or_insert(next);
            if usize::from(place) == columns.names.len() {
                columns.names.push(name.to_owned());
            }
            columns.category.push(place);
        }
        Ok(columns)
    }

    fn rows(&self, passes: impl Fn(usize) -> bool) -> Rows {
        (0..self.words.len()).map(passes).collect()
    }

    fn is(&self, row: usize, name: &str) -> bool {
        self.names[usize::from(self.category[row])] == name
    }
}

fn at_least(field: &str, value: i64) -> Value {
    json!({"key": field, "range": {"gte": value}})
}

fn below(field: &str, value: i64) -> Value {
    json!({"key": field, "range": {"lt": value}})
}

fn category(name: &str) -> Value {
    json!({"key": "category", "match": {"value": name}})
}

/// The filters that are the same for every query: the natural ones, the random ones, conjunctions and negations.
fn shared(columns: &Columns, queries: usize) -> Vec<Cell> {
    let c = columns;
    let must = |conditions: Vec<Value>| json!({"must": conditions});
    let all: Vec<(&'static str, Value, Rows)> = vec![
        ("n50", must(vec![at_least("words", 2)]), c.rows(|row| c.words[row] >= 2)),
        ("n10", must(vec![category("noun.artifact")]), c.rows(|row| c.is(row, "noun.artifact"))),
        ("n1", must(vec![category("noun.quantity")]), c.rows(|row| c.is(row, "noun.quantity"))),
        ("n01", must(vec![category("noun.motive")]), c.rows(|row| c.is(row, "noun.motive"))),
        ("r50", must(vec![below("bucket", 500)]), c.rows(|row| c.bucket[row] < 500)),
        ("r10", must(vec![below("bucket", 100)]), c.rows(|row| c.bucket[row] < 100)),
        ("r1", must(vec![below("bucket", 10)]), c.rows(|row| c.bucket[row] < 10)),
        ("r01", must(vec![below("bucket", 1)]), c.rows(|row| c.bucket[row] < 1)),
        (
            "n50 and r50",
            must(vec![at_least("words", 2), below("bucket", 500)]),
            c.rows(|row| c.words[row] >= 2 && c.bucket[row] < 500),
        ),
        (
            "n10 and r50",
            must(vec![category("noun.artifact"), below("bucket", 500)]),
            c.rows(|row| c.is(row, "noun.artifact") && c.bucket[row] < 500),
        ),
        (
            "n10 and r10",
            must(vec![category("noun.artifact"), below("bucket", 100)]),
            c.rows(|row| c.is(row, "noun.artifact") && c.bucket[row] < 100),
        ),
        (
            "not n10",
            json!({"must_not": [category("noun.artifact")]}),
            c.rows(|row| !c.is(row, "noun.artifact")),
        ),
        (
            "n50 not r50",
            json!({"must": [at_least("words", 2)], "must_not": [below("bucket", 500)]}),
            c.rows(|row| c.words[row] >= 2 && c.bucket[row] >= 500),
        ),
        (
            "not n10 nor r50",
            json!({"must_not": [category("noun.artifact"), below("bucket", 500)]}),
            c.rows(|row| !c.is(row, "noun.artifact") && c.bucket[row] >= 500),
        ),
    ];
    let cell = |(name, filter, rows): (&'static str, Value, Rows)| Cell {
        name,
        share: share(&rows),
        filters: vec![filter.to_string()],
        worst: Vec::new(),
        passing: vec![0; queries],
        rows: vec![rows.into()],
    };
    all.into_iter().map(cell).collect()
}

fn share(rows: &Rows) -> f64 {
    rows.iter().filter(|passes| **passes).count() as f64 / rows.len() as f64
}

/// The filters against the query: the category whose centre is farthest from it, of all and of those with more rows, and all but the nearest.
fn far(columns: &Columns, set: &DataSet) -> Vec<Cell> {
    let centres = centres(columns, set);
    let sizes: Vec<usize> = (0..columns.names.len())
        .map(|name| columns.category.iter().filter(|place| usize::from(**place) == name).count())
        .collect();
    let farthest = |query: usize, min: usize| {
        let score = |name: &usize| dot(set.queries.row(query), &centres[*name]);
        let large = (0..centres.len()).filter(|name| sizes[*name] >= min);
        large.min_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default()
    };
    let nearest = |query: usize| {
        let score = |name: &usize| dot(set.queries.row(query), &centres[*name]);
        (0..centres.len()).max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default()
    };
    let is = |name: &String| json!({"must": [category(name)]}).to_string();
    let is_not = |name: &String| json!({"must_not": [category(name)]}).to_string();
    let of = |name, filters: Vec<String>, rows: Vec<Rows>, passing: Vec<usize>| {
        let shares = passing.iter().map(|at| share(&rows[*at]));
        Cell {
            name,
            share: shares.sum::<f64>() / passing.len() as f64,
            filters,
            worst: Vec::new(),
            passing,
            rows: rows.into_iter().map(Into::into).collect(),
        }
    };
    let places = 0..columns.names.len();
    let rows = |name: usize| columns.rows(|row| usize::from(columns.category[row]) == name);
    let rows_not = |name: usize| columns.rows(|row| usize::from(columns.category[row]) != name);
    let queries = 0..set.queries.rows;
    let names = &columns.names;
    vec![
        of(
            "farthest",
            names.iter().map(is).collect(),
            places.clone().map(rows).collect(),
            queries.clone().map(|query| farthest(query, 0)).collect(),
        ),
        of(
            "farthest large",
            names.iter().map(is).collect(),
            places.clone().map(rows).collect(),
            queries.clone().map(|query| farthest(query, set.base.rows / 20)).collect(),
        ),
        of(
            "not nearest",
            names.iter().map(is_not).collect(),
            places.map(rows_not).collect(),
            queries.map(nearest).collect(),
        ),
    ]
}

/// The mean of the vectors of each category.
fn centres(columns: &Columns, set: &DataSet) -> Vec<Vec<f32>> {
    let mut centres = vec![vec![0.0f32; set.base.width]; columns.names.len()];
    for (row, place) in columns.category.iter().enumerate() {
        for (sum, value) in centres[usize::from(*place)].iter_mut().zip(set.base.row(row)) {
            *sum += value;
        }
    }
    for centre in &mut centres {
        let length = length(centre);
        centre.iter_mut().for_each(|value| *value /= length);
    }
    centres
}
