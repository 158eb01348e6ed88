//! Dates and times: microseconds since 1970 in UTC, and the texts that mean them.
//!
//! **It refuses** time zones by name, leap seconds as such (the sixtieth second is the first of the next minute), and precision beyond the microsecond, which is
//! cut off.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datetime(pub i64);

/// Text that is no date and no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a date or time: RFC 3339 is expected, as 2026-01-31, 2026-01-31T12:00:00 or 2026-01-31T12:00:00.5+01:00"
)]
pub struct DatetimeError;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Years of more digits than this are out of reach of the microseconds anyway.
const YEAR_DIGITS_MAX: usize = 6;

impl Datetime {
    /// Reads RFC 3339 and what people write for it: a space for the `T`, no seconds, no zone (then it is UTC), an offset without its colon or minutes, no time
    /// at all, a year with a sign.
    ///
    /// # Errors
    ///
    /// Anything else.
    ///
    /// ```
    /// use nearfield_payload::filter::Datetime;
    ///
    /// let noon = Datetime::parse("2024-01-02T12:00:00Z")?;
    /// assert_eq!(noon, Datetime(1_704_196_800_000_000));
    /// assert_eq!(Datetime::parse("2024-01-02 14:00:00+02:00")?, noon);
    /// assert_eq!(noon.to_string(), "2024-01-02T12:00:00Z");
    /// # Ok::<(), nearfield_payload::filter::datetime::DatetimeError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Datetime, DatetimeError> {
        let mut reader = Reader { rest: text.trim_ascii_start().as_bytes() };
        reader.datetime().filter(|_| reader.rest.is_empty()).map(Datetime).ok_or(DatetimeError)
    }
}

/// What is left of a text.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn datetime(&mut self) -> Option<i64> {
        let day = self.day()?;
        if self.rest.is_empty() {
            return day.checked_mul(DAY);
        }
        if !(self.skip(b'T') || self.skip(b't') || self.spaces()) {
            return None;
        }
        let (hour, minute) = (self.digits(1, 2)?, self.after(b':')?);
        if hour > 23 || minute > 59 {
            return None;
        }
        let mut time = (hour * 3_600 + minute * 60) * SECOND;
        // Without seconds there is no zone either.
        if !self.rest.is_empty() {
            let second = self.after(b':')?;
            if second > 60 {
                return None;
            }
            time += second * SECOND + self.fraction()? - self.offset()? * 60 * SECOND;
        }
        day.checked_mul(DAY)?.checked_add(time)
    }

    /// Days since 1970.
    fn day(&mut self) -> Option<i64> {
        let negative = self.skip(b'-');
        let signed = negative || self.skip(b'+');
        let year = self.digits(4, if signed { YEAR_DIGITS_MAX } else { 4 })?;
        let (month, day) = (self.after(b'-')?, self.after(b'-')?);
        let year = if negative { -year } else { year };
        (1..=12).contains(&month).then_some(())?;
        (1..=days_of(year, month)).contains(&day).then_some(())?;
        Some(days_since_epoch(year, month, day))
    }

    /// Microseconds behind a point; zero without one.
    fn fraction(&mut self) -> Option<i64> {
        if !self.skip(b'.') {
            return Some(0);
        }
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let kept = fraction.iter().chain([b'0'; 6].iter()).take(6);
        (digits > 0).then(|| kept.fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    /// Minutes east of UTC; zero without a zone.
    fn offset(&mut self) -> Option<i64> {
        if self.rest.is_empty() {
            return Some(0);
        }
        self.spaces();
        if self.skip(b'Z') || self.skip(b'z') {
            return Some(0);
        }
        if self.rest.eq_ignore_ascii_case(b"utc") {
            self.rest = &[];
            return Some(0);
        }
        let west = self.skip(b'-');
        if !west && !self.skip(b'+') {
            return None;
        }
        let hours = self.digits(2, 2)?;
        self.skip(b':');
        let minutes = if self.rest.is_empty() { 0 } else { self.digits(2, 2)? };
        let offset = hours * 60 + minutes;
        (hours <= 23 && minutes <= 59).then_some(if west { -offset } else { offset })
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(found)..];
        found
    }

    fn spaces(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_ascii_start();
        self.rest.len() < before
    }

    /// One or two digits after `mark`.
    fn after(&mut self, mark: u8) -> Option<i64> {
        if self.skip(mark) { self.digits(1, 2) } else { None }
    }

    /// A number of so many digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        (count >= least).then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the proleptic Gregorian calendar. Years begin in March here, so that the leap day is the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_since_epoch`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0.div_euclid(DAY));
        let micros = self.0.rem_euclid(DAY);
        let seconds = micros / SECOND;
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+05}")?,
        }
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match micros % SECOND {
            0 => f.write_str("Z"),
            fraction => write!(f, ".{fraction:06}Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FOUR: i64 = 1_704_164_645_000_000;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("2024-01-02T03:04:05Z", FOUR),
            ("2024-01-02t03:04:05z", FOUR),
            ("2024-01-02 03:04:05", FOUR),
            ("2024-01-02  03:04:05", FOUR),
            ("2024-01-02T03:04:05", FOUR),
            ("2024-01-02T3:4:5Z", FOUR),
            (" 2024-01-02T03:04:05 Z", FOUR),
            ("2024-01-02T03:04:05UTC", FOUR),
            ("2024-01-02T03:04:05-00:00", FOUR),
            ("2024-01-02T05:04:05+02:00", FOUR),
            ("2024-01-02T05:04:05 +0200", FOUR),
            ("2024-01-01T23:34:05-0330", FOUR),
            ("2024-01-02T05:04:05+02", FOUR),
            ("2024-01-02T03:04:05.5", FOUR + 500_000),
            ("2024-01-02T03:04:05.123456789Z", FOUR + 123_456),
            ("2024-01-02T03:04:60Z", FOUR + 55 * SECOND),
            ("2024-01-02 03:04", FOUR - 5 * SECOND),
            ("2024-01-02", FOUR - 11_045 * SECOND),
            ("2024-1-2", FOUR - 11_045 * SECOND),
            ("1970-01-01", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("0000-01-01", -62_167_219_200 * SECOND),
            ("-0001-01-01", -62_198_755_200 * SECOND),
            ("+10000-01-01T00:00:00Z", 253_402_300_800 * SECOND),
            ("2000-02-29", 951_782_400 * SECOND),
        ];
        for (text, micros) in cases {
            assert_eq!(Datetime::parse(text), Ok(Datetime(micros)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let texts = [
            "",
            "2024",
            "2024-01",
            "20240102",
            "2024-02-30",
            "1900-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024/01/02",
            "24-01-02",
            "2024-01-02 ",
            "2024-01-02T",
            "2024-01-02T03",
            "2024-01-02T03:04Z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T03:60:00Z",
            "2024-01-02T03:04:61Z",
            "2024-01-02T03:04:05,5Z",
            "2024-01-02T03:04:05.Z",
            "2024-01-02T03:04:05+24:00",
            "2024-01-02T03:04:05+2",
            "2024-01-02T03:04:05 CET",
            "1704164645",
            "tomorrow",
            "+999999-01-01",
            "2024-01-02T03:04:05ZZ",
        ];
        for text in texts {
            assert_eq!(Datetime::parse(text), Err(DatetimeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(micros in -9_000_000_000_000_000_000i64..9_000_000_000_000_000_000) {
            let time = Datetime(micros);
            prop_assert_eq!(Datetime::parse(&time.to_string()), Ok(time));
        }

        #[test]
        fn nothing_panics(text in "[0-9 TtZz:.+-]{0,40}") {
            let _ = Datetime::parse(&text);
        }
    }
}
