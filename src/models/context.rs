//! Texts longer than the positions of a network: lanes that start afresh.
//!
//! A network that was trained with a sliding window goes on forever. Any other is only good at the
//! positions that it was trained on: when a lane has used them up, its last inputs are fed again
//! from position 0 on, and it goes on from there (`docs/numerics.md`, section 14).

use super::{LearningSession, Network, Row, Session};
use crate::error::Result;
use std::collections::VecDeque;

/// The context window: when lanes start afresh. Stands in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Positions until a lane starts afresh.
    pub len: u32,
    /// Inputs that are fed again then; at most [`Context::most_overlap`].
    pub overlap: u32,
}

impl Context {
    /// Positions used by default where a network has more: keys and values of many lanes fill
    /// memory.
    pub const DEFAULT_LEN: u32 = 2048;

    /// `len` positions with the default overlap, a quarter of them.
    pub fn new(len: u32) -> Self {
        Self { len, overlap: len / 4 }
    }

    /// The most that `overlap` may be with that `len`: a token costs four rows at most.
    pub fn most_overlap(len: u32) -> u32 {
        (u64::from(len) * 3 / 4) as u32
    }

    /// Where a lane's input `at` stands: how often the lane has started afresh, and the position
    /// since.
    fn place(self, at: u32) -> (u32, u32) {
        match at.checked_sub(self.len) {
            None => (0, at),
            Some(past) => {
                let stride = self.len - self.overlap;
                (1 + past / stride, self.overlap + past % stride)
            }
        }
    }
}

/// Rows that are fed again in one call: bounds the memory of a start.
const ROWS_AGAIN: usize = 256;

/// A session whose lanes start afresh.
pub struct RestartingSession<'a> {
    inner: Box<dyn Session + 'a>,
    outputs: usize,
    context: Context,
    /// By lane: its last inputs, as many as are fed again.
    recent: Vec<VecDeque<u32>>,
    rounds: Vec<Round>,
    /// [rows of a round][outputs]
    logits: Vec<f32>,
    /// [rows of a round][outputs + 1]
    cumulative: Vec<u32>,
}

/// Rows between which no lane starts afresh.
#[derive(Default)]
struct Round {
    again: Vec<Row>,
    rows: Vec<Row>,
    /// The place of each of `rows` in the call.
    places: Vec<usize>,
}

impl<'a> RestartingSession<'a> {
    /// `lanes` empty lanes of `network` that take up to `steps` rows each in one call, and `most`
    /// in all.
    pub fn new(
        network: &'a dyn Network,
        lanes: usize,
        steps: usize,
        most: usize,
        context: Context,
    ) -> Self {
        let inner = network.session(lanes, steps, most.min(context.len as usize));
        Self::of(inner, lanes, network.outputs(), context)
    }

    /// The `lanes` empty lanes of `inner`, which sees at most `context.len` positions.
    pub fn of(
        inner: Box<dyn Session + 'a>,
        lanes: usize,
        outputs: usize,
        context: Context,
    ) -> Self {
        debug_assert!(context.overlap <= Context::most_overlap(context.len));
        Self {
            inner,
            outputs,
            context,
            recent: vec![VecDeque::new(); lanes],
            rounds: Vec::new(),
            logits: Vec::new(),
            cumulative: Vec::new(),
        }
    }

    /// Spreads the rows of a call over rounds; returns how many there are.
    fn arrange(&mut self, rows: &[Row]) -> usize {
        self.rounds.iter_mut().for_each(Round::clear);
        let mut first_starts = vec![None; self.recent.len()];
        let mut n_rounds = 0;
        for (place, row) in rows.iter().enumerate() {
            let (start, position) = self.context.place(row.position);
            let recent = &mut self.recent[row.lane as usize];
            let round = (start - *first_starts[row.lane as usize].get_or_insert(start)) as usize;
            n_rounds = n_rounds.max(round + 1);
            self.rounds.resize_with(self.rounds.len().max(n_rounds), Round::default);
            let round = &mut self.rounds[round];
            if start > 0 && position == self.context.overlap {
                let again = (0..).zip(recent.iter());
                round.again.extend(again.map(|(position, &token)| Row { position, token, ..*row }));
            }
            round.rows.push(Row { position, ..*row });
            round.places.push(place);
            recent.push_back(row.token);
            if recent.len() > self.context.overlap as usize {
                recent.pop_front();
            }
        }
        n_rounds
    }
}

impl Round {
    fn clear(&mut self) {
        self.again.clear();
        self.rows.clear();
        self.places.clear();
    }
}

impl Session for RestartingSession<'_> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        let n_rounds = self.arrange(rows);
        let Self { inner, outputs, rounds, logits: scratch, .. } = self;
        for round in &rounds[..n_rounds] {
            round.again.chunks(ROWS_AGAIN).for_each(|rows| inner.forward(rows, &mut []));
            if n_rounds == 1 || logits.is_empty() {
                inner.forward(&round.rows, logits);
                continue;
            }
            scratch.resize(round.rows.len() * *outputs, 0.0);
            inner.forward(&round.rows, scratch);
            for (&place, from) in round.places.iter().zip(scratch.chunks_exact(*outputs)) {
                logits[place * *outputs..][..*outputs].copy_from_slice(from);
            }
        }
    }

    fn gives_counts(&self) -> bool {
        self.inner.gives_counts()
    }

    fn counts(&mut self, rows: &[Row], asked: &[u64], cumulative: &mut [u32]) -> Result<()> {
        let n_rounds = self.arrange(rows);
        let Self { inner, outputs, rounds, cumulative: scratch, .. } = self;
        let width = *outputs + 1;
        for round in &rounds[..n_rounds] {
            round.again.chunks(ROWS_AGAIN).for_each(|rows| inner.forward(rows, &mut []));
            if n_rounds == 1 {
                return inner.counts(&round.rows, asked, cumulative);
            }
            scratch.resize(round.rows.len() * width, 0);
            inner.counts(&round.rows, &[], scratch)?;
            for (&place, from) in round.places.iter().zip(scratch.chunks_exact(width)) {
                cumulative[place * width..][..width].copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn steer(&mut self, vectors: &[f32]) {
        self.inner.steer(vectors);
    }

    fn learning(&mut self) -> Option<&mut LearningSession> {
        self.inner.learning()
    }

    fn check(&self) -> Result<()> {
        self.inner.check()
    }

    fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        self.inner.copy_lane(from, to, fed);
        self.recent[to] = self.recent[from].clone();
    }
}

#[cfg(test)]
mod tests {
    use super::Context;

    #[test]
    fn lanes_start_afresh_with_what_they_read_last() {
        let context = Context { len: 8, overlap: 2 };
        let places: Vec<_> = [0, 7, 8, 9, 13, 14, 20].map(|at| context.place(at)).into();
        assert_eq!(places, [(0, 0), (0, 7), (1, 2), (1, 3), (1, 7), (2, 2), (3, 2)]);
    }
}
