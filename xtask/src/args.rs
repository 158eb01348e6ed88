//! Words of a command line, taken one by one. What nobody took is an error, so no option is ever silently ignored.

use std::fmt;

/// Why a task did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The task ran and something is not as it should be.
    Failed(String),
}

impl Failure {
    /// The exit code for it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Failed(text) => f.write_str(text),
        }
    }
}

/// What a task returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// A failure with this text.
pub(crate) fn failed<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::Failed(text.into()))
}

/// A wrong command line, with this text.
pub(crate) fn usage<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::Usage(text.into()))
}

/// The words not taken yet.
#[derive(Debug)]
pub(crate) struct Args(Vec<String>);

impl Args {
    /// All words after the program's name.
    pub(crate) fn new(words: impl IntoIterator<Item = String>) -> Args {
        Args(words.into_iter().collect())
    }

    /// Takes the first word that is no option.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|word| !word.starts_with("--"))?;
        Some(self.0.remove(at))
    }

    /// Takes `--name`; true if it stood there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// Takes `--name VALUE` or `--name=VALUE`.
    pub(crate) fn value(&mut self, name: &str) -> Outcome<Option<String>> {
        let matches = |word: &String| {
            word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        let Some(at) = self.0.iter().position(matches) else { return Ok(None) };
        let word = self.0.remove(at);
        if let Some((_, value)) = word.split_once('=') {
            return Ok(Some(value.to_owned()));
        }
        match self.0.get(at) {
            Some(value) if !value.starts_with("--") => Ok(Some(self.0.remove(at))),
            _ => usage(format!("{name} wants a value after it")),
        }
    }

    /// Takes `--name VALUE VALUE …`, so many of them.
    pub(crate) fn values(&mut self, name: &str, count: usize) -> Outcome<Option<Vec<String>>> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        let found = self.0[at + 1..].iter().take(count).take_while(|word| !word.starts_with("--")).count();
        if found < count {
            return usage(format!("{name} wants {count} values after it"));
        }
        Ok(Some(self.0.drain(at..=at + count).skip(1).collect()))
    }

    /// Everything left, for a program that reads its own options.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// An error if anything is left.
    pub(crate) fn finish(self) -> Outcome {
        match self.0.first() {
            None => Ok(()),
            Some(word) => usage(format!("{word:?} is not understood here (cargo xtask help)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn takes_words_flags_and_values_in_any_order() {
        let mut args = args("--data here flat --check --json=out.json");
        assert_eq!(args.value("--data"), Ok(Some("here".to_owned())));
        assert_eq!(args.value("--json"), Ok(Some("out.json".to_owned())));
        assert_eq!(args.value("--dir"), Ok(None));
        assert_eq!(args.values("--size", 2), Ok(None));
        assert!(args.flag("--check") && !args.flag("--check"));
        assert_eq!(args.word().as_deref(), Some("flat"));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn takes_several_values() {
        let mut args = args("index --size 10 20 --fast");
        assert_eq!(args.values("--size", 2), Ok(Some(vec!["10".to_owned(), "20".to_owned()])));
        assert_eq!(args.rest(), ["index", "--fast"]);
        assert!(self::args("--size 10 --fast").values("--size", 2).is_err());
    }

    #[test]
    fn refuses_what_is_left_and_what_is_missing() {
        assert_eq!(args("--what").finish().unwrap_err().code(), 2);
        assert!(args("--data").value("--data").is_err());
        assert!(args("--data --check").value("--data").is_err());
        assert_eq!(args("--database x").value("--data"), Ok(None));
    }
}
