//! The adaptive model of bytes: context mixing, bit by bit, in the manner of paq (Mahoney, "Data
//! Compression Explained", section 4.3), with the language model as one more expert.
//!
//! Every context looks up the bit history seen under it; a learned map turns histories into
//! probabilities; match models add what followed the longest repeats; the mixer weighs all of them
//! and the language model; two maps correct its answer.

use super::Config;
use super::apm::{Apm, Referee};
use super::bit_history::NEXT;
use super::contexts::{Lane, MAX_CONTEXTS, N_ORDERS, Surroundings, mix};
use super::counters::{Counter, HistoryMap};
use super::hash_table::{HashTable, Slot};
use super::history::History;
use super::logistic::{NAT, squash, stretch};
use super::match_model::{self, MatchModel};
use super::mixer::{Mixer, Rate};
use super::tiers::Tier;
use crate::ops::arch::Isa;

/// Rows of each set of mixer weights, as [`ByteModel::selectors`] names them.
const SELECTOR_ROWS: [usize; 5] = [match_model::BUCKETS as usize * 8, 256, 8 * 8 * 4, 256, 256];

const RATES: [Rate; 2] =
    [Rate { first: 1500, last: 120, half: 300 }, Rate { first: 150, last: 15, half: 200 }];

/// How many bits a map from histories to probabilities looks back on.
const HISTORY_MAP_LIMIT: u32 = 255;

/// Predicts the bits of bytes; see the module.
pub struct ByteModel {
    n_contexts: usize,
    n_sets: usize,
    with_lm: bool,
    table: HashTable,
    maps: Vec<HistoryMap>,
    /// P(1) by partial byte.
    order0: Vec<Counter>,
    /// By byte: the two bytes that followed it last.
    followers: Vec<u32>,
    matches: Vec<MatchModel>,
    mixer: Mixer,
    /// The language model's probability, corrected under the place in the token, and under the
    /// last byte.
    lm_apms: [Apm; 2],
    /// The mixer's probability, corrected under the last byte, and under the last two and the
    /// expected one.
    apms: [Apm; 2],
    referee: Referee,
    loaded: Loaded,
}

/// What belongs to the half byte being predicted.
struct Loaded {
    /// End of the lane's history, and which half.
    at: Option<(u32, bool)>,
    hashes: [u32; MAX_CONTEXTS],
    slots: [u32; MAX_CONTEXTS],
    /// The slots' contents, on their way from the table and back.
    histories: [Slot; MAX_CONTEXTS],
    states: [u8; MAX_CONTEXTS],
    /// The byte the longest match expects.
    expected: Option<u8>,
    partial: u32,
}

impl Loaded {
    /// Node of the half byte's tree, 1..=15.
    fn node(&self) -> usize {
        let low_bits = self.partial.ilog2() & 3;
        (1 << low_bits | self.partial & ((1 << low_bits) - 1)) as usize & 15
    }
}

impl ByteModel {
    pub fn new(isa: Isa, config: &Config) -> Self {
        let tier = Tier::numbered(config.tier);
        let (n, chunk_len) = (tier.n_contexts, config.chunk_len());
        let positions_log2 = chunk_len.next_power_of_two().ilog2().clamp(8, 20);
        let table_log2 =
            (chunk_len as u64 * n as u64 * 16).next_power_of_two().ilog2().min(config.table_log2);
        let apm = || {
            Apm::new((chunk_len / 2).next_power_of_two().clamp(256, 1 << tier.apm_log2) as usize)
        };
        let matcher = |&min| MatchModel::new(min, positions_log2, config.n_lanes as usize);
        ByteModel {
            n_contexts: n,
            n_sets: tier.n_sets,
            with_lm: config.with_lm,
            table: HashTable::new(table_log2),
            maps: (0..n).map(|_| HistoryMap::new()).collect(),
            order0: vec![Counter::new(32768); 256],
            followers: vec![0; 256],
            matches: tier.match_lengths.iter().map(matcher).collect(),
            mixer: Mixer::new(
                isa,
                &tier.initial_weights(config.with_lm),
                &SELECTOR_ROWS[..tier.n_sets],
                256,
                RATES,
            ),
            lm_apms: [Apm::new(1024), apm()],
            apms: [apm(), apm()],
            referee: Referee::default(),
            loaded: Loaded {
                at: None,
                hashes: [0; MAX_CONTEXTS],
                slots: [0; MAX_CONTEXTS],
                histories: [[0; 16]; MAX_CONTEXTS],
                states: [0; MAX_CONTEXTS],
                expected: None,
                partial: 1,
            },
        }
    }

    /// The byte the longest match of `lane` expects next, and where it was seen.
    pub fn expected(&self, lane: usize, history: &History) -> Option<(u8, u32)> {
        self.matches.iter().find_map(|model| model.expected(lane, history))
    }

    /// P(1), of 65536, of `lane`'s next bit, where the language model says `lm`.
    pub fn predict(
        &mut self,
        lane: usize,
        state: &Lane,
        history: &History,
        lm: Option<u16>,
    ) -> u16 {
        self.load(lane, state, history);
        let lm = stretch(lm.unwrap_or(1 << 15));
        let corrections = self.corrections(state);
        for (apm, context) in self.apms.iter().zip(corrections) {
            apm.prefetch(context);
        }
        let mut at = 0;
        if self.with_lm {
            at += self.add_lm(lm, state);
        }
        at += self.add_matches(at, lane, history);
        self.mixer.inputs()[at] = NAT;
        self.mixer.inputs()[at + 1] = self.order0[state.partial as usize].stretch();
        let n_known_orders = self.add_contexts(at + 2);
        let rows = self.selectors(lane, state, lm, n_known_orders);
        let x = self.mixer.predict(&rows[..self.n_sets], state.partial as usize);
        self.refine(x, corrections)
    }

    /// Learns the bit that was predicted.
    pub fn update(&mut self, bit: bool) {
        for (map, &state) in self.maps.iter_mut().zip(&self.loaded.states) {
            map.update(state, bit, HISTORY_MAP_LIMIT);
        }
        self.order0[self.loaded.partial as usize].update(bit, 255);
        self.matches.iter_mut().for_each(|model| model.update(bit));
        self.mixer.update(bit);
        self.apms.iter_mut().for_each(|apm| apm.update(bit));
        self.referee.update(bit);
        if self.with_lm {
            self.lm_apms.iter_mut().for_each(|apm| apm.update(bit));
        }
        self.record(bit);
    }

    /// Learns a bit that was certain, so neither predicted nor coded: the histories have it,
    /// nothing is corrected by it.
    pub fn pass(&mut self, lane: usize, state: &Lane, history: &History, bit: bool) {
        self.load(lane, state, history);
        let node = self.loaded.node();
        self.loaded.states = self.loaded.histories.map(|histories| histories[node]);
        self.record(bit);
    }

    /// Moves past the byte just added to `history`.
    pub fn advance(&mut self, lane: usize, state: &Lane, history: &History) {
        state.orders().iter().for_each(|&hash| self.table.prefetch(hash));
        self.matches.iter_mut().for_each(|model| model.advance(lane, history));
        let followers = &mut self.followers[(state.last >> 8) as usize & 255];
        *followers = (*followers << 8 | state.last as u32 & 255) & 0xFFFF;
    }

    /// Finds the slots of the half byte that `lane` is in. Those of a second half are asked for a
    /// bit ahead: the two half bytes that differ only in that bit share a cache line.
    fn load(&mut self, lane: usize, state: &Lane, history: &History) {
        let partial = state.partial;
        let at = (history.end(lane), partial >= 16);
        let loaded = &mut self.loaded;
        loaded.partial = partial;
        if loaded.at != Some(at) {
            if partial < 16 {
                self.load_byte(lane, state, history);
            }
            self.loaded.at = Some(at);
            self.find(if partial < 16 { 0 } else { partial & 1 });
        } else if partial.ilog2() == 3 {
            for hash in &mut loaded.hashes[..self.n_contexts] {
                *hash = self.table.near(*hash, partial);
                self.table.prefetch(*hash);
            }
        }
    }

    fn find(&mut self, last_bit: u32) {
        let Loaded { hashes, slots, histories, .. } = &mut self.loaded;
        let hashes = &hashes[..self.n_contexts];
        for ((&hash, slot), histories) in hashes.iter().zip(slots).zip(histories) {
            (*slot, *histories) = self.table.find(hash ^ last_bit);
        }
    }

    fn load_byte(&mut self, lane: usize, state: &Lane, history: &History) {
        let expected = self.expected(lane, history).map(|(byte, _)| byte);
        let length = self.matches.iter().map(|model| model.bucket(lane)).max().unwrap_or(0);
        self.loaded.expected = expected;
        self.loaded.hashes = state.contexts(
            lane,
            history,
            Surroundings {
                expected: expected.map_or(0, |byte| (byte as u32 + 1) | (length << 9)),
                followers: self.followers[state.last as usize & 255],
            },
        );
        self.loaded.hashes[..self.n_contexts].iter().for_each(|&hash| self.table.prefetch(hash));
    }

    /// Sets the first inputs, and returns how many; so do those that follow, from `at` on.
    fn add_lm(&mut self, lm: i32, state: &Lane) -> usize {
        let place = state.partial | state.token_len.min(3) << 8;
        let last = near(state.last as u32 & 255, state.partial);
        let corrected = [self.lm_apms[0].refine(lm, place), self.lm_apms[1].refine(lm, last)];
        let inputs = [lm, stretch(corrected[0]), stretch(corrected[1])];
        self.mixer.inputs()[..3].copy_from_slice(&inputs);
        inputs.len()
    }

    fn add_matches(&mut self, at: usize, lane: usize, history: &History) -> usize {
        let inputs = &mut self.mixer.inputs()[at..];
        for (model, inputs) in self.matches.iter_mut().zip(inputs.chunks_exact_mut(2)) {
            let expected = model.expected(lane, history).map(|(byte, _)| byte);
            inputs.copy_from_slice(&model.predict(lane, expected, self.loaded.partial));
        }
        2 * self.matches.len()
    }

    /// Sets each context's log-odds and, as a second input, its probability about 1/2: what has not
    /// been seen says nothing. Returns how many of the plain orders knew this place.
    fn add_contexts(&mut self, at: usize) -> usize {
        let node = self.loaded.node();
        let inputs = self.mixer.inputs()[at..].chunks_exact_mut(2);
        let Loaded { histories, states, .. } = &mut self.loaded;
        let contexts = self.maps.iter().zip(histories).zip(states);
        let mut n_known_orders = 0;
        for (i, (((map, histories), state), inputs)) in contexts.zip(inputs).enumerate() {
            *state = histories[node];
            let (counter, known) = (map.get(*state), (*state != 0) as i32);
            inputs[0] = known * counter.stretch();
            inputs[1] = known * ((counter.p() as i32 - (1 << 15)) >> 5);
            n_known_orders += if i < N_ORDERS { known as usize } else { 0 };
        }
        n_known_orders
    }

    /// The mixer's rows: match length and the language model's certainty; the partial byte; how
    /// many orders know this place, with the place in the token and the byte; the last byte; the
    /// one before.
    fn selectors(&self, lane: usize, state: &Lane, lm: i32, n_known_orders: usize) -> [usize; 5] {
        let certainty = (lm.abs() / 200).min(7) as usize;
        let length =
            self.matches.iter().find(|model| model.expects()).map_or(0, |model| model.bucket(lane));
        let place = state.token_len.min(3) as usize * 8 + state.partial.ilog2() as usize;
        [
            length as usize * 8 + certainty,
            state.partial as usize,
            n_known_orders * 32 + place,
            state.last as usize & 255,
            (state.last >> 8) as usize & 255,
        ]
    }

    /// The contexts of the maps that correct the mixer's answer.
    fn corrections(&self, state: &Lane) -> [u32; 2] {
        let expected = self.loaded.expected.map_or(0, |byte| byte as u32 + 1);
        [state.last as u32 & 255, state.last as u32 & 0xFFFF | expected << 16]
            .map(|context| near(context, state.partial))
    }

    /// The mixer's answer `x`, averaged with its corrections where these have been worth it.
    fn refine(&mut self, x: i32, [order1, order2]: [u32; 2]) -> u16 {
        let corrected =
            self.apms[0].refine(x, order1) as u32 + self.apms[1].refine(x, order2) as u32;
        let plain = squash(x);
        self.referee.choose(plain, ((2 * plain as u32 + corrected + 2) / 4).clamp(1, 65535) as u16)
    }

    /// Appends `bit` to the histories of the current place; with the last bit of a half byte they
    /// go back to the table.
    fn record(&mut self, bit: bool) {
        let (node, next) = (self.loaded.node(), &*NEXT);
        let Loaded { slots, histories, states, .. } = &mut self.loaded;
        for (histories, &state) in histories.iter_mut().zip(&*states).take(self.n_contexts) {
            histories[node] = next[state as usize][bit as usize];
        }
        if node >= 8 {
            for (&slot, &histories) in slots.iter().zip(&*histories).take(self.n_contexts) {
                self.table.put(slot, histories);
            }
        }
    }
}

/// A context of a correction map: those of one byte lie near each other in memory.
fn near(context: u32, partial: u32) -> u32 {
    mix(0, context).wrapping_add(partial)
}
