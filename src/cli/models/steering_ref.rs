//! Steering vectors as typed.

use crate::Result;
use crate::local::SteeringRef;
use crate::models::Steering;
use std::path::Path;

/// Steering vectors that are drawn from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomSteering {
    pub count: u8,
    pub seed: u64,
}

/// Steering vectors of a run.
#[derive(Debug, Clone)]
pub enum SteeringSpec {
    /// Those of `--steer`.
    File(SteeringRef),
    /// Those of `--steer-random`.
    Random(RandomSteering),
}

impl SteeringSpec {
    /// Resolves what was typed.
    ///
    /// # Errors
    /// Those of [`SteeringRef::parse`].
    pub fn of(file: Option<&Path>, random: Option<RandomSteering>) -> Result<Option<Self>> {
        match (file, random) {
            (Some(file), _) => Ok(Some(Self::File(SteeringRef::parse(file)?))),
            (None, random) => Ok(random.map(Self::Random)),
        }
    }

    /// Returns the option that gives them.
    pub fn option(&self) -> &'static str {
        match self {
            Self::File(_) => "--steer",
            Self::Random(_) => "--steer-random",
        }
    }
}

/// Parses `K` or `K:SEED`.
///
/// # Errors
/// A message for the user.
pub fn parse_random(text: &str) -> Result<RandomSteering, String> {
    let (count, seed) = text.split_once(':').unwrap_or((text, "0"));
    let most = Steering::MAX_VECTORS;
    let count = count.parse().ok().filter(|count| (1..=most).contains(&usize::from(*count)));
    let count = count.ok_or_else(|| format!("expected a number of vectors from 1 to {most}"))?;
    let seed = seed.parse().map_err(|_| "expected a seed from 0 to 2^64 - 1".to_owned())?;
    Ok(RandomSteering { count, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_vectors_are_read() {
        let random = |count, seed| Ok(RandomSteering { count, seed });
        assert_eq!(parse_random("1"), random(1, 0));
        assert_eq!(parse_random("64:18446744073709551615"), random(64, u64::MAX));
        for bad in ["", "0", "65", "-1", "1:", "1:x", ":1", "1:2:3", "1:18446744073709551616"] {
            assert!(parse_random(bad).is_err(), "{bad}");
        }
    }
}
