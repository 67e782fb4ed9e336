//! `llmzip models`, as it is typed.

use crate::cli::voice::VoiceArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What all verbs understand.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Write JSON (docs/cli.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    voice: VoiceArgs,
}

/// What to do with models. MODEL is `default`, a folder, or ORG/NAME[@REVISION].
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Download models from the Hugging Face hub
    Pull {
        /// ORG/NAME[@REVISION]: a branch, a tag or a commit [default: main]
        #[arg(value_name = "MODEL", required = true)]
        models: Vec<PathBuf>,
        /// Download nothing: say whether it is here
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Say which models are here
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Say what a model is: architecture, size, licence, digest
    Info {
        #[arg(value_name = "MODEL", default_value = "default")]
        model: PathBuf,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Read models and compare them with what was recorded when they came
    Verify {
        /// [default: all that are here]
        #[arg(value_name = "MODEL")]
        models: Vec<PathBuf>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Remove models from this machine
    Rm {
        #[arg(value_name = "MODEL", required = true)]
        models: Vec<PathBuf>,
        /// Only say what would go
        #[arg(short = 'n', long)]
        dry_run: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Say where a model is, or where models are
    Path {
        #[arg(value_name = "MODEL")]
        model: Option<PathBuf>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Write a model to one file, for a machine without a network
    Export {
        #[arg(value_name = "MODEL")]
        model: PathBuf,
        /// The file to write
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        file: PathBuf,
        /// Overwrite it
        #[arg(short, long)]
        force: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Write a model's linear layers as integers: smaller in memory, and faster
    Quantize {
        #[arg(value_name = "MODEL", default_value = "default")]
        model: PathBuf,
        /// 8-bit weights, the only kind so far
        #[arg(long, required = true)]
        int8: bool,
        /// Of what the layers take: 8, or 16 where 8 cost too much ratio
        #[arg(long, value_name = "8|16", default_value_t = 8)]
        activation_bits: u8,
        /// The folder to write [default: NAME-int8]
        #[arg(short = 'o', long = "output", value_name = "FOLDER")]
        folder: Option<PathBuf>,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Import a model from a file of `models export`, or from a folder
    Import {
        #[arg(value_name = "FILE|FOLDER")]
        source: PathBuf,
        #[command(flatten)]
        output: ReportArgs,
    },
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
            | Self::Import { output, .. } => output,
        }
    }

    /// How much is said.
    pub fn voice(&self) -> &VoiceArgs {
        &self.output().voice
    }

    /// Whether results are for programs.
    pub fn json(&self) -> bool {
        self.output().json
    }
}
