//! State that all inputs of a run share.

use super::models::source::Models;
use super::progress::ProgressCounter;
use super::voice::{ProgressStyle, Voice};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Models and display settings of one run.
pub struct CliSession {
    pub models: Models,
    pub voice: Voice,
    pub progress: ProgressStyle,
    n_inputs: usize,
    /// Inputs that were begun.
    n_begun: AtomicUsize,
}

impl CliSession {
    /// Creates the session of a run on so many inputs.
    pub fn new(models: Models, voice: Voice, progress: ProgressStyle, n_inputs: usize) -> Self {
        Self { models, voice, progress, n_inputs, n_begun: AtomicUsize::new(0) }
    }

    /// Starts counting the bytes of the next input, `name`, towards `total`, where that is known.
    pub fn counter(&self, name: &str, style: ProgressStyle, total: Option<u64>) -> ProgressCounter {
        let number = self.n_begun.fetch_add(1, Ordering::Relaxed) + 1;
        let name = match self.n_inputs {
            0 | 1 => name.to_owned(),
            n => format!("{number} of {n}: {name}"),
        };
        ProgressCounter::new(style, self.voice, &name, total)
    }
}
