//! The file of codes, and scores by them.

use nearfield_ann::Scorer;
use nearfield_codec::{Container, Region};
use nearfield_quant::{Codes, Precision, SealedCodes, format};
use nearfield_types::{Score, Slot};

use super::input;
use crate::checksums;

/// Values of a query that is made, at most.
const DIM_MAX: u32 = 1 << 12;

/// Input: control byte, codes file.
///
/// What must hold: codes that are accepted give scores that are numbers, whatever planes and factors say; a slot beyond the end has none.
pub fn codes(bytes: &[u8]) {
    let (_, file) = input::file(bytes, checksums::container);
    let Ok(container) = Container::open(Region::from(file), format::TAG) else { return };
    let Ok(codes) = SealedCodes::open(&container) else { return };
    let dim = codes.codec().dim();
    if dim > DIM_MAX {
        return;
    }
    let query = codes.query(&vec![0.5; dim as usize]).expect("a query of ones half");
    let slots: Vec<Slot> = (0..codes.len().min(40)).chain([codes.len(), u32::MAX]).map(Slot).collect();
    let mut scores = vec![0.0; slots.len()];
    for precision in [Precision::Coarse, Precision::Fine] {
        codes.scorer(&query, precision).score(&slots, &mut scores).expect("codes in memory can be read");
        assert!(scores.iter().all(|score| !score.is_nan()), "{scores:?}");
        assert_eq!(scores[slots.len() - 2..], [Score::INFINITY; 2]);
        for &slot in &slots {
            assert!(!codes.error_bound(&query, slot, precision).is_nan());
        }
    }
}
