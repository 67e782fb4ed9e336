//! Options for messages and progress.

use clap::{ArgAction, Args, ValueEnum};

/// Message and progress options as typed.
#[derive(Args, Debug)]
pub struct VoiceArgs {
    /// Suppress everything except errors
    #[arg(short, long, overrides_with = "verbose")]
    pub quiet: bool,
    /// Print more details
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub verbose: bool,
    /// How to show progress on standard error; auto: a bar, if that is a terminal
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub progress: ProgressStyle,
}

impl VoiceArgs {
    /// Returns the level that the two flags choose.
    pub fn voice(&self) -> Voice {
        match (self.quiet, self.verbose) {
            (true, _) => Voice::Quiet,
            (_, true) => Voice::Verbose,
            _ => Voice::Normal,
        }
    }
}

/// Verbosity of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Voice {
    Quiet,
    Normal,
    Verbose,
}

/// Form of the progress display.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProgressStyle {
    /// A bar where standard error is a terminal.
    #[default]
    Auto,
    /// A line every few seconds.
    Plain,
    /// None.
    Never,
}
