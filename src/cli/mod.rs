//! The command line: what is typed, what is planned, what is done, and what is said about it.

#[macro_use]
mod say;

mod args;
mod assets;
mod bench;
mod compress;
mod decompress;
mod exit;
mod input;
mod json;
mod level;
mod list;
mod models;
mod names;
mod output;
pub mod plan;
mod progress;
mod recover;
mod signals;
mod size;
mod test;
#[cfg(feature = "train")]
mod train;
mod transfer;

pub use args::Arguments;
pub use exit::{BROKEN_PIPE, code_of};
pub use plan::Plan;
pub use signals::watch;

use crate::archive::CompressOptions;
use anyhow::{Error, Result};
use args::ProgressStyle;
use exit::{DamageError, advice_for};
use input::name_of;
use json::{DamagedPlace, FailedFile};
use list::Listing;
use models::Models;
use names::printable;
use plan::{Action, Input, Voice};
use std::io;

/// What all inputs share.
pub struct Session {
    models: Models,
    voice: Voice,
    progress: ProgressStyle,
}

/// Does all that `plan` says; returns the exit code. An input that fails does not stop the others.
///
/// # Errors
/// Where nothing can go on: no threads, standard output gone.
pub fn run(plan: &Plan) -> Result<u8> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build()?;
    let models = Models::new(plan);
    let session = Session { models, voice: plan.voice, progress: plan.progress };
    pool.install(|| act(&session, plan))
}

fn act(session: &Session, plan: &Plan) -> Result<u8> {
    let mut failures = Failures::default();
    let inputs = &plan.inputs;
    match &plan.action {
        Action::Compress { options, prefix, output } => {
            let options = &CompressOptions { prefix, ..*options };
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
                json::print(&tested, &failures.files)?;
            }
        }
        Action::List { json: false } => failures.each(inputs, |input| {
            Ok(Listing::read(input)?.print(&mut io::stdout().lock(), session.voice)?)
        })?,
        Action::List { json: true } => {
            let mut listed = Vec::new();
            failures.each(inputs, |input| {
                listed.push(Listing::read(input)?.to_json());
                Ok(())
            })?;
            json::print(&listed, &failures.files)?;
        }
        Action::Bench { options, prefix, bench } => {
            let options = &CompressOptions { prefix, ..*options };
            bench::run(session, plan, options, bench, &mut failures)?
        }
        Action::Completions(shell) => assets::print_completions(*shell)?,
        Action::Manual(command) => assets::print_manual(command)?,
        #[cfg(feature = "train")]
        Action::Train { train, options } => train::run(session, train, options)?,
        Action::Models(verb) => models::run(session, verb, &mut failures)?,
    }
    Ok(failures.exit_code())
}

/// The inputs that failed.
#[derive(Default)]
pub struct Failures {
    files: Vec<FailedFile>,
}

impl Failures {
    /// Does `work` for each input and notes which fail.
    ///
    /// # Errors
    /// Where the reader of standard output went away: then nothing more is wanted.
    fn each(&mut self, inputs: &[Input], mut work: impl FnMut(&Input) -> Result<()>) -> Result<()> {
        for input in inputs {
            match work(input) {
                Ok(()) => (),
                Err(error) if code_of(&error) == BROKEN_PIPE => return Err(error),
                Err(error) => self.note(name_of(input), &error),
            }
        }
        if inputs.len() > 1 && !self.files.is_empty() {
            say!("llmzip: {} of {} inputs failed", self.files.len(), inputs.len());
        }
        Ok(())
    }

    fn note(&mut self, name: String, error: &Error) {
        say!("llmzip: {name}: {}", printable(&format!("{error:#}")));
        if let Some(advice) = advice_for(error) {
            say!("llmzip: {advice}");
        }
        let (message, exit_code) = (format!("{error:#}"), code_of(error));
        let damage = error.downcast_ref().map_or(&[][..], |error: &DamageError| &error.damage);
        let damage = damage.iter().map(DamagedPlace::new).collect();
        self.files.push(FailedFile { name, message, exit_code, damage });
    }

    /// The highest code of all.
    fn exit_code(&self) -> u8 {
        self.files.iter().map(|file| file.exit_code).max().unwrap_or(0)
    }
}
