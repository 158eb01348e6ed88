//! The choice of a level: what the processor has, what `NEARFIELD_SIMD` asks for, and one table for the process.
//!
//! It refuses to fail: [`kernels`] always returns a table. Who wants to tell people about a misspelt variable calls
//! [`try_kernels`]. The environment is read here, against the rule that the outside world belongs to `platform`, because this
//! crate stands below it and because all code of the process must use the same level (lib.rs, I2).
//!
//! Invariant: a table of a level exists only if the level's proof was obtained.

use std::fmt;
use std::sync::OnceLock;

use crate::code_kernels::CodeKernels;
use crate::f32_kernels::F32Kernels;
use crate::scalar;

/// The environment variable that lowers the level: `avx512`, `avx2` or `scalar`.
pub const LEVEL_VARIABLE: &str = "NEARFIELD_SIMD";

/// An instruction set that kernels were written for. The order is the order of speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust; on every processor.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F.
    Avx512,
}

impl Level {
    /// All levels, fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Scalar];

    /// The name used by [`LEVEL_VARIABLE`], [`Kernels::select`] and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The level of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a level that was asked for by name cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// No level has this name. `asked` is what was given, cut to 32 characters.
    #[error("unknown SIMD level {asked:?}: use avx512, avx2 or scalar (NEARFIELD_SIMD unset takes the best)")]
    UnknownLevel {
        /// What was given.
        asked: String,
    },
    /// This processor, or its operating system, does not run the level.
    #[error("SIMD level {asked} is not supported by this processor; the best one here is {best}")]
    UnsupportedLevel {
        /// What was given.
        asked: Level,
        /// The fastest level that runs here.
        best: Level,
    },
}

/// The kernels of one level. Get it from [`kernels`]; tests and benches walk over [`Kernels::available`].
#[derive(Debug)]
pub struct Kernels {
    level: Level,
    dot: F32Kernels,
    squared_l2: F32Kernels,
    l1: F32Kernels,
    codes: CodeKernels,
}

impl Kernels {
    fn new(level: Level, [dot, squared_l2, l1]: [F32Kernels; 3], codes: CodeKernels) -> Self {
        Self { level, dot, squared_l2, l1, codes }
    }

    /// The tables that run on this processor, fastest first; the last one is always [`Level::Scalar`].
    ///
    /// ```
    /// use nearfield_simd::{Kernels, Level};
    /// assert_eq!(Kernels::available().last().map(|k| k.level()), Some(Level::Scalar));
    /// ```
    pub fn available() -> impl Iterator<Item = &'static Self> {
        tables().iter().flatten()
    }

    /// The table of the level called `name`.
    ///
    /// # Errors
    ///
    /// [`KernelError::UnknownLevel`] for a name not in [`Level::ALL`], [`KernelError::UnsupportedLevel`] for a level that
    /// does not run here.
    ///
    /// ```
    /// use nearfield_simd::{KernelError, Kernels};
    /// assert_eq!(Kernels::select("scalar")?.name(), "scalar");
    /// assert!(matches!(Kernels::select("mmx"), Err(KernelError::UnknownLevel { .. })));
    /// # Ok::<(), KernelError>(())
    /// ```
    pub fn select(name: &str) -> Result<&'static Self, KernelError> {
        choose(Some(name), tables()).1
    }

    /// The level of this table.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The name of the level.
    pub const fn name(&self) -> &'static str {
        self.level.name()
    }

    /// Dot product: the sum of `q * r`. Higher is closer.
    pub const fn dot(&self) -> &F32Kernels {
        &self.dot
    }

    /// Squared Euclidean distance: the sum of `(q - r)^2`. No root is taken.
    pub const fn squared_l2(&self) -> &F32Kernels {
        &self.squared_l2
    }

    /// Manhattan distance: the sum of `|q - r|`.
    pub const fn l1(&self) -> &F32Kernels {
        &self.l1
    }

    /// Sums over integer codes, and what makes codes. Equal at every level, bit for bit.
    pub const fn codes(&self) -> &CodeKernels {
        &self.codes
    }
}

/// The table of this process: the best level the processor has, or the one [`LEVEL_VARIABLE`] asks for.
///
/// The variable is read at the first call and never again. A level that does not run here gives the best one below it; a name
/// that does not exist is treated as unset. [`try_kernels`] tells both apart.
///
/// # Concurrency
///
/// Any thread, any time; every call returns the same table. After the first call it costs one atomic load: take the table, or
/// the [`F32Kernels`] needed, once per query or segment.
pub fn kernels() -> &'static Kernels {
    choice().0
}

/// As [`kernels`], but an override that was not obeyed to the letter is an error. Programs call it once at start.
///
/// # Errors
///
/// As [`Kernels::select`], for the value of [`LEVEL_VARIABLE`]. An unset or empty variable is no error.
pub fn try_kernels() -> Result<&'static Kernels, KernelError> {
    choice().1.clone()
}

/// One row per level, fastest first; `None` where it does not run. The last one is always there.
type Tables = [Option<Kernels>; 3];

/// What [`kernels`] and [`try_kernels`] return.
type Choice = (&'static Kernels, Result<&'static Kernels, KernelError>);

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| [avx512(), avx2(), Some(scalar_table(Level::Scalar))])
}

/// A table of scalar functions.
fn scalar_table(level: Level) -> Kernels {
    Kernels::new(level, scalar::f32_kernels(), scalar::code_kernels())
}

/// Byte instructions came later than AVX-512F: without them the code kernels are those of the level below.
#[cfg(target_arch = "x86_64")]
fn avx512() -> Option<Kernels> {
    let proof = crate::avx512::Avx512::detect()?;
    let below = crate::avx2::Avx2::detect().map_or_else(scalar::code_kernels, |avx2| avx2.code_kernels());
    let codes = crate::avx512::Vnni::detect().map_or(below, |vnni| vnni.code_kernels(below));
    Some(Kernels::new(Level::Avx512, proof.f32_kernels(), codes))
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> Option<Kernels> {
    let proof = crate::avx2::Avx2::detect()?;
    Some(Kernels::new(Level::Avx2, proof.f32_kernels(), proof.code_kernels()))
}

#[cfg(not(target_arch = "x86_64"))]
fn avx512() -> Option<Kernels> {
    None
}

#[cfg(not(target_arch = "x86_64"))]
fn avx2() -> Option<Kernels> {
    None
}

fn choice() -> &'static Choice {
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    CHOICE.get_or_init(|| {
        let asked = std::env::var_os(LEVEL_VARIABLE).filter(|value| !value.is_empty());
        choose(asked.as_deref().map(|value| value.to_string_lossy()).as_deref(), tables())
    })
}

/// The table to use for `asked`, and whether it is exactly what was asked for. A pure function of its arguments.
fn choose(asked: Option<&str>, tables: &'static Tables) -> Choice {
    let at_most = |limit: Level| {
        let mut fitting = tables.iter().flatten().filter(move |table| table.level <= limit);
        fitting.next().expect("the scalar table is in every list and below every level")
    };
    let best = at_most(Level::Avx512);
    let Some(name) = asked else { return (best, Ok(best)) };
    let Some(level) = Level::from_name(name) else {
        return (best, Err(KernelError::UnknownLevel { asked: name.chars().take(32).collect() }));
    };
    let table = at_most(level);
    if table.level == level {
        (table, Ok(table))
    } else {
        (table, Err(KernelError::UnsupportedLevel { asked: level, best: best.level }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists of three imagined processors. Every table holds scalar functions: only the choice is tested.
    fn processor(levels: &[Level]) -> &'static Tables {
        Box::leak(Box::new(Level::ALL.map(|level| levels.contains(&level).then(|| scalar_table(level)))))
    }

    fn check(asked: Option<&str>, levels: &[Level], used: Level, exact: Result<Level, KernelError>) {
        let (table, result) = choose(asked, processor(levels));
        assert_eq!(table.level(), used, "asked {asked:?} of {levels:?}");
        assert_eq!(result.map(Kernels::level), exact, "asked {asked:?} of {levels:?}");
    }

    #[test]
    fn the_best_level_is_taken_unless_a_supported_one_is_asked_for() {
        use Level::{Avx2, Avx512, Scalar};
        check(None, &Level::ALL, Avx512, Ok(Avx512));
        check(None, &[Avx2, Scalar], Avx2, Ok(Avx2));
        check(None, &[Scalar], Scalar, Ok(Scalar));
        for level in Level::ALL {
            check(Some(level.name()), &Level::ALL, level, Ok(level));
        }
    }

    #[test]
    fn an_unsupported_level_falls_to_the_next_below_and_is_reported() {
        use Level::{Avx2, Avx512, Scalar};
        let refused = |asked, best| Err(KernelError::UnsupportedLevel { asked, best });
        check(Some("avx512"), &[Avx2, Scalar], Avx2, refused(Avx512, Avx2));
        check(Some("avx512"), &[Scalar], Scalar, refused(Avx512, Scalar));
        check(Some("avx2"), &[Scalar], Scalar, refused(Avx2, Scalar));
        // Never above what was asked for.
        check(Some("avx2"), &[Avx512, Scalar], Scalar, refused(Avx2, Avx512));
    }

    #[test]
    fn an_unknown_name_is_reported_and_does_not_change_the_level() {
        for name in ["AVX512", "sse", " avx2", "avx512\0", "né"] {
            let error = KernelError::UnknownLevel { asked: name.to_owned() };
            check(Some(name), &Level::ALL, Level::Avx512, Err(error));
        }
        let long = "x".repeat(1 << 20);
        let Err(KernelError::UnknownLevel { asked }) = Kernels::select(&long) else {
            panic!("accepted {}", long.len())
        };
        assert_eq!(asked, "x".repeat(32));
    }

    #[test]
    fn errors_name_what_was_asked_and_what_to_do() {
        let unknown = Kernels::select("sse").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "unknown SIMD level \"sse\": use avx512, avx2 or scalar (NEARFIELD_SIMD unset takes the best)"
        );
        let refused = KernelError::UnsupportedLevel { asked: Level::Avx512, best: Level::Avx2 };
        assert_eq!(
            refused.to_string(),
            "SIMD level avx512 is not supported by this processor; the best one here is avx2"
        );
    }

    #[test]
    fn the_process_has_one_table_and_it_is_among_the_available_ones() {
        let table = kernels();
        assert!(std::ptr::eq(table, kernels()));
        assert!(Kernels::available().any(|other| std::ptr::eq(other, table)));
        if let Ok(strict) = try_kernels() {
            assert!(std::ptr::eq(strict, table));
        }
        assert!(Kernels::available().map(Kernels::level).is_sorted_by(|a, b| a > b));
    }
}
