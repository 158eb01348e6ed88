//! Lines of a text file.

use std::io::BufReader;

use nearfield_cli::jsonl::{LineError, Lines};

use super::input::Input;

/// Input: bytes of the buffer, limit on a line, then the text.
///
/// What must hold: the lines are those of a naive split, whatever the buffer; the first bad one is named; reading can go on
/// from the end of any line.
pub fn jsonl(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (buffer, limit) = (1 + usize::from(input.byte()), usize::from(input.byte()));
    let text = input.rest();
    let expected = naive(text, limit);
    assert_eq!(lines(text, buffer, limit, (0, 0)).0, expected);
    let (_, places) = lines(text, 4_096, limit, (0, 0));
    for &(line, offset) in places.iter().take(4).chain(places.last()) {
        let (rest, _) = lines(&text[offset as usize..], buffer, limit, (line, offset));
        let skipped = line as usize;
        assert!(rest == expected[skipped.min(expected.len())..], "from line {line} at {offset}");
    }
}

/// A line, or the number of the bad one.
type Line = Result<String, u64>;

/// All lines to the first bad one, and how many lines and bytes lie before each.
fn lines(
    text: &[u8],
    buffer: usize,
    limit: usize,
    (line, offset): (u64, u64),
) -> (Vec<Line>, Vec<(u64, u64)>) {
    let mut source = Lines::new(BufReader::with_capacity(buffer, text), line, offset, limit);
    let (mut found, mut places) = (Vec::new(), vec![(line, offset)]);
    loop {
        let next = source.next_line().map(|line| line.map(str::to_owned));
        match next {
            Ok(None) => break,
            Ok(Some(line)) => found.push(Ok(line)),
            Err(LineError::TooLong { line, .. } | LineError::NotUtf8 { line, .. }) => {
                found.push(Err(line));
                break;
            }
            Err(LineError::Io { source, .. }) => panic!("memory cannot be read: {source}"),
        }
        assert_eq!(source.number(), line + found.len() as u64);
        places.push((source.number(), source.offset()));
    }
    (found, places)
}

fn naive(text: &[u8], limit: usize) -> Vec<Line> {
    let mut found = Vec::new();
    let mut parts: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    for (line, part) in (1..).zip(parts) {
        let content = part.strip_suffix(b"\r").unwrap_or(part);
        match std::str::from_utf8(content) {
            Ok(content) if part.len() <= limit => found.push(Ok(content.to_owned())),
            _ => {
                found.push(Err(line));
                break;
            }
        }
    }
    found
}
