//! "The token ends here": the decision that only a tokenised text has.

use super::Config;
use super::contexts::{Lane, mix};
use super::counters::Counter;
use super::apm::Apm;
use super::history::History;
use super::logistic::{squash, stretch};
use super::mixer::{Mixer, ONE, Rate};

const N_CONTEXTS: usize = 5;

pub struct BoundaryModel {
    counters: Vec<Counter>,
    mask: u32,
    used: [usize; N_CONTEXTS],
    mixer: Mixer,
    apms: [Apm; 2],
}

impl BoundaryModel {
    pub fn new(config: &Config) -> Self {
        let size_log2 = (32 - config.n_lanes.saturating_mul(config.lane_len).leading_zeros()).clamp(10, 20);
        let mut initial = [ONE * 2 / 10; 1 + 2*N_CONTEXTS];
        initial[0] = ONE;
        for i in 0..N_CONTEXTS { initial[2+2*i]=0; }
        let rates = [Rate { first: 300, last: 40, half: 200 }, Rate { first: 100, last: 20, half: 200 }];
        BoundaryModel {
            counters: vec![Counter::new(32768); 1 << size_log2],
            mask: (1 << size_log2) - 1,
            used: [0; N_CONTEXTS],
            mixer: Mixer::new(&initial, &[16, 32], 1, rates),
            apms: [Apm::new(1024, 6), Apm::new(1024, 6)],
        }
    }

    pub fn predict(&mut self, lane: &Lane, expected: Option<(u8, u32)>, history: &History, lm: u16) -> u16 {
        let lm = stretch(lm);
        let last = lane.last as u32;
        let next = expected.map_or(0, |(byte, at)| 1 + byte as u32 * 2 + history.boundary_before(at) as u32);
        let hashes = [
            mix(lane.token, 11),
            mix(mix(lane.token, lane.previous_tokens[0]), 12),
            mix(mix(lane.token, next), 13),
            mix(last, 14),
            mix(mix(last, (lane.last >> 32) as u32 & 0xFFFF), 15),
        ];
        self.mixer.add(lm);
        for (i, hash) in hashes.into_iter().enumerate() {
            self.used[i] = (hash & self.mask) as usize;
            let counter = self.counters[self.used[i]];
            let known = counter.count() > 0;
            self.mixer.add(if known { counter.stretch() } else { 0 });
            self.mixer.add(if known { (counter.p() as i32 - 32768) >> 6 } else { 0 });
        }
        let known = self.used.iter().filter(|&&i| self.counters[i].count() > 0).count();
        let sure = (lm.abs() / 192).min(7) as usize;
        let matched = match expected { None => 0, Some((_, at)) => 1 + history.boundary_before(at) as usize };
        let x = self.mixer.predict(&[lane.token_len.min(15) as usize, sure * 4 + matched], 0);
        let _ = known;
        let a = self.apms[0].refine(x, (lane.token & 1023) as usize) as u32;
        let b = self.apms[1].refine(x, next as usize) as u32;
        ((2 * squash(x) as u32 + a + b) / 4).clamp(1, 65535) as u16
    }

    pub fn update(&mut self, end: bool) {
        for &i in &self.used {
            self.counters[i].update(end, 255);
        }
        self.mixer.update(end);
        for apm in &mut self.apms {
            apm.update(end);
        }
    }
}
