//! The weights that learn, the sessions that code by them, and the steps between.

use super::gradients::{LayerGradients, LinearInput};
use super::matrix::{MatrixMoments, Step};
use super::network::{LearningLanes, LearningNetwork};
use super::{Learning, LearningKind};
use crate::models::recording::Recording;
use crate::models::{Network, Row, Session};
use crate::nn::matrix::transposed;
use crate::ops::{Isa, PackedMatrix, sum16};
use rayon::prelude::*;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A network that learns.
pub struct Learner {
    learning: Learning,
    network: SharedNetwork,
    /// Matrices that learn: layer by layer, the head last.
    matrices: Vec<LearningMatrix>,
    /// The same matrices for the backward pass, where layers learn.
    transposed: Vec<PackedMatrix>,
    /// Decay of the second moment to the power of the steps so far.
    decayed: f32,
    /// Whether a gradient was not finite: then nothing more is learned.
    is_frozen: bool,
}

/// A matrix that learns, beside its weights.
struct LearningMatrix {
    input: LinearInput,
    moments: MatrixMoments,
}

/// Rows that a session recorded, and their gradients.
struct Lesson<'a> {
    recording: &'a Recording,
    /// Of matrices of layers; the head's are in the recording.
    gradients: LayerGradients,
}

impl Lesson<'_> {
    /// Returns the gradients of the outputs of the matrix `index`, row by row.
    fn rows(&self, index: usize) -> impl Iterator<Item = &[f32]> {
        let rows: usize = self.recording.kept().iter().sum();
        let all =
            self.gradients.outputs.get(index).map_or(self.recording.outputs(), |all| &all[..]);
        all.chunks_exact((all.len() / rows.max(1)).max(1))
    }
}

/// The network of a learner and its sessions: no session runs during a step.
#[derive(Clone)]
struct SharedNetwork(Arc<RwLock<LearningNetwork>>);

impl SharedNetwork {
    fn read(&self) -> RwLockReadGuard<'_, LearningNetwork> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, LearningNetwork> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learner {
    /// Creates a learner that starts with the weights of `network`.
    pub fn new(network: &dyn Network, learning: Learning) -> Self {
        let mut network = LearningNetwork::new(network, learning.kind);
        let inputs = network.inputs(learning.kind);
        let transposed = network.transposed(learning.kind);
        let weights = network.matrices_mut(learning.kind);
        let matrix = |(input, weights): (LinearInput, &mut PackedMatrix)| LearningMatrix {
            input,
            moments: MatrixMoments::new(weights),
        };
        Self {
            learning,
            matrices: inputs.into_iter().zip(weights).map(matrix).collect(),
            network: SharedNetwork(Arc::new(RwLock::new(network))),
            transposed,
            decayed: 1.0,
            is_frozen: false,
        }
    }

    /// Returns the bytes that a learner takes with its sessions of `lanes` lanes in all, beside what those of
    /// `network` take; about.
    pub fn footprint(network: &dyn Network, learning: Learning, lanes: usize) -> u64 {
        let (matrices, row) = LearningNetwork::sizes(network, learning.kind);
        // Weights, their second moments and gradients, and where layers learn transposes.
        let copies = match learning.kind {
            LearningKind::Head => 3,
            LearningKind::Adapter | LearningKind::All => 4,
        };
        let rows = lanes * learning.interval(lanes);
        4 * (copies * matrices + rows as u64 * row)
    }

    /// Starts lanes that take up to `steps` rows in one call and `interval` between steps of learning,
    /// as [`Network::session`](crate::models::Network::session) does.
    pub fn session(
        &self,
        lanes: usize,
        steps: usize,
        interval: usize,
        window: usize,
    ) -> LearningSession {
        let network = self.network.clone();
        let layers = if self.transposed.is_empty() { 0 } else { network.read().layers() };
        let mut state = network.read().lanes(lanes, steps.max(interval), window);
        *state.recording() = Recording::new(lanes, interval, layers);
        LearningSession { network, lanes: state }
    }

    /// Learns from what was recorded since the last step, and forgets it. Sessions have all lanes in their
    /// order; targets: by lane, the ranks of the tokens that came after its rows.
    pub fn step(&mut self, mut sessions: Vec<&mut LearningSession>, targets: &[&[u32]]) {
        if !self.is_frozen {
            self.learn(&mut sessions, targets);
        }
        sessions.into_iter().for_each(|session| session.lanes.recording().clear());
    }

    /// Returns the gradients that the last step saw, matrix by matrix: `[N][K]`.
    pub fn gradients(&self) -> Vec<Vec<f32>> {
        self.matrices.iter().map(|matrix| matrix.moments.gradient()).collect()
    }

    fn learn(&mut self, sessions: &mut [&mut LearningSession], targets: &[&[u32]]) {
        let isa = self.network.read().isa();
        let lessons = self.lessons(sessions, targets);
        let matrices = self.matrices.par_iter_mut().enumerate();
        let is_finite = matrices
            .map(|(index, matrix)| matrix.differentiate(isa, index, &lessons))
            .reduce(|| true, |a, b| a & b);
        drop(lessons);
        if !is_finite {
            self.is_frozen = true;
            return;
        }
        let rate = self.learning.rate as f32 / 1e6;
        let step = Step::next(rate, &mut self.decayed);
        let mut network = self.network.write();
        let weights = network.matrices_mut(self.learning.kind);
        let steps = self.matrices.par_iter_mut().zip(weights);
        let steps = steps.map(|(matrix, weights)| {
            matrix.moments.step(&step, weights);
            &*weights
        });
        // Of what does not learn the transposes stay: all that come before.
        let weights: Vec<&PackedMatrix> = steps.collect();
        let moved = match self.learning.kind {
            LearningKind::Head => 0,
            LearningKind::Adapter => 1,
            LearningKind::All => weights.len(),
        };
        let transposed = self.transposed.par_iter_mut().rev().take(moved);
        let weights = weights.into_par_iter().rev().take(moved);
        weights.zip(transposed).for_each(|(weights, to)| *to = weights.transposed());
    }

    /// Computes the backward passes over all sessions.
    fn lessons<'s>(
        &self,
        sessions: &'s mut [&mut LearningSession],
        targets: &[&[u32]],
    ) -> Vec<Lesson<'s>> {
        let (network, mut rest) = (&*self.network.read(), targets);
        let mut parts = Vec::with_capacity(sessions.len());
        for session in sessions {
            let (of_part, others) = rest.split_at(session.lanes.recording().kept().len());
            rest = others;
            parts.push((&mut session.lanes, of_part));
        }
        let lesson = |(lanes, targets): (&'s mut LearningLanes, &[&[u32]])| {
            lanes.recording().close();
            cost_backward(network.isa(), lanes.recording().outputs_mut(), targets);
            let gradients = match self.transposed.is_empty() {
                true => LayerGradients::default(),
                false => network.backward(&self.transposed, lanes),
            };
            Lesson { recording: lanes.recording(), gradients }
        };
        parts.into_par_iter().map(lesson).collect()
    }
}

impl LearningMatrix {
    /// Computes the gradient of the matrix `index`; returns whether it is finite.
    fn differentiate(&mut self, isa: Isa, index: usize, lessons: &[Lesson<'_>]) -> bool {
        let of = lessons.iter().map(|lesson| self.input.of(lesson.recording, &lesson.gradients));
        let parts: Vec<&[f32]> = of.collect();
        let x = transposed(&parts.concat(), self.moments.inputs());
        let dy: Vec<&[f32]> = lessons.iter().flat_map(|lesson| lesson.rows(index)).collect();
        self.moments.differentiate(isa, &x, &dy)
    }
}

/// Replaces exp(logit - the greatest) by gradients of logits. x: `[R][V]`; targets: by lane.
fn cost_backward(isa: Isa, x: &mut [f32], targets: &[&[u32]]) {
    let rows: usize = targets.iter().map(|targets| targets.len()).sum();
    let v = x.len() / rows.max(1);
    for (x, &target) in x.chunks_exact_mut(v.max(1)).zip(targets.iter().copied().flatten()) {
        let r = 1.0 / sum16(isa, x);
        x.iter_mut().for_each(|x| *x *= r);
        x[target as usize] -= 1.0;
    }
}

/// Lanes that code by the weights of a learner.
pub struct LearningSession {
    network: SharedNetwork,
    lanes: LearningLanes,
}

impl LearningSession {
    /// Keeps what `predict::cdf::cumulative_counts` left of the logits of `rows`.
    pub fn keep_outputs(&mut self, rows: &[Row], x: &[f32]) {
        self.lanes.recording().keep_outputs(rows, x);
    }
}

impl Session for LearningSession {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        self.lanes.forward(&self.network.read(), rows, logits);
    }

    fn steer(&mut self, vectors: &[f32]) {
        self.lanes.steer(&self.network.read(), vectors);
    }

    fn learning(&mut self) -> Option<&mut LearningSession> {
        Some(self)
    }

    fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        self.lanes.copy_lane(from, to, fed);
    }
}
