//! How the language model learns, as an extension has it (`docs/format.md`, section 4).

use super::extension::bad_content;
use super::source::Source;
use super::varint;
use crate::error::Result;
use crate::models::{Learning, LearningKind};

/// Kinds by number.
const KINDS: [LearningKind; 3] = [LearningKind::Head, LearningKind::All, LearningKind::Adapter];

/// Returns the content.
pub(super) fn to_bytes(learning: &Learning) -> Vec<u8> {
    let kind = KINDS.iter().position(|&kind| kind == learning.kind).expect("all are numbered");
    let mut out = vec![kind as u8, learning.tokens_log2];
    varint::put(&mut out, learning.rate.into());
    out
}

/// Reads the content.
///
/// # Errors
/// Corrupt.
pub(super) fn parse(content: &[u8]) -> Result<Learning> {
    let mut source = Source::new(content);
    let mut read = || {
        let kind = *KINDS.get(usize::from(source.byte("").ok()?))?;
        let tokens_log2 = source.byte("").ok()?;
        let rate = source.varint_in("", Learning::RATE).ok()?;
        let learning = Learning { kind, tokens_log2, rate };
        let is_all = source.offset() == content.len() as u64;
        Some(learning).filter(|learning| is_all && learning.is_possible())
    };
    read().ok_or_else(|| bad_content("learning", content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_back_and_nothing_else_is_read() {
        for (kind, rate) in KINDS.into_iter().zip([1, 1_000_000, 1000]) {
            for tokens_log2 in Learning::TOKENS_LOG2 {
                let learning = Learning { kind, tokens_log2, rate };
                let bytes = to_bytes(&learning);
                assert_eq!(parse(&bytes).unwrap(), learning);
                for len in 0..bytes.len() {
                    assert!(parse(&bytes[..len]).is_err(), "{learning:?} cut to {len} bytes");
                }
                assert!(parse(&[&bytes[..], &[0]].concat()).is_err());
            }
        }
        for bad in [[3, 9, 1], [0, 3, 1], [0, 13, 1], [0, 9, 0]] {
            assert!(parse(&bad).unwrap_err().to_string().contains("learning extension"));
        }
    }
}
