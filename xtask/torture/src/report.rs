//! What went wrong, counted and named, and the tables that people read.

use std::fmt;

use serde_json::{Map, Value};

/// In which way a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something acknowledged is gone.
    Lost,
    /// An acknowledged delete or update is undone, or something is there that never was.
    Resurrected,
    /// An operation is there in part.
    Half,
    /// A database or collection could not be opened.
    FailedOpen,
    /// An operation was acknowledged after the log or the manifest had failed.
    LateAck,
    /// A Seq that may have been seen was given out again.
    ReusedSeq,
    /// An answer that contradicts what is stored, or an error where none belongs.
    Wrong,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Lost,
        Kind::Resurrected,
        Kind::Half,
        Kind::FailedOpen,
        Kind::LateAck,
        Kind::ReusedSeq,
        Kind::Wrong,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Resurrected => "resurrected",
            Kind::Half => "half operations",
            Kind::FailedOpen => "failed opens",
            Kind::LateAck => "late acknowledgements",
            Kind::ReusedSeq => "reused sequence numbers",
            Kind::Wrong => "wrong answers",
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// What was found, and where.
    pub text: String,
}

impl Violation {
    /// A violation of this kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Violation {
        Violation { kind, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.text)
    }
}

/// How many violations are printed; all are counted.
const SHOWN_MAX: usize = 20;

/// All violations of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: [u64; Kind::ALL.len()],
    shown: Vec<String>,
}

impl Tally {
    /// Counts violations; `place` says how to see them again.
    pub fn add(&mut self, violations: &[Violation], place: impl fmt::Display) {
        for violation in violations {
            self.counts[violation.kind as usize] += 1;
        }
        // One place tells one story: its first lines are enough.
        let room = SHOWN_MAX.saturating_sub(self.shown.len()).min(3);
        self.shown.extend(violations.iter().take(room).map(|violation| format!("{violation}\n    {place}")));
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: Tally) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN_MAX);
    }

    /// How many of one kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first violations, in words.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }
}

/// The result of one kind of torture: named figures in order, and what was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub title: &'static str,
    /// What was counted, as people read it and as a number or object for programs.
    pub figures: Vec<(String, Value)>,
    /// Promises broken.
    pub tally: Tally,
    /// Reasons to fail other than broken promises.
    pub shortcomings: Vec<String>,
}

impl Report {
    /// A report without figures.
    pub fn new(title: &'static str, tally: Tally) -> Report {
        Report { title, figures: Vec::new(), tally, shortcomings: Vec::new() }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.figures.push((name.into(), value.into()));
    }

    /// True if nothing was found and enough was done.
    pub fn passed(&self) -> bool {
        self.tally.total() == 0 && self.shortcomings.is_empty()
    }

    /// The report as one object.
    pub fn json(&self) -> Value {
        let mut object: Map<String, Value> = self.figures.iter().cloned().collect();
        for kind in Kind::ALL {
            object.insert(kind.name().to_owned(), self.tally.count(kind).into());
        }
        object.insert("shown".to_owned(), self.tally.shown().into());
        object.insert("shortcomings".to_owned(), self.shortcomings.clone().into());
        object.insert("passed".to_owned(), self.passed().into());
        object.into()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let found = Kind::ALL.into_iter().map(|kind| (kind.name().to_owned(), self.tally.count(kind).into()));
        for (name, value) in self.figures.iter().cloned().chain(found) {
            let value = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            writeln!(f, "  {name:<36} {value:>14}")?;
        }
        for text in self.tally.shown().iter().chain(&self.shortcomings) {
            writeln!(f, "  ! {text}")?;
        }
        writeln!(f, "  {:<36} {:>14}", "verdict", if self.passed() { "passed" } else { "FAILED" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_and_the_first_are_shown() {
        let mut tally = Tally::default();
        for round in 0..30 {
            let many = vec![Violation::new(Kind::Lost, "a"), Violation::new(Kind::Half, "b")];
            tally.add(&many, format!("round {round}"));
        }
        assert_eq!((tally.count(Kind::Lost), tally.count(Kind::Half), tally.total()), (30, 30, 60));
        assert_eq!((tally.shown().len(), tally.shown()[0].as_str()), (SHOWN_MAX, "lost: a\n    round 0"));
        let mut sum = Tally::default();
        sum.merge(tally.clone());
        sum.merge(tally);
        assert_eq!((sum.total(), sum.shown().len()), (120, SHOWN_MAX));
    }

    #[test]
    fn a_report_fails_for_what_was_found_and_for_what_was_not_done() {
        let mut report = Report::new("kills", Tally::default());
        report.figure("kills", 3);
        assert!(report.passed() && report.to_string().contains("passed"));
        report.shortcomings.push("too few".to_owned());
        assert!(!report.passed() && report.to_string().contains("FAILED"));
        let json = report.json();
        assert_eq!((&json["kills"], &json["lost"], &json["passed"]), (&3.into(), &0.into(), &false.into()));
    }
}
