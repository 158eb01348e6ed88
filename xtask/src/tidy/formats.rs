//! The constants of the file formats in the code and in `docs/format.md` are the same.
//!
//! A constant counts if it stands at the top level of a file named in [`SOURCES`] and has a doc comment. There are two kinds:
//!
//! * A **value**. The document lists it once, under a heading with the word *Constants*, as a row ``| `crate::NAME` | `value` |``.
//!   Numbers are compared by value, all else as text, names replaced by what they stand for.
//! * A **layout**: a list of tuples. The document names it in a line of its own, ``Layout `crate::NAME` ``, and the next table
//!   has a row for each tuple, in the same order, whose first cells are its parts; further cells are for people.
//!   A list of layouts serves code alone and is left out.
//!
//! `cargo xtask tidy --formats` prints both as Markdown, ready to be pasted.

use std::collections::BTreeMap;

use super::arithmetic::evaluate;
use super::rust::Source;
use super::tree::Tree;
use super::{Problem, paths};

const DOCUMENT: &str = "docs/format.md";
const SOURCES: &[&str] = &["format.rs", "container.rs", "tag.rs"];

/// A constant in the code.
#[derive(Clone, Debug)]
struct Constant {
    krate: String,
    name: String,
    value: String,
    documented: bool,
    path: String,
    line: usize,
}

impl Constant {
    fn full_name(&self) -> String {
        format!("{}::{}", self.krate, self.name)
    }

    /// The tuples of a layout; none if the constant is a plain value.
    fn tuples(&self) -> Option<Vec<Vec<String>>> {
        let list = self.value.trim_start_matches('&').trim().strip_prefix('[')?.strip_suffix(']')?;
        let rows = split(list).into_iter().map(|row| Some(split(row.strip_prefix('(')?.strip_suffix(')')?)));
        rows.collect::<Option<Vec<_>>>()
            .map(|rows| rows.into_iter().map(|row| row.into_iter().map(str::to_owned).collect()).collect())
    }
}

/// Every constant of the code, and what their names stand for.
struct Code {
    all: Vec<Constant>,
    numbers: BTreeMap<(String, String), i128>,
}

impl Code {
    fn read(tree: &Tree) -> Code {
        let mut all = Vec::new();
        for (path, text) in tree.rust() {
            let mut parts = path.split('/');
            let is_source = parts.next_back().is_some_and(|file| SOURCES.contains(&file));
            if let (true, Some("crates"), Some(krate)) = (is_source, parts.next(), parts.next()) {
                all.extend(constants(krate, path, &Source::new(text)));
            }
        }
        let mut code = Code { all, numbers: BTreeMap::new() };
        // A constant may be made of others, so the round is repeated until nothing new is known.
        loop {
            let known = code.numbers.len();
            for constant in &code.all {
                if let Some(value) = code.number(&constant.krate, &constant.value) {
                    code.numbers.insert((constant.krate.clone(), constant.name.clone()), value);
                }
            }
            if code.numbers.len() == known {
                return code;
            }
        }
    }

    /// What the document must hold.
    fn documented(&self) -> impl Iterator<Item = &Constant> {
        self.all.iter().filter(|constant| constant.documented && !self.is_list_of_layouts(constant))
    }

    fn is_list_of_layouts(&self, constant: &Constant) -> bool {
        let is_layout =
            |part: &String| self.all.iter().any(|other| other.name == *part && other.tuples().is_some());
        constant.tuples().is_some_and(|rows| rows.iter().flatten().any(is_layout))
    }

    fn number(&self, krate: &str, text: &str) -> Option<i128> {
        evaluate(text, &|name| self.named(krate, name, &self.numbers).copied())
    }

    /// What a name means inside `krate`: its own constant, else the only one of that name anywhere.
    fn named<'t, T>(
        &self,
        krate: &str,
        name: &str,
        table: &'t BTreeMap<(String, String), T>,
    ) -> Option<&'t T> {
        let short = name.rsplit("::").next().unwrap_or(name).to_owned();
        if let Some(own) = table.get(&(krate.to_owned(), short.clone())) {
            return Some(own);
        }
        let mut all = table.iter().filter(|((_, other), _)| *other == short);
        let (_, first) = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// The text that people read: a number if it is one, else names replaced, marks of Rust left out.
    fn shown(&self, krate: &str, text: &str) -> String {
        if let Some(number) = self.number(krate, text) {
            return number.to_string();
        }
        let texts: BTreeMap<_, _> =
            self.all.iter().map(|one| ((one.krate.clone(), one.name.clone()), one.value.clone())).collect();
        let mut shown = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let len = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')))
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(len.max(first.len_utf8()));
            match self.named(krate, word, &texts).filter(|_| len > 0) {
                Some(value) if !value.contains(word) => shown.push_str(&self.shown(krate, value)),
                _ if word == "b" && after.starts_with('"') => {}
                _ => shown.push_str(word.trim_matches(['*', '&'])),
            }
            rest = after;
        }
        shown
    }
}

/// Compares both sides.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let code = Code::read(tree);
    let document = Document::read(tree.text(DOCUMENT).unwrap_or_default());
    let mut found = Vec::new();
    for constant in code.documented() {
        let problem = match constant.tuples() {
            Some(rows) => document.layout_problem(&code, constant, &rows),
            None => document.value_problem(&code, constant),
        };
        found.extend(problem.map(|text| Problem::new(&constant.path, constant.line, text)));
        let name = constant.full_name();
        if code.documented().filter(|other| other.full_name() == name).count() > 1 {
            let text = format!("two format constants are called `{name}`: rename one");
            found.push(Problem::new(&constant.path, constant.line, text));
        }
    }
    let values = document.values.iter().map(|(name, _, line)| (name, line));
    for (name, line) in values.chain(document.layouts.iter().map(|(name, _, line)| (name, line))) {
        if !code.documented().any(|constant| constant.full_name() == *name) {
            found.push(Problem::new(
                DOCUMENT,
                *line,
                format!("no format constant is called `{name}`: remove it here"),
            ));
        }
    }
    found
}

/// All constants as Markdown: one table of values, then one table for each layout.
pub(super) fn markdown(tree: &Tree) -> String {
    let code = Code::read(tree);
    let mut text = String::from("## Constants\n\n| constant | value |\n|---|---|\n");
    for constant in code.documented().filter(|constant| constant.tuples().is_none()) {
        let value = code.shown(&constant.krate, &constant.value);
        text.push_str(&format!("| `{}` | `{value}` |\n", constant.full_name()));
    }
    for constant in code.documented() {
        let Some(rows) = constant.tuples() else { continue };
        let width = rows.first().map_or(0, Vec::len);
        let titles = ["of", "field", "offset", "bytes"];
        let titles = titles.get(4usize.saturating_sub(width)..).unwrap_or_default().join(" | ");
        text.push_str(&format!(
            "\nLayout `{}`\n\n| {titles} |\n|{}\n",
            constant.full_name(),
            "---|".repeat(width)
        ));
        for row in rows {
            let cells: Vec<String> =
                row.iter().map(|cell| code.shown(&constant.krate, cell).replace('"', "")).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    text
}

/// What the document says: names, what is written for them, and where.
struct Document {
    values: Vec<(String, String, usize)>,
    layouts: Vec<(String, Vec<Vec<String>>, usize)>,
}

impl Document {
    fn read(text: &str) -> Document {
        let mut document = Document { values: Vec::new(), layouts: Vec::new() };
        let mut in_constants = false;
        let mut layout_open = false;
        for (line, content) in (1..).zip(text.lines()) {
            if content.starts_with('#') {
                in_constants = content.contains("Constants");
                layout_open = false;
            }
            if let Some(name) =
                content.trim().strip_prefix("Layout `").and_then(|rest| rest.split('`').next())
            {
                document.layouts.push((name.to_owned(), Vec::new(), line));
                layout_open = true;
            }
            let Some(cells) = paths::table_cells(content) else {
                layout_open &=
                    content.trim().is_empty() || content.starts_with("Layout `") || document.no_rows_yet();
                continue;
            };
            match document.layouts.last_mut() {
                Some((_, rows, _)) if layout_open => rows.push(cells),
                _ if in_constants => document.values.extend(value_row(&cells, line)),
                _ => {}
            }
        }
        document
    }

    fn no_rows_yet(&self) -> bool {
        self.layouts.last().is_some_and(|(_, rows, _)| rows.is_empty())
    }

    fn value_problem(&self, code: &Code, constant: &Constant) -> Option<String> {
        let name = constant.full_name();
        let shown = code.shown(&constant.krate, &constant.value);
        let same: Vec<_> = self.values.iter().filter(|(known, ..)| *known == name).collect();
        match same.as_slice() {
            [] => Some(format!(
                "`{name}` is not in {DOCUMENT}: add the row | `{name}` | `{shown}` | (cargo xtask tidy --formats)"
            )),
            [(_, value, _)]
                if plain(&code.shown(&constant.krate, &without_commas(value))) == plain(&shown) =>
            {
                None
            }
            [(_, value, line)] => Some(format!(
                "`{name}` is `{shown}` here and `{value}` in {DOCUMENT}:{line}: correct one of them"
            )),
            [_, (_, _, line), ..] => {
                Some(format!("`{name}` stands twice in {DOCUMENT}, again in line {line}: remove one"))
            }
        }
    }

    fn layout_problem(&self, code: &Code, constant: &Constant, rows: &[Vec<String>]) -> Option<String> {
        let name = constant.full_name();
        let Some((_, table, line)) = self.layouts.iter().find(|(known, ..)| *known == name) else {
            return Some(format!(
                "{DOCUMENT} has no line Layout `{name}` with a table (cargo xtask tidy --formats)"
            ));
        };
        // The title and the line below it.
        let body = table.get(2..).unwrap_or_default();
        if body.len() != rows.len() {
            return Some(format!(
                "`{name}` has {} rows here and {} in {DOCUMENT}:{line}: correct one of them",
                rows.len(),
                body.len()
            ));
        }
        let bare =
            |text: &str| plain(&code.shown(&constant.krate, &without_commas(text))).replace(['"', '`'], "");
        rows.iter().zip(body).find_map(|(row, cells)| {
            let same =
                row.iter().zip(cells).filter(|(part, cell)| bare(part) == bare(cell)).count() == row.len();
            (!same).then(|| {
                format!(
                    "row ({}) of `{name}` differs from {DOCUMENT}:{line}: correct one of them",
                    row.join(", ")
                )
            })
        })
    }
}

fn value_row(cells: &[String], line: usize) -> Option<(String, String, usize)> {
    let name = cells.first()?.strip_prefix('`')?.strip_suffix('`').filter(|name| name.contains("::"))?;
    Some((name.to_owned(), cells.get(1)?.trim_matches('`').to_owned(), line))
}

/// The constants at the top level of a file.
fn constants(krate: &str, path: &str, source: &Source<'_>) -> Vec<Constant> {
    let mut found = Vec::new();
    for at in source.words("const") {
        let depth = source.code[..at].bytes().fold(0i32, |depth, byte| match byte {
            b'{' => depth + 1,
            b'}' => depth - 1,
            _ => depth,
        });
        let name_at = source.skip_space(at + "const".len());
        let (Some(equals), Some(end)) =
            (source.find_outside(name_at, b"="), source.find_outside(name_at, b";"))
        else {
            continue;
        };
        let Some((name, _)) = source.code[name_at..end].split_once(':') else { continue };
        let name = name.trim();
        let is_name =
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        if depth != 0 || equals > end || !is_name || name == "_" {
            continue;
        }
        let line = source.line_of(at);
        let value = source.text[equals + 1..end].split_whitespace().collect::<Vec<_>>().join(" ");
        let documented = has_doc(source.text, line);
        found.push(Constant {
            krate: krate.to_owned(),
            name: name.to_owned(),
            value,
            documented,
            path: path.to_owned(),
            line,
        });
    }
    found
}

fn has_doc(text: &str, line: usize) -> bool {
    let above: Vec<&str> = text.lines().take(line - 1).collect();
    let first = above.iter().rev().map(|line| line.trim()).find(|line| !line.starts_with("#["));
    first.is_some_and(|line| line.starts_with("///"))
}

/// The parts of a list, split at commas outside brackets and texts.
fn split(list: &str) -> Vec<&str> {
    let source = Source::new(list);
    let mut parts = Vec::new();
    let mut start = 0;
    while let Some(comma) = source.find_outside(start, b",") {
        parts.push(list[start..comma].trim());
        start = comma + 1;
    }
    parts.push(list[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// `65,536` is how people write a number.
fn without_commas(text: &str) -> String {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
    if is_number { text.replace(',', "") } else { text.to_owned() }
}

/// Text without what differs only in looks: spaces, dereferences, a trailing comma.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '*' | '&')).collect();
    text.replace(",)", ")").replace(",]", "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "//! x\n/// Bytes of a block.\npub const BLOCK_BYTES: usize = 64 * 1024;\nconst PRIVATE: u8 = 1;\n\
        /// The magic.\nconst MAGIC: [u8; 4] = *b\"NFxx\";\n\
        /// The tag.\n#[rustfmt::skip]\npub(crate) const TAG: FileTag = FileTag::new(\n    MAGIC,\n    1,\n    PRIVATE,\n);\n\
        /// Half.\nconst HALF: usize = BLOCK_BYTES / (1 + PRIVATE as usize);\n/// Not a constant.\nconst fn f() -> u8 { 0 }\n\
        /// The header.\nconst LAYOUT: &[(&str, usize, usize)] = &[(\"magic\", 0, 4), (\"count, all\", PRIVATE as usize + 3, 8)];\n\
        /// For code.\nconst LAYOUTS: &[(&str, &[Row])] = &[(\"header\", LAYOUT)];\n\
        mod tests {\n    /// Inside.\n    const INNER: u8 = 1;\n}\n";
    const DOC: &str = "# Format\n| `codec::OTHER` | 7 |\n## Constants\n| constant | value |\n|---|---|\n\
        | `codec::BLOCK_BYTES` | 65,536 |\n| `codec::MAGIC` | `\"NFxx\"` |\n| `codec::TAG` | `FileTag::new(\"NFxx\", 1, 1)` |\n\
        | `codec::HALF` | `32 << 10` |\n## Next\n\
        Layout `codec::LAYOUT`\n\n| field | offset | bytes | meaning |\n|---|---|---|---|\n\
        | `magic` | 0 | 4 | x |\n| count, all | 4 | 8 | y |\n\nMore.\n";

    fn check_both(code: &str, doc: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("crates/codec/src/container.rs", code),
            ("docs/format.md", doc),
            ("crates/codec/src/lib.rs", CODE),
        ]);
        check(&tree).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn both_sides_agree() {
        assert_eq!(check_both(CODE, DOC), Vec::<String>::new());
    }

    #[test]
    fn a_different_value_is_named() {
        let found = check_both(CODE, &DOC.replace("65,536", "65,535"));
        assert!(
            found[0].starts_with(
                "crates/codec/src/container.rs:3: `codec::BLOCK_BYTES` is `65536` here and `65,535`"
            ),
            "{found:?}"
        );
        assert!(
            check_both(CODE, &DOC.replace("FileTag::new(\"NFxx", "FileTag::new(\"NFxy"))[0]
                .contains("codec::TAG")
        );
        assert!(
            check_both(CODE, &DOC.replace("| `codec::HALF` | `32 << 10` |\n", ""))[0].contains("add the row")
        );
        let more = DOC.replace("## Next", "| `codec::GONE` | 1 |\n## Next");
        assert!(
            check_both(CODE, &more)[0]
                .starts_with("docs/format.md:10: no format constant is called `codec::GONE`")
        );
        assert_eq!(check_both(CODE, "").len(), 5);
        let twice = DOC.replace("## Next", "| `codec::HALF` | 32768 |\n## Next");
        assert!(check_both(CODE, &twice)[0].contains("stands twice"));
    }

    #[test]
    fn a_different_layout_is_named() {
        assert!(
            check_both(CODE, &DOC.replace("| 4 | 8 |", "| 4 | 4 |"))[0]
                .contains("row (\"count, all\", PRIVATE as usize + 3, 8)")
        );
        assert!(
            check_both(CODE, &DOC.replace("| `magic` | 0 | 4 | x |\n", ""))[0]
                .contains("has 2 rows here and 1")
        );
        assert!(check_both(CODE, &DOC.replace("Layout `codec::LAYOUT`", ""))[0].contains("no line Layout"));
        assert!(
            check_both(CODE, &DOC.replace("More.", "Layout `codec::GONE`"))[0].contains("no format constant")
        );
    }

    #[test]
    fn what_is_printed_passes() {
        let tree = Tree::of(&[("crates/codec/src/container.rs", CODE)]);
        assert_eq!(check_both(CODE, &markdown(&tree)), Vec::<String>::new());
    }

    #[test]
    fn one_name_means_one_constant_of_a_crate() {
        let code = "/// A.\nconst A: u8 = 1;\n";
        let doc = "# Constants\n| `x::A` | 1 |\n| `y::A` | 2 |\n";
        let other = ("crates/y/src/format.rs", "/// A.\nconst A: u8 = 2;\n");
        let tree = Tree::of(&[("crates/x/src/a/format.rs", code), other, ("docs/format.md", doc)]);
        assert_eq!(check(&tree), []);
        let twice = [
            ("crates/x/src/a/format.rs", code),
            ("crates/x/src/b/format.rs", code),
            other,
            ("docs/format.md", doc),
        ];
        assert_eq!(check(&Tree::of(&twice)).len(), 2);
    }
}
