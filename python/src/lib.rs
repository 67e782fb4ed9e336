//! Extension module of the Python package `llmzip`: what it needs of the library, and no more.
//!
//! Names, defaults and documentation are the package's (`python/llmzip`). Data comes as `bytes` and goes as
//! `bytes`; all work is done without the interpreter's lock.

mod error;
mod file;
mod fork;
mod models;
mod options;
mod raised;
mod reader;
mod writer;

use pyo3::prelude::*;

#[pymodule]
mod _llmzip {
    use super::*;
    use error::Raise;
    use file::PyFile;
    use llmzip::archive::{self, ChunkInfo};
    use llmzip::{Decoder, Encoder, Method, cli};
    use options::{CodingOptions, n_threads};
    use pyo3::types::PyBytes;
    use raised::Raised;
    use std::ffi::OsString;
    use std::io::{BufRead, Write};

    #[pymodule_export]
    use models::Model;
    #[pymodule_export]
    use models::Source;
    #[pymodule_export]
    use reader::Reader;
    #[pymodule_export]
    use writer::Writer;

    /// Plain bytes between two looks at the signals that came.
    const PIECE: usize = 1 << 16;

    /// Compresses `data` to an archive.
    #[pyfunction]
    fn compress<'py>(
        py: Python<'py>,
        data: &[u8],
        model: &Model,
        options: CodingOptions,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let raised = Raised::default();
        let (model, options) = options.resolve(py, model)?;
        let options = options.interrupt(raised.interrupt());
        let archive = py.detach(|| {
            let mut encoder = raised.raise(Encoder::new(Vec::new(), &model, &options))?;
            for piece in data.chunks(PIECE) {
                raised.raise(encoder.write_all(piece))?;
                Python::attach(|py| py.check_signals())?;
            }
            raised.raise(encoder.finish().map(|(archive, _)| archive))
        })?;
        Ok(PyBytes::new(py, &archive))
    }

    /// Decompresses all streams of `data`, by models of `source`.
    #[pyfunction]
    fn decompress<'py>(
        py: Python<'py>,
        data: &[u8],
        source: &Source,
        max_output: Option<u64>,
        threads: Option<i64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let options = archive::Options::default().threads(n_threads(threads)?);
        let raised = Raised::default();
        let options = options.max_output(max_output).interrupt(raised.interrupt());
        let plain = py.detach(|| {
            let mut decoder = Decoder::new(data, source, &options).raise()?;
            let mut plain = Vec::new();
            loop {
                let piece = raised.raise(decoder.fill_buf())?;
                let len = piece.len();
                if len == 0 {
                    return Ok::<_, PyErr>(plain);
                }
                plain.extend_from_slice(piece);
                decoder.consume(len);
                Python::attach(|py| py.check_signals())?;
            }
        })?;
        Ok(PyBytes::new(py, &plain))
    }

    /// Offset and length in the file, start and length in the content, and method.
    type Chunk = (u64, u64, u64, u64, &'static str);

    /// The chunks of an archive.
    #[pyfunction]
    fn chunks(py: Python<'_>, file: Py<PyAny>) -> PyResult<Vec<Chunk>> {
        let file = PyFile::seekable(py, file)?;
        let streams = py.detach(|| file.raise(archive::list(file.clone())))?;
        let mut plain_start = 0;
        let chunk = |chunk: &ChunkInfo| {
            let start = plain_start;
            plain_start += chunk.plain_len;
            (chunk.offset, chunk.archive_len, start, chunk.plain_len, method(chunk.coding.method))
        };
        Ok(streams.iter().flat_map(|stream| &stream.chunks).map(chunk).collect())
    }

    fn method(method: Method) -> &'static str {
        match method {
            Method::Stored => "stored",
            Method::Model => "model",
            Method::Mixed => "mixed",
            Method::Adaptive => "adaptive",
            Method::Learning => "learning",
            _ => "other",
        }
    }

    /// The BLAKE3 of `data`, in hexadecimal.
    #[pyfunction]
    fn blake3(py: Python<'_>, data: &[u8]) -> String {
        py.detach(|| ::blake3::hash(data).to_hex().to_string())
    }

    /// Runs the program on `arguments`, its name first, and returns its exit code.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        py.detach(|| {
            cli::look();
            let code = cli::main(arguments);
            let _ = std::io::stdout().flush();
            code
        })
    }

    /// Forgets what another thread may have held when this process was forked.
    #[pyfunction]
    fn after_fork_in_child() {
        models::after_fork_in_child();
    }
}
