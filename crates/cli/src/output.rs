//! What people and scripts see: text and tables on a terminal, one line of JSON for `--json`, errors on standard error.
//!
//! **It refuses** to print what it was given unchecked: control characters from stored texts never reach a terminal.
//!
//! # Invariants
//!
//! 1. Colour only on a terminal, and never with `NO_COLOR` or `TERM=dumb`.
//! 2. A closed pipe (`nearfield ... | head`) ends the output quietly.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use serde_json::Value as Json;

use crate::failure::{Failure, Outcome};

/// Columns where the width of the terminal is unknown.
const WIDTH_UNKNOWN: usize = 120;

/// Where a command's answer goes.
pub(crate) struct Screen {
    json: bool,
    colour: bool,
    width: usize,
}

impl Screen {
    /// The standard output of this process.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let width =
            if terminal { usize::from(console::Term::stdout().size().1).max(40) } else { WIDTH_UNKNOWN };
        Screen { json, colour: terminal && colour_wanted(), width }
    }

    /// Columns of a line.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// True if scripts are answered.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Strong text.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    /// Text that may be overlooked.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.styled("2", text)
    }

    /// Good news.
    pub(crate) fn green(&self, text: &str) -> String {
        self.styled("32", text)
    }

    /// What somebody should look after.
    pub(crate) fn yellow(&self, text: &str) -> String {
        self.styled("33", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line for people; nothing for scripts.
    pub(crate) fn say(&self, line: &str) -> Outcome<()> {
        if self.json { Ok(()) } else { write_line(&mut io::stdout().lock(), line) }
    }

    /// The answer for scripts; nothing for people.
    pub(crate) fn answer(&self, answer: &Json) -> Outcome<()> {
        if self.json { write_line(&mut io::stdout().lock(), &answer.to_string()) } else { Ok(()) }
    }

    /// A table for people, its heading dimmed, indented by two columns. `right` names the columns aligned to the right.
    pub(crate) fn table(&self, heading: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> Outcome<()> {
        if self.json {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(heading.to_vec());
        for row in rows {
            table.add_row(row);
        }
        for &column in right {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (at, line) in table.lines().enumerate() {
            let line = format!(" {}", line.trim_end());
            self.say(&if at == 0 { self.dim(&line) } else { line })?;
        }
        Ok(())
    }
}

/// Prints why a command failed, on standard error.
pub(crate) fn print_failure(failure: &Failure, json: bool) {
    let mut stderr = io::stderr().lock();
    // A standard error that is closed leaves nobody to tell; the exit status says it.
    let _closed = if json {
        writeln!(stderr, "{}", failure.json())
    } else {
        let colour = io::stderr().is_terminal() && colour_wanted();
        let label = if colour { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
        let hint = if colour { "\x1b[1;36m hint:\x1b[0m" } else { " hint:" };
        let advice = failure.advice().map(|advice| format!("\n{hint} {}", clean(advice))).unwrap_or_default();
        writeln!(stderr, "{label} {}{advice}", clean(&failure.to_string()))
    };
}

fn write_line(out: &mut impl Write, line: &str) -> Outcome<()> {
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::invalid(format!("cannot write to the standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}

/// True for a terminal that understands no control sequences.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// `text` without control characters, which could move the cursor or recolour the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `width` columns of `text`, cleaned, with an ellipsis where something is left out.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    // Only what may be shown is looked at: a stored text can have megabytes.
    let head: String = text.chars().take(width + 1).collect();
    console::truncate_str(&clean(&head), width, "…").into_owned()
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `one` or `many` after the number, which is written with thousands.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// Bytes in decimal units, three digits.
pub(crate) fn bytes(number: u64) -> String {
    let mut size = number as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if size < 999.5 {
            break;
        }
        size /= 1_000.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{number} B"),
        _ if size < 9.995 => format!("{size:.2} {unit}"),
        _ if size < 99.95 => format!("{size:.1} {unit}"),
        _ => format!("{size:.0} {unit}"),
    }
}

/// A time in the unit people would choose, three digits.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        _ if seconds >= 120.0 => return clock(time.as_secs()),
        _ if seconds >= 0.9995 => (seconds, "s"),
        _ if seconds >= 0.000_999_5 => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "µs"),
    };
    match number {
        _ if number < 9.995 => format!("{number:.2} {unit}"),
        _ if number < 99.95 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    }
}

/// A moment by the wall clock, in milliseconds since 1970, as `YYYY-MM-DD hh:mm:ss`, UTC.
pub(crate) fn moment(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the leap day is the last of its year; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Whole seconds as `m:ss` or `h:mm:ss`.
pub(crate) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "point", "points"), "1 point");
        assert_eq!(counted(2_000, "point", "points"), "2,000 points");
        assert_eq!(
            [0, 999, 1_000, 9_996, 123_456, 999_600].map(bytes),
            ["0 B", "999 B", "1.00 kB", "10.0 kB", "123 kB", "1.00 MB"]
        );
        assert_eq!(bytes(u64::MAX), "18447 PB");
    }

    #[test]
    fn times_as_people_write_them() {
        let written = |micros: u64| duration(Duration::from_micros(micros));
        assert_eq!(
            [5, 250, 1_000, 12_340, 999_400].map(written),
            ["5.00 µs", "250 µs", "1.00 ms", "12.3 ms", "999 ms"]
        );
        assert_eq!(
            [1_000_000, 119_900_000, 120_000_000, 3_723_000_000].map(written),
            ["1.00 s", "120 s", "2:00", "1:02:03"]
        );
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00"),
            (951_782_399_999, "2000-02-28 23:59:59"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_735_689_599_000, "2024-12-31 23:59:59"),
            (4_107_542_400_000, "2100-03-01 00:00:00"),
        ];
        for (ms, text) in cases {
            assert_eq!(moment(ms), text);
        }
        assert!(!moment(u64::MAX).is_empty());
    }

    #[test]
    fn stored_texts_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\r\nc\u{9b}"), "a [31mb  c ");
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten("äöü\n", 9), "äöü ");
        assert_eq!(shorten("日本語日本語", 7), "日本語…");
    }
}
