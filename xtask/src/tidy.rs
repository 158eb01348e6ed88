//! `tidy`: the rules of the project that no compiler checks. It runs as a task and as a test.
//!
//! A rule is a pure function from the files of the repository to what is wrong with them, each with the place and what to do.
//! Guides on size are printed and never fail.

mod arithmetic;
mod budgets;
mod fences;
mod formats;
mod hygiene;
mod manifests;
mod paths;
mod rust;
mod sources;
mod tree;

use std::fmt;
use std::path::Path;

use crate::args::{Failure, Outcome, failed};
use tree::Tree;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: String,
    line: usize,
    text: String,
}

impl Problem {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Problem {
        Problem { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

type Rule = fn(&Tree) -> Vec<Problem>;

const RULES: &[Rule] = &[
    manifests::levels,
    manifests::level_table,
    manifests::fenced_libraries,
    manifests::inheritance,
    paths::check,
    sources::fronts,
    sources::statements,
    sources::dead_golden_files,
    fences::check,
    formats::check,
    hygiene::check,
];

/// Every problem of the tree, in the order of path and line.
fn problems(tree: &Tree) -> Vec<Problem> {
    let mut found: Vec<Problem> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    found.sort();
    found.dedup();
    found
}

/// Runs all rules on the repository, prints what they find, fails if they find anything.
pub(crate) fn task(root: &Path) -> Outcome {
    let tree = read(root)?;
    for hint in budgets::hints(&tree) {
        println!("hint: {hint}");
    }
    let found = problems(&tree);
    for problem in &found {
        println!("{problem}");
    }
    match found.len() {
        0 => {
            println!("tidy: {} files, {} rules, nothing to say", tree.count(), RULES.len());
            Ok(())
        }
        count => failed(format!("tidy: {count} problem{}", if count == 1 { "" } else { "s" })),
    }
}

/// Prints the format constants of the code as the tables that `docs/format.md` must hold.
pub(crate) fn print_formats(root: &Path) -> Outcome {
    print!("{}", formats::markdown(&read(root)?));
    Ok(())
}

fn read(root: &Path) -> Outcome<Tree> {
    Tree::read(root).map_err(|error| Failure::Failed(format!("cannot read the repository: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::read(crate::root()).unwrap();
        let found: Vec<String> = problems(&tree).iter().map(Problem::to_string).collect();
        assert!(found.is_empty(), "{} problems:\n{}", found.len(), found.join("\n"));
    }
}
