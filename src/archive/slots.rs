//! Which chunk is which in a damaged stream: by counting, or by its index.

use super::found::{LongStream, Piece};
use super::index::Entry;
use crate::error::{Error, ErrorKind};

/// A chunk's place in its stream. Where neither is damaged, slots are the chunks in order.
pub(super) struct Slot {
    /// Number of the chunk, where known.
    pub(super) chunk: Option<usize>,
    /// First plain byte in the stream, where known.
    pub(super) start: Option<u64>,
    /// Plain bytes; `None`: there may be any number of chunks.
    pub(super) plain_len: Option<u64>,
    /// Where its header is in the file, or why it is lost.
    pub(super) offset: Result<u64, Error>,
}

impl LongStream {
    /// All chunks that are there or missing, in order.
    pub(super) fn slots(&self) -> Vec<Slot> {
        match &self.index {
            Some((start, entries)) if !self.is_contiguous() => self.slots_by_index(*start, entries),
            _ => self.slots_by_counting(),
        }
    }

    /// Whether `slots` are in conflict with the index.
    pub(super) fn contradicts_index(&self) -> bool {
        let entries = self.pieces.iter().filter_map(|piece| piece.entry);
        let Some((_, expected)) = &self.index else { return false };
        self.is_contiguous() && !entries.eq(expected.iter().copied())
    }

    /// What makes the archive bad though all chunks may be there.
    pub(super) fn flaw(&self) -> Option<Error> {
        let corrupt = |message: String| Some(Error::new(ErrorKind::Corrupt, message));
        if let Some(gap) = self.pieces.iter().find(|piece| !piece.is_whole()) {
            return gap.error.as_ref().map(again);
        }
        if self.index.is_none() {
            return corrupt("there is no index".to_owned());
        }
        let most = self.header.as_ref()?.chunk_size;
        let lens = self.pieces.iter().filter_map(|piece| piece.entry).map(|entry| entry.plain_len);
        match lens.max().filter(|&len| len > most) {
            Some(len) => corrupt(format!("a chunk has {len} bytes, the chunk_size is {most}")),
            None => None,
        }
    }

    /// Whether each chunk follows the one before, the first the header.
    fn is_contiguous(&self) -> bool {
        self.header.is_some() && self.pieces.iter().all(Piece::is_whole)
    }

    fn slots_by_counting(&self) -> Vec<Slot> {
        // The next chunk's number and first byte, until there is a gap.
        let mut next = self.header.as_ref().map(|_| (0, 0));
        let mut slots = Vec::new();
        for piece in &self.pieces {
            let (chunk, start) = next.unzip();
            let plain_len = piece.entry.map(|entry| u64::from(entry.plain_len));
            slots.push(Slot { chunk, start, plain_len, offset: piece.offset() });
            let whole_len = plain_len.filter(|_| piece.is_whole());
            next = next.zip(whole_len).map(|((chunk, start), len)| (chunk + 1, start + len));
        }
        slots
    }

    /// A chunk is the one of an entry where it stands as far from the stream's beginning, or from the
    /// index, as the entries say, and its header says the same as the entry.
    fn slots_by_index(&self, index_start: u64, entries: &[Entry]) -> Vec<Slot> {
        let frames: u64 = entries.iter().map(|entry| u64::from(entry.frame_len)).sum();
        let (mut before, mut start) = (0, 0);
        let slot = |(chunk, entry): (usize, &Entry)| {
            let from_front = self.header.as_ref().map(|_| self.first_chunk + before);
            let from_back = index_start.checked_sub(frames - before);
            let found = [from_front, from_back].into_iter().flatten();
            let offset = found
                .filter_map(|offset| self.piece_at(offset))
                .find(|piece| piece.entry == Some(*entry))
                .map_or_else(|| Err(self.why_lost(from_front.or(from_back))), Piece::offset);
            let plain_len = u64::from(entry.plain_len);
            let slot =
                Slot { chunk: Some(chunk), start: Some(start), plain_len: Some(plain_len), offset };
            before += u64::from(entry.frame_len);
            start += plain_len;
            slot
        };
        entries.iter().enumerate().map(slot).collect()
    }

    /// The piece that begins at `offset`.
    fn piece_at(&self, offset: u64) -> Option<&Piece> {
        let at = self.pieces.binary_search_by_key(&offset, |piece| piece.archive.start).ok()?;
        self.pieces.get(at)
    }

    /// What is wrong where a chunk should be.
    fn why_lost(&self, offset: Option<u64>) -> Error {
        let error =
            offset.and_then(|at| self.piece_over(at)).and_then(|piece| piece.error.as_ref());
        error
            .map_or_else(|| Error::new(ErrorKind::Corrupt, "it is not where the index says"), again)
    }

    /// The piece that `offset` is in.
    fn piece_over(&self, offset: u64) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.archive.start <= offset);
        let piece = self.pieces.get(after.checked_sub(1)?)?;
        piece.archive.contains(&offset).then_some(piece)
    }
}

impl Piece {
    /// Whether the next chunk follows at once.
    fn is_whole(&self) -> bool {
        let len = self.archive.end - self.archive.start;
        self.entry.is_some_and(|entry| u64::from(entry.frame_len) == len)
    }

    fn offset(&self) -> Result<u64, Error> {
        self.error.as_ref().map_or(Ok(self.archive.start), |error| Err(again(error)))
    }
}

/// The same error once more. An [`std::io::Error`] never gets here.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}
