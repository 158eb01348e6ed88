//! Paths to values inside a payload: `a.b`, `a[].b`, `a[0]`, `"quoted key".b`.
//!
//! **It refuses** to look into payloads (the evaluator and the indexes do) and to guess: a path with anything left over is an error.
//!
//! # Invariants
//!
//! 1. A path has 1 to [`PATH_STEPS_MAX`] steps, the first of them a key.
//! 2. `Path::parse(path.to_string()) == path` for every path whose keys hold no quotation mark.

use std::fmt;

/// Most steps of one path: a value lies at most this deep in a payload.
pub const PATH_STEPS_MAX: usize = nearfield_types::limits::PAYLOAD_DEPTH_MAX;
/// Most bytes of one path.
pub const PATH_BYTES_MAX: usize = 4_096;

/// One step down from a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The value of a key of an object.
    Key(Box<str>),
    /// The value at a place of a list.
    Index(u32),
    /// Every value of a list: `[]`.
    Each,
}

/// Where values are in a payload. Without [`Step::Each`] it leads to one value at most.
///
/// ```
/// use nearfield_payload::{Path, Step};
///
/// let path = Path::parse("shops[].\"opening hours\"[0]")?;
/// let key = |name: &str| Step::Key(name.into());
/// assert_eq!(path.steps(), [key("shops"), Step::Each, key("opening hours"), Step::Index(0)]);
/// assert_eq!(path.to_string(), "shops[].\"opening hours\"[0]");
///
/// // A key taken literally, whatever characters it has.
/// assert_eq!(Path::key("a.b").steps(), [key("a.b")]);
/// assert!(Path::parse("a..b").is_err());
/// # Ok::<(), nearfield_payload::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    steps: Box<[Step]>,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not in the grammar.
    #[error(
        "path is wrong at byte {at}: keys are joined by '.', lists are entered by '[]' or '[0]', other keys are quoted"
    )]
    Syntax {
        /// Where reading ended.
        at: usize,
    },
    /// Too long.
    #[error("path has {bytes} bytes: at most {PATH_BYTES_MAX} are allowed")]
    Bytes {
        /// How many it has.
        bytes: usize,
    },
    /// Too deep.
    #[error("path has more than {PATH_STEPS_MAX} steps")]
    Steps,
}

impl Path {
    /// The top-level key `name`, taken literally.
    pub fn key(name: &str) -> Path {
        Path { steps: Box::new([Step::Key(name.into())]) }
    }

    /// Reads a path. Plain keys hold anything but `.`, `[`, `]` and quotation marks; quoted ones anything but quotation marks.
    ///
    /// # Errors
    ///
    /// What is not in the grammar, with its place, and the limits.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::Bytes { bytes: text.len() });
        }
        let mut steps = Vec::new();
        let mut rest = text;
        let wrong = |rest: &str| PathError::Syntax { at: text.len() - rest.len() };
        loop {
            steps.push(Step::Key(take_key(&mut rest).ok_or_else(|| wrong(rest))?.into()));
            while rest.starts_with('[') {
                steps.push(take_brackets(&mut rest).ok_or_else(|| wrong(rest))?);
            }
            if steps.len() > PATH_STEPS_MAX {
                return Err(PathError::Steps);
            }
            if rest.is_empty() {
                return Ok(Path { steps: steps.into() });
            }
            rest = rest.strip_prefix('.').ok_or_else(|| wrong(rest))?;
        }
    }

    /// The steps in order; the first is a key.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The key, if the path is nothing but one top-level key.
    pub fn as_key(&self) -> Option<&str> {
        match &*self.steps {
            [Step::Key(key)] => Some(key),
            _ => None,
        }
    }

    /// The same path, entering the list at its end: `a` becomes `a[]`. A path that ends so already stays.
    ///
    /// # Errors
    ///
    /// [`PathError::Steps`].
    pub fn each(&self) -> Result<Path, PathError> {
        if self.steps.last() == Some(&Step::Each) {
            return Ok(self.clone());
        }
        self.joined(&[Step::Each])
    }

    /// The path that leads on from the end of this one. Where indexes name fields of nested filters in full, they use it.
    ///
    /// # Errors
    ///
    /// [`PathError::Steps`].
    pub fn join(&self, below: &Path) -> Result<Path, PathError> {
        self.joined(&below.steps)
    }

    fn joined(&self, below: &[Step]) -> Result<Path, PathError> {
        if self.steps.len() + below.len() > PATH_STEPS_MAX {
            return Err(PathError::Steps);
        }
        Ok(Path { steps: [&self.steps, below].concat().into() })
    }

    /// Bytes of all keys.
    pub fn bytes(&self) -> usize {
        let key_bytes = |step: &Step| if let Step::Key(key) = step { key.len() } else { 0 };
        self.steps.iter().map(key_bytes).sum()
    }
}

/// True for what a plain key may not hold.
fn is_mark(c: char) -> bool {
    matches!(c, '.' | '[' | ']' | '"')
}

/// True for what stands in a key without quotation marks wherever such paths are read; the others are written with them.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

fn take_key<'a>(rest: &mut &'a str) -> Option<&'a str> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (key, after) = quoted.split_once('"')?;
        *rest = after;
        return Some(key);
    }
    let (key, after) = rest.split_at(rest.find(is_mark).unwrap_or(rest.len()));
    *rest = after;
    (!key.is_empty()).then_some(key)
}

fn take_brackets(rest: &mut &str) -> Option<Step> {
    let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
    let step = match inside {
        "" => Step::Each,
        // `parse` would take a sign.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Step::Index(digits.parse().ok()?),
        _ => return None,
    };
    *rest = after;
    Some(step)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Each => f.write_str("[]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    f.write_str(if at > 0 { "." } else { "" })?;
                    match key.is_empty() || !key.chars().all(is_plain) {
                        true => write!(f, "\"{key}\"")?,
                        false => f.write_str(key)?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        Path::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    #[test]
    fn reads_every_form() {
        let cases: &[(&str, &[Step])] = &[
            ("a", &[key("a")]),
            ("a.b", &[key("a"), key("b")]),
            ("a[].b", &[key("a"), Step::Each, key("b")]),
            ("a[][]", &[key("a"), Step::Each, Step::Each]),
            ("a[0][12].c", &[key("a"), Step::Index(0), Step::Index(12), key("c")]),
            ("\"a.b\".c", &[key("a.b"), key("c")]),
            ("a.\"\"", &[key("a"), key("")]),
            ("größe.\"two words\"", &[key("größe"), key("two words")]),
        ];
        assert_eq!(Path::parse("two words@1").unwrap(), Path::key("two words@1"));
        for (text, steps) in cases {
            let path = Path::parse(text).unwrap();
            assert_eq!((path.steps(), path.to_string().as_str()), (*steps, *text));
        }
    }

    #[test]
    fn refuses_what_is_left_over() {
        let cases = [
            ("", 0),
            (".", 0),
            ("a.", 2),
            ("a..b", 2),
            ("[0]", 0),
            ("a[", 1),
            ("a[x]", 1),
            ("a[+1]", 1),
            ("a[-1]", 1),
            ("a[4294967296]", 1),
            ("a]b", 1),
            ("a[0]b", 4),
            ("\"a", 0),
            ("\"a\"b", 3),
            ("a\"b\"", 1),
        ];
        for (text, at) in cases {
            assert_eq!(Path::parse(text), Err(PathError::Syntax { at }), "{text}");
        }
        assert_eq!(Path::parse(&"x".repeat(5000)), Err(PathError::Bytes { bytes: 5000 }));
        assert_eq!(Path::parse(&["a"; 65].join(".")), Err(PathError::Steps));
        assert_eq!(Path::parse(&format!("a{}", "[]".repeat(2000))), Err(PathError::Steps));
        assert_eq!(Path::parse(&["a"; 64].join(".")).unwrap().steps().len(), 64);
    }

    #[test]
    fn joins() {
        let path = Path::parse("a.b").unwrap();
        assert_eq!(path.each().unwrap().to_string(), "a.b[]");
        assert_eq!(path.each().unwrap().each().unwrap().to_string(), "a.b[]");
        assert_eq!(path.each().unwrap().join(&Path::key("c")).unwrap().to_string(), "a.b[].c");
        assert_eq!((Path::key("a.b").as_key(), path.as_key(), path.bytes()), (Some("a.b"), None, 2));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(text in "[a-c.\"\\[\\]0-2é]{0,24}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
