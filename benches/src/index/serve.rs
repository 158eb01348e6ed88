//! `serve`: what a process holds in memory that has opened a saved index and answered queries; run by `index` as a process of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nearfield::{Breadth, Index};
use serde_json::{Value, json};

use crate::Result;
use crate::npy;

const LIMIT: usize = 10;
const EF: u32 = 64;

/// Parts of names of files that hold the raw rows, apart from codes, graph and ids.
const RAW: &[&str] = &["vectors"];

/// Megabytes of this process: anonymous, pages of the index's own files, and pages of those with the raw rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Resident {
    anonymous: f64,
    files: f64,
    raw: f64,
}

/// Starts this program again to serve, and returns what it printed.
pub(crate) fn in_a_process(index: &Path, queries: &Path) -> Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("serve").arg(index).arg(queries).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the serving process ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Serves in this process and prints one JSON object.
pub(crate) fn run(index: &Path, queries: &Path) -> Result {
    let queries = npy::read_f32(queries)?;
    let (mut ids, mut distances) = (vec![0; queries.rows * LIMIT], vec![0.0; queries.rows * LIMIT]);
    let folder = std::fs::canonicalize(index)?;
    let bare = resident(&folder)?;
    let began = Instant::now();
    let index = Index::view(index)?;
    let opened = began.elapsed();
    index.search_many(&queries.numbers, LIMIT, Breadth::Ef(EF), 1, &mut ids, &mut distances)?;
    let served = resident(&folder)?;
    println!(
        "{}",
        json!({
            "open_ms": opened.as_secs_f64() * 1e3,
            "anonymous_mb": served.anonymous - bare.anonymous,
            "files_mb": served.files,
            "raw_mb": served.raw,
        })
    );
    Ok(())
}

fn resident(folder: &Path) -> Result<Resident> {
    let text =
        std::fs::read_to_string("/proc/self/smaps").map_err(|error| format!("/proc/self/smaps: {error}"))?;
    Ok(sum(&text, &folder.to_string_lossy()))
}

/// Adds up what the kernel says of each mapping: a line of range, rights and path, then a line for each figure.
fn sum(smaps: &str, folder: &str) -> Resident {
    let mut total = Resident::default();
    let (mut is_ours, mut is_raw) = (false, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if !first.ends_with(':') {
            let path = words.nth(4).unwrap_or_default();
            is_ours = path.starts_with(folder);
            let name = path.rsplit('/').next().unwrap_or_default();
            is_raw = RAW.iter().any(|part| name.contains(part));
            continue;
        }
        let megabytes = words
            .next()
            .and_then(|word| word.parse::<f64>().ok())
            .map_or(0.0, |kilobytes| kilobytes * 1024.0 / 1e6);
        match first {
            "Anonymous:" => total.anonymous += megabytes,
            "Rss:" if is_ours && is_raw => total.raw += megabytes,
            "Rss:" if is_ours => total.files += megabytes,
            _ => {}
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_added_up() {
        let text = "\
55d0-55d1 r-xp 00000000 fd:00 131 /usr/bin/x
Rss:                 500 kB
Anonymous:             0 kB
7f00-7f01 rw-p 00000000 00:00 0
Rss:                1000 kB
Anonymous:          1000 kB
7f02-7f03 r--s 00000000 fd:00 12 /data/index/graph-0
Rss:                2000 kB
Anonymous:             0 kB
7f04-7f05 r--s 00000000 fd:00 13 /data/index/vectors-0
Rss:                4000 kB
Anonymous:             0 kB
VmFlags: rd mr
";
        let found = sum(text, "/data/index");
        assert_eq!(found, Resident { anonymous: 1.024, files: 2.048, raw: 4.096 });
        assert_eq!(sum("", "/data/index"), Resident::default());
    }
}
