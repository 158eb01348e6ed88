//! Chance as something that is handed in: the system's, or a repeatable one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Where random bytes come from.
///
/// # Complexity and concurrency
///
/// O(bytes); all methods may be called from several threads.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills `bytes` at random.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number below `count`, 0 for `count` 0. The bias is below `count / 2^64`.
    fn below(&self, count: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(count)) >> 64) as u64
    }

    /// The sixteen bytes of a random UUID: version 4, variant 1 (RFC 9562), 122 random bits.
    fn uuid_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}

/// The operating system's generator, fit for secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            match getrandom(&mut *left, GetRandomFlags::empty()) {
                Ok(filled) => left = &mut left[filled..],
                // Waiting for the first entropy after boot may be interrupted.
                Err(Errno::INTR) => {}
                Err(error) => unreachable!(
                    "the kernel has had this call, which cannot fail otherwise, since 3.17: {error}"
                ),
            }
        }
    }
}

/// A repeatable sequence (SplitMix64), for tests and simulations; no secret.
///
/// The n-th number is a fixed mix of `seed + n * G`, G being the golden ratio's bits; so threads that draw from one generator
/// get different numbers, and one thread always the same sequence.
///
/// ```
/// use nearfield_platform::{Entropy, SeededEntropy};
///
/// let (a, b) = (SeededEntropy::new(7), SeededEntropy::new(7));
/// assert_eq!((a.u64(), a.uuid_bytes()), (b.u64(), b.uuid_bytes()));
/// ```
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        SeededEntropy { state: AtomicU64::new(seed) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn u64(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.state.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The first numbers of seed 1234567, as the algorithm's other implementations give them.
    #[test]
    fn known_sequence() {
        let entropy = SeededEntropy::new(1_234_567);
        let want = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([(); 3].map(|()| entropy.u64()), want);
    }

    #[test]
    fn uuids_are_marked_and_differ() {
        for entropy in [&SystemEntropy as &dyn Entropy, &SeededEntropy::new(1)] {
            let uuids: HashSet<_> = (0..1000).map(|_| entropy.uuid_bytes()).collect();
            assert_eq!(uuids.len(), 1000);
            assert!(uuids.iter().all(|uuid| uuid[6] >> 4 == 4 && uuid[8] >> 6 == 2));
        }
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let entropy = SeededEntropy::new(3);
        assert_eq!((entropy.below(0), entropy.below(1)), (0, 0));
        let reached: HashSet<_> = (0..1000).map(|_| entropy.below(10)).collect();
        assert_eq!(reached, (0..10).collect());
    }

    #[test]
    fn long_and_odd_lengths_are_filled() {
        for len in [0, 1, 7, 9, 100_000] {
            let mut bytes = vec![0; len];
            SystemEntropy.fill(&mut bytes);
            assert!(len < 9 || bytes.iter().any(|&byte| byte != 0));
        }
    }
}
