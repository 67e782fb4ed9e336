//! CRC-8 and CRC-32 over the fields of a header as they pass.

use crate::profile::{Part, enter};

/// CRC-8 with polynomial 0x07, one entry for each byte.
const CRC8: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x80 != 0 { 0x07 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Both checksums of the bytes seen so far.
#[derive(Clone, Default)]
pub(in crate::archive) struct Checksum {
    crc8: u8,
    crc32: crc32fast::Hasher,
}

impl Checksum {
    /// The checksums of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut checksum = Self::default();
        checksum.update(bytes);
        checksum
    }

    /// Takes `bytes` in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc8 = bytes.iter().fold(self.crc8, |crc, byte| CRC8[usize::from(crc ^ byte)]);
        self.crc32.update(bytes);
    }

    /// CRC-8 so far.
    pub(super) fn crc8(&self) -> u8 {
        self.crc8
    }

    /// CRC-32 so far.
    pub(super) fn crc32(&self) -> u32 {
        self.crc32.clone().finalize()
    }
}

/// CRC-32 of `bytes`.
pub(in crate::archive) fn crc32(bytes: &[u8]) -> u32 {
    let _io = enter(Part::Io);
    crc32fast::hash(bytes)
}

/// Appends the CRC-32 of all of `out` to it.
pub(super) fn seal(out: &mut Vec<u8>) {
    let crc = crc32(out);
    out.extend(crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogue() {
        let checksum = Checksum::of(b"123456789");
        assert_eq!(checksum.crc8(), 0xF4);
        assert_eq!(checksum.crc32(), 0xCBF4_3926);
    }
}
