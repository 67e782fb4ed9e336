//! Rounding of a transformer's linear layers to four bits such that their outputs on given texts change
//! least (`llmzip models quantize --awq`).
//!
//! Layer by layer, on inputs that come from the layers before it as they are rounded: inputs of a linear layer
//! that matter get finer steps, by a scale that the layer before is divided by (Lin et al., "AWQ: Activation-aware Weight
//! Quantization", 2023); then integers are chosen one after the other, each for the errors of the others (Behdin et al.,
//! "QuantEase", 2023).

mod descent;
mod gram;
mod scales;

use super::steering::pieces;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{AdaptableModule, Architecture, Config, Model, RoundedLinear, RoundedWeights};
use crate::nn::decoder::Decoder;
use crate::nn::shape::{DecoderPart, DecoderTensor, LayerPart, NormKind};
use crate::ops::{Isa, ScalePrecision};
use descent::{Grid, Rounded};
use gram::Gram;
use rayon::prelude::*;
use std::collections::HashMap;

/// Choices of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AwqOptions {
    /// Inputs that share a scale.
    pub group: usize,
    /// Pieces of text, of 2,000 bytes each, that layers are looked at with, at most.
    pub pieces: usize,
}

/// Error of a rounded linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AwqReport {
    /// Its name in the checkpoint.
    pub module: String,
    /// Squared error of its outputs on the texts, in parts of their squares, had it been rounded to the nearest.
    pub nearest: f64,
    /// The same as it was rounded.
    pub rounded: f64,
    /// Share of all layers that are done, 0 to 1.
    pub share: f64,
}

/// Bytes of a piece.
const PIECE: usize = 2000;

/// Sequences whose activations are in memory at once.
const BATCH: usize = 16;

/// Parts whose inputs are looked at; a gate has the same as what it gates.
const SITES: [LayerPart; 4] =
    [LayerPart::Qkv, LayerPart::AttentionOut, LayerPart::Up, LayerPart::Down];

/// The precision in which the checkpoint has a tensor.
pub type PrecisionOf<'a> = dyn Fn(&str) -> ScalePrecision + Sync + 'a;

/// Weights of a layer's linear layers by their part: `[outputs][inputs]`.
type LayerWeights = HashMap<LayerPart, Vec<f32>>;

/// Rounds the linear layers of `model`, a transformer of floats, for `texts`. Takes twelve bytes of memory for each weight.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] where the model is recurrent or the texts are empty.
pub fn round_for_texts(
    model: &Model,
    texts: &[Vec<u8>],
    options: &AwqOptions,
    precision: &PrecisionOf<'_>,
    watch: &mut dyn FnMut(&AwqReport),
) -> Result<RoundedWeights> {
    let mut run = Run::new(model, options.group, precision)?;
    let mut sequences = run.sequences(model, texts, options)?;
    let layers = run.decoder.shape().layers;
    for layer in 0..layers {
        let grams = run.grams(layer, &sequences);
        let reports = run.round_layer(layer, grams);
        let decoder = &run.decoder;
        sequences.par_iter_mut().for_each(|x| {
            *x = decoder.run_layer(layer, std::mem::take(x), &mut |_, _| ());
        });
        let share = (layer + 1) as f64 / layers as f64;
        reports.into_iter().for_each(|report| watch(&AwqReport { share, ..report }));
    }
    Ok(run.rounded)
}

/// A network whose layers are rounded, the first ones so far.
struct Run<'a> {
    isa: Isa,
    decoder: Decoder,
    /// Indices of parameters by their names.
    places: HashMap<String, usize>,
    config: &'a Config,
    modules: Vec<AdaptableModule>,
    group: usize,
    precision: &'a PrecisionOf<'a>,
    /// New values of the layer's parameters, beside its weights.
    changes: Vec<(usize, Vec<f32>)>,
    rounded: RoundedWeights,
}

impl<'a> Run<'a> {
    fn new(model: &'a Model, group: usize, precision: &'a PrecisionOf<'a>) -> Result<Self> {
        let modules = model.architecture().adaptable_modules()?;
        let Architecture::Transformer(config) = model.architecture() else {
            unreachable!("a recurrent network has no such modules");
        };
        let network = model.network().as_transformer().expect("its architecture says so");
        let is_of_layer = |part: DecoderPart| matches!(part, DecoderPart::Layer(..));
        let decoder = network.decoder(&|tensor| is_of_layer(tensor.part));
        let names = decoder.parameters().iter().map(|parameter| parameter.name.clone());
        let places = names.zip(0..).collect();
        let (isa, changes, rounded) = (model.isa(), Vec::new(), RoundedWeights::default());
        Ok(Self { isa, decoder, places, config, modules, group, precision, changes, rounded })
    }

    /// Returns the inputs of the first layer, `[T][C]` each, of pieces that stand evenly in the texts.
    fn sequences(
        &self,
        model: &Model,
        texts: &[Vec<u8>],
        options: &AwqOptions,
    ) -> Result<Vec<Vec<f32>>> {
        let all: Vec<&[u8]> = texts.iter().flat_map(|text| text.chunks(PIECE)).collect();
        if all.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "there is no text"));
        }
        let n = options.pieces.min(all.len());
        let longest = model.architecture().max_positions().unwrap_or(usize::MAX);
        let embedded = (0..n).map(|i| {
            let text = all[i * all.len() / n];
            let tokens = pieces(model, text, text.len()).into_iter().flat_map(|piece| piece.inputs);
            self.decoder.embed(&tokens.take(longest).collect::<Vec<u32>>())
        });
        Ok(embedded.collect())
    }

    /// Returns the Gram matrices of the inputs of a layer's linear layers, in the order of [`SITES`].
    fn grams(&self, layer: usize, sequences: &[Vec<f32>]) -> [Gram; SITES.len()] {
        let inputs = |part| self.modules.iter().find(|m| m.part == part).map_or(0, |m| m.inputs);
        let mut grams = SITES.map(|part| Gram::new(inputs(part)));
        for batch in sequences.chunks(BATCH) {
            let looked_at = batch.par_iter().map(|x| {
                let mut inputs: [Vec<f32>; SITES.len()] = Default::default();
                self.decoder.run_layer(layer, x.clone(), &mut |part, x| {
                    inputs[site_of(part)] = x.to_vec();
                });
                inputs
            });
            let looked_at: Vec<[Vec<f32>; SITES.len()]> = looked_at.collect();
            for (site, gram) in grams.iter_mut().enumerate() {
                let rows = looked_at.iter().flat_map(|inputs| &inputs[site]).copied();
                gram.add(self.isa, &rows.collect::<Vec<f32>>());
            }
        }
        grams
    }

    /// Rounds a layer's linear layers, and keeps them.
    fn round_layer(&mut self, layer: usize, grams: [Gram; SITES.len()]) -> Vec<AwqReport> {
        let modules: Vec<AdaptableModule> =
            self.modules.iter().filter(|module| module.layer == layer).cloned().collect();
        let values =
            |part| self.decoder.parameters()[self.place(layer, part, false)].values.clone();
        let mut weights: LayerWeights =
            modules.iter().map(|module| (module.part, values(module.part))).collect();
        let before = weights.clone();
        let mut scaled = Vec::new();
        for (site, gram) in grams.iter().enumerate() {
            let scales = self.scale(layer, SITES[site], gram, &before, &mut weights);
            scaled.push(gram.of_divided(&scales));
        }
        let mut reports = Vec::new();
        for module in &modules {
            let site = site_of(module.part);
            let range =
                module.first * module.inputs..(module.first + module.outputs) * module.inputs;
            let precision = (self.precision)(&format!("{}.weight", module.name));
            let grid = Grid { group: self.group, precision };
            let old = &before[&module.part][range.clone()];
            let new = &mut weights.get_mut(&module.part).expect("it is one of these")[range];
            let nearest = Rounded::nearest(old, module.inputs, grid);
            let rounded = Rounded::for_inputs(self.isa, new, &scaled[site], grid);
            let power = grams[site].error(self.isa, old).max(f64::MIN_POSITIVE);
            reports.push(AwqReport {
                module: module.name.clone(),
                nearest: grams[site].error(self.isa, &nearest.errors(old)) / power,
                rounded: scaled[site].error(self.isa, &rounded.errors(new)) / power,
                share: 0.0,
            });
            self.keep(module, rounded, new);
        }
        let weights =
            weights.into_iter().map(|(part, values)| (self.place(layer, part, false), values));
        let mut changes: Vec<(usize, Vec<f32>)> = weights.collect();
        changes.append(&mut self.changes);
        self.decoder.update_layer(layer, &mut |parameters| {
            for (place, values) in &changes {
                parameters[*place].values.clone_from(values);
            }
        });
        reports
    }

    /// Chooses the scales of a site's inputs, multiplies its weights by them, and divides by them what makes the inputs: a
    /// norm, values, or what a gate multiplies. Where nothing can be divided, all are 1.
    fn scale(
        &mut self,
        layer: usize,
        site: LayerPart,
        gram: &Gram,
        before: &LayerWeights,
        weights: &mut LayerWeights,
    ) -> Vec<f32> {
        let parts: Vec<LayerPart> = match site {
            LayerPart::Up => [LayerPart::Gate, site].into_iter().collect(),
            _ => vec![site],
        };
        let of_site: Vec<&[f32]> =
            parts.iter().filter_map(|part| before.get(part)).map(Vec::as_slice).collect();
        let shape = *self.decoder.shape();
        let attention = shape.attention;
        let is_free = match site {
            LayerPart::AttentionOut => {
                attention.heads == attention.kv_heads && !shape.attention_bias
            }
            LayerPart::Down => before.contains_key(&LayerPart::Gate) && !shape.mlp_bias,
            _ => true,
        };
        let mut scales = match is_free {
            true => scales::best(self.isa, &of_site, gram, self.group),
            false => vec![1.0; gram.inputs()],
        };
        match site {
            LayerPart::Qkv | LayerPart::Up => scales = self.divide_norm(layer, site, &scales),
            // Values are the last rows of queries, keys and values.
            LayerPart::AttentionOut if is_free => {
                divide_last(weights, LayerPart::Qkv, &scales, shape.hidden_size)
            }
            LayerPart::Down if is_free => {
                divide_last(weights, LayerPart::Up, &scales, shape.hidden_size)
            }
            _ => (),
        }
        for part in parts {
            if let Some(weights) = weights.get_mut(&part) {
                for row in weights.chunks_exact_mut(scales.len()) {
                    row.iter_mut().zip(&scales).for_each(|(w, s)| *w *= s);
                }
            }
        }
        scales
    }

    /// Divides the gain and bias of the norm before a site, as the checkpoint can have them; returns by what the
    /// gain was divided in fact.
    fn divide_norm(&mut self, layer: usize, site: LayerPart, scales: &[f32]) -> Vec<f32> {
        let [of_attention, of_mlp] = self.config.norm_modules(layer);
        let (norm, module) = match site {
            LayerPart::Qkv => (LayerPart::AttentionNorm, of_attention),
            _ => (LayerPart::MlpNorm, of_mlp),
        };
        let gain = self.place(layer, norm, false);
        let old = self.decoder.parameters()[gain].values.clone();
        let new = self.divide(gain, format!("{module}.weight"), scales);
        let ratio = |(old, new): (&f32, &f32)| if *new == 0.0 { 1.0 } else { old / new };
        let scales: Vec<f32> = old.iter().zip(&new).map(ratio).collect();
        if self.decoder.shape().norm == NormKind::Layer {
            let bias = self.place(layer, norm, true);
            self.divide(bias, format!("{module}.bias"), &scales);
        }
        scales
    }

    /// Divides a parameter, rounds it as the checkpoint's tensor `name` is, and keeps it.
    fn divide(&mut self, place: usize, name: String, by: &[f32]) -> Vec<f32> {
        let precision = (self.precision)(&name);
        let values = self.decoder.parameters()[place].values.iter().zip(by);
        let values: Vec<f32> = values.map(|(x, by)| precision.round(x / by)).collect();
        self.changes.push((place, values.clone()));
        self.rounded.floats.insert(name, values.clone());
        values
    }

    /// Keeps a module's integers, in the order of the checkpoint, and their floats.
    fn keep(&mut self, module: &AdaptableModule, rounded: Rounded, weights: &mut [f32]) {
        rounded.widen(weights);
        let Rounded { inputs, integers, scales, .. } = &rounded;
        let groups = scales.len() / module.outputs;
        let mut stored =
            RoundedLinear { integers: vec![0; integers.len()], scales: vec![0.0; scales.len()] };
        for i in 0..module.outputs {
            let row = module.stored_row(i);
            stored.integers[row * inputs..][..*inputs]
                .copy_from_slice(&integers[i * inputs..][..*inputs]);
            stored.scales[row * groups..][..groups]
                .copy_from_slice(&scales[i * groups..][..groups]);
        }
        self.rounded.linears.insert(format!("{}.weight", module.name), stored);
    }

    /// The index of a part's parameter.
    fn place(&self, layer: usize, part: LayerPart, is_bias: bool) -> usize {
        let part = DecoderPart::Layer(layer, part);
        self.places[&DecoderTensor { part, is_bias, shape: Vec::new() }.to_string()]
    }
}

/// The place of a part among [`SITES`].
fn site_of(part: LayerPart) -> usize {
    let part = if part == LayerPart::Gate { LayerPart::Up } else { part };
    SITES.iter().position(|&site| site == part).expect("a linear layer")
}

/// Divides the last rows of a part's weights, each by its own number.
fn divide_last(weights: &mut LayerWeights, part: LayerPart, by: &[f32], width: usize) {
    let weights = weights.get_mut(&part).expect("a part of all such layers");
    let first = weights.len() - by.len() * width;
    for (row, by) in weights[first..].chunks_exact_mut(width).zip(by) {
        row.iter_mut().for_each(|w| *w /= by);
    }
}
