//! Content of the steering extension (`docs/format.md`, section 4).

use super::checksum::Checksum;
use super::extension::bad_content;
use super::source::Source;
use super::{label, varint};
use crate::archive::SteeringName;
use crate::error::{Error, ErrorKind, Result};
use crate::models::Steering;

/// Kinds of steering vectors.
const RANDOM: u8 = 0;
const DIGEST: u8 = 1;
const CARRIED: u8 = 2;

/// Returns the content.
pub(super) fn to_bytes(name: &SteeringName) -> Vec<u8> {
    match name {
        SteeringName::Random { count, seed } => {
            let mut out = vec![RANDOM, *count];
            varint::put(&mut out, *seed);
            out
        }
        SteeringName::Digest { digest, label } => {
            let mut out = [&[DIGEST], &digest[..]].concat();
            varint::put(&mut out, label.len() as u64);
            [&out, label.as_bytes()].concat()
        }
        SteeringName::Carried { code } => {
            [&[CARRIED, Checksum::of(code).crc8()], &code[..]].concat()
        }
    }
}

/// Reads the content.
///
/// # Errors
/// Corrupt.
pub(super) fn parse(content: &[u8]) -> Result<SteeringName> {
    let mut source = Source::new(content);
    let bad = || bad_content("steering", content);
    let name = match source.byte("").map_err(|_| bad())? {
        RANDOM => {
            let count = source.byte("").map_err(|_| bad())?;
            let seed = source.varint("").map_err(|_| bad())?;
            let is_possible = (1..=Steering::MAX_VECTORS).contains(&count.into());
            is_possible.then_some(SteeringName::Random { count, seed })
        }
        DIGEST => {
            let digest = source.bytes("").map_err(|_| bad())?;
            let label = label::read(&mut source).map_err(|_| bad())?;
            Some(SteeringName::Digest { digest, label })
        }
        CARRIED => {
            let got = source.byte("").map_err(|_| bad())?;
            return carried(&content[2..], got);
        }
        _ => None,
    };
    name.filter(|_| source.offset() == content.len() as u64).ok_or_else(bad)
}

/// Checks the code of carried vectors.
fn carried(code: &[u8], got: u8) -> Result<SteeringName> {
    let expected = Checksum::of(code).crc8();
    if got == expected {
        return Ok(SteeringName::Carried { code: code.to_vec() });
    }
    let message = format!(
        "the carried steering vectors are damaged: their CRC-8 is {got:#04x}, expected {expected:#04x}"
    );
    Err(Error::new(ErrorKind::Corrupt, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_nothing_else_is_read() {
        let names = [
            SteeringName::Random { count: 1, seed: 0 },
            SteeringName::Random { count: 64, seed: u64::MAX },
            SteeringName::Digest { digest: [7; 32], label: "logs.steer".into() },
        ];
        let carried = SteeringName::Carried { code: vec![1, 2, 3] };
        assert_eq!(parse(&to_bytes(&carried)).unwrap(), carried);
        for name in names {
            let bytes = to_bytes(&name);
            assert_eq!(parse(&bytes).unwrap(), name);
            for len in 0..bytes.len() {
                assert!(parse(&bytes[..len]).is_err(), "{name} cut to {len} bytes");
            }
            assert!(parse(&[&bytes[..], &[0]].concat()).is_err());
        }
        for bad in [&[3][..], &[RANDOM, 0, 1], &[RANDOM, 65, 1], &[CARRIED]] {
            assert!(parse(bad).unwrap_err().to_string().contains("steering extension"));
        }
    }
}
