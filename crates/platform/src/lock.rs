//! What the holder of an exclusive lock writes into the lock file: one line of text, for people and for the error message.

use crate::clock::{Clock, SystemClock};
use crate::dir::Holder;

/// No holder's line is longer.
pub(crate) const LINE_BYTES_MAX: usize = 64;

impl Holder {
    /// This process, now.
    pub(crate) fn this() -> Holder {
        Holder { pid: std::process::id(), since_ms: SystemClock::new().now_ms() }
    }

    /// `pid 123 since_ms 1700000000000`, and a line feed.
    pub(crate) fn line(self) -> String {
        format!("pid {} since_ms {}\n", self.pid, self.since_ms)
    }

    /// Reads [`Holder::line`] back; `None` if the bytes are anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Holder> {
        let line = std::str::from_utf8(bytes.get(..bytes.len().min(LINE_BYTES_MAX))?).ok()?;
        let mut words = line.strip_suffix('\n')?.split(' ');
        let holder = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("pid"), Some(pid), Some("since_ms"), Some(since)) => {
                Holder { pid: pid.parse().ok()?, since_ms: since.parse().ok()? }
            }
            _ => return None,
        };
        words.next().is_none().then_some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_comes_back() {
        for holder in
            [Holder { pid: 0, since_ms: 0 }, Holder { pid: u32::MAX, since_ms: u64::MAX }, Holder::this()]
        {
            let line = holder.line();
            assert!(line.len() <= LINE_BYTES_MAX);
            assert_eq!(Holder::parse(line.as_bytes()), Some(holder));
        }
        for other in [
            "",
            "\n",
            "pid 1 since_ms 2",
            "pid x since_ms 2\n",
            "pid 1 since_ms 2 3\n",
            "pid 99999999999 since_ms 1\n",
        ] {
            assert_eq!(Holder::parse(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(Holder::parse(&[0xff; 100]), None);
    }
}
