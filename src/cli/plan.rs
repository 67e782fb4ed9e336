//! Plan of a run: the command line with all defaults filled in.

use super::args::{
    Arguments, CodingArgs, Command, CommonArgs, ExtractArgs, LimitArgs, MachineArgs, ModeArgs,
    OutputArgs,
};
use super::bench::args::BenchArgs;
use super::decompress::Part;
use super::equalinfo::EqualinfoVerb;
use super::exit::UsageError;
use super::explain::ExplainArgs;
use super::input::Input;
use super::memory;
use super::models::args::Verb;
use super::models::steering_ref::SteeringSpec;
use super::names::shown;
use super::output::{Output, Target};
use super::size::parse_size;
use super::standard;
use super::steer::SteerVerb;
use super::test::TestOptions;
use super::train::TrainArgs;
use super::voice::{ProgressStyle, Voice};
use crate::archive::{DEFAULT_LEVEL, MAX_CHUNK_SIZE, Options};
use crate::codec::{Parameters, Prefix};
use crate::hub::Environment;
use crate::local::{AdapterRef, DeviceChoice, ModelRef};
use crate::models::Learning;
use crate::ops::Isa;
use crate::train::TrainOptions;
use crate::train::steering::FitOptions;
use anyhow::Context;
use clap_complete::Shell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::thread::available_parallelism;

/// Upper limit of threads: more than any machine has, fewer than would exhaust one.
const MAX_THREADS: usize = 1024;

/// Levels up to this one use the adaptive model alone.
const ADAPTIVE_LEVELS: u8 = 3;

/// Resolved command line.
#[derive(Debug)]
pub struct Plan {
    pub action: Action,
    pub inputs: Vec<Input>,
    /// Whether directories stand for the files in them.
    pub is_recursive: bool,
    /// At least 1.
    pub threads: usize,
    /// Memory limit in bytes for a language model and its lanes.
    pub memory: u64,
    pub isa: Isa,
    pub device: DeviceChoice,
    pub voice: Voice,
    pub progress: ProgressStyle,
    /// Model of `-m`.
    pub model: Option<ModelRef>,
    /// Adapter of `--adapter`.
    pub adapter: Option<AdapterRef>,
    /// Steering vectors of `--steer` or `--steer-random`.
    pub steering: Option<SteeringSpec>,
    /// Model settings of the environment, with `--offline`.
    pub environment: Environment,
}

/// Action on each input.
#[derive(Debug)]
pub enum Action {
    Compress {
        options: Options,
        /// Steering vectors to be fitted to each input.
        fit: Option<FitOptions>,
        output: Output,
    },
    Decompress {
        options: Options,
        output: Output,
        part: Part,
    },
    List {
        json: bool,
    },
    Test(TestOptions),
    Bench {
        options: Options,
        bench: BenchArgs,
    },
    /// Runs without inputs.
    Train {
        train: TrainArgs,
        options: TrainOptions,
    },
    /// Runs without inputs.
    Explain(ExplainArgs),
    /// Runs without inputs.
    Steer(SteerVerb),
    /// Runs without inputs.
    Equalinfo(EqualinfoVerb),
    /// Runs without inputs.
    Models(Verb),
    Completions(Shell),
    /// Page of that command; of the program where empty.
    Manual(Vec<String>),
}

impl Plan {
    /// Resolves the arguments with the environment.
    ///
    /// # Errors
    /// UsageError.
    pub fn new(arguments: Arguments) -> anyhow::Result<Self> {
        let Arguments { command, mode, coding, model, output, limit, extract, machine, common } =
            arguments;
        if command.is_none() {
            refuse_foreign_options(&mode, &output, &limit, &extract, &machine)?;
        }
        let command = command.unwrap_or(if mode.test {
            Command::Test { model, limit, machine, common }
        } else if mode.list {
            Command::List { machine, common }
        } else if mode.decompress {
            Command::Decompress { model, output, limit, extract, common }
        } else {
            Command::Compress { coding, model, output, common }
        });
        Self::of(command)
    }

    fn of(command: Command) -> anyhow::Result<Self> {
        let common = command.common();
        let threads = threads(command.threads());
        let memory = memory_limit(common.and_then(|common| common.memlimit));
        let inputs = common.map(inputs).transpose()?.unwrap_or_default();
        let is_recursive = common.is_some_and(|common| common.recursive);
        let (voice, progress) = (command.voice().voice(), command.voice().progress);
        let (model, environment) = match &command {
            Command::Explain(args) => named_model(args.model.as_deref(), args.offline)?,
            Command::Steer { verb: SteerVerb::Train(args) } => {
                named_model(args.model.as_deref(), args.offline)?
            }
            Command::Equalinfo { verb } => {
                named_model(verb.common().model.as_deref(), verb.common().offline)?
            }
            Command::Train { train: TrainArgs { lora, .. }, .. } => {
                named_model(lora.model.as_deref(), lora.offline)?
            }
            command => {
                let typed = command.model();
                let is_offline = typed.is_some_and(|typed| typed.offline);
                named_model(typed.and_then(|typed| typed.model.as_deref()), is_offline)?
            }
        };
        let adapter = command.model().and_then(|model| model.adapter.as_deref());
        let adapter = adapter.map(AdapterRef::parse).transpose()?;
        let steering = SteeringSpec::of(
            command.model().and_then(|model| model.steer.as_deref()),
            command.coding().and_then(|coding| coding.steer_random),
        )?;
        let device = command.model().and_then(|model| model.device).unwrap_or_default();
        refuse_host_options(device, &command)?;
        let beside_model = adapter.as_ref().map(|_| "--adapter");
        let beside_model = beside_model.or(steering.as_ref().map(SteeringSpec::option));
        let action = match command {
            Command::Compress { coding, output, .. } => {
                compress(&coding, model.as_ref(), beside_model, output, &inputs, threads, memory)?
            }
            Command::Decompress { output, limit, extract, .. } => Action::Decompress {
                options: decompress_options(&limit, threads, memory, isa()?),
                part: part(&limit, &extract, &output, &inputs)?,
                output: Output { sparse: !limit.no_sparse, ..resolve_output(output, &inputs)? },
            },
            Command::List { machine: MachineArgs { json }, .. } => Action::List { json },
            Command::Test { limit, machine: MachineArgs { json }, .. } => {
                Action::Test(TestOptions {
                    decompress: decompress_options(&limit, threads, memory, isa()?),
                    keep_going: limit.keep_going,
                    json,
                })
            }
            Command::Bench { coding, .. } if coding.fit.is_wanted() => {
                return Err(UsageError("--steer-fit is for compression alone".into()).into());
            }
            Command::Bench { bench, coding, .. } => Action::Bench {
                // What is decoded and compared anyway is verified on top only where that is typed.
                options: coding_options(&coding, model.as_ref(), threads, memory)?
                    .verify(coding.verify),
                bench,
            },
            Command::Train { train, .. } => {
                Action::Train { options: train.options(isa()?)?, train }
            }
            Command::Explain(args) => Action::Explain(args),
            Command::Steer { verb } => Action::Steer(verb),
            Command::Equalinfo { verb } => Action::Equalinfo(verb),
            Command::Models { verb } => Action::Models(verb),
            Command::Completions { shell, .. } => Action::Completions(shell),
            Command::Man { command, .. } => Action::Manual(command),
        };
        let isa = isa()?;
        Ok(Self {
            action,
            inputs,
            is_recursive,
            threads,
            memory,
            isa,
            device,
            voice,
            progress,
            model,
            adapter,
            steering,
            environment,
        })
    }
}

/// Refuses options that only another mode has. With a command the parser does.
fn refuse_foreign_options(
    mode: &ModeArgs,
    output: &OutputArgs,
    limit: &LimitArgs,
    extract: &ExtractArgs,
    machine: &MachineArgs,
) -> anyhow::Result<()> {
    let reads = mode.test || mode.list;
    let writes_file = output.output.is_some() || output.output_dir.is_some() || output.rm;
    let is_limited = limit.keep_going || limit.max_output.is_some();
    let message = if !reads && machine.json {
        "--json is only for --list and --test"
    } else if reads && writes_file {
        "--list and --test write no file: -o, -C and --rm do not apply"
    } else if !reads && !mode.decompress && is_limited {
        "--keep-going and --max-output are for decompression: use them with -d or -t"
    } else if (reads || !mode.decompress)
        && (extract.untar || extract.range.is_some() || extract.block.is_some())
    {
        "--range, --block and --untar are for decompression: use them with -d"
    } else {
        return Ok(());
    };
    Err(UsageError(message.into()).into())
}

/// Refuses options that compress by what runs on the processor alone, where a GPU is asked for.
fn refuse_host_options(device: DeviceChoice, command: &Command) -> anyhow::Result<()> {
    let (Some(coding), Some(model)) = (command.coding(), command.model()) else { return Ok(()) };
    let option = match () {
        () if coding.learn.is_some() => "--learn",
        () if coding.fit.is_wanted() => "--steer-fit",
        () if coding.steer_random.is_some() => "--steer-random",
        () if model.steer.is_some() => "--steer",
        () if model.adapter.is_some() => "--adapter",
        () => return Ok(()),
    };
    match device {
        DeviceChoice::Cuda(_) => {
            let message =
                format!("{option} runs on the processor: use --device cpu or auto with it");
            Err(UsageError(message).into())
        }
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(()),
    }
}

/// Resolves how much of an archive is written.
fn part(
    limit: &LimitArgs,
    extract: &ExtractArgs,
    output: &OutputArgs,
    inputs: &[Input],
) -> anyhow::Result<Part> {
    let is_named = output.stdout || output.output.is_some();
    let piece = extract.range.clone().map(|range| ("--range", Part::Range(range)));
    let piece = piece.or(extract.block.map(|block| ("--block", Part::Block(block))));
    Ok(match piece {
        Some((option, _))
            if !is_named && inputs.iter().any(|input| matches!(input, Input::File(_))) =>
        {
            let message = format!(
                "{option} writes a part, which does not get the name of the whole: add -c, or -o FILE"
            );
            return Err(UsageError(message).into());
        }
        Some((option, _)) if output.rm => {
            let message =
                format!("{option} writes a part: the archive cannot be removed with --rm");
            return Err(UsageError(message).into());
        }
        Some((_, part)) => part,
        None if extract.untar => Part::Files,
        None if limit.keep_going => Part::Intact,
        None => Part::Whole,
    })
}

/// Resolves compression; `beside_model` is the option that gives the language model something, if there is one.
fn compress(
    coding: &CodingArgs,
    model: Option<&ModelRef>,
    beside_model: Option<&str>,
    output: OutputArgs,
    inputs: &[Input],
    threads: usize,
    memory: u64,
) -> anyhow::Result<Action> {
    if output.rm && coding.no_verify {
        let message = "--rm needs verification: it cannot be combined with --no-verify";
        return Err(UsageError(message.into()).into());
    }
    let options = coding_options(coding, model, threads, memory)?;
    if coding.no_mix && options.level <= ADAPTIVE_LEVELS {
        let message = format!(
            "--no-mix codes with the language model alone, level {} without it: choose a level above {ADAPTIVE_LEVELS}",
            options.level
        );
        return Err(UsageError(message).into());
    }
    let ignored = match () {
        () if options.may_run_model() => None,
        () if coding.lanes.is_some() => Some("--lanes"),
        () if coding.context.is_some() => Some("--context"),
        () if coding.learn.is_some() => Some("--learn"),
        () if coding.fit.is_wanted() => Some("--steer-fit"),
        () => beside_model,
    };
    if let Some(option) = ignored {
        let level = options.level;
        say!("llmzip: warning: level {level} runs no language model, {option} is ignored");
    }
    let output = resolve_output(output, inputs)?;
    let fit = coding.fit.options(options.resolved_chunk_size());
    Ok(Action::Compress { options, fit, output })
}

/// Resolves the options of compression.
fn coding_options(
    coding: &CodingArgs,
    model: Option<&ModelRef>,
    threads: usize,
    memory: u64,
) -> anyhow::Result<Options> {
    let level = coding.level.level.or_else(|| from_env("LLMZIP_LEVEL", 1..=9));
    Ok(Options::default()
        .level(level.unwrap_or(DEFAULT_LEVEL))
        .chunk_size(chunk_size(coding.chunk_size)?)
        .block_len(coding.block_bits)
        .lanes(coding.lanes)
        .mix(!coding.no_mix)
        .prefix(prefix(coding)?)
        .context(coding.context)
        .table_log2(table_log2(coding.table_size)?)
        .learning(learning(coding, model))
        .verify(!coding.no_verify)
        .threads(threads)
        .memory(memory))
}

/// Resolves how the language model learns: one that is drawn from a seed does so unasked.
fn learning(coding: &CodingArgs, model: Option<&ModelRef>) -> Option<Learning> {
    let default = match model {
        Some(ModelRef::Seeded(seeded)) => seeded.learning(coding.learn),
        _ => Learning::of(coding.learn?),
    };
    Some(Learning {
        tokens_log2: coding.learn_tokens.unwrap_or(default.tokens_log2),
        rate: coding.learn_rate.unwrap_or(default.rate),
        ..default
    })
}

/// Resolves the prefix of all chunks; reads its file.
fn prefix(coding: &CodingArgs) -> anyhow::Result<Vec<u8>> {
    let Some(path) = &coding.prefix_file else {
        return Ok(coding.prefix.clone().unwrap_or_default().into_bytes());
    };
    let mut prefix = Vec::new();
    // One byte more than any prefix has: the error says what is allowed.
    let read = File::open(path).and_then(|file| {
        let limit = Prefix::MAX_LEN as u64 + 1;
        file.take(limit).read_to_end(&mut prefix)
    });
    read.with_context(|| format!("cannot read the prefix in {}", shown(path)))?;
    if prefix.len() > Prefix::MAX_LEN {
        let (path, most) = (shown(path), Prefix::MAX_LEN);
        let message =
            format!("the prefix in {path} has more than {most} bytes, the most there are");
        return Err(UsageError(message).into());
    }
    Ok(prefix)
}

/// Resolves the named model, and the environment to find it in.
fn named_model(
    model: Option<&Path>,
    is_offline: bool,
) -> anyhow::Result<(Option<ModelRef>, Environment)> {
    let mut environment = Environment::new(|name| std::env::var_os(name));
    environment.is_offline |= is_offline;
    Ok((model.map(ModelRef::parse).transpose()?, environment))
}

fn decompress_options(limit: &LimitArgs, threads: usize, memory: u64, isa: Isa) -> Options {
    Options::default().threads(threads).max_output(limit.max_output).memory(memory).isa(isa)
}

fn chunk_size(typed: Option<u64>) -> anyhow::Result<Option<u32>> {
    let Some(size) = typed else { return Ok(None) };
    match u32::try_from(size) {
        Ok(size) if (1..=MAX_CHUNK_SIZE).contains(&size) => Ok(Some(size)),
        _ => {
            let message = format!("--chunk-size is {size}, expected 1 to {MAX_CHUNK_SIZE} (64M)");
            Err(UsageError(message).into())
        }
    }
}

/// Resolves the table size to a power of two.
fn table_log2(typed: Option<u64>) -> anyhow::Result<u8> {
    let range = Parameters::TABLE_LOG2;
    let Some(size) = typed else {
        return Ok(*range.end());
    };
    let log2 = size.checked_ilog2().unwrap_or(0) as u8;
    if size.is_power_of_two() && range.contains(&log2) {
        return Ok(log2);
    }
    let message = format!("--table-size is {size}, expected a power of two from 1K to 64M");
    Err(UsageError(message).into())
}

/// Resolves the named inputs; standard input where none is.
fn inputs(common: &CommonArgs) -> anyhow::Result<Vec<Input>> {
    let CommonArgs { files, files_from, files0_from, .. } = common;
    let input = |file: &PathBuf| match file.as_os_str() == "-" {
        true => Input::Stdin { named: true },
        false => Input::File(file.clone()),
    };
    let mut inputs: Vec<Input> = files.iter().map(input).collect();
    match (files_from, files0_from) {
        (Some(list), _) => inputs.extend(listed_inputs(list, b'\n')?),
        (None, Some(list)) => inputs.extend(listed_inputs(list, 0)?),
        (None, None) if files.is_empty() => inputs.push(Input::Stdin { named: false }),
        (None, None) => (),
    }
    Ok(inputs)
}

/// Reads the names in the file `list`, each ended by `end`; `-` is standard input.
fn listed_inputs(list: &Path, end: u8) -> anyhow::Result<Vec<Input>> {
    let names = match list.as_os_str() == "-" {
        true => standard::stdin().and_then(|stdin| {
            let mut names = Vec::new();
            (&stdin).read_to_end(&mut names).map(|_| names)
        }),
        false => std::fs::read(list),
    };
    let names = names.with_context(|| format!("cannot read the names in {}", shown(list)))?;
    let names = names.split(|&byte| byte == end).filter(|name| !name.is_empty());
    Ok(names.map(|name| Input::File(OsStr::from_bytes(name).into())).collect())
}

fn resolve_output(output: OutputArgs, inputs: &[Input]) -> anyhow::Result<Output> {
    let OutputArgs { stdout, output, keep: _, rm, force, suffix, output_dir, no_sync } = output;
    let target = match output {
        Some(path) if path.as_os_str() == "-" => Target::Stdout,
        Some(path) => Target::Named(path),
        None if stdout => Target::Stdout,
        None => output_dir.map_or(Target::BesideInput, Target::InFolder),
    };
    if suffix.is_empty() || suffix.contains('/') {
        return Err(UsageError("--suffix must not be empty or contain a slash".into()).into());
    }
    let remove_input = rm && target != Target::Stdout;
    let suffix = if suffix.starts_with('.') { suffix } else { format!(".{suffix}") };
    let output = Output {
        target,
        remove_input,
        force,
        suffix,
        syncs: !no_sync,
        sparse: false,
        claimed: Mutex::default(),
    };
    output.check_inputs(inputs.len())?;
    Ok(output)
}

/// Resolves the number of threads: as typed, else from the environment; 0 means all cores.
fn threads(typed: Option<usize>) -> usize {
    match typed.or_else(|| from_env("LLMZIP_THREADS", 0..=usize::MAX)) {
        Some(0) | None => available_parallelism().map_or(1, usize::from),
        Some(threads) => threads.min(MAX_THREADS),
    }
}

/// Resolves the memory limit in bytes: as typed, else from the environment, else all that
/// the process may take.
fn memory_limit(typed: Option<u64>) -> u64 {
    typed
        .or_else(|| from_env_as("LLMZIP_MEMLIMIT", |text| parse_size(text).ok()))
        .unwrap_or_else(memory::total)
}

/// Selects the instruction set: the best of this machine, or the one in `LLMZIP_ISA`, which lets
/// users check that archives do not depend on it.
fn isa() -> anyhow::Result<Isa> {
    let Some(name) = std::env::var_os("LLMZIP_ISA") else {
        return Ok(Isa::detect());
    };
    name.to_str().and_then(Isa::by_name).ok_or_else(|| {
        let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        UsageError(format!(
            "LLMZIP_ISA must be one of the instruction sets of this machine: {}",
            names.join(", ")
        ))
        .into()
    })
}

/// Reads the number in environment variable `name`. An invalid one is ignored with a warning.
fn from_env<T: FromStr + PartialOrd>(name: &str, range: std::ops::RangeInclusive<T>) -> Option<T> {
    from_env_as(name, |text| text.parse().ok().filter(|number| range.contains(number)))
}

/// Parses environment variable `name`. An invalid value is ignored with a warning.
fn from_env_as<T>(name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var_os(name)?;
    let number = text.to_str().and_then(parse);
    if number.is_none() {
        say!("llmzip: warning: {name} is not a valid number, ignored");
    }
    number
}
