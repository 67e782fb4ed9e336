//! Segments of a damaged archive: streams, chunks and the gaps between them.

use crate::archive::format::{Extent, Footer, LongHeader, ROOM_FOR_ONE, SingleHeader};
use crate::error::{Error, ErrorKind};
use std::iter::Peekable;
use std::ops::{Range, RangeInclusive};

/// One segment of an archive; segments fill it.
pub(super) enum Segment {
    Single(Box<SingleHeader>),
    Long(Box<LongStream>),
    /// Zero bytes up to the end.
    Padding,
    /// Between streams, before the first or after the last; the error of reading it.
    Junk(Error),
}

/// A stream in long form.
pub(super) struct LongStream {
    /// `None`: lost. Then the first piece is the gap that it was in.
    pub(super) header: Option<LongHeader>,
    /// Bytes that may be before its first chunk, a good header not counted, without there having been
    /// another stream, too.
    pub(super) room: RangeInclusive<u64>,
    /// Where its first chunk begins, or would.
    pub(super) first_chunk: u64,
    /// In the order of the file.
    pub(super) pieces: Vec<Fragment>,
    /// Where the index begins, and what it says.
    pub(super) index: Option<(u64, Vec<Extent>)>,
    pub(super) footer: Option<Footer>,
    /// Damage of the footer after an index.
    pub(super) footer_fault: Option<Error>,
    /// Whether what follows the index has another length than a footer: then it may have been more.
    pub(super) is_end_lost: bool,
}

/// A chunk, or a gap in which there may be any number of them: an empty one where a stream breaks off.
pub(super) struct Fragment {
    /// Bytes in the file.
    pub(super) archive: Range<u64>,
    /// Tag and lengths from its header; `None`: a gap.
    pub(super) extent: Option<Extent>,
    /// Of a block: where its plain bytes begin in the stream's content, as its header says.
    pub(super) start: Option<u64>,
    /// Its damage; always there for a gap.
    pub(super) error: Option<Error>,
}

impl Fragment {
    pub(super) fn gap(archive: Range<u64>, error: Error) -> Self {
        Self { archive, extent: None, start: None, error: Some(error) }
    }
}

impl LongStream {
    /// Damage of the header that costs nothing but what it is in.
    pub(super) fn header_fault(&self) -> Option<Error> {
        self.header.as_ref().and_then(LongHeader::padding_fault)
    }

    pub(super) fn new(header: LongHeader, first_chunk: u64) -> Self {
        Self { header: Some(header), ..Self::headless(0..=ROOM_FOR_ONE, first_chunk) }
    }

    /// One whose header is lost in the gap `lost`, as `error` says.
    pub(super) fn without_header(
        lost: Range<u64>,
        room: RangeInclusive<u64>,
        error: Error,
    ) -> Self {
        let mut stream = Self::headless(room, lost.end);
        stream.pieces.push(Fragment::gap(lost, error));
        stream
    }

    /// Bytes of a block, where its chunks are blocks: as the header says or, where that is lost, the last chunk.
    pub(super) fn block_len(&self) -> Option<u32> {
        match &self.header {
            Some(header) => header.setup.block_len,
            None => self.pieces.iter().rev().find_map(|piece| piece.extent)?.block_len(),
        }
    }

    fn headless(room: RangeInclusive<u64>, first_chunk: u64) -> Self {
        let (header, pieces, index, footer, footer_fault) = (None, Vec::new(), None, None, None);
        Self { header, room, first_chunk, pieces, index, footer, footer_fault, is_end_lost: false }
    }

    /// Takes blocks for lost that stand in the place of others: whose text would begin before that of the blocks in front ends. Of all
    /// ways to leave some out it is one that keeps the most.
    pub(super) fn lose_misplaced_blocks(&mut self) {
        let blocks: Vec<(usize, u64, Option<u64>)> = self
            .pieces
            .iter()
            .enumerate()
            .filter_map(|(i, piece)| {
                let (start, extent) = (piece.start?, piece.extent?);
                Some((i, start, start.checked_add(extent.plain_len.into())))
            })
            .collect();
        let mut kept = longest_chain(blocks.iter().map(|&(_, start, end)| (start, end)));
        for (number, &(i, start, _)) in blocks.iter().enumerate() {
            if kept.next_if_eq(&number).is_none() {
                let message =
                    format!("a block's text begins at {start}, as another's in its place");
                let error = Error::new(ErrorKind::Corrupt, message);
                self.pieces[i] = Fragment::gap(self.pieces[i].archive.clone(), error);
            }
        }
    }

    /// A last gap that ran over a good index is only as long as there is no index.
    pub(super) fn trim_trailing_gap(&mut self) {
        let Some((start, _)) = self.index else { return };
        if let Some(last) = self.pieces.last_mut()
            && last.archive.end > start
        {
            last.archive.end = start.max(last.archive.start);
        }
    }
}

/// Returns the longest sequence of `ranges` of which each begins where the one before ends, or later: their numbers, in order. One
/// without an end is in none.
///
/// By the least end of all sequences of each length so far (Fredman, "On computing the length of longest increasing
/// subsequences", 1975).
fn longest_chain(
    ranges: impl Iterator<Item = (u64, Option<u64>)>,
) -> Peekable<impl Iterator<Item = usize>> {
    let mut ends: Vec<(u64, usize)> = Vec::new(); // least end of a sequence of so many, and its last range
    let mut before = Vec::new();
    for (number, (start, end)) in ranges.enumerate() {
        let len = ends.partition_point(|&(end, _)| end <= start);
        before.push(len.checked_sub(1).map(|shorter| ends[shorter].1));
        let Some(end) = end else { continue };
        match ends.get_mut(len) {
            None => ends.push((end, number)),
            Some(least) if end < least.0 => *least = (end, number),
            Some(_) => (),
        }
    }
    let last = ends.last().map(|&(_, number)| number);
    let mut chain: Vec<usize> = std::iter::successors(last, |&number| before[number]).collect();
    chain.reverse();
    chain.into_iter().peekable()
}

#[cfg(test)]
mod tests {
    use super::longest_chain;

    fn chain(ranges: &[(u64, u64)]) -> Vec<usize> {
        let ranges = ranges.iter().map(|&(start, len)| (start, start.checked_add(len)));
        longest_chain(ranges).collect()
    }

    #[test]
    fn what_stands_in_another_place_is_left_out() {
        assert!(chain(&[]).is_empty());
        assert_eq!(chain(&[(0, 5), (5, 5), (12, 1)]), [0, 1, 2]);
        assert_eq!(chain(&[(0, 5), (20, 5), (10, 5), (15, 5), (5, 5), (25, 5)]), [0, 2, 3, 5]);
        assert_eq!(chain(&[(0, 5), (0, 5), (5, 5), (5, 5)]), [0, 2]);
        assert_eq!(chain(&[(u64::MAX, 5), (3, 4), (7, 1), (u64::MAX, 1)]), [1, 2]);
        assert_eq!(chain(&[(0, 5), (4, 5), (8, 5)]), [0, 2]);
    }
}
