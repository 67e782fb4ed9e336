//! Adaptive probability maps, or secondary symbol estimation: a prediction corrected by what came true under it.
//!
//! For each value of a context the map holds the probability actually seen at 33 points along the log-odds of the prediction,
//! and interpolates between the two nearest (Mahoney's paq6 and later; the idea is Shelwien's and Osnach's).

use super::logistic::{STRETCH_MAX, squash};

/// Distance of two points, in 1/256 nat.
const GRID: i32 = 178;

/// Points from `-16 * GRID` to `16 * GRID`, beyond `±STRETCH_MAX`.
const POINTS: usize = 33;

const OFFSET: i32 = GRID * (POINTS as i32 / 2);

/// Corrects predictions under a context; see the module.
pub struct Apm {
    /// P(1) in units of 2^-32, `POINTS` for each context.
    points: Vec<u32>,
    /// The nearer of the points last used.
    at: usize,
    rate: u32,
}

impl Apm {
    /// A map that at first changes nothing. `rate`: each bit moves a point by 2^-`rate` of the error.
    pub fn new(n_contexts: usize, rate: u32) -> Self {
        let row: Vec<u32> = (0..POINTS as i32).map(|i| (squash(i * GRID - OFFSET) as u32) << 16).collect();
        Apm { points: row.repeat(n_contexts), at: 0, rate }
    }

    /// P(1) of 65536, of a prediction with log-odds `x` under `context`. May be 0.
    pub fn refine(&mut self, x: i32, context: usize) -> u16 {
        let x = x.clamp(-STRETCH_MAX, STRETCH_MAX) + OFFSET;
        let (low, weight) = ((x / GRID) as usize, (x % GRID) as u32);
        let base = context * POINTS + low;
        self.at = base + (weight as i32 > GRID / 2) as usize;
        let pair = (self.points[base] >> 16, self.points[base + 1] >> 16);
        ((pair.0 * (GRID as u32 - weight) + pair.1 * weight) / GRID as u32) as u16
    }

    /// Learns the bit that was predicted.
    pub fn update(&mut self, bit: bool) {
        let point = &mut self.points[self.at];
        if bit {
            *point += (u32::MAX - *point) >> self.rate;
        } else {
            *point -= *point >> self.rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_nothing_at_first() {
        let mut apm = Apm::new(3, 6);
        for x in (-STRETCH_MAX..=STRETCH_MAX).step_by(7) {
            let (p, refined) = (squash(x) as i32, apm.refine(x, 2) as i32);
            assert!((p - refined).abs() < 1400, "{p} became {refined}");
        }
    }

    #[test]
    fn learns_that_a_context_errs() {
        let mut apm = Apm::new(2, 6);
        for _ in 0..1000 {
            apm.refine(300, 1);
            apm.update(false);
        }
        assert!(apm.refine(300, 1) < 100);
        assert!(apm.refine(300, 0) > 40000);
    }
}
