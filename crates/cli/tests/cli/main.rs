//! The binary as people and scripts meet it: every command, every kind of bad input, stopped and continued imports.

mod commands;
mod demo;
mod hostile;
mod import;
mod maintenance;
mod portable;
mod snapshots;
mod support;
