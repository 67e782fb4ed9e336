//! Low-rank adapters that learn from texts of a kind, where the model stays as it is (`llmzip train --lora`).
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021). `docs/numerics.md`, sections 19,
//! 20 and 24, have the order of operations.

use super::optimiser::{Optimiser, OptimiserOptions, orthogonal, reduce};
use super::options::Budget;
use super::steering::{Piece, pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{AdaptedModule, Adapter, Model};
use crate::nn::decoder::{AdapterParameters, Decoder};
use crate::nn::parameter::{Gradients, Parameter, zeros};
use crate::nn::random::Random;
use rayon::prelude::*;
use std::time::Instant;

/// Options of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraOptions {
    /// Rows of A, 1 to [`Adapter::MAX_RANK`].
    pub rank: usize,
    /// Strength: A's outputs are multiplied by alpha / rank.
    pub alpha: f64,
    /// How long to learn; `None`: three passes over the texts, at least a hundred steps.
    pub budget: Option<LoraBudget>,
    /// Learning rate of Adam.
    pub rate: f32,
    /// Bytes of a piece of text.
    pub piece: usize,
    /// Pieces of a step.
    pub batch: usize,
    /// Seed of A and of the order of pieces.
    pub seed: u64,
}

/// How long to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoraBudget {
    /// Passes over the texts.
    Epochs(f64),
    /// Steps or minutes.
    Budget(Budget),
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self { rank: 8, alpha: 32.0, budget: None, rate: 1e-3, piece: 2000, batch: 4, seed: 1 }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraReport {
    /// Steps done.
    pub steps: u64,
    /// Share of the budget spent, 0 to 1.
    pub share: f64,
    /// Bits per byte of the texts learned from since the last report.
    pub learned: f64,
    /// Bits per byte of held-out texts.
    pub held_out: f64,
}

/// An adapter that was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedAdapter {
    /// The one that held-out texts cost least with.
    pub adapter: Adapter,
    /// Numbers in its matrices.
    pub n_parameters: usize,
    /// Bits per byte of held-out texts by the model alone, with it.
    pub with: f64,
    /// Bits per byte of held-out texts by the model alone, without it.
    pub without: f64,
    /// Held-out texts.
    pub held_out: Vec<Vec<u8>>,
}

/// One piece in so many is held out at most, and so many in all.
const HELD_OUT: (usize, usize) = (8, 24);

/// Passes over the texts and steps where none are asked for: of the two, what takes longer.
const EPOCHS: f64 = 3.0;
const LEAST_STEPS: u64 = 100;

/// Times that held-out texts are looked at.
const LOOKS: u64 = 10;

/// Share of a run in which the rate rises; then it falls to zero.
const WARM_UP: f64 = 0.02;

/// Most norm of all gradients together.
const CLIP: f32 = 1.0;

/// Learns an adapter beside all linear layers of `model` from texts.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where the model takes none, or the texts are too short to hold some
/// out.
pub fn train_adapter(
    model: &Model,
    texts: &[Vec<u8>],
    options: &LoraOptions,
    watch: &mut dyn FnMut(&LoraReport),
) -> Result<LearnedAdapter> {
    let mut run = Run::new(model, options)?;
    let [learned, held_out] = split(texts, options.piece)?;
    let (lessons, tests) = (tokenised(model, &learned), tokenised(model, &held_out));
    let passes = |n: f64| (n * lessons.len() as f64 / options.batch as f64).ceil().max(1.0) as u64;
    let steps = match options.budget {
        None => Some(passes(EPOCHS).max(LEAST_STEPS)),
        Some(LoraBudget::Epochs(epochs)) => Some(passes(epochs)),
        Some(LoraBudget::Budget(Budget::Steps(steps))) => Some(steps),
        Some(LoraBudget::Budget(Budget::Minutes(_))) => None,
    };
    let begin = Instant::now();
    let spent = |done: u64| match (steps, options.budget) {
        (None, Some(LoraBudget::Budget(Budget::Minutes(minutes)))) => {
            begin.elapsed().as_secs_f64() / (60.0 * minutes)
        }
        _ => done as f64 / steps.unwrap_or(1) as f64,
    };
    let without = run.bits_per_byte(&tests);
    let (mut best, mut with, mut looks) = (run.own().to_vec(), without, 0);
    let (mut order, mut done) = (Order::new(lessons.len(), options.seed), 0);
    let (mut bits, mut bytes) = (0.0, 0);
    loop {
        let share = spent(done);
        if share >= 1.0 {
            break;
        }
        let batch: Vec<&Piece> = (0..options.batch).map(|_| &lessons[order.next()]).collect();
        let rise = (share / WARM_UP).min((1.0 - share) / (1.0 - WARM_UP));
        // The first step has a rate, too.
        let rise = if done == 0 { rise.max(1e-2) } else { rise };
        bits += run.step(&batch, rise as f32)?;
        bytes += batch.iter().map(|piece| piece.bytes).sum::<usize>();
        done += 1;
        let share = spent(done).min(1.0);
        if share >= 1.0 || share * LOOKS as f64 >= (looks + 1) as f64 {
            looks = (share * LOOKS as f64) as u64;
            let held_out = run.bits_per_byte(&tests);
            if held_out < with {
                (best, with) = (run.own().to_vec(), held_out);
            }
            watch(&LoraReport { steps: done, share, learned: bits / bytes as f64, held_out });
            (bits, bytes) = (0.0, 0);
        }
    }
    let n_parameters = best.iter().map(|matrix| matrix.values.len()).sum();
    for (adapted, matrices) in run.adapter.modules.iter_mut().zip(best.chunks_exact(2)) {
        adapted.a.clone_from(&matrices[0].values);
        adapted.b.clone_from(&matrices[1].values);
    }
    Ok(LearnedAdapter { adapter: run.adapter, n_parameters, with, without, held_out })
}

/// A network, the adapter that learns beside it, and its optimiser.
struct Run {
    decoder: Decoder,
    adapter: Adapter,
    optimiser: Optimiser,
    /// Index of the adapter's first parameter.
    first: usize,
}

impl Run {
    /// Puts an adapter beside all linear layers: A random, B zeros.
    fn new(model: &Model, options: &LoraOptions) -> Result<Self> {
        let modules = model.architecture().adaptable_modules()?;
        let network = model.network().as_transformer().expect("it has modules");
        let mut decoder = network.decoder(&|_| false);
        let first = decoder.parameters().len();
        let (rank, random) = (options.rank, &mut Random::new(&[options.seed]));
        let alpha = options.alpha;
        let mut adapter = Adapter { rank, alpha, is_rank_stabilized: false, modules: Vec::new() };
        for module in modules {
            let deviation = (1.0 / (3.0 * module.inputs as f64).sqrt()) as f32;
            let (name, shape) = (&module.name, [rank, module.inputs]);
            let a = Parameter::normal(format!("{name}.A"), &shape, deviation, random);
            let b = Parameter::constant(format!("{name}.B"), &[module.outputs, rank], 0.0);
            let (scale, matrices) = (adapter.scale(), [a, b]);
            let (layer, part, first) = (module.layer, module.part, module.first);
            decoder.adapt(AdapterParameters { layer, part, first, scale, matrices });
            adapter.modules.push(AdaptedModule { module, a: Vec::new(), b: Vec::new() });
        }
        let isa = model.isa();
        let orthogonal = Box::new(move |x, columns| Ok(orthogonal(isa, x, columns)));
        let rates = OptimiserOptions { adam_rate: options.rate, muon_rate: 0.0, clip: CLIP };
        let optimiser = Optimiser::new(orthogonal, rates, &decoder.parameters()[first..]);
        Ok(Self { decoder, adapter, optimiser, first })
    }

    /// Returns the adapter's parameters: A and B of each module.
    fn own(&self) -> &[Parameter] {
        &self.decoder.parameters()[self.first..]
    }

    /// Takes a step at `share` of the rate; returns the bits that the pieces cost before. No sum depends on
    /// the number of threads.
    fn step(&mut self, batch: &[&Piece], share: f32) -> Result<f64> {
        let decoder = &self.decoder;
        let costs = batch.par_iter().map(|piece| {
            let mut gradients = zeros(decoder.parameters());
            let inputs = decoder.embed(&piece.inputs);
            let nats = decoder.cost(inputs, 0, &piece.targets, Some(&mut gradients)).0;
            (nats, gradients.split_off(self.first))
        });
        let costs: Vec<(f64, Gradients)> = costs.collect();
        let nats: f64 = costs.iter().map(|(nats, _)| nats).sum();
        let tokens: usize = batch.iter().map(|piece| piece.targets.len()).sum();
        let mut all = costs.into_iter().map(|(_, gradients)| gradients);
        let mut sum = all.next().expect("a batch has a piece");
        let others: Vec<Gradients> = all.collect();
        reduce(&mut sum, &others.iter().collect::<Vec<_>>(), 1.0 / tokens as f32);
        let Self { decoder, optimiser, first, .. } = self;
        decoder
            .update(&mut |parameters| optimiser.step(&mut parameters[*first..], &mut sum, share))?;
        Ok(nats / std::f64::consts::LN_2)
    }

    fn bits_per_byte(&self, pieces: &[Piece]) -> f64 {
        let cost = |piece: &Piece| {
            let inputs = self.decoder.embed(&piece.inputs);
            self.decoder.cost(inputs, 0, &piece.targets, None).0
        };
        // In the order of pieces, whatever the threads do.
        let nats = pieces.par_iter().map(cost).collect::<Vec<f64>>().iter().sum::<f64>();
        let bytes: usize = pieces.iter().map(|piece| piece.bytes).sum();
        nats / std::f64::consts::LN_2 / bytes as f64
    }
}

/// The order in which pieces are learned from: each once in a pass, in another order in each.
struct Order {
    left: Vec<usize>,
    n: usize,
    random: Random,
}

impl Order {
    fn new(n: usize, seed: u64) -> Self {
        Self { left: Vec::new(), n, random: Random::new(&[seed, 1]) }
    }

    fn next(&mut self) -> usize {
        if self.left.is_empty() {
            self.left.extend(0..self.n);
        }
        self.left.swap_remove(self.random.below(self.left.len()))
    }
}

/// Cuts texts into pieces; returns those to learn from, and those that are held out.
fn split(texts: &[Vec<u8>], piece: usize) -> Result<[Vec<Vec<u8>>; 2]> {
    let pieces: Vec<&[u8]> = texts.iter().flat_map(|text| text.chunks(piece.max(1))).collect();
    let (least, most) = HELD_OUT;
    let share = pieces.len().div_ceil(most).max(least);
    let (mut learned, mut held_out) = (Vec::new(), Vec::new());
    for (i, text) in pieces.into_iter().enumerate() {
        let to = if i % share == share - 1 { &mut held_out } else { &mut learned };
        to.push(text.to_vec());
    }
    if held_out.is_empty() {
        let least = least * piece;
        let message = format!(
            "too little text: at least {least} bytes, of which some are held out, or a smaller --piece"
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok([learned, held_out])
}

/// Tokenises texts, cut again where one has more tokens than the model has positions.
fn tokenised(model: &Model, texts: &[Vec<u8>]) -> Vec<Piece> {
    let most = model.architecture().max_positions().unwrap_or(usize::MAX);
    let whole = |text: &Vec<u8>| pieces(model, text, text.len());
    let cut = |(text, pieces_of_text): (&Vec<u8>, Vec<Piece>)| {
        match pieces_of_text.iter().all(|piece| piece.inputs.len() <= most) {
            true => pieces_of_text,
            false => pieces(model, text, most), // a token has a byte at least
        }
    };
    texts.iter().map(|text| (text, whole(text))).flat_map(cut).collect()
}
