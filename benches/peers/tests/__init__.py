"""Tests of the harness: what it computes, never what it times. Run by `cargo xtask python`."""
