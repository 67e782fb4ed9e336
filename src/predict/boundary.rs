//! Predictor of token boundaries: the decision "the token ends here".
//!
//! A tokeniser is nearly a function of the text: where it ends a token follows from the bytes
//! around. Contexts of the token so far, the token and bytes before, and the byte that a match
//! expects next, learn it; a mixer weighs them with the language model, which leads at first.

use super::apm::Apm;
use super::config::MixingConfig;
use super::contexts::{LaneContext, mix};
use super::counters::Counter;
use super::history::History;
use super::logistic::{squash, stretch};
use super::mixer::{Mixer, ONE, Rate};
use crate::ops::arch::{IntegerKernel, Integers, Isa};

const N_CONTEXTS: usize = 5;

/// Initial weights of a context's log-odds and of its probability about 1/2.
const CONTEXT_WEIGHTS: [i32; 2] = [ONE * 8 / 100, 0];

const RATES: [Rate; 2] =
    [Rate { first: 1000, last: 120, half: 200 }, Rate { first: 100, last: 20, half: 200 }];

/// Number of tokens that a counter averages over.
const LIMIT: u32 = 255;

/// Knowledge of the next byte.
#[derive(Clone, Copy)]
enum Expected {
    Nothing,
    /// A match expects this byte, and a token ended before it the last time or not.
    Byte(u8, bool),
}

impl Expected {
    /// Returns a code in 0..=512.
    fn code(self) -> u32 {
        match self {
            Expected::Nothing => 0,
            Expected::Byte(byte, ended) => 1 + 2 * byte as u32 + ended as u32,
        }
    }

    /// Returns a class in 0..=2.
    fn class(self) -> usize {
        match self {
            Expected::Nothing => 0,
            Expected::Byte(_, ended) => 1 + ended as usize,
        }
    }
}

/// Predictor of token boundaries; see the module.
pub struct BoundaryModel {
    /// Counters by hashed context. Unchecked: hash collisions cost compression, never correctness.
    counters: Vec<Counter>,
    used: [usize; N_CONTEXTS],
    isa: Isa,
    mixer: Mixer<2, 2>,
    /// Corrections of the mixed prediction under the token so far, and under the expected byte.
    apms: [Apm; 2],
}

impl BoundaryModel {
    pub fn new(isa: Isa, config: &MixingConfig) -> Self {
        let n_counters = if config.with_lm {
            config.chunk_len().next_power_of_two().clamp(1 << 10, 1 << 20)
        } else {
            1
        };
        let mut initial = vec![ONE];
        initial.extend(CONTEXT_WEIGHTS.repeat(N_CONTEXTS));
        BoundaryModel {
            counters: vec![Counter::new(1 << 15); n_counters as usize],
            used: [0; N_CONTEXTS],
            isa,
            mixer: Mixer::new(&initial, [16, 8 * 3], 1, RATES),
            apms: [Apm::new(1024), Apm::new(1024)],
        }
    }

    /// Returns P(the token ends), of 65536, where the language model says `lm` and a match expects
    /// the byte at a position.
    pub fn predict(
        &mut self,
        lane: &LaneContext,
        expected: Option<(u8, u32)>,
        history: &History,
        lm: u16,
    ) -> u16 {
        let expected = match expected {
            None => Expected::Nothing,
            Some((byte, at)) => Expected::Byte(byte, history.boundary_before(at)),
        };
        self.isa.run_integers(PredictBoundary { model: self, lane, expected, lm: stretch(lm) })
    }

    /// Updates the model with whether the token ended.
    pub fn update(&mut self, end: bool) {
        self.isa.run_integers(UpdateBoundary { model: self, end });
    }

    #[inline(always)]
    fn add_contexts(&mut self, lane: &LaneContext, expected: Expected) {
        let last4 = lane.last as u32;
        let contexts = [
            [lane.token, 0],
            [lane.token, lane.previous_token],
            [lane.token, expected.code()],
            [last4, 0],
            [last4, (lane.last >> 32) as u32 & 0xFFFF],
        ];
        for (i, context) in contexts.into_iter().enumerate() {
            let hash = context.into_iter().fold(i as u32 + 1, mix);
            self.used[i] = hash as usize & (self.counters.len() - 1);
            let counter = self.counters[self.used[i]];
            let known = counter.count() > 0;
            let inputs = [counter.stretch(), (counter.p() as i32 - (1 << 15)) >> 6];
            let inputs = if known { inputs } else { [0, 0] };
            self.mixer.inputs()[1 + 2 * i..][..2].copy_from_slice(&inputs);
        }
    }
}

struct PredictBoundary<'a> {
    model: &'a mut BoundaryModel,
    lane: &'a LaneContext,
    expected: Expected,
    lm: i32,
}

impl IntegerKernel for PredictBoundary<'_> {
    type Output = u16;

    #[inline(always)]
    fn run<I: Integers>(self, ints: I) -> u16 {
        let PredictBoundary { model, lane, expected, lm } = self;
        model.mixer.inputs()[0] = lm;
        model.add_contexts(lane, expected);
        let certainty = (lm.abs() / 192).min(7) as usize;
        let rows = [lane.token_len.min(15) as usize, certainty * 3 + expected.class()];
        let x = model.mixer.predict(ints, rows, 0);
        let corrected = model.apms[0].refine(x, lane.token) as u32
            + model.apms[1].refine(x, expected.code()) as u32;
        ((2 * squash(x) as u32 + corrected + 2) / 4).clamp(1, 65535) as u16
    }
}

struct UpdateBoundary<'a> {
    model: &'a mut BoundaryModel,
    end: bool,
}

impl IntegerKernel for UpdateBoundary<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Integers>(self, _: I) {
        let UpdateBoundary { model, end } = self;
        for &i in &model.used {
            model.counters[i].update(end, LIMIT);
        }
        model.mixer.update(end);
        model.apms.iter_mut().for_each(|apm| apm.update(end));
    }
}
