//! Damage report: the parts of an archive that could not be recovered.

use crate::archive::place::place;
use crate::error::Error;
use std::fmt;

/// One damaged place.
#[derive(Debug)]
#[non_exhaustive]
pub struct Damage {
    /// Number of the stream, from 0, among those found; `None` where there is only one. What is between
    /// two has that of the second.
    pub stream: Option<usize>,
    /// Number of the chunk in its stream, from 0; `None` where it is not one chunk, or unknown
    /// which.
    pub chunk: Option<usize>,
    /// Missing bytes of the content.
    pub missing: Missing,
    /// Why.
    pub error: Error,
}

/// Bytes of the content; `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The first of them, counted in the whole content of the archive; where `len` is unknown, it may be
    /// any after this one, too.
    pub start: Option<u64>,
    /// How many; 0 where all content is there.
    pub len: Option<u64>,
}

impl Missing {
    /// All content is there.
    pub const NOTHING: Self = Self { start: None, len: Some(0) };
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.start, self.len) {
            (_, Some(0)) => f.write_str("no content is missing"),
            (Some(start), Some(1)) => write!(f, "byte {start} of the content is missing"),
            (Some(start), Some(len)) => {
                write!(f, "bytes {start} to {} of the content are missing", start + len - 1)
            }
            (None, Some(1)) => f.write_str("1 byte of the content is missing"),
            (None, Some(len)) => write!(f, "{len} bytes of the content are missing"),
            (Some(start), None) => {
                write!(f, "content may be missing from byte {start} on")
            }
            (None, None) => f.write_str("content may be missing"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = place(self.stream, self.chunk) {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.missing, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::Missing;

    #[test]
    fn one_missing_byte_is_singular() {
        let said = |start, len| Missing { start, len }.to_string();
        assert_eq!(said(Some(5), Some(1)), "byte 5 of the content is missing");
        assert_eq!(said(Some(5), Some(2)), "bytes 5 to 6 of the content are missing");
        assert_eq!(said(None, Some(1)), "1 byte of the content is missing");
    }
}
