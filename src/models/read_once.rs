//! Files that are read once, from their beginning to their end, and hashed on the way: what is
//! parsed is what the digest is of, whoever writes to them meanwhile.
//!
//! Networks ask for tensors in another order than that of the files. What was read and not asked
//! for yet is held in blocks, each of which goes as soon as no tensor that is still to come needs
//! it.

use super::invalid;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a block.
const BLOCK_LEN: usize = 1 << 18;

/// Files that are hashed one after the other, each as its length (64 bits, little-endian) and its
/// bytes.
pub struct ReadOnce {
    files: Vec<Blocks>,
    hasher: blake3::Hasher,
}

/// One file, as far as it is read.
struct Blocks {
    path: PathBuf,
    file: File,
    len: u64,
    /// All of [`BLOCK_LEN`] but the last; empty once released.
    blocks: Vec<Vec<u8>>,
    /// Whether its length is hashed.
    is_begun: bool,
    /// Blocks that are hashed.
    n_hashed: usize,
}

impl ReadOnce {
    /// Opens files that are hashed by `hasher`, after what it has hashed already; reads nothing.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(paths: &[impl AsRef<Path>], hasher: blake3::Hasher) -> Result<Self> {
        let files = paths.iter().map(|path| Blocks::open(path.as_ref()));
        Ok(Self { files: files.collect::<Result<_>>()?, hasher })
    }

    /// The path of file `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].path
    }

    /// The length of file `index`.
    pub fn len(&self, index: usize) -> u64 {
        self.files[index].len
    }

    /// Copies `len` bytes of file `index` without taking them: of headers and directories, before
    /// any tensor is taken.
    ///
    /// # Errors
    /// I/O errors; `InvalidModel` where they go past the end.
    pub fn peek(&mut self, index: usize, start: u64, len: u64) -> Result<Vec<u8>> {
        let file = &mut self.files[index];
        let end = start.checked_add(len).filter(|&end| end <= file.len);
        let end = end.ok_or_else(|| invalid(format!("it ends before byte {start} + {len}")))?;
        while file.n_read() < end {
            file.read_block()?;
        }
        let range = start..end;
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        pieces(&range).for_each(|(block, piece)| bytes.extend(&file.blocks[block][piece]));
        Ok(bytes)
    }

    /// Takes the bytes of a tensor in file `index`. `is_needed` tells whether any tensor of the
    /// file that is still to come has bytes in a range; blocks without any are released.
    ///
    /// # Errors
    /// I/O errors.
    pub fn take(
        &mut self,
        index: usize,
        range: Range<u64>,
        is_needed: impl Fn(usize, Range<u64>) -> bool,
    ) -> Result<Vec<u8>> {
        for earlier in 0..index {
            self.advance(earlier, u64::MAX, &is_needed)?;
        }
        // A block of its own bytes is held until it is copied.
        let overlaps = |at: &Range<u64>| at.start < range.end && range.start < at.end;
        let is_wanted = |of, at: Range<u64>| (of == index && overlaps(&at)) || is_needed(of, at);
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        for (block, piece) in pieces(&range) {
            self.advance(index, ((block + 1) * BLOCK_LEN) as u64, is_wanted)?;
            let file = &mut self.files[index];
            bytes.extend(&file.blocks[block][piece]);
            file.release(block, |at| is_needed(index, at));
        }
        Ok(bytes)
    }

    /// Reads what no tensor needed; returns the hasher, which has all files.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<blake3::Hasher> {
        for index in 0..self.files.len() {
            self.advance(index, u64::MAX, |_, _| false)?;
        }
        Ok(self.hasher)
    }

    /// Reads file `index` up to `end`, hashes what was read and releases what nobody needs. All
    /// files before it are hashed.
    fn advance(
        &mut self,
        index: usize,
        end: u64,
        is_needed: impl Fn(usize, Range<u64>) -> bool,
    ) -> Result<()> {
        let file = &mut self.files[index];
        let end = end.min(file.len);
        if !std::mem::replace(&mut file.is_begun, true) {
            self.hasher.update(&file.len.to_le_bytes());
        }
        loop {
            while let Some(block) = file.blocks.get(file.n_hashed) {
                self.hasher.update(block);
                file.release(file.n_hashed, |at| is_needed(index, at));
                file.n_hashed += 1;
            }
            if file.n_read() >= end {
                return Ok(());
            }
            file.read_block()?;
        }
    }
}

impl Blocks {
    fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            io::Result::Ok((file, len))
        };
        let (file, len) = open().map_err(|e| reading(path, e))?;
        let path = path.to_owned();
        Ok(Self { path, file, len, blocks: Vec::new(), is_begun: false, n_hashed: 0 })
    }

    /// Bytes that are read.
    fn n_read(&self) -> u64 {
        self.len.min((self.blocks.len() * BLOCK_LEN) as u64)
    }

    fn read_block(&mut self) -> Result<()> {
        let mut block = vec![0; (self.len - self.n_read()).min(BLOCK_LEN as u64) as usize];
        self.file.read_exact(&mut block).map_err(|e| reading(&self.path, e))?;
        self.blocks.push(block);
        Ok(())
    }

    /// Frees a block, unless it is needed.
    fn release(&mut self, block: usize, is_needed: impl Fn(Range<u64>) -> bool) {
        let start = (block * BLOCK_LEN) as u64;
        if !is_needed(start..start + BLOCK_LEN as u64) {
            self.blocks[block] = Vec::new();
        }
    }
}

/// The blocks that `range` is in, and where in each.
fn pieces(range: &Range<u64>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let (mut at, end) = (range.start as usize, range.end as usize);
    std::iter::from_fn(move || {
        let (block, from) = (at / BLOCK_LEN, at % BLOCK_LEN);
        let to = BLOCK_LEN.min(end - block * BLOCK_LEN);
        (at < end).then(|| {
            at = block * BLOCK_LEN + to;
            (block, from..to)
        })
    })
}

fn reading(path: &Path, error: io::Error) -> Error {
    Error::io(format!("reading {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `len` bytes, and what it holds.
    fn file(folder: &Path, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 7 % 251) as u8).collect();
        std::fs::write(folder.join(name), &bytes).unwrap();
        (folder.join(name), bytes)
    }

    #[test]
    fn any_order_of_tensors_gives_their_bytes_and_one_hash() {
        let folder = tempfile::tempdir().unwrap();
        let lens = [3_100_005, 0, 8 * BLOCK_LEN];
        let files: Vec<_> =
            lens.iter().map(|&len| file(folder.path(), &len.to_string(), len)).collect();
        let mut expected = blake3::Hasher::new();
        for (_, bytes) in &files {
            expected.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
        let tensors = [(0, 100..1000), (0, 1000..2_500_000), (2, 8..9), (2, 9..2_000_000)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
            let mut source = ReadOnce::open(&paths, blake3::Hasher::new()).unwrap();
            assert_eq!(source.peek(0, 3_000_000, 10).unwrap(), files[0].1[3_000_000..][..10]);
            assert!(source.peek(1, 0, 1).is_err());
            for (done, number) in order.iter().enumerate() {
                let (index, range) = tensors[*number].clone();
                let is_needed = |of: usize, at: Range<u64>| {
                    order[done + 1..].iter().map(|&number| &tensors[number]).any(
                        |(other, range)| {
                            *other == of && range.start < at.end && at.start < range.end
                        },
                    )
                };
                let bytes = source.take(index, range.clone(), is_needed).unwrap();
                assert!(bytes == files[index].1[range.start as usize..range.end as usize]);
            }
            let held: usize = source.files.iter().flat_map(|file| &file.blocks).map(Vec::len).sum();
            assert_eq!(held, 0, "all were taken");
            assert_eq!(source.finish().unwrap().finalize(), expected.finalize());
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = file(folder.path(), "a", 2 * BLOCK_LEN);
        let source = ReadOnce::open(&[&path], blake3::Hasher::new()).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(BLOCK_LEN as u64).unwrap();
        assert_eq!(source.finish().unwrap_err().kind(), crate::ErrorKind::Io);
    }
}
