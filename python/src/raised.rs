//! Exceptions that end the library's work from outside of it.

use crate::error::Raise;
use llmzip::archive::Interrupt;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// The exception that ended a call of the library: one that a file object raised, or that of a signal, as Ctrl-C's
/// KeyboardInterrupt. Kept until it is raised again.
#[derive(Clone, Default)]
pub struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps `exception`.
    pub fn set(&self, exception: PyErr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(exception);
    }

    /// Has the library ask for the signals that came, and stop where a handler raised an exception. Python handles
    /// signals on its main thread alone: calls on others go on.
    pub fn interrupt(&self) -> Interrupt {
        let raised = self.clone();
        Interrupt::new(move || {
            Python::attach(|py| py.check_signals().map_err(|e| raised.set(e)).is_err())
        })
    }

    /// The result of a call; the exception that was kept in its place, also where the work was done before it could end: no Ctrl-C
    /// is lost.
    ///
    /// # Errors
    /// That, else the one that [`Raise`] gives.
    pub fn raise<T, E>(&self, result: Result<T, E>) -> PyResult<T>
    where
        Result<T, E>: Raise<T>,
    {
        let raised = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        raised.map_or_else(|| result.raise(), Err)
    }
}
