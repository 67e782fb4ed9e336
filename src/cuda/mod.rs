//! Kernels of order v1 on a CUDA device (docs/cuda.md): buffers in, buffers out, the same bits as `ops`.
//!
//! `kernels/` has their sources and what the driver takes of them; `launch` calls each with its arguments checked, `driver` is the
//! driver's library. Knows no model and no file.

mod driver;
mod launch;

pub use driver::{Buffer, Device, Element, Stream};
pub use launch::{HeadsShape, Places, Product, Table, Weights, grow};
