//! Adaptive probability maps, or secondary symbol estimation: a prediction corrected by the bits
//! seen under it.
//!
//! For each value of a context the map holds the probability actually seen at 25 points along the
//! log-odds of the prediction, and interpolates between the two nearest; the nearer one learns
//! (Mahoney's paq6 and later, after Shkarin's SSE).

use super::counters::Counter;
use super::logistic::{NAT, STRETCH_MAX, squash};
use crate::ops::arch::{prefer_large_pages, prefetch};

/// Number of points from -12 to 12 nats, one a nat: beyond `±STRETCH_MAX`.
const POINTS: usize = 25;
const OFFSET: i32 = NAT * (POINTS as i32 / 2);

/// Initial count of a point, in bits, so that the first bits do not move it far.
const FIRST_COUNT: u32 = 4;
const LIMIT: u32 = 255;

/// Correction of predictions under a context; see the module.
pub struct Apm {
    /// A row per context.
    rows: Vec<[Counter; POINTS]>,
    mask: u32,
    /// The row last used, and the nearer of its points.
    at: (usize, usize),
}

impl Apm {
    /// Creates a map that at first changes nothing, for contexts below `n_contexts` (a power of
    /// two): higher bits are dropped.
    pub fn new(n_contexts: usize) -> Self {
        debug_assert!(n_contexts.is_power_of_two());
        let row = std::array::from_fn(|i| {
            Counter::with_count(squash(i as i32 * NAT - OFFSET), FIRST_COUNT)
        });
        let mut rows = Vec::with_capacity(n_contexts);
        prefer_large_pages(rows.spare_capacity_mut());
        rows.resize(n_contexts, row);
        Apm { rows, mask: n_contexts as u32 - 1, at: (0, 0) }
    }

    /// Prefetches `context` and the one after it: one of them will soon be needed.
    #[inline(always)]
    pub fn prefetch(&self, context: u32) {
        let first = (context & self.mask) as usize;
        let rows = &self.rows[first..(first + 2).min(self.rows.len())];
        let points = rows.as_flattened();
        points.iter().step_by(16).for_each(prefetch);
        prefetch(&points[points.len() - 1]);
    }

    /// Returns P(1) of 65536, of a prediction with log-odds `x` under `context`; at least 1.
    #[inline(always)]
    pub fn refine(&mut self, x: i32, context: u32) -> u16 {
        let x = (x.clamp(-STRETCH_MAX, STRETCH_MAX) + OFFSET) as u32;
        let (low, weight) = (x / NAT as u32, x % NAT as u32);
        let (row, low) = ((context & self.mask) as usize, low as usize);
        self.at = (row, low + (weight > NAT as u32 / 2) as usize);
        let points = &self.rows[row];
        let (below, above) = (points[low].p() as u32, points[low + 1].p() as u32);
        ((below * (NAT as u32 - weight) + above * weight) / NAT as u32).max(1) as u16
    }

    /// Updates the map with the bit that was predicted.
    #[inline(always)]
    pub fn update(&mut self, bit: bool) {
        self.rows[self.at.0][self.at.1].update(bit, LIMIT);
    }
}

/// Selector of the plain or the corrected prediction, by the smaller squared error of late: on
/// noise, corrections only add noise.
#[derive(Default)]
pub struct ApmSelector {
    /// Last plain and corrected prediction.
    asked: [u16; 2],
    /// Sum, decaying over 2^13 bits, of the advantage in squared error of the corrected prediction.
    advantage: i32,
}

impl ApmSelector {
    /// Returns the prediction with the smaller recent error.
    #[inline(always)]
    pub fn choose(&mut self, plain: u16, corrected: u16) -> u16 {
        self.asked = [plain, corrected];
        self.asked[(self.advantage >= 0) as usize]
    }

    /// Updates the errors with the bit that was predicted.
    #[inline(always)]
    pub fn update(&mut self, bit: bool) {
        let [plain, corrected] = self.asked.map(|p| {
            let error = ((bit as i64) << 16) - p as i64;
            ((error * error) >> 20) as i32
        });
        self.advantage += plain - corrected - (self.advantage >> 13);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_little_at_first() {
        let mut apm = Apm::new(4);
        for x in (-STRETCH_MAX..=STRETCH_MAX).step_by(7) {
            let (p, refined) = (squash(x) as i32, apm.refine(x, 2) as i32);
            assert!((p - refined).abs() < 1000, "{p} became {refined}");
        }
    }

    #[test]
    fn learns_that_a_context_errs() {
        let mut apm = Apm::new(2);
        for _ in 0..1000 {
            apm.refine(300, 1);
            apm.update(false);
        }
        assert!(apm.refine(256, 1) < 1000);
        assert!(apm.refine(256, 0) > 40000);
    }
}
