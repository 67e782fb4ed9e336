//! Where the time goes: the layers mark what they do, and a sampling profiler looks.
//!
//! A thread says what it does by [`enter`], until the [`Span`] that it gets is dropped. While a
//! [`Profiler`] runs, a thread of its own looks at all others every millisecond and counts. So nothing
//! is timed in the code that is measured, a part may be as short as one coded bit, and each sample
//! counts once, for the innermost part. While none runs, a span costs one relaxed load.
//!
//! What it is not: exact. A part seen in `n` of `N` samples has a standard error of about
//! `100 sqrt(n) / N` percent.
//!
//! ```
//! use llmzip::profile::{Part, Profiler, enter};
//! use std::time::{Duration, Instant};
//!
//! let profiler = Profiler::start();
//! {
//!     let _span = enter(Part::Coder);
//!     let begin = Instant::now();
//!     while begin.elapsed() < Duration::from_millis(50) {}
//! }
//! let profile = profiler.stop();
//! assert!(profile.samples() > 0 && profile.percent(Part::Coder) == 100.0);
//! ```

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(1);

/// What a thread may be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// Nothing, or waiting for other threads; not counted.
    Waiting,
    /// The network, but for what follows.
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
    /// Any other work on a chunk: tokens to decisions, buffers.
    Other,
}

/// Number of parts, [`Part::Waiting`] included.
const PARTS: usize = Part::Other as usize + 1;

impl Part {
    /// All that are counted.
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

    /// Its name in reports.
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

/// Whether a profiler looks.
static LOOKING: AtomicBool = AtomicBool::new(false);

/// What each thread that has entered a part under a profiler does now. Threads that ended stay here,
/// waiting.
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

/// Says that this thread does `part` until the span is dropped; then it does again what it did before.
#[inline]
pub fn enter(part: Part) -> Span {
    if LOOKING.load(Relaxed) { begin(part) } else { Span(None) }
}

/// Out of line, so that the code around a span stays as small as it was without one.
#[cold]
#[inline(never)]
fn begin(part: Part) -> Span {
    let own = OWN.with(|own| *own);
    let before = own.load(Relaxed);
    own.store(part as u8, Relaxed);
    Span(Some((own, before)))
}

/// Ends with its value: see [`enter`].
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

/// Looks at all threads, from [`Profiler::start`] to [`Profiler::stop`]. One at a time in a process.
pub struct Profiler {
    stopped: Arc<AtomicBool>,
    looker: JoinHandle<Profile>,
}

impl Profiler {
    /// Begins to look.
    pub fn start() -> Self {
        LOOKING.store(true, Relaxed);
        let stopped = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stopped);
        let looker = thread::spawn(move || {
            let mut profile = Profile::default();
            while !until.load(Relaxed) {
                thread::sleep(PERIOD);
                threads().iter().for_each(|own| profile.counts[own.load(Relaxed) as usize] += 1);
            }
            profile
        });
        Self { stopped, looker }
    }

    /// Ends it and returns what was seen.
    pub fn stop(self) -> Profile {
        LOOKING.store(false, Relaxed);
        self.stopped.store(true, Relaxed);
        self.looker.join().unwrap_or_default()
    }
}

/// How often threads were seen at each part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Profile {
    counts: [u64; PARTS],
}

impl Profile {
    /// Samples of threads that worked.
    pub fn samples(&self) -> u64 {
        Part::COUNTED.iter().map(|part| self.counts[*part as usize]).sum()
    }

    /// The share of `part` in them, in percent; 0 where there are none.
    pub fn percent(&self, part: Part) -> f64 {
        100.0 * self.counts[part as usize] as f64 / self.samples().max(1) as f64
    }

    /// Counts what `other` saw as well.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }
}
