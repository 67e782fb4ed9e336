//! What a survey of a damaged archive finds: streams, chunks and the gaps between them.

use super::footer::Footer;
use super::header::LongHeader;
use super::index::Entry;
use super::single::SingleHeader;
use crate::error::Error;
use std::ops::Range;

/// One part of an archive; parts fill it.
pub(super) enum Found {
    Single(SingleHeader),
    Long(LongStream),
    /// Between streams, before the first or after the last; why it is none.
    Junk(Error),
}

/// A stream in long form.
pub(super) struct LongStream {
    /// `None`: lost.
    pub(super) header: Option<LongHeader>,
    /// Where its first chunk begins, or would.
    pub(super) first_chunk: u64,
    /// In the order of the file.
    pub(super) pieces: Vec<Piece>,
    /// Where the index begins, and what it says.
    pub(super) index: Option<(u64, Vec<Entry>)>,
    pub(super) footer: Option<Footer>,
    /// What is wrong with header, index or footer.
    pub(super) faults: Vec<Error>,
}

/// A chunk, or a gap in which there may be any number of them.
pub(super) struct Piece {
    /// Bytes in the file.
    pub(super) archive: Range<u64>,
    /// What its header says; `None`: a gap.
    pub(super) entry: Option<Entry>,
    /// What is wrong with it; always there for a gap.
    pub(super) error: Option<Error>,
}

impl LongStream {
    pub(super) fn new(header: Option<LongHeader>, first_chunk: u64) -> Self {
        let (pieces, faults) = (Vec::new(), Vec::new());
        Self { header, first_chunk, pieces, index: None, footer: None, faults }
    }

    /// A last gap that ran over a good index is only as long as there is no index.
    pub(super) fn forget_the_gap_of_the_index(&mut self) {
        let Some((start, _)) = self.index else { return };
        if let Some(last) = self.pieces.last_mut()
            && last.archive.end > start
        {
            last.archive.end = start.max(last.archive.start);
        }
    }
}
