//! Shares of all points by a hash of their ids, the same for ever and everywhere.

use std::hash::Hasher;

use nearfield_types::PointId;
use siphasher::sip::SipHasher24;

/// Which of `total` slices holds the point: SipHash-2-4 with a zero key over the 8 little-endian bytes of a number, the 16 bytes of a UUID or the
/// bytes of a string id, modulo `total`. A public contract. Zero for a `total` of zero, which [`Filter::check`](super::Filter::check) refuses.
pub fn slice_of(id: &PointId, total: u32) -> u32 {
    let mut hasher = SipHasher24::new();
    match id {
        PointId::Number(number) => hasher.write(&number.to_le_bytes()),
        PointId::Uuid(uuid) => hasher.write(uuid.as_bytes()),
        PointId::String(text) => hasher.write(text.as_bytes()),
    }
    // A remainder is below `total`, so it fits.
    hasher.finish().checked_rem(u64::from(total)).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As another server divides the numbers 0 to 11.
    #[test]
    fn slices_are_a_contract() {
        let of = |total, index| {
            (0..12u64).filter(move |&n| slice_of(&n.into(), total) == index).collect::<Vec<_>>()
        };
        assert_eq!(of(2, 0), [1, 3, 4, 5, 7, 9, 10]);
        assert_eq!(of(3, 1), [3, 6, 7, 10]);
        assert_eq!(slice_of(&"x".into(), 1), 0);
        assert_eq!(slice_of(&7u64.into(), 0), 0);
    }
}
