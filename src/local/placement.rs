//! Where language models run: on the processor, or on a CUDA device (`docs/cuda.md`).

use crate::cuda::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Choice of the processor or a device; changes no byte of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first CUDA device where there is one that runs the model, else the processor.
    Auto,
    /// That CUDA device, counted from 0, and no other.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let ordinal = text.strip_prefix("cuda").map(|rest| match rest.strip_prefix(':') {
            Some(ordinal) => ordinal.parse().ok(),
            None => rest.is_empty().then_some(0),
        });
        match (text, ordinal.flatten()) {
            ("cpu", _) => Ok(Self::Cpu),
            ("auto", _) => Ok(Self::Auto),
            (_, Some(ordinal)) => Ok(Self::Cuda(ordinal)),
            _ => {
                let message = format!("the device '{text}' is none of cpu, auto, cuda and cuda:N");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
        }
    }
}

/// Callback with what runs a model: a device's name, or why it is the processor.
type OnPlace = Box<dyn Fn(&str) + Send + Sync>;

/// The device of this process, and the model that is on it.
pub(super) struct Placement {
    choice: DeviceChoice,
    device: OnceLock<Result<Device>>,
    last: Mutex<Option<Placed>>,
    on_place: OnPlace,
}

/// A model as it was found, and as it runs.
struct Placed {
    found: Arc<Model>,
    runs: Arc<Model>,
}

impl Placement {
    /// Opens nothing yet.
    pub fn new(choice: DeviceChoice, on_place: OnPlace) -> Self {
        Self { choice, device: OnceLock::new(), last: Mutex::new(None), on_place }
    }

    /// Returns `model` where it shall run; one that is asked for again is copied to a device once.
    ///
    /// # Errors
    /// Where a device was asked for: [`ErrorKind::Device`], and [`ErrorKind::InvalidArgument`] for a model that it
    /// does not run.
    pub fn place(&self, model: Arc<Model>) -> Result<Arc<Model>> {
        let ordinal = match self.choice {
            DeviceChoice::Cpu => return Ok(model),
            DeviceChoice::Auto => 0,
            DeviceChoice::Cuda(ordinal) => ordinal,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(placed) = last.as_ref().filter(|placed| Arc::ptr_eq(&placed.found, &model)) {
            return Ok(Arc::clone(&placed.runs));
        }
        *last = None; // its memory, before another model takes some
        let device = self.device.get_or_init(|| Device::open(ordinal)).as_ref();
        let device = device.map_err(Error::duplicate);
        let runs = match device.and_then(|device| Ok((device, Arc::new(model.on_cuda(device)?)))) {
            Ok((device, placed)) => {
                (self.on_place)(&format!("the model runs on {}", device.name()));
                placed
            }
            Err(error) if self.choice == DeviceChoice::Auto => {
                (self.on_place)(&format!("the model runs on the processor: {error}"));
                Arc::clone(&model)
            }
            Err(error) => return Err(error),
        };
        *last = Some(Placed { found: model, runs: Arc::clone(&runs) });
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        let parse = |text: &str| text.parse::<DeviceChoice>().ok();
        assert_eq!(parse("cpu"), Some(DeviceChoice::Cpu));
        assert_eq!(parse("auto"), Some(DeviceChoice::Auto));
        assert_eq!(parse("cuda"), Some(DeviceChoice::Cuda(0)));
        assert_eq!(parse("cuda:3"), Some(DeviceChoice::Cuda(3)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda3", "cuda:4294967296", "CPU"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
