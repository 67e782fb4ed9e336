//! Steering vectors of a stream, and where they come from.

use super::{ModelSource, SteeringName};
use crate::codec::SteeringCode;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Model, Steering, SteeringFile, Transformer};
use std::sync::Arc;

/// Steering vectors to compress with, and their name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedSteering {
    pub(super) name: SteeringName,
    pub(super) vectors: Arc<Steering>,
}

impl NamedSteering {
    /// Draws `count` vectors for `model` from a seed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the model takes none, or not so many.
    pub fn random(model: &Model, count: u8, seed: u64) -> Result<Self> {
        let vectors = Arc::new(random(model, count, seed)?);
        Ok(Self { name: SteeringName::Random { count, seed }, vectors })
    }

    /// Takes the vectors of a file, which archives call `label`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where it is no such file; [`ErrorKind::InvalidArgument`] where
    /// they are for another model.
    pub fn of_file(file: &[u8], label: &str, model: &Model) -> Result<Self> {
        let SteeringFile { steering, model: of } = SteeringFile::parse(file)?;
        let digest = model.identity().hex();
        if of != digest {
            let message = format!("the steering vectors are for the model {of}, not for {digest}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        check_width(&steering, model)?;
        let name = SteeringName::Digest { digest: blake3::hash(file).into(), label: label.into() };
        Ok(Self { name, vectors: Arc::new(steering) })
    }

    /// Takes vectors that the archive carries.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where the model takes none; [`ErrorKind::Corrupt`] where they are
    /// none of its.
    pub fn carried(model: &Model, code: &SteeringCode) -> Result<Self> {
        let code = code.to_bytes();
        let vectors = Arc::new(carried(model, &code)?);
        Ok(Self { name: SteeringName::Carried { code }, vectors })
    }

    /// Returns the name that archives have.
    pub fn name(&self) -> &SteeringName {
        &self.name
    }

    /// Returns the vectors.
    pub fn vectors(&self) -> &Steering {
        &self.vectors
    }

    /// Checks that they can stand before texts of `model`.
    ///
    /// # Errors
    /// InvalidArgument where they cannot.
    pub(super) fn check(&self, model: &Model) -> Result<()> {
        check_width(&self.vectors, model)
    }
}

/// Finds the vectors that `name` names, for a stream of `model`.
///
/// # Errors
/// Those of `source`; Corrupt where no encoder with this model can have written the name.
pub(super) fn find_steering(
    name: &SteeringName,
    model: &Model,
    source: &dyn ModelSource,
) -> Result<Arc<Steering>> {
    let steering = match name {
        SteeringName::Random { count, seed } => random(model, *count, *seed).map(Arc::new),
        SteeringName::Digest { .. } => {
            let steering = source.find_steering(name)?;
            check_width(&steering, model).map(|()| steering)
        }
        SteeringName::Carried { code } => carried(model, code).map(Arc::new),
    };
    steering.map_err(|e| Error::new(ErrorKind::Corrupt, e.to_string()))
}

fn carried(model: &Model, code: &[u8]) -> Result<Steering> {
    let network = transformer(model)?;
    SteeringCode::parse(code, network.shape().hidden_size)?.vectors(network)
}

fn random(model: &Model, count: u8, seed: u64) -> Result<Steering> {
    Steering::random(transformer(model)?, count.into(), seed)
}

fn check_width(steering: &Steering, model: &Model) -> Result<()> {
    let (width, expected) = (steering.width(), transformer(model)?.shape().hidden_size);
    if width == expected {
        return Ok(());
    }
    let message = format!("steering vectors of {width} numbers, the model takes {expected}");
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

fn transformer(model: &Model) -> Result<&Transformer> {
    let message = "a recurrent model takes no steering vectors";
    let none = || Error::new(ErrorKind::InvalidArgument, message);
    model.network().as_transformer().ok_or_else(none)
}
