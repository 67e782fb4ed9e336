//! Vectors for texts of a kind: a soft prompt (Lester, Al-Rfou and Constant, "The Power of Scale for
//! Parameter-Efficient Prompt Tuning", 2021).

use super::objective::SteeringObjective;
use super::pieces::{Piece, pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Model, Steering};
use crate::nn::parameter::Parameter;
use crate::nn::random::Random;

/// Choices of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptOptions {
    /// Vectors, 1 to [`Steering::MAX_VECTORS`].
    pub vectors: usize,
    /// Steps.
    pub steps: u64,
    /// Bytes of a piece of text.
    pub piece: usize,
    /// Pieces of a step.
    pub batch: usize,
    /// Learning rate, in units of the embeddings' root mean square.
    pub rate: f32,
    /// Seed of the order of pieces.
    pub seed: u64,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self { vectors: 32, steps: 300, piece: 2000, batch: 4, rate: 0.15, seed: 1 }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptReport {
    /// Steps done.
    pub steps: u64,
    /// Bits per byte of the texts learned from since the last report.
    pub learned: f64,
    /// Bits per byte of held-out texts.
    pub held_out: f64,
}

/// Vectors that were learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The vectors that held-out texts cost least with.
    pub steering: Steering,
    /// Bits per byte of held-out texts by the model alone, with them.
    pub with: f64,
    /// Bits per byte of held-out texts by the model alone, without them.
    pub without: f64,
    /// Held-out texts.
    pub held_out: Vec<Vec<u8>>,
}

/// One piece in so many is held out, the last of each.
const HELD_OUT: usize = 8;

/// Times that held-out texts are looked at.
const LOOKS: u64 = 10;

/// Learns vectors from texts.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where the model takes none, or the texts are too short to hold some
/// out.
pub fn train_prompt(
    model: &Model,
    texts: &[Vec<u8>],
    options: &PromptOptions,
    watch: &mut dyn FnMut(&PromptReport),
) -> Result<Prompt> {
    let objective = SteeringObjective::new(model)?;
    let [learned, held_out] = split(texts, options.piece)?;
    let tokenised = |texts: &[Vec<u8>]| -> Vec<Piece> {
        texts.iter().flat_map(|text| pieces(model, text, text.len())).collect()
    };
    let (tests, lessons) = (tokenised(&held_out), tokenised(&learned));
    let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| piece.bytes).sum::<usize>() as f64;
    let cost = |vectors: &[f32]| objective.bits(vectors, &tests) / bytes(&tests);
    let without = cost(&[]);

    let width = objective.width();
    let mut vectors = Parameter::new(
        "steering".into(),
        &[options.vectors, width],
        objective.embed(&starts(model, &objective, &lessons, options.vectors)),
    );
    let mut optimiser = objective.adam(options.rate, &vectors);
    let mut random = Random::new(&[options.seed]);
    let (mut best, mut with) = (vectors.values.clone(), cost(&vectors.values));
    let (mut bits, mut n_bytes) = (0.0, 0.0);
    for step in 0..options.steps {
        let batch: Vec<&Piece> =
            (0..options.batch).map(|_| &lessons[random.below(lessons.len())]).collect();
        let (cost_here, gradient) = objective.gradient(&vectors.values, &batch);
        let of_batch = batch.iter().map(|piece| piece.bytes).sum::<usize>() as f64;
        bits += cost_here;
        n_bytes += of_batch;
        let mut gradients = vec![gradient.iter().map(|g| g / of_batch as f32).collect()];
        let share = 1.0 - step as f32 / options.steps as f32;
        optimiser.step(std::slice::from_mut(&mut vectors), &mut gradients, share)?;
        let look = options.steps.div_ceil(LOOKS);
        if (step + 1).is_multiple_of(look) || step + 1 == options.steps {
            let held_out = cost(&vectors.values);
            if held_out < with {
                (best, with) = (vectors.values.clone(), held_out);
            }
            watch(&PromptReport { steps: step + 1, learned: bits / n_bytes, held_out });
            (bits, n_bytes) = (0.0, 0.0);
        }
    }
    Ok(Prompt { steering: Steering::new(width, best)?, with, without, held_out })
}

/// Cuts texts into pieces; returns those to learn from, and those that are held out.
fn split(texts: &[Vec<u8>], piece: usize) -> Result<[Vec<Vec<u8>>; 2]> {
    let (mut learned, mut held_out) = (Vec::new(), Vec::new());
    for (i, text) in texts.iter().flat_map(|text| text.chunks(piece.max(1))).enumerate() {
        if i % HELD_OUT == HELD_OUT - 1 { &mut held_out } else { &mut learned }.push(text.to_vec());
    }
    if held_out.is_empty() {
        let least = HELD_OUT * piece;
        let message =
            format!("too little text: at least {least} bytes, of which some are held out");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok([learned, held_out])
}

/// Tokens that are tried as starts, and the bytes of text by which they are judged.
const CANDIDATES: (usize, usize) = (48, 1 << 12);

/// Returns `n` ids of tokens whose embeddings, before the texts, cost least: starts from which learning
/// has nothing to make good.
pub(super) fn starts(
    model: &Model,
    objective: &SteeringObjective,
    pieces: &[Piece],
    n: usize,
) -> Vec<u32> {
    let (candidates, most) = CANDIDATES;
    let mut bytes = 0;
    let is_within = |piece: &&Piece| {
        bytes += piece.bytes;
        bytes <= most.max(piece.bytes)
    };
    let sample: Vec<Piece> = pieces.iter().take_while(is_within).cloned().collect();
    let outputs = model.network().outputs();
    let stride = outputs.div_ceil(candidates.max(2 * n)).max(1);
    let ids = (0..outputs).step_by(stride).map(|rank| model.vocabulary().id(rank as u32));
    let mut costs: Vec<(f64, u32)> =
        ids.map(|id| (objective.bits(&objective.embed(&[id]), &sample), id)).collect();
    costs.sort_by(|a, b| a.0.total_cmp(&b.0));
    costs.iter().cycle().take(n).map(|&(_, id)| id).collect()
}
