//! Predictor of token boundaries: the decision "the token ends here".
//!
//! A tokeniser is nearly a function of the text: where it ends a token follows from the bytes
//! around. Contexts of the token so far, the token and bytes before, and the byte that a match
//! expects next, learn it; a mixer weighs them with the language model, which leads at first.

use super::apm::Apm;
use super::config::MixingConfig;
use super::contexts::LaneContext;
use super::counters::Counter;
use super::fields::FieldFinder;
use super::hash::mix;
use super::history::History;
use super::logistic::{squash, stretch};
use super::mixer::{Mixer, ONE, Rate};
use crate::ops::arch::{IntegerKernel, Integers, Isa};

const N_CONTEXTS: usize = 12;

/// Initial weight of the language model's log-odds.
const LM_WEIGHT: i32 = ONE * 70 / 100;

/// Initial weights of a context's log-odds and of its probability about 1/2.
const CONTEXT_WEIGHTS: [i32; 2] = [ONE * 8 / 100, 0];

const RATES: [Rate; 2] =
    [Rate { first: 2000, last: 120, half: 600 }, Rate { first: 200, last: 40, half: 200 }];

/// Length of a token from which longer ones are not told apart, and the number of lengths.
const MAX_LENGTH: u32 = 15;
const LENGTHS: usize = MAX_LENGTH as usize + 1;

/// Number of rows of each set of mixer weights: the token's length; the language model's certainty and what
/// the match says; the last byte; the shape of the last three; how many contexts have seen this place, and the length.
const SELECTOR_ROWS: [usize; 5] = [LENGTHS, 8 * 3, 256, 1 << (3 * 3), (N_CONTEXTS + 1) * 8];

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
    mixer: Mixer<4, 5>,
    /// Number of contexts that have seen this place.
    known: usize,
    /// Corrections of the mixed prediction under the token so far, under the expected byte, and under
    /// the last two bytes and the token's length.
    apms: [Apm; 3],
}

impl BoundaryModel {
    pub fn new(isa: Isa, config: &MixingConfig) -> Self {
        let n_counters = if config.with_lm {
            (2 * config.chunk_len()).next_power_of_two().clamp(1 << 10, 1 << 22)
        } else {
            1
        };
        let mut initial = vec![LM_WEIGHT];
        initial.extend(CONTEXT_WEIGHTS.repeat(N_CONTEXTS));
        BoundaryModel {
            counters: vec![Counter::new(1 << 15); n_counters as usize],
            used: [0; N_CONTEXTS],
            isa,
            mixer: Mixer::new(&initial, SELECTOR_ROWS, LENGTHS, RATES),
            known: 0,
            apms: [Apm::new(4096), Apm::new(1024), Apm::new(1 << 14)],
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
        let [last4, before4] = [lane.last as u32, (lane.last >> 32) as u32];
        let length = lane.token_len.min(MAX_LENGTH);
        let FieldFinder { index, prefix, .. } = lane.fields;
        let contexts = [
            [lane.token, 0],
            [lane.token, lane.previous_token],
            [lane.token, expected.code()],
            [last4, 0],
            [last4, before4 & 0xFFFF],
            [last4 & 0xFFFF, length],
            [last4 & 0xFF_FFFF, length],
            [lane.word, length],
            [lane.shape(5), length],
            [last4, before4],
            [mix(lane.token, lane.previous_token), lane.second_last_token],
            [mix(lane.token, index), prefix],
        ];
        self.known = 0;
        for (i, context) in contexts.into_iter().enumerate() {
            let hash = context.into_iter().fold(i as u32 + 1, mix);
            self.used[i] = hash as usize & (self.counters.len() - 1);
            let counter = self.counters[self.used[i]];
            let known = counter.count() > 0;
            self.known += usize::from(known);
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
        let length = lane.token_len.min(MAX_LENGTH) as usize;
        let rows = [
            length,
            certainty * 3 + expected.class(),
            lane.last as usize & 255,
            lane.shape(3) as usize,
            model.known * 8 + length.min(7),
        ];
        let x = model.mixer.predict(ints, rows, length);
        let corrected = model.apms[0].refine(x, lane.token) as u32
            + model.apms[1].refine(x, expected.code()) as u32
            + model.apms[2].refine(x, mix(length as u32, lane.last as u32 & 0xFFFF)) as u32;
        ((squash(x) as u32 + corrected + 2) / 4).clamp(1, 65535) as u16
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
