//! The outside world: directories, files, clocks, chance and threads.
//!
//! Everything that a program could not do alone goes through here, so that above it everything can be tested without a disk, a
//! clock or luck: a database runs the same on [`RealDir`], on [`MemoryDir`] and on [`FaultyDir`], whose power may be cut.
//!
//! **It refuses** to know what the bytes mean (it reads the frame of a container to check blocks, nothing inside), to follow
//! symbolic links, to change a file once it is sealed, to retry a failed sync, and to offer paths, descriptors or handles of the
//! operating system to anybody above. It has no async and no global state but a counter.
//!
//! ```
//! use nearfield_platform::{Dir, FaultyDir, LossModel};
//!
//! /// Durable in the end, whatever happens on the way.
//! fn publish(dir: &dyn Dir, bytes: &[u8]) -> std::io::Result<()> {
//!     dir.replace("CURRENT", bytes)
//! }
//!
//! let dir = FaultyDir::new();
//! publish(&*dir, b"one")?;
//! let begun = dir.ops();
//! publish(&*dir, b"two")?;
//! for ops in begun..=dir.ops() {
//!     let found = dir.crash_image_at(ops, LossModel::Random, 42).open("CURRENT")?;
//!     assert!(found[..] == *b"one" || found[..] == *b"two");
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Invariants
//!
//! 1. A path is checked as text before it reaches a store, and no store resolves it outside its root.
//! 2. Bytes seen through a [`Region`](nearfield_codec::Region) never change: only sealed files are mapped, all others copied.
//! 3. Bytes seen through a [`Blob`] have passed their checksums.
//! 4. What [`File::sync`] and [`Dir::sync_dir`] covered survives a power cut; nothing else is promised, and [`FaultyDir`] takes
//!    everything else away.
//! 5. An error is returned at once, of the kind the system gave, naming what was tried and on which path.
//! 6. An exclusive lock excludes every other lock on its file, also of the same process, until it is dropped or the process ends.
//! 7. A panic in a job of [`Workers`] or [`Ticker`] is reported, never lost, and ends nothing but the job.
//!
//! # Complexity
//!
//! A call on [`RealDir`] is one system call, and two for each folder of its path. Opening a file maps it, or copies up to 64 KiB;
//! no descriptor stays open. Reading a [`Blob`] costs a bit test per 64 KiB, once all is checked nothing.
//!
//! # Concurrency
//!
//! Everything here may be shared between threads. Between processes, locks.
//!
//! # Which systems
//!
//! Linux, on a local file system. Others come when they can be tested.
//!
//! # Reading order
//!
//! `dir` (the seam), `path`; `map`, `real`; `content`, `memory`; `blob`; `lock`; `journal`, `crash`, `faulty` (power cuts);
//! `call`, `faults` (errors on demand); `conformance`; `clock`, `entropy`, `threads`, `budget`.

#![expect(
    clippy::disallowed_methods,
    reason = "this crate is where clocks, sleeping and threads come from for all others"
)]

mod blob;
mod budget;
mod call;
mod clock;
pub mod conformance;
mod content;
mod crash;
mod dir;
mod entropy;
mod faults;
mod faulty;
mod journal;
mod lock;
mod map;
mod memory;
mod path;
mod real;
mod threads;

pub use blob::MappedBlob;
pub use budget::{Budget, BuilderPlace, Reservation, Use};
pub use call::Call;
pub use clock::{Clock, ManualClock, SystemClock};
pub use crash::{LossModel, Replay};
pub use dir::{Blob, BlobError, Dir, Entry, File, Holder, Lock, LockError, LockKind};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use faults::{Action, Fault, FaultPlan, Faults, Moment, Sabotage};
pub use faulty::FaultyDir;
pub use memory::MemoryDir;
pub use real::{RealDir, RealOptions};
pub use threads::{Job, PanicHook, Panicked, Ticker, Urgency, Workers, guarded, on_threads};
