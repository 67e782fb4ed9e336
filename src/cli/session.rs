//! State that all inputs of a run share.

use super::models::source::Models;
use super::voice::{ProgressStyle, Voice};

/// Models and display settings of one run.
pub struct CliSession {
    pub models: Models,
    pub voice: Voice,
    pub progress: ProgressStyle,
}
