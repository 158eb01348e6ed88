//! Rules about manifests: levels, the libraries that have a place, and what every member inherits.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::rust::line_of;
use super::tree::Tree;
use super::{Problem, paths};

const LEVEL_MAX: u8 = 6;
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Libraries that only some crates may use: (library, the level at which it is at home, the crates below that may use it too).
const FENCED: &[(&str, u8, &[&str])] = &[
    ("axum", 6, &[]),
    ("hyper", 6, &[]),
    ("tokio", 6, &[]),
    ("tonic", 6, &[]),
    ("tower", 6, &[]),
    ("serde_json", 6, &[]),
    ("serde", 6, &["api"]),
    ("prost", 6, &["api"]),
];

/// One dependency of a manifest.
#[derive(Debug)]
struct Dependency {
    package: String,
    line: usize,
    dev: bool,
    inherited: bool,
    local: bool,
}

/// What a manifest says, as far as rules ask.
#[derive(Debug, Default)]
struct Manifest {
    name: String,
    level: Option<(i64, usize)>,
    inherits_lints: bool,
    dependencies: Vec<Dependency>,
}

/// A crate below `crates/` that states its level.
struct Levelled<'a> {
    folder: &'a str,
    path: String,
    manifest: Manifest,
}

/// Every crate states a level, and what it is built from stands strictly below it.
pub(super) fn levels(tree: &Tree) -> Vec<Problem> {
    let (crates, mut found) = crates(tree);
    let level_of: BTreeMap<&str, Option<i64>> = crates
        .iter()
        .map(|one| (one.manifest.name.as_str(), one.manifest.level.map(|(level, _)| level)))
        .collect();
    let outside: Vec<String> = tree
        .packages()
        .filter(|(folder, _)| !folder.starts_with("crates/"))
        .filter_map(|(_, text)| Some(read(text).ok()?.name))
        .collect();
    for one in &crates {
        let Some((level, line)) = one.manifest.level else {
            let text = "the crate states no level: add `[package.metadata.nearfield]` with `level = N` (ARCHITECTURE.md)";
            found.push(Problem::new(&one.path, 1, text));
            continue;
        };
        if !(0..=i64::from(LEVEL_MAX)).contains(&level) {
            found.push(Problem::new(
                &one.path,
                line,
                format!("level {level} is not one of 0 to {LEVEL_MAX}"),
            ));
        }
        for dependency in one.manifest.dependencies.iter().filter(|dependency| !dependency.dev) {
            let package = &dependency.package;
            let text = match level_of.get(package.as_str()) {
                Some(Some(below)) if *below >= level => format!(
                    "level {level} may not depend on `{package}` of level {below}: arrows go strictly down, move what is needed to a lower level"
                ),
                None if outside.contains(package) => {
                    format!(
                        "a crate may not depend on the tool `{package}`: make it a dev-dependency or move the code"
                    )
                }
                _ => continue,
            };
            found.push(Problem::new(&one.path, dependency.line, text));
        }
    }
    found
}

/// The table of levels in ARCHITECTURE.md says what the manifests say.
pub(super) fn level_table(tree: &Tree) -> Vec<Problem> {
    let Some(text) = tree.text(ARCHITECTURE) else {
        return vec![Problem::new(
            ARCHITECTURE,
            1,
            "the file is missing: it holds the map of the crates and their levels",
        )];
    };
    let rows = table_rows(text);
    if rows.is_empty() {
        return vec![Problem::new(
            ARCHITECTURE,
            1,
            "no table with the columns `crate` and `level`: add one with every crate",
        )];
    }
    let (crates, _) = crates(tree);
    let mut found = Vec::new();
    for row in &rows {
        match crates.iter().find(|one| one.folder == row.name) {
            None => {
                let text = format!("there is no crate crates/{}: remove the row until there is", row.name);
                found.push(Problem::new(ARCHITECTURE, row.line, text));
            }
            Some(one)
                if one.manifest.level.map(|(level, _)| level.to_string()) != Some(row.level.clone()) =>
            {
                let (name, level) = (&row.name, &row.level);
                let text = format!(
                    "`{name}` is given level {level}, its manifest says otherwise: correct one of them"
                );
                found.push(Problem::new(ARCHITECTURE, row.line, text));
            }
            Some(_) => {}
        }
    }
    for one in crates.iter().filter(|one| !rows.iter().any(|row| row.name == one.folder)) {
        found.push(Problem::new(
            ARCHITECTURE,
            rows[0].line,
            format!("the table lacks `{}`: add it", one.folder),
        ));
    }
    found
}

/// Network, async and serialisation libraries stay at their level.
pub(super) fn fenced_libraries(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for one in &crates(tree).0 {
        let level = one.manifest.level.map_or(0, |(level, _)| level);
        for dependency in one.manifest.dependencies.iter().filter(|dependency| !dependency.dev) {
            let fence = FENCED.iter().find(|(library, ..)| dependency.package == *library);
            let Some((library, home, guests)) = fence else { continue };
            if level < i64::from(*home) && !guests.contains(&one.folder) {
                let text = format!("`{library}` belongs to level {home}: keep it out of `{}`", one.folder);
                found.push(Problem::new(&one.path, dependency.line, text));
            }
        }
    }
    found
}

/// Every member inherits the lints and takes its versions from the root.
pub(super) fn inheritance(tree: &Tree) -> Vec<Problem> {
    let mut found = Vec::new();
    for (folder, text) in tree.packages() {
        let path = format!("{folder}/Cargo.toml");
        let manifest = match read(text) {
            Ok(manifest) => manifest,
            Err(problem) => {
                found.push(Problem::new(&path, problem.0, problem.1));
                continue;
            }
        };
        if !manifest.inherits_lints {
            found.push(Problem::new(
                &path,
                1,
                "the member has lints of its own: write `[lints]` with `workspace = true`",
            ));
        }
        for dependency in
            manifest.dependencies.iter().filter(|dependency| !dependency.inherited && !dependency.local)
        {
            let text = format!(
                "the version of `{0}` is chosen here: move it to `[workspace.dependencies]` and write `{0}.workspace = true`",
                dependency.package
            );
            found.push(Problem::new(&path, dependency.line, text));
        }
    }
    found
}

/// The names of all packages and of their programs, for rules on documents.
pub(super) fn package_names(tree: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    for (folder, text) in tree.packages() {
        names.extend(read(text).ok().map(|manifest| manifest.name));
        let document = DeTable::parse(text);
        let programs = document.as_ref().ok().and_then(|document| get(document.get_ref(), "bin"));
        for program in programs.and_then(|(_, value)| value.as_array()).into_iter().flatten() {
            let name = program.get_ref().as_table().and_then(|table| get(table, "name"));
            names.extend(name.and_then(|(_, value)| value.as_str()).map(str::to_owned));
        }
        let prefix = format!("{folder}/src/bin/");
        names.extend(
            tree.paths().filter_map(|path| Some(path.strip_prefix(&prefix)?.strip_suffix(".rs")?.to_owned())),
        );
    }
    names
}

fn crates(tree: &Tree) -> (Vec<Levelled<'_>>, Vec<Problem>) {
    let (mut crates, mut found) = (Vec::new(), Vec::new());
    for (folder, text) in tree.packages() {
        let Some(name) = folder.strip_prefix("crates/") else { continue };
        let path = format!("{folder}/Cargo.toml");
        match read(text) {
            Ok(manifest) => crates.push(Levelled { folder: name, path, manifest }),
            Err((line, text)) => found.push(Problem::new(&path, line, text)),
        }
    }
    (crates, found)
}

fn read(text: &str) -> Result<Manifest, (usize, String)> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        (line, format!("not TOML: {}", error.message()))
    })?;
    let document = document.get_ref();
    let mut manifest = Manifest::default();
    let name = at(document, &["package", "name"]).and_then(|(_, value)| value.as_str());
    manifest.name = name.unwrap_or_default().to_owned();
    let level = at(document, &["package", "metadata", "nearfield", "level"]);
    manifest.level = level.and_then(|(span, value)| {
        Some((value.as_integer()?.to_string().parse().ok()?, line_of(text, span.start)))
    });
    manifest.inherits_lints =
        at(document, &["lints", "workspace"]).is_some_and(|(_, value)| value.as_bool() == Some(true));
    collect(document, text, &mut manifest.dependencies);
    if let Some((_, DeValue::Table(targets))) = get(document, "target") {
        for target in targets.values().filter_map(|target| target.get_ref().as_table()) {
            collect(target, text, &mut manifest.dependencies);
        }
    }
    Ok(manifest)
}

fn collect(table: &DeTable<'_>, text: &str, found: &mut Vec<Dependency>) {
    for (kind, dev) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)] {
        let Some((_, DeValue::Table(entries))) = get(table, kind) else { continue };
        for (key, value) in entries {
            let options = value.get_ref().as_table();
            let option = |name| options.and_then(|options| get(options, name)).map(|(_, value)| value);
            let renamed = option("package").and_then(DeValue::as_str);
            found.push(Dependency {
                package: renamed.unwrap_or(key.get_ref()).to_owned(),
                line: line_of(text, key.span().start),
                dev,
                inherited: option("workspace").is_some(),
                local: option("path").is_some(),
            });
        }
    }
}

fn get<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<(Range<usize>, &'t DeValue<'i>)> {
    let (_, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    Some((value.span(), value.get_ref()))
}

fn at<'t, 'i>(table: &'t DeTable<'i>, path: &[&str]) -> Option<(Range<usize>, &'t DeValue<'i>)> {
    let (last, folders) = path.split_last()?;
    let inner = folders.iter().try_fold(table, |table, key| get(table, key)?.1.as_table())?;
    get(inner, last)
}

struct Row {
    name: String,
    level: String,
    line: usize,
}

/// The rows of every table that has the columns `crate` and `level`. A cell may name several crates.
fn table_rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut columns = None;
    for (line, content) in (1..).zip(text.lines()) {
        let Some(cells) = paths::table_cells(content) else {
            columns = None;
            continue;
        };
        let column =
            |title: &str| cells.iter().position(|cell| cell.trim_matches('`').eq_ignore_ascii_case(title));
        match columns {
            None => columns = Some((column("crate"), column("level"))),
            Some((Some(name), Some(level))) => {
                let (Some(names), Some(level)) = (cells.get(name), cells.get(level)) else { continue };
                if names.chars().all(|c| matches!(c, '-' | ':' | ' ')) {
                    continue;
                }
                let names = names.split(',').map(|name| name.trim().trim_matches('`').to_owned());
                rows.extend(names.map(|name| Row { name, level: level.trim_matches('`').to_owned(), line }));
            }
            Some(_) => {}
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: (&str, &str) = (
        "crates/types/Cargo.toml",
        "[package]\nname = \"nearfield-types\"\n[package.metadata.nearfield]\nlevel = 0\n[lints]\nworkspace = true\n",
    );

    fn wal(level: &str, dependencies: &str) -> String {
        format!(
            "[package]\nname = \"nearfield-wal\"\n[package.metadata.nearfield]\n{level}\n[lints]\nworkspace = true\n{dependencies}"
        )
    }

    fn texts(problems: Vec<Problem>) -> Vec<String> {
        problems.iter().map(Problem::to_string).collect()
    }

    fn check(rule: fn(&Tree) -> Vec<Problem>, manifest: &str) -> Vec<String> {
        texts(rule(&Tree::of(&[
            TYPES,
            ("crates/wal/Cargo.toml", manifest),
            ("xtask/Cargo.toml", "[package]\nname = \"xtask\""),
        ])))
    }

    #[test]
    fn arrows_go_strictly_down() {
        let down = wal(
            "level = 2",
            "[dependencies]\nnearfield-types.workspace = true\n[dev-dependencies]\nxtask.workspace = true\n",
        );
        assert!(check(levels, &down).is_empty());
        let same = wal("level = 0", "[dependencies]\nnearfield-types.workspace = true\n");
        let found = check(levels, &same);
        assert!(
            found[0].starts_with("crates/wal/Cargo.toml:8: level 0 may not depend on `nearfield-types`"),
            "{found:?}"
        );
        let renamed = wal(
            "level = 0",
            "[target.'cfg(unix)'.build-dependencies]\nt = { path = \"../types\", package = \"nearfield-types\" }\n",
        );
        assert_eq!(check(levels, &renamed).len(), 1);
        assert_eq!(check(levels, &wal("level = 2", "[dependencies]\nxtask.workspace = true\n")).len(), 1);
        assert_eq!(check(levels, &wal("", "")).len(), 1);
        assert_eq!(check(levels, &wal("level = 7", "")).len(), 1);
        assert!(check(levels, "[package").iter().any(|text| text.contains("not TOML")));
    }

    #[test]
    fn the_table_agrees_with_the_manifests() {
        let good =
            "| crate | level | is |\n|---|---|---|\n| `types` | 0 | words |\n| `wal` | 2 | the log |\n";
        let check = |table: &str| {
            let manifest = wal("level = 2", "");
            texts(level_table(&Tree::of(&[
                TYPES,
                ("crates/wal/Cargo.toml", &manifest),
                ("ARCHITECTURE.md", table),
            ])))
        };
        assert!(check(good).is_empty());
        assert!(check("| Level | Crate |\n|--|--|\n| 0 | `types` |\n| 2 | `wal` |\n").is_empty());
        assert!(
            check(&good.replace("| 2", "| 3"))[0].starts_with("ARCHITECTURE.md:4: `wal` is given level 3")
        );
        assert!(check(&good.replace("`wal`", "`hnsw`")).len() == 2);
        assert!(check("nothing")[0].contains("no table"));
        assert!(texts(level_table(&Tree::of(&[TYPES])))[0].contains("missing"));
    }

    #[test]
    fn libraries_stay_at_their_level() {
        assert_eq!(
            check(fenced_libraries, &wal("level = 2", "[dependencies]\nserde_json.workspace = true\n")).len(),
            1
        );
        assert!(
            check(fenced_libraries, &wal("level = 6", "[dependencies]\ntokio.workspace = true\n")).is_empty()
        );
        assert!(
            check(fenced_libraries, &wal("level = 2", "[dev-dependencies]\nserde_json.workspace = true\n"))
                .is_empty()
        );
        let api = wal("level = 0", "[dependencies]\nprost.workspace = true\ntokio.workspace = true\n");
        let found = fenced_libraries(&Tree::of(&[("crates/api/Cargo.toml", &api)]));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn members_inherit_lints_and_versions() {
        let good =
            wal("level = 2", "[dependencies]\nthiserror.workspace = true\nhere = { path = \"../here\" }\n");
        assert_eq!(
            check(inheritance, &good),
            ["xtask/Cargo.toml:1: the member has lints of its own: write `[lints]` with `workspace = true`"]
        );
        let own = wal("level = 2", "[dependencies]\nthiserror = \"2\"\n");
        assert!(
            check(inheritance, &own)[0].starts_with("crates/wal/Cargo.toml:8: the version of `thiserror`")
        );
    }

    #[test]
    fn names_of_packages_and_programs() {
        let manifest = "[package]\nname = \"nearfield-benches\"\n[[bin]]\nname = \"nearfield-bench\"\n";
        let tree = Tree::of(&[("benches/Cargo.toml", manifest), ("benches/src/bin/crash.rs", "")]);
        assert_eq!(package_names(&tree), ["nearfield-benches", "nearfield-bench", "crash"]);
    }
}
