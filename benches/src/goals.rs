//! What figures must reach: `goals.toml`, read and judged. See the top of that file for the words it may use.

use std::fmt;
use std::path::Path;

use serde_json::json;
use toml::de::{DeTable, DeValue};

use crate::Result;
use crate::report::Report;

/// A bound on one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtLeast(bound) => write!(f, "at least {bound}"),
            Bound::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Goal {
    bench: String,
    figure: String,
    bound: Bound,
    /// Another figure that is enough when it reaches this.
    or: Option<(String, f64)>,
    /// Judged only where this figure is above the number.
    only_if: Option<(String, f64)>,
}

/// All goals.
#[derive(Debug, PartialEq)]
pub(crate) struct Goals(Vec<Goal>);

/// How one goal fared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    figure: String,
    outcome: Outcome,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Met,
    Missed,
    NotApplicable,
}

impl Verdict {
    /// True if the goal was judged and not reached.
    pub(crate) fn is_miss(&self) -> bool {
        self.outcome == Outcome::Missed
    }

    /// The verdict as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        json!({"figure": self.figure, "outcome": self.word(), "text": self.text})
    }

    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Met => "met",
            Outcome::Missed => "MISSED",
            Outcome::NotApplicable => "not applicable",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goal {}: {} ({})", self.figure, self.word(), self.text)
    }
}

impl Goals {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// What is not TOML, or a goal with words it may not have.
    pub(crate) fn read(path: &Path) -> Result<Goals> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Goals::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &str) -> Result<Goals> {
        let document = DeTable::parse(text)?;
        let mut goals = Vec::new();
        for (bench, figures) in document.get_ref() {
            let figures = figures.get_ref().as_table().ok_or("a goal is a table [benchmark.figure]")?;
            for (figure, words) in figures {
                let words = words.get_ref().as_table().ok_or("a goal is a table [benchmark.figure]")?;
                goals.push(Goal::parse(bench.get_ref(), figure.get_ref(), words)?);
            }
        }
        Ok(Goals(goals))
    }

    /// The benchmarks that have goals.
    #[cfg(test)]
    pub(crate) fn benches(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|goal| goal.bench.as_str())
    }

    /// Judges all goals of the report's benchmark.
    pub(crate) fn judge(&self, report: &Report) -> Vec<Verdict> {
        self.0.iter().filter(|goal| goal.bench == report.bench()).map(|goal| goal.judge(report)).collect()
    }
}

impl Goal {
    fn parse(bench: &str, figure: &str, words: &DeTable<'_>) -> Result<Goal> {
        let name = format!("{bench}.{figure}");
        let (mut bounds, mut or, mut only_if) = (Vec::new(), (None, None), (None, None));
        for (word, value) in words {
            let value = value.get_ref();
            let number = || number(value).ok_or_else(|| format!("{name}: {} wants a number", word.get_ref()));
            let text = || {
                value
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| format!("{name}: {} wants a name", word.get_ref()))
            };
            match word.get_ref().as_ref() {
                "at_least" => bounds.push(Bound::AtLeast(number()?)),
                "at_most" => bounds.push(Bound::AtMost(number()?)),
                "or_figure" => or.0 = Some(text()?),
                "or_at_least" => or.1 = Some(number()?),
                "only_if_figure" => only_if.0 = Some(text()?),
                "above" => only_if.1 = Some(number()?),
                other => return Err(format!("{name}: {other} is no word of a goal").into()),
            }
        }
        let pair = |pair: (Option<String>, Option<f64>)| match pair {
            (Some(figure), Some(bound)) => Ok(Some((figure, bound))),
            (None, None) => Ok(None),
            _ => Err(format!("{name}: a figure and its number belong together")),
        };
        let [bound] = bounds[..] else {
            return Err(format!("{name}: exactly one of at_least and at_most").into());
        };
        Ok(Goal {
            bench: bench.to_owned(),
            figure: figure.to_owned(),
            bound,
            or: pair(or)?,
            only_if: pair(only_if)?,
        })
    }

    fn judge(&self, report: &Report) -> Verdict {
        let verdict = |outcome, text| Verdict { figure: self.figure.clone(), outcome, text };
        if let Some((figure, above)) = &self.only_if
            && let Some(value) = report.value(figure)
            && value <= *above
        {
            return verdict(Outcome::NotApplicable, format!("{figure} is {value:.3}, not above {above}"));
        }
        let Some(value) = report.value(&self.figure) else {
            return verdict(Outcome::Missed, "not measured".to_owned());
        };
        if self.bound.holds(value) {
            return verdict(Outcome::Met, format!("{value:.3}, {}", self.bound));
        }
        let Some((figure, enough)) = &self.or else {
            return verdict(Outcome::Missed, format!("{value:.3}, must be {}", self.bound));
        };
        let other = report.value(figure).unwrap_or(f64::NAN);
        let text = format!("{value:.3}, {}; or {figure} {other:.0}, at least {enough}", self.bound);
        verdict(if other >= *enough { Outcome::Met } else { Outcome::Missed }, text)
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let text = value
        .as_float()
        .map(|float| float.as_str())
        .or_else(|| value.as_integer().map(|integer| integer.as_str()));
    text?.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(goals: &str, figures: &[(&'static str, f64)]) -> Vec<Outcome> {
        let mut report = Report::new("b");
        for (name, value) in figures {
            report.add(name, *value, "", "");
        }
        Goals::parse(goals).unwrap().judge(&report).into_iter().map(|verdict| verdict.outcome).collect()
    }

    #[test]
    fn bounds_hold_or_not() {
        let goals = "[b.x]\nat_most = 1.3\n[other.x]\nat_most = 0\n";
        assert_eq!(verdicts(goals, &[("x", 1.3)]), [Outcome::Met]);
        assert_eq!(verdicts(goals, &[("x", 1.31)]), [Outcome::Missed]);
        assert_eq!(verdicts(goals, &[("x", f64::NAN)]), [Outcome::Missed]);
        assert_eq!(verdicts(goals, &[("y", 1.0)]), [Outcome::Missed]);
    }

    #[test]
    fn another_figure_may_be_enough() {
        let goals = "[b.x]\nat_least = 0.4\nor_figure = \"rate\"\nor_at_least = 60_000\n";
        assert_eq!(verdicts(goals, &[("x", 0.5), ("rate", 1.0)]), [Outcome::Met]);
        assert_eq!(verdicts(goals, &[("x", 0.3), ("rate", 60_000.0)]), [Outcome::Met]);
        assert_eq!(verdicts(goals, &[("x", 0.3), ("rate", 59_999.0)]), [Outcome::Missed]);
        assert_eq!(verdicts(goals, &[("x", 0.3)]), [Outcome::Missed]);
    }

    #[test]
    fn a_condition_may_not_apply() {
        let goals = "[b.x]\nat_least = 5\nonly_if_figure = \"sync_us\"\nabove = 300\n";
        assert_eq!(verdicts(goals, &[("x", 1.0), ("sync_us", 300.0)]), [Outcome::NotApplicable]);
        assert_eq!(verdicts(goals, &[("x", 1.0), ("sync_us", 301.0)]), [Outcome::Missed]);
        assert_eq!(verdicts(goals, &[("x", 1.0)]), [Outcome::Missed]);
        assert_eq!(verdicts(goals, &[("x", 5.0)]), [Outcome::Met]);
    }

    #[test]
    fn unclear_goals_are_refused() {
        for bad in [
            "[b.x]",
            "[b]\nx = 1",
            "b = 1",
            "[b.x]\nat_least = 1\nat_most = 2",
            "[b.x]\nat_least = \"1\"",
            "[b.x]\nat_least = 1\nabove = 2",
            "[b.x]\nat_least = 1\nfaster = 2",
            "[b.x",
        ] {
            assert!(Goals::parse(bad).is_err(), "{bad}");
        }
    }
}
