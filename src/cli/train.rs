//! `llmzip train`: trains a custom model.

use super::exit::UsageError;
use super::names::shown;
use super::progress::{self, Display};
use super::session::CliSession;
use super::size::grouped;
use super::standard;
use super::voice::Voice;
use crate::ops::Isa;
use crate::train::{self, Arch, Budget, Device, Size, TrainOptions, TrainReport};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;

/// Default minutes.
const MINUTES: f64 = 10.0;

/// Seconds between checkpoints.
const CHECKPOINT_S: f64 = 60.0;

#[derive(Args, Debug)]
pub struct TrainArgs {
    /// Network architecture
    #[arg(long, value_name = "ARCH", value_enum, default_value_t = ArchName::Gru)]
    arch: ArchName,
    /// Training files; a NUL byte ends a document
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folder of the new model
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Size of the network
    #[arg(long, value_name = "SIZE", value_enum, default_value_t = SizeName::Small)]
    size: SizeName,
    /// Vocabulary size: 256 for bytes, 300 to 65536 for a BPE trained on the data [default: 256;
    /// 2048 with llama]
    #[arg(long, value_name = "N")]
    vocab: Option<usize>,
    /// Total steps; the same data, options and steps give the same model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Total minutes [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    minutes: Option<f64>,
    /// Resume the run in DIR, which must have the same data and options; --steps and --minutes
    /// include what it has done
    #[arg(long)]
    resume: bool,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Train one text in eight with CR-LF line endings, so that such files compress well, too
    #[arg(long)]
    crlf: bool,
    /// Device to train on; cuda[:N] needs a build with the feature candle-cuda, where auto prefers
    /// it
    #[arg(long, value_name = "auto|cpu|cuda[:N]", value_parser = device, default_value = "auto")]
    device: Device,
    /// Threads to use, 0 for all cores; does not affect the model [default: 0]
    #[arg(short = 'T', long, value_name = "N")]
    pub threads: Option<usize>,
}

fn device(name: &str) -> Result<Device, String> {
    match (name, name.strip_prefix("cuda:").map(str::parse)) {
        ("auto", _) => Ok(Device::Auto),
        ("cpu", _) => Ok(Device::Cpu),
        ("cuda", _) => Ok(Device::Cuda(0)),
        (_, Some(Ok(number))) => Ok(Device::Cuda(number)),
        _ => Err("expected auto, cpu, cuda or cuda:N".into()),
    }
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum ArchName {
    /// Gated recurrent units: fast, for bytes
    Gru,
    /// Long short-term memory: slower than gru, slightly smaller archives
    Lstm,
    /// Mistral-style transformer, for tokens of several bytes
    Llama,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum SizeName {
    Tiny,
    Small,
    Medium,
    Large,
}

impl TrainArgs {
    /// Fills in all defaults.
    ///
    /// # Errors
    /// UsageError.
    pub fn options(&self, isa: Isa) -> Result<TrainOptions> {
        let arch = match self.arch {
            ArchName::Gru => Arch::Gru,
            ArchName::Lstm => Arch::Lstm,
            ArchName::Llama => Arch::Llama,
        };
        let vocab_size = self.vocab.unwrap_or(arch.default_vocab_size());
        if vocab_size != 256 && !(300..=65_536).contains(&vocab_size) {
            let message = format!("--vocab is {vocab_size}, expected 256 or 300 to 65536");
            return Err(UsageError(message).into());
        }
        let minutes = self.minutes.unwrap_or(MINUTES);
        if !(minutes > 0.0 && minutes.is_finite()) {
            return Err(
                UsageError(format!("--minutes is {minutes}, expected a positive number")).into()
            );
        }
        Ok(TrainOptions {
            arch,
            size: match self.size {
                SizeName::Tiny => Size::Tiny,
                SizeName::Small => Size::Small,
                SizeName::Medium => Size::Medium,
                SizeName::Large => Size::Large,
            },
            vocab_size,
            budget: self.steps.map_or(Budget::Minutes(minutes), Budget::Steps),
            seed: self.seed,
            crlf: self.crlf,
            resume: self.resume,
            checkpoint_s: CHECKPOINT_S,
            device: self.device,
            isa,
        })
    }
}

/// Trains a model and reports progress.
///
/// # Errors
/// Errors of [`train::train`]; I/O errors.
pub fn run(session: &CliSession, args: &TrainArgs, options: &TrainOptions) -> Result<()> {
    let display = Display::new(session.progress, session.voice, || progress::bar(Some(PARTS), BAR));
    let mut watch = |report: &TrainReport| show(&display, report);
    let summary = train::train(options, &args.data, &args.output, &mut watch)?;
    drop(display);
    if session.voice > Voice::Quiet {
        let (n, steps) = (grouped(summary.n_parameters as u64), grouped(summary.steps));
        let folder = shown(&args.output);
        writeln!(
            standard::stdout()?,
            "{folder}: {n} parameters, {steps} steps, {:.4} bits per byte on held-out data; \
             use it with: llmzip -m {folder} FILE",
            summary.held_out
        )?;
    }
    Ok(())
}

/// Parts of a bar.
const PARTS: u64 = 1000;

const BAR: &str = "{percent:>3}% [{bar:30}] {msg} {eta}";

/// Shows how far a run is.
fn show(display: &Display, report: &TrainReport) {
    let line = line(report);
    let held_out = report.held_out.map(|bits| format!("{line}, {bits:.4} on held-out data"));
    match display {
        Display::None => (),
        Display::Bar(bar) => {
            bar.set_position((report.share * PARTS as f64) as u64);
            bar.set_message(line);
            held_out.into_iter().for_each(|line| bar.println(line));
        }
        Display::Lines(last) => {
            if Display::line_is_due(last, held_out.is_some()) {
                say!("{}", held_out.unwrap_or(line));
            }
        }
    }
}

fn line(report: &TrainReport) -> String {
    let TrainReport { steps, share, elapsed_s, bytes, learned, .. } = report;
    let percent = 100.0 * share.min(1.0);
    format!(
        "{percent:.1} %, {elapsed_s:.0} s, step {steps}, {} bytes, {learned:.4} bits per byte",
        grouped(*bytes)
    )
}
