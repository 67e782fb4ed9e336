//! Errors of the library as exceptions of the package.

use llmzip::{Error, ErrorKind};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::io;

/// Results whose error becomes an exception.
pub trait Raise<T> {
    /// The same with the exception that the package has for the error. Called with or without the interpreter's
    /// lock.
    fn raise(self) -> PyResult<T>;
}

impl<T> Raise<T> for Result<T, Error> {
    fn raise(self) -> PyResult<T> {
        self.map_err(|error| exception(&error))
    }
}

impl<T> Raise<T> for io::Result<T> {
    /// # Errors
    /// The exception for the [`Error`] inside, as readers and writers have it.
    fn raise(self) -> PyResult<T> {
        self.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(inner) => exception(inner),
            None => error.into(),
        })
    }
}

/// The exception for `error`: an `OSError` where the system failed, else one of `llmzip`.
fn exception(error: &Error) -> PyErr {
    if let Some(code) = error.io_error().and_then(io::Error::raw_os_error) {
        return PyOSError::new_err((code, error.to_string()));
    }
    let name = match error.kind() {
        ErrorKind::Io => return PyOSError::new_err(error.to_string()),
        ErrorKind::Truncated => "TruncatedError",
        ErrorKind::Corrupt => "CorruptError",
        ErrorKind::NotAnArchive => "NotAnArchiveError",
        ErrorKind::TrailingData => "TrailingDataError",
        ErrorKind::Unsupported => "UnsupportedError",
        ErrorKind::ModelMissing => "ModelMissingError",
        ErrorKind::InvalidModel => "InvalidModelError",
        ErrorKind::InvalidArgument => "InvalidArgumentError",
        ErrorKind::LimitExceeded => "LimitExceededError",
        ErrorKind::MemoryExceeded => "MemoryExceededError",
        _ => "LlmzipError",
    };
    Python::attach(|py| {
        let class = py.import("llmzip._errors").and_then(|errors| errors.getattr(name));
        let raised = class.and_then(|class| class.call1((error.to_string(),)));
        raised.map_or_else(|error| error, PyErr::from_value)
    })
}
