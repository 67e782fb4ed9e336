//! Options of learning while coding.

use crate::models::{Learning, LearningKind};

/// Kinds by name.
const KINDS: [(&str, LearningKind); 3] =
    [("head", LearningKind::Head), ("adapter", LearningKind::Adapter), ("all", LearningKind::All)];

/// Parses a kind.
///
/// # Errors
/// A message for the user.
pub fn parse_kind(text: &str) -> Result<LearningKind, String> {
    let found = KINDS.iter().find(|(name, _)| *name == text);
    found.map(|&(_, kind)| kind).ok_or_else(|| "expected head, adapter or all".to_owned())
}

/// Returns the name of a kind.
pub fn kind_name(kind: LearningKind) -> &'static str {
    KINDS.iter().find(|(_, other)| *other == kind).map_or("unknown", |(name, _)| name)
}

/// Parses a number of tokens; returns its log2.
///
/// # Errors
/// A message for the user.
pub fn parse_tokens(text: &str) -> Result<u8, String> {
    let tokens = text.parse::<u32>().ok().filter(|n| n.is_power_of_two());
    let log2 = tokens.map(|n| n.ilog2() as u8).filter(|n| Learning::TOKENS_LOG2.contains(n));
    log2.ok_or_else(|| "expected a power of two from 16 to 4096".to_owned())
}

/// Parses a rate; returns millionths.
///
/// # Errors
/// A message for the user.
pub fn parse_rate(text: &str) -> Result<u32, String> {
    let rate = text.parse::<f64>().ok().map(|rate| (rate * 1e6).round());
    let rate = rate.filter(|rate| (1.0..=1e6).contains(rate)).map(|rate| rate as u32);
    rate.ok_or_else(|| "expected a number from 0.000001 to 1".to_owned())
}

/// Returns the learning rate.
pub fn rate(learning: &Learning) -> f64 {
    f64::from(learning.rate) / 1e6
}
