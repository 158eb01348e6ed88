//! Distance kernels with run-time dispatch: f32 dot product, squared Euclidean and Manhattan distance, sums over codes of 4 and 7
//! bits and what makes such codes, for AVX-512, AVX2 and any other processor, and a safe prefetch.
//!
//! **It refuses** to know slots, stores, metrics or queries: it takes slices of numbers and returns numbers. It does not
//! normalise, take roots, negate, rank or check for NaN, and it needs no build flags: the level is chosen while running.
//!
//! Use it to score vectors you already hold. To search a collection use the `nearfield` crate.
//!
//! ```
//! use nearfield_simd::kernels;
//!
//! // Choose the distance once, then score as often as needed.
//! let dot = *kernels().dot();
//! let query = [0.5_f32; 384];
//! let rows = [0.25_f32; 5 * 384]; // row-major
//! let mut scores = [0.0; 5];
//! dot.batch(&query, &rows, &mut scores);
//! assert_eq!(scores, [48.0; 5]);
//!
//! // Rows scattered in memory, four at a time, the rest one by one: the same values bit for bit.
//! let row = |i: usize| &rows[i * 384..][..384];
//! assert_eq!(dot.x4(&query, [row(4), row(0), row(2), row(1)]), scores[..4]);
//! assert_eq!(dot.pair(&query, row(3)), scores[3]);
//! ```
//!
//! # Invariants
//!
//! 1. **One value per pair.** At one level, the value of (query, row) has the same bits from [`F32Kernels::pair`],
//!    [`x4`](F32Kernels::x4) and [`batch`](F32Kernels::batch), at every position, alignment and neighbourhood, and with query
//!    and row exchanged. Each level has one order of additions, written at the top of its file and checked by a model of it
//!    in the tests. (A NaN is a NaN in all forms; its sign and payload are not defined.)
//! 2. **One level per process.** [`kernels`] returns the same table for ever, so scores computed now and later compare. Two
//!    levels differ in the last bits; the scalar level gives the same bits on every architecture.
//! 3. **Near the truth.** A finite value differs from the exact one by at most [`reference::tolerance`].
//! 4. **Detected before called.** A level's functions enter a table only through a value that proves the instruction set.
//! 5. **No read past a row.** The tail is loaded under a mask, and lengths are asserted before the first load.
//! 6. **Codes are the same everywhere.** All that [`CodeKernels`] computes has the same bits at every level: sums over codes are
//!    integers, and its f32 arithmetic is elementwise or summed in lanes that do not follow the registers, without fused
//!    multiply-add.
//!
//! # Units, shapes and special values
//!
//! Vectors are f32 slices of one length, any length; no alignment is required. Dimension 0 gives 0. Lengths that do not fit
//! together panic: dimensions are checked where vectors enter the database, so a mismatch here is a bug, never input.
//!
//! NaN and infinities follow IEEE 754 through the sum: a NaN makes the value NaN; `inf * 0`, `inf - inf` and sums of opposite
//! infinities are NaN; otherwise an infinity stays one. A sum of finite terms beyond f32 becomes infinite, or NaN where parts
//! of both signs overflow, even if the exact total is small. One row never affects another. Subnormals are kept.
//!
//! # Choosing a level
//!
//! The best level of the processor is used. The variable `NEARFIELD_SIMD` set to `avx512`, `avx2` or `scalar` lowers it: to
//! find out whether a kernel is to blame, to compare, or to get equal scores on unequal machines. [`kernels`] never fails: a
//! level the processor lacks gives the best one below it, an unknown name is ignored. [`try_kernels`] reports both; call it
//! once at the start of a program. [`Kernels::select`] and [`Kernels::available`] reach every level in one process.
//!
//! # Complexity
//!
//! O(dim) per distance, no allocation. Hot rows cost one load per 16 (AVX-512) or 8 (AVX2) values and row, plus the query's,
//! which [`x4`](F32Kernels::x4) shares among rows. Rows from memory cost what the memory costs: prefer
//! [`batch`](F32Kernels::batch) for neighbouring rows, [`prefetch`] and `x4` for scattered ones. Keep a query that is used
//! often in 64-byte-aligned memory: where every load crosses a cache line, a hot `pair` takes 1.4 times as long.
//!
//! # Concurrency
//!
//! Everything is `Send + Sync` and without state after the first call of [`kernels`], which any thread may make.
//!
//! # Room to grow
//!
//! A further family (i8 dot, threshold filter) is: a struct beside [`F32Kernels`] and [`CodeKernels`] with its checks, an accessor
//! of [`Kernels`], an oracle in [`mod@reference`], and one file per level. A level whose processors may lack what a family needs
//! (AVX-512F without VNNI, for example) takes the next level's functions within the same table.
//!
//! # Reading order
//!
//! `dispatch` (levels, the table, the choice), `f32_kernels` and `code_kernels` (the checked calls), `reference` (what is right and
//! how near), `term`, `elementwise`, `scalar`, `avx512`, `avx2` (each with its `codes`), `x86` (what both share), `prefetch`. The
//! files that hold unsafe code say so in their first lines; every public function is safe.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod code_kernels;
mod dispatch;
mod elementwise;
mod f32_kernels;
mod prefetch;
pub mod reference;
mod scalar;
mod term;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use code_kernels::{CODE_ALIGN, Centred, CodeKernels, Encoded, Quantized};
pub use dispatch::{KernelError, Kernels, LEVEL_VARIABLE, Level, kernels, try_kernels};
pub use f32_kernels::F32Kernels;
pub use prefetch::{CACHE_LINE_BYTES, prefetch, prefetch_one, prefetch_rows};
