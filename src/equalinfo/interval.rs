//! Intervals of an arithmetic coder, and the dyadic intervals in them, exactly.
//!
//! An interval begins at a binary fraction of any length and is `range` units long, 2^31 < range <= 2^32. A unit is
//! 2^-scale, and gets smaller by whole bits as the interval does.

use super::distribution::{Distribution, N_SYMBOLS};

/// Smallest range, less one.
const HALF: u64 = 1 << 31;

/// A binary fraction: 32 bits in each limb, the first of them first. Bits after the last are 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fraction(Vec<u32>);

impl Fraction {
    /// The fraction of `bits`, bytes of which the first bit is worth 1/2.
    pub fn of_bytes(bits: &[u8]) -> Self {
        let limb = |bytes: &[u8]| {
            let mut limb = [0; 4];
            limb[..bytes.len()].copy_from_slice(bytes);
            u32::from_be_bytes(limb)
        };
        Self(bits.chunks(4).map(limb).collect())
    }

    /// The first `n_bits` bits as bytes, zeros to the end of the last.
    pub fn to_bytes(&self, n_bits: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|limb| limb.to_be_bytes()).collect();
        bytes.resize(n_bits.div_ceil(8), 0);
        if let (Some(last), used @ 1..) = (bytes.last_mut(), n_bits % 8) {
            *last &= !(0xff >> used);
        }
        bytes
    }

    /// The 64 bits before bit `end`, zeros before the first.
    fn bits_before(&self, end: usize) -> u64 {
        let limb = |back: usize| {
            let at = (end / 32).checked_sub(back);
            u64::from(at.and_then(|at| self.0.get(at)).copied().unwrap_or(0))
        };
        let (whole, part) = (limb(2) << 32 | limb(1), end % 32);
        if part == 0 { whole } else { whole << part | limb(0) >> (32 - part) }
    }

    /// Adds `units` (below 2^32) of 2^-`scale`. The sum is below 1.
    fn add(&mut self, units: u64, scale: usize) {
        let mut at = (scale - 1) / 32;
        self.0.resize(self.0.len().max(at + 1), 0);
        let mut rest = units << (32 * (at + 1) - scale);
        while rest > 0 {
            let sum = u64::from(self.0[at]) + (rest & u64::from(u32::MAX));
            self.0[at] = sum as u32;
            rest = (rest >> 32) + (sum >> 32);
            at = at.wrapping_sub(1);
        }
    }
}

/// An interval of the coder: that of all texts which begin in one way.
#[derive(Debug, Clone)]
pub struct Interval {
    low: Fraction,
    scale: usize,
    range: u64,
}

impl Default for Interval {
    /// All: that of the empty text.
    fn default() -> Self {
        Self { low: Fraction::default(), scale: 32, range: 1 << 32 }
    }
}

impl Interval {
    /// The part of `byte`, which follows with the probability that `next` says.
    pub fn child(&self, next: &Distribution, byte: u8) -> Self {
        let mut child = self.clone();
        child.narrow(next, byte);
        child
    }

    /// Becomes its part of `byte`.
    pub fn narrow(&mut self, next: &Distribution, byte: u8) {
        let bound = |byte| next.bound(self.range, byte);
        let (from, to) = (bound(usize::from(byte)), bound(usize::from(byte) + 1));
        self.low.add(from, self.scale);
        self.range = to - from;
        while self.range <= HALF {
            self.range *= 2;
            self.scale += 1;
        }
    }

    /// Units of a dyadic interval of `bits` bits; `None` where it is less than one, or more than any interval has.
    fn dyadic(&self, bits: usize) -> Option<u64> {
        self.scale.checked_sub(bits).filter(|log2| *log2 <= 32).map(|log2| 1 << log2)
    }

    /// Whether it contains a dyadic interval of `bits` bits.
    pub fn has_dyadic(&self, bits: usize) -> bool {
        self.first_dyadic(bits).is_some()
    }

    /// Units from its beginning to the first dyadic interval of `bits` bits in it.
    fn first_dyadic(&self, bits: usize) -> Option<u64> {
        if self.scale <= bits {
            return Some(0);
        }
        let dyadic = self.dyadic(bits)?;
        let up = self.low.bits_before(self.scale).wrapping_neg() & (dyadic - 1);
        (up + dyadic <= self.range).then_some(up)
    }

    /// The dyadic intervals of `bits` bits in it that no part of it, as `next` says, contains: units from its beginning.
    fn own_dyadics(&self, next: &Distribution, bits: usize) -> impl Iterator<Item = u64> {
        let dyadic = self.dyadic(bits).unwrap_or(1);
        let low = self.low.bits_before(self.scale);
        let mut last = None;
        // What no part contains lies across a bound.
        (1..N_SYMBOLS).filter_map(move |byte| {
            let bound = next.bound(self.range, byte);
            let into = low.wrapping_add(bound) & (dyadic - 1);
            let start = bound.checked_sub(into).filter(|start| start + dyadic <= self.range);
            let start = start.filter(|start| into > 0 && last != Some(*start))?;
            last = Some(start);
            Some(start)
        })
    }

    fn at(&self, units: u64) -> Fraction {
        let mut at = self.low.clone();
        at.add(units, self.scale);
        at
    }

    /// The first dyadic interval of `bits` bits in it.
    pub fn first(&self, bits: usize) -> Option<Fraction> {
        self.first_dyadic(bits).map(|units| self.at(units))
    }

    /// The first of those in it that no part of it contains, as `next` says.
    pub fn first_own(&self, next: &Distribution, bits: usize) -> Option<Fraction> {
        self.own_dyadics(next, bits).next().map(|units| self.at(units))
    }

    /// All of these.
    pub fn all_own(&self, next: &Distribution, bits: usize) -> Vec<Fraction> {
        self.own_dyadics(next, bits).map(|units| self.at(units)).collect()
    }

    /// The shortest dyadic interval's bits in it, and how many those are.
    pub fn shortest(&self) -> (Fraction, usize) {
        let fewest = self.scale.saturating_sub(32);
        let found = (fewest..=self.scale).find_map(|bits| Some((self.first(bits)?, bits)));
        found.expect("a unit is a dyadic interval")
    }

    /// The byte in whose part the point `value`, which is in the interval, lies.
    pub fn byte_at(&self, next: &Distribution, value: &Fraction) -> u8 {
        next.byte_at(self.range, self.units_to(value))
    }

    /// Whether it contains the dyadic interval of `bits` bits at `value`, a point in it.
    pub fn contains(&self, value: &Fraction, bits: usize) -> bool {
        self.scale <= bits
            || self.dyadic(bits).is_some_and(|len| self.units_to(value) + len <= self.range)
    }

    /// Whole units from its beginning to `value`, a point in it.
    fn units_to(&self, value: &Fraction) -> u64 {
        value.bits_before(self.scale).wrapping_sub(self.low.bits_before(self.scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random distributions, peaked ones among them, and bytes that follow them or do not.
    fn steps(seed: u64, n: usize) -> Vec<(Distribution, u8)> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        let mut step = || {
            let peak = next() % 256;
            let weight = [1, 1 << 12, 1 << 21][next() as usize % 3];
            let mut counts = vec![0];
            for byte in 0..256 {
                let count = next() % 1000 + 1 + if byte == peak { weight * 1000 / 2 } else { 0 };
                counts.push(counts[byte as usize] + count);
            }
            let byte = if next() % 8 == 0 { next() % 256 } else { peak };
            (Distribution::rounded(&counts, 16), byte as u8)
        };
        (0..n).map(|_| step()).collect()
    }

    /// Returns the first dyadic interval by 128-bit integers, where it fits in them.
    fn by_integers(interval: &Interval, bits: usize) -> Option<u128> {
        let scale = interval.scale;
        let low = interval.low.0.iter().enumerate().fold(0u128, |sum, (i, &limb)| {
            let shift = 96 - 32 * i;
            sum | u128::from(limb) << shift
        }) >> (128 - scale);
        let end = low + u128::from(interval.range);
        match scale.checked_sub(bits) {
            None | Some(0) => Some(low << (bits - scale.min(bits))),
            Some(d) => {
                let first = low.div_ceil(1 << d);
                ((first + 1) << d <= end).then_some(first)
            }
        }
    }

    #[test]
    fn the_dyadic_test_is_exact() {
        let mut n_inside = 0;
        for seed in 0..if cfg!(miri) { 3 } else { 2000 } {
            let mut interval = Interval::default();
            for (next, byte) in steps(seed, 12) {
                interval.narrow(&next, byte);
                if interval.scale > 90 {
                    break;
                }
                for bits in [8, 12, 16, 24, 32, 47, 64] {
                    let expected = by_integers(&interval, bits);
                    let got = interval.first(bits).map(|at| at.to_bytes(bits));
                    let number = |bytes: &Vec<u8>| {
                        bytes.iter().fold(0u128, |n, &byte| n << 8 | u128::from(byte))
                            >> (8 * bytes.len() - bits)
                    };
                    assert_eq!(got.as_ref().map(number), expected, "{interval:?}, {bits}");
                    n_inside += usize::from(expected.is_some());
                }
            }
        }
        assert!(n_inside > 10);
    }

    #[test]
    fn own_dyadics_are_those_that_no_part_contains() {
        for seed in 0..if cfg!(miri) { 2 } else { 200 } {
            let mut interval = Interval::default();
            for (next, byte) in steps(seed, 4) {
                let bits = 16;
                let own: Vec<Vec<u8>> =
                    interval.all_own(&next, bits).iter().map(|at| at.to_bytes(bits)).collect();
                let Some(dyadic) = interval.dyadic(bits).filter(|len| interval.range / len < 300)
                else {
                    interval.narrow(&next, byte);
                    continue;
                };
                let mut expected = Vec::new();
                let mut units = interval.first_dyadic(bits);
                while let Some(at) = units.filter(|at| at + dyadic <= interval.range) {
                    let value = interval.at(at);
                    let part = interval.child(&next, interval.byte_at(&next, &value));
                    if !part.contains(&value, bits) {
                        expected.push(value.to_bytes(bits));
                    }
                    units = Some(at + dyadic);
                }
                assert_eq!(own, expected, "{interval:?}");
                interval.narrow(&next, byte);
            }
        }
    }

    #[test]
    fn long_codes_come_back() {
        let steps = steps(7, if cfg!(miri) { 20 } else { 3000 });
        let mut interval = Interval::default();
        for (next, byte) in &steps {
            interval.narrow(next, *byte);
        }
        let (at, bits) = interval.shortest();
        let value = Fraction::of_bytes(&at.to_bytes(bits));
        let mut interval = Interval::default();
        for (next, byte) in &steps {
            assert_eq!(interval.byte_at(next, &value), *byte);
            interval.narrow(next, *byte);
        }
        assert!(interval.contains(&value, bits));
    }
}
