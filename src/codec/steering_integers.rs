//! Integers of carried steering vectors as binary decisions (`docs/numerics.md`, section 22).

use super::token_trie::BitCoder;
use crate::predict::counters::Counter;

/// Largest integer.
pub const MAX_INTEGER: i32 = (1 << 15) - 1;

/// Probabilities of integers: whether each is zero, its sign, then whether it is larger than 1, 2, ..
pub struct SteeringIntegers {
    /// Of being larger than so much, given that it is not smaller.
    more: Probabilities,
    /// Those among the last two integers that were not zero.
    recent: [bool; 2],
}

enum Probabilities {
    /// Of 65536.
    Fixed(Vec<u16>),
    /// Of zero by context, then of the others.
    Learned { zero: [Counter; 3], more: Vec<Counter> },
}

/// Steps of an integer that have a probability of their own; what is larger is coded by its bits.
const STEPS: usize = 16;

/// Bits seen at which a probability is steady.
const LIMIT: u32 = 255;

/// One half of 65536.
const EVEN: u16 = 1 << 15;

impl SteeringIntegers {
    /// Creates the probabilities of normally distributed integers, or of those to be learned.
    pub fn new(deviation: Option<f32>) -> Self {
        let more = match deviation {
            Some(deviation) => Probabilities::Fixed(tails(deviation)),
            None => Probabilities::Learned {
                zero: [(); 3].map(|()| Counter::new(EVEN)),
                more: vec![Counter::new(EVEN); STEPS],
            },
        };
        Self { more, recent: [false; 2] }
    }

    /// Forgets which integers came last.
    pub fn begin_vector(&mut self) {
        self.recent = [false; 2];
    }

    /// Codes an integer; a decoder returns what it reads, an encoder what it was given.
    pub fn code(&mut self, coder: &mut impl BitCoder, integer: i32) -> i32 {
        let wanted = integer.unsigned_abs();
        let mut size = 0;
        while (size as usize) < STEPS && self.is_more(coder, size, wanted > size) {
            size += 1;
        }
        self.recent = [self.recent[1], size > 0];
        if size == 0 {
            return 0;
        }
        let is_negative = coder.code(integer < 0, EVEN);
        if size as usize == STEPS {
            size += escape(coder, wanted.saturating_sub(STEPS as u32));
        }
        let size = size.min(MAX_INTEGER as u32) as i32;
        if is_negative { -size } else { size }
    }

    /// Codes whether an integer is larger than `size`, which it is not smaller than.
    fn is_more(&mut self, coder: &mut impl BitCoder, size: u32, bit: bool) -> bool {
        let context = usize::from(self.recent[0]) + usize::from(self.recent[1]);
        let counter = match &mut self.more {
            Probabilities::Fixed(p) => return coder.code(bit, p[size as usize]),
            Probabilities::Learned { zero, .. } if size == 0 => &mut zero[context],
            Probabilities::Learned { more, .. } => &mut more[size as usize],
        };
        let bit = coder.code(bit, counter.p().max(1));
        counter.update(bit, LIMIT);
        bit
    }
}

/// Codes a number of up to 14 bits: its length in ones, then its bits (Elias, 1975).
fn escape(coder: &mut impl BitCoder, number: u32) -> u32 {
    let wanted = (number + 1).ilog2();
    let mut bits = 0;
    while bits < 14 && coder.code(bits < wanted, EVEN) {
        bits += 1;
    }
    (0..bits).rev().fold(1, |n, i| 2 * n + u32::from(coder.code((number + 1) >> i & 1 == 1, EVEN)))
        - 1
}

/// Returns for normal integers of this deviation the probability of being larger than 0, 1, ..,
/// given not to be smaller: integrals over bins, in binary64 by `libm`.
fn tails(deviation: f32) -> Vec<u16> {
    let root = f64::from(deviation) * std::f64::consts::SQRT_2;
    let beyond = |size: usize| libm::erfc((size as f64 + 0.5) / root);
    let p = |size: usize| match size {
        0 => beyond(0),
        _ => beyond(size) / beyond(size - 1),
    };
    (0..STEPS)
        .map(|size| (65_536.0 * p(size)).clamp(1.0, 65_535.0) as u16)
        .map(|p| p.max(1))
        .collect()
}
