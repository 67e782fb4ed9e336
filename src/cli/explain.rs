//! `llmzip explain`: a page that shows what each token of a text costs under a language model.

use super::input::{Input, OpenInput, expect_no_folder};
use super::names::shown;
use super::output::{refuse_inputs, write_to};
use super::session::CliSession;
use super::standard;
use super::voice::VoiceArgs;
use crate::explain::page;
use anyhow::{Context, Result};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Options of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The text, - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The page; - for standard output [default: FILE.html; of standard input, standard output]
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Overwrite it
    #[arg(short, long)]
    force: bool,
    /// The model: a folder, a GGUF file, or its name on the Hugging Face hub [default: the compiled-in model]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Never download
    #[arg(long)]
    pub offline: bool,
    /// Bytes of the text that are shown at most, from its beginning
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse_size, default_value = "256K")]
    bytes: u64,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// Writes the page of the text that `args` names.
///
/// # Errors
/// I/O errors; those of the model.
pub fn run(session: &CliSession, args: &ExplainArgs) -> Result<()> {
    let input = match args.file.as_os_str() == "-" {
        true => Input::Stdin { named: true },
        false => Input::File(args.file.clone()),
    };
    let output = match (&args.output, &input) {
        (Some(named), _) if named.as_os_str() == "-" => None,
        (Some(named), _) => Some(named.clone()),
        (None, Input::Stdin { .. }) => None,
        (None, Input::File(path)) => {
            let mut name = path.clone().into_os_string();
            name.push(".html");
            Some(name.into())
        }
    };
    let name = shown(&args.file);
    if let Some(output) = &output {
        refuse_inputs(output, &[&args.file])?;
    }
    expect_no_folder(&args.file).with_context(|| name.clone())?;
    let input = OpenInput::open(&input, false, true).with_context(|| name.clone())?;
    let head = input.head(args.bytes.saturating_add(1));
    let (text, _) = head.with_context(|| name.clone())?;
    let is_cut = text.len() as u64 > args.bytes;
    let text = &text[..text.len().min(args.bytes.try_into().unwrap_or(usize::MAX))];
    let write = |out: &mut dyn Write| {
        let model = session.models.for_compression(session.progress, session.voice)?;
        let page = page(&model, &name, text, is_cut)?;
        out.write_all(page.as_bytes()).context("cannot write the page")
    };
    match output {
        Some(path) => write_to(&path, args.force, Some(&input), write),
        None => write(&mut standard::stdout()?),
    }
}
