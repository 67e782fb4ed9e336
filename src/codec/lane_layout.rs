//! Where the lanes of a chunk begin.

use std::ops::Range;

/// `len` bytes (or other things) cut into `n` slices of equal length, give or take one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLayout {
    len: usize,
    n: usize,
}

impl LaneLayout {
    /// The layout of a chunk of `len` bytes in `n` lanes (not 0).
    pub fn new(len: usize, n: usize) -> Self {
        Self { len, n }
    }

    /// The number of lanes.
    pub fn lanes(self) -> usize {
        self.n
    }

    /// The slice that is lane `lane`.
    pub fn range(self, lane: usize) -> Range<usize> {
        let at = |lane: usize| (self.len as u64 * lane as u64 / self.n as u64) as usize;
        at(lane)..at(lane + 1)
    }

    /// The slices in order.
    pub fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.n).map(move |lane| self.range(lane))
    }

    /// Length of the longest slice.
    pub fn longest(self) -> usize {
        self.len.div_ceil(self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::LaneLayout;

    #[test]
    fn lanes_cover_a_chunk_in_order() {
        for len in [0, 1, 5, 64, 1000, 1001, 1 << 20] {
            for n in [1, 2, 7, 64] {
                let layout = LaneLayout::new(len, n);
                let ranges: Vec<_> = layout.ranges().collect();
                assert_eq!((ranges[0].start, ranges[n - 1].end), (0, len));
                assert!(ranges.windows(2).all(|w| w[0].end == w[1].start));
                assert!(ranges.iter().all(|r| (len / n..=layout.longest()).contains(&r.len())));
            }
        }
    }
}
