//! `llmzip train`: trains a custom model.

use super::equalinfo::{read_dictionary, read_tokens};
use super::exit::UsageError;
use super::held_out::archives_len;
use super::lora::{self, LoraArgs};
use super::names::shown;
use super::progress::{self, Display};
use super::session::CliSession;
use super::signals::{Unfinished, unfinished};
use super::size::{grouped, number};
use super::standard;
use super::voice::Voice;
use crate::archive::Options;
use crate::models::Model;
use crate::ops::Isa;
use crate::train::lora::LoraOptions;
use crate::train::{
    self, Arch, Budget, Device, IdMaterial, Size, Tokens, TrainOptions, TrainReport, TrainSummary,
};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};

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
    #[arg(value_name = "FILE", required_unless_present_any = ["data", "tokens"])]
    files: Vec<PathBuf>,
    /// The same, after the option
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Train on tokens instead, as llmzip equalinfo encode writes them: u8 or u16 as numpy saves them, and FILE.npy.json with
    /// plain_len, n_tokens and token_bits or vocab_size. The model codes no text
    #[arg(long, value_name = "FILE.npy", conflicts_with_all = ["files", "data", "vocab", "crlf", "lora"])]
    tokens: Option<PathBuf>,
    /// Tokens to measure the model on [default: the last of --tokens, one in 50]
    #[arg(long, value_name = "FILE.npy", requires = "tokens")]
    held_out: Option<PathBuf>,
    /// Folder of the new model or adapter [default: the first file's name, with -model or -adapter for its
    /// suffix]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Size of the network
    #[arg(long, value_name = "SIZE", value_enum, default_value_t = SizeName::Small)]
    size: SizeName,
    /// Vocabulary: its size, 256 for bytes, 300 to 65536 for a BPE trained on the data, or a file of words that llmzip equalinfo
    /// dictionary wrote, the longest of which is taken [default: 256; 2048 with llama]
    #[arg(long, value_name = "N|FILE", value_parser = vocabulary)]
    vocab: Option<VocabularyArg>,
    /// Total steps; the same data, options and steps give the same model
    #[arg(long, value_name = "N", value_parser = number(1..=u64::MAX))]
    steps: Option<u64>,
    /// Total minutes [default: 10; with --lora, see --epochs]
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = number(0.0..=1e9_f64))]
    minutes: Option<f64>,
    /// Resume the run in DIR, which must have the same data and options; --steps and --minutes
    /// include what it has done
    #[arg(long)]
    resume: bool,
    /// Random seed
    #[arg(long, value_name = "N", value_parser = number(0..=u64::MAX), default_value_t = 1)]
    seed: u64,
    /// Evaluations on held-out data in the run: points of its curve
    #[arg(long, value_name = "N", value_parser = number(1..=1000_u32), default_value_t = 20)]
    measures: u32,
    /// Train one text in eight with CR-LF line endings, so that such files compress well, too
    #[arg(long)]
    crlf: bool,
    /// Device to train on; cuda[:N] needs a build with the feature candle-cuda, where auto prefers
    /// it
    #[arg(long, value_name = "auto|cpu|cuda[:N]", value_parser = device, default_value = "auto")]
    device: Device,
    /// Threads to use, 0 for all cores; does not affect the model [default: 0]
    #[arg(short = 'T', long, value_name = "N", value_parser = number(0..=usize::MAX))]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub lora: LoraArgs,
}

/// A vocabulary as typed.
#[derive(Debug, Clone)]
enum VocabularyArg {
    Size(usize),
    Dictionary(PathBuf),
}

/// Parses a vocabulary: what is no number is a file.
fn vocabulary(text: &str) -> Result<VocabularyArg, String> {
    match text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit()) {
        true => number(256..=65_536_usize)(text).map(VocabularyArg::Size),
        false => Ok(VocabularyArg::Dictionary(text.into())),
    }
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
    /// Returns the training files.
    fn data(&self) -> Vec<PathBuf> {
        self.files.iter().chain(&self.data).cloned().collect()
    }

    /// Returns the folder of the new model or adapter.
    fn folder(&self) -> PathBuf {
        let first = || self.files.iter().chain(&self.data).chain(&self.tokens).next();
        let stem = || Path::new(first()?).file_stem();
        let named = || {
            let mut name = stem().unwrap_or_default().to_owned();
            name.push(if self.lora.lora { "-adapter" } else { "-model" });
            name.into()
        };
        self.output.clone().unwrap_or_else(named)
    }

    /// Reads the words of the dictionary, where the vocabulary is one.
    fn words(&self) -> Result<Option<Tokens>> {
        let Some(VocabularyArg::Dictionary(path)) = &self.vocab else { return Ok(None) };
        let dictionary = read_dictionary(path)?;
        Ok(Some(Tokens::of_words(dictionary.words(), shown(path))?))
    }

    /// Returns the budget as typed.
    fn budget(&self) -> Result<Option<Budget>> {
        let is_positive = |minutes: &f64| *minutes > 0.0 && minutes.is_finite();
        if let Some(minutes) = self.minutes.filter(|minutes| !is_positive(minutes)) {
            return Err(
                UsageError(format!("--minutes is {minutes}, expected a positive number")).into()
            );
        }
        Ok(self.steps.map(Budget::Steps).or(self.minutes.map(Budget::Minutes)))
    }

    /// Returns the options of a run that trains an adapter, if it does.
    fn lora_options(&self) -> Result<Option<LoraOptions>> {
        let options = || self.lora.options(self.budget()?, self.seed);
        self.lora.lora.then(options).transpose()
    }

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
        let vocab_size = match self.vocab {
            Some(VocabularyArg::Size(vocab_size)) => vocab_size,
            _ => arch.default_vocab_size(),
        };
        if vocab_size != 256 && !(300..=65_536).contains(&vocab_size) {
            let message = format!("--vocab is {vocab_size}, expected 256 or 300 to 65536");
            return Err(UsageError(message).into());
        }
        let budget = self.budget()?.unwrap_or(Budget::Minutes(MINUTES));
        Ok(TrainOptions {
            arch,
            size: match self.size {
                SizeName::Tiny => Size::Tiny,
                SizeName::Small => Size::Small,
                SizeName::Medium => Size::Medium,
                SizeName::Large => Size::Large,
            },
            vocab_size,
            budget,
            seed: self.seed,
            crlf: self.crlf,
            resume: self.resume,
            checkpoint_s: CHECKPOINT_S,
            measures: self.measures,
            device: self.device,
            isa,
        })
    }
}

/// Trains a model or an adapter and reports progress.
///
/// # Errors
/// Errors of [`train::train`] and of [`lora::run`]; I/O errors.
pub fn run(session: &CliSession, args: &TrainArgs, options: &TrainOptions) -> Result<()> {
    if let Some(options) = args.lora_options()? {
        return lora::run(session, &args.data(), &args.folder(), &options);
    }
    if let Some(tokens) = &args.tokens {
        return run_on_tokens(session, args, options, tokens);
    }
    let vocabulary = args.words()?;
    let summary = watched(session, args, |watch| {
        train::train(options, vocabulary, &args.data(), &args.folder(), watch)
    })?;
    if session.voice > Voice::Quiet {
        let (n, steps) = (grouped(summary.n_parameters as u64), grouped(summary.steps));
        let folder = shown(&args.folder());
        writeln!(
            standard::stdout()?,
            "{folder}: {n} parameters, {steps} steps, {:.4} bits per byte on held-out data",
            summary.held_out
        )?;
        writeln!(standard::stdout()?, "{}", worth(session, args, &summary.held_out_texts)?)?;
    }
    Ok(())
}

/// Runs `train`, which gets the callback that shows its progress.
fn watched(
    session: &CliSession,
    args: &TrainArgs,
    train: impl FnOnce(&mut dyn FnMut(&TrainReport)) -> crate::Result<TrainSummary>,
) -> Result<TrainSummary> {
    let display = Display::new(session.progress, session.voice, || progress::bar(Some(PARTS), BAR));
    let mut watch = |report: &TrainReport| show(&display, report);
    *unfinished() = Some(Unfinished::Drafts(args.folder()));
    let summary = train(&mut watch);
    *unfinished() = None;
    Ok(summary?)
}

/// Trains a model on the tokens in the file `path`.
fn run_on_tokens(
    session: &CliSession,
    args: &TrainArgs,
    options: &TrainOptions,
    path: &Path,
) -> Result<()> {
    let (learned, vocab_size) = read_tokens(path)?;
    let held_out = args.held_out.as_deref().map(read_tokens).transpose()?;
    if let Some(other) = held_out.as_ref().map(|held_out| held_out.1).filter(|n| *n != vocab_size) {
        let message =
            format!("--held-out has a vocabulary of {other} tokens, expected {vocab_size}");
        return Err(UsageError(message).into());
    }
    let material = IdMaterial::new(learned, held_out.map(|(held_out, _)| held_out), vocab_size)?;
    let options = TrainOptions { vocab_size, ..*options };
    let names = [path.display().to_string()];
    let summary = watched(session, args, |watch| {
        train::train_ids(&options, &material, &names, &args.folder(), watch)
    })?;
    if session.voice > Voice::Quiet {
        let (n, steps) = (grouped(summary.n_parameters as u64), grouped(summary.steps));
        let per_token = summary.held_out * material.held_out_bytes_per_token();
        let even = (vocab_size as f64).log2();
        let learnability = 100.0 * (1.0 - per_token / even);
        writeln!(
            standard::stdout()?,
            "{}: {n} parameters, {steps} steps, {:.4} bits per byte on held-out data; {per_token:.4} bits per token \
             of {even:.4}: learnability {learnability:.2} %",
            shown(&args.folder()),
            summary.held_out
        )?;
    }
    Ok(())
}

/// Compresses the held-out texts with the new model and with the compiled-in one, and returns what that says for
/// people.
fn worth(session: &CliSession, args: &TrainArgs, texts: &[Vec<u8>]) -> Result<String> {
    let folder = shown(&args.folder());
    let sample = |text: &Vec<u8>| text[..text.len().min(COMPARED / texts.len().max(1))].to_vec();
    let texts: Vec<Vec<u8>> = texts.iter().map(sample).filter(|text| !text.is_empty()).collect();
    let len: usize = texts.iter().map(Vec::len).sum();
    if len == 0 {
        return Ok(format!("use it with: llmzip -m {folder} FILE"));
    }
    let size = |model: &Model| archives_len(&texts, model, Options::default());
    let with = size(&*session.models.of_folder(&args.folder())?)?;
    let without = size(&*session.models.builtin()?)?;
    let (len, with_text, without_text) = (grouped(len as u64), grouped(with), grouped(without));
    let sizes =
        format!("held-out data: {len} bytes, {with_text} with this model, {without_text} without");
    Ok(match with < without {
        true => format!("{sizes}; use it with: llmzip -m {folder} FILE"),
        false => {
            format!("{sizes}: it is not worth it; more data, minutes or another --arch may help")
        }
    })
}

/// Most bytes of held-out data that are compressed for comparison.
const COMPARED: usize = 1 << 18;

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
