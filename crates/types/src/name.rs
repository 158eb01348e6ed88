//! Names that users give to collections, aliases and vectors.

use crate::limits::NAME_BYTES_MAX;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("{what} name is empty: give it 1 to {NAME_BYTES_MAX} characters")]
    Empty {
        /// What the name is for.
        what: &'static str,
    },
    /// It has too many bytes.
    #[error("{what} name has {bytes} bytes: at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// What the name is for.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// It holds a character outside `[A-Za-z0-9._-]`.
    #[error("{what} name {name:?} holds {found:?} at byte {at}: only A-Z a-z 0-9 . _ - are allowed")]
    Character {
        /// What the name is for.
        what: &'static str,
        /// The name.
        name: String,
        /// The first character that is not allowed.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// It begins with a dot.
    #[error("{what} name {name:?} begins with a dot")]
    LeadingDot {
        /// What the name is for.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// Checks that `name` is `[A-Za-z0-9._-]{1,255}` without a leading dot; `what` names its role in the error.
///
/// # Errors
///
/// The first rule that `name` breaks.
pub fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: name.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((at, found)) = name.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(NameError::Character { what, name: name.to_owned(), found, at });
    }
    if name.starts_with('.') {
        return Err(NameError::LeadingDot { what, name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_leave_a_directory() {
        for bad in ["", ".", "..", ".x", "a/b", "a\\b", "a b", "ä", "a\0b"] {
            assert!(check_name("collection", bad).is_err(), "{bad:?}");
        }
        assert!(check_name("collection", &"x".repeat(256)).is_err());
        for good in ["a", "A.b_c-9", &"x".repeat(255)] {
            assert_eq!(check_name("collection", good), Ok(()), "{good:?}");
        }
    }
}
