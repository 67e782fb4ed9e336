//! The content of an archive in a Python file object: read forward, or from anywhere by the index.

use crate::error::Raise;
use crate::file::PyFile;
use crate::fork::Process;
use crate::models::Source;
use crate::options::n_threads;
use llmzip::archive::{self, ChunkInfo, Options, StreamInfo};
use llmzip::{Decoder, ErrorKind, ModelSource};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::{BufRead, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// An archive that is being read.
#[pyclass(frozen, module = "llmzip._llmzip")]
pub struct Reader {
    state: Mutex<State>,
    process: Process,
}

/// The place in the content, and what was decoded last.
///
/// 1. Whole chunks are decoded, and the last ones kept, so that small seeks cost nothing.
/// 2. Read from its beginning an archive is checked as a whole; after a seek only the chunks that are read are.
struct State {
    file: PyFile,
    seekable: bool,
    models: Arc<Source>,
    options: Options,
    /// The next byte to be read.
    position: u64,
    /// Plain bytes of the chunks decoded last, and where they begin.
    block: Vec<u8>,
    block_start: u64,
    /// Reads on from the end of the block it gave last, which is also given. The file stays where it left it.
    forward: Option<(Decoder<'static, PyFile>, u64)>,
    /// Streams, once they were needed.
    index: Option<Vec<StreamInfo>>,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(
        py: Python<'_>,
        file: Py<PyAny>,
        seekable: bool,
        source: &Source,
        threads: Option<i64>,
    ) -> PyResult<Self> {
        let file = if seekable { PyFile::seekable(py, file)? } else { PyFile::new(file) };
        let options = Options::default().threads(n_threads(threads)?).interrupt(file.interrupt());
        let state = State {
            file,
            seekable,
            models: Arc::new(source.clone()),
            options,
            position: 0,
            block: Vec::new(),
            block_start: 0,
            forward: None,
            index: None,
        };
        let mut state = state;
        py.detach(|| state.begin())?;
        Ok(Self { state: Mutex::new(state), process: Process::this() })
    }

    /// The next bytes, up to `n`; none at the end.
    fn read<'py>(&self, py: Python<'py>, n: usize) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, |state| state.read(n))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Moves to a place in the content.
    fn seek(&self, py: Python<'_>, position: u64) -> PyResult<()> {
        self.work(py, |state| {
            state.position = position;
            Ok(())
        })
    }

    /// The place in the content.
    fn tell(&self, py: Python<'_>) -> PyResult<u64> {
        self.work(py, |state| Ok(state.position))
    }

    /// The content's length, from the index.
    fn len(&self, py: Python<'_>) -> PyResult<u64> {
        self.work(py, |state| Ok(state.index()?.iter().map(StreamInfo::plain_len).sum()))
    }
}

impl Reader {
    /// Works without the interpreter's lock: its holder may wait for this one's.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State) -> PyResult<T> + Send,
    ) -> PyResult<T> {
        self.process.check()?;
        py.detach(|| work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl State {
    /// Reads forward from where the file is: where the archive begins.
    fn begin(&mut self) -> PyResult<()> {
        let models: Arc<dyn ModelSource> = self.models.clone();
        let decoder = Decoder::with_shared(self.file.clone(), models, &self.options).raise()?;
        self.forward = Some((decoder, 0));
        Ok(())
    }

    fn read(&mut self, n: usize) -> PyResult<Vec<u8>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        while self.rest().is_empty() {
            if !self.next_block()? {
                return Ok(Vec::new());
            }
        }
        let rest = self.rest();
        let bytes = rest[..rest.len().min(n)].to_vec();
        self.position += bytes.len() as u64;
        Ok(bytes)
    }

    /// The bytes of the block from the place on.
    fn rest(&self) -> &[u8] {
        let from = self.position.checked_sub(self.block_start);
        let from = from.and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.block.get(from..)).unwrap_or_default()
    }

    /// Decodes the block in which the place is; false where the content has ended.
    fn next_block(&mut self) -> PyResult<bool> {
        if self.position == 0 && self.forward.as_ref().is_none_or(|(_, at)| *at != 0) {
            self.file.raise(self.file.clone().seek(SeekFrom::Start(0)))?;
            self.begin()?;
        }
        match &mut self.forward {
            Some((decoder, at)) if *at == self.position => {
                let read = decoder.fill_buf().map(<[u8]>::to_vec);
                if self.seekable && read.as_ref().is_err_and(is_interrupted) {
                    self.forward = None; // what it read of the file is lost: on by the index
                    return self.file.raise(read.map(|_| false));
                }
                let block = self.file.raise(read)?;
                decoder.consume(block.len());
                self.block_start = *at;
                *at += block.len() as u64;
                self.block = block;
                Ok(!self.block.is_empty())
            }
            _ => self.block_by_index(),
        }
    }

    fn block_by_index(&mut self) -> PyResult<bool> {
        let position = self.position;
        let mut start = 0;
        let mut has_place = |chunk: &ChunkInfo| {
            let is_here = (start..start + chunk.plain_len).contains(&position);
            start += if is_here { 0 } else { chunk.plain_len };
            is_here
        };
        let find = |stream: &StreamInfo| stream.chunks.iter().position(&mut has_place);
        let mut numbers = self.index()?.iter().map(find).enumerate();
        let Some((stream, number)) = numbers.find_map(|(i, number)| Some((i, number?))) else {
            return Ok(false);
        };
        self.forward = None; // the file is moved from where that left it
        let (file, models, options) = (self.file.clone(), &*self.models, &self.options);
        let stream = &self.index.as_deref().unwrap_or_default()[stream];
        let read = archive::read_chunk(file, stream, number, models, options);
        self.block = self.file.raise(read)?;
        self.block_start = start;
        Ok(true)
    }

    /// The streams; leaves the file where it is.
    fn index(&mut self) -> PyResult<&[StreamInfo]> {
        if self.index.is_none() {
            let mut file = self.file.clone();
            let here = self.file.raise(file.stream_position())?;
            let streams = self.file.raise(archive::list(file.clone()));
            self.file.raise(file.seek(SeekFrom::Start(here)))?;
            self.index = Some(streams?);
        }
        Ok(self.index.as_deref().unwrap_or_default())
    }
}

/// Whether the work was ended by a signal, which says nothing of the archive.
fn is_interrupted(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<llmzip::Error>());
    inner.is_some_and(|error| error.kind() == ErrorKind::Interrupted)
}
