//! What is done to files.

use std::fmt;

use nearfield_platform::{Entropy, SeededEntropy};

const PAGE_BYTES: usize = 4096;

/// One change of one file, or of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The byte at `at` is changed in the bits of `mask`.
    Flip { path: String, at: usize, mask: u8 },
    /// Only the first `to` bytes are left.
    Cut { path: String, to: usize },
    /// Bytes are zeros.
    Zero { path: String, from: usize, to: usize },
    /// Each of two files holds what the other should.
    Exchange { path: String, other: String },
    /// The file is gone.
    Missing { path: String },
}

impl Damage {
    /// The file that it is counted for.
    pub(super) fn path(&self) -> &str {
        match self {
            Damage::Flip { path, .. }
            | Damage::Cut { path, .. }
            | Damage::Zero { path, .. }
            | Damage::Exchange { path, .. }
            | Damage::Missing { path } => path,
        }
    }

    /// The word for its kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Damage::Flip { .. } => "bits",
            Damage::Cut { .. } => "cut",
            Damage::Zero { .. } => "zeroed",
            Damage::Exchange { .. } => "exchanged",
            Damage::Missing { .. } => "missing",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Flip { path, at, mask } => write!(f, "{path}: byte {at} changed by {mask:#04x}"),
            Damage::Cut { path, to } => write!(f, "{path}: cut to {to} bytes"),
            Damage::Zero { path, from, to } => write!(f, "{path}: bytes {from} to {to} zeroed"),
            Damage::Exchange { path, other } => write!(f, "{path}: exchanged with {other}"),
            Damage::Missing { path } => write!(f, "{path}: missing"),
        }
    }
}

/// A bit of one of `files`, each bit as likely as any other. There is one.
pub(super) fn random_bit(files: &[(&str, &[u8])], random: &SeededEntropy) -> Damage {
    let total: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut at = random.below(total as u64) as usize;
    for (path, bytes) in files {
        if at < bytes.len() {
            return Damage::Flip { path: (*path).to_owned(), at, mask: 1 << random.below(8) };
        }
        at -= bytes.len();
    }
    unreachable!("the place was drawn from their bytes")
}

/// About `count` cuts, zeroed pages, exchanges and losses of `files`, which are of one kind. What changes nothing is left out.
pub(super) fn coarse(files: &[(&str, &[u8])], count: u64, random: &SeededEntropy) -> Vec<Damage> {
    let mut found = Vec::new();
    for (path, bytes) in files {
        let path = || (*path).to_owned();
        found.push(Damage::Missing { path: path() });
        found.push(Damage::Cut { path: path(), to: 0 });
        for page in (0..bytes.len()).step_by(PAGE_BYTES) {
            found.push(Damage::Cut { path: path(), to: page });
            found.push(Damage::Zero { path: path(), from: page, to: bytes.len().min(page + PAGE_BYTES) });
        }
        for _ in 0..4 {
            found.push(Damage::Cut { path: path(), to: random.below(bytes.len() as u64 + 1) as usize });
        }
    }
    for (n, (path, _)) in files.iter().enumerate() {
        let others = files[n + 1..].iter().map(|(other, _)| (*other).to_owned());
        found.extend(others.map(|other| Damage::Exchange { path: (*path).to_owned(), other }));
    }
    found.retain(|damage| changes(damage, files));
    found.dedup();
    // Losses and exchanges are few and stay; of pages and cuts a random choice does.
    let (mut many, mut kept): (Vec<Damage>, Vec<Damage>) =
        found.into_iter().partition(|damage| matches!(damage, Damage::Cut { .. } | Damage::Zero { .. }));
    while !many.is_empty() && (kept.len() as u64) < count {
        kept.push(many.swap_remove(random.below(many.len() as u64) as usize));
    }
    kept
}

fn changes(damage: &Damage, files: &[(&str, &[u8])]) -> bool {
    let bytes =
        |path: &str| files.iter().find(|(known, _)| *known == path).map_or(&[][..], |(_, bytes)| bytes);
    match damage {
        Damage::Flip { .. } | Damage::Missing { .. } => true,
        Damage::Cut { path, to } => *to < bytes(path).len(),
        Damage::Zero { path, from, to } => bytes(path)[*from..*to].iter().any(|&byte| byte != 0),
        Damage::Exchange { path, other } => bytes(path) != bytes(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_drawn_some_time() {
        let random = SeededEntropy::new(3);
        let files: [(&str, &[u8]); 3] = [("a", &[0]), ("empty", &[]), ("b", &[0; 2])];
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            seen.insert(random_bit(&files, &random).to_string());
        }
        assert_eq!(seen.len(), 24);
    }

    #[test]
    fn coarse_damage_changes_something_and_leaves_no_kind_out() {
        let random = SeededEntropy::new(3);
        let (page, mut two) = ([1; PAGE_BYTES], vec![2; 2 * PAGE_BYTES]);
        two[PAGE_BYTES..].fill(0);
        let files: [(&str, &[u8]); 2] = [("a", &page), ("b", &two)];
        let found = coarse(&files, 1_000, &random);
        let kinds: std::collections::BTreeSet<_> = found.iter().map(Damage::kind).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["cut", "exchanged", "missing", "zeroed"]);
        assert!(!found.contains(&Damage::Zero {
            path: "b".to_owned(),
            from: PAGE_BYTES,
            to: 2 * PAGE_BYTES
        }));
        assert_eq!(coarse(&files, 4, &random).len(), 4);
        assert!(coarse(&[], 4, &random).is_empty());
    }
}
