//! A [`Transformer`] on a CUDA device: its weights there, and sessions that compute there, the same bits as on the
//! processor (`docs/cuda.md`).
//!
//! Networks that learn, and lanes with steering vectors, run on the processor.

mod session;
mod weights;

use super::{Network, Session, Transformer};
use crate::cuda::{Device, Stream};
use crate::error::Result;
use session::CudaSession;
use weights::DeviceWeights;

/// A network whose weights are on a device.
pub struct CudaNetwork {
    /// The same on the processor.
    network: Transformer,
    device: Device,
    weights: DeviceWeights,
}

impl CudaNetwork {
    /// Copies the weights of `network` to `device`.
    ///
    /// # Errors
    /// [`ErrorKind::Device`](crate::ErrorKind::Device); [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for
    /// weights of four bits.
    pub fn new(network: &Transformer, device: &Device) -> Result<Self> {
        let stream = device.stream()?;
        let weights = DeviceWeights::upload(network, &stream)?;
        stream.wait()?; // sessions have streams of their own
        Ok(Self { network: network.clone(), device: device.clone(), weights })
    }

    fn stream(&self) -> Result<Stream> {
        self.device.stream()
    }
}

impl Network for CudaNetwork {
    fn outputs(&self) -> usize {
        self.network.outputs()
    }

    fn window(&self) -> usize {
        self.network.window()
    }

    fn is_on_device(&self) -> bool {
        true
    }

    fn as_transformer(&self) -> Option<&Transformer> {
        Some(&self.network)
    }

    fn session(&self, lanes: usize, steps: usize, window: usize) -> Box<dyn Session + '_> {
        Box::new(CudaSession::new(self, lanes, steps, window))
    }
}
