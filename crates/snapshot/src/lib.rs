//! Content-addressed snapshots: write-once objects, names that stand for sets of them, pins that keep them, and what removes the rest.
//!
//! The store contract ([`SnapshotStore`], [`Pins`]), its simplest correct implementation, a folder beside the data ([`LocalStore`]), and
//! the suite that every implementation must pass ([`conformance`]). Take it where files that never change have to be kept under names,
//! shared between names, and forgotten safely.
//!
//! **It refuses** to know what the files mean: no collections, no logs, no points. It starts no thread, decides neither when to sweep nor
//! what to keep, and never removes an object while anything about the roots is in doubt.
//!
//! ```
//! use std::sync::Arc;
//! use nearfield_platform::{ManualClock, MemoryDir};
//! use nearfield_snapshot::{Entry, Expect, LocalStore, Manifest, Object, SnapshotStore, Source};
//!
//! let store = LocalStore::open(MemoryDir::new(), "snapshots", Arc::new(ManualClock::new(0)))?;
//! let hold = store.hold();
//! let object = Object::of(b"rows");
//! store.put(&hold, &object, Source::Bytes(b"rows"))?;
//! let files = vec![Entry { path: "rows".into(), object, crc64: 0 }];
//! let manifest = Manifest { created_ms: 0, body: b"what the rows are".to_vec(), files };
//! store.publish(&hold, "monday", &manifest, Expect::Absent)?;
//! drop(hold);
//! store.sweep()?; // nothing that a name stands for goes
//! let found = store.resolve("monday", None)?.expect("it was published");
//! assert_eq!(&store.get(&found.manifest.files[0].object)?[..], b"rows");
//! # Ok::<(), nearfield_snapshot::StoreError>(())
//! ```
//!
//! # Invariants
//!
//! 1. An object is named by the BLAKE3 digest of its bytes. A visible object is whole and durable, but for its name, and never changes.
//! 2. A name stands for one manifest, which is an object itself. It is published after everything it names is durable.
//! 3. [`SnapshotStore::sweep`] removes what no name, no pin and no [`Hold`] keeps, and nothing if a name, a pin or a manifest cannot be read.
//! 4. A pin keeps a manifest and its objects whatever becomes of the name. It ends by [`Pins::unpin`], or when two sweeps in a row found it
//!    past its time: a clock that jumps once ends nothing.
//! 5. Names and paths in manifests are text: no byte of them reaches the file system unless it was checked or hashed.
//!
//! # Complexity
//!
//! Adopting an object costs a link. Publishing costs the syncs of two files and two folders. Sweeping reads every name and every manifest.
//!
//! # Concurrency
//!
//! One process (whoever holds the lock of the database), any number of threads.
//!
//! # Reading order
//!
//! `contract`, `manifest`, `format`; `local` with `refs`, `twin`, `sweep`; `conformance`.

pub mod conformance;
mod contract;
mod error;
pub mod format;
mod local;
mod manifest;
mod refs;
mod sweep;
mod twin;

pub use contract::{
    Expect, Hold, Listing, Object, PIN_TTL_MAX, PIN_TTL_MIN, Pin, Pins, Placed, Published, Put,
    SnapshotStore, Source, Swept,
};
pub use error::{Result, StoreError};
pub use local::LocalStore;
pub use manifest::{Digest, Entry, Manifest, ManifestError};

#[cfg(test)]
mod tests;
