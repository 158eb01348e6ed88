//! Paths inside a directory, and errors that name them.
//!
//! A path is checked as text before anything touches a disk; that is what keeps `..`, absolute paths and separators of other
//! systems out. Symbolic links are the store's business: the real one follows none.

use std::fmt;
use std::io;

/// Parts of a path at most; deeper trees are not ours.
pub(crate) const DEPTH_MAX: usize = 32;
const PART_BYTES_MAX: usize = 255;

/// The checked parts of `path`; none for the root.
pub(crate) fn parts(path: &str) -> io::Result<Vec<&str>> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = path.split('/').take(DEPTH_MAX + 1).collect();
    if parts.len() > DEPTH_MAX || !parts.iter().all(|part| is_part(part)) {
        return Err(named("check the path", path, io::ErrorKind::InvalidInput.into()));
    }
    Ok(parts)
}

/// The folder and the last part of a checked path; the root has none.
pub(crate) fn split(path: &str) -> io::Result<(&str, &str)> {
    if parts(path)?.is_empty() {
        return Err(named("name", "the root", io::ErrorKind::InvalidInput.into()));
    }
    Ok(path.rsplit_once('/').unwrap_or(("", path)))
}

/// `name` inside `folder`.
pub(crate) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// True if `part` may stand in a path.
pub(crate) fn is_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=PART_BYTES_MAX).contains(&part.len()) && part.bytes().all(allowed) && part != "." && part != ".."
}

/// `error`, of the same kind, saying what was tried and on which path.
pub(crate) fn named(tried: &'static str, path: &str, error: io::Error) -> io::Error {
    // The path may be hostile input, also in length.
    let path = path.chars().take(PART_BYTES_MAX).collect();
    io::Error::new(error.kind(), Failure { tried, path, error })
}

#[derive(Debug)]
struct Failure {
    tried: &'static str,
    path: String,
    error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { tried, path, error } = self;
        write!(f, "cannot {tried} {}: {error}", path.escape_debug())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter::repeat_n;

    #[test]
    fn only_plain_relative_paths_pass() {
        let long = "x".repeat(255);
        let deep = repeat_n("d", DEPTH_MAX).collect::<Vec<_>>().join("/");
        for good in ["", "LOCK", "a/b-c/d_e.f", "...", ".hidden", "MANIFEST-7.tmp", &long, &deep] {
            assert!(parts(good).is_ok(), "{good:?}");
        }
        let too_long = "x".repeat(256);
        let too_deep = format!("{deep}/d");
        let bad = [
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            ".",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "a\\b",
            "a b",
            "a\0b",
            "C:",
            "ä",
            "a\n",
            "*",
            "~",
            "%2e%2e",
            &too_long,
            &too_deep,
        ];
        for path in bad {
            assert_eq!(parts(path).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
    }

    #[test]
    fn splits_and_joins() {
        assert_eq!(split("a/b/c").unwrap(), ("a/b", "c"));
        assert_eq!(split("c").unwrap(), ("", "c"));
        assert_eq!(split("").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!((joined("", "c"), joined("a/b", "c")), ("c".to_owned(), "a/b/c".to_owned()));
    }

    #[test]
    fn errors_name_the_path_and_keep_the_kind() {
        let error = named("open", "a/b", io::ErrorKind::NotFound.into());
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::NotFound, "cannot open a/b: entity not found")
        );
        assert!(
            named("open", &"x".repeat(10_000_000), io::ErrorKind::NotFound.into()).to_string().len() < 400
        );
    }
}
