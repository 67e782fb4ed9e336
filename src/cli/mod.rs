//! The command line: arguments, a plan with all defaults filled in, the commands, and their
//! messages.

#[macro_use]
mod stderr;

mod args;
mod bench;
mod completions;
mod compress;
mod decompress;
mod exit;
mod failures;
mod input;
mod json;
mod level;
mod list;
mod memory;
mod models;
mod names;
mod output;
pub mod plan;
mod progress;
mod recover;
mod session;
mod signals;
mod size;
mod standard;
mod test;
#[cfg(feature = "train")]
mod train;
mod transfer;
mod voice;

pub use args::Arguments;
pub use exit::{BROKEN_PIPE, code_of};
pub use output::Output;
pub use plan::Plan;
pub use signals::{die_of_broken_pipe, watch};
pub use standard::{look, print_message};

use crate::LocalModels;
use anyhow::{Context, Result};
use failures::Failures;
use json::ListedFile;
use list::Listing;
use models::source::Models;
use plan::Action;
use rayon::{ThreadPool, ThreadPoolBuilder};
use session::CliSession;
use std::path::Path;
use voice::Voice;

/// Executes `plan` and returns the exit code. An input that fails does not stop the others.
///
/// # Errors
/// Errors that end the run: no threads, standard output closed.
pub fn run(plan: &Plan) -> Result<u8> {
    let pool = pool(plan.threads)?;
    let models = Models::new(local_models(plan), plan.environment.clone(), plan.model.clone());
    let session = CliSession { models, voice: plan.voice, progress: plan.progress };
    pool.install(|| act(&session, plan))
}

/// Starts `threads` threads, or as many as the system grants.
fn pool(threads: usize) -> Result<ThreadPool> {
    match ThreadPoolBuilder::new().num_threads(threads).build() {
        Err(_) if threads > 1 => pool(threads / 2),
        pool => pool.context("cannot start a thread"),
    }
}

/// Returns the models on this machine, with the limits of `plan`.
fn local_models(plan: &Plan) -> LocalModels {
    let is_verbose = plan.voice == Voice::Verbose;
    let on_load = move |folder: &Path, weights: u64| {
        if is_verbose {
            say!("{}: loading, about {} MiB of memory", folder.display(), weights >> 20);
        }
    };
    let local = LocalModels::new(&plan.environment).with_isa(plan.isa);
    local.with_memory(plan.memory).with_callback(on_load)
}

fn act(session: &CliSession, plan: &Plan) -> Result<u8> {
    let mut failures = Failures::default();
    let inputs = &plan.inputs;
    match &plan.action {
        Action::Compress { options, output } => {
            failures.each(inputs, |input| compress::compress(session, input, options, output))?
        }
        Action::Decompress { options, output, keep_going } => failures.each(inputs, |input| {
            decompress::decompress(session, input, options, output, *keep_going)
        })?,
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
        Action::List { json: false } => failures.each(inputs, |input| {
            Ok(Listing::read(input)?.print(&mut standard::lines()?, session.voice)?)
        })?,
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
        #[cfg(feature = "train")]
        Action::Train { train, options } => train::run(session, train, options)?,
        Action::Models(verb) => models::run(session, verb, &mut failures)?,
    }
    Ok(failures.exit_code())
}
