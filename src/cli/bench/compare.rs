//! Comparison of decoded output with the original file.

use crate::{Error, ErrorKind};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

/// Bytes compared per call.
const STEP: usize = 1 << 16;

/// A writer that compares everything with the content of a file.
pub struct Expect {
    original: BufReader<File>,
    offset: u64,
    /// Offset of the first differing byte.
    pub differs_at: Option<u64>,
}

impl Expect {
    pub fn new(original: File) -> Self {
        Self { original: BufReader::new(original), offset: 0, differs_at: None }
    }

    /// Checks that the whole content was written.
    ///
    /// # Errors
    /// I/O errors; Corrupt where anything else was written.
    pub fn finish(mut self) -> crate::Result<()> {
        let mut rest = [0];
        let rest =
            self.original.read(&mut rest).map_err(|e| Error::io("cannot read the input", e))?;
        match self.differs_at.or((rest > 0).then_some(self.offset)) {
            None => Ok(()),
            Some(at) => {
                let message =
                    format!("decoded output differs from the input: differs at byte {at}");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
        }
    }
}

impl Write for Expect {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(STEP)];
        let mut original = Vec::with_capacity(bytes.len());
        (&mut self.original).take(bytes.len() as u64).read_to_end(&mut original)?;
        if self.differs_at.is_none() && original != bytes {
            let same = original.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            self.differs_at = Some(self.offset + same as u64);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks that `restored` has the content of `original`.
///
/// # Errors
/// I/O errors; Corrupt where they differ.
pub fn expect_same(original: File, mut restored: File) -> crate::Result<()> {
    let mut expect = Expect::new(original);
    io::copy(&mut restored, &mut expect).map_err(|e| Error::io("cannot compare", e))?;
    expect.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn any_difference_is_found() {
        let long: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let mut flipped = long.clone();
        flipped[150_000] ^= 1;
        for (original, restored, place) in [
            (&b""[..], &b""[..], None),
            (&b"abc"[..], &b"abc"[..], None),
            (b"abc", b"ab", Some("byte 2")),
            (b"abc", b"abcd", Some("byte 3")),
            (b"abc", b"xbc", Some("byte 0")),
            (b"", b"x", Some("byte 0")),
            (&long, &long, None),
            (&long, &flipped, Some("byte 150000")),
        ] {
            match (expect_same(file(original), file(restored)), place) {
                (Ok(()), None) => (),
                (Err(e), Some(place)) => assert!(e.to_string().ends_with(place), "{e}"),
                (got, _) => panic!("{got:?}, expected {place:?}"),
            }
        }
    }
}
