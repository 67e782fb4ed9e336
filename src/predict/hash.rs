//! The hash of contexts.

/// Folds `value` into `hash`.
#[inline]
pub fn mix(hash: u32, value: u32) -> u32 {
    let x = (hash.rotate_left(7) ^ value.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1);
    x ^ x >> 15
}
