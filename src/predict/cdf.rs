//! Conversion of logits to cumulative integer counts: the end of floating point.

use crate::error::Result;
use crate::models::non_finite;
use crate::ops::{Isa, counts};
use crate::profile::{Part, enter};

/// Writes the cumulative counts of the distribution that `logits` give: token i owns
/// `cumulative[i]..cumulative[i + 1]`, never empty.
///
/// logits: `[V]`, overwritten; cumulative: `[V + 1]`, from 0 to about 2^30 (docs/numerics.md, rule
/// 9).
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a logit is not finite: the model overflows on this input.
pub fn cumulative_counts(isa: Isa, logits: &mut [f32], cumulative: &mut [u32]) -> Result<()> {
    let _counts = enter(Part::Counts);
    cumulative[0] = 0;
    if !counts(isa, logits, &mut cumulative[1..]) {
        return Err(non_finite());
    }
    let mut total = 0u32;
    for count in &mut cumulative[1..] {
        total = total.wrapping_add(*count); // rule 9: far below 2^32
        *count = total;
    }
    Ok(())
}
