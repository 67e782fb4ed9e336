//! Compression with steering vectors that are fitted to the input and carried in its archive.

use super::size::{grouped, number};
use crate::archive::{self, NamedSteering, Options, Progress, Summary};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Model, Steering};
use crate::train::steering::{FitOptions, SteeringPrior, fit};
use clap::{Args, ValueEnum};
use std::io::{Read, Write};

/// Options of `--steer-fit`.
#[derive(Args, Debug)]
pub struct SteerFitArgs {
    /// Fit up to N steering vectors to each input and carry them in its archive, where that makes it
    /// smaller; takes minutes (docs/steering.md) [default: 2]
    #[arg(
        long = "steer-fit",
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = number(1..=Steering::MAX_VECTORS),
        conflicts_with_all = ["steer", "steer_random"]
    )]
    vectors: Option<usize>,
    /// How the numbers of these vectors are coded
    #[arg(long = "steer-prior", value_name = "PRIOR", value_enum, default_value_t = PriorName::Empirical, requires = "vectors")]
    prior: PriorName,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum PriorName {
    /// Under a normal distribution
    Gauss,
    /// Under frequencies learned on the way
    Empirical,
    /// As a few levels of their own
    LloydMax,
}

impl SteerFitArgs {
    /// Returns whether vectors are to be fitted.
    pub fn is_wanted(&self) -> bool {
        self.vectors.is_some()
    }

    /// Returns what is to be fitted, to inputs cut into chunks of that size.
    pub fn options(&self, chunk_size: u32) -> Option<FitOptions> {
        let prior = match self.prior {
            PriorName::Gauss => SteeringPrior::Gauss,
            PriorName::Empirical => SteeringPrior::Empirical,
            PriorName::LloydMax => SteeringPrior::LloydMax,
        };
        let piece = MAX_PIECE.min(chunk_size as usize);
        let options = |vectors| FitOptions { vectors, prior, piece, ..FitOptions::default() };
        self.vectors.map(options)
    }
}

/// Longest piece of text that is learned from at a time.
const MAX_PIECE: usize = 4096;

/// Longest input: it is in memory, and so are its archives with and without vectors.
const MAX_LEN: u64 = 64 << 20;

/// Bytes of the input that vectors are fitted to, evenly over it.
const SAMPLE: usize = 1 << 16;

/// Compresses `plain` with and without fitted vectors and writes the smaller archive.
///
/// # Errors
/// I/O errors; those of the archive; inputs that are too long.
pub fn compress(
    model: &Model,
    options: &Options,
    fit_options: &FitOptions,
    plain: &mut dyn Read,
    archive: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<Summary> {
    let mut text = Vec::new();
    let read = plain.take(MAX_LEN + 1).read_to_end(&mut text);
    read.map_err(|e| Error::io("cannot read the input", e))?;
    if text.len() as u64 > MAX_LEN {
        let message =
            format!("is longer than {} bytes, the most for --steer-fit", grouped(MAX_LEN));
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let mut smallest = Vec::new();
    let mut summary = archive::compress(&text[..], &mut smallest, model, options, progress)?;
    if let Some(fitted) = fit(model, &sample(&text, fit_options.piece), fit_options)? {
        let steering = NamedSteering::carried(model, &fitted.code)?;
        let (options, mut steered) = (options.clone().steering(steering), Vec::new());
        let of_steered = archive::compress(&text[..], &mut steered, model, &options, &|_| ())?;
        if steered.len() < smallest.len() {
            (smallest, summary) = (steered, of_steered);
        }
    }
    archive.write_all(&smallest).map_err(|e| Error::io("cannot write the archive", e))?;
    Ok(summary)
}

/// Returns pieces from all over a text, or all of it.
fn sample(text: &[u8], piece: usize) -> Vec<u8> {
    let stride = text.len().div_ceil(SAMPLE).max(1);
    text.chunks(piece).step_by(stride).flatten().copied().collect()
}
