//! Arguments of `llmzip models`.

use crate::cli::size::number;
use crate::cli::voice::VoiceArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Options of all verbs.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Write JSON (docs/cli.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    voice: VoiceArgs,
}

/// Verbs of `llmzip models`. MODEL is `default`, a folder, or ORG/NAME[@REVISION]; NAME.steer is a file of
/// steering vectors, and the folder or name of an adapter is one of an adapter.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Download models from the Hugging Face hub
    Pull {
        /// ORG/NAME[@REVISION]: a branch, a tag or a commit [default: main]
        #[arg(value_name = "MODEL", required = true)]
        models: Vec<PathBuf>,
        /// Download nothing; only check whether the model is stored locally
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// List the models, adapters and steering vectors stored locally
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Show architecture, size, licence and digest of a model
    Info {
        #[arg(value_name = "MODEL", default_value = "default")]
        model: PathBuf,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Read models and compare their digests with the recorded ones
    Verify {
        /// [default: all stored models]
        #[arg(value_name = "MODEL")]
        models: Vec<PathBuf>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Remove models from this machine
    Rm {
        #[arg(value_name = "MODEL", required = true)]
        models: Vec<PathBuf>,
        /// Only show what would be removed
        #[arg(short = 'n', long)]
        dry_run: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Show the folder of a model, or the folders that are searched
    Path {
        #[arg(value_name = "MODEL")]
        model: Option<PathBuf>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Export a model to a single file, for a machine without a network
    Export {
        #[arg(value_name = "MODEL")]
        model: PathBuf,
        /// The file to write; of an adapter, the folder
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        file: PathBuf,
        /// Overwrite it
        #[arg(short, long)]
        force: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Quantize the linear layers of a model to integers: less memory, more speed
    Quantize {
        #[arg(value_name = "MODEL", default_value = "default")]
        model: PathBuf,
        #[command(flatten)]
        kind: QuantizeArgs,
        /// The folder to write [default: NAME-int8 or NAME-int4]
        #[arg(short = 'o', long = "output", value_name = "FOLDER")]
        folder: Option<PathBuf>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Measure what texts cost in bits per byte by models alone, without coding them, and how many questions models answer
    Evaluate {
        #[arg(value_name = "MODEL", required = true)]
        models: Vec<PathBuf>,
        /// Texts to measure
        #[arg(long = "text", value_name = "FILE", required_unless_present = "choices", num_args = 1..)]
        texts: Vec<PathBuf>,
        /// Multiple-choice questions as MMLU has them: CSV of question, four choices, letter; or JSON lines
        #[arg(long, value_name = "FILE", num_args = 1..)]
        choices: Vec<PathBuf>,
        /// Questions with their answers before each question, from --examples
        #[arg(long, value_name = "N", value_parser = number(0..=5_usize), default_value_t = 0, requires = "examples")]
        shots: usize,
        /// Questions to take them from, in the same format
        #[arg(long, value_name = "FILE", requires = "choices")]
        examples: Option<PathBuf>,
        /// Evaluate each model with this low-rank adapter, too: a folder, or the name of an imported one
        #[arg(long, value_name = "ADAPTER")]
        adapter: Option<PathBuf>,
        /// Engine: llmzip's kernels, the same bits on every machine, or candle
        #[arg(long, value_name = "NAME", value_enum, default_value_t)]
        engine: EngineName,
        /// Where candle computes [default: cpu]
        #[arg(long, value_name = "DEVICE", value_enum)]
        device: Option<EngineDevice>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Import a model bundle or folder, an adapter's folder, or a file of steering vectors, NAME.steer
    Import {
        #[arg(value_name = "FILE|FOLDER")]
        source: PathBuf,
        #[command(flatten)]
        output: ReportArgs,
    },
}

/// The integers that `models quantize` makes of linear layers.
#[derive(Args, Debug, Clone)]
pub struct QuantizeArgs {
    /// Bits of the weights: 8, or 4 in groups, in the layout of compressed-tensors, with embeddings and output head as they are [default: 8, with --awq 4]
    #[arg(long, value_name = "8|4", value_parser = number(4..=8_u8))]
    bits: Option<u8>,
    /// The same as --bits 8
    #[arg(long, conflicts_with_all = ["bits", "group", "awq"])]
    int8: bool,
    /// Inputs that share a scale, of 4 bits: 128, 64 or 32 [default: the first that divides the layers' inputs]
    #[arg(long, value_name = "N")]
    pub group: Option<usize>,
    /// Bits of the activations: 8, or 16 where 8 cost too much compression [default: 8 beside 8-bit weights, 16 beside 4]
    #[arg(long, value_name = "8|16")]
    pub activation_bits: Option<u8>,
    /// Choose the integers of 4 bits such that outputs change least on the texts of --data; takes minutes
    #[arg(long, requires = "data")]
    pub awq: bool,
    /// Texts like those that will be compressed, for --awq
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "awq")]
    pub data: Vec<PathBuf>,
    /// Pieces of 2,000 bytes, taken evenly from the texts, that --awq looks at
    #[arg(long, value_name = "N", requires = "awq", value_parser = number(1..=1_000_000_usize), default_value_t = 128)]
    pub samples: usize,
}

impl QuantizeArgs {
    /// Returns the bits of the weights.
    pub fn bits(&self) -> u8 {
        self.bits.unwrap_or(if self.awq { 4 } else { 8 })
    }
}

/// Engine that computes logits.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineName {
    /// llmzip's own kernels
    #[default]
    Exact,
    /// candle; sums have another order
    Candle,
}

/// Where candle computes.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineDevice {
    /// The CPU
    Cpu,
    /// The first CUDA device
    Cuda,
}

impl Verb {
    fn output(&self) -> &ReportArgs {
        match self {
            Self::Pull { output, .. }
            | Self::List { output }
            | Self::Info { output, .. }
            | Self::Verify { output, .. }
            | Self::Rm { output, .. }
            | Self::Path { output, .. }
            | Self::Export { output, .. }
            | Self::Quantize { output, .. }
            | Self::Evaluate { output, .. }
            | Self::Import { output, .. } => output,
        }
    }

    /// Returns the message options.
    pub fn voice(&self) -> &VoiceArgs {
        &self.output().voice
    }

    /// Returns whether results are printed as JSON.
    pub fn json(&self) -> bool {
        self.output().json
    }
}
