//! Progress on standard error: a bar, a line every few seconds, or nothing.

use super::size::grouped;
use super::voice::{ProgressStyle, Voice};
use indicatif::{
    HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle as BarStyle,
};
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Interval between lines of plain progress.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Templates of the bar with a known and an unknown total.
const BAR: &str = "{prefix} {percent:>3}% [{wide_bar}] of {total_bytes}, {bytes_per_sec}{left}";
const SPINNER: &str = "{prefix} {spinner} {bytes} {bytes_per_sec}";

/// Most columns of a bar that a name takes, so that the bar fits in a line.
const NAME_COLUMNS: usize = 26;

/// Time before which a rate says too little to tell how long the rest will take.
const UNTOLD: Duration = Duration::from_secs(3);

/// Byte counter of one input, with its display.
pub struct ProgressCounter {
    done: AtomicU64,
    /// Bytes to process, where known.
    total: Option<u64>,
    /// Times that each byte is processed.
    passes: u64,
    begin: Instant,
    name: String,
    display: Display,
}

/// Display of progress: nothing, a bar, or lines.
pub enum Display {
    None,
    Bar(ProgressBar),
    /// Time of the last line.
    Lines(Mutex<Instant>),
}

impl Display {
    /// Chooses the display; `bar` makes the bar where one is shown.
    pub fn new(style: ProgressStyle, voice: Voice, bar: impl FnOnce() -> ProgressBar) -> Self {
        match style {
            ProgressStyle::Auto if voice > Voice::Quiet && stderr().is_terminal() => {
                Self::Bar(bar())
            }
            ProgressStyle::Plain => Self::Lines(Mutex::new(Instant::now())),
            _ => Self::None,
        }
    }

    /// Starts the next interval between lines and returns true, where this one is over or `now` is
    /// set.
    pub fn line_is_due(last: &Mutex<Instant>, now: bool) -> bool {
        let Ok(mut last) = last.try_lock() else { return false };
        let is_due = now || last.elapsed() >= LINE_INTERVAL;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }
}

impl Drop for Display {
    /// Clears the bar, so that it does not outlive its work, however that ended.
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Returns a bar on standard error, drawn by `template`; `None` where the length is unknown.
pub fn bar(len: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr());
    let style = BarStyle::with_template(template);
    let style = style.unwrap_or_else(|_| BarStyle::default_bar());
    bar.with_style(style.with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
        if state.elapsed() >= UNTOLD && state.pos() > 0 {
            let _ = write!(out, ", {} left", HumanDuration(state.eta()));
        }
    }))
}

/// Returns `name` in at most [`NAME_COLUMNS`] characters: its end, where it is longer.
fn shortened(name: &str) -> String {
    match name.chars().count().checked_sub(NAME_COLUMNS) {
        None | Some(0) => name.to_owned(),
        Some(more) => format!("…{}", name.chars().skip(more + 1).collect::<String>()),
    }
}

impl ProgressCounter {
    /// Starts counting towards `total` bytes, where known.
    pub fn new(style: ProgressStyle, voice: Voice, name: &str, total: Option<u64>) -> Self {
        let template = if total.is_some() { BAR } else { SPINNER };
        let display =
            Display::new(style, voice, || bar(total, template).with_prefix(shortened(name)));
        let (done, begin, name) = (AtomicU64::new(0), Instant::now(), name.to_owned());
        Self { done, total, passes: 1, begin, name, display }
    }

    /// Counts each byte only once it was processed `passes` times.
    pub fn with_passes(self, passes: u64) -> Self {
        Self { passes, ..self }
    }

    /// Adds `n` bytes that were processed once.
    pub fn add(&self, n: u64) {
        let done = (self.done.fetch_add(n, Ordering::Relaxed) + n) / self.passes;
        match &self.display {
            Display::None => (),
            Display::Bar(bar) => bar.set_position(done),
            Display::Lines(last) => {
                if Display::line_is_due(last, false) {
                    say!("{}", self.line(done));
                }
            }
        }
    }

    /// Clears the display and returns the seconds since the start.
    pub fn finish(&self) -> f64 {
        match &self.display {
            Display::None => (),
            Display::Bar(bar) => bar.finish_and_clear(),
            Display::Lines(_) => {
                say!("{}", self.line(self.done.load(Ordering::Relaxed) / self.passes))
            }
        }
        self.begin.elapsed().as_secs_f64()
    }

    /// Formats one line of plain progress.
    fn line(&self, done: u64) -> String {
        let rate = done as f64 / self.begin.elapsed().as_secs_f64().max(1e-3);
        let (name, bytes) = (&self.name, grouped(done));
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = done as f64 * 100.0 / total as f64;
                let left_s = total.saturating_sub(done) as f64 / rate.max(1e-3);
                format!(
                    "{name}: {percent:.0} %, {bytes} bytes, {rate:.0} bytes/s, {left_s:.0} s left"
                )
            }
            None => format!("{name}: {bytes} bytes, {rate:.0} bytes/s"),
        }
    }
}
