//! A Python file object as a reader, a writer and something to seek in.

use crate::error::Raise;
use crate::raised::Raised;
use llmzip::Error;
use llmzip::archive::Interrupt;
use pyo3::exceptions::{PyBlockingIOError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// A Python file object. Its exceptions come back as they were raised: see [`PyFile::raise`].
#[derive(Clone)]
pub struct PyFile {
    object: Arc<Py<PyAny>>,
    /// Where in it the archive begins.
    base: u64,
    /// The exception that ended the last call.
    raised: Raised,
}

impl PyFile {
    /// A file that is read or written from where it is, without seeking.
    pub fn new(object: Py<PyAny>) -> Self {
        Self { object: Arc::new(object), base: 0, raised: Raised::default() }
    }

    /// A file in which the archive begins where it is now.
    ///
    /// # Errors
    /// The exceptions of its `tell`.
    pub fn seekable(py: Python<'_>, object: Py<PyAny>) -> PyResult<Self> {
        let base = object.call_method0(py, "tell")?.extract(py)?;
        Ok(Self { base, ..Self::new(object) })
    }

    /// The result of work on this file, with the exception that the file itself or a signal raised where one did.
    ///
    /// # Errors
    /// That, else the one that [`Raise`] gives.
    pub fn raise<T, E>(&self, result: Result<T, E>) -> PyResult<T>
    where
        Result<T, E>: Raise<T>,
    {
        self.raised.raise(result)
    }

    /// Has work on this file end where a signal's handler raises an exception: see [`Raised::interrupt`].
    pub fn interrupt(&self) -> Interrupt {
        self.raised.interrupt()
    }

    /// Calls the object; keeps its exception.
    fn call<T>(
        &self,
        call: impl for<'py> FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
    ) -> io::Result<T> {
        Python::attach(|py| {
            let result = py.check_signals().and_then(|()| call(self.object.bind(py)));
            result.map_err(|exception| {
                let text = io::Error::other(exception.to_string());
                self.raised.set(exception);
                text
            })
        })
    }

    fn seek_from(&self, offset: i64, whence: u8) -> io::Result<u64> {
        let position: u64 = self.call(|file| {
            match file.call_method1("seek", (offset, whence))? {
                none if none.is_none() => file.call_method0("tell")?, // as some files have it
                position => position,
            }
            .extract()
        })?;
        let before =
            || Error::new(llmzip::ErrorKind::InvalidArgument, "a place before the archive");
        position.checked_sub(self.base).ok_or_else(|| before().into())
    }
}

impl Read for PyFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|file| {
            let read = file.call_method1("read", (buffer.len(),))?;
            if read.is_none() {
                return Err(PyBlockingIOError::new_err("the file has no bytes yet"));
            }
            let read = match read.cast_into::<PyBytes>() {
                Ok(read) => read,
                Err(other) => {
                    let other = other.into_inner();
                    other.py().get_type::<PyBytes>().call1((other,))?.cast_into()?
                }
            };
            let read = read.as_bytes();
            let Some(place) = buffer.get_mut(..read.len()) else {
                return Err(PyValueError::new_err("the file gave more than it was asked for"));
            };
            place.copy_from_slice(read);
            Ok(read.len())
        })
    }
}

impl Write for PyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|file| {
            let written = file.call_method1("write", (PyBytes::new(file.py(), bytes),))?;
            if !written.is_none() {
                return Ok(written.extract::<usize>()?.min(bytes.len()));
            }
            // Files that take all may say nothing; raw ones say so that they took none.
            match file.is_instance(&file.py().import("io")?.getattr("RawIOBase")?)? {
                true => Err(PyBlockingIOError::new_err("the file takes no bytes yet")),
                false => Ok(bytes.len()),
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(|file| match file.getattr_opt("flush")? {
            Some(flush) => flush.call0().map(drop),
            None => Ok(()),
        })
    }
}

impl Seek for PyFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
        match to {
            SeekFrom::Start(to) => {
                self.seek_from(i64::try_from(self.base.saturating_add(to)).map_err(too_far)?, 0)
            }
            SeekFrom::Current(by) => self.seek_from(by, 1),
            SeekFrom::End(by) => self.seek_from(by, 2),
        }
    }
}
