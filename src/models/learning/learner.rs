//! The weights that learn, the sessions that code by them, and the steps between.

use super::matrix::{LinearRows, MatrixMoments};
use super::{Learning, Recording};
use crate::models::linear::Linear;
use crate::models::session::TransformerLanes;
use crate::models::transformer::Transformer;
use crate::models::{Row, Session};
use crate::nn::adam::{AdamOptions, AdamStep};
use crate::nn::matrix::transposed;
use crate::ops::{Bf16, Isa, sum16};
use rayon::prelude::*;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

const ADAM: AdamOptions = AdamOptions { betas: (0.9, 0.99), eps: 1e-8 };

/// A network that learns.
pub struct Learner {
    learning: Learning,
    network: SharedNetwork,
    head: MatrixMoments,
    steps: u64,
    /// Whether a gradient was not finite: then nothing more is learned.
    is_frozen: bool,
}

/// The network of a learner and its sessions: no session runs during a step.
#[derive(Clone)]
struct SharedNetwork(Arc<RwLock<Transformer>>);

impl SharedNetwork {
    fn read(&self) -> RwLockReadGuard<'_, Transformer> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learner {
    /// Creates a learner that starts with the weights of `network`.
    pub fn new(network: &Transformer, learning: Learning) -> Self {
        let mut network = network.clone();
        let head = network.head.to_floats();
        let Linear::F32(matrix) = &head else { unreachable!("it is of floats") };
        let moments = MatrixMoments::new(matrix);
        network.head = Arc::new(head);
        let network = SharedNetwork(Arc::new(RwLock::new(network)));
        Self { learning, network, head: moments, steps: 0, is_frozen: false }
    }

    /// Starts lanes, as [`Network::session`](crate::models::Network::session) does.
    pub fn session(&self, lanes: usize, steps: usize, window: usize) -> Box<dyn Session> {
        let network = self.network.clone();
        let interval = self.learning.interval();
        let mut state = TransformerLanes::new(&network.read(), lanes, steps.max(interval), window);
        state.recording = Recording::new(lanes, interval);
        Box::new(LearningSession { network, lanes: state })
    }

    /// Returns how it learns.
    pub fn learning(&self) -> Learning {
        self.learning
    }

    /// Learns from what was recorded since the last step, and forgets it. Recordings are of all lanes in
    /// their order; targets: by lane, what the outputs of its rows should have predicted.
    pub fn step(&mut self, mut recordings: Vec<&mut Recording>, targets: &[&[u32]]) {
        if !self.is_frozen {
            self.learn(&mut recordings, targets);
        }
        recordings.into_iter().for_each(Recording::clear);
    }

    fn learn(&mut self, recordings: &mut [&mut Recording], targets: &[&[u32]]) {
        let isa = self.network.read().isa;
        let mut rest = targets;
        let mut parts = Vec::with_capacity(recordings.len());
        for recording in recordings {
            let (of_part, others) = rest.split_at(recording.kept().len());
            rest = others;
            parts.push((recording, of_part));
        }
        parts.par_iter_mut().for_each(|(recording, targets)| {
            recording.close();
            cost_backward(isa, recording.outputs_mut(), targets);
        });
        let (inputs, outputs) = {
            let network = self.network.read();
            (network.shape().hidden_size, network.head.outputs())
        };
        let normed: Vec<f32> = parts.iter().flat_map(|(part, _)| part.normed()).copied().collect();
        let dy: Vec<&[f32]> =
            parts.iter().flat_map(|(part, _)| part.outputs().chunks_exact(outputs)).collect();
        if dy.is_empty() {
            return;
        }
        let rows = LinearRows { x: &transposed(&normed, inputs), dy: &dy };
        if !self.head.differentiate(isa, inputs, &rows) {
            self.is_frozen = true;
            return;
        }
        self.steps += 1;
        let rate = self.learning.rate as f32 / 1e6;
        let step = AdamStep::new(ADAM, rate, self.steps);
        let mut network = self.network.0.write().unwrap_or_else(PoisonError::into_inner);
        let head = Arc::get_mut(&mut network.head).expect("the learner's own");
        let Linear::F32(matrix) = head else { unreachable!("it is of floats") };
        self.head.step(&step, matrix);
    }
}

/// Computes gradients of logits. x: `[rows][V]`, exp(logit - the greatest), becomes the gradient.
fn cost_backward(isa: Isa, x: &mut [f32], targets: &[&[u32]]) {
    let targets: Vec<u32> = targets.iter().flat_map(|targets| *targets).copied().collect();
    if targets.is_empty() {
        return;
    }
    let v = x.len() / targets.len();
    for (x, &target) in x.chunks_exact_mut(v).zip(&targets) {
        let r = 1.0 / sum16(isa, x);
        x.iter_mut().for_each(|x| *x *= r);
        x[target as usize] -= 1.0;
    }
}

/// Lanes that code by the weights of a learner.
struct LearningSession {
    network: SharedNetwork,
    lanes: TransformerLanes<Bf16>,
}

impl Session for LearningSession {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        self.lanes.forward(&self.network.read(), rows, logits);
    }

    fn steer(&mut self, vectors: &[f32]) {
        self.lanes.steer(&self.network.read(), vectors);
    }

    fn recording(&mut self) -> Option<&mut Recording> {
        Some(&mut self.lanes.recording)
    }

    fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        self.lanes.copy_lane(from, to, fed);
    }
}
