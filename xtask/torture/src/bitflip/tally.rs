//! What came of all damage, counted by the kind of file.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::damage::Damage;
use super::image::Use;

/// What came of one damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Some questions were refused because of it, all others answered as before.
    Detected,
    /// All questions were answered as before, by what is kept for such a case.
    Repaired,
    /// All questions were answered as before; nothing needs the bytes.
    Unchanged,
    /// An answer differs, or the error does not say what is the matter.
    Wrong(String),
    /// The engine panicked.
    Panicked,
}

const NAMES: [&str; 5] = ["detected", "repaired", "unchanged", "wrong", "panicked"];
/// How many wrong answers are printed; all are counted.
const SHOWN_MAX: usize = 20;
/// Of one kind of damage to one kind of file, so many.
const SHOWN_ALIKE_MAX: usize = 3;

type Row = (&'static str, Use, &'static str);

/// Counts by row: how it was done (in memory or with real files), the kind of file and the kind of damage.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    counts: BTreeMap<Row, [u64; NAMES.len()]>,
    shown: Vec<String>,
    alike: BTreeMap<Row, usize>,
}

impl Table {
    /// Counts damage done in memory.
    pub(super) fn add(&mut self, damage: &Damage, outcome: Outcome, variant: &str) {
        self.count("memory", damage, outcome, variant);
    }

    /// Counts damage done to real files.
    pub(super) fn add_real(&mut self, damage: &Damage, outcome: Outcome, variant: &str) {
        self.count("files", damage, outcome, variant);
    }

    fn count(&mut self, how: &'static str, damage: &Damage, outcome: Outcome, variant: &str) {
        let row = (how, Use::of(damage.path()), damage.kind());
        let (at, why) = match outcome {
            Outcome::Detected => (0, None),
            Outcome::Repaired => (1, None),
            Outcome::Unchanged => (2, None),
            Outcome::Wrong(why) => (3, Some(why)),
            Outcome::Panicked => (4, Some("it panicked".to_owned())),
        };
        self.counts.entry(row).or_default()[at] += 1;
        let Some(why) = why else { return };
        let alike = self.alike.entry(row).or_default();
        *alike += 1;
        if *alike <= SHOWN_ALIKE_MAX && self.shown.len() < SHOWN_MAX {
            self.shown.push(format!("{damage} ({variant}, {how}): {why}"));
        }
    }

    /// Wrong answers.
    pub(super) fn wrong(&self) -> u64 {
        self.counts.values().map(|counts| counts[3]).sum()
    }

    /// True without wrong answers and panics.
    pub(super) fn passed(&self) -> bool {
        self.counts.values().all(|counts| counts[3] == 0 && counts[4] == 0)
    }

    /// All counts.
    pub(super) fn json(&self) -> Map<String, Value> {
        let rows: Vec<Value> = self
            .counts
            .iter()
            .map(|((how, file, damage), counts)| {
                let mut row = json!({ "how": how, "file": file.name(), "damage": damage });
                for (name, count) in NAMES.iter().zip(counts) {
                    row[*name] = (*count).into();
                }
                row
            })
            .collect();
        Map::from_iter([("rows".to_owned(), rows.into()), ("shown".to_owned(), self.shown.clone().into())])
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}{:<18}{:<10}{:>9}", "in", "file", "damage", "count")?;
        NAMES.iter().try_for_each(|name| write!(f, "{name:>11}"))?;
        writeln!(f)?;
        let mut sum = [0; NAMES.len()];
        for ((how, file, damage), counts) in &self.counts {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            write!(f, "{how:<8}{:<18}{damage:<10}{:>9}", file.name(), counts.iter().sum::<u64>())?;
            counts.iter().try_for_each(|count| write!(f, "{count:>11}"))?;
            writeln!(f)?;
        }
        write!(f, "{:<36}{:>9}", "all", sum.iter().sum::<u64>())?;
        sum.iter().try_for_each(|count| write!(f, "{count:>11}"))?;
        writeln!(f)?;
        self.shown.iter().try_for_each(|line| writeln!(f, "  ! {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_and_the_first_are_shown() {
        let mut table = Table::default();
        let damage = Damage::Missing { path: "LOCK".to_owned() };
        for outcome in [Outcome::Detected, Outcome::Repaired, Outcome::Unchanged] {
            table.add(&damage, outcome, "log");
        }
        assert!(table.passed());
        for _ in 0..9 {
            table.add_real(&damage, Outcome::Wrong("so".to_owned()), "log");
        }
        assert_eq!((table.wrong(), table.passed(), table.shown.len()), (9, false, SHOWN_ALIKE_MAX));
        assert_eq!(table.json()["rows"][0]["wrong"], 9);
        table = Table::default();
        table.add(&damage, Outcome::Panicked, "log");
        assert!(!table.passed());
    }
}
