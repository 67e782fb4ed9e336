//! From logits to the probability of the next bit.

pub mod cdf;
