//! Exact kernels: slices in, slices out, the same bits on every machine.
//!
//! Encoder and decoder must compute the same integers, so every operation between weights and coded
//! bits has one written order: "order v1", `docs/numerics.md`. [`mod@reference`] is its plain
//! definition in safe scalar Rust; the kernels here are written over sixteen-lane vectors
//! ([`arch::Simd`]) and tested bit for bit against it.
//!
//! Nothing here allocates per call beyond scratch that the caller keeps, knows a model or a file,
//! or starts a thread.

mod activation;
pub mod arch;
mod attention;
mod exp;
mod fma;
mod int4;
mod int8;
mod kv_cache;
mod lanewise;
mod matmul;
mod norm;
mod quant;
mod recurrent;
pub mod reference;
mod rotary;
mod sum;

pub use activation::{
    add_assign, gelu_erf, gelu_erf_backward, gelu_tanh, gelu_tanh_backward, sigmoid, silu_mul, tanh,
};
pub use arch::Isa;
pub use attention::{AttentionScratch, AttentionShape, Pinned, QueryRow, attention};
pub use exp::{counts, exp, softmax, softmax_backward};
pub use int4::{GroupMatrix, GroupRow, GroupShape, MAX_GROUP, four_bit_weight, matmul_int4};
pub use int8::{MAX_INPUTS, QuantMatrix, matmul_int8};
pub use kv_cache::{Bf16, KvCache, KvElement};
pub use matmul::{Line, PackedMatrix, Weight, matmul};
pub use norm::{LayerNormGradients, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};
pub use quant::{
    ActivationBits, GroupRows, QuantRows, ScalePrecision, quantize_group4, quantize_weights,
};
pub use recurrent::{gru_cell, lstm_cell};
pub use rotary::{Rotary, RotaryScaling, rotate};
pub use sum::sum16;

/// The number of the order of operations that these kernels follow; archives carry it.
pub const NUMERICS_VERSION: u8 = 1;
