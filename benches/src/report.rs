//! Figures with a name, a unit and a sentence each; printed as a table, written as JSON.

use std::fmt::Write;

use serde_json::json;

use crate::goals::Verdict;

/// One number that was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// The name that goals use.
    pub(crate) name: &'static str,
    /// The number.
    pub(crate) value: f64,
    /// Its unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What it is, for people.
    pub(crate) meaning: String,
}

/// All figures of one run, in the order measured.
#[derive(Debug)]
pub(crate) struct Report {
    bench: String,
    figures: Vec<Figure>,
    attached: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    /// An empty report of the benchmark `bench`.
    pub(crate) fn new(bench: &str) -> Report {
        Report { bench: bench.to_owned(), figures: Vec::new(), attached: serde_json::Map::new() }
    }

    /// The name of the benchmark.
    pub(crate) fn bench(&self) -> &str {
        &self.bench
    }

    /// Adds a figure.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        meaning: impl Into<String>,
    ) {
        self.figures.push(Figure { name, value, unit, meaning: meaning.into() });
    }

    /// Adds something of another shape, for the JSON alone.
    pub(crate) fn attach(&mut self, name: &str, value: serde_json::Value) {
        self.attached.insert(name.to_owned(), value);
    }

    /// The number of a figure.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// The figures, aligned.
    pub(crate) fn table(&self) -> String {
        let rows: Vec<(&str, String, &Figure)> =
            self.figures.iter().map(|figure| (figure.name, number(figure.value), figure)).collect();
        let width = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
        let names = width(&mut rows.iter().map(|row| row.0.len()));
        let numbers = width(&mut rows.iter().map(|row| row.1.len()));
        let units = width(&mut rows.iter().map(|row| row.2.unit.len()));
        let mut text = format!("{}\n", self.bench);
        for (name, value, figure) in rows {
            let (unit, meaning) = (figure.unit, &figure.meaning);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:names$}  {value:>numbers$} {unit:units$}  {meaning}");
        }
        text
    }

    /// Everything as one JSON object.
    pub(crate) fn json(&self, machine: &serde_json::Value, verdicts: &[Verdict]) -> String {
        let figures: serde_json::Map<String, serde_json::Value> = self
            .figures
            .iter()
            .map(|one| {
                (one.name.to_owned(), json!({"value": one.value, "unit": one.unit, "meaning": one.meaning}))
            })
            .collect();
        let goals: Vec<serde_json::Value> = verdicts.iter().map(Verdict::json).collect();
        let mut all = json!({"bench": self.bench, "machine": machine, "figures": figures, "goals": goals});
        for (name, value) in &self.attached {
            all[name] = value.clone();
        }
        format!("{all:#}\n")
    }
}

/// A number with about four digits that count, thousands parted.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1_000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut parted = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !parted.ends_with('-') {
            parted.push(',');
        }
        parted.push(digit);
    }
    parted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let cases = [
            (0.12345, "0.123"),
            (12.345, "12.35"),
            (999.96, "1,000.0"),
            (1234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let mut report = Report::new("flat");
        report.add("query_ms", 5.25, "ms", "one search");
        report.add("ratio", 12345.0, "", "of two");
        assert_eq!(
            report.table(),
            "flat\n  query_ms   5.250 ms  one search\n  ratio     12,345     of two\n"
        );
        assert_eq!((report.value("ratio"), report.value("none")), (Some(12345.0), None));
    }

    #[test]
    fn json_holds_everything() {
        let mut report = Report::new("flat");
        report.add("query_ms", 5.25, "ms", "one search");
        report.attach("sweep", json!([1, 2]));
        let text = report.json(&json!({"cores": 2}), &[]);
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["figures"]["query_ms"]["value"], 5.25);
        assert_eq!(back["sweep"][1], 2);
        assert_eq!((&back["bench"], &back["machine"]["cores"]), (&json!("flat"), &json!(2)));
    }
}
