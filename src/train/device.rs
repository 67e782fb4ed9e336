//! Devices to train on: the CPU with the kernels of `ops`, or CUDA with candle.

use super::network::TrainableNetwork;
use super::optimiser::{Orthogonal, orthogonal};
use super::shape::NetworkShape;
use crate::error::Result;
#[cfg(not(feature = "candle-cuda"))]
use crate::error::{Error, ErrorKind};
use crate::nn::random::Random;
use crate::ops::Isa;

/// Device to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The first CUDA device, where this build supports CUDA and there is one; else the CPU.
    Auto,
    /// The CPU: the same data, options and steps give the same model.
    Cpu,
    /// The CUDA device of that number.
    Cuda(usize),
}

/// Network on its device.
pub(super) struct Placed {
    pub network: Box<dyn TrainableNetwork>,
    pub orthogonal: Orthogonal,
    /// Whether it takes all streams at once; else each thread takes some.
    pub takes_all: bool,
}

impl Device {
    /// Creates an untrained network on this device.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::error::ErrorKind::InvalidArgument) where there is no
    /// such device.
    pub(super) fn place(
        self,
        shape: NetworkShape,
        isa: Isa,
        random: &mut Random,
    ) -> Result<Placed> {
        let network = shape.network(isa, random);
        #[cfg(feature = "candle-cuda")]
        if let Some(device) = self.cuda()? {
            let (network, orthogonal) = super::candle::place(network, shape, &device)?;
            return Ok(Placed { network, orthogonal, takes_all: true });
        }
        #[cfg(not(feature = "candle-cuda"))]
        if let Self::Cuda(_) = self {
            let message = "this build of llmzip has no CUDA support; build one that has with: \
                           cargo install --path . --locked --features candle-cuda";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let orthogonal = Box::new(move |x, columns| Ok(orthogonal(isa, x, columns)));
        Ok(Placed { network, orthogonal, takes_all: false })
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda(self) -> Result<Option<candle_core::Device>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Auto => Ok(candle_core::Device::new_cuda(0).ok()),
            Self::Cuda(number) => super::candle::cuda(number).map(Some),
        }
    }
}
