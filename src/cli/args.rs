//! Command-line arguments as typed.

use super::bench::args::BenchArgs;
use super::equalinfo::EqualinfoVerb;
use super::explain::ExplainArgs;
use super::learning::{parse_kind, parse_rate, parse_tokens};
use super::level::LevelArgs;
use super::models::args::Verb;
use super::models::steering_ref::{RandomSteering, parse_random};
use super::size::{number, parse_block_bits, parse_range, parse_size};
use super::steer::SteerVerb;
use super::steer_fit::SteerFitArgs;
use super::train::TrainArgs;
use super::voice::VoiceArgs;
use crate::archive::{FORMAT_VERSION, NUMERICS};
use crate::local::DeviceChoice;
use crate::models::LearningKind;
use clap::{Args, Parser, Subcommand};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Suffix of archives.
pub const SUFFIX: &str = ".llmz";

/// Help text after the options.
const AFTER_HELP: &str = "\
With no FILE, or when FILE is -, reads standard input and writes standard output. A directory NAME
is packed into NAME.tar.llmz, which decompress --untar or tar -I llmzip -xf unpacks.
SIZE is a number of bytes, or one with K, M or G (KiB, MiB, GiB: 1024, 1024^2, 1024^3).
A file named like a command is given as ./list, or after an option.
Called as unllmzip it decompresses, as llmzcat it decompresses to standard output.

Environment: LLMZIP_THREADS, LLMZIP_LEVEL and LLMZIP_MEMLIMIT set the defaults of the options of the
same name; LLMZIP_ISA=scalar|neon|avx2|avx512 forces an instruction set (archives are identical on all).
LLMZIP_MODEL_DIR is the folder of imported models. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN,
HF_TOKEN_PATH and HF_HUB_OFFLINE work as in huggingface_hub. Only compress -m and models pull use the network.

Exit codes:
  0  done
  1  failed (files, disk, trailing data)
  2  usage error
  3  the model that an archive or -m names is not available, or the adapter, or the steering vectors
  4  an archive or model file is damaged, truncated or not valid (--keep-going recovers the rest)
  5  a limit was exceeded
  6  the archive needs a newer llmzip
  128+N  terminated by signal N (141: broken pipe)
With several failures, the highest code is returned.";

/// Returns the version, with those of format and numerics.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        format!("{version} (format {FORMAT_VERSION}, numerics {NUMERICS})")
    });
    &TEXT
}

/// Lossless compression with a language model.
///
/// Compresses each FILE to FILE.llmz unless a command or one of -d, -t and -l is given.
#[derive(Parser, Debug)]
#[command(name = "llmzip", version = version(), after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_help_heading = "Commands")]
#[command(args_override_self = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub mode: ModeArgs,
    #[command(flatten)]
    pub coding: CodingArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub limit: LimitArgs,
    #[command(flatten)]
    pub extract: ExtractArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Compress files
    #[command(visible_alias = "c")]
    Compress {
        #[command(flatten)]
        coding: CodingArgs,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Decompress archives
    #[command(visible_aliases = ["d", "x"])]
    Decompress {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        limit: LimitArgs,
        #[command(flatten)]
        extract: ExtractArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List the contents of archives without decoding them
    #[command(visible_alias = "l")]
    List {
        #[command(flatten)]
        machine: MachineArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Decode and verify archives; write nothing
    #[command(visible_alias = "t")]
    Test {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        limit: LimitArgs,
        #[command(flatten)]
        machine: MachineArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
        #[command(flatten)]
        voice: VoiceArgs,
    },
    /// Write the manual page of the program or of a command to standard output
    Man {
        /// The command as typed, for example: models pull
        command: Vec<String>,
        #[command(flatten)]
        voice: VoiceArgs,
    },
    /// Measure size, speed and memory, and where the time goes
    Bench {
        #[command(flatten)]
        bench: BenchArgs,
        #[command(flatten)]
        coding: CodingArgs,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Write a page that shows what each token of a text costs under a language model
    Explain(#[command(flatten)] ExplainArgs),
    /// Train a language model on files (docs/training.md)
    Train {
        #[command(flatten)]
        train: TrainArgs,
        #[command(flatten)]
        voice: VoiceArgs,
    },
    /// Learn steering vectors for files of a kind (docs/steering.md)
    Steer {
        #[command(subcommand)]
        verb: SteerVerb,
    },
    /// Cut text into tokens of equal information, to train a second model on (docs/equal-info.md)
    Equalinfo {
        #[command(subcommand)]
        verb: EqualinfoVerb,
    },
    /// Download, list, verify, export and import language models
    Models {
        #[command(subcommand)]
        verb: Verb,
    },
}

impl Command {
    /// Returns the arguments that all commands on files have.
    pub fn common(&self) -> Option<&CommonArgs> {
        match self {
            Self::Compress { common, .. }
            | Self::Decompress { common, .. }
            | Self::List { common, .. }
            | Self::Test { common, .. }
            | Self::Bench { common, .. } => Some(common),
            Self::Explain(_) | Self::Equalinfo { .. } => None,
            Self::Train { .. } | Self::Steer { .. } => None,
            Self::Models { .. } | Self::Completions { .. } | Self::Man { .. } => None,
        }
    }

    /// Returns the model arguments of commands that code.
    pub fn model(&self) -> Option<&ModelArgs> {
        match self {
            Self::Compress { model, .. }
            | Self::Decompress { model, .. }
            | Self::Test { model, .. }
            | Self::Bench { model, .. } => Some(model),
            Self::Explain(_) | Self::Equalinfo { .. } => None,
            Self::Train { .. } | Self::Steer { .. } => None,
            Self::List { .. }
            | Self::Models { .. }
            | Self::Completions { .. }
            | Self::Man { .. } => None,
        }
    }

    /// Returns the compression options of commands that compress.
    pub fn coding(&self) -> Option<&CodingArgs> {
        match self {
            Self::Compress { coding, .. } | Self::Bench { coding, .. } => Some(coding),
            _ => None,
        }
    }

    /// Returns the number of threads as typed.
    pub fn threads(&self) -> Option<usize> {
        match self {
            Self::Train { train, .. } => train.threads,
            Self::Steer { verb: SteerVerb::Train(args) } => args.threads,
            Self::Equalinfo { verb } => verb.common().threads,
            _ => self.common()?.threads,
        }
    }

    /// Returns the message options, which every command has.
    pub fn voice(&self) -> &VoiceArgs {
        match self {
            Self::Compress { common, .. }
            | Self::Decompress { common, .. }
            | Self::List { common, .. }
            | Self::Test { common, .. }
            | Self::Bench { common, .. } => &common.voice,
            Self::Models { verb } => verb.voice(),
            Self::Explain(args) => &args.voice,
            Self::Train { voice, .. } => voice,
            Self::Steer { verb: SteerVerb::Train(args) } => &args.voice,
            Self::Equalinfo { verb } => &verb.common().voice,
            Self::Completions { voice, .. } | Self::Man { voice, .. } => voice,
        }
    }
}

/// Mode flags, for calls without a subcommand. With -d, -t and -l still mean themselves, as in gzip.
#[derive(Args, Debug)]
pub struct ModeArgs {
    /// Compress (the default)
    #[arg(short = 'z', long, conflicts_with_all = ["decompress", "test", "list"])]
    pub compress: bool,
    /// Decompress
    #[arg(short, long, visible_alias = "uncompress")]
    pub decompress: bool,
    /// Decode and verify; write nothing
    #[arg(short, long, conflicts_with = "list")]
    pub test: bool,
    /// List the contents of archives
    #[arg(short, long)]
    pub list: bool,
}

/// Compression options. Accepted and ignored next to -d, -t and -l.
#[derive(Args, Debug)]
#[command(next_help_heading = "Compression")]
pub struct CodingArgs {
    #[command(flatten)]
    pub level: LevelArgs,
    /// Bytes that are compressed independently, up to 64M [default: 1M; 4M at levels 1 to 3, 7 and
    /// 8; 8M at 9]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub chunk_size: Option<u64>,
    /// Cut the archive into blocks of N bits, whole sectors of 512 bytes up to 1 MiB, each with as much text as fits:
    /// each stands at a multiple of its length and decodes alone. The text is cut at every --chunk-size bytes
    /// [default: 4M; 8M at 9], too
    #[arg(long, value_name = "N", value_parser = parse_block_bits, conflicts_with = "lanes")]
    pub block_bits: Option<u32>, // parsed to bytes
    /// Slices of a chunk that are coded in lockstep, 1 to 64 [default: by length]
    #[arg(long, value_name = "N", value_parser = number(1..=64_u8))]
    pub lanes: Option<u8>,
    /// Text that every chunk continues, such as a description of the files. Stored in the archive,
    /// compressed
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// The same, read from a file; at most 64 KiB and 4096 tokens of the model. Unlike zstd's
    /// dictionary it is part of the archive
    #[arg(short = 'D', long, value_name = "FILE", conflicts_with = "prefix")]
    pub prefix_file: Option<PathBuf>,
    #[command(flatten)]
    pub fit: SteerFitArgs,
    /// Tokens until the context of a lane is reset, for models without a sliding window [default:
    /// the model's, up to 2048]
    #[arg(long, value_name = "N", value_parser = number(0..=u32::MAX))]
    pub context: Option<u32>,
    /// Memory of the adaptive model per chunk, a power of two [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub table_size: Option<u64>,
    /// Code with the language model alone
    #[arg(long)]
    pub no_mix: bool,
    /// Learn from each chunk while it is coded, and again when it is decoded; nothing of it is sent.
    /// KIND is what learns: head, adapter, all (docs/learning.md) [default: head]
    #[arg(long, value_name = "KIND", value_parser = parse_kind, num_args = 0..=1, require_equals = true,
        default_missing_value = "head")]
    pub learn: Option<LearningKind>,
    /// Tokens from one step of learning to the next, a power of two from 16 to 4096 [default: 512]
    #[arg(long, value_name = "N", value_parser = parse_tokens, requires = "learn")]
    pub learn_tokens: Option<u8>,
    /// Learning rate, from 0.000001 to 1 [default: by KIND]
    #[arg(long, value_name = "R", value_parser = parse_rate, requires = "learn")]
    pub learn_rate: Option<u32>,
    /// Put K vectors, 1 to 64, that are drawn from the number SEED before all text that the language
    /// model reads [default: SEED 0]
    #[arg(long, value_name = "K[:SEED]", value_parser = parse_random, conflicts_with = "steer")]
    pub steer_random: Option<RandomSteering>,
    /// Decode each chunk before it is written (the default)
    #[arg(long, overrides_with = "no_verify")]
    pub verify: bool,
    /// Skip that check and save its time
    #[arg(long)]
    pub no_verify: bool,
}

/// Model options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Compress with this model: a folder, or its name on the Hugging Face hub,
    /// ORG/NAME[@REVISION], which is downloaded unless it is stored locally [default: the
    /// compiled-in model]. When decompressing, the model for all archives that do not name the
    /// compiled-in one
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Compress with a low-rank adapter (LoRA) beside the model's weights: a folder in PEFT's layout, or
    /// the name of an imported one. When decompressing, the adapter for archives that name one which is
    /// not imported
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// Compress with steering vectors: a file, or the name of an imported one. When decompressing, the
    /// vectors for archives that name a file which is not imported
    #[arg(long, value_name = "NAME")]
    pub steer: Option<PathBuf>,
    /// Never download
    #[arg(long)]
    pub offline: bool,
    /// Run the language model on a device: cpu, cuda or cuda:N, a GPU by its number, or auto, a GPU where there is one
    /// that runs the model. Does not affect the output. Has never been run on a GPU (docs/cuda.md) [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
}

/// Output options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write to standard output, keep input files
    #[arg(short = 'c', long)]
    pub stdout: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "stdout")]
    pub output: Option<PathBuf>,
    /// Keep input files (the default)
    #[arg(short, long, overrides_with = "rm")]
    pub keep: bool,
    /// Remove each input file once its result is verified and on disk
    #[arg(long, conflicts_with = "stdout")]
    pub rm: bool,
    /// Overwrite files, follow symbolic links, write to a terminal, keep the output before trailing
    /// data
    #[arg(short, long)]
    pub force: bool,
    /// Suffix of archives
    #[arg(short = 'S', long, value_name = ".SUF", default_value = SUFFIX)]
    pub suffix: String,
    /// Write into this directory, which is made where it is missing, under each input's own name
    #[arg(short = 'C', long, value_name = "DIR", conflicts_with_all = ["stdout", "output"])]
    pub output_dir: Option<PathBuf>,
    /// Leave it to the system when files are written to disk: faster for many small ones
    #[arg(long, conflicts_with = "rm")]
    pub no_sync: bool,
}

/// Limits and error handling of decompression.
#[derive(Args, Debug)]
#[command(next_help_heading = "Decompression")]
pub struct LimitArgs {
    /// Continue after damage: write every intact chunk and report what is missing. The output is
    /// then named FILE.recovered instead of FILE, unless -o or -c says otherwise
    #[arg(long)]
    pub keep_going: bool,
    /// Refuse archives whose content is larger
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_output: Option<u64>,
    /// Write zeros where the output could have holes
    #[arg(long)]
    pub no_sparse: bool,
}

/// Options of decompression that write something else than the whole content.
#[derive(Args, Debug)]
#[command(next_help_heading = "Decompression")]
pub struct ExtractArgs {
    /// Write only the bytes from BEGIN up to END of the content; decodes the chunks that have them
    #[arg(long, value_name = "BEGIN..END", value_parser = parse_range, conflicts_with = "keep_going")]
    pub range: Option<Range<u64>>,
    /// Write only the content of block N, from 0, of an archive made with --block-bits; reads the header and that
    /// block alone
    #[arg(long, value_name = "N", conflicts_with_all = ["range", "keep_going"])]
    pub block: Option<u64>,
    /// Unpack the archive of a directory, beside it or in the directory of -C
    #[arg(long, conflicts_with_all = ["range", "block", "keep_going", "stdout", "output", "rm"])]
    pub untar: bool,
}

/// Machine-readable output.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub struct MachineArgs {
    /// With list and test: write JSON (docs/cli.md)
    #[arg(long)]
    pub json: bool,
}

/// Options of all commands on files.
#[derive(Args, Debug)]
#[command(next_help_heading = "Common")]
pub struct CommonArgs {
    /// Threads to use, up to 1024, 0 for all cores; does not affect the output [default: 0]
    #[arg(short = 'T', long, value_name = "N", value_parser = number(0..=usize::MAX))]
    pub threads: Option<usize>,
    /// Memory limit for a language model with its lanes, and again for the chunks in flight [default:
    /// what is free, within the limits of the process and its control group]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memlimit: Option<u64>,
    #[command(flatten)]
    pub voice: VoiceArgs,
    /// Take the files in directories, and in theirs, one by one
    #[arg(short, long)]
    pub recursive: bool,
    /// Take the names in FILE, one a line, after those given; - is standard input
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
    /// The same with a NUL after each name, as find -print0 writes them
    #[arg(long, value_name = "FILE", conflicts_with = "files_from")]
    pub files0_from: Option<PathBuf>,
    /// Files; - is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}
