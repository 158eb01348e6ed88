//! `unsafe` stands only in named files, and every use of it says why it is sound.

use super::Problem;
use super::rust::Source;
use super::tree::Tree;

/// Files and folders where `unsafe` is allowed. A new one is a decision: it is made here, where a reviewer sees it.
const UNSAFE_ALLOWED: &[&str] =
    &["crates/simd/src/", "crates/platform/src/map.rs", "crates/column/src/lib.rs"];

/// The only place for processor intrinsics.
const ARCH_ALLOWED: &str = "crates/simd/";

/// Most lines between a block and the comment that explains it: a statement may begin some lines above its `unsafe`.
const LINES_UP_MAX: usize = 12;

/// Checks all sources.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        let source = Source::new(text);
        let allowed = UNSAFE_ALLOWED.iter().any(|fence| path.starts_with(fence));
        for at in source.words("unsafe") {
            let line = source.line_of(at);
            if !allowed {
                let text = "`unsafe` outside its fence: use a safe function of simd, platform or column (xtask/src/tidy/fences.rs)";
                found.push(Problem::new(path, line, text));
            } else if needs_reason(&source, at) && !explained(&source, line) {
                found.push(Problem::new(
                    path,
                    line,
                    "`unsafe` without `// SAFETY:` just above: say why it is sound",
                ));
            }
        }
        if !allowed {
            let lifted = source.words("unsafe_code").map(|at| source.line_of(at));
            found.extend(lifted.map(|line| {
                Problem::new(path, line, "the ban on `unsafe` is lifted outside its fence: remove this")
            }));
        }
        if !path.starts_with(ARCH_ALLOWED) {
            found.extend(intrinsics(&source).map(|line| {
                Problem::new(path, line, "processor intrinsics belong to `simd`: add a safe kernel there")
            }));
        }
    }
    found
}

fn intrinsics<'s>(source: &'s Source<'_>) -> impl Iterator<Item = usize> + 's {
    source
        .words("arch")
        .filter(|&at| ["core::", "std::"].iter().any(|root| source.code[..at].ends_with(root)))
        .filter_map(|at| {
            let is_macro = source.code[at..].starts_with("arch::is_");
            (!is_macro).then(|| source.line_of(at))
        })
}

/// A block or an implementation; a function states its duty under `# Safety`, which clippy checks.
fn needs_reason(source: &Source<'_>, at: usize) -> bool {
    let rest = &source.code[source.skip_space(at + "unsafe".len())..];
    rest.starts_with('{') || rest.starts_with("impl")
}

fn explained(source: &Source<'_>, line: usize) -> bool {
    let texts: Vec<&str> = source.text.lines().collect();
    let codes: Vec<&str> = source.code.lines().collect();
    let says = |at: usize| texts.get(at).is_some_and(|text| text.contains("SAFETY:"));
    let own = line - 1;
    if says(own) {
        return true;
    }
    for above in (own.saturating_sub(LINES_UP_MAX)..own).rev() {
        if says(above) {
            return true;
        }
        let code = codes.get(above).map_or("", |code| code.trim());
        let is_comment = code.is_empty() && !texts[above].trim().is_empty();
        let continues = !code.is_empty() && (code.starts_with("#[") || !code.ends_with([';', '{', '}', ',']));
        if !is_comment && !continues {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_at(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn unsafe_stays_inside_its_fence() {
        assert_eq!(
            check_at("crates/wal/src/lib.rs", "fn f() {\n    // SAFETY: none\n    unsafe { g() }\n}"),
            [3]
        );
        assert_eq!(check_at("crates/wal/src/lib.rs", "#![expect(unsafe_code, reason = \"x\")]"), [1]);
        assert!(check_at("crates/wal/src/lib.rs", "// unsafe\nlet x = \"unsafe\";").is_empty());
        assert_eq!(
            check_at(
                "crates/wal/src/lib.rs",
                "use std::arch::x86_64::*;\nstd::arch::is_x86_feature_detected!(\"avx2\");"
            ),
            [1]
        );
        assert!(check_at("crates/simd/src/x.rs", "use core::arch::x86_64::*;").is_empty());
    }

    #[test]
    fn every_block_has_its_reason() {
        let path = "crates/simd/src/dot.rs";
        assert!(check_at(path, "fn f() {\n // SAFETY: checked above.\n unsafe { g() }\n}").is_empty());
        assert!(check_at(path, "// SAFETY: one\n// two\n#[inline]\nlet x =\n    unsafe { g() };").is_empty());
        assert!(check_at(path, "unsafe { g() } // SAFETY: same line").is_empty());
        assert_eq!(check_at(path, "// SAFETY: for the first\nunsafe { g() };\nunsafe { h() };"), [3]);
        assert_eq!(check_at(path, "// fine\nunsafe impl Send for X {}\n"), [2]);
        assert!(check_at(path, "/// # Safety\n///\n/// x\npub unsafe fn f() {}\n").is_empty());
    }
}
