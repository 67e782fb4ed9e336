//! Progress of downloads: a bar per file.

use crate::cli::names::printable;
use crate::cli::progress::ProgressCounter;
use crate::cli::voice::{ProgressStyle, Voice};
use crate::hub::Watch;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Progress display of one file after the other.
pub struct Bars {
    style: ProgressStyle,
    voice: Voice,
    current: Mutex<Option<ProgressCounter>>,
}

impl Bars {
    pub fn new(style: ProgressStyle, voice: Voice) -> Self {
        Self { style, voice, current: Mutex::new(None) }
    }
}

impl Watch for Bars {
    fn begin(&self, file: &str, done: u64, total: u64) {
        let progress = ProgressCounter::new(self.style, self.voice, file, Some(total));
        progress.add(done);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = current.replace(progress) {
            last.finish();
        }
    }

    fn pause(&self, why: &str, pause: Duration) {
        if self.voice > Voice::Quiet {
            say!("llmzip: {}; next attempt in {:.0} s", printable(why), pause.as_secs_f64().ceil());
        }
    }

    fn add(&self, n: u64) {
        if let Some(progress) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            progress.add(n);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(last) = self.current.get_mut().unwrap_or_else(PoisonError::into_inner) {
            last.finish();
        }
    }
}
