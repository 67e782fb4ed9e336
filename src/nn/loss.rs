//! Cross-entropy of a softmax.

use crate::ops::{Isa, softmax};

/// Returns the sum of the rows' costs in nats; `logits`, `[rows][V]`, become their gradient.
pub fn cross_entropy(isa: Isa, logits: &mut [f32], targets: &[u32]) -> f64 {
    let v = logits.len() / targets.len();
    let mut nats = 0.0;
    for (row, &target) in logits.chunks_exact_mut(v).zip(targets) {
        softmax(isa, row);
        let p = &mut row[target as usize];
        nats -= libm::log(f64::from(p.max(f32::MIN_POSITIVE)));
        *p -= 1.0;
    }
    nats
}
