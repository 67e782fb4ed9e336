//! Reads an archive's fields one by one, and knows at which offset it stands.

use super::checksum::Checksum;
use super::varint;
use crate::error::{Error, ErrorKind, Result};
use std::io::{BufReader, ErrorKind as IoErrorKind, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;

/// Bytes that are read at a time where a length is not to be trusted.
const PIECE: usize = 1 << 12;

/// An input with its offset and the checksum of the fields read since [`Source::begin_check`].
pub(in crate::archive) struct Source<R> {
    inner: R,
    offset: u64,
    n_read: u64,
    checksum: Checksum,
}

impl<R: Read> Source<R> {
    /// Starts at offset 0.
    pub(in crate::archive) fn new(inner: R) -> Self {
        Self { inner, offset: 0, n_read: 0, checksum: Checksum::default() }
    }

    /// Bytes read or skipped so far.
    pub(in crate::archive) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read so far, those read again too: a measure of the work done.
    pub(in crate::archive) fn n_read(&self) -> u64 {
        self.n_read
    }

    /// Forgets the fields read so far.
    pub(in crate::archive) fn begin_check(&mut self) {
        self.checksum = Checksum::default();
    }

    /// The checksum of the fields since [`Source::begin_check`].
    pub(in crate::archive) fn checksum(&self) -> &Checksum {
        &self.checksum
    }

    /// Fills `buffer` as far as the input goes; returns how far.
    ///
    /// # Errors
    /// Io.
    pub(in crate::archive) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut n_filled = 0;
        while n_filled < buffer.len() {
            match self.inner.read(&mut buffer[n_filled..]) {
                Ok(0) => break,
                Ok(n) => n_filled += n,
                Err(e) if e.kind() == IoErrorKind::Interrupted => (),
                Err(e) => return Err(Error::io("cannot read the archive", e)),
            }
        }
        self.checksum.update(&buffer[..n_filled]);
        self.offset += n_filled as u64;
        self.n_read += n_filled as u64;
        Ok(n_filled)
    }

    /// A field of `N` bytes. `what` names it in messages.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(in crate::archive) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut buffer = [0; N];
        if self.fill(&mut buffer)? < N {
            return Err(self.truncated(what));
        }
        Ok(buffer)
    }

    /// A field of one byte.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(in crate::archive) fn byte(&mut self, what: &str) -> Result<u8> {
        self.bytes::<1>(what).map(|[byte]| byte)
    }

    /// A field of `len` bytes. Memory grows as they arrive.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(in crate::archive) fn field(&mut self, len: u32, what: &str) -> Result<Vec<u8>> {
        let mut field = Vec::new();
        while field.len() < len as usize {
            let start = field.len();
            field.resize((len as usize).min(start + PIECE), 0);
            if self.fill(&mut field[start..])? < field.len() - start {
                return Err(self.truncated(what));
            }
        }
        Ok(field)
    }

    /// Whether the input has nothing but zero bytes from here on.
    ///
    /// # Errors
    /// Io.
    pub(in crate::archive) fn rest_is_padding(&mut self) -> Result<bool> {
        let mut block = [0; PIECE];
        loop {
            match self.fill(&mut block)? {
                0 => return Ok(true),
                n if block[..n].iter().any(|&byte| byte != 0) => return Ok(false),
                _ => (),
            }
        }
    }

    /// A four-byte number.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(in crate::archive) fn u32(&mut self, what: &str) -> Result<u32> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    /// A varint.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where it is not canonical.
    pub(in crate::archive) fn varint(&mut self, what: &str) -> Result<u64> {
        let value = varint::read(|| self.byte(what))?;
        value.ok_or_else(|| self.corrupt(format!("{what} is not a canonical number")))
    }

    /// A varint in `range`.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where it is not canonical or out of range.
    pub(in crate::archive) fn varint_in(
        &mut self,
        what: &str,
        range: RangeInclusive<u32>,
    ) -> Result<u32> {
        let value = self.varint(what)?;
        match u32::try_from(value) {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => Err(self.corrupt(format!(
                "{what} is {value}, expected {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    /// `len` bytes that no running checksum covers. Memory grows as they arrive.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(in crate::archive) fn payload(&mut self, len: u32) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        let read = (&mut self.inner).take(len.into()).read_to_end(&mut payload);
        read.map_err(|e| Error::io("cannot read the archive", e))?;
        self.offset += payload.len() as u64;
        self.n_read += payload.len() as u64;
        if payload.len() < len as usize {
            return Err(self.truncated("a chunk's payload"));
        }
        Ok(payload)
    }

    /// Reads a CRC-32 and compares it with that of the fields before.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where they differ.
    pub(in crate::archive) fn expect_crc32(&mut self, what: &str) -> Result<()> {
        let expected = self.checksum.crc32();
        let got = self.u32(what)?;
        self.expect(what, got, expected)
    }

    /// Compares a checksum `got` from the file with the one `expected` by its fields.
    ///
    /// # Errors
    /// Corrupt where they differ.
    pub(in crate::archive) fn expect(&self, what: &str, got: u32, expected: u32) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        Err(self.corrupt(format!("{what} is {got:#010x}, expected {expected:#010x}")))
    }

    /// Damage in the field that ends here.
    pub(in crate::archive) fn corrupt(&self, message: impl std::fmt::Display) -> Error {
        let message = format!("damaged before offset {}: {message}", self.offset);
        Error::new(ErrorKind::Corrupt, message)
    }

    /// The input ended inside `what`.
    fn truncated(&self, what: &str) -> Error {
        let message = format!("truncated at offset {}, inside {what}", self.offset);
        Error::new(ErrorKind::Truncated, message)
    }
}

impl<R: Read + Seek> Source<BufReader<R>> {
    /// Passes over `len` bytes of a payload in an input of `end` bytes.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(in crate::archive) fn skip(&mut self, len: u32, end: u64) -> Result<()> {
        if u64::from(len) > end.saturating_sub(self.offset) {
            self.offset = end;
            return Err(self.truncated("a chunk's payload"));
        }
        let seek = self.inner.seek_relative(len.into());
        seek.map_err(|e| Error::io("cannot seek in the archive", e))?;
        self.offset += u64::from(len);
        Ok(())
    }

    /// Goes to the end, and says where that is.
    ///
    /// # Errors
    /// Io.
    pub(in crate::archive) fn seek_to_end(&mut self) -> Result<u64> {
        let seek = self.inner.seek(SeekFrom::End(0));
        self.offset = seek.map_err(|e| Error::io("cannot seek in the archive", e))?;
        Ok(self.offset)
    }

    /// Goes to `offset`.
    ///
    /// # Errors
    /// Io.
    pub(in crate::archive) fn seek_to(&mut self, offset: u64) -> Result<()> {
        let seek = self.inner.seek(SeekFrom::Start(offset));
        seek.map_err(|e| Error::io("cannot seek in the archive", e))?;
        self.offset = offset;
        Ok(())
    }
}
