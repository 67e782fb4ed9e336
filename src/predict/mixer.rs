//! The logistic mixer: many predictions in, one out, weights learned bit by bit.
//!
//! Predictions are mixed in the log-odds domain by a weighted sum, and the weights move along the
//! gradient of the coding cost, `w += rate * error * input` (Mahoney, "Adaptive Weighing of Context
//! Models for Lossless Data Compression", 2005). Several *sets* of weights look at the same inputs,
//! each choosing one row of weights by its own selector; a last row of weights mixes the sets'
//! answers, where there is more than one. All arithmetic is exact in `i32`, so the instruction set
//! it is compiled for cannot change a bit.

use super::logistic::{STRETCH_MAX, squash};
use crate::ops::arch::{Isa, Kernel, Simd};

/// Weight 1.0.
pub const ONE: i32 = 1 << 16;

/// Inputs are padded to a multiple of this, so that loops over them vectorise.
const STEP: usize = 8;

/// Inputs or their weights.
type Block = [i32; STEP];

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
    weights: Vec<Block>,
    /// Bits seen by each row.
    seen: Vec<i32>,
    row: usize,
    output: i32,
}

impl WeightSet {
    fn new(rows: usize, initial: &[Block]) -> Self {
        WeightSet { weights: initial.repeat(rows), seen: vec![0; rows], row: 0, output: 0 }
    }

    #[inline(always)]
    fn predict(&mut self, inputs: &[Block], row: usize) -> i32 {
        self.row = row;
        let weights = &self.weights[row * inputs.len()..][..inputs.len()];
        self.output = (dot(weights, inputs) >> 8).clamp(-STRETCH_MAX, STRETCH_MAX);
        self.output
    }

    #[inline(always)]
    fn update(&mut self, inputs: &[Block], bit: bool, rate: Rate) {
        let seen = &mut self.seen[self.row];
        let error = ((bit as i32) << 16) - squash(self.output) as i32;
        let step = (error * rate.at(*seen)) >> 10;
        *seen = (*seen + 1).min(1 << 16);
        let weights = &mut self.weights[self.row * inputs.len()..][..inputs.len()];
        train(weights, inputs, step);
    }
}

/// Two layers of logistic mixing; see the module.
pub struct Mixer {
    isa: Isa,
    inputs: Vec<Block>,
    sets: Vec<WeightSet>,
    outputs: [Block; 1],
    last: WeightSet,
    rates: [Rate; 2],
}

impl Mixer {
    /// `initial`: the weight each input starts with. `rows`: the number of rows of each set, at
    /// most `STEP` of them. `last_rows`: of the last layer.
    pub fn new(
        isa: Isa,
        initial: &[i32],
        rows: &[usize],
        last_rows: usize,
        rates: [Rate; 2],
    ) -> Self {
        let initial = blocks(initial);
        let shares = blocks(&vec![ONE / rows.len() as i32; rows.len()]);
        Mixer {
            isa: isa.narrow(),
            inputs: vec![[0; STEP]; initial.len()],
            sets: rows.iter().map(|&n| WeightSet::new(n, &initial)).collect(),
            outputs: [[0; STEP]],
            last: WeightSet::new(last_rows, &shares),
            rates,
        }
    }

    /// The inputs of the next prediction, to be filled in, in units of [`super::logistic::NAT`];
    /// those past the initial weights stay 0.
    #[inline]
    pub fn inputs(&mut self) -> &mut [i32] {
        self.inputs.as_flattened_mut()
    }

    /// Log-odds of the next bit, mixed from the inputs; `rows`: the row each set uses, `last_row`:
    /// that of the last layer.
    #[inline]
    pub fn predict(&mut self, rows: &[usize], last_row: usize) -> i32 {
        self.isa.run(Predict { mixer: self, rows, last_row })
    }

    /// Learns the bit that was predicted.
    #[inline]
    pub fn update(&mut self, bit: bool) {
        self.isa.run(Update { mixer: self, bit });
    }
}

struct Predict<'a> {
    mixer: &'a mut Mixer,
    rows: &'a [usize],
    last_row: usize,
}

impl Kernel for Predict<'_> {
    type Output = i32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> i32 {
        let Mixer { inputs, sets, outputs, last, .. } = self.mixer;
        for ((set, &row), output) in sets.iter_mut().zip(self.rows).zip(&mut outputs[0]) {
            *output = set.predict(inputs, row);
        }
        if self.rows.len() == 1 {
            return outputs[0][0];
        }
        last.predict(outputs, self.last_row)
    }
}

struct Update<'a> {
    mixer: &'a mut Mixer,
    bit: bool,
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Mixer { inputs, sets, outputs, last, rates, .. } = self.mixer;
        if sets.len() > 1 {
            last.update(outputs, self.bit, rates[1]);
        }
        for set in sets {
            set.update(inputs, self.bit, rates[0]);
        }
    }
}

/// `sum(weights * inputs)`, each product in units of 1/65536 nat.
#[inline(always)]
fn dot(weights: &[Block], inputs: &[Block]) -> i32 {
    let mut sums = [0i32; STEP];
    for (w, x) in weights.iter().zip(inputs) {
        for i in 0..STEP {
            sums[i] += (w[i] * x[i]) >> 8;
        }
    }
    sums.iter().sum()
}

/// `weights += inputs * step`, rounded and bounded. `step`: at most 2^19.
#[inline(always)]
fn train(weights: &mut [Block], inputs: &[Block], step: i32) {
    for (w, x) in weights.iter_mut().zip(inputs) {
        let mut moved = *x;
        for i in 0..STEP {
            moved[i] = w[i] + ((moved[i] * step + (1 << 13)) >> 14);
        }
        for i in 0..STEP {
            w[i] = moved[i].clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
    }
}

fn blocks(weights: &[i32]) -> Vec<Block> {
    let block = |part: &[i32]| std::array::from_fn(|i| part.get(i).copied().unwrap_or(0));
    weights.chunks(STEP).map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::logistic::NAT;

    const RATES: [Rate; 2] = [Rate { first: 400, last: 100, half: 100 }; 2];

    #[test]
    fn starts_with_the_initial_weights() {
        let mut mixer = Mixer::new(Isa::detect(), &[ONE, 0, 0], &[4, 2], 1, RATES);
        mixer.inputs()[..3].copy_from_slice(&[NAT, -5 * NAT, 3]);
        assert!((mixer.predict(&[3, 1], 0) - NAT).abs() <= 1);
    }

    #[test]
    fn learns_which_input_to_trust() {
        let mut mixer = Mixer::new(Isa::detect(), &[ONE / 2, ONE / 2], &[1, 1], 1, RATES);
        let predict = |mixer: &mut Mixer, truth: bool, noise: bool| {
            mixer.inputs()[0] = if truth { NAT } else { -NAT };
            mixer.inputs()[1] = if noise { NAT } else { -NAT };
            mixer.predict(&[0, 0], 0)
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
