//! What a session that learns keeps of the rows since the last step: inputs of layers, by lane.

use crate::models::Row;

/// Rows of some lanes that a prediction was made after, since the last step of learning.
///
/// Invariant: a tensor has a place for each of `interval` rows of each lane, of which the first `kept`
/// of the lane are filled, in the order of their positions.
#[derive(Default)]
pub struct Recording {
    /// Most rows of a lane; 0: nothing is kept.
    interval: usize,
    /// By lane: rows kept.
    kept: Vec<usize>,
    /// By lane: rows of which the outputs are kept.
    kept_outputs: Vec<usize>,
    /// Inputs of the head: `[lanes][interval][C]`.
    normed: Vec<f32>,
    /// exp(logit - the greatest logit), from which counts are made: `[lanes][interval][V]`.
    outputs: Vec<f32>,
}

impl Recording {
    /// Creates a recording of up to `interval` rows of each lane.
    pub fn new(lanes: usize, interval: usize) -> Self {
        let (kept, kept_outputs) = (vec![0; lanes], vec![0; lanes]);
        Self { interval, kept, kept_outputs, ..Self::default() }
    }

    /// Keeps inputs of the head. x: `[rows][C]`
    pub fn keep_normed(&mut self, rows: &[Row], x: &[f32]) {
        keep(&mut self.normed, self.interval, &mut self.kept, rows, x);
    }

    /// Keeps what [`cumulative_counts`](crate::predict::cdf::cumulative_counts) leaves of logits.
    /// x: `[rows][V]`
    pub fn keep_outputs(&mut self, rows: &[Row], x: &[f32]) {
        keep(&mut self.outputs, self.interval, &mut self.kept_outputs, rows, x);
    }

    /// Closes the gaps after lanes that ended, so that rows stand one after the other, lane by lane.
    pub fn close(&mut self) {
        debug_assert_eq!(self.kept, self.kept_outputs);
        for tensor in [&mut self.normed, &mut self.outputs] {
            close(tensor, self.interval, &self.kept);
        }
    }

    /// Returns the rows kept of each lane.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// Returns the inputs of the head, once closed: `[rows][C]`.
    pub fn normed(&self) -> &[f32] {
        &self.normed
    }

    /// Returns the outputs, once closed: `[rows][V]`.
    pub fn outputs(&self) -> &[f32] {
        &self.outputs
    }

    /// Returns the outputs, once closed: `[rows][V]`.
    pub fn outputs_mut(&mut self) -> &mut [f32] {
        &mut self.outputs
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.kept.fill(0);
        self.kept_outputs.fill(0);
    }
}

/// Copies rows to their lanes' next places.
fn keep(to: &mut Vec<f32>, interval: usize, kept: &mut [usize], rows: &[Row], x: &[f32]) {
    if interval == 0 || rows.is_empty() {
        return;
    }
    let width = x.len() / rows.len();
    to.resize(kept.len() * interval * width, 0.0);
    for (row, x) in rows.iter().zip(x.chunks_exact(width)) {
        let lane = row.lane as usize;
        let slot = lane * interval + kept[lane];
        to[slot * width..][..width].copy_from_slice(x);
        kept[lane] += 1;
    }
}

/// Moves the filled rows together.
fn close(x: &mut Vec<f32>, interval: usize, kept: &[usize]) {
    let width = x.len() / (interval * kept.len()).max(1);
    let mut end = 0;
    for (lane, &kept) in kept.iter().enumerate() {
        let from = lane * interval * width;
        x.copy_within(from..from + kept * width, end);
        end += kept * width;
    }
    x.truncate(end);
}
