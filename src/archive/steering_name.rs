//! Names of steering vectors in archives.

use crate::error::{Error, ErrorKind};
use std::fmt;

/// Name of a stream's steering vectors (`docs/format.md`, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SteeringName {
    /// Drawn from a seed.
    Random {
        /// How many, 1 to [`Steering::MAX_VECTORS`](crate::models::Steering::MAX_VECTORS).
        count: u8,
        /// The seed.
        seed: u64,
    },
    /// Those of a file.
    Digest {
        /// BLAKE3 of the file; decides alone.
        digest: [u8; 32],
        /// For people; at most 255 bytes, no control characters.
        label: String,
    },
    /// Carried by the archive.
    Carried {
        /// Their code ([`SteeringCode`](crate::codec::SteeringCode)).
        code: Vec<u8>,
    },
}

impl SteeringName {
    /// The error of a reader that has no such file.
    pub fn missing(&self) -> Error {
        let message = format!(
            "the archive needs {self}, not found here; name the file with --steer, or import it with:  \
             llmzip models import FILE.steer"
        );
        Error::new(ErrorKind::ModelMissing, message)
    }
}

impl fmt::Display for SteeringName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { count, seed } => write!(f, "{count} random vectors of seed {seed}"),
            Self::Digest { digest, label } => {
                let (label, digest) = (label.escape_debug(), blake3::Hash::from_bytes(*digest));
                write!(f, "steering vectors '{label}' ({})", digest.to_hex())
            }
            Self::Carried { code } => write!(f, "steering vectors in {} bytes", code.len()),
        }
    }
}
