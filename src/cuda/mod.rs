//! Kernels of order v1 on a CUDA device (docs/cuda.md): buffers in, buffers out, the same bits as `ops`.
//!
//! `kernels/` has their sources and what the driver takes of them; `launch` calls each with its arguments checked, which `operands` has the shapes of, `driver` is the
//! driver's library. Knows no model and no file.

mod driver;
mod launch;
mod operands;

pub use driver::{Buffer, Device, Element, Stream};
pub use operands::{HeadsShape, Places, Product, Table, Weights, grow};
