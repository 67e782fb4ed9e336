//! The adaptive model of bytes: context mixing, bit by bit, in the manner of paq (Mahoney, "Data
//! Compression Explained", section 4.3), with the language model as one more expert.
//!
//! Every context looks up the bit history seen under it; a learned map turns histories into
//! probabilities; match models add what followed the longest repeats; the mixer weighs all of them
//! and the language model; two maps correct the result.

use super::apm::{Apm, ApmSelector};
use super::config::MixingConfig;
use super::context_set::ContextSet;
use super::contexts::{LaneContext, Surroundings};
use super::counters::Counter;
use super::fields::FIELDS;
use super::hash::mix;
use super::history::History;
use super::logistic::{NAT, squash, stretch};
use super::match_model::{self, MatchModel};
use super::mixer::{Mixer, ONE, Rate};
use crate::ops::arch::{IntegerKernel, Integers, Isa};

/// Number of rows of each set of mixer weights, as [`MixingModel::selectors`] names them.
const SELECTOR_ROWS: [usize; 8] = [
    match_model::BUCKETS as usize * 8,
    256,
    8 * 8 * 4,
    2 * 256,
    256,
    FIELDS as usize * 8,
    2 << (3 * 3),
    257,
];

/// Learning rates of the sets of weights, for so many contexts, and of the last layer.
const fn rates(contexts: usize) -> [Rate; 2] {
    let half = 40 * contexts as i32;
    [Rate { first: 1500, last: 80, half }, Rate { first: 300, last: 40, half: 200 }]
}

/// Initial weights of the mixer: with a language model, that one leads.
const LM_WEIGHTS: [i32; 3] = [ONE * 35 / 100, ONE * 15 / 100, ONE * 15 / 100];
const MATCH_WEIGHT: [i32; 2] = [ONE * 20 / 100, ONE * 15 / 100];
/// Of all contexts together, without a language model.
const CONTEXT_WEIGHTS: i32 = ONE * 288 / 100;

/// Predictor of the bits of bytes; see the module.
pub trait ByteModel: Send {
    /// Returns P(1), of 65536, of `lane`'s next bit, where the language model says `lm`.
    fn predict(
        &mut self,
        lane: usize,
        state: &LaneContext,
        history: &History,
        lm: Option<u16>,
    ) -> u16;

    /// Updates the model with the bit that was predicted.
    fn update(&mut self, bit: bool);

    /// Records a bit that was certain, so neither predicted nor coded: it enters the histories but
    /// updates no weight.
    fn pass(&mut self, lane: usize, state: &LaneContext, history: &History, bit: bool);

    /// Moves past the byte just added to `history`.
    fn advance(&mut self, lane: usize, state: &LaneContext, history: &History);

    /// Returns the byte that the longest match of `lane` predicts, and its position.
    fn expected(&self, lane: usize, history: &History) -> Option<(u8, u32)>;

    /// Gives every other lane the matches of lane 0.
    fn spread(&mut self);
}

/// Creates the model of `config`, whose tier sets the work per bit.
pub fn byte_model(isa: Isa, config: &MixingConfig) -> Box<dyn ByteModel> {
    match (config.tier, config.with_lm) {
        (..=1, false) => Box::new(MixingModel::<6, 1, 1, 2>::new(isa, config, [6], 11)),
        (2, false) => Box::new(MixingModel::<9, 1, 3, 3>::new(isa, config, [6], 14)),
        (3, false) => Box::new(MixingModel::<14, 2, 5, 5>::new(isa, config, [12, 5], 16)),
        _ => Box::new(MixingModel::<18, 2, 8, 6>::new(isa, config, [12, 5], 16)),
    }
}

/// Mixing of the first `CONTEXTS` contexts of [`LaneContext::contexts`] and `MATCHES` match models
/// by the first `SETS` sets of weights of `BLOCKS` blocks.
struct MixingModel<
    const CONTEXTS: usize,
    const MATCHES: usize,
    const SETS: usize,
    const BLOCKS: usize,
> {
    isa: Isa,
    with_lm: bool,
    contexts: ContextSet<CONTEXTS>,
    /// P(1) by partial byte.
    order0: [Counter; 256],
    /// Last two bytes that followed each byte.
    followers: [u32; 256],
    matches: [MatchModel; MATCHES],
    mixer: Mixer<BLOCKS, SETS>,
    /// The language model's probability, corrected under the place in the token, and under the
    /// last byte.
    lm_apms: [Apm; 2],
    /// The mixer's probability, corrected under the last byte, and under the last two and the
    /// expected one.
    apms: [Apm; 2],
    selector: ApmSelector,
    /// The half byte whose contexts are loaded: the end of its lane's history, and which half.
    at: Option<(u32, bool)>,
    partial: u32,
    /// The byte the longest match expects, plus 1; or 0.
    expected: u32,
}

impl<const CONTEXTS: usize, const MATCHES: usize, const SETS: usize, const BLOCKS: usize>
    MixingModel<CONTEXTS, MATCHES, SETS, BLOCKS>
{
    /// Creates an empty model. `match_lengths`: the shortest match of each match model. `apm_log2`:
    /// the greatest size of a map of corrections, log2 of contexts.
    fn new(isa: Isa, config: &MixingConfig, match_lengths: [u32; MATCHES], apm_log2: u32) -> Self {
        let chunk_len = config.chunk_len();
        let positions_log2 = chunk_len.next_power_of_two().ilog2().clamp(8, 20);
        debug_assert_eq!(config.n_contexts(), CONTEXTS);
        let n_corrections = (chunk_len / 2).next_power_of_two().clamp(256, 1 << apm_log2) as usize;
        let matcher = |min| MatchModel::new(min, positions_log2, config.n_lanes as usize);
        let [lm_apm, first, second] = std::array::from_fn(|_| Apm::new(n_corrections));
        let n_rows = std::array::from_fn(|i| SELECTOR_ROWS[i]);
        MixingModel {
            isa,
            with_lm: config.with_lm,
            contexts: ContextSet::new(config.table_log2_for(CONTEXTS)),
            order0: [Counter::new(32768); 256],
            followers: [0; 256],
            matches: match_lengths.map(matcher),
            mixer: Mixer::new(&Self::initial_weights(config.with_lm), n_rows, 256, rates(CONTEXTS)),
            lm_apms: [Apm::new(1024), lm_apm],
            apms: [first, second],
            selector: ApmSelector::default(),
            at: None,
            partial: 1,
            expected: 0,
        }
    }

    /// Returns the initial weights of the inputs, in the order in which [`mix`](Self::mix) sets
    /// them.
    fn initial_weights(with_lm: bool) -> Vec<i32> {
        let context_weight = match with_lm {
            true => ONE * 7 / 100,
            false => (CONTEXT_WEIGHTS / CONTEXTS as i32).min(ONE / 4),
        };
        let mut weights = vec![0; 2]; // a constant, order 0
        weights.extend([MATCH_WEIGHT[with_lm as usize], 0].repeat(MATCHES));
        weights.extend([context_weight; CONTEXTS]);
        weights.extend([0; CONTEXTS]);
        weights.extend(if with_lm { &LM_WEIGHTS[..] } else { &[] });
        weights
    }

    /// Finds the slots of the half byte that `lane` is in, and goes to its next bit.
    #[inline(always)]
    fn load(&mut self, lane: usize, state: &LaneContext, history: &History) {
        let partial = state.partial;
        let at = Some((history.end(lane), partial >= 16));
        if self.at != at {
            self.at = at;
            if partial < 16 {
                self.begin_byte(lane, state, history);
            } else {
                self.contexts.begin_second_half(partial);
            }
        } else if partial.ilog2() == 3 {
            self.contexts.prepare_second_half(partial);
        }
        self.partial = partial;
        self.contexts.seek(partial);
    }

    fn begin_byte(&mut self, lane: usize, state: &LaneContext, history: &History) {
        self.matches.iter_mut().for_each(|model| model.begin_byte(lane, history));
        self.expected = self.expected(lane, history).map_or(0, |(byte, _)| byte as u32 + 1);
        let length = self.matches.iter().map(|model| model.bucket(lane)).max().unwrap_or(0);
        let surroundings = Surroundings {
            expected: if self.expected > 0 { self.expected | length << 9 } else { 0 },
            followers: self.followers[state.last as usize & 255],
        };
        // The same group of the table, so that what was prefetched serves, and another check.
        let begins = u32::from(self.begins_token(state)) << 7;
        self.contexts.begin_byte(state.contexts(lane, history, surroundings).map(|h| h ^ begins));
    }

    /// Returns whether a token begins with the byte: what ended before it says much of it.
    #[inline(always)]
    fn begins_token(&self, state: &LaneContext) -> bool {
        self.with_lm && state.token_len == 0
    }

    /// Returns the log-odds of the next bit, mixed from all predictions.
    #[inline(always)]
    fn mix(&mut self, ints: impl Integers, lane: usize, state: &LaneContext, lm: i32) -> i32 {
        let inputs = self.mixer.inputs();
        inputs[0] = NAT;
        inputs[1] = self.order0[state.partial as usize & 255].stretch();
        for (i, model) in self.matches.iter_mut().enumerate() {
            inputs[2 + 2 * i..][..2].copy_from_slice(&model.predict(lane, state.partial));
        }
        let by_context = 2 + 2 * MATCHES;
        let predictions = self.contexts.predict();
        inputs[by_context..][..2 * CONTEXTS].copy_from_slice(predictions.as_flattened());
        if self.with_lm {
            let place = state.partial | state.token_len.min(3) << 8;
            let last = near(state.last as u32 & 255, state.partial);
            let corrected = [self.lm_apms[0].refine(lm, place), self.lm_apms[1].refine(lm, last)];
            let said = [lm, stretch(corrected[0]), stretch(corrected[1])];
            inputs[by_context + 2 * CONTEXTS..][..3].copy_from_slice(&said);
        }
        let rows = self.selectors(lane, state, lm);
        self.mixer.predict(ints, std::array::from_fn(|i| rows[i]), state.partial as usize & 255)
    }

    /// Returns the mixer's rows: match length and the language model's certainty; the partial byte;
    /// how many orders know this place, with the place in the token and the byte; the last byte, and
    /// whether a token begins; the one before; the field and the place in the byte; the shape of the
    /// last three bytes, and whether a token begins; the byte that a match expects.
    #[inline(always)]
    fn selectors(&self, lane: usize, state: &LaneContext, lm: i32) -> [usize; 8] {
        let certainty = (lm.abs() / 200).min(7) as usize;
        let length =
            self.matches.iter().find(|model| model.expects()).map_or(0, |model| model.bucket(lane));
        let place = state.token_len.min(3) as usize * 8 + state.partial.ilog2() as usize;
        let begins = usize::from(self.begins_token(state));
        [
            length as usize * 8 + certainty,
            state.partial as usize,
            self.contexts.known_orders() * 32 + place,
            begins << 8 | state.last as usize & 255,
            (state.last >> 8) as usize & 255,
            state.fields.index as usize * 8 + state.partial.ilog2() as usize,
            begins << 9 | state.shape(3) as usize,
            self.expected as usize,
        ]
    }

    /// Returns the contexts of the correction maps, for the bit after those in
    /// `partial`.
    #[inline(always)]
    fn corrections(&self, state: &LaneContext, partial: u32) -> [u32; 2] {
        [state.last as u32 & 255, state.last as u32 & 0xFFFF | self.expected << 16]
            .map(|context| near(context, partial))
    }

    /// Prefetches the corrections of the bit after this one: they lie far apart.
    #[inline(always)]
    fn prefetch_corrections(&self, state: &LaneContext) {
        let next = 2 * state.partial;
        for (apm, context) in self.apms.iter().zip(self.corrections(state, next)) {
            apm.prefetch(context);
        }
        if self.with_lm {
            self.lm_apms[1].prefetch(near(state.last as u32 & 255, next));
        }
    }

    /// Returns the mixed prediction `x`, averaged with its corrections where these have paid off.
    #[inline(always)]
    fn refine(&mut self, x: i32, [order1, order2]: [u32; 2]) -> u16 {
        let corrected =
            self.apms[0].refine(x, order1) as u32 + self.apms[1].refine(x, order2) as u32;
        let plain = squash(x);
        self.selector.choose(plain, ((2 * plain as u32 + corrected + 2) / 4).clamp(1, 65535) as u16)
    }
}

impl<const CONTEXTS: usize, const MATCHES: usize, const SETS: usize, const BLOCKS: usize> ByteModel
    for MixingModel<CONTEXTS, MATCHES, SETS, BLOCKS>
{
    fn predict(
        &mut self,
        lane: usize,
        state: &LaneContext,
        history: &History,
        lm: Option<u16>,
    ) -> u16 {
        let lm = stretch(lm.unwrap_or(1 << 15));
        self.isa.run_integers(PredictBit { model: self, lane, state, history, lm })
    }

    fn update(&mut self, bit: bool) {
        self.isa.run_integers(UpdateBit { model: self, bit });
    }

    fn pass(&mut self, lane: usize, state: &LaneContext, history: &History, bit: bool) {
        self.load(lane, state, history);
        self.contexts.record(bit);
    }

    fn advance(&mut self, lane: usize, state: &LaneContext, history: &History) {
        self.contexts.prefetch(&state.orders());
        self.matches.iter_mut().for_each(|model| model.advance(lane, history));
        let followers = &mut self.followers[(state.last >> 8) as usize & 255];
        *followers = (*followers << 8 | state.last as u32 & 255) & 0xFFFF;
    }

    fn expected(&self, lane: usize, history: &History) -> Option<(u8, u32)> {
        self.matches.iter().find_map(|model| model.expected(lane, history))
    }

    fn spread(&mut self) {
        self.matches.iter_mut().for_each(MatchModel::spread);
    }
}

struct PredictBit<'a, M> {
    model: &'a mut M,
    lane: usize,
    state: &'a LaneContext,
    history: &'a History,
    lm: i32,
}

impl<const CONTEXTS: usize, const MATCHES: usize, const SETS: usize, const BLOCKS: usize>
    IntegerKernel for PredictBit<'_, MixingModel<CONTEXTS, MATCHES, SETS, BLOCKS>>
{
    type Output = u16;

    #[inline(always)]
    fn run<I: Integers>(self, ints: I) -> u16 {
        let PredictBit { model, lane, state, history, lm } = self;
        model.load(lane, state, history);
        let x = model.mix(ints, lane, state, lm);
        model.prefetch_corrections(state);
        model.refine(x, model.corrections(state, state.partial))
    }
}

struct UpdateBit<'a, M> {
    model: &'a mut M,
    bit: bool,
}

impl<const CONTEXTS: usize, const MATCHES: usize, const SETS: usize, const BLOCKS: usize>
    IntegerKernel for UpdateBit<'_, MixingModel<CONTEXTS, MATCHES, SETS, BLOCKS>>
{
    type Output = ();

    #[inline(always)]
    fn run<I: Integers>(self, _: I) {
        let UpdateBit { model, bit } = self;
        model.contexts.update(bit);
        model.order0[model.partial as usize & 255].update(bit, 255);
        model.matches.iter_mut().for_each(|matches| matches.update(bit));
        model.mixer.update(bit);
        model.apms.iter_mut().for_each(|apm| apm.update(bit));
        model.selector.update(bit);
        if model.with_lm {
            model.lm_apms.iter_mut().for_each(|apm| apm.update(bit));
        }
        model.contexts.record(bit);
    }
}

/// Returns the context of a correction map; those of one byte are close to each other in memory.
fn near(context: u32, partial: u32) -> u32 {
    mix(0, context).wrapping_add(partial)
}
