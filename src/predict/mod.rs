//! From the language model's probabilities to the probabilities that are coded.
mod apm;
mod bit_history;
mod boundary;
mod byte_model;
mod contexts;
mod counters;
mod hash_table;
mod history;
pub mod logistic;
mod match_model;
mod mixer;

use boundary::BoundaryModel;
use byte_model::ByteModel;
use contexts::Lane;
use history::History;

/// What shapes the adaptive model; both sides must use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// 1 (fast) to 3 (strong).
    pub tier: u8,
    /// Greatest size of the table of contexts, log2 of bytes.
    pub table_log2: u32,
    /// Whether a language model's probabilities will be given.
    pub with_lm: bool,
    /// Slices of the chunk coded in lockstep.
    pub n_lanes: u32,
    /// The longest slice, bytes.
    pub lane_len: u32,
}

impl Config {
    /// Bytes of all lanes.
    fn chunk_len(&self) -> u32 {
        self.n_lanes.saturating_mul(self.lane_len).max(1)
    }
}

enum Asked {
    Nothing,
    Bit(usize),
    End(usize),
}

/// All adaptive state of one chunk.
pub struct Mixed {
    history: History,
    lanes: Vec<Lane>,
    bytes: ByteModel,
    boundaries: BoundaryModel,
    asked: Asked,
}

impl Mixed {
    pub fn new(config: &Config) -> Self {
        let history = History::new(config.n_lanes, config.lane_len);
        let lanes = (0..config.n_lanes as usize).map(|lane| Lane::new(history.end(lane))).collect();
        Mixed { history, lanes, bytes: ByteModel::new(config), boundaries: BoundaryModel::new(config), asked: Asked::Nothing }
    }

    pub fn bit(&mut self, lane: usize, lm: Option<u16>) -> u16 {
        self.asked = Asked::Bit(lane);
        self.bytes.predict(lane, &self.lanes[lane], &self.history, lm)
    }

    pub fn end(&mut self, lane: usize, lm: u16) -> u16 {
        self.asked = Asked::End(lane);
        self.boundaries.predict(&self.lanes[lane], self.bytes.expected(lane, &self.history), &self.history, lm)
    }

    pub fn update(&mut self, bit: bool) {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => {}
            Asked::Bit(lane) => {
                self.bytes.update(bit);
                self.advance(lane, bit);
            }
            Asked::End(lane) => {
                self.boundaries.update(bit);
                if bit {
                    self.force_end(lane);
                }
            }
        }
    }

    pub fn force_bit(&mut self, lane: usize, bit: bool) {
        self.bytes.pass(lane, &self.lanes[lane], &self.history, bit);
        self.advance(lane, bit);
    }

    pub fn force_end(&mut self, lane: usize) {
        self.history.mark_boundary(lane);
        self.lanes[lane].close_token();
    }

    fn advance(&mut self, lane: usize, bit: bool) {
        let state = &mut self.lanes[lane];
        state.partial = state.partial << 1 | bit as u32;
        if state.partial >= 256 {
            let byte = state.partial as u8;
            self.history.push(lane, byte);
            state.advance(byte, self.history.end(lane));
            self.bytes.advance(lane, &self.lanes[lane], &self.history);
        }
    }
}
