//! CRC-32C for frames and blocks, CRC-64/NVME for whole files. Both detect damage; neither resists intent.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C (Castagnoli, the iSCSI polynomial) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    low(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

/// CRC-64/NVME of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// A 32-bit checksum travels in the low half of the library's 64.
fn low(sum: u64) -> u32 {
    (sum & u64::from(u32::MAX)) as u32
}

/// CRC-32C of bytes that arrive in pieces.
///
/// A seed is simply the first piece: bytes sealed under one seed do not validate under another.
#[derive(Debug, Clone)]
pub struct Crc32c(Digest);

impl Crc32c {
    /// Over nothing yet.
    pub fn new() -> Self {
        Crc32c(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Over `bytes` too.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The checksum of all pieces so far.
    pub fn value(&self) -> u32 {
        low(self.0.finalize())
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Crc32c::new()
    }
}

/// CRC-64/NVME of bytes that arrive in pieces.
#[derive(Debug, Clone)]
pub struct Crc64(Digest);

impl Crc64 {
    /// Over nothing yet.
    pub fn new() -> Self {
        Crc64(Digest::new(CrcAlgorithm::Crc64Nvme))
    }

    /// Over `bytes` too.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all pieces so far.
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Crc64 {
    fn default() -> Self {
        Crc64::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of parametrised CRC algorithms: the sum of the text "123456789".
    #[test]
    fn catalogue_check_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc64(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn pieces_equal_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        for cut in [0, 1, 15, 16, 17, 500, 999, 1000] {
            let mut sum = Crc32c::new();
            sum.update(&bytes[..cut]).update(&bytes[cut..]);
            assert_eq!(sum.value(), crc32c(&bytes));
            let mut sum = Crc64::new();
            sum.update(&bytes[..cut]);
            sum.update(&bytes[cut..]);
            assert_eq!(sum.value(), crc64(&bytes));
        }
    }
}
