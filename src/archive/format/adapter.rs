//! Content of the adapter extension (`docs/format.md`, section 4).

use super::extension::bad_content;
use super::source::Source;
use super::{label, varint};
use crate::archive::AdapterName;
use crate::error::Result;

/// Returns the content.
pub(super) fn to_bytes(name: &AdapterName) -> Vec<u8> {
    let mut out = name.digest.to_vec();
    varint::put(&mut out, name.label.len() as u64);
    [&out, name.label.as_bytes()].concat()
}

/// Reads the content.
///
/// # Errors
/// Corrupt.
pub(super) fn parse(content: &[u8]) -> Result<AdapterName> {
    let mut source = Source::new(content);
    let mut read = || {
        let name =
            AdapterName { digest: source.bytes("").ok()?, label: label::read(&mut source).ok()? };
        Some(name).filter(|_| source.offset() == content.len() as u64)
    };
    read().ok_or_else(|| bad_content("adapter", content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_nothing_else_is_read() {
        for label in ["", "logs ü"] {
            let name = AdapterName { digest: [7; 32], label: label.into() };
            let bytes = to_bytes(&name);
            assert_eq!(parse(&bytes).unwrap(), name);
            for len in 0..bytes.len() {
                let error = parse(&bytes[..len]).unwrap_err().to_string();
                assert!(error.contains("adapter extension"), "{error}");
            }
            assert!(parse(&[&bytes[..], &[0]].concat()).is_err());
        }
    }
}
