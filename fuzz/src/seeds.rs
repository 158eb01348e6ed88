//! The valid inputs with which every corpus begins.

use nearfield_cli::json::from_object;
use nearfield_collection::decode_cell;
use nearfield_payload::encode;

use crate::checksums::MEND;
use crate::fixtures;
use crate::targets::wal_recover::{CHAIN, DAMAGED_HEADERS, LEFTOVERS, NAMED};

/// Names and bytes of the seeds of `target`; none for a target that does not exist.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let inputs = match target {
        "wal_frames" => fixtures::log_files().iter().flat_map(|file| files(file)).collect(),
        "wal_recover" => log_folders(),
        "cell" => {
            let parts = fixtures::database();
            [&parts.catalog.1, &parts.manifest.1].into_iter().flat_map(|file| files(file)).collect()
        }
        "manifest" => vec![value(&fixtures::database().manifest)],
        "catalog" => vec![value(&fixtures::database().catalog)],
        "tasks" => fixtures::tasks(),
        "snapshot_archive" => fixtures::archives().iter().flat_map(|file| files(file)).collect(),
        "operation" => operations(),
        "container" => [0, 200, 1_500].iter().flat_map(|bytes| files(&fixtures::container(*bytes))).collect(),
        "graph" => files(&fixtures::graph()),
        "codes" => fixtures::codes().iter().flat_map(|file| files(file)).collect(),
        "segment_ids" => files(&fixtures::database().ids),
        "segment_delta" => files(&fixtures::database().delta),
        "segment_vectors" => {
            let [first, second] = &fixtures::database().vectors;
            let mut inputs = files(first);
            // Bit 1: it is the second vector.
            inputs.extend(files(second).into_iter().map(|mut input| {
                input[0] |= 2;
                input
            }));
            inputs
        }
        "segment_payload" => files(&fixtures::database().payload),
        "field_index" => fixtures::field_indexes().iter().flat_map(|file| files(file)).collect(),
        "payload_row" => (0..5).map(|n| encode(&fixtures::payload(n)).unwrap_or_default()).collect(),
        "npy" => arrays(),
        "jsonl" => vec![
            b"\x07\xffone\r\ntwo\n\nf\xc3\xbcnf\n".to_vec(),
            b"\x00\x04four\nfive5\n".to_vec(),
            b"\x02\x20bad \xff\nnever seen".to_vec(),
        ],
        "cli_json" => texts(),
        _ => Vec::new(),
    };
    inputs.into_iter().enumerate().map(|(n, bytes)| (format!("seed-{n}"), bytes)).collect()
}

/// The file as it is, and to be mended after mutations.
fn files(file: &[u8]) -> Vec<Vec<u8>> {
    [0, MEND].iter().map(|control| [&[*control], file].concat()).collect()
}

fn value((version, file): &(u64, Vec<u8>)) -> Vec<u8> {
    decode_cell(file, *version).unwrap_or_default().to_vec()
}

fn piece(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

fn log_folders() -> Vec<Vec<u8>> {
    let files = fixtures::log_files();
    let pieces: Vec<Vec<u8>> = files.iter().map(|file| piece(file)).collect();
    let input = |control: u8, synced: u32, flushed: u32, pieces: &[Vec<u8>]| {
        let mut input = vec![control];
        input.extend_from_slice(&synced.to_le_bytes());
        input.extend_from_slice(&flushed.to_le_bytes());
        input.extend(pieces.concat());
        input
    };
    let second = nearfield_wal::scan(&files[1]).map_or(0, |scan| scan.header.first_seq.0 as u32);
    let torn = [pieces[0].clone(), piece(&files[1][..files[1].len() / 2])];
    vec![
        input(NAMED | DAMAGED_HEADERS, 0, 0, &pieces),
        input(NAMED | MEND | CHAIN | LEFTOVERS, 0, 0, &pieces),
        input(NAMED | MEND | CHAIN, second, second, &pieces[1..]),
        input(NAMED | MEND, 0, 0, &torn),
    ]
}

fn operations() -> Vec<Vec<u8>> {
    let operations = &fixtures::database().operations;
    let mut inputs: Vec<Vec<u8>> = operations.iter().take(4).map(|bytes| piece(bytes)).collect();
    inputs.push(operations.iter().map(|bytes| piece(bytes)).collect::<Vec<_>>().concat());
    inputs
}

fn arrays() -> Vec<Vec<u8>> {
    let array = |version: u8, descr: &str, shape: &str, data: &[u8]| {
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}").into_bytes();
        let head = if version == 1 { 10 } else { 12 };
        text.resize((head + text.len() + 1).next_multiple_of(64) - head - 1, b' ');
        text.push(b'\n');
        let len = (text.len() as u32).to_le_bytes();
        let len = if version == 1 { &len[..2] } else { &len };
        [b"\x93NUMPY".as_slice(), &[version, 0], len, &text, data].concat()
    };
    let floats: Vec<u8> =
        [1.0f32, -0.5, 3.25, 1e30, 0.0, -7.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let halves = [0x3c00u16, 0xbc00, 0x7bff, 0x0001].map(u16::to_le_bytes).concat();
    vec![
        array(1, "<f4", "(2, 3)", &floats),
        array(2, "<f2", "(2, 2)", &halves),
        array(3, "<f4", "(6,)", &floats),
        array(1, "<f2", "(1, 2)", &[0x00, 0x7c, 0x00, 0x3c]),
        array(1, "<f4", "(0, 9)", &[]),
    ]
}

fn texts() -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = (0..3).map(|n| from_object(&fixtures::payload(n)).to_string()).collect();
    texts.extend(
        [
            r#"{"a": [1, -2.5e3, 0.1, 1e-7, 18446744073709551615, -9223372036854775808], "b\n\u00fc": "\ud83d\ude00"}"#,
            r#"{"a": {"b": {"c": [[[]]]}}, "d": 1.7976931348623157e308, "g": 1.8446744073709234e+30, "e": 5e-324, "f": -0.0}"#,
            "[0.25, -1, 3e38, 7]",
        ]
        .map(str::to_owned),
    );
    texts.into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

    #[test]
    fn every_target_has_seeds_and_they_are_small() {
        for (name, _) in TARGETS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "{name}");
            for (seed, bytes) in seeds {
                // Archives are made of blocks of half a kilobyte.
                let most = if *name == "snapshot_archive" { 12 << 10 } else { 4 << 10 };
                assert!(bytes.len() < most, "{name}/{seed} has {} bytes", bytes.len());
            }
        }
    }
}
