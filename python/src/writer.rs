//! An encoder that writes to a Python file object.

use crate::file::PyFile;
use crate::fork::Process;
use crate::models::Model;
use crate::options::CodingOptions;
use llmzip::Encoder;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// An archive that is being written.
#[pyclass(frozen, module = "llmzip._llmzip")]
pub struct Writer {
    file: PyFile,
    /// `None` once it is finished, or has failed.
    encoder: Mutex<Option<Encoder<'static, PyFile>>>,
    process: Process,
}

#[pymethods]
impl Writer {
    #[new]
    fn new(
        py: Python<'_>,
        file: Py<PyAny>,
        model: &Model,
        options: CodingOptions,
    ) -> PyResult<Self> {
        let file = PyFile::new(file);
        let (model, options) = options.resolve(py, model)?;
        let options = options.interrupt(file.interrupt());
        let encoder =
            py.detach(|| file.raise(Encoder::with_shared(file.clone(), model, &options)))?;
        Ok(Self { file, encoder: Mutex::new(Some(encoder)), process: Process::this() })
    }

    /// Takes in `data`.
    fn write(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.process.check()?;
        py.detach(|| {
            let mut held = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
            let encoder = held.as_mut().ok_or_else(failed)?;
            let result = encoder.write_all(data);
            if result.is_err() {
                *held = None;
            }
            self.file.raise(result)
        })
    }

    /// Writes all that is left.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.process.check()?;
        py.detach(|| {
            let held = self.encoder.lock().unwrap_or_else(PoisonError::into_inner).take();
            let encoder = held.ok_or_else(failed)?;
            self.file.raise(encoder.finish().map(drop))
        })
    }
}

/// The exception of an archive that cannot be completed any more.
fn failed() -> PyErr {
    PyValueError::new_err("the archive is finished, or failed before")
}
