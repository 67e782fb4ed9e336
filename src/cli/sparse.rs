//! Holes in place of blocks of zeros.

use super::standard::Stream;
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

/// Bytes of zeros, aligned, that a hole is left for: the block of most file systems.
const BLOCK: usize = 1 << 12;

/// Writes some of `bytes` at `position`, where `out` stands, or leaves a hole in place of whole blocks of zeros. Returns
/// how many bytes that were.
///
/// # Errors
/// I/O errors.
pub fn write_or_skip(
    out: &mut (impl Write + Seek),
    position: u64,
    bytes: &[u8],
) -> io::Result<usize> {
    let to_block = BLOCK - (position % BLOCK as u64) as usize;
    let is_hole = |block: &[u8]| block.len() == BLOCK && block == [0; BLOCK];
    let first = &bytes[..to_block.min(bytes.len())];
    let rest = bytes[first.len()..].chunks(BLOCK);
    let alike = rest.take_while(|block| is_hole(block) == is_hole(first));
    let n = first.len() + alike.map(<[u8]>::len).sum::<usize>();
    if !is_hole(first) {
        return out.write(&bytes[..n]);
    }
    out.seek(SeekFrom::Current(n as i64))?;
    Ok(n)
}

/// Copies `from` to the empty file `to`, with holes for its zeros. Returns how many bytes that were.
///
/// # Errors
/// I/O errors.
pub fn copy_with_holes(mut from: impl Read, to: &File) -> io::Result<u64> {
    let holes = Holes { file: to, position: 0 };
    let mut out = BufWriter::with_capacity(16 * BLOCK, holes);
    let n = io::copy(&mut from, &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    to.set_len(n)?; // it may end in a hole
    Ok(n)
}

/// A file that begins at its first byte.
struct Holes<'a> {
    file: &'a File,
    position: u64,
}

impl Write for Holes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = write_or_skip(&mut self.file, self.position, bytes)?;
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream in which holes are left where it is a file that ends where it stands: elsewhere there may be other bytes.
pub struct SparseStream<'a> {
    stream: &'a Stream,
    /// Where the next byte goes; `None` where no holes are left.
    position: Option<u64>,
}

impl<'a> SparseStream<'a> {
    /// Leaves holes in `stream` if `sparse`, and where they can be.
    pub fn new(stream: &'a Stream, sparse: bool) -> Self {
        let end = || {
            let file = stream.file();
            let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && sparse)?;
            let appends = fcntl_getfl(file).ok()?.contains(OFlags::APPEND);
            let position = { file }.stream_position().ok()?;
            (position == metadata.len() && !appends).then_some(position)
        };
        Self { stream, position: end() }
    }

    /// Gives the file its length, which may end in a hole.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(self) -> io::Result<()> {
        let file = self.stream.file();
        match self.position {
            Some(end) if file.metadata()?.len() < end => file.set_len(end),
            _ => Ok(()),
        }
    }
}

impl Write for SparseStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(position) = &mut self.position else { return self.stream.write(bytes) };
        let n = write_or_skip(&mut self.stream.file(), *position, bytes)?;
        *position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
