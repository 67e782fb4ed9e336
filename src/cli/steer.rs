//! `llmzip steer`: steering vectors for texts of a kind.

use super::exit::UsageError;
use super::held_out::archives_len;
use super::names::shown;
use super::output::OutputFile;
use super::progress::Display;
use super::session::CliSession;
use super::size::{grouped, number, parse_size};
use super::standard;
use super::voice::{Voice, VoiceArgs};
use crate::archive::{NamedSteering, Options};
use crate::models::{Model, Steering, SteeringFile};
use crate::train::steering::{Prompt, PromptOptions, PromptReport, train_prompt};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Suffix of files of vectors.
pub const STEERING_SUFFIX: &str = "steer";

/// Verbs of `llmzip steer`.
#[derive(Subcommand, Debug)]
pub enum SteerVerb {
    /// Learn steering vectors from files of a kind; the model stays as it is
    Train(#[command(flatten)] SteerTrainArgs),
}

/// Options of `steer train`.
#[derive(Args, Debug)]
pub struct SteerTrainArgs {
    /// Files to learn from
    #[arg(value_name = "FILE", required_unless_present = "data")]
    files: Vec<PathBuf>,
    /// The same, after the option
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// The model: a folder, or its name on the Hugging Face hub [default: the compiled-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Never download
    #[arg(long)]
    pub offline: bool,
    /// File of the vectors [default: the first file's name, with .steer for its suffix]
    #[arg(short, long, value_name = "NAME.steer")]
    output: Option<PathBuf>,
    /// Overwrite it
    #[arg(short, long)]
    force: bool,
    /// Vectors, up to 64; each costs as much time as a token
    #[arg(short = 'k', long, value_name = "N", value_parser = number(1..=Steering::MAX_VECTORS), default_value_t = 32)]
    vectors: usize,
    /// Steps, of 4 pieces each
    #[arg(long, value_name = "N", value_parser = number(1..=1_000_000_u64), default_value_t = 300)]
    steps: u64,
    /// Bytes of a piece: as much as will be compressed at a time
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "2000")]
    piece: u64,
    /// Random seed
    #[arg(long, value_name = "N", value_parser = number(0..=u64::MAX), default_value_t = 1)]
    seed: u64,
    /// Threads to use, 0 for all cores; does not affect the vectors [default: 0]
    #[arg(short = 'T', long, value_name = "N", value_parser = number(0..=usize::MAX))]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// Longest piece: its activations are in memory, once for each thread.
const MAX_PIECE: u64 = 1 << 15;

impl SteerTrainArgs {
    fn files(&self) -> Vec<&Path> {
        self.files.iter().chain(&self.data).map(PathBuf::as_path).collect()
    }

    fn path(&self) -> PathBuf {
        let named = || {
            let first = self.files().first().and_then(|path| path.file_name()).unwrap_or_default();
            Path::new(first).with_extension(STEERING_SUFFIX)
        };
        self.output.clone().unwrap_or_else(named)
    }
}

/// Learns vectors and writes their file.
///
/// # Errors
/// UsageError; I/O errors; those of the model and of learning.
pub fn run(session: &CliSession, verb: &SteerVerb) -> Result<()> {
    let SteerVerb::Train(args) = verb;
    let path = args.path();
    if path.extension().is_none_or(|suffix| suffix != STEERING_SUFFIX) {
        return Err(UsageError(format!("{}: expected a name in .steer", shown(&path))).into());
    }
    if path.symlink_metadata().is_ok() && !args.force {
        return Err(UsageError(format!("{} exists already; -f overwrites it", shown(&path))).into());
    }
    if !(1..=MAX_PIECE).contains(&args.piece) {
        let message = format!("--piece is {}, expected 1 to {MAX_PIECE}", args.piece);
        return Err(UsageError(message).into());
    }
    let read =
        |path: &&Path| fs::read(path).with_context(|| format!("cannot read {}", shown(path)));
    let texts = args.files().iter().map(read).collect::<Result<Vec<Vec<u8>>>>()?;
    let mut out = OutputFile::create(&path, args.force).with_context(|| shown(&path))?;
    let model = session.models.for_compression(session.progress, session.voice)?;
    let options = PromptOptions {
        vectors: args.vectors,
        steps: args.steps,
        piece: args.piece as usize,
        seed: args.seed,
        ..PromptOptions::default()
    };
    let display = Display::new(session.progress, session.voice, || {
        super::progress::bar(Some(args.steps), "{percent:>3}% [{bar:30}] {msg} {eta}")
    });
    let mut watch = |report: &PromptReport| show(&display, report);
    let prompt = train_prompt(&model, &texts, &options, &mut watch)?;
    drop(display);
    let steering = prompt.steering.clone();
    let file = SteeringFile { steering, model: model.identity().hex() }.to_bytes();
    let written = out.write_all(&file).map_err(Into::into).and_then(|()| out.finish(None, true));
    written.with_context(|| shown(&path))?;
    if session.voice > Voice::Quiet {
        report(&path, &prompt, &file, &model, args)?;
    }
    Ok(())
}

/// Prints what the vectors are worth on the texts that were held out.
fn report(
    path: &Path,
    prompt: &Prompt,
    file: &[u8],
    model: &Model,
    args: &SteerTrainArgs,
) -> Result<()> {
    let Prompt { with, without, held_out, .. } = prompt;
    let (n, path) = (args.vectors, shown(path));
    let mut out = standard::stdout()?;
    writeln!(
        out,
        "{path}: {n} vectors; on held-out text the model alone takes {with:.4} bits per byte with them, \
         {without:.4} without"
    )?;
    let size = |steering: Option<NamedSteering>| {
        archives_len(held_out, model, Options::default().steering(steering))
    };
    let label = path.clone();
    let (with, without) = (size(Some(NamedSteering::of_file(file, &label, model)?))?, size(None)?);
    let (pieces, bytes) = (held_out.len(), held_out.iter().map(Vec::len).sum::<usize>() as u64);
    let sizes = format!(
        "{pieces} held-out archives of {} bytes in all: {} bytes with them, named in each, {} without",
        grouped(bytes),
        grouped(with),
        grouped(without)
    );
    match with < without {
        true => writeln!(out, "{sizes}; use them with: llmzip --steer {path} FILE")?,
        false => writeln!(
            out,
            "{sizes}: in files so small they are not worth their name; larger files in small chunks may gain"
        )?,
    }
    Ok(())
}

fn show(display: &Display, report: &PromptReport) {
    let PromptReport { steps, learned, held_out } = report;
    let line = format!("step {steps}, {learned:.4} bits per byte, {held_out:.4} on held-out data");
    match display {
        Display::None => (),
        Display::Bar(bar) => {
            bar.set_position(*steps);
            bar.set_message(line);
        }
        Display::Lines(last) => {
            if Display::line_is_due(last, true) {
                say!("{line}");
            }
        }
    }
}
