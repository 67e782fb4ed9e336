//! What was measured of a program on a file.

use super::cost::Cost;
use crate::cli::size::{bits_per_byte, ratio};
use crate::profile::{Part, Profile};
use serde::Serialize;
use std::collections::BTreeMap;

/// One program on one file.
#[derive(Debug, Serialize)]
pub struct BenchOutcome {
    pub program: String,
    /// How to call it for the same.
    pub command: String,
    /// `None` where it failed, as the costs.
    pub archive_len: Option<u64>,
    pub compress: Option<Cost>,
    pub decompress: Option<Cost>,
    /// Whether what it restored was compared with the file and is the same.
    pub verified: bool,
    /// What went wrong.
    pub problem: Option<String>,
    /// Only of llmzip.
    pub own: Option<Own>,
}

/// What is known of llmzip only.
#[derive(Debug, Clone, Serialize)]
pub struct Own {
    /// Digest of the model, in hex.
    pub model: String,
    pub level: u8,
    pub chunk_size: u32,
    /// The most that a chunk has.
    pub lanes: u8,
    pub threads: usize,
    /// Where the time goes; `None` where nobody looked.
    pub profile: Option<Profiles>,
}

/// Where the time goes in each direction.
#[derive(Debug, Clone, Serialize)]
pub struct Profiles {
    pub compress: Shares,
    pub decompress: Shares,
}

/// Samples of working threads, and the percentage of each part in them.
#[derive(Debug, Clone, Serialize)]
pub struct Shares {
    pub samples: u64,
    pub percent: BTreeMap<&'static str, f64>,
}

impl Shares {
    pub fn of(profile: &Profile) -> Self {
        let percent = Part::COUNTED.map(|part| (part.name(), profile.percent(part)));
        Self { samples: profile.samples(), percent: percent.into() }
    }
}

impl BenchOutcome {
    /// Of `program`, before its first run.
    pub fn new(program: &str, command: &str) -> Self {
        Self {
            program: program.to_owned(),
            command: command.to_owned(),
            archive_len: None,
            compress: None,
            decompress: None,
            verified: false,
            problem: None,
            own: None,
        }
    }

    /// Takes in a run whose result was compared.
    pub fn add(&mut self, archive_len: u64, compress: Cost, decompress: Cost) {
        self.archive_len = Some(archive_len);
        self.compress = Some(self.compress.map_or(compress, |best| best.best(compress)));
        self.decompress = Some(self.decompress.map_or(decompress, |best| best.best(decompress)));
        self.verified = true;
    }

    /// The same with nothing but what went wrong.
    pub fn failed(self, problem: String) -> Self {
        Self { problem: Some(problem), ..Self::new(&self.program, &self.command) }
    }

    /// Original over compressed.
    pub fn ratio(&self, plain_len: u64) -> Option<f64> {
        ratio(plain_len, self.archive_len?)
    }

    /// Bits of archive for each byte of content.
    pub fn bits_per_byte(&self, plain_len: u64) -> Option<f64> {
        bits_per_byte(plain_len, self.archive_len?)
    }
}
