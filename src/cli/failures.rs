//! Failed inputs of a run, and the exit code that follows from them.

use super::exit::{BROKEN_PIPE, DamageError, advice_for, code_of};
use super::input::{Input, name_of};
use super::json::{DamagedPlace, FailedFile};
use super::names::printable;
use anyhow::{Error, Result};

/// The inputs that failed.
#[derive(Default)]
pub struct Failures {
    pub files: Vec<FailedFile>,
}

impl Failures {
    /// Runs `work` on each input and records failures.
    ///
    /// # Errors
    /// A broken pipe on standard output, which ends the run.
    pub fn each(
        &mut self,
        inputs: &[Input],
        mut work: impl FnMut(&Input) -> Result<()>,
    ) -> Result<()> {
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

    /// Prints `error` with its advice, and records it under `name`.
    pub fn note(&mut self, name: String, error: &Error) {
        say!("llmzip: {name}: {}", printable(&format!("{error:#}")));
        if let Some(advice) = advice_for(error) {
            say!("llmzip: {advice}");
        }
        let (message, exit_code) = (format!("{error:#}"), code_of(error));
        let damage = error.downcast_ref().map_or(&[][..], |error: &DamageError| &error.damage);
        let damage = damage.iter().map(DamagedPlace::new).collect();
        self.files.push(FailedFile { name, message, exit_code, damage });
    }

    /// Returns the highest exit code of all failures, 0 without any.
    pub fn exit_code(&self) -> u8 {
        self.files.iter().map(|file| file.exit_code).max().unwrap_or(0)
    }
}
