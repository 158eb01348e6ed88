//! Hostile bytes for every decoder and parser: one plain function per input format, and what feeds them.
//!
//! **It refuses** to need a fuzzer: a target is a function of bytes that runs on any toolchain, and `cargo test` replays the whole
//! corpus through all of them, with some mutations. libFuzzer only finds better bytes. It also refuses to stop at checksums: a
//! target makes them true again before it decodes, for whoever hands us a crafted file can do that too.
//!
//! ```
//! let (_, wal_frames) = nearfield_fuzz::TARGETS[0];
//! wal_frames(b"any bytes at all");
//! ```
//!
//! # What must hold, whatever the bytes
//!
//! 1. No panic, no read beyond the bytes (AddressSanitizer watches), no hang (5 s), no allocation beyond four times the input
//!    and 64 MiB. What overflows panics here, for the fuzzer builds with overflow checks.
//! 2. What is decoded and encoded again says the same; what the engine accepts it can also answer questions about, in order
//!    and without contradicting itself.
//! 3. What is refused is refused with the kind of error that is documented.
//!
//! # Inputs
//!
//! The first byte of an input to a target of a file format is its *control byte*. [`checksums::MEND`]: the checksums inside the
//! bytes are made true before they are decoded; further bits are explained at the targets. Everything after it is the file.
//!
//! # The corpus
//!
//! `fuzz/corpus/<target>/` holds a few small valid files per target, which `fuzz seeds` writes, and every input that ever
//! broke something. They are part of the tests.
//!
//! # Reading order
//!
//! `targets` (one small module per format), `checksums`, `fixtures` (valid files), `seeds`, `mutate`, `corpus`; then
//! `command` and `smoke`, the program `fuzz`.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool that reads and writes its corpus and runs a compiler; the platform seam is for the engine"
)]

pub mod checksums;
pub mod command;
pub mod corpus;
mod fixtures;
pub mod mutate;
pub mod seeds;
mod smoke;
pub mod targets;

/// A target: a function that must come back, whatever the bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its folder in the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("wal_frames", targets::wal_frames::wal_frames),
    ("wal_recover", targets::wal_recover::wal_recover),
    ("cell", targets::cell::cell),
    ("manifest", targets::manifest::manifest),
    ("catalog", targets::catalog::catalog),
    ("tasks", targets::tasks::tasks),
    ("operation", targets::operation::operation),
    ("container", targets::container::container),
    ("graph", targets::graph::graph),
    ("codes", targets::codes::codes),
    ("segment_ids", targets::segment::segment_ids),
    ("segment_delta", targets::segment::segment_delta),
    ("segment_vectors", targets::segment::segment_vectors),
    ("segment_payload", targets::segment::segment_payload),
    ("field_index", targets::field_index::field_index),
    ("snapshot_archive", targets::snapshot_archive::snapshot_archive),
    ("payload_row", targets::payload_row::payload_row),
    ("npy", targets::npy::npy),
    ("jsonl", targets::jsonl::jsonl),
    ("cli_json", targets::cli_json::cli_json),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
