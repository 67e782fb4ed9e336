//! Tensors of a safetensors file, read by candle and widened to `f32`.

use super::invalid;
use crate::error::Result;
use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device};

/// A model's tensors.
pub struct Weights<'a>(SliceSafetensors<'a>);

impl<'a> Weights<'a> {
    /// The tensors in `file`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if its header makes no sense.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        SliceSafetensors::new(file).map(Self).map_err(|e| invalid(format!("safetensors: {e}")))
    }

    /// The tensor `name`, row-major, which must be finite and have `shape`. f16 and bf16 are
    /// widened exactly.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) otherwise.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let failed = |e: candle_core::Error| invalid(format!("tensor {name}: {e}"));
        let tensor = self.0.load(name, &Device::Cpu).map_err(failed)?;
        if tensor.dims() != shape {
            let found = tensor.dims();
            return Err(invalid(format!("tensor {name}: shape {found:?}, expected {shape:?}")));
        }
        if ![DType::F32, DType::F16, DType::BF16].contains(&tensor.dtype()) {
            let found = tensor.dtype().as_str();
            return Err(invalid(format!("tensor {name}: type {found}, expected f32, f16 or bf16")));
        }
        let flat = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()).map_err(failed)?;
        let values = flat.to_vec1::<f32>().map_err(failed)?;
        match values.iter().find(|x| !x.is_finite()) {
            Some(x) => Err(invalid(format!("tensor {name}: holds {x}"))),
            None => Ok(values),
        }
    }
}
