//! The logistic mixer: many predictions in, one out, weights learned bit by bit.
//!
//! Predictions are mixed in the log-odds domain by a weighted sum, and the weights move along the
//! gradient of the coding cost, `w += rate * error * input` (Mahoney, "Adaptive Weighing of Context
//! Models for Lossless Data Compression", 2005). Several *sets* of weights look at the same inputs,
//! each choosing one row of weights by its own selector; a last row of weights mixes the sets'
//! answers. All arithmetic is exact in `i32`, so the vector width it is compiled to cannot change a
//! bit.

use super::logistic::{STRETCH_MAX, squash};

/// Weight 1.0.
pub const ONE: i32 = 1 << 16;

/// Inputs are padded to a multiple of this, so that loops over them vectorise.
const STEP: usize = 8;

/// Bounds of a weight: `WEIGHT_MAX * STRETCH_MAX` fits an `i32`.
const WEIGHT_MAX: i32 = 10 * ONE;

/// How fast weights learn: `(numerator of error) >> 10`, falling from `first` to `last` with the
/// bits a row has seen.
#[derive(Clone, Copy)]
pub struct Rate {
    pub first: i32,
    pub last: i32,
    /// How many bits it takes to halve the way from `first` to `last`.
    pub half: i32,
}

impl Rate {
    fn at(self, n: i32) -> i32 {
        self.last + (self.first - self.last) * self.half / (self.half + n)
    }
}

/// Rows of weights, one chosen for each bit.
struct WeightSet {
    weights: Vec<i32>,
    /// Bits seen by each row.
    seen: Vec<i32>,
    row: usize,
    output: i32,
    p: u16,
}

impl WeightSet {
    fn new(rows: usize, initial: &[i32]) -> Self {
        WeightSet {
            weights: initial.repeat(rows),
            seen: vec![0; rows],
            row: 0,
            output: 0,
            p: 32768,
        }
    }

    fn predict(&mut self, inputs: &[i32], row: usize) -> i32 {
        self.row = row;
        let weights = &self.weights[row * inputs.len()..][..inputs.len()];
        self.output = (dot(weights, inputs) >> 8).clamp(-STRETCH_MAX, STRETCH_MAX);
        self.p = squash(self.output);
        self.output
    }

    fn update(&mut self, inputs: &[i32], bit: bool, rate: Rate) {
        let seen = &mut self.seen[self.row];
        let error = ((bit as i32) << 16) - self.p as i32;
        let step = (error * rate.at(*seen)) >> 10;
        *seen = (*seen + 1).min(1 << 16);
        let weights = &mut self.weights[self.row * inputs.len()..][..inputs.len()];
        train(weights, inputs, step);
    }
}

/// Two layers of logistic mixing; see the module.
pub struct Mixer {
    inputs: Vec<i32>,
    n: usize,
    sets: Vec<WeightSet>,
    outputs: Vec<i32>,
    last: WeightSet,
    rates: [Rate; 2],
}

impl Mixer {
    /// `initial`: the weight each input starts with. `rows`: the number of rows of each set.
    /// `last_rows`: of the last layer.
    pub fn new(initial: &[i32], rows: &[usize], last_rows: usize, rates: [Rate; 2]) -> Self {
        let initial = padded(initial);
        let shares = padded(&vec![ONE / rows.len() as i32; rows.len()]);
        Mixer {
            inputs: vec![0; initial.len()],
            n: 0,
            sets: rows.iter().map(|&n| WeightSet::new(n, &initial)).collect(),
            outputs: vec![0; shares.len()],
            last: WeightSet::new(last_rows, &shares),
            rates,
        }
    }

    /// Appends an input for the next prediction, in units of [`super::logistic::NAT`].
    #[inline]
    pub fn add(&mut self, input: i32) {
        self.inputs[self.n] = input;
        self.n += 1;
    }

    /// Log-odds of the next bit, mixed from the inputs added; `rows`: the row each set uses,
    /// `last_row`: that of the last layer.
    pub fn predict(&mut self, rows: &[usize], last_row: usize) -> i32 {
        self.n = 0;
        for ((set, &row), output) in self.sets.iter_mut().zip(rows).zip(&mut self.outputs) {
            *output = set.predict(&self.inputs, row);
        }
        self.last.predict(&self.outputs, last_row)
    }

    /// Learns the bit that was predicted.
    pub fn update(&mut self, bit: bool) {
        self.last.update(&self.outputs, bit, self.rates[1]);
        for set in &mut self.sets {
            set.update(&self.inputs, bit, self.rates[0]);
        }
    }
}

/// `sum(weights * inputs)`, each product in units of 1/65536 nat.
fn dot(weights: &[i32], inputs: &[i32]) -> i32 {
    let mut sums = [0i32; STEP];
    for (w, x) in weights.chunks_exact(STEP).zip(inputs.chunks_exact(STEP)) {
        for i in 0..STEP {
            sums[i] += (w[i] * x[i]) >> 8;
        }
    }
    sums.iter().sum()
}

/// `weights += inputs * step`, rounded and bounded. `step`: at most 2^19.
fn train(weights: &mut [i32], inputs: &[i32], step: i32) {
    for (w, x) in weights.chunks_exact_mut(STEP).zip(inputs.chunks_exact(STEP)) {
        for i in 0..STEP {
            w[i] = (w[i] + ((x[i] * step + (1 << 13)) >> 14)).clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
    }
}

fn padded(weights: &[i32]) -> Vec<i32> {
    let mut weights = weights.to_vec();
    weights.resize(weights.len().next_multiple_of(STEP), 0);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::logistic::NAT;

    const RATES: [Rate; 2] = [Rate { first: 400, last: 100, half: 100 }; 2];

    #[test]
    fn starts_with_the_initial_weights() {
        let mut mixer = Mixer::new(&[ONE, 0, 0], &[4, 2], 1, RATES);
        [NAT, -5 * NAT, 3].into_iter().for_each(|x| mixer.add(x));
        assert!((mixer.predict(&[3, 1], 0) - NAT).abs() <= 1);
    }

    #[test]
    fn learns_which_input_to_trust() {
        let mut mixer = Mixer::new(&[ONE / 2, ONE / 2], &[1], 1, RATES);
        let predict = |mixer: &mut Mixer, truth: bool, noise: bool| {
            mixer.add(if truth { NAT } else { -NAT });
            mixer.add(if noise { NAT } else { -NAT });
            mixer.predict(&[0], 0)
        };
        for i in 0u32..2000 {
            let (truth, noise) = (
                i.wrapping_mul(0x9E37_79B1) >> 31 == 1,
                i.wrapping_mul(0x85EB_CA6B) >> 30 & 1 == 1,
            );
            predict(&mut mixer, truth, noise);
            mixer.update(truth);
        }
        assert!(predict(&mut mixer, true, false) > 2 * NAT);
        assert!(predict(&mut mixer, false, true) < -2 * NAT);
    }
}
