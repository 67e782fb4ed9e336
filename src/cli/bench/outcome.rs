//! Result of a program on a file.

use super::cost::Cost;
use crate::cli::size::{bits_per_byte, ratio};
use crate::profile::{Part, Profile};
use serde::Serialize;
use std::collections::BTreeMap;

/// Result of one program on one file.
#[derive(Debug, Serialize)]
pub struct BenchOutcome {
    pub program: String,
    /// Command line that does the same.
    pub command: String,
    /// `None` where it failed, as the costs.
    pub archive_len: Option<u64>,
    pub compress: Option<Cost>,
    pub decompress: Option<Cost>,
    /// Whether the decompressed output was compared with the file and is identical.
    pub verified: bool,
    /// Error message.
    pub problem: Option<String>,
    /// Details of llmzip.
    pub own: Option<Own>,
}

/// Details that only llmzip has.
#[derive(Debug, Clone, Serialize)]
pub struct Own {
    /// Digest of the model, in hex.
    pub model: String,
    pub level: u8,
    pub chunk_size: u32,
    /// The most that a chunk has.
    pub lanes: u8,
    pub threads: usize,
    /// Profiles; `None` where the profiler did not run.
    pub profile: Option<Profiles>,
}

/// Profiles of both directions.
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
    /// Creates the result of `program` before its first run.
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

    /// Adds a run whose output was verified.
    pub fn add(&mut self, archive_len: u64, compress: Cost, decompress: Cost) {
        self.archive_len = Some(archive_len);
        self.compress = Some(self.compress.map_or(compress, |best| best.best(compress)));
        self.decompress = Some(self.decompress.map_or(decompress, |best| best.best(decompress)));
        self.verified = true;
    }

    /// Returns the result with nothing but the error message.
    pub fn failed(self, problem: String) -> Self {
        Self { problem: Some(problem), ..Self::new(&self.program, &self.command) }
    }

    /// Returns original size over compressed size.
    pub fn ratio(&self, plain_len: u64) -> Option<f64> {
        ratio(plain_len, self.archive_len?)
    }

    /// Returns bits of archive per byte of content.
    pub fn bits_per_byte(&self, plain_len: u64) -> Option<f64> {
        bits_per_byte(plain_len, self.archive_len?)
    }
}
