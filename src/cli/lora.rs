//! `llmzip train --lora`: a low-rank adapter for texts of a kind.

use super::adapter_folder::AdapterFolder;
use super::exit::UsageError;
use super::held_out::archives_len;
use super::names::shown;
use super::progress::{self, Display};
use super::session::CliSession;
use super::size::{grouped, number, parse_size};
use super::standard;
use super::voice::Voice;
use crate::archive::Options;
use crate::hub::label_of;
use crate::models::{Adapter, AdapterFiles, Architecture, Model};
use crate::train::Budget;
use crate::train::lora::{LearnedAdapter, LoraBudget, LoraOptions, LoraReport, train_adapter};
use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of `train` that only adapters have.
#[derive(Args, Debug)]
#[command(next_help_heading = "Low-rank adapters")]
pub struct LoraArgs {
    /// Train a low-rank adapter (LoRA) beside a model, which stays as it is; written in PEFT's layout
    #[arg(long, conflicts_with_all = ["arch", "size", "vocab", "resume", "crlf", "device"])]
    pub lora: bool,
    /// The model: a folder, or its name on the Hugging Face hub [default: the compiled-in model]
    #[arg(short, long, value_name = "MODEL", requires = "lora")]
    pub model: Option<PathBuf>,
    /// Never download
    #[arg(long, requires = "lora")]
    pub offline: bool,
    /// Rank of the adapter's matrices
    #[arg(long, value_name = "N", requires = "lora", value_parser = number(1..=Adapter::MAX_RANK), default_value_t = 8)]
    rank: usize,
    /// Strength of the adapter: its outputs are multiplied by alpha / rank
    #[arg(long, value_name = "X", requires = "lora", value_parser = number(1e-6..=1e6_f64), default_value_t = 32.0)]
    alpha: f64,
    /// Passes over the files [default: 3, or more for a hundred steps]
    #[arg(long, value_name = "N", requires = "lora", conflicts_with_all = ["steps", "minutes"], value_parser = number(1e-3..=1e6_f64))]
    epochs: Option<f64>,
    /// Learning rate
    #[arg(long, value_name = "R", requires = "lora", value_parser = number(1e-9..=1.0_f32), default_value_t = 0.001)]
    rate: f32,
    /// Bytes of a piece of text; a step learns from four
    #[arg(long, value_name = "SIZE", requires = "lora", value_parser = parse_size, default_value = "2000")]
    piece: u64,
}

/// Longest piece: its activations are in memory, once for each thread.
const MAX_PIECE: u64 = 1 << 15;

impl LoraArgs {
    /// Resolves the options of a run.
    ///
    /// # Errors
    /// UsageError.
    pub fn options(&self, budget: Option<Budget>, seed: u64) -> Result<LoraOptions> {
        if !(1..=MAX_PIECE).contains(&self.piece) {
            let message = format!("--piece is {}, expected 1 to {MAX_PIECE}", self.piece);
            return Err(UsageError(message).into());
        }
        let default = LoraOptions::default();
        let epochs = self.epochs.map(LoraBudget::Epochs);
        Ok(LoraOptions {
            rank: self.rank,
            alpha: self.alpha,
            budget: epochs.or(budget.map(LoraBudget::Budget)),
            rate: self.rate,
            piece: self.piece as usize,
            seed,
            ..default
        })
    }
}

/// Learns an adapter from `files` and writes its folder.
///
/// # Errors
/// UsageError; I/O errors; those of the model and of learning.
pub fn run(
    session: &CliSession,
    files: &[PathBuf],
    folder: &Path,
    options: &LoraOptions,
) -> Result<()> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(UsageError(format!("{} is not empty", shown(folder))).into());
    }
    let read =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", shown(path)));
    let texts = files.iter().map(read).collect::<Result<Vec<Vec<u8>>>>()?;
    let out = AdapterFolder::create(folder)?;
    let model = session.models.for_compression(session.progress, session.voice)?;
    let display = Display::new(session.progress, session.voice, || progress::bar(Some(PARTS), BAR));
    let mut watch = |report: &LoraReport| show(&display, report);
    let learned = train_adapter(&model, &texts, options, &mut watch)?;
    drop(display);
    let Architecture::Transformer(config) = model.architecture() else {
        unreachable!("no other takes an adapter");
    };
    let label = label_of(&folder.file_name().unwrap_or_default().to_string_lossy());
    let base = &model.identity().label;
    let adapter = AdapterFiles::of_adapter(label, &learned.adapter, base, config);
    out.write(&adapter)?;
    if session.voice > Voice::Quiet {
        report(folder, &learned, &adapter, &model)?;
    }
    Ok(())
}

/// Prints what the adapter is worth on the texts that were held out.
fn report(
    folder: &Path,
    learned: &LearnedAdapter,
    adapter: &AdapterFiles,
    model: &Model,
) -> Result<()> {
    let LearnedAdapter { with, without, held_out, n_parameters, .. } = learned;
    let (folder, n) = (shown(folder), grouped(*n_parameters as u64));
    let mut out = standard::stdout()?;
    writeln!(
        out,
        "{folder}: {n} parameters; on held-out text the model alone takes {with:.4} bits per byte with it, \
         {without:.4} without"
    )?;
    let size = |model: &Model| archives_len(held_out, model, Options::default());
    let (with, without) = (size(&model.with_adapter(adapter)?)?, size(model)?);
    let (pieces, bytes) = (held_out.len(), held_out.iter().map(Vec::len).sum::<usize>() as u64);
    let sizes = format!(
        "{pieces} held-out archives of {} bytes in all: {} bytes with the adapter, named in each, {} without",
        grouped(bytes),
        grouped(with),
        grouped(without)
    );
    match with < without {
        true => writeln!(out, "{sizes}; use it with: llmzip --adapter {folder} FILE")?,
        false => writeln!(
            out,
            "{sizes}: in files so small it is not worth its name; larger files may gain"
        )?,
    }
    Ok(())
}

/// Parts of a bar.
const PARTS: u64 = 1000;

const BAR: &str = "{percent:>3}% [{bar:30}] {msg} {eta}";

fn show(display: &Display, report: &LoraReport) {
    let LoraReport { steps, share, learned, held_out } = report;
    let line = format!("step {steps}, {learned:.4} bits per byte, {held_out:.4} on held-out data");
    match display {
        Display::None => (),
        Display::Bar(bar) => {
            bar.set_position((share * PARTS as f64) as u64);
            bar.set_message(line);
        }
        Display::Lines(last) => {
            if Display::line_is_due(last, true) {
                say!("{line}");
            }
        }
    }
}
