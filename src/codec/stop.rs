//! Ends the coding of chunks from another thread.

use crate::error::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// A request that coding ends, made by another thread. Loops over a chunk check it as often as they call `progress`.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// One that nobody makes.
    pub fn never() -> &'static Self {
        static NEVER: Stop = Stop(AtomicBool::new(false));
        &NEVER
    }

    /// Makes the request.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Checks whether the request was made.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] from then on.
    pub fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Interrupted, "interrupted by the caller")),
            false => Ok(()),
        }
    }
}
