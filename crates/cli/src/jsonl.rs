//! The lines of a text file, one at a time, with their number and a limit on their length.
//!
//! **It refuses** to hold more than one line, to guess an encoding (UTF-8 it is) and to know what a line means.
//!
//! # Invariants
//!
//! 1. No more than the limit and one buffer is ever held, however long a line is.
//! 2. [`Lines::offset`] is the place in the source where the next line begins: seeking there and going on gives the same lines.

use std::io::{self, BufRead};

use nearfield::limits::PAYLOAD_BYTES_MAX;

/// Most bytes of one line: as many as a payload may have.
pub const LINE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// Why a line is refused.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line does not end in time.
    #[error("line {line} has more than {limit} bytes, which is the limit")]
    TooLong {
        /// The line, from 1.
        line: u64,
        /// The limit.
        limit: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("line {line} is not UTF-8: byte {at} of it is 0x{found:02x}")]
    NotUtf8 {
        /// The line, from 1.
        line: u64,
        /// The first bad byte, from 1.
        at: usize,
        /// What stands there.
        found: u8,
    },
    /// The file system said no.
    #[error("line {line}: {source}")]
    Io {
        /// The line, from 1.
        line: u64,
        /// What it said.
        source: io::Error,
    },
}

/// Reads the lines of a source. A last line need not end in a line feed; a carriage return before one is left out.
pub struct Lines<R> {
    source: R,
    limit: usize,
    line: Vec<u8>,
    number: u64,
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines from the place where `source` stands: `lines_before` lines and `offset` bytes lie before it.
    pub fn new(source: R, lines_before: u64, offset: u64, limit: usize) -> Self {
        Lines { source, limit, line: Vec::new(), number: lines_before, offset }
    }

    /// The number of the line returned last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the next line begins in the source, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line, or nothing after the last one. The reader is of no use after an error.
    ///
    /// # Errors
    ///
    /// A line that is too long or not UTF-8; what the source says.
    pub fn next_line(&mut self) -> Result<Option<&str>, LineError> {
        self.line.clear();
        let line = self.number + 1;
        let mut ended = false;
        while !ended {
            let buffer = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(LineError::Io { line, source }),
                Ok(buffer) => buffer,
            };
            if buffer.is_empty() {
                break;
            }
            let feed = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..feed.unwrap_or(buffer.len())];
            if part.len() > self.limit - self.line.len() {
                return Err(LineError::TooLong { line, limit: self.limit });
            }
            self.line.extend_from_slice(part);
            ended = feed.is_some();
            let used = part.len() + usize::from(ended);
            self.source.consume(used);
            self.offset += used as u64;
        }
        if !ended && self.line.is_empty() {
            return Ok(None);
        }
        self.number = line;
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        match std::str::from_utf8(&self.line) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let at = error.valid_up_to();
                Err(LineError::NotUtf8 { line, at: at + 1, found: self.line[at] })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8], buffer: usize, limit: usize) -> Result<Vec<String>, LineError> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, bytes), 0, 0, limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line()? {
            found.push(line.to_owned());
        }
        Ok(found)
    }

    #[test]
    fn ends_of_lines_and_of_the_file() {
        assert_eq!(all(b"a\r\nb\n\nc", 2, 9).unwrap(), ["a", "b", "", "c"]);
        assert_eq!(all(b"a\n", 9, 9).unwrap(), ["a"]);
        assert!(all(b"", 9, 9).unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        assert!(matches!(all(b"ab\nabc\n", 9, 2), Err(LineError::TooLong { line: 2, limit: 2 })));
        assert!(matches!(all(b"ab\nabc", 1, 2), Err(LineError::TooLong { line: 2, limit: 2 })));
        assert!(matches!(
            all(b"ok\nab\xffc\n", 9, 9),
            Err(LineError::NotUtf8 { line: 2, at: 3, found: 0xff })
        ));
    }

    #[test]
    fn an_endless_line_is_given_up_at_the_limit() {
        let endless = BufReader::new(io::repeat(b'x'));
        let mut lines = Lines::new(endless, 6, 0, 1 << 20);
        assert!(matches!(lines.next_line(), Err(LineError::TooLong { line: 7, .. })));
        assert!(lines.line.capacity() <= 4 << 20);
    }

    proptest! {
        #[test]
        fn going_on_at_an_offset_gives_the_same_lines(text in "[ab\\r\\n]{0,40}", buffer in 1usize..8, stop in 0usize..10) {
            let bytes = text.as_bytes();
            let mut lines = Lines::new(BufReader::with_capacity(buffer, bytes), 0, 0, 99);
            let mut found = Vec::new();
            while found.len() < stop && let Some(line) = lines.next_line().unwrap() {
                found.push(line.to_owned());
            }
            let (number, offset) = (lines.number(), lines.offset());
            let mut rest = Lines::new(BufReader::new(&bytes[offset as usize..]), number, offset, 99);
            while let Some(line) = rest.next_line().unwrap() {
                found.push(line.to_owned());
            }
            prop_assert_eq!(&found, &all(bytes, 99, 99).unwrap());
            prop_assert_eq!(rest.number(), found.len() as u64);
            prop_assert_eq!(rest.offset(), bytes.len() as u64);
        }
    }
}
