//! The logistic mixer: many predictions in, one out, weights learned bit by bit.
//!
//! Predictions are mixed in the log-odds domain by a weighted sum, and the weights move along the
//! gradient of the coding cost, `w += rate * error * input` (Mahoney, "Adaptive Weighing of Context
//! Models for Lossless Data Compression", 2005). Several *sets* of weights look at the same inputs,
//! each choosing one row of weights by its own selector; a last row of weights mixes the sets'
//! outputs, where there is more than one. All arithmetic is exact in `i32`, so the instruction set
//! it is compiled for cannot change a bit.

use super::logistic::{STRETCH_MAX, squash};
use crate::ops::arch::Integers;

/// Unit weight, 1.0.
pub const ONE: i32 = 1 << 16;

/// Length of a block of inputs, so that loops over them vectorise.
pub const STEP: usize = 8;

/// Block of inputs or their weights.
type InputBlock = [i32; STEP];

/// Bounds of a weight: `WEIGHT_MAX * STRETCH_MAX` fits an `i32`.
const WEIGHT_MAX: i32 = 10 * ONE;

/// Limit of the bits that a row of weights counts.
const SEEN_MAX: i32 = 1 << 16;

/// Learning rate of weights: `(numerator of error) >> 10`, falling from `first` to `last` with the
/// bits a row has seen.
#[derive(Clone, Copy)]
pub struct Rate {
    pub first: i32,
    pub last: i32,
    /// Number of bits that halve the way from `first` to `last`.
    pub half: i32,
}

impl Rate {
    #[inline(always)]
    fn at(self, n: i32) -> i32 {
        self.last + (self.first - self.last) * self.half / (self.half + n)
    }
}

/// Row of weights, one per input.
#[derive(Clone)]
struct WeightRow<const BLOCKS: usize> {
    weights: [InputBlock; BLOCKS],
    /// Number of bits it was used for.
    seen: i32,
}

impl<const BLOCKS: usize> WeightRow<BLOCKS> {
    #[inline(always)]
    fn predict(&self, ints: impl Integers, inputs: &[InputBlock; BLOCKS]) -> i32 {
        (dot(ints, &self.weights, inputs) >> 8).clamp(-STRETCH_MAX, STRETCH_MAX)
    }

    /// Updates the weights. `output`: the result of [`predict`](Self::predict).
    #[inline(always)]
    fn update(&mut self, inputs: &[InputBlock; BLOCKS], output: i32, bit: bool, rate: Rate) {
        let error = ((bit as i32) << 16) - squash(output) as i32;
        let step = (error * rate.at(self.seen)) >> 10;
        self.seen = (self.seen + 1).min(SEEN_MAX);
        train(&mut self.weights, inputs, step);
    }
}

/// Set of weight rows, one of which is chosen for each bit.
struct WeightSet<const BLOCKS: usize> {
    rows: Vec<WeightRow<BLOCKS>>,
    chosen: usize,
    output: i32,
}

impl<const BLOCKS: usize> WeightSet<BLOCKS> {
    fn new(n_rows: usize, initial: [InputBlock; BLOCKS]) -> Self {
        WeightSet {
            rows: vec![WeightRow { weights: initial, seen: 0 }; n_rows],
            chosen: 0,
            output: 0,
        }
    }

    #[inline(always)]
    fn predict(&mut self, ints: impl Integers, inputs: &[InputBlock; BLOCKS], row: usize) -> i32 {
        self.chosen = row;
        self.output = self.rows[row].predict(ints, inputs);
        self.output
    }

    #[inline(always)]
    fn update(&mut self, inputs: &[InputBlock; BLOCKS], bit: bool, rate: Rate) {
        self.rows[self.chosen].update(inputs, self.output, bit, rate);
    }
}

/// Mixer with two layers, of `BLOCKS * STEP` inputs by `SETS` sets of weights; see the
/// module. To be used within [`Isa::run_integers`](crate::ops::arch::Isa::run_integers).
pub struct Mixer<const BLOCKS: usize, const SETS: usize> {
    inputs: [InputBlock; BLOCKS],
    sets: [WeightSet<BLOCKS>; SETS],
    outputs: [InputBlock; 1],
    last: WeightSet<1>,
    rates: [Rate; 2],
}

impl<const BLOCKS: usize, const SETS: usize> Mixer<BLOCKS, SETS> {
    /// Creates a mixer. `initial`: the initial weight of each input; inputs past those stay 0.
    /// `n_rows`: the number of rows of each set. `n_last_rows`: of the last layer.
    pub fn new(
        initial: &[i32],
        n_rows: [usize; SETS],
        n_last_rows: usize,
        rates: [Rate; 2],
    ) -> Self {
        let share = [ONE / SETS as i32; SETS];
        Mixer {
            inputs: [[0; STEP]; BLOCKS],
            sets: n_rows.map(|n| WeightSet::new(n, blocks(initial))),
            outputs: [[0; STEP]],
            last: WeightSet::new(n_last_rows, blocks(&share)),
            rates,
        }
    }

    /// Returns the inputs of the next prediction to be filled in, in units of
    /// [`super::logistic::NAT`].
    #[inline(always)]
    pub fn inputs(&mut self) -> &mut [i32] {
        self.inputs.as_flattened_mut()
    }

    /// Returns the log-odds of the next bit, mixed from the inputs; `rows`: the row each set uses,
    /// `last_row`: that of the last layer.
    #[inline(always)]
    pub fn predict(&mut self, ints: impl Integers, rows: [usize; SETS], last_row: usize) -> i32 {
        let outputs = self.outputs[0].iter_mut();
        for ((set, row), output) in self.sets.iter_mut().zip(rows).zip(outputs) {
            *output = set.predict(ints, &self.inputs, row);
        }
        if SETS == 1 {
            self.outputs[0][0]
        } else {
            self.last.predict(ints, &self.outputs, last_row)
        }
    }

    /// Updates the weights with the bit that was predicted.
    #[inline(always)]
    pub fn update(&mut self, bit: bool) {
        if SETS > 1 {
            self.last.update(&self.outputs, bit, self.rates[1]);
        }
        for set in &mut self.sets {
            set.update(&self.inputs, bit, self.rates[0]);
        }
    }
}

/// Computes `sum(weights * inputs)`, each product in units of 1/65536 nat.
#[inline(always)]
fn dot<const BLOCKS: usize>(
    ints: impl Integers,
    weights: &[InputBlock; BLOCKS],
    inputs: &[InputBlock; BLOCKS],
) -> i32 {
    let pairs = weights.iter().zip(inputs);
    ints.total(pairs.fold(ints.zeros(), |sums, (w, x)| ints.add_products(sums, x, w)))
}

/// Computes `weights += inputs * step`, rounded and bounded. `step`: at most 2^19, so that all of
/// it fits an `i32`; wrapping, since loops whose sums are checked do not vectorise.
#[inline(always)]
fn train<const BLOCKS: usize>(
    weights: &mut [InputBlock; BLOCKS],
    inputs: &[InputBlock; BLOCKS],
    step: i32,
) {
    debug_assert!(step.abs() <= 1 << 19, "{step}");
    for (w, x) in weights.iter_mut().zip(inputs) {
        let mut moved = *x;
        for i in 0..STEP {
            moved[i] = w[i].wrapping_add(moved[i].wrapping_mul(step).wrapping_add(1 << 13) >> 14);
        }
        for i in 0..STEP {
            w[i] = moved[i].clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
    }
}

fn blocks<const BLOCKS: usize>(weights: &[i32]) -> [InputBlock; BLOCKS] {
    assert!(weights.len() <= BLOCKS * STEP, "{} inputs", weights.len());
    let mut blocks = [[0; STEP]; BLOCKS];
    blocks.as_flattened_mut()[..weights.len()].copy_from_slice(weights);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::arch::{IntegerKernel, Isa};
    use crate::predict::logistic::NAT;

    const RATES: [Rate; 2] = [Rate { first: 400, last: 100, half: 100 }; 2];

    /// Prediction of the next bit's log-odds.
    struct Ask<'a>(&'a mut Mixer<1, 2>, [usize; 2]);

    impl IntegerKernel for Ask<'_> {
        type Output = i32;

        #[inline(always)]
        fn run<I: Integers>(self, ints: I) -> i32 {
            self.0.predict(ints, self.1, 0)
        }
    }

    #[test]
    fn starts_with_the_initial_weights() {
        for isa in Isa::available() {
            let mut mixer = Mixer::new(&[ONE, 0, 0], [4, 2], 1, RATES);
            mixer.inputs()[..3].copy_from_slice(&[NAT, -5 * NAT, 3]);
            assert!((isa.run_integers(Ask(&mut mixer, [3, 1])) - NAT).abs() <= 1, "{isa:?}");
        }
    }

    #[test]
    fn learns_which_input_to_trust() {
        let mut mixer = Mixer::new(&[ONE / 2, ONE / 2], [1, 1], 1, RATES);
        let predict = |mixer: &mut Mixer<1, 2>, truth: bool, noise: bool| {
            mixer.inputs()[0] = if truth { NAT } else { -NAT };
            mixer.inputs()[1] = if noise { NAT } else { -NAT };
            Isa::detect().run_integers(Ask(mixer, [0, 0]))
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
