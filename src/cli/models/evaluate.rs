//! `models evaluate`: what texts cost by models alone, how many questions they answer, and what smaller ones lose.

use super::args::{EngineDevice, EngineName};
use super::choices::Choices;
use super::command::ModelCommand;
use crate::archive::Options;
use crate::cli::exit::UsageError;
use crate::cli::json;
use crate::cli::names::shown;
use crate::cli::size::{figure, grouped};
use crate::cli::standard;
use crate::codec::Parameters;
use crate::local::AdapterRef;
use crate::models::{AdapterFiles, Model, Network, TextCost};
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

/// Cost of a text, or answers to the questions of a file.
#[derive(Serialize)]
struct Evaluation {
    model: String,
    digest: String,
    engine: &'static str,
    file: String,
    len: u64,
    n_tokens: u64,
    bits: f64,
    /// `null` of an empty file and of questions.
    bits_per_byte: Option<f64>,
    /// Of questions.
    n_questions: Option<u64>,
    n_correct: Option<u64>,
    accuracy: Option<f64>,
    /// Bytes of memory that the weights take.
    weights_memory: u64,
    /// Bytes of an adapter beside them.
    adapter_memory: u64,
    /// Beside the first model: how many times smaller in memory.
    ratio: f64,
    /// Beside the first model: the share of its performance that is lost; `null` where it has none.
    drop: Option<f64>,
    /// Ratio / (1 + drop).
    score: Option<f64>,
}

impl Evaluation {
    /// Returns how well the model does: the accuracy, or the bytes of text to a bit.
    fn performance(&self) -> Option<f64> {
        self.accuracy.or(self.bits_per_byte.map(f64::recip)).filter(|&it| it > 0.0)
    }

    /// Sets what the model is beside the first one, with which `first` was made.
    fn compare(&mut self, first: &Self) {
        let memory = |of: &Self| (of.weights_memory + of.adapter_memory) as f64;
        self.ratio = memory(first) / memory(self);
        let own = self.performance().or(self.accuracy);
        self.drop = first.performance().zip(own).map(|(first, own)| (first - own) / first);
        let is_loss = |drop: &f64| *drop > -1.0; // else it does more than twice as well
        self.score = self.drop.filter(is_loss).map(|drop| self.ratio / (1.0 + drop));
    }
}

/// Files to evaluate models on.
pub struct Subjects {
    /// Names and contents of texts.
    texts: Vec<(String, Vec<u8>)>,
    questions: Vec<Choices>,
}

impl Subjects {
    /// Reads texts and files of questions, these with the first `shots` of `examples` in front; what fails is recorded
    /// and does not stop the others.
    ///
    /// # Errors
    /// Errors that end the run: standard output closed.
    pub fn read(
        command: &mut ModelCommand<'_>,
        texts: &[PathBuf],
        questions: &[PathBuf],
        (examples, shots): (Option<&Path>, usize),
    ) -> Result<Self> {
        let mut read = Self { texts: Vec::new(), questions: Vec::new() };
        for path in texts {
            match fs::read(path) {
                Ok(text) => read.texts.push((shown(path), text)),
                Err(e) => command.note(&shown(path), Err(e.into()))?,
            }
        }
        for path in questions {
            match Choices::read(path, examples, shots) {
                Ok(choices) => read.questions.push(choices),
                Err(e) => command.note(&shown(path), Err(e))?,
            }
        }
        Ok(read)
    }
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
    fn costs(self, model: &Model, texts: &[&[u8]]) -> Result<Vec<TextCost>> {
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
    texts: &[&[u8]],
    side_by_side: bool,
) -> Result<Vec<TextCost>> {
    let options = Options::default();
    let Parameters { context, .. } = Parameters::new(model, None, options.table_log2, None)?;
    let of_chunk = |text: &[u8]| model.cost(network, context, text);
    let len = options.resolved_chunk_size() as usize;
    let cost = |text: &&[u8]| -> TextCost {
        let costs: Vec<TextCost> = match side_by_side {
            true => text.par_chunks(len).map(of_chunk).collect(),
            false => text.chunks(len).map(of_chunk).collect(),
        };
        costs.into_iter().sum()
    };
    Ok(match side_by_side {
        true => texts.par_iter().map(cost).collect(),
        false => texts.iter().map(cost).collect(),
    })
}

/// Evaluates every model on every file; what fails is recorded and does not stop the others.
///
/// # Errors
/// Errors that end the run: standard output closed.
pub fn run(
    command: &mut ModelCommand<'_>,
    models: &[PathBuf],
    subjects: &Subjects,
    engine: Engine,
    adapter: Option<&Path>,
) -> Result<()> {
    if adapter.is_some() && engine != Engine::Exact {
        return Err(UsageError("--adapter goes with --engine exact alone".into()).into());
    }
    let read = |adapter: &Path| -> Result<AdapterFiles> {
        Ok(AdapterRef::parse(adapter)?.find(command.session.models.store())?.read()?)
    };
    let adapter = adapter.map(read).transpose()?;
    let mut found: Vec<Evaluation> = Vec::new();
    command.each(models, |command, model| {
        for mut evaluations in evaluate(command, model, subjects, engine, adapter.as_ref())? {
            for (evaluation, first) in evaluations.iter_mut().zip(&found) {
                evaluation.compare(first);
            }
            if !command.json {
                print(&evaluations, found.is_empty())?;
            }
            found.extend(evaluations);
        }
        Ok(())
    })?;
    if command.json {
        json::print("evaluations", &found, &command.failures.files)?;
    }
    Ok(())
}

/// Evaluates a model, and then the same with the adapter, if any.
fn evaluate(
    command: &ModelCommand<'_>,
    model: &Path,
    subjects: &Subjects,
    engine: Engine,
    adapter: Option<&AdapterFiles>,
) -> Result<Vec<Vec<Evaluation>>> {
    let found = command.find(model)?;
    let models = &command.session.models;
    let loaded = found.folder().map_or_else(|| models.builtin(), |at| models.of_folder(at))?;
    let adapted = adapter.map(|files| loaded.with_adapter(files)).transpose()?;
    let label = found.label().escape_debug().to_string();
    let mut evaluations = vec![measure(&loaded, &label, subjects, engine)?];
    if let Some((adapted, files)) = adapted.zip(adapter) {
        let label = format!("{label} + {}", files.label().escape_debug());
        let mut adapted = measure(&adapted, &label, subjects, engine)?;
        let [_, weights] = files.bytes();
        adapted.iter_mut().for_each(|it| it.adapter_memory = weights.len() as u64);
        evaluations.push(adapted);
    }
    Ok(evaluations)
}

/// Evaluates `model` on every file.
fn measure(
    model: &Model,
    label: &str,
    Subjects { texts, questions }: &Subjects,
    engine: Engine,
) -> Result<Vec<Evaluation>> {
    let costs = |texts: &[&[u8]]| engine.costs(model, texts).context("cannot evaluate");
    let evaluation = |file: &str, texts: &[&[u8]], costs: &[TextCost]| Evaluation {
        model: label.to_owned(),
        digest: model.identity().hex(),
        engine: engine.name(),
        file: file.to_owned(),
        len: texts.iter().map(|text| text.len() as u64).sum(),
        n_tokens: costs.iter().map(|cost| cost.n_tokens).sum(),
        bits: costs.iter().map(|cost| cost.bits).sum(),
        bits_per_byte: None,
        n_questions: None,
        n_correct: None,
        accuracy: None,
        weights_memory: model.architecture().footprint().weights,
        adapter_memory: 0,
        ratio: 1.0,
        drop: None,
        score: None,
    };
    let plain: Vec<&[u8]> = texts.iter().map(|(_, text)| &text[..]).collect();
    let of_texts = costs(&plain)?;
    let mut evaluations = Vec::new();
    for (((name, _), text), cost) in texts.iter().zip(&plain).zip(&of_texts) {
        let bits_per_byte = (!text.is_empty()).then(|| cost.bits / text.len() as f64);
        let evaluation = evaluation(name, &[text], std::slice::from_ref(cost));
        evaluations.push(Evaluation { bits_per_byte, ..evaluation });
    }
    for choices in questions {
        let texts = choices.texts();
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let costs = costs(&texts)?;
        let bits: Vec<f64> = costs.iter().map(|cost| cost.bits).collect();
        let (n, correct) = (choices.len(), choices.correct(&bits));
        evaluations.push(Evaluation {
            n_questions: Some(n as u64),
            n_correct: Some(correct as u64),
            accuracy: Some(correct as f64 / n as f64),
            ..evaluation(&choices.name, &texts, &costs)
        });
    }
    for evaluation in &mut evaluations {
        (evaluation.drop, evaluation.score) = match evaluation.performance() {
            Some(_) => (Some(0.0), Some(1.0)),
            None => (None, None),
        };
    }
    Ok(evaluations)
}

fn print(evaluations: &[Evaluation], with_head: bool) -> Result<()> {
    let mut out = standard::lines()?;
    if with_head {
        writeln!(
            out,
            "{:>11}  {:>8}  {:>15}  {:>15}  {:>9}  {:>7}  model  file",
            "bits/byte", "accuracy", "bytes", "tokens", "memory", "score"
        )?;
    }
    for evaluation in evaluations {
        let Evaluation { model, file, len, n_tokens, weights_memory, adapter_memory, .. } =
            evaluation;
        let memory = (weights_memory + adapter_memory) as f64 / f64::from(1 << 20);
        let accuracy = evaluation.accuracy.map(|accuracy| 100.0 * accuracy);
        writeln!(
            out,
            "{:>11}  {:>8}  {:>15}  {:>15}  {:>9}  {:>7}  {model}  {file}",
            figure(evaluation.bits_per_byte, 5),
            accuracy.map_or_else(|| "-".into(), |accuracy| format!("{accuracy:.2}%")),
            grouped(*len),
            grouped(*n_tokens),
            format!("{memory:.1}M"),
            figure(evaluation.score, 4),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of an experiment with Qwen3-8B, AWQ and MMLU: 15,622.5881 MiB to 5,790.0920.
    #[test]
    fn the_score_is_the_ratio_over_one_and_the_drop() {
        let of = |weights_memory, accuracy| Evaluation {
            model: String::new(),
            digest: String::new(),
            engine: "",
            file: String::new(),
            len: 0,
            n_tokens: 0,
            bits: 0.0,
            bits_per_byte: None,
            n_questions: Some(5700),
            n_correct: None,
            accuracy: Some(accuracy),
            weights_memory,
            adapter_memory: 0,
            ratio: 1.0,
            drop: None,
            score: None,
        };
        let mut quantized = of(57_900_920, 4188.0 / 5700.0);
        quantized.compare(&of(156_225_881, 4299.0 / 5700.0));
        assert!((quantized.ratio - 2.6982).abs() < 1e-4, "{}", quantized.ratio);
        assert!((quantized.score.unwrap() - 2.6303).abs() < 1e-4, "{:?}", quantized.score);
        // A text of twice the bits has half the performance.
        let text = |bits_per_byte| Evaluation { accuracy: None, bits_per_byte, ..of(1, 0.0) };
        let mut worse = text(Some(2.0));
        worse.compare(&text(Some(1.0)));
        assert_eq!((worse.drop, worse.score), (Some(0.5), Some(1.0 / 1.5)));
        worse.compare(&text(None));
        assert_eq!(worse.score, None);
        let mut better = text(Some(1.0));
        better.compare(&text(Some(2.0)));
        assert_eq!((better.drop, better.score), (Some(-1.0), None));
    }
}
