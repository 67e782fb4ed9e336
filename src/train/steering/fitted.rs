//! Vectors for one text, which its archive carries: what they save must be more than they cost.
//!
//! Learned is the difference from embeddings of tokens, under bits of text plus bits of
//! vectors; noise stands for the rounding to come (Balle et al., "Variational image compression with
//! a scale hyperprior", 2018). Then numbers are rounded by what an error costs in bits of text
//! against what each level costs itself (Chou, Lookabaugh and Gray, "Entropy-constrained vector
//! quantization", 1989), and whole vectors are dropped while that pays.

use super::objective::SteeringObjective;
use super::pieces::{Piece, pieces};
use super::prompt::starts;
use super::quantize::{Levels, quantized};
use crate::codec::SteeringCode;
use crate::error::Result;
use crate::models::Model;
use crate::nn::parameter::Parameter;
use crate::nn::random::Random;

/// How the numbers of carried vectors are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteeringPrior {
    /// Multiples of a step under a normal distribution.
    Gauss,
    /// Multiples of a step, their frequencies learned on the way.
    Empirical,
    /// A few levels of their own.
    LloydMax,
}

/// Choices of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Most vectors.
    pub vectors: usize,
    /// How they are coded.
    pub prior: SteeringPrior,
    /// Times that all of the text is read.
    pub passes: u64,
    /// Bytes of a piece: what a lane has.
    pub piece: usize,
    /// Learning rate, in units of the embeddings' root mean square.
    pub rate: f32,
    /// Step of the integers, in the same units.
    pub step: f32,
}

impl Default for FitOptions {
    fn default() -> Self {
        let prior = SteeringPrior::Empirical;
        Self { vectors: 2, prior, passes: 12, piece: 2000, rate: 0.15, step: 1.0 }
    }
}

/// Fitted vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Their code.
    pub code: SteeringCode,
    /// Bits of the text by the model alone, without them.
    pub without: f64,
    /// Bits of the text by the model alone, with them.
    pub with: f64,
    /// Bits of the code.
    pub code_bits: f64,
}

/// Pieces of a step.
const BATCH: usize = 4;

/// Smallest deviation of integers that is reckoned with while they are learned.
const LEAST_DEVIATION: f64 = 0.15;

/// Most bits that a step towards 0 is reckoned to save: with more, all numbers fall to 0 before any has
/// shown what it is good for.
const STEEPEST: f64 = 0.5;

/// Most bytes of pieces by which it is decided whether a vector is dropped.
const SAMPLE: usize = 1 << 14;

/// Fits vectors to a text; `None` where none pay.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) where the model takes none.
pub fn fit(model: &Model, text: &[u8], options: &FitOptions) -> Result<Option<Fit>> {
    let objective = SteeringObjective::new(model)?;
    let pieces = pieces(model, text, options.piece);
    if pieces.is_empty() {
        return Ok(None);
    }
    let without = objective.bits(&[], &pieces);
    let starts = starts(model, &objective, &pieces, options.vectors);
    let fitting = Fitting { objective: &objective, pieces: &pieces, starts: &starts, options };
    let learned = fitting.learn()?;
    let mut best: Option<Fit> = None;
    for code in fitting.codes(&learned) {
        let fit = fitting.measured(code, without)?;
        if best.as_ref().is_none_or(|best| fit.total() < best.total()) {
            best = Some(fit);
        }
    }
    let best = best.map(|best| fitting.without_idle(best)).transpose()?;
    Ok(best.filter(|fit| fit.total() < without))
}

impl Fit {
    /// Returns the bits of text and vectors.
    pub fn total(&self) -> f64 {
        self.with + self.code_bits
    }
}

struct Fitting<'a> {
    objective: &'a SteeringObjective<'a>,
    pieces: &'a [Piece],
    starts: &'a [u32],
    options: &'a FitOptions,
}

impl Fitting<'_> {
    fn step(&self) -> f32 {
        self.options.step * self.objective.network().embedding_scale()
    }

    /// Learns differences from the starts: `[k][C]`.
    fn learn(&self) -> Result<Vec<f32>> {
        let Self { objective, pieces, options, .. } = self;
        let (base, step) = (objective.embed(self.starts), self.step());
        let shape = [options.vectors, objective.width()];
        let mut differences = Parameter::constant("steering".into(), &shape, 0.0);
        let mut optimiser = objective.adam(options.rate, &differences);
        let mut random = Random::new(&[1]);
        let bytes =
            |pieces: &mut dyn Iterator<Item = &Piece>| pieces.map(|p| p.bytes).sum::<usize>();
        let all = bytes(&mut pieces.iter());
        let per_pass = pieces.len().div_ceil(BATCH);
        let steps = options.passes * per_pass as u64;
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        for n in 0..steps {
            let at = n as usize % per_pass;
            if at == 0 {
                (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i + 1)));
            }
            let end = ((at + 1) * BATCH).min(order.len());
            let batch: Vec<&Piece> = order[at * BATCH..end].iter().map(|&i| &pieces[i]).collect();
            // What would be rounded to 0 is 0; noise stands for the rounding of the rest.
            let mut rounded = |&x: &f32| match x.abs() < 0.5 * step {
                true => 0.0,
                false => x + step * uniform(&mut random),
            };
            let noisy: Vec<f32> = differences.values.iter().map(&mut rounded).collect();
            let vectors: Vec<f32> = base.iter().zip(&noisy).map(|(a, b)| a + b).collect();
            let (_, mut gradient) = objective.gradient(&vectors, &batch);
            let share = all as f32 / bytes(&mut batch.iter().copied()) as f32;
            let prices = price_gradients(&differences.values, step);
            gradient.iter_mut().zip(prices).for_each(|(g, price)| *g = *g * share + price);
            let rate = 1.0 - n as f32 / steps as f32;
            optimiser.step(std::slice::from_mut(&mut differences), &mut vec![gradient], rate)?;
        }
        Ok(differences.values)
    }

    /// Returns codes of differences, to choose from.
    fn codes(&self, differences: &[f32]) -> Vec<SteeringCode> {
        let step = self.step();
        let base = self.objective.embed(self.starts);
        let rounded: Vec<f32> = differences.iter().map(|d| (d / step).round() * step).collect();
        let squares: f64 =
            differences.iter().zip(&rounded).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        // What an error of 1 costs in bits of text, squared; the least of it bounds how much is rounded away.
        let bits = |differences: &[f32]| {
            let vectors: Vec<f32> = base.iter().zip(differences).map(|(a, b)| a + b).collect();
            self.objective.bits(&vectors, self.pieces)
        };
        let lost = bits(&rounded) - bits(differences);
        let weight = (lost / squares.max(1e-9)).max(0.05 / f64::from(step).powi(2));
        let levels: Vec<Levels> = match self.options.prior {
            SteeringPrior::Gauss => vec![Levels::Gauss { step }],
            SteeringPrior::Empirical => vec![Levels::Empirical { step }],
            SteeringPrior::LloydMax => [3, 5, 7].map(|n| Levels::LloydMax { n, step }).into(),
        };
        let starts: Vec<Option<u32>> = self.starts.iter().map(|&id| Some(id)).collect();
        let code = |levels: &Levels| {
            let (quantizer, integers) = quantized(differences, levels, weight)?;
            Some(SteeringCode { quantizer, starts: starts.clone(), integers })
        };
        levels.iter().filter_map(code).collect()
    }

    fn measured(&self, code: SteeringCode, without: f64) -> Result<Fit> {
        self.measured_on(code, without, self.pieces)
    }

    fn measured_on(&self, code: SteeringCode, without: f64, pieces: &[Piece]) -> Result<Fit> {
        let vectors = code.vectors(self.objective.network())?;
        let with = self.objective.bits(vectors.values(), pieces);
        let code_bits = 8.0 * code.to_bytes().len() as f64;
        Ok(Fit { code, without, with, code_bits })
    }

    /// Drops whole vectors while that pays, by a sample of the text.
    fn without_idle(&self, mut best: Fit) -> Result<Fit> {
        let most = (SAMPLE / self.options.piece.max(1)).max(1);
        let stride = self.pieces.len().div_ceil(most);
        let sample: Vec<Piece> = self.pieces.iter().step_by(stride).cloned().collect();
        let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| piece.bytes).sum::<usize>() as f64;
        let share = bytes(self.pieces) / bytes(&sample);
        let total = |code: &SteeringCode| -> Result<f64> {
            let fit = self.measured_on(code.clone(), 0.0, &sample)?;
            Ok(fit.with * share + fit.code_bits)
        };
        let mut code = best.code.clone();
        let mut now = total(&code)?;
        while code.starts.len() > 1 {
            let mut dropped = Vec::new();
            for i in 0..code.starts.len() {
                let smaller = without_vector(&code, i);
                dropped.push((total(&smaller)?, smaller));
            }
            let least = dropped.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
            match least {
                Some((bits, smaller)) if bits < now => (now, code) = (bits, smaller),
                _ => break,
            }
        }
        if code.starts.len() < best.code.starts.len() {
            let fit = self.measured(code, best.without)?;
            if fit.total() < best.total() {
                best = fit;
            }
        }
        Ok(best)
    }
}

fn without_vector(code: &SteeringCode, i: usize) -> SteeringCode {
    let width = code.integers.len() / code.starts.len();
    let mut code = code.clone();
    code.starts.remove(i);
    code.integers.drain(i * width..(i + 1) * width);
    code
}

/// Returns a number from -1/2 to 1/2.
fn uniform(random: &mut Random) -> f32 {
    (random.bits() >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}

/// Returns how the bits of numbers change with them: -log2 of the mass that a normal distribution, as
/// wide as they are, has within half a step.
fn price_gradients(x: &[f32], step: f32) -> Vec<f32> {
    let squares: f64 = x.iter().map(|&x| f64::from(x / step).powi(2)).sum();
    let deviation = (squares / x.len() as f64).sqrt().max(LEAST_DEVIATION);
    let density = |x: f64| libm::exp(-0.5 * x * x) / (2.0 * std::f64::consts::PI).sqrt();
    let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
    let gradient = |&x: &f32| {
        let x = f64::from(x / step);
        let (low, high) = ((x - 0.5) / deviation, (x + 0.5) / deviation);
        // Beyond all mass the logarithm of the density is as good.
        let slope = match below(high) - below(low) {
            mass if mass > 1e-12 => (density(low) - density(high)) / (deviation * mass),
            _ => x / (deviation * deviation),
        };
        let bits = (slope * std::f64::consts::LOG2_E).clamp(-STEEPEST, STEEPEST);
        (bits / f64::from(step)) as f32
    };
    x.iter().map(gradient).collect()
}
