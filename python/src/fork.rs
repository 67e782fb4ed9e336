//! The process that an open file belongs to.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The process in which an object was made, whose threads a forked child does not have.
pub struct Process(u32);

impl Process {
    /// This process.
    pub fn this() -> Self {
        Self(std::process::id())
    }

    /// Refuses work in a child of that process.
    ///
    /// # Errors
    /// RuntimeError.
    pub fn check(&self) -> PyResult<()> {
        if self.0 == std::process::id() {
            return Ok(());
        }
        let message = "the archive was opened before this process was forked: open it again here";
        Err(PyRuntimeError::new_err(message))
    }
}
