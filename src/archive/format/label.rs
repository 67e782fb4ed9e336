//! Labels: names for people, which decide nothing.

use super::source::Source;
use crate::error::{Error, ErrorKind, Result};
use std::io::Read;

/// Longest label, in bytes.
pub(super) const MAX_LEN: usize = 255;

/// Reads a label.
///
/// # Errors
/// Io, Truncated, Corrupt.
pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<String> {
    let len = source.varint_in("the label's length", 0..=MAX_LEN as u32)?;
    let label = source.field(len, "the label")?;
    let label = String::from_utf8(label).map_err(|_| source.corrupt("the label is not UTF-8"))?;
    match fault(&label) {
        Some(fault) => Err(source.corrupt(fault)),
        None => Ok(label),
    }
}

/// Refuses a label that cannot be written.
///
/// # Errors
/// InvalidArgument.
pub(super) fn check(label: &str) -> Result<()> {
    fault(label).map_or(Ok(()), |fault| Err(Error::new(ErrorKind::InvalidArgument, fault)))
}

fn fault(label: &str) -> Option<&'static str> {
    if label.len() > MAX_LEN {
        return Some("the label is longer than 255 bytes");
    }
    label.contains(char::is_control).then_some("the label has control characters")
}
