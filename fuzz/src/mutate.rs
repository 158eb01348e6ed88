//! Random changes to inputs, for runs without a fuzzer: everything follows from the seed.

use nearfield_platform::{Entropy, SeededEntropy};

/// Inputs do not grow beyond this.
const BYTES_MAX: usize = 1 << 16;
/// Numbers at which decoders break.
const INTERESTING: [u64; 12] =
    [0, 1, 7, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

/// Changes `bytes` in one to eight places; `other` is what pieces may be taken from.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &SeededEntropy) {
    for _ in 0..=random.below(8) {
        change(bytes, other, random);
    }
    bytes.truncate(BYTES_MAX);
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &SeededEntropy) {
    let below = |count: usize| random.below(count as u64) as usize;
    if bytes.is_empty() {
        bytes.push(random.u64() as u8);
        return;
    }
    let at = below(bytes.len());
    let len = 1 + below(bytes.len() - at).min(1 << below(10));
    match random.below(9) {
        0 | 1 => bytes[at] ^= 1 << below(8),
        2 => bytes[at] = random.u64() as u8,
        3 => bytes[at] = bytes[at].wrapping_add(1 + 254 * (random.below(2) as u8)),
        4 => {
            let value = INTERESTING[below(INTERESTING.len())].to_le_bytes();
            let width = 1 << below(4);
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&value[..end - at]);
        }
        5 => {
            let len = len.min(bytes.len() - at);
            bytes.drain(at..at + len);
        }
        6 => {
            let from = below(bytes.len());
            let piece = bytes[from..bytes.len().min(from + len)].to_vec();
            bytes.splice(at..at, piece);
        }
        7 if !other.is_empty() => {
            let from = below(other.len());
            let piece = &other[from..other.len().min(from + len)];
            let end = bytes.len().min(at + piece.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        _ => {
            let end = bytes.len().min(at + len);
            bytes[at..end].fill(if random.below(2) == 0 { 0 } else { 0xff });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_follow_from_the_seed_and_stay_small() {
        let run = |seed| {
            let (random, mut bytes) = (SeededEntropy::new(seed), b"some bytes".to_vec());
            for _ in 0..2_000 {
                mutate(&mut bytes, b"others", &random);
                assert!(bytes.len() <= BYTES_MAX);
            }
            bytes
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
