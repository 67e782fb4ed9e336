//! LEB128 numbers (`docs/format.md`, section 1).

use crate::error::Result;

/// Seven bits a byte: ten bytes hold 64 bits.
const MAX_LEN: u32 = 10;

/// Bytes that `value` takes.
pub(super) fn len(value: u64) -> u32 {
    (value.max(1).ilog2() + 7) / 7
}

/// Appends `value` in canonical form.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number from `next`; `None` where it is not canonical or does not fit in 64 bits.
///
/// # Errors
/// Those of `next`.
pub(super) fn read(mut next: impl FnMut() -> Result<u8>) -> Result<Option<u64>> {
    let mut value = 0u64;
    for group in 0..MAX_LEN {
        let byte = next()?;
        let bits = u64::from(byte & 0x7F);
        let overflows = group == MAX_LEN - 1 && byte > 1;
        let superfluous = group > 0 && byte == 0;
        if overflows || superfluous {
            return Ok(None);
        }
        value |= bits << (7 * group);
        if byte < 0x80 {
            return Ok(Some(value));
        }
    }
    unreachable!("the tenth byte is either above 1 or the last")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn parse(bytes: &[u8]) -> Result<Option<u64>> {
        let mut rest = bytes.iter();
        read(|| rest.next().copied().ok_or_else(|| Error::new(ErrorKind::Truncated, "end")))
    }

    #[test]
    fn every_length_comes_back() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert_eq!(len(value), bytes.len() as u32);
                assert_eq!(parse(&bytes).unwrap(), Some(value));
                assert!(parse(&bytes[..bytes.len() - 1]).is_err());
            }
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let too_large = [&[0xFF; 9][..], &[0x02]].concat();
        for bytes in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x80; 10], &too_large] {
            assert_eq!(parse(bytes).unwrap(), None, "{bytes:02x?}");
        }
    }
}
