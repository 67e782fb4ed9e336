//! The adaptive model of bytes, bit by bit.

use super::Config;
use super::apm::Apm;
use super::bit_history::NEXT;
use super::contexts::{Lane, MAX_CONTEXTS, N_ORDERS, mix};
use super::counters::{Counter, HistoryMap};
use super::hash_table::HashTable;
use super::history::History;
use super::logistic::{NAT, squash, stretch};
use super::match_model::{BUCKETS, MatchModel};
use super::mixer::{Mixer, ONE, Rate};

pub fn knob(name: &str, default: i32) -> i32 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

pub struct ByteModel {
    n: usize,
    table: HashTable,
    maps: Vec<HistoryMap>,
    order0: Vec<Counter>,
    after: Vec<u32>,
    matches: [MatchModel; 2],
    mixer: Mixer,
    lm_apms: [Apm; 2],
    apms: [Apm; 3],
    with_lm: bool,
    /// Which byte `hashes` belong to and which half `slots` do.
    loaded: u64,
    hashes: [u32; MAX_CONTEXTS],
    slots: [u32; MAX_CONTEXTS],
    states: [u8; MAX_CONTEXTS],
    expected: [Option<u8>; 2],
    /// Node in the half byte, and partial byte, of the last prediction.
    node: u32,
    partial: usize,
    limit: u32,
    trainf: bool,
}

impl ByteModel {
    pub fn new(config: &Config) -> Self {
        let n = match config.tier { 1 => 7, 2 => 10, _ => MAX_CONTEXTS };
        let len_log2 = 32 - config.n_lanes.saturating_mul(config.lane_len).leading_zeros();
        let mut initial = vec![];
        if config.with_lm {
            initial.extend([knob("WLM", 55) * ONE / 100, knob("WLA", 20) * ONE/100, knob("WLA", 20) * ONE/100]);
        }
        let (ws, wc) = if config.with_lm { (knob("WS", 12), knob("WC", 0)) } else { (knob("NWS", 25), knob("NWC", 0)) };
        let wm = if config.with_lm { knob("WM", 15) } else { knob("NWM", 25) };
        initial.extend([ONE * wm / 100, 0, ONE * wm / 100, 0]);
        initial.extend([0, 0]); // bias, order 0
        for _ in 0..n { initial.extend([ONE * ws / 100, ONE * wc / 100]); }
        let rates = [Rate { first: knob("R1F", 300), last: knob("R1L", 60), half: knob("R1H", 200) }, Rate { first: knob("R2F", 60), last: knob("R2L", 15), half: knob("R2H",200) }];
        let rows = [BUCKETS as usize * 8, 256, 256, 8 * 8 * 4];
        ByteModel {
            n,
            table: HashTable::new((len_log2 + 5 + (n as u32).ilog2()).min(config.table_log2)),
            maps: (0..n).map(|_| HistoryMap::new()).collect(),
            order0: vec![Counter::new(32768); 256],
            after: vec![0; 65536],
            matches: [
                MatchModel::new(knob("ML0", 12) as u32, len_log2.clamp(8, 20), config.n_lanes as usize),
                MatchModel::new(knob("ML1", 5) as u32, len_log2.clamp(8, 20), config.n_lanes as usize),
            ],
            mixer: Mixer::new(&initial, &rows, 256, rates),
            lm_apms: [Apm::new(1024, 6), Apm::new(65536, 6)],
            apms: [Apm::new(256, 6), Apm::new(65536, 6), Apm::new(65536, 6)],
            with_lm: config.with_lm,
            loaded: u64::MAX,
            hashes: [0; MAX_CONTEXTS],
            slots: [0; MAX_CONTEXTS],
            states: [0; MAX_CONTEXTS],
            expected: [None; 2],
            node: 1,
            partial: 1,
            limit: knob("LIMIT", 255) as u32,
            trainf: knob("TRAINF", 1) == 1,
        }
    }

    pub fn expected(&self, lane: usize, history: &History) -> Option<(u8, u32)> {
        self.matches[0].expected(lane, history).or(self.matches[1].expected(lane, history))
    }

    pub fn predict(&mut self, lane: usize, state: &Lane, history: &History, lm: Option<u16>) -> u16 {
        self.load(lane, state, history);
        let c1 = state.last as u8 as usize;
        let partial = state.partial as usize;
        let mut sure = 0;
        if self.with_lm {
            let x = stretch(lm.unwrap_or(32768));
            sure = (x.abs() / 200).min(7) as usize;
            let a = self.lm_apms[0].refine(x, partial | (state.token_len.min(3) as usize) << 8);
            let b = self.lm_apms[1].refine(x, partial | c1 << 8);
            self.mixer.add(x);
            self.mixer.add(stretch(a));
            self.mixer.add(stretch(b));
        }
        for (m, e) in self.matches.iter_mut().zip(self.expected) {
            for x in m.predict(lane, e, state.partial) { self.mixer.add(x); }
        }
        self.mixer.add(NAT);
        self.mixer.add(self.order0[partial].stretch());
        let mut order = 0;
        for i in 0..self.n {
            let s = self.table.history(self.slots[i], self.node);
            self.states[i] = s;
            if s == 0 {
                self.mixer.add(0);
                self.mixer.add(0);
            } else {
                let c = self.maps[i].get(s);
                self.mixer.add(c.stretch());
                self.mixer.add((c.p() as i32 - 32768) >> 6);
                order += (i < N_ORDERS) as usize;
            }
        }
        let m = if self.matches[0].expects() { self.matches[0].bucket(lane) } else if self.matches[1].expects() { self.matches[1].bucket(lane) } else { 0 } as usize;
        let bits = (31 - state.partial.leading_zeros()) as usize;
        let x = self.mixer.predict(&[m * 8 + sure, partial, c1, order * 32 + state.token_len.min(3) as usize * 8 + bits], partial);
        let e = self.expected[0].or(self.expected[1]).map_or(0, |b| b as usize + 1);
        let a = self.apms[0].refine(x, partial) as u32;
        let b = self.apms[1].refine(x, partial | c1 << 8) as u32;
        let c = self.apms[2].refine(x, (mix(state.partial | (e as u32) << 8, state.last as u32 & 0xFFFF) >> 16) as usize) as u32;
        let p = squash(x) as u32;
        ((2 * p + a + b * 2 + c * 3 + 4) / 8).clamp(1, 65535) as u16
    }

    pub fn update(&mut self, bit: bool) {
        for i in 0..self.n {
            let s = self.states[i];
            self.maps[i].update(s, bit, self.limit);
            self.table.set_history(self.slots[i], self.node, NEXT[s as usize][bit as usize]);
        }
        self.order0[self.partial].update(bit, 255);
        for m in &mut self.matches { m.update(bit); }
        self.mixer.update(bit);
        for a in &mut self.apms { a.update(bit); }
        if self.with_lm { for a in &mut self.lm_apms { a.update(bit); } }
    }

    /// A bit that was not coded.
    pub fn pass(&mut self, lane: usize, state: &Lane, history: &History, bit: bool) {
        if !self.trainf { return; }
        self.load(lane, state, history);
        for i in 0..self.n {
            let s = self.table.history(self.slots[i], self.node);
            self.table.set_history(self.slots[i], self.node, NEXT[s as usize][bit as usize]);
        }
    }

    pub fn advance(&mut self, lane: usize, state: &Lane, history: &History) {
        for m in &mut self.matches { m.advance(lane, history); }
        let (c2, c1) = (state.last as usize >> 8 & 255, state.last as u32 & 255);
        self.after[c2] = self.after[c2] << 8 & 0xFFFF | c1;
    }

    /// Looks up the slots of the half byte that `lane` is in.
    fn load(&mut self, lane: usize, state: &Lane, history: &History) {
        self.partial = state.partial as usize;
        let second = state.partial >= 16;
        self.node = if second { state.partial & (0xFF >> (8 - (31 - state.partial.leading_zeros() - 4))) | 1 << (31 - state.partial.leading_zeros() - 4) } else { state.partial };
        let key = (history.end(lane) as u64) << 1 | second as u64;
        if key == self.loaded { return; }
        if key >> 1 != self.loaded >> 1 || self.loaded == u64::MAX {
            self.expected = [0, 1].map(|i| self.matches[i].expected(lane, history).map(|(b, _)| b));
            let len = self.matches[0].bucket(lane).max(self.matches[1].bucket(lane));
            let expected = self.expected[0].or(self.expected[1]).map_or(0, |b| b as u32 + 1 | len.min(15) << 9);
            let after = self.after[state.last as usize & 255];
            self.hashes = state.contexts(lane, history, expected, after);
        }
        self.loaded = key;
        for i in 0..self.n {
            let hash = if second { mix(self.hashes[i], state.partial) } else { self.hashes[i] };
            self.slots[i] = self.table.find(hash);
        }
    }
}
