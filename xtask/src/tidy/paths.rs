//! Every path and every crate that a document names exists.
//!
//! In Markdown, links are always checked; a code span is checked if it looks like a path of this repository. In doc comments
//! of Rust only spans that begin at a folder of the root are. Fenced blocks are left alone: they show sessions and sketches.

use super::tree::Tree;
use super::{Problem, manifests};

/// A code span or link in a document.
#[derive(Debug, PartialEq, Eq)]
struct Mention<'a> {
    text: &'a str,
    line: usize,
    link: bool,
}

/// Checks all Markdown files and doc comments.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let names = manifests::package_names(tree);
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for mention in mentions(text) {
            let problem = if mention.link {
                link_problem(tree, folder, mention.text)
            } else {
                span_problem(tree, folder, mention.text).or_else(|| crate_problem(&names, mention.text))
            };
            found.extend(problem.map(|text| Problem::new(path, mention.line, text)));
        }
    }
    for (path, text) in tree.rust() {
        for (line, content) in (1..).zip(text.lines()) {
            let Some(comment) =
                content.trim_start().strip_prefix("//").filter(|rest| rest.starts_with(['/', '!']))
            else {
                continue;
            };
            for mention in mentions(comment).into_iter().filter(|mention| !mention.link) {
                let problem = root_problem(tree, mention.text);
                found.extend(problem.map(|text| Problem::new(path, line, text)));
            }
        }
    }
    found
}

/// The cells of a table row, trimmed; none if the line is no row. A bar inside a code span must be escaped, as GitHub wants it.
pub(super) fn table_cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?;
    let inner = inner.strip_suffix('|').unwrap_or(inner).replace("\\|", "\u{1}");
    Some(inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect())
}

fn link_problem(tree: &Tree, folder: &str, target: &str) -> Option<String> {
    let outside = ["http://", "https://", "mailto:", "#"];
    if target.is_empty() || outside.iter().any(|prefix| target.starts_with(prefix)) {
        return None;
    }
    let path = target.split('#').next().unwrap_or_default();
    let there = resolve(folder, path).is_some_and(|path| tree.exists(&path));
    (!there).then(|| format!("the link `{target}` leads nowhere: correct or remove it"))
}

fn span_problem(tree: &Tree, folder: &str, span: &str) -> Option<String> {
    let path = known_part(span)?;
    let is_file = [".rs", ".md", ".toml"].iter().any(|end| path.ends_with(end));
    let is_relative = path.starts_with("./") || path.starts_with("../");
    if !is_file && !is_relative {
        return root_problem(tree, span);
    }
    let near = resolve(folder, path).is_some_and(|path| tree.exists(&path));
    let there = near || (!is_relative && tree.exists_somewhere(path));
    (!there).then(|| format!("`{span}` is no file here: correct the path"))
}

/// A span that begins with a folder of the root and goes on from there.
fn root_problem(tree: &Tree, span: &str) -> Option<String> {
    let path = known_part(span)?;
    let top = path.split('/').next()?;
    let is_ours = tree.exists(top) && tree.text(top).is_none();
    (is_ours && !tree.exists(path)).then(|| format!("`{span}` is not in the repository: correct the path"))
}

/// `nearfield-something` must be a package or a program.
fn crate_problem(names: &[String], span: &str) -> Option<String> {
    let rest = span.strip_prefix("nearfield-")?;
    let is_name = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let unknown = is_name && !names.iter().any(|name| name == span);
    unknown.then(|| format!("there is no crate or program `{span}`: correct the name"))
}

/// The leading part of a span that is a plain path: up to the first component with a placeholder or wildcard, without a
/// trailing slash, line number or fragment. None if the span is no path at all.
fn known_part(span: &str) -> Option<&str> {
    let is_path = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '/' | '.' | '_' | '-' | '*' | '<' | '>' | '{' | '}' | ',' | ':' | '#' | '…')
    };
    if !span.chars().all(is_path) || span.contains("::") || span.contains("://") || span.starts_with('/') {
        return None;
    }
    let plain = span.split([':', '#']).next().unwrap_or_default();
    let end = plain
        .find(['*', '<', '>', '{', '}', ',', '…'])
        .map_or(plain.len(), |at| plain[..at].rfind('/').unwrap_or(0));
    let known = plain[..end].trim_end_matches('/');
    let is_dots = known.split('/').all(|part| part.chars().all(|c| c == '.'));
    (!is_dots).then_some(known)
}

/// `path` seen from `folder`, without `.` and `..`; none if it leaves the repository.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let from_root = path.starts_with('/');
    let mut parts: Vec<&str> =
        if from_root { Vec::new() } else { folder.split('/').filter(|part| !part.is_empty()).collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Code spans and link targets, fenced blocks left out.
fn mentions(text: &str) -> Vec<Mention<'_>> {
    let mut found = Vec::new();
    let mut fence = None;
    for (line, content) in (1..).zip(text.lines()) {
        let start = content.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(close)) if open == close => fence = None,
            (None, None) => line_mentions(content, line, &mut found),
            _ => {}
        }
    }
    found
}

fn line_mentions<'a>(content: &'a str, line: usize, found: &mut Vec<Mention<'a>>) {
    let mut outside = String::new();
    for (index, part) in content.split('`').enumerate() {
        if index % 2 == 1 {
            found.push(Mention { text: part, line, link: false });
            outside.extend(std::iter::repeat_n(' ', part.len() + 2));
        } else {
            outside.push_str(part);
        }
    }
    for (at, _) in outside.match_indices("](") {
        let Some(target) = content.get(at + 2..) else { continue };
        let end = target.find([')', ' ']).unwrap_or(target.len());
        found.push(Mention { text: &target[..end], line, link: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        Tree::of(&[
            (path, text),
            ("README.md", ""),
            ("docs/format.md", ""),
            ("crates/wal/src/frame.rs", ""),
            ("crates/wal/Cargo.toml", "[package]\nname = \"nearfield-wal\""),
        ])
    }

    fn check_doc(text: &str) -> Vec<String> {
        check(&tree("docs/guide.md", text)).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn what_is_there_is_fine() {
        let good = "`crates/wal/src/frame.rs:12` `frame.rs` `src/frame.rs` `format.md` `crates/wal/` `crates/*/src` `crates/<name>/x`\n\
            [a](format.md#top) [b](../README.md) [c](https://example.org/x) [d](#here) `docs`\n\
            `and/or` `application/json` `a b/c.rs` `std::fs` `wal/log::X` `*.rs` `...` `nearfield-wal` `https://x.org/a.md`\n\
            ```\ncrates/none/of/this.rs `crates/no.rs`\n```\n";
        assert_eq!(check_doc(good), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named() {
        for bad in [
            "`crates/wal/src/frames.rs`",
            "`crates/wol/`",
            "`frames.rs`",
            "`../LICENSE`",
            "`docs/decisions/0001.md`",
            "`nearfield-hnsw`",
            "[x](crates/wal)",
            "[x](../../outside.md)",
            "[`crates/wal`](none.md)",
            "`crates/hnsw/*/x`",
        ] {
            let found = check_doc(&format!("first line\n{bad} and more"));
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(found[0].starts_with("docs/guide.md:2: "), "{found:?}");
        }
    }

    #[test]
    fn doc_comments_are_read_from_the_root() {
        let text = "//! See `docs/format.md` and `lib.rs` and `log/x`.\n/// Not `docs/none.md`.\n// plain `docs/none.md`\n";
        let found = check(&tree("crates/wal/src/lib.rs", text));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn rows_have_cells() {
        assert_eq!(table_cells("| `a` | 1 \\| 2 |").unwrap(), ["`a`", "1 | 2"]);
        assert_eq!(table_cells("no row"), None);
    }
}
