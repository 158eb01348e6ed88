//! Guides on size. What exceeds one is printed, and never fails: long is sometimes right.

use super::rust::Source;
use super::tree::Tree;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// A line of text for every file and function beyond its guide.
pub(super) fn hints(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let lines = text.lines().count();
        if lines > FILE_LINES {
            found.push(format!("{path} has {lines} lines (guide: {FILE_LINES})"));
        }
        let source = Source::new(text);
        for function in source.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES) {
            let (name, line, lines) = (function.name, function.line, function.lines);
            found.push(format!("{path}:{line}: `{name}` has {lines} lines (guide: {FUNCTION_LINES})"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_functions_are_named() {
        let long = format!("//! x\nfn long() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES));
        let file = "//! x\n".repeat(FILE_LINES + 1);
        let found = hints(&Tree::of(&[("a.rs", &long), ("b.rs", &file), ("c.rs", "//! x\nfn f() {}\n")]));
        assert_eq!(found, ["a.rs:2: `long` has 72 lines (guide: 70)", "b.rs has 501 lines (guide: 500)"]);
    }
}
