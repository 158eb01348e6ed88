//! One module per input format; what must hold stands at each function, beside what holds for all (see the crate).

pub mod catalog;
pub mod cell;
pub mod cli_json;
pub mod codes;
pub mod container;
pub mod field_index;
pub mod graph;
mod input;
pub mod jsonl;
pub mod manifest;
pub mod npy;
pub mod operation;
pub mod payload_row;
pub mod segment;
pub mod snapshot_archive;
pub mod tasks;
pub mod wal_frames;
pub mod wal_recover;
