//! Bit histories: the bits seen under a context, in one byte.
//!
//! A history holds how many zeros and ones followed a context, bounded, and which came last; the
//! first three bits are kept exactly. When a bit contradicts a long run, most of the run is
//! forgotten, so that a history says more of the recent past than of the old. The probability that
//! a history stands for is not decided here but learned ([`super::counters`]). The idea is that of
//! paq's "nonstationary states" (Mahoney, "Data Compression Explained", section 4.1.3); the bounds
//! and the numbering are our own.
//!
//! Invariants: state 0 is "nothing seen"; a state's number grows with the bits it has counted, so a
//! smaller number is the cheaper one to forget.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Limit of the larger count beside a smaller count of 0, 1, 2, ...: keeps the states within one
/// byte.
const LARGER_MAX: [u8; 7] = [41, 30, 16, 11, 8, 6, 0];

/// Opposite count after a bit contradicts it: `n` up to 3 stays, the excess
/// shrinks.
const AFTER_CONTRADICTION: [u8; 42] = [
    0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
];

/// Number of leading bits that a history keeps exactly.
const EXACT_BITS: u8 = 3;

/// Successor of each state after a 0 and after a 1.
pub static NEXT: LazyLock<[[u8; 2]; 256]> = LazyLock::new(|| Table::build().next);

/// Counts of zeros and ones of each state.
pub static COUNTS: LazyLock<[[u8; 2]; 256]> = LazyLock::new(|| Table::build().counts);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct BitHistory {
    /// `counts[0] + counts[1]`, first in the order of states.
    total: u8,
    counts: [u8; 2],
    /// The last bit, or all bits where there are no more than `EXACT_BITS`.
    recent: u8,
}

impl BitHistory {
    const EMPTY: BitHistory = BitHistory { total: 0, counts: [0, 0], recent: 0 };

    fn after(self, bit: u8) -> BitHistory {
        let (b, other) = (bit as usize, 1 - bit as usize);
        let mut counts = self.counts;
        counts[b] += 1;
        counts[other] = AFTER_CONTRADICTION[counts[other] as usize];
        bound(&mut counts, b);
        let total = counts[0] + counts[1];
        let exact = self.total < EXACT_BITS && total <= EXACT_BITS;
        let recent = if exact { self.recent << 1 | bit } else { bit };
        BitHistory { total, counts, recent }
    }
}

/// Cuts the larger count to what `LARGER_MAX` allows, giving up old evidence before new.
fn bound(counts: &mut [u8; 2], newest: usize) {
    let smaller_max = LARGER_MAX.len() as u8 - 2;
    let other = 1 - newest;
    counts[other] = counts[other].min(LARGER_MAX[counts[newest].min(smaller_max) as usize]);
    counts[newest] = counts[newest].min(LARGER_MAX[counts[other].min(smaller_max) as usize]);
}

struct Table {
    next: [[u8; 2]; 256],
    counts: [[u8; 2]; 256],
}

impl Table {
    fn build() -> Table {
        let states = reachable();
        assert!(states.len() <= 256, "{} bit histories do not fit a byte", states.len());
        let mut table = Table { next: [[0; 2]; 256], counts: [[0; 2]; 256] };
        for (history, &state) in &states {
            let next = [0, 1].map(|bit| states[&history.after(bit)]);
            table.next[state as usize] = next;
            table.counts[state as usize] = history.counts;
        }
        table
    }
}

/// Returns all histories that can arise, numbered in their order: by bits counted, then by counts.
fn reachable() -> BTreeMap<BitHistory, u8> {
    let mut states = BTreeMap::from([(BitHistory::EMPTY, 0)]);
    let mut open = vec![BitHistory::EMPTY];
    while let Some(history) = open.pop() {
        for next in [history.after(0), history.after(1)] {
            if states.insert(next, 0).is_none() {
                open.push(next);
            }
        }
    }
    for (number, state) in states.values_mut().enumerate() {
        *state = number as u8;
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bits: &[u8]) -> u8 {
        bits.iter().fold(0, |state, &bit| NEXT[state as usize][bit as usize])
    }

    #[test]
    fn states_fit_a_byte_and_fill_most_of_it() {
        let n = reachable().len();
        assert!((180..=256).contains(&n), "{n} states");
    }

    #[test]
    fn counts_follow_the_bits() {
        assert_eq!(COUNTS[walk(&[]) as usize], [0, 0]);
        assert_eq!(COUNTS[walk(&[1, 1, 1]) as usize], [0, 3]);
        assert_ne!(walk(&[0, 1]), walk(&[1, 0]));
        assert_eq!(COUNTS[walk(&[0; 100]) as usize], [LARGER_MAX[0], 0]);
        let [zeros, ones] = COUNTS[NEXT[walk(&[0; 30]) as usize][1] as usize];
        assert!(
            zeros < 10 && ones == 1,
            "a contradicted run is mostly forgotten, not {zeros} to {ones}"
        );
    }

    #[test]
    fn zeros_and_ones_are_treated_alike() {
        for bits in [[0, 1, 1, 0, 1, 1, 1, 0u8], [0, 0, 0, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1, 0, 1]]
        {
            let [zeros, ones] = COUNTS[walk(&bits) as usize];
            let mirrored = COUNTS[walk(&bits.map(|bit| 1 - bit)) as usize];
            assert_eq!([ones, zeros], mirrored);
        }
    }
}
