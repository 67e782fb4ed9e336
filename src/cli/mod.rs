//! The command line: arguments, a plan with all defaults filled in, the commands, and their
//! messages.

#[macro_use]
mod stderr;

mod adapter_folder;
mod args;
mod bench;
mod command_line;
mod completions;
mod compress;
mod decompress;
mod equalinfo;
mod exit;
mod explain;
mod failures;
mod folder;
mod held_out;
mod input;
mod json;
mod learning;
mod level;
mod list;
mod look_ahead;
mod lora;
mod memory;
mod models;
mod names;
mod output;
mod packing;
pub mod plan;
mod progress;
mod recover;
mod session;
mod signals;
mod size;
mod sparse;
mod staging;
mod standard;
mod steer;
mod steer_fit;
mod test;
mod train;
mod transfer;
mod unpacking;
mod untar_file;
mod voice;
mod walk;

pub use args::Arguments;
pub use output::Output;
pub use plan::Plan;
pub use standard::look;

use crate::LocalModels;
use anyhow::{Context, Result};
use args::SUFFIX;
use exit::{BROKEN_PIPE, code_of};
use failures::Failures;
use input::Input;
use json::ListedFile;
use list::{Listing, Table};
use models::source::Models;
use plan::Action;
use rayon::{ThreadPool, ThreadPoolBuilder};
use session::CliSession;
use signals::{die_of_broken_pipe, watch};
use size::grouped;
use standard::print_message;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use voice::Voice;

/// Runs the program on `arguments`, the first of which is its name, says what is wrong, and returns the exit code.
/// Dies of a broken pipe, as a program does.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    run_arguments(arguments).unwrap_or_else(|error| {
        let code = code_of(&error);
        if code == BROKEN_PIPE {
            die_of_broken_pipe();
        }
        say!("llmzip: {error:#}");
        code
    })
}

fn run_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<u8> {
    let arguments = match Arguments::from_command_line(arguments)? {
        Ok(arguments) => arguments,
        Err(message) => return print_message(&message),
    };
    let plan = Plan::new(arguments)?;
    watch().context("cannot watch for signals")?;
    run(&plan)
}

/// Executes `plan` and returns the exit code. An input that fails does not stop the others.
///
/// # Errors
/// Errors that end the run: no threads, standard output closed.
pub fn run(plan: &Plan) -> Result<u8> {
    let pool = pool(plan.threads)?;
    let (environment, model) = (plan.environment.clone(), plan.model.clone());
    let (adapter, steering) = (plan.adapter.clone(), plan.steering.clone());
    let models = Models::new(local_models(plan), environment, model, adapter, steering);
    let mut failures = Failures::default();
    let inputs = match plan.is_recursive {
        true => walk::expand(&plan.inputs, &|path| is_wanted(plan, path), &mut failures),
        false => plan.inputs.clone(),
    };
    if let Action::Compress { output, .. } | Action::Decompress { output, .. } = &plan.action {
        output.check_inputs(inputs.len())?;
    }
    let session = CliSession::new(models, plan.voice, plan.progress, inputs.len());
    pool.install(|| act(&session, plan, &inputs, failures))
}

/// Returns whether a file in a directory is one to compress, or an archive.
fn is_wanted(plan: &Plan, path: &Path) -> bool {
    let is_archive = |suffix| names::without_suffix(path, suffix).is_some();
    match &plan.action {
        Action::Compress { output, .. } => !is_archive(&output.suffix),
        Action::Decompress { output, .. } => is_archive(&output.suffix),
        Action::List { .. } | Action::Test(_) => is_archive(SUFFIX),
        _ => true,
    }
}

/// Starts `threads` threads, or as many as the system grants.
fn pool(threads: usize) -> Result<ThreadPool> {
    match ThreadPoolBuilder::new().num_threads(threads).build() {
        Err(_) if threads > 1 => {
            // Those that did start count until they have ended.
            std::thread::sleep(ENDING);
            pool(threads / 2)
        }
        pool => pool.context("cannot start a thread"),
    }
}

/// Time in which threads without work end.
const ENDING: Duration = Duration::from_millis(50);

/// Returns the models on this machine, with the limits of `plan`.
fn local_models(plan: &Plan) -> LocalModels {
    let is_verbose = plan.voice == Voice::Verbose;
    let on_load = move |folder: &Path, weights: u64| {
        if is_verbose {
            say!("{}: loading, about {} MiB of memory", folder.display(), weights >> 20);
        }
    };
    let is_quiet = plan.voice == Voice::Quiet;
    let on_search = move |n: usize, len: u64| {
        if !is_quiet {
            let (s, len) = (if n == 1 { "" } else { "s" }, grouped(len));
            say!(
                "llmzip: reading {n} model{s}, {len} bytes, to find the one that the archive needs"
            );
        }
    };
    let local = LocalModels::new(&plan.environment).with_isa(plan.isa).with_memory(plan.memory);
    let on_place = move |what: &str| {
        if is_verbose {
            say!("llmzip: {what}");
        }
    };
    let local = local.with_device(plan.device, on_place);
    local.with_callback(on_load).with_search_callback(on_search)
}

fn act(session: &CliSession, plan: &Plan, inputs: &[Input], mut failures: Failures) -> Result<u8> {
    match &plan.action {
        Action::Compress { options, fit: Some(fit), output } => {
            let encode: &compress::Encode<'_> = &|model, options, plain, archive, progress| {
                steer_fit::compress(model, options, fit, plain, archive, progress)
            };
            failures
                .each(inputs, |input| compress::compress(session, input, options, output, encode))?
        }
        Action::Compress { options, output, .. } => failures.each(inputs, |input| {
            compress::compress(session, input, options, output, &compress::plainly)
        })?,
        Action::Decompress { options, output, part } => failures
            .each(inputs, |input| decompress::decompress(session, input, options, output, part))?,
        Action::Test(options) => {
            let mut tested = Vec::new();
            failures.each(inputs, |input| {
                tested.push(test::test(session, input, options)?);
                Ok(())
            })?;
            if options.json {
                json::print("files", &tested, &failures.files)?;
            }
        }
        Action::List { json: false } => {
            let mut table = Table::new(session.voice);
            failures.each(inputs, |input| table.add(input))?;
            table.finish()?;
        }
        Action::List { json: true } => {
            let mut listed = Vec::new();
            failures.each(inputs, |input| {
                listed.push(ListedFile::new(&Listing::read(input)?));
                Ok(())
            })?;
            json::print("files", &listed, &failures.files)?;
        }
        Action::Bench { options, bench } => {
            bench::run(session, plan, options, bench, &mut failures)?
        }
        Action::Completions(shell) => completions::print_completions(*shell)?,
        Action::Manual(command) => completions::print_manual(command)?,
        Action::Train { train, options } => train::run(session, train, options)?,
        Action::Explain(args) => explain::run(session, args)?,
        Action::Steer(verb) => steer::run(session, verb)?,
        Action::Equalinfo(verb) => equalinfo::run(session, verb)?,
        Action::Models(verb) => models::run(session, verb, &mut failures)?,
    }
    Ok(failures.exit_code())
}
