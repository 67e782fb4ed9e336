//! Exit codes, and the advice that goes with an error.

use crate::ErrorKind;
use crate::archive::Damage;
use anyhow::Error;
use std::fmt;
use std::io;

/// Exit code of a broken pipe: 128 + SIGPIPE.
pub const BROKEN_PIPE: u8 = 141;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const MODEL_MISSING: u8 = 3;
const DAMAGED: u8 = 4;
const LIMIT_EXCEEDED: u8 = 5;
const UNSUPPORTED: u8 = 6;

/// Usage error that the argument parser does not detect.
#[derive(Debug)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Damage of an archive whose intact content was recovered.
#[derive(Debug)]
pub struct DamageError {
    pub kind: ErrorKind,
    pub message: String,
    pub damage: Vec<Damage>,
}

impl fmt::Display for DamageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DamageError {}

/// Context of an error after which the output was kept.
#[derive(Debug)]
pub struct Kept(pub String);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(f, "everything before the trailing data is in {name}")
    }
}

/// Returns the exit code for `error`.
pub fn code_of(error: &Error) -> u8 {
    if io_error(error).is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return BROKEN_PIPE;
    }
    if error.downcast_ref::<UsageError>().is_some() {
        return USAGE;
    }
    let recovered = error.downcast_ref().map(|damage: &DamageError| damage.kind);
    match recovered.or_else(|| error.downcast_ref().map(crate::Error::kind)) {
        Some(ErrorKind::ModelMissing) => MODEL_MISSING,
        Some(ErrorKind::Truncated | ErrorKind::Corrupt | ErrorKind::NotAnArchive) => DAMAGED,
        Some(ErrorKind::LimitExceeded | ErrorKind::MemoryExceeded) => LIMIT_EXCEEDED,
        Some(ErrorKind::Unsupported) => UNSUPPORTED,
        Some(ErrorKind::InvalidArgument) => USAGE,
        _ => FAILED,
    }
}

/// Returns advice for the user on `error`.
pub fn advice_for(error: &Error) -> Option<&'static str> {
    match error.downcast_ref().map(crate::Error::kind)? {
        ErrorKind::Truncated => Some("something of it is missing: make, download or copy it again"),
        ErrorKind::Unsupported => Some("a newer version of llmzip can read it"),
        ErrorKind::LimitExceeded => Some("--max-output allows more content"),
        ErrorKind::MemoryExceeded => Some("--memlimit allows more memory"),
        ErrorKind::Device => Some("--device cpu needs no GPU, and gives the same bytes"),
        ErrorKind::TrailingData if error.downcast_ref::<Kept>().is_none() => {
            Some("everything before the trailing data was verified; -df writes it to a file")
        }
        _ => None,
    }
}

/// Returns the I/O error behind `error`.
fn io_error(error: &Error) -> Option<&io::Error> {
    let ours = error.downcast_ref().and_then(crate::Error::io_error);
    ours.or_else(|| error.downcast_ref())
}
