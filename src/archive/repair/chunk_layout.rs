//! Chunk layout of a damaged stream: which chunk is which, by counting or by its index.

use super::segments::{Fragment, LongStream};
use crate::archive::format::Extent;
use crate::error::{Error, ErrorKind};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

/// A chunk's place in its stream. Where neither is damaged, slots are the chunks in order.
pub(super) struct Slot {
    /// Number of the chunk, where it is one and known which.
    pub(super) chunk: Option<usize>,
    /// First plain byte in the stream, where known.
    pub(super) start: Option<u64>,
    /// Plain bytes; `None`: there may be any number of chunks.
    pub(super) plain_len: Option<u64>,
    /// Where its header is in the file, or why it is lost.
    pub(super) offset: Result<u64, Error>,
}

/// Reconstructed chunk layout of one stream.
pub(super) struct Layout {
    /// All chunks that are there or missing, in order, and the gaps between.
    pub(super) slots: Vec<Slot>,
    /// Whether the index says so: else it is lost, or disagrees.
    pub(super) is_indexed: bool,
    /// Whether there was room for another stream before its first chunk, though all of its own are
    /// there.
    pub(super) may_precede_stream: bool,
}

impl LongStream {
    /// All that is known of its chunks.
    pub(super) fn layout(&self) -> Layout {
        let by_counting = |next| {
            let may_precede_stream =
                self.may_precede_stream(self.chunks_end(), self.found_len(), self.pieces.first());
            Layout { slots: self.slots_by_counting(next), is_indexed: false, may_precede_stream }
        };
        let Some((start, chunks)) = &self.index else { return by_counting(Some((0, 0))) };
        let found = self.pieces.iter().map(|piece| piece.extent);
        if self.is_contiguous() && found.eq(chunks.iter().copied().map(Some)) {
            return Layout { is_indexed: true, ..by_counting(Some((0, 0))) };
        }
        self.by_index(*start, chunks).unwrap_or_else(|| by_counting(None))
    }

    /// Damage that makes the archive bad though all chunks may be there.
    pub(super) fn flaw(&self) -> Option<Error> {
        if let Some(gap) = self.pieces.iter().find(|piece| !piece.is_whole()) {
            return gap.error.as_ref().map(Error::duplicate);
        }
        let header = self.header.as_ref()?;
        let extents = self.pieces.iter().filter_map(|piece| piece.extent);
        let of_another = |extent: Extent| extent.check_block(header.setup.block_len).err();
        if let Some(error) = extents.into_iter().find_map(of_another) {
            return Some(error);
        }
        let mut end = 0;
        for piece in &self.pieces {
            if let Some(start) = piece.start.filter(|&start| start != end) {
                let message = format!("a block's text begins at {start}, expected {end}");
                return Some(Error::new(ErrorKind::Corrupt, message));
            }
            end += piece.extent.map_or(0, |extent| u64::from(extent.plain_len));
        }
        let most = header.chunk_size;
        let lens =
            self.pieces.iter().filter_map(|piece| piece.extent).map(|extent| extent.plain_len);
        let len = lens.max().filter(|&len| len > most)?;
        let message = format!("a chunk has {len} bytes, the chunk_size is {most}");
        Some(Error::new(ErrorKind::Corrupt, message))
    }

    /// Whether each chunk follows the one before, the first the header.
    fn is_contiguous(&self) -> bool {
        self.header.is_some() && self.pieces.iter().all(Fragment::is_whole)
    }

    /// The pieces in order. `next` is the first chunk's number and first byte; unknown after a gap.
    fn slots_by_counting(&self, mut next: Option<(usize, u64)>) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::new();
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            let Some(extent) = piece.extent else {
                let gap = Slot::gap(next.take(), piece.offset());
                slots.push(Slot { chunk: self.only_block_in(piece), ..gap });
                continue;
            };
            if let Some((number, start)) = self.number_of_block(piece).zip(piece.start) {
                // All between it and the last one is what is missing.
                if let Some(gap) = slots.last_mut().filter(|slot| slot.plain_len.is_none()) {
                    gap.plain_len = gap.start.and_then(|gap| start.checked_sub(gap));
                }
                next = Some((number, start));
            }
            let plain_len = u64::from(extent.plain_len);
            let (chunk, start) = next.unzip();
            slots.push(Slot { chunk, start, plain_len: Some(plain_len), offset: piece.offset() });
            next = next.map(|(chunk, start)| (chunk + 1, start + plain_len));
            if !piece.is_whole() && pieces.peek().is_none_or(|after| after.extent.is_some()) {
                let offset = piece.archive.start + u64::from(extent.frame_len());
                let error = lost(format!("nothing known follows at offset {offset}"));
                slots.push(Slot::gap(next.take(), Err(error)));
            }
        }
        let is_open = self.pieces.last().is_none_or(Fragment::is_whole);
        if self.index.is_none() && is_open {
            slots.push(Slot::gap(next, Err(lost("there is no index"))));
        }
        slots
    }

    /// Number of the block at whose place `piece` begins.
    fn number_of_block(&self, piece: &Fragment) -> Option<usize> {
        let block_len = u64::from(self.header.as_ref()?.setup.block_len?);
        let before = piece.archive.start.checked_sub(self.first_chunk)?;
        let number = before.is_multiple_of(block_len).then_some(before / block_len)?;
        usize::try_from(number).ok()
    }

    /// Number of the block that `gap` is the place of.
    fn only_block_in(&self, gap: &Fragment) -> Option<usize> {
        let block_len = u64::from(self.block_len()?);
        self.number_of_block(gap).filter(|_| gap.archive.end - gap.archive.start == block_len)
    }

    /// The chunks of `chunks`, and before them the header where it is lost. A chunk is the one of an
    /// extent where it stands as far from the stream's beginning, or from the index, as the chunks
    /// say, and its header says the same as the extent. `None` where a chunk is of no extent or of
    /// several: bytes were lost or added so that it is unknown which, or the index is another stream's.
    fn by_index(&self, index_start: u64, chunks: &[Extent]) -> Option<Layout> {
        let front = self.header.as_ref().map(|_| self.first_chunk);
        let places = Places::new(front, index_start, chunks);
        let found: Vec<Option<usize>> = chunks
            .iter()
            .enumerate()
            .map(|(chunk, extent)| self.find(*extent, places.of(chunk)))
            .collect::<Option<_>>()?;
        if !found.iter().flatten().is_sorted_by(|a, b| a < b)
            || !self.covers_all_pieces(&found, chunks, &places)
        {
            return None;
        }
        let first = found.first().copied().flatten().map(|piece| &self.after_header()[piece]);
        let may_precede_stream = self.may_precede_stream(index_start, places.len(), first);
        let mut slots = Vec::new();
        if self.header.is_none() || may_precede_stream {
            slots.extend(self.slot_before_chunks(may_precede_stream));
        }
        let mut start = (!may_precede_stream).then_some(0);
        for (chunk, (extent, piece)) in chunks.iter().zip(found).enumerate() {
            let offset = match piece {
                Some(piece) => self.after_header()[piece].offset_of(start),
                None => Err(self.why_lost(places.of(chunk).into_iter().flatten().next())),
            };
            let plain_len = u64::from(extent.plain_len);
            slots.push(Slot { chunk: Some(chunk), start, plain_len: Some(plain_len), offset });
            start = start.map(|start| start + plain_len);
        }
        Some(Layout { slots, is_indexed: true, may_precede_stream })
    }

    /// The loss before the chunks of an index: the header alone, or another stream, too.
    fn slot_before_chunks(&self, may_precede_stream: bool) -> Option<Slot> {
        let lost = self.pieces.iter().find(|piece| !piece.is_whole())?;
        let slot = Slot::gap(Some((0, 0)), lost.offset());
        match may_precede_stream {
            true => Some(slot),
            false => Some(Slot { start: None, plain_len: Some(0), ..slot }),
        }
    }

    /// Whether another stream may have been before the first chunk, where `chunks_len` bytes up to
    /// `chunks_end` are the stream's chunks and `first` is the first, if it is found.
    fn may_precede_stream(
        &self,
        chunks_end: u64,
        chunks_len: u64,
        first: Option<&Fragment>,
    ) -> bool {
        let first = first.filter(|first| first.extent.is_some());
        let start = match (&self.header, self.pieces.first()) {
            (None, Some(lost)) => lost.archive.start,
            _ if first.is_some_and(|first| first.archive.start == self.first_chunk) => {
                return false;
            }
            _ => self.first_chunk,
        };
        match (chunks_end.checked_sub(start + chunks_len), &self.header, first) {
            (Some(len_before), Some(_), None) => len_before != 0,
            (Some(len_before), ..) => !self.room().contains(&len_before),
            (None, ..) => true,
        }
    }

    /// Bytes that may be before its first chunk; a header before blocks fills whole ones.
    fn room(&self) -> RangeInclusive<u64> {
        let (least, most) = (*self.room.start(), *self.room.end());
        let block_len = self.block_len().unwrap_or(1);
        least..=most.next_multiple_of(block_len.into())
    }

    /// Where the index begins or, where it is lost, would before the footer.
    fn chunks_end(&self) -> u64 {
        match (&self.index, &self.footer, self.pieces.last()) {
            (Some((start, _)), ..) => *start,
            (_, Some(footer), Some(last)) => {
                last.archive.end.saturating_sub(footer.index_len.into())
            }
            (_, _, last) => last.map_or(self.first_chunk, |last| last.archive.end),
        }
    }

    /// Bytes of the chunks that were found.
    fn found_len(&self) -> u64 {
        self.pieces
            .iter()
            .filter_map(|piece| piece.extent)
            .map(|extent| u64::from(extent.frame_len()))
            .sum()
    }

    /// The pieces but the gap of a lost header.
    fn after_header(&self) -> &[Fragment] {
        &self.pieces[usize::from(self.header.is_none()).min(self.pieces.len())..]
    }

    /// The number of the piece that is the chunk of `extent`, which begins at one of `places`, if it is
    /// there; `None` where two can be.
    fn find(&self, extent: Extent, places: [Option<u64>; 2]) -> Option<Option<usize>> {
        let pieces = self.after_header();
        let find = |place| {
            let at = pieces.binary_search_by_key(&place, |piece| piece.archive.start).ok()?;
            (pieces[at].extent == Some(extent)).then_some(at)
        };
        match places.map(|place| place.and_then(find)) {
            [Some(front), Some(back)] if front != back => None,
            [front, back] => Some(front.or(back)),
        }
    }

    /// Whether all chunks in the file are `found`. One inside a chunk that is lost was in its payload, and
    /// is none of the stream's, unless it follows the header without a gap or a lost extent tells of it.
    fn covers_all_pieces(
        &self,
        found: &[Option<usize>],
        chunks: &[Extent],
        places: &Places,
    ) -> bool {
        let lost = chunks.iter().zip(found).filter(|(_, found)| found.is_none());
        let lost: BTreeSet<_> =
            lost.map(|(extent, _)| (extent.frame_len(), extent.plain_len)).collect();
        let leading = self.pieces.iter().take_while(|piece| piece.is_whole()).count();
        let is_sure = |number| self.header.is_some() && number <= leading;
        let mut numbers = found.iter().flatten().peekable();
        self.after_header().iter().enumerate().all(|(number, piece)| {
            let is_found = numbers.next_if_eq(&&number).is_some();
            let is_lost = |chunk: usize| found[chunk].is_none();
            let Some(extent) = piece.extent.filter(|_| !is_found) else { return true };
            !is_sure(number)
                && !lost.contains(&(extent.frame_len(), extent.plain_len))
                && places.around(&piece.archive).any(is_lost)
        })
    }

    /// The damage where a chunk should be.
    fn why_lost(&self, offset: Option<u64>) -> Error {
        let piece = offset.and_then(|at| self.piece_over(at));
        let error = piece.and_then(|piece| piece.error.as_ref());
        error.map_or_else(|| lost("it is not where the index says"), Error::duplicate)
    }

    /// The piece that `offset` is in.
    fn piece_over(&self, offset: u64) -> Option<&Fragment> {
        let pieces = self.after_header();
        let after = pieces.partition_point(|piece| piece.archive.start <= offset);
        let piece = pieces.get(after.checked_sub(1)?)?;
        piece.archive.contains(&offset).then_some(piece)
    }
}

impl Slot {
    /// Any number of chunks from `next` on.
    fn gap(next: Option<(usize, u64)>, offset: Result<u64, Error>) -> Self {
        Self { chunk: None, start: next.map(|(_, start)| start), plain_len: None, offset }
    }
}

/// Where the chunks of an index would be in the file.
struct Places {
    /// Where the first begins, counted from the stream's beginning, if that is known.
    front: Option<u64>,
    /// Where the last ends: at the index.
    back: u64,
    /// Bytes before each chunk, and before the index.
    before: Vec<u64>,
}

impl Places {
    fn new(front: Option<u64>, back: u64, chunks: &[Extent]) -> Self {
        let ends = chunks.iter().scan(0, |end, extent| {
            *end += u64::from(extent.frame_len());
            Some(*end)
        });
        Self { front, back, before: std::iter::once(0).chain(ends).collect() }
    }

    /// Bytes of all chunks.
    fn len(&self) -> u64 {
        self.before.last().copied().unwrap_or(0)
    }

    /// Where `chunk` begins, counted from the front and from the back.
    fn of(&self, chunk: usize) -> [Option<u64>; 2] {
        let before = self.before[chunk];
        [self.front.map(|front| front + before), self.back.checked_sub(self.len() - before)]
    }

    /// The chunks in whose payload all of `piece` is, counted from the front and from the back.
    fn around(&self, piece: &Range<u64>) -> impl Iterator<Item = usize> {
        let len = piece.end - piece.start;
        let from_front = self.front.and_then(|front| piece.start.checked_sub(front));
        let from_back = (piece.start + self.len()).checked_sub(self.back);
        [from_front, from_back].into_iter().flatten().filter_map(move |at| {
            let chunk = self.before.partition_point(|&before| before <= at) - 1;
            let end = self.before.get(chunk + 1)?;
            (self.before[chunk] < at && at + len <= *end).then_some(chunk)
        })
    }
}

impl Fragment {
    /// Whether the next chunk follows at once.
    fn is_whole(&self) -> bool {
        let len = self.archive.end - self.archive.start;
        self.extent.is_some_and(|extent| u64::from(extent.frame_len()) == len)
    }

    /// Where its header is, if it is the chunk whose plain bytes begin at `start`, where that is known.
    fn offset_of(&self, start: Option<u64>) -> Result<u64, Error> {
        match self.start.zip(start) {
            Some((got, expected)) if got != expected => {
                let message = format!("a block's text begins at {got}, expected {expected}");
                Err(Error::new(ErrorKind::Corrupt, message))
            }
            _ => self.offset(),
        }
    }

    fn offset(&self) -> Result<u64, Error> {
        self.error.as_ref().map_or(Ok(self.archive.start), |error| Err(error.duplicate()))
    }
}

fn lost(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
