//! `models evaluate`: what texts cost by models alone.

use super::args::{EngineDevice, EngineName};
use super::command::ModelCommand;
use crate::archive::Options;
use crate::cli::exit::UsageError;
use crate::cli::json;
use crate::cli::names::shown;
use crate::cli::size::{figure, grouped};
use crate::cli::standard;
use crate::codec::Parameters;
use crate::models::{Model, Network, TextCost};
use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Engine that computes logits, and its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// llmzip's kernels.
    Exact,
    /// candle on the CPU, or on the first CUDA device.
    #[cfg(feature = "candle")]
    Candle { cuda: bool },
}

/// Cost of a text.
#[derive(Serialize)]
struct Evaluation {
    model: String,
    digest: String,
    engine: &'static str,
    file: String,
    len: u64,
    n_tokens: u64,
    bits: f64,
    /// `null` of an empty file.
    bits_per_byte: Option<f64>,
}

impl Engine {
    /// Takes the engine as typed.
    ///
    /// # Errors
    /// A device without candle; candle or CUDA where this build has none.
    pub fn new(name: EngineName, device: Option<EngineDevice>) -> Result<Self> {
        let cuda = device == Some(EngineDevice::Cuda);
        match (name, device) {
            (EngineName::Exact, None) => Ok(Self::Exact),
            (EngineName::Exact, Some(_)) => {
                Err(UsageError("--device needs --engine candle".into()).into())
            }
            (EngineName::Candle, _) if cuda && !cfg!(feature = "candle-cuda") => {
                Err(is_missing("CUDA", "candle-cuda"))
            }
            #[cfg(feature = "candle")]
            (EngineName::Candle, _) => Ok(Self::Candle { cuda }),
            #[cfg(not(feature = "candle"))]
            (EngineName::Candle, _) => Err(is_missing("candle", "candle")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            #[cfg(feature = "candle")]
            Self::Candle { cuda: false } => "candle",
            #[cfg(feature = "candle")]
            Self::Candle { cuda: true } => "candle-cuda",
        }
    }

    /// Returns what each text costs by `model`, as chunks of the usual size in one lane each.
    fn costs(self, model: &Model, texts: &[Vec<u8>]) -> Result<Vec<TextCost>> {
        match self {
            Self::Exact => costs(model, model.network(), texts, true),
            #[cfg(feature = "candle")]
            Self::Candle { cuda } => {
                use crate::train::candle::{self, CandleModel};
                let device = if cuda { candle::cuda(0)? } else { candle::CPU };
                let network = CandleModel::new(model, &device)?;
                let costs = costs(model, &network, texts, false)?;
                network.check()?;
                Ok(costs)
            }
        }
    }
}

fn is_missing(what: &str, feature: &str) -> anyhow::Error {
    let message = format!(
        "this build of llmzip has no {what}; build one that has with: \
         cargo install --path . --locked --features {feature}"
    );
    UsageError(message).into()
}

/// Returns what each text costs; chunks side by side on all threads, where the network is no wider itself.
fn costs(
    model: &Model,
    network: &dyn Network,
    texts: &[Vec<u8>],
    side_by_side: bool,
) -> Result<Vec<TextCost>> {
    let options = Options::default();
    let Parameters { context, .. } = Parameters::new(model, None, options.table_log2, None)?;
    let of_chunk = |text: &[u8]| model.cost(network, context, text);
    let len = options.resolved_chunk_size() as usize;
    let cost = |text: &Vec<u8>| -> TextCost {
        let costs: Vec<TextCost> = match side_by_side {
            true => text.par_chunks(len).map(of_chunk).collect(),
            false => text.chunks(len).map(of_chunk).collect(),
        };
        costs.into_iter().sum()
    };
    Ok(texts.iter().map(cost).collect())
}

/// Evaluates every model on every text; what fails is recorded and does not stop the others.
///
/// # Errors
/// Errors that end the run: standard output closed.
pub fn run(
    command: &mut ModelCommand<'_>,
    models: &[PathBuf],
    texts: &[PathBuf],
    engine: Engine,
) -> Result<()> {
    let mut read = Vec::new();
    for path in texts {
        match fs::read(path) {
            Ok(text) => read.push((shown(path), text)),
            Err(e) => command.note(&shown(path), Err(e.into()))?,
        }
    }
    let (names, texts): (Vec<String>, Vec<Vec<u8>>) = read.into_iter().unzip();
    let mut found = Vec::new();
    command.each(models, |command, model| {
        let evaluations = evaluate(command, model, &names, &texts, engine)?;
        if !command.json {
            print(&evaluations, found.is_empty())?;
        }
        found.extend(evaluations);
        Ok(())
    })?;
    if command.json {
        json::print("evaluations", &found, &command.failures.files)?;
    }
    Ok(())
}

fn evaluate(
    command: &ModelCommand<'_>,
    model: &Path,
    names: &[String],
    texts: &[Vec<u8>],
    engine: Engine,
) -> Result<Vec<Evaluation>> {
    let found = command.find(model)?;
    let models = &command.session.models;
    let loaded = found.folder().map_or_else(|| models.builtin(), |at| models.of_folder(at))?;
    let costs = engine.costs(&loaded, texts).context("cannot evaluate")?;
    let evaluation = |((file, text), cost): ((&String, &Vec<u8>), TextCost)| Evaluation {
        model: found.label().escape_debug().to_string(),
        digest: loaded.identity().hex(),
        engine: engine.name(),
        file: file.clone(),
        len: text.len() as u64,
        n_tokens: cost.n_tokens,
        bits: cost.bits,
        bits_per_byte: (!text.is_empty()).then(|| cost.bits / text.len() as f64),
    };
    Ok(names.iter().zip(texts).zip(costs).map(evaluation).collect())
}

fn print(evaluations: &[Evaluation], with_head: bool) -> Result<()> {
    let mut out = standard::lines()?;
    if with_head {
        writeln!(out, "{:>11}  {:>15}  {:>15}  model  file", "bits/byte", "bytes", "tokens")?;
    }
    for Evaluation { model, file, len, n_tokens, bits_per_byte, .. } in evaluations {
        let (figure, len) = (figure(*bits_per_byte, 5), grouped(*len));
        writeln!(out, "{figure:>11}  {len:>15}  {:>15}  {model}  {file}", grouped(*n_tokens))?;
    }
    Ok(())
}
