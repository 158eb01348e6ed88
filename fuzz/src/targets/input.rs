//! Taking numbers and pieces from the front of an input.

use crate::checksums::MEND;

/// What is left of an input. Beyond the end there are zeros and empty pieces, so every input is a valid one.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn u32(&mut self) -> u32 {
        let mut raw = [0; 4];
        let taken = self.take(4);
        raw[..taken.len()].copy_from_slice(taken);
        u32::from_le_bytes(raw)
    }

    /// Up to `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A length of two bytes, and that many bytes.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        let len = self.take(2).iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte));
        self.take(len)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// The file of an input that is a control byte and a file: mended by `mend` if the control byte says so.
pub(super) fn file(bytes: &[u8], mend: impl FnOnce(&mut [u8])) -> (u8, Vec<u8>) {
    let mut input = Input::new(bytes);
    let control = input.byte();
    let mut file = input.rest().to_vec();
    if control & MEND != 0 {
        mend(&mut file);
    }
    (control, file)
}
