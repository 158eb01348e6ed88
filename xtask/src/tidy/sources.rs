//! Rules about sources: how files begin, what no test may do, and golden files that nobody reads.

use super::Problem;
use super::rust::Source;
use super::tree::Tree;

/// Every file says what it is; every crate also says what it refuses to be.
pub(super) fn fronts(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        if !text.starts_with("//!") {
            found.push(Problem::new(
                path,
                1,
                "the file does not begin with `//!`: say what it is, what it is not, what always holds",
            ));
        }
    }
    for (folder, _) in tree.packages() {
        let fronts = [format!("{folder}/src/lib.rs"), format!("{folder}/src/main.rs")];
        let Some((path, text)) = fronts.iter().find_map(|path| Some((path, tree.text(path)?))) else {
            continue;
        };
        let docs = text.lines().take_while(|line| line.starts_with("//!"));
        if !docs.into_iter().any(|line| line.contains("refuses")) {
            found.push(Problem::new(
                path,
                1,
                "the crate does not say what it refuses to be: add a paragraph `**It refuses** …`",
            ));
        }
    }
    found
}

/// Statements that look like work and are none: `matches!(…);`, ignored tests, unwritten code, forgotten debugging.
pub(super) fn statements(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let source = Source::new(text);
        let problems = bare_matches(&source).chain(unfinished(&source)).chain(ignored(&source));
        found.extend(problems.map(|(line, text)| Problem::new(path, line, text)));
    }
    found
}

fn bare_matches<'s>(source: &'s Source<'_>) -> impl Iterator<Item = (usize, String)> + 's {
    source.words("matches").filter_map(|at| {
        let bang = at + "matches".len();
        let open = source.skip_space(bang + 1);
        let is_macro = source.code.as_bytes().get(bang) == Some(&b'!');
        let begins = matches!(source.before(at), None | Some(b';' | b'{' | b'}'));
        let next = is_macro.then(|| source.code[source.skip_space(source.close_of(open))..].bytes().next());
        let ends = next.flatten() == Some(b';');
        let text = "`matches!` as a statement checks nothing: write `assert!(matches!(…))`";
        (begins && ends).then(|| (source.line_of(at), text.to_owned()))
    })
}

fn unfinished<'s>(source: &'s Source<'_>) -> impl Iterator<Item = (usize, String)> + 's {
    ["todo", "unimplemented", "dbg"].into_iter().flat_map(move |word| {
        let calls = source.words(word).filter(move |at| source.code[at + word.len()..].starts_with('!'));
        calls.map(move |at| {
            (source.line_of(at), format!("`{word}!` may not stay: finish the code or remove it"))
        })
    })
}

fn ignored<'s>(source: &'s Source<'_>) -> impl Iterator<Item = (usize, String)> + 's {
    let tests = source.words("ignore").filter(|&at| {
        let line = source.code[..at].rsplit('\n').next().unwrap_or_default();
        // Miri runs what is about `unsafe`; the other tests run everywhere else.
        let is_for_miri = line.trim_start().starts_with("#[cfg_attr(miri,");
        line.trim_start().starts_with("#[") && !is_for_miri && matches!(source.before(at), Some(b'[' | b','))
    });
    let tests = tests.map(|at| {
        (source.line_of(at), "an ignored test tests nothing: make it fast or put it behind a task")
    });
    let examples = (1..).zip(source.text.lines()).filter(|(_, line)| {
        let comment = line.trim_start();
        comment.starts_with("//")
            && comment.trim_start_matches(['/', '!', ' ']).starts_with(concat!("``", "`ignore"))
    });
    let examples =
        examples.map(|(line, _)| (line, "an ignored example rots: make it run (`no_run` if it must not)"));
    tests.chain(examples).map(|(line, text)| (line, text.to_owned()))
}

/// A golden file is named by some source of its package, else nothing compares with it.
pub(super) fn dead_golden_files(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for path in tree.paths() {
        let Some((package, name)) = path.split_once("/golden/") else { continue };
        let package = package.trim_end_matches("/tests").trim_end_matches("/src");
        let stem = name.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or(name);
        let prefix = format!("{package}/");
        if !tree.rust().any(|(source, text)| source.starts_with(&prefix) && text.contains(stem)) {
            let text = format!("no test of {package} names `{stem}`: use the file or remove it");
            found.push(Problem::new(path, 1, text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Problem>, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[("crates/a/src/b.rs", text)])).iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn files_and_crates_have_fronts() {
        assert!(check(fronts, "//! What.\n").is_empty());
        assert_eq!(check(fronts, "\n//! What.\n"), [1]);
        let package = |front| Tree::of(&[("crates/a/Cargo.toml", ""), ("crates/a/src/lib.rs", front)]);
        assert!(fronts(&package("//! What.\n//!\n//! **It refuses** more.\n")).is_empty());
        assert_eq!(fronts(&package("//! What.\n\n// It refuses more.\n")).len(), 1);
    }

    #[test]
    fn a_bare_matches_is_found() {
        assert_eq!(
            check(
                statements,
                "fn f() {\n    matches!(a, Some(_));\n    x();\n    matches! (a, B { .. }) ;\n}"
            ),
            [2, 4]
        );
        let fine = "fn f() -> bool {\n assert!(matches!(a, b));\n let x = matches!(a, b);\n // matches!(a, b);\n matches!(a, b)\n}";
        assert!(check(statements, fine).is_empty());
    }

    #[test]
    fn unfinished_and_ignored_code_is_found() {
        let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!(x)"));
        assert_eq!(check(statements, &words.join(";\n")), [1, 2, 3]);
        assert_eq!(
            check(statements, "#[test]\n#[ignore]\nfn f() {}\n#[cfg_attr(x, ignore = \"slow\")]\nfn g() {}"),
            [2, 4]
        );
        assert!(check(statements, "#[cfg_attr(miri, ignore = \"slow\")]\nfn f() {}").is_empty());
        assert_eq!(check(statements, concat!("/// ``", "`ignore\n/// x\n/// ``", "`\nfn f() {}")), [1]);
        assert!(
            check(
                statements,
                "let ignore = [ignore]; // todo!()\nlet s = \"dbg!(x)\"; #[must_use] fn todo() {}"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_golden_file_has_a_reader() {
        let tree = |source| Tree::of(&[("crates/a/golden/hops.json", "{}"), ("crates/a/src/lib.rs", source)]);
        assert!(dead_golden_files(&tree("check(\"hops\")")).is_empty());
        assert_eq!(dead_golden_files(&tree("check(\"other\")")).len(), 1);
    }
}
