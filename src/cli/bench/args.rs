//! The arguments of `llmzip bench` beside those of compression.

use super::peers::Peer;
use crate::cli::size::number;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(next_help_heading = "Measuring")]
pub struct BenchArgs {
    /// Runs of each program; the fastest counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = number(1..=1000_u32))]
    pub runs: u32,
    /// Measure these programs too, first and one after the other; programs that are not installed
    /// are reported and skipped
    #[arg(long, value_name = "PROGRAM,...", value_enum, value_delimiter = ',')]
    pub against: Vec<Peer>,
    /// Skip the profile
    #[arg(long)]
    pub no_profile: bool,
    /// Append a row per program and file (benches/README.md)
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Value of the column commit in those rows [default: the version]
    #[arg(long, value_name = "NAME", requires = "csv")]
    pub commit: Option<String>,
    /// Write JSON (docs/cli.md)
    #[arg(long)]
    pub json: bool,
}
