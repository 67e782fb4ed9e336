//! The weights that learn, the sessions that code by them, and the steps between.

use super::backward::{Backward, cost_backward};
use super::matrix::{LinearRows, MatrixMoments};
use super::{Learning, LearningKind, Recording, Stage};
use crate::models::linear::Linear;
use crate::models::session::TransformerLanes;
use crate::models::transformer::Transformer;
use crate::models::{Row, Session};
use crate::nn::adam::{AdamOptions, AdamStep};
use crate::nn::matrix::transposed;
use crate::ops::{Bf16, PackedMatrix};
use rayon::prelude::*;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// A network that learns.
pub struct Learner {
    learning: Learning,
    network: SharedNetwork,
    /// Of the matrices that learn: layer by layer, the head last.
    moments: Vec<MatrixMoments>,
    /// The same matrices for the backward pass, where layers learn.
    transposed: Vec<PackedMatrix>,
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

fn adam() -> AdamOptions {
    let v = |n: &str, d: f32| std::env::var(n).ok().and_then(|x| x.parse().ok()).unwrap_or(d);
    AdamOptions { betas: (v("B1", 0.9), v("B2", 0.99)), eps: v("EPS", 1e-8) }
}

impl Learner {
    /// Creates a learner that starts with the weights of `network`.
    pub fn new(network: &Transformer, learning: Learning) -> Self {
        let mut network = network.clone();
        network.head = Arc::new(network.head.to_floats());
        if learning.kind == LearningKind::All {
            network.layers = Arc::new(network.layers.iter().map(|l| l.to_floats()).collect());
        }
        let matrices = matrices(&mut network, learning.kind);
        let moments = matrices.iter().map(|matrix| MatrixMoments::new(matrix)).collect();
        let transposed = match learning.kind {
            LearningKind::Head => Vec::new(),
            LearningKind::All => matrices.iter().map(|matrix| matrix.transposed()).collect(),
        };
        let network = SharedNetwork(Arc::new(RwLock::new(network)));
        Self { learning, network, moments, transposed, steps: 0, is_frozen: false }
    }

    /// Starts lanes, as [`Network::session`](crate::models::Network::session) does.
    pub fn session(&self, lanes: usize, steps: usize, window: usize) -> LearningSession {
        let (network, interval) = (self.network.clone(), self.learning.interval());
        let layers = match self.learning.kind {
            LearningKind::Head => 0,
            LearningKind::All => network.read().layers.len(),
        };
        let mut state = TransformerLanes::new(&network.read(), lanes, steps.max(interval), window);
        *state.recording() = Recording::new(lanes, interval, layers);
        LearningSession { network, lanes: state }
    }

    /// Returns how it learns.
    pub fn learning(&self) -> Learning {
        self.learning
    }

    /// Learns from what was recorded since the last step, and forgets it. Sessions have all lanes in their
    /// order; targets: by lane, what the outputs of its rows should have predicted.
    pub fn step(&mut self, mut sessions: Vec<&mut LearningSession>, targets: &[&[u32]]) {
        if !self.is_frozen {
            self.learn(&mut sessions, targets);
        }
        sessions.into_iter().for_each(|session| session.lanes.recording().clear());
    }

    fn learn(&mut self, sessions: &mut [&mut LearningSession], targets: &[&[u32]]) {
        let network = self.network.read();
        let (isa, all) = (network.isa, self.learning.kind == LearningKind::All);
        let mut rest = targets;
        let mut parts = Vec::with_capacity(sessions.len());
        for session in sessions {
            let (of_part, others) = rest.split_at(session.lanes.recording().kept().len());
            rest = others;
            parts.push((&mut session.lanes, of_part));
        }
        let parts: Vec<(&mut TransformerLanes<Bf16>, Vec<Vec<f32>>)> = parts
            .into_par_iter()
            .map(|(lanes, targets)| {
                lanes.recording().close();
                cost_backward(isa, lanes.recording().outputs_mut(), targets);
                let mut of_layers = Vec::new();
                if all && !lanes.recording().outputs().is_empty() {
                    let transposed = &self.transposed;
                    of_layers = Backward { network: &network, transposed, lanes }.run();
                }
                (lanes, of_layers)
            })
            .collect();
        let parts: Vec<(&Recording, Vec<Vec<f32>>)> =
            parts.into_iter().map(|(lanes, of_layers)| (&*lanes.recording(), of_layers)).collect();
        let (inputs, outputs) = (network.shape().hidden_size, network.head.outputs());
        let mut linears = Vec::new();
        if all {
            for (index, layer) in network.layers.iter().enumerate() {
                let mut stages = vec![Stage::Normed, Stage::Attended];
                stages.extend(layer.mlp.gate.as_ref().map(|_| Stage::MlpNormed));
                stages.extend([Stage::MlpNormed, Stage::Activated]);
                linears.extend(stages.into_iter().map(|stage| Some((index, stage))));
            }
        }
        linears.push(None);
        let moments = self.moments.par_iter_mut().zip(&linears).enumerate();
        let is_finite = moments.map(|(i, (moments, linear))| {
            let x = |recording: &'_ Recording| -> Vec<f32> {
                match linear {
                    Some((index, stage)) => recording.of(*index, *stage).to_vec(),
                    None => recording.normed().to_vec(),
                }
            };
            let k = moments.inputs();
            let dy: Vec<&[f32]> = parts
                .iter()
                .flat_map(|(recording, of_layers)| {
                    let all: &[f32] = match linear {
                        Some(_) => of_layers.get(i).map_or(&[], |x| x),
                        None => recording.outputs(),
                    };
                    let rows: usize = recording.kept().iter().sum();
                    all.chunks_exact((all.len() / rows.max(1)).max(1))
                })
                .collect();
            let x: Vec<f32> = parts.iter().flat_map(|(recording, _)| x(recording)).collect();
            let rows = LinearRows { x: &transposed(&x, k), dy: &dy };
            dy.is_empty() || moments.differentiate(isa, k, &rows)
        });
        let is_finite = is_finite.reduce(|| true, |a, b| a & b);
        let _ = (inputs, outputs);
        drop(network);
        if !is_finite {
            self.is_frozen = true;
            return;
        }
        self.steps += 1;
        let rate = self.learning.rate as f32 / 1e6;
        let step = AdamStep::new(adam(), rate, self.steps);
        let mut network = self.network.0.write().unwrap_or_else(PoisonError::into_inner);
        let matrices = matrices(&mut network, self.learning.kind);
        let steps = self.moments.par_iter_mut().zip(matrices);
        if all {
            steps.zip(&mut self.transposed).for_each(|((moments, matrix), transposed)| {
                moments.step(&step, matrix);
                *transposed = matrix.transposed();
            });
        } else {
            steps.for_each(|(moments, matrix)| moments.step(&step, matrix));
        }
    }
}

/// Returns the matrices that learn.
fn matrices(network: &mut Transformer, kind: LearningKind) -> Vec<&mut PackedMatrix> {
    let mut linears = Vec::new();
    if kind == LearningKind::All {
        let layers = Arc::get_mut(&mut network.layers).expect("the learner's own");
        linears.extend(layers.iter_mut().flat_map(|layer| layer.linears_mut()));
    }
    linears.push(Arc::get_mut(&mut network.head).expect("the learner's own"));
    linears.into_iter().map(Linear::floats_mut).collect()
}

/// Lanes that code by the weights of a learner.
pub struct LearningSession {
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

    fn learning(&mut self) -> Option<&mut LearningSession> {
        Some(self)
    }

    fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        self.lanes.copy_lane(from, to, fed);
    }
}

impl LearningSession {
    /// Keeps what `predict::cdf::cumulative_counts` left of the logits of `rows`.
    pub fn keep_outputs(&mut self, rows: &[Row], x: &[f32]) {
        self.lanes.recording().keep_outputs(rows, x);
    }
}
