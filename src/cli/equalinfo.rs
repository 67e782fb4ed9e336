//! `llmzip equalinfo`: text as tokens of equal information, for the training of a second model (docs/equal-info.md).

use super::exit::UsageError;
use super::input::{Input, OpenInput, expect_no_folder};
use super::names::{shown, with_suffix, without_suffix};
use super::output::{OutputPlace, refuse_inputs, refuse_name, write_to};
use super::session::CliSession;
use super::size::{figure, grouped, number, parse_size};
use super::standard;
use super::voice::{Voice, VoiceArgs};
use crate::equalinfo::{self, Coding, DEFAULT_SEGMENT, Dictionary, Layout, read_npy, write_npy};
use crate::models::Model;
use crate::train::TokenIds;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Suffix of files of tokens.
const TOKENS_SUFFIX: &str = ".npy";

/// Suffix, after that, of what a reader must know of them.
const ABOUT_SUFFIX: &str = ".json";

/// Suffix of dictionaries.
const DICTIONARY_SUFFIX: &str = "windows";

/// Number of the layout of the file about tokens.
const ABOUT_SCHEMA: u32 = 1;

/// Verbs of `llmzip equalinfo`.
#[derive(Subcommand, Debug)]
pub enum EqualinfoVerb {
    /// Cut a file into windows of equal coded length and write their tokens, as numpy reads them
    Encode(#[command(flatten)] EncodeArgs),
    /// Turn tokens into the file again
    Decode(#[command(flatten)] DecodeArgs),
    /// Write what each window of up to 16 bits stands for, so that text is cut without the model
    Dictionary(#[command(flatten)] DictionaryArgs),
}

/// Options that all verbs have.
#[derive(Args, Debug)]
pub struct EqualinfoArgs {
    /// The model that codes, recurrent and of bytes: a folder, as llmzip train makes it, or seed:gru:WIDTH:SEED
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Never download
    #[arg(long)]
    pub offline: bool,
    /// The new file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite it
    #[arg(short, long)]
    force: bool,
    /// Threads to use, 0 for all cores; does not affect the output [default: 0]
    #[arg(short = 'T', long, value_name = "N", value_parser = number(0..=usize::MAX))]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

#[derive(Args, Debug)]
pub struct EncodeArgs {
    /// Bits of a window, 8 to 65536
    #[arg(long, value_name = "W", value_parser = number(8..=65_536_usize), required_unless_present_any = ["whole", "dictionary"])]
    bits: Option<usize>,
    /// One code for each segment instead of windows, for comparison
    #[arg(long, conflicts_with_all = ["bits", "dictionary"])]
    whole: bool,
    /// Bits of a token: 8, 12 or 16 [default: those of a window, else 16 where they go into it]
    #[arg(long, value_name = "N", value_parser = number(8..=16_usize))]
    token_bits: Option<usize>,
    /// Bytes that are cut into windows at a time
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value_t = DEFAULT_SEGMENT as u64)]
    segment: u64,
    /// Cut by this dictionary, instead of by a model
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bits", "model"])]
    dictionary: Option<PathBuf>,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    common: EqualinfoArgs,
}

#[derive(Args, Debug)]
pub struct DecodeArgs {
    /// Decode by this dictionary, instead of by a model
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    dictionary: Option<PathBuf>,
    /// The tokens, with the file about them beside
    #[arg(value_name = "FILE.npy")]
    file: PathBuf,
    #[command(flatten)]
    common: EqualinfoArgs,
}

#[derive(Args, Debug)]
pub struct DictionaryArgs {
    /// Bits of a window, 8 to 16
    #[arg(long, value_name = "W", value_parser = number(8..=16_usize))]
    bits: usize,
    #[command(flatten)]
    common: EqualinfoArgs,
}

impl EqualinfoVerb {
    /// Returns the options that all verbs have.
    pub fn common(&self) -> &EqualinfoArgs {
        match self {
            Self::Encode(EncodeArgs { common, .. })
            | Self::Decode(DecodeArgs { common, .. })
            | Self::Dictionary(DictionaryArgs { common, .. }) => common,
        }
    }
}

/// All that tokens mean, beside the model.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    equalinfo: u32,
    /// Bits of a window; null: a code for each segment.
    window_bits: Option<usize>,
    token_bits: usize,
    segment_len: usize,
    plain_len: usize,
    n_tokens: usize,
    /// BLAKE3 of the text.
    blake3: String,
    /// BLAKE3 identity of the model.
    model: String,
    /// Without windows: the tokens of each segment.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    segment_tokens: Vec<usize>,
}

impl About {
    fn layout(&self) -> Layout {
        let coding = self.window_bits.map_or(Coding::Whole, Coding::Windows);
        Layout { coding, token_bits: self.token_bits, segment_len: self.segment_len }
    }
}

/// Runs a verb.
///
/// # Errors
/// UsageError; I/O errors; those of the model and of the tokens.
pub fn run(session: &CliSession, verb: &EqualinfoVerb) -> Result<()> {
    match verb {
        EqualinfoVerb::Encode(args) => encode(session, args),
        EqualinfoVerb::Decode(args) => decode(session, args),
        EqualinfoVerb::Dictionary(args) => dictionary(session, args),
    }
}

/// All that training must know of tokens, whoever made them.
#[derive(Deserialize)]
struct Counts {
    plain_len: usize,
    n_tokens: usize,
    token_bits: Option<u32>,
    vocab_size: Option<usize>,
}

/// Reads tokens to train on, and returns them with the size of their vocabulary.
///
/// # Errors
/// I/O errors; Corrupt where the files are not such.
pub fn read_tokens(path: &Path) -> Result<(TokenIds, usize)> {
    let ids = read_npy(&read(path)?).with_context(|| shown(path))?;
    let about = with_suffix(path, ABOUT_SUFFIX);
    let corrupt = |message: String| {
        let error = crate::Error::new(crate::ErrorKind::Corrupt, message);
        anyhow::Error::from(error).context(shown(&about))
    };
    let counts: Counts =
        serde_json::from_slice(&read(&about)?).map_err(|e| corrupt(e.to_string()))?;
    let Counts { plain_len, n_tokens, token_bits, vocab_size } = counts;
    let vocab_size = vocab_size.or(token_bits.and_then(|bits| 1usize.checked_shl(bits)));
    match vocab_size {
        _ if n_tokens != ids.len() => {
            Err(corrupt(format!("it is about {n_tokens} tokens, there are {}", ids.len())))
        }
        _ if plain_len == 0 && n_tokens > 0 => Err(corrupt("tokens of a text of no bytes".into())),
        Some(vocab_size @ 2..=65_536) => Ok((TokenIds { ids, plain_len }, vocab_size)),
        _ => Err(corrupt("expected token_bits, 1 to 16, or vocab_size, 2 to 65536".into())),
    }
}

fn encode(session: &CliSession, args: &EncodeArgs) -> Result<()> {
    let (path, common) = (&args.file, &args.common);
    let (input, text) = read_input(path)?;
    let output = common.output.clone().unwrap_or_else(|| with_suffix(path, TOKENS_SUFFIX));
    let place = OutputPlace::of(&output, common.force).with_context(|| shown(&output))?;
    let (OutputPlace::File(output), true) = (place, output.as_os_str() != "-") else {
        let message = "tokens are two files, of which -o names the first: it can be no stream";
        return Err(UsageError(message.into()).into());
    };
    let about_path = with_suffix(&output, ABOUT_SUFFIX);
    let read: Vec<&Path> = [Some(path), args.dictionary.as_ref()]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    refuse_inputs(&output, &read)?;
    refuse_inputs(&about_path, &read)?;
    refuse_taken(&output, common.force)?;
    refuse_taken(&about_path, common.force)?;
    let dictionary = args.dictionary.as_deref().map(read_dictionary).transpose()?;
    let coding = match (&dictionary, args.bits) {
        (Some(dictionary), _) => Coding::Windows(dictionary.bits),
        (None, Some(bits)) => Coding::Windows(bits),
        (None, None) => Coding::Whole,
    };
    let layout = Layout {
        coding,
        token_bits: args.token_bits.unwrap_or_else(|| token_bits(coding)),
        segment_len: usize::try_from(args.segment).unwrap_or(usize::MAX),
    };
    layout.check().map_err(|e| UsageError(e.to_string()))?;
    let (segments, model) = match &dictionary {
        Some(dictionary) if layout.token_bits != dictionary.bits => {
            let bits = dictionary.bits;
            let message =
                format!("--token-bits: a dictionary of {bits} bits has tokens of as many");
            return Err(UsageError(message).into());
        }
        Some(dictionary) => {
            (vec![dictionary.encode(&text, layout.segment_len)?], hex(dictionary.model))
        }
        None => {
            let model = byte_model(session, common)?;
            let progress = session.counter(&shown(path), session.progress, Some(text.len() as u64));
            let segments = equalinfo::encode(&model, &text, layout, &|n| progress.add(n))?;
            progress.finish();
            (segments, model.identity().hex())
        }
    };
    let tokens = segments.concat();
    let about = About {
        equalinfo: ABOUT_SCHEMA,
        window_bits: match coding {
            Coding::Windows(bits) => Some(bits),
            Coding::Whole => None,
        },
        token_bits: layout.token_bits,
        segment_len: layout.segment_len,
        plain_len: text.len(),
        n_tokens: tokens.len(),
        blake3: blake3::hash(&text).to_hex().to_string(),
        model,
        segment_tokens: match coding {
            Coding::Windows(_) => Vec::new(),
            Coding::Whole => segments.iter().map(Vec::len).collect(),
        },
    };
    let about = format!("{}\n", serde_json::to_string(&about)?);
    write(&about_path, about.as_bytes(), common.force, Some(&input))?;
    write(&output, &write_npy(&tokens, layout.token_bits), common.force, Some(&input))?;
    if session.voice > Voice::Quiet {
        let (from, to) = (shown(path), shown(&output));
        let (n, len) = (grouped(tokens.len() as u64), grouped(text.len() as u64));
        let per_token =
            figure((!tokens.is_empty()).then(|| text.len() as f64 / tokens.len() as f64), 3);
        let bits = (tokens.len() * layout.token_bits) as f64;
        let ratio = figure((bits > 0.0).then(|| 8.0 * text.len() as f64 / bits), 3);
        let line = format!(
            "{from} -> {to}: {len} bytes, {n} tokens, {per_token} bytes each, ratio {ratio}"
        );
        writeln!(standard::stdout()?, "{line}")?;
    }
    Ok(())
}

/// The bits of a token for `coding` where none are typed.
fn token_bits(coding: Coding) -> usize {
    let fits = |token_bits: &usize| match coding {
        Coding::Windows(bits) => bits % token_bits == 0,
        Coding::Whole => true,
    };
    [16, 12, 8].into_iter().find(fits).unwrap_or(16)
}

fn decode(session: &CliSession, args: &DecodeArgs) -> Result<()> {
    let (path, common) = (&args.file, &args.common);
    let output = match &common.output {
        Some(output) => output.clone(),
        None => without_suffix(path, TOKENS_SUFFIX).ok_or_else(|| {
            UsageError(format!("{}: does not end in .npy; -o names the output", shown(path)))
        })?,
    };
    let (input, bytes) = read_input(path)?;
    let tokens = read_npy(&bytes).with_context(|| shown(path))?;
    let about_path = with_suffix(path, ABOUT_SUFFIX);
    let about: About = serde_json::from_slice(&read(&about_path)?)
        .map_err(|e| crate::Error::new(crate::ErrorKind::Corrupt, e.to_string()))
        .with_context(|| format!("{}: not what encode wrote about tokens", shown(&about_path)))?;
    if about.equalinfo != ABOUT_SCHEMA || about.n_tokens != tokens.len() {
        let message = format!(
            "{} tokens, schema {}, expected {} and {ABOUT_SCHEMA}: {} is about others",
            tokens.len(),
            about.equalinfo,
            about.n_tokens,
            shown(&about_path)
        );
        return Err(crate::Error::new(crate::ErrorKind::Corrupt, message).into());
    }
    let layout = about.layout();
    let corrupt = |e: crate::Error| crate::Error::new(crate::ErrorKind::Corrupt, e.to_string());
    layout.check().map_err(corrupt).with_context(|| shown(&about_path))?;
    let read = [Some(path), Some(&about_path), args.dictionary.as_ref()];
    refuse_inputs(&output, &read.into_iter().flatten().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let is_stdout = output.as_os_str() == "-";
    let place = OutputPlace::of(&output, common.force).with_context(|| shown(&output))?;
    let is_stream = is_stdout || matches!(place, OutputPlace::Stream(_));
    if !is_stdout {
        refuse_taken(&output, common.force)?;
    }
    let text = match &args.dictionary {
        Some(path) => {
            let dictionary = read_dictionary(path)?;
            check_model(&about, &hex(dictionary.model))?;
            if about.window_bits != Some(dictionary.bits) || about.token_bits != dictionary.bits {
                bail!("{}: its windows are not those of the tokens", shown(path));
            }
            dictionary.decode(&tokens, about.plain_len, layout.segment_len)?
        }
        None => {
            let model = byte_model(session, common)?;
            check_model(&about, &model.identity().hex())?;
            let segments = segments(&about, tokens).with_context(|| shown(&about_path))?;
            let progress = session.counter(&shown(path), session.progress, None);
            let add = |n| progress.add(n);
            let text = equalinfo::decode(&model, &segments, about.plain_len, layout, &add)?;
            progress.finish();
            text
        }
    };
    if blake3::hash(&text).to_hex().as_str() != about.blake3 {
        let message = "the tokens decode to another text than was encoded";
        return Err(crate::Error::new(crate::ErrorKind::Corrupt, message).into());
    }
    match is_stdout {
        true => standard::stdout()?.write_all(&text).context("cannot write")?,
        false => write(&output, &text, common.force, Some(&input))?,
    }
    if session.voice > Voice::Quiet && !is_stream {
        let (from, to, len) = (shown(path), shown(&output), grouped(text.len() as u64));
        writeln!(standard::stdout()?, "{from} -> {to}: {len} bytes")?;
    }
    Ok(())
}

/// The tokens by segment, where there are no windows; else all in one piece.
fn segments(about: &About, tokens: Vec<u16>) -> crate::Result<Vec<Vec<u16>>> {
    if about.window_bits.is_some() {
        return Ok(vec![tokens]);
    }
    let mut rest = &tokens[..];
    let mut segments = Vec::new();
    for &len in &about.segment_tokens {
        let cut = rest.split_at_checked(len);
        let Some((segment, after)) = cut else { break };
        segments.push(segment.to_vec());
        rest = after;
    }
    match rest.is_empty() && segments.len() == about.segment_tokens.len() {
        true => Ok(segments),
        false => {
            let message = "its segments have another number of tokens in all";
            Err(crate::Error::new(crate::ErrorKind::Corrupt, message))
        }
    }
}

fn dictionary(session: &CliSession, args: &DictionaryArgs) -> Result<()> {
    let (bits, common) = (args.bits, &args.common);
    let Some(output) = &common.output else {
        let message = format!("-o names the dictionary, for example NAME.{DICTIONARY_SUFFIX}");
        return Err(UsageError(message).into());
    };
    refuse_taken(output, common.force)?;
    let model = byte_model(session, common)?;
    let verbose = session.voice == Voice::Verbose;
    let dictionary = Dictionary::build(&model, bits, &|found| {
        if verbose {
            say!("{found} of {} windows", 1u64 << bits);
        }
    })?;
    write(output, &dictionary.to_bytes(), common.force, None)?;
    if session.voice > Voice::Quiet {
        let longest = dictionary.words().iter().map(Vec::len).max().unwrap_or(0) as u64;
        let (n, words) = (grouped(1 << bits), grouped(dictionary.n_words() as u64));
        let (path, longest) = (shown(output), grouped(longest));
        let line = format!("{path}: {n} windows, {words} words of up to {longest} bytes");
        writeln!(standard::stdout()?, "{line}")?;
    }
    Ok(())
}

/// The model of `-m`, which must be typed: the compiled-in one is not of bytes.
fn byte_model(session: &CliSession, common: &EqualinfoArgs) -> Result<Arc<Model>> {
    if common.model.is_none() {
        let message = "-m names the model of bytes that codes; llmzip train makes one";
        return Err(UsageError(message.into()).into());
    }
    session.models.for_compression(session.progress, session.voice)
}

fn check_model(about: &About, model: &str) -> Result<()> {
    if about.model == *model {
        return Ok(());
    }
    let message = format!("the tokens were made with the model {}, not with {model}", about.model);
    Err(crate::Error::new(crate::ErrorKind::ModelMissing, message).into())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", shown(path)))
}

/// Reads a file whose mode the output will have.
fn read_input(path: &Path) -> Result<(OpenInput, Vec<u8>)> {
    let open = || {
        expect_no_folder(path)?;
        let input = OpenInput::open(&Input::File(path.to_owned()), false, true)?;
        let (bytes, _) = input.head(u64::MAX)?;
        anyhow::Ok((input, bytes))
    };
    open().with_context(|| shown(path))
}

/// Reads a dictionary.
///
/// # Errors
/// I/O errors; Corrupt where it is none.
pub fn read_dictionary(path: &Path) -> Result<Dictionary> {
    Dictionary::parse(&read(path)?).with_context(|| shown(path))
}

/// Refuses a name that the output could not get, before any work is done.
fn refuse_taken(path: &Path, force: bool) -> Result<()> {
    let refuse = || match OutputPlace::of(path, force)? {
        OutputPlace::File(path) => refuse_name(&path, force),
        OutputPlace::Stream(_) => Ok(()),
    };
    refuse().with_context(|| shown(path))
}

fn write(path: &Path, content: &[u8], force: bool, like: Option<&OpenInput>) -> Result<()> {
    write_to(path, force, like, |out| out.write_all(content).with_context(|| shown(path)))
}

fn hex(digest: [u8; 32]) -> String {
    blake3::Hash::from_bytes(digest).to_hex().to_string()
}
