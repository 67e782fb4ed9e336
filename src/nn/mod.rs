//! Layers with forward and backward passes, both written by hand: what networks that learn are made of.
//!
//! Products are those of `ops`, so a network computes the same here as when it codes, but for keys
//! and values, which are not rounded here. A pass is of one shard of a batch and on one thread.
//! Every backward pass is held to finite differences (`tests/library/gradients.rs`).

pub mod attention;
pub mod decoder;
pub mod feed_forward;
pub mod linear;
pub mod loss;
pub mod low_rank;
pub mod matrix;
pub mod norm;
pub mod parameter;
pub mod random;
pub mod recurrence;
pub mod recurrent;
pub mod self_attention;
pub mod shape;
