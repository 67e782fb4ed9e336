//! Steering vectors: inputs of no token before all lanes (`docs/numerics.md`, section 21), known as
//! static, soft or trained prompts (Lester, Al-Rfou and Constant, "The Power of Scale for
//! Parameter-Efficient Prompt Tuning", 2021).

use super::{Transformer, Weights, invalid};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::random::Random;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;

/// Some vectors, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Steering {
    /// Numbers of a vector.
    width: usize,
    /// `[k][width]`
    values: Vec<f32>,
}

/// Name of the tensor in a file.
const TENSOR: &str = "steering";

/// Key of the model's digest in a file's metadata.
const MODEL: &str = "model";

/// Vectors in a file, and the digest of the model that they are for.
#[derive(Debug, Clone, PartialEq)]
pub struct SteeringFile {
    /// The vectors.
    pub steering: Steering,
    /// Digest of their model, in hexadecimal.
    pub model: String,
}

impl Steering {
    /// Most vectors.
    pub const MAX_VECTORS: usize = 64;

    /// Longest file, in bytes.
    pub const MAX_FILE_LEN: u64 = 8 << 20;

    /// No vectors.
    pub const NONE: &'static Self = &Self { width: 0, values: Vec::new() };

    /// Creates vectors of `width` numbers. values: `[k][width]`
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless there are 1 to [`Steering::MAX_VECTORS`], all finite.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Self> {
        let count = values.len().checked_div(width).unwrap_or(0);
        let message = if !(1..=Self::MAX_VECTORS).contains(&count) {
            format!("{count} steering vectors, expected 1 to {}", Self::MAX_VECTORS)
        } else if values.len() != count * width {
            format!("{} numbers in {count} steering vectors of {width}", values.len())
        } else if values.iter().any(|value| !value.is_finite()) {
            "a number of the steering vectors is not finite".to_owned()
        } else {
            return Ok(Self { width, values });
        };
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// Draws vectors from a seed, as large as the embeddings of `network`.
    ///
    /// # Errors
    /// Those of [`Steering::new`].
    pub fn random(network: &Transformer, count: usize, seed: u64) -> Result<Self> {
        let (width, scale) = (network.shape().hidden_size, network.embedding_scale());
        let mut random = Random::from_state(seed);
        Self::new(width, (0..count * width).map(|_| scale * random.normal()).collect())
    }

    /// Returns the numbers: `[k][width]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns how many vectors there are.
    pub fn count(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Returns how many numbers a vector has.
    pub fn width(&self) -> usize {
        self.width
    }
}

impl SteeringFile {
    /// Reads a file: safetensors with one tensor, `[k][width]`, and the model's digest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where it is anything else.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let read = || -> Result<Self> {
            let (_, header) = safetensors::SafeTensors::read_metadata(file)
                .map_err(|e| invalid(format!("no safetensors file: {e}")))?;
            let shape = match header.info(TENSOR) {
                Some(info) => info.shape.clone(),
                None => return Err(invalid(format!("it has no tensor {TENSOR}"))),
            };
            let &[count, width] = &shape[..] else {
                return Err(invalid(format!(
                    "{TENSOR} has the shape {shape:?}, expected 2 numbers"
                )));
            };
            if count > Steering::MAX_VECTORS {
                let most = Steering::MAX_VECTORS;
                return Err(invalid(format!("{count} steering vectors, expected 1 to {most}")));
            }
            let model = header.metadata().as_ref().and_then(|metadata| metadata.get(MODEL));
            let is_digest =
                |hex: &&String| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
            let model = model.filter(is_digest).cloned();
            let model = model.ok_or_else(|| invalid("its metadata have no digest of a model"))?;
            let values = Weights::parse(file)?.tensor(TENSOR, &shape)?;
            let steering = Steering::new(width, values).map_err(|e| invalid(e.to_string()))?;
            Ok(Self { steering, model })
        };
        read().map_err(|e| e.at("steering vectors"))
    }

    /// Returns the file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Steering { width, values } = &self.steering;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![values.len() / width, *width], &bytes);
        let metadata = HashMap::from([(MODEL.to_owned(), self.model.clone())]);
        safetensors::serialize([(TENSOR, view.expect("four bytes a number"))], Some(metadata))
            .expect("one tensor and a digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SteeringFile {
        let steering = Steering::new(3, vec![1.0, -2.0, 0.5, 3.0, 0.0, -0.25]).unwrap();
        SteeringFile { steering, model: "ab".repeat(32) }
    }

    #[test]
    fn files_come_back() {
        let bytes = file().to_bytes();
        let back = SteeringFile::parse(&bytes).unwrap();
        assert_eq!(back, file());
        assert_eq!((back.steering.count(), back.steering.width()), (2, 3));
    }

    #[test]
    fn bad_files_are_refused() {
        let bytes = file().to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(
                SteeringFile::parse(&bytes[..len]).unwrap_err().kind(),
                ErrorKind::InvalidModel
            );
        }
        let says = |file: &[u8], words: &str| {
            let error = SteeringFile::parse(file).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        let text = |from: &str, to: &str| {
            assert_eq!(from.len(), to.len());
            let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
        };
        says(&text("abab", "xyab"), "digest");
        says(&text("steering", "steerinG"), "no tensor steering");
        let mut nan = bytes.clone();
        let last = nan.len() - 4;
        nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
        says(&nan, "finite");
    }

    #[test]
    fn too_many_and_none_are_refused() {
        assert!(Steering::new(2, vec![]).is_err());
        assert!(Steering::new(0, vec![1.0]).is_err());
        assert!(Steering::new(2, vec![1.0; 3]).is_err());
        assert!(Steering::new(2, vec![1.0; 2 * 65]).is_err());
        assert_eq!(Steering::NONE.count(), 0);
    }
}
