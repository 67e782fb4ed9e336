//! Steering vectors as typed, and their resolution on this machine.

use crate::cli::exit::UsageError;
use crate::cli::names::shown;
use crate::hub::{FoundSteering, Store};
use crate::models::Steering;
use crate::{Error, ErrorKind};
use anyhow::Result;
use std::path::{Path, PathBuf};

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

/// Reference to a file of steering vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteeringRef(PathBuf);

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

impl SteeringRef {
    /// Parses a reference: a file, or the name of an imported one.
    ///
    /// # Errors
    /// UsageError where a path leads to nothing.
    pub fn parse(typed: &Path) -> Result<Self> {
        match is_path(typed) && typed.symlink_metadata().is_err() {
            true => Err(UsageError(format!("no such file: {}", shown(typed))).into()),
            false => Ok(Self(typed.to_owned())),
        }
    }

    /// Finds the file on this machine: one of that path takes precedence over an imported one.
    ///
    /// # Errors
    /// ModelMissing.
    pub fn find(&self, store: &Store) -> crate::Result<FoundSteering> {
        let Self(typed) = self;
        if typed.is_file() {
            return Ok(FoundSteering::of_path(typed));
        }
        if let Some(stored) = self.find_stored(store) {
            return Ok(stored);
        }
        if typed.symlink_metadata().is_ok() {
            return Ok(FoundSteering::of_path(typed)); // reading it says what it is
        }
        let message = format!(
            "there are no steering vectors '{}': neither a file nor an imported one of that name",
            shown(typed)
        );
        Err(Error::new(ErrorKind::ModelMissing, message))
    }

    /// Finds the imported file of that name.
    pub fn find_stored(&self, store: &Store) -> Option<FoundSteering> {
        let Self(typed) = self;
        store.find_steering_file(typed.to_str().filter(|_| !is_path(typed))?)
    }
}

/// Whether `typed` can only be a path.
fn is_path(typed: &Path) -> bool {
    typed.components().count() != 1 || typed.is_absolute() || typed.starts_with("..")
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

    #[test]
    fn paths_are_told_from_names() {
        for path in ["./a", "../a", "/a", "a/b", "..", ""] {
            assert!(is_path(Path::new(path)), "{path}");
        }
        assert!(!is_path(Path::new("a.steer")));
    }
}
