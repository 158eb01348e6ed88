//! Nothing in the repository names a machine: no absolute paths of somebody's disk, no package registry but the public one.

use super::Problem;
use super::tree::Tree;

/// Beginnings of absolute paths that only one machine has. Written in halves, so that this file passes its own rule.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

/// Parts of host names that belong to package registries and their mirrors.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("artif", "actory"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("files.", "python", "hosted"),
    concat!("source.", "crates-io"),
    concat!("replace", "-with"),
];

/// The only source of packages in the lock file.
const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks all texts.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for (path, text) in tree.texts() {
        for (line, content) in (1..).zip(text.lines()) {
            for machine_path in MACHINE_PATHS.iter().filter(|start| names_path(content, start)) {
                let text = format!(
                    "`{machine_path}` is a path of one machine: use a relative path, an option or a temporary folder"
                );
                found.push(Problem::new(path, line, text));
            }
            for host in REGISTRY_HOSTS.iter().filter(|host| content.contains(**host)) {
                found.push(Problem::new(
                    path,
                    line,
                    format!("`{host}` belongs to a package registry: remove it"),
                ));
            }
            if path == "Cargo.lock"
                && let Some(source) = content.strip_prefix("source = ")
                && source.trim_matches('"') != PUBLIC_REGISTRY
            {
                found.push(Problem::new(
                    path,
                    line,
                    format!("a package comes from {source}: only the public registry is allowed"),
                ));
            }
        }
    }
    found
}

/// True if an absolute path begins with `start`: what stands before it is neither a path nor a word.
fn names_path(content: &str, start: &str) -> bool {
    content.match_indices(start).any(|(at, _)| {
        let before = content[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '*' | '>' | '}')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_at(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn machine_paths_are_found() {
        for start in MACHINE_PATHS {
            assert_eq!(check_at("README.md", &format!("open `{start}db` twice")), 1, "{start}");
            assert_eq!(check_at("README.md", &format!("see docs{start}db and a{start}b")), 0, "{start}");
        }
        assert_eq!(check_at("x.rs", "/proc/cpuinfo /usr/bin/env"), 0);
    }

    #[test]
    fn registries_are_found() {
        for host in REGISTRY_HOSTS {
            assert_eq!(check_at(".cargo/config.toml", &format!("x = \"{host}\"")), 1, "{host}");
        }
        assert_eq!(check_at("Cargo.lock", &format!("source = \"{PUBLIC_REGISTRY}\"")), 0);
        assert_eq!(check_at("Cargo.lock", "source = \"git+https://github.com/x/y\""), 1);
    }
}
