//! The one error type of the library.
//!
//! [`ErrorKind`] is chosen by what the caller can do about it; the message says what was expected,
//! what was found and where.

use std::fmt;
use std::io;

/// Result of every fallible function of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of an error, by its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Reading or writing failed; the cause is an [`io::Error`].
    Io,
    /// The archive ends early: fetch the rest of it.
    Truncated,
    /// The archive is damaged: fetch it again, or recover its undamaged chunks.
    Corrupt,
    /// The input does not begin like an archive.
    NotAnArchive,
    /// Bytes that are not an archive follow a complete, verified archive.
    TrailingData,
    /// The archive needs a newer llmzip: upgrade.
    Unsupported,
    /// The model that the archive names is not on this machine: fetch it.
    ModelMissing,
    /// A model's files are damaged or of a kind that llmzip cannot run.
    InvalidModel,
    /// An argument is out of range: correct the call.
    InvalidArgument,
    /// The limit on the content's length would be exceeded: raise it.
    LimitExceeded,
    /// The limit on memory would be exceeded: raise it.
    MemoryExceeded,
    /// A GPU failed or cannot be used: run on the processor.
    Device,
    /// The caller asked that the work end ([`Interrupt`](crate::archive::Interrupt)).
    Interrupted,
}

/// An error: its kind, what was being done, and the operating system's error where there is one.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// A failed read or write while doing `what`.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self { kind: ErrorKind::Io, message: what.into(), source: Some(source) }
    }

    /// Kind, by remedy.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operating system's error, for [`ErrorKind::Io`].
    pub fn io_error(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }

    /// Whether the error says nothing of an archive's bytes: the device failed, or the caller ended the work.
    pub(crate) fn is_of_the_run(&self) -> bool {
        matches!(self.kind, ErrorKind::Device | ErrorKind::Interrupted)
    }

    /// The same error once more; of a system's error only its kind and text.
    pub(crate) fn duplicate(&self) -> Self {
        let same = |e: &io::Error| io::Error::new(e.kind(), e.to_string());
        let source = self.source.as_ref().map(same);
        Self { kind: self.kind, message: self.message.clone(), source }
    }

    /// The same error with `name` in its message in place of `other`.
    #[cfg(feature = "cli")]
    pub(crate) fn renamed(mut self, other: &str, name: &str) -> Self {
        self.message = self.message.replace(other, name);
        self
    }

    /// The same error with `place` (a chunk, a file) named before its message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<Error> for io::Error {
    /// An [`io::Error`] of the system's kind where there is one, that has the error inside.
    fn from(error: Error) -> Self {
        let kind = match (error.kind, &error.source) {
            (_, Some(source)) => source.kind(),
            (ErrorKind::Truncated, None) => io::ErrorKind::UnexpectedEof,
            (ErrorKind::InvalidArgument, None) => io::ErrorKind::InvalidInput,
            (ErrorKind::ModelMissing, None) => io::ErrorKind::NotFound,
            (ErrorKind::Unsupported, None) => io::ErrorKind::Unsupported,
            // Not the system's kind of that name: `write_all` and `read_to_end` would try again.
            (ErrorKind::Interrupted, None) => io::ErrorKind::Other,
            (ErrorKind::LimitExceeded | ErrorKind::MemoryExceeded | ErrorKind::Device, None) => {
                io::ErrorKind::Other
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref()?.source() // the message has the error itself
    }
}
