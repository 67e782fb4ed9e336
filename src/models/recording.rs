//! Results of layers that a session which learns keeps of the rows since the last step, by lane.

use super::Row;

/// A result of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The layer's input: `[rows][C]`.
    X,
    /// Its norm. From here on transformers' own.
    Normed,
    /// Queries, keys and values before their norms and rotation: `[rows][qkv]`.
    Raw,
    /// The same after them.
    Qkv,
    /// Queries before they rotate, where there are steering vectors: `[rows][heads * D]`.
    Unrotated,
    /// The heads' outputs: `[rows][heads * D]`.
    Attended,
    /// The residual stream after attention: `[rows][C]`.
    Middle,
    /// The input of the feed-forward layer: `[rows][C]`.
    MlpNormed,
    /// Its gate before the activation, or what is activated where there is none: `[rows][F]`.
    Gate,
    /// Values that the gate multiplies: `[rows][F]`.
    Up,
    /// The input of its last linear layer: `[rows][F]`.
    Activated,
    /// The layer's last outputs: `[rows][H]`. From here on recurrent networks' own.
    Last,
    /// Values of the gates: `[rows][G]`.
    Gates,
    /// Inputs of a GRU's gate *new* from the last outputs: `[rows][H]`.
    NewY,
    /// Cells of an LSTM before the step: `[rows][H]`.
    LastC,
    /// The same after it.
    C,
}

/// Stages of a layer.
const STAGES: usize = Stage::C as usize + 1;

/// Rows of some lanes that a prediction was made after, since the last step of learning.
///
/// Invariant: a tensor has a place for each of `interval` rows of each lane, of which the first `kept`
/// of the lane are filled, in the order of their positions; once closed, none but these.
#[derive(Default)]
pub struct Recording {
    /// Most rows of a lane; 0: nothing is kept.
    interval: usize,
    /// By lane: rows kept, those of which the outputs are kept, and the position after the last.
    kept: Vec<usize>,
    kept_outputs: Vec<usize>,
    ends: Vec<u32>,
    /// Places of the rows of the call.
    places: Vec<usize>,
    /// By layer that learns; `layer` is the one that is computed.
    layers: Vec<[Vec<f32>; STAGES]>,
    layer: usize,
    /// Inputs of the last norm, where layers learn, and of the head: `[rows][C]`.
    x: Vec<f32>,
    normed: Vec<f32>,
    /// exp(logit - the greatest logit), from which counts are made: `[rows][V]`.
    outputs: Vec<f32>,
}

impl Recording {
    /// Creates a recording of up to `interval` rows of each lane, and of `layers` layers.
    pub fn new(lanes: usize, interval: usize, layers: usize) -> Self {
        Self {
            interval,
            kept: vec![0; lanes],
            kept_outputs: vec![0; lanes],
            ends: vec![0; lanes],
            layers: (0..layers).map(|_| Default::default()).collect(),
            ..Self::default()
        }
    }

    /// Makes places for `rows`, the only ones whose results are kept from here on.
    pub fn begin(&mut self, rows: &[Row]) {
        self.places.clear();
        if self.interval == 0 {
            return;
        }
        for row in rows {
            let lane = row.lane as usize;
            self.places.push(lane * self.interval + self.kept[lane]);
            self.kept[lane] += 1;
            self.ends[lane] = row.position + 1;
        }
    }

    /// Returns whether results of layers are kept of this call's rows.
    pub fn keeps_layers(&self) -> bool {
        !self.places.is_empty() && !self.layers.is_empty()
    }

    /// Begins with that layer.
    pub fn enter(&mut self, layer: usize) {
        self.layer = layer;
    }

    /// Keeps a result of the layer.
    pub fn keep(&mut self, stage: Stage, x: &[f32]) {
        let rooms = self.kept.len() * self.interval;
        if let Some(stages) = self.layers.get_mut(self.layer) {
            keep(&mut stages[stage as usize], rooms, &self.places, x);
        }
    }

    /// Keeps input and output of the last norm.
    pub fn keep_last(&mut self, x: &[f32], normed: &[f32]) {
        let rooms = self.kept.len() * self.interval;
        keep(&mut self.normed, rooms, &self.places, normed);
        if !self.layers.is_empty() {
            keep(&mut self.x, rooms, &self.places, x);
        }
    }

    /// Keeps what `predict::cdf::cumulative_counts` leaves of logits. x: `[rows][V]`
    pub fn keep_outputs(&mut self, rows: &[Row], x: &[f32]) {
        self.places.clear();
        for row in rows {
            let lane = row.lane as usize;
            self.places.push(lane * self.interval + self.kept_outputs[lane]);
            self.kept_outputs[lane] += 1;
        }
        keep(&mut self.outputs, self.kept.len() * self.interval, &self.places, x);
    }

    /// Closes the gaps after lanes that ended, so that rows stand one after the other, lane by lane.
    pub fn close(&mut self) {
        debug_assert_eq!(self.kept, self.kept_outputs);
        let tensors = [&mut self.x, &mut self.normed, &mut self.outputs].into_iter();
        for tensor in tensors.chain(self.layers.iter_mut().flatten()) {
            close(tensor, self.interval, &self.kept);
        }
    }

    /// Returns the rows kept of each lane.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// Returns the position after the last row of each lane.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Returns a result of a layer, once closed: `[rows][..]`.
    pub fn of(&self, layer: usize, stage: Stage) -> &[f32] {
        &self.layers[layer][stage as usize]
    }

    /// Returns the inputs of the last norm, once closed: `[rows][C]`.
    pub fn x(&self) -> &[f32] {
        &self.x
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

/// Copies rows to their places, of which there are `rooms`.
fn keep(to: &mut Vec<f32>, rooms: usize, places: &[usize], x: &[f32]) {
    if places.is_empty() {
        return;
    }
    let width = x.len() / places.len();
    to.resize(rooms * width, 0.0);
    for (place, x) in places.iter().zip(x.chunks_exact(width.max(1))) {
        to[place * width..][..width].copy_from_slice(x);
    }
}

/// Moves the filled rows together.
fn close(x: &mut Vec<f32>, interval: usize, kept: &[usize]) {
    let width = x.len() / (interval * kept.len()).max(1);
    let mut end = 0;
    for (lane, &kept) in kept.iter().enumerate() {
        let from = lane * interval * width;
        if from > end {
            x.copy_within(from..from + kept * width, end);
        }
        end += kept * width;
    }
    x.truncate(end);
}
