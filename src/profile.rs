//! In-process sampling profiler: the layers mark the parts of their work, and samples are counted
//! by part.
//!
//! A thread enters a part by [`enter`] and leaves it when the returned [`Span`] is dropped. While a
//! [`Profiler`] runs, a thread of its own samples all others every millisecond. So the measured
//! code reads no clock, a part may be as short as one coded bit, and each sample counts once, for
//! the innermost part. While no profiler runs, a span costs one relaxed load.
//!
//! It is not exact: a part seen in `n` of `N` samples has a standard error of about
//! `100 sqrt(n) / N` percent.
//!
//! ```
//! use llmzip::profile::{Part, Profiler, enter};
//! use std::time::{Duration, Instant};
//!
//! let profiler = Profiler::start()?;
//! {
//!     let _span = enter(Part::Coder);
//!     let begin = Instant::now();
//!     while begin.elapsed() < Duration::from_millis(50) {}
//! }
//! let profile = profiler.stop();
//! assert!(profile.samples() > 0 && profile.percent(Part::Coder) == 100.0);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Sampling interval.
const PERIOD: Duration = Duration::from_millis(1);

/// Part of the work of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// Nothing, or waiting for other threads; not counted.
    Waiting,
    /// Other work of the network than the parts that follow.
    Model,
    /// Attention over keys and values.
    Attention,
    /// The steps of a recurrent network's state.
    State,
    /// The last product: hidden states to logits.
    Head,
    /// Logits to cumulative counts.
    Counts,
    /// The adaptive model and the mixer.
    Mixing,
    /// The range coder, where tokens are coded; elsewhere it counts as mixing.
    Coder,
    /// Bytes to tokens.
    Tokenizer,
    /// Reading, writing and checksums.
    Io,
    /// Other work on a chunk: tokens to decisions, buffers.
    Other,
}

/// Number of parts, [`Part::Waiting`] included.
const PARTS: usize = Part::Other as usize + 1;

impl Part {
    /// All parts that are counted.
    pub const COUNTED: [Self; PARTS - 1] = [
        Self::Model,
        Self::Attention,
        Self::State,
        Self::Head,
        Self::Counts,
        Self::Mixing,
        Self::Coder,
        Self::Tokenizer,
        Self::Io,
        Self::Other,
    ];

    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Model => "model",
            Self::Attention => "attention",
            Self::State => "state",
            Self::Head => "head",
            Self::Counts => "counts",
            Self::Mixing => "mixing",
            Self::Coder => "coder",
            Self::Tokenizer => "tokenizer",
            Self::Io => "io",
            Self::Other => "other",
        }
    }
}

/// Profiler enabled.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Current part of each thread that has entered one under a profiler. Threads that ended stay
/// listed as waiting.
static THREADS: Mutex<Vec<&'static AtomicU8>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: &'static AtomicU8 = {
        let own: &'static AtomicU8 = Box::leak(Box::new(AtomicU8::new(Part::Waiting as u8)));
        threads().push(own);
        own
    };
}

fn threads() -> MutexGuard<'static, Vec<&'static AtomicU8>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks the current thread as in `part` until the span is dropped, which restores the part before.
#[inline]
pub fn enter(part: Part) -> Span {
    if ENABLED.load(Relaxed) { begin(part) } else { Span(None) }
}

/// Starts a span. Out of line, so that the code around a span stays small.
#[cold]
#[inline(never)]
fn begin(part: Part) -> Span {
    let own = OWN.with(|own| *own);
    let before = own.load(Relaxed);
    own.store(part as u8, Relaxed);
    Span(Some((own, before)))
}

/// Guard of a part that was entered: see [`enter`].
#[must_use = "the part ends where this is dropped"]
pub struct Span(Option<(&'static AtomicU8, u8)>);

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some((own, before)) = self.0 {
            own.store(before, Relaxed);
        }
    }
}

/// Sampling profiler of all threads, from [`Profiler::start`] to [`Profiler::stop`]. At most one
/// runs in a process.
pub struct Profiler {
    stopped: Arc<AtomicBool>,
    sampler: JoinHandle<Profile>,
}

impl Profiler {
    /// Starts sampling.
    ///
    /// # Errors
    /// I/O errors: no thread can be started.
    pub fn start() -> std::io::Result<Self> {
        ENABLED.store(true, Relaxed);
        let stopped = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stopped);
        let sampler = thread::Builder::new().spawn(move || {
            let mut profile = Profile::default();
            while !until.load(Relaxed) {
                thread::sleep(PERIOD);
                threads().iter().for_each(|own| profile.counts[own.load(Relaxed) as usize] += 1);
            }
            profile
        })?;
        Ok(Self { stopped, sampler })
    }

    /// Stops sampling and returns the profile.
    pub fn stop(self) -> Profile {
        ENABLED.store(false, Relaxed);
        self.stopped.store(true, Relaxed);
        self.sampler.join().unwrap_or_default()
    }
}

/// Samples of each part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Profile {
    counts: [u64; PARTS],
}

impl Profile {
    /// Returns the number of samples of working threads.
    pub fn samples(&self) -> u64 {
        Part::COUNTED.iter().map(|part| self.counts[*part as usize]).sum()
    }

    /// Returns the share of `part` in the samples, in percent; 0 without samples.
    pub fn percent(&self, part: Part) -> f64 {
        100.0 * self.counts[part as usize] as f64 / self.samples().max(1) as f64
    }

    /// Adds the samples of `other`.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }
}
