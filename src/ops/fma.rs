//! Fused multiply-add for the portable path: one rounding, the same bits on every target.

/// `a * b + c`, rounded once.
///
/// Uses the hardware's instruction where the target is sure to have one, else [`soft_fma`]; never
/// the C library's.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, c)
    } else {
        soft_fma(a, b, c)
    }
}

/// `a * b + c`, rounded once, from `f64` operations.
///
/// The product of two 24-bit significands is exact in `f64`. The sum's rounding error (Knuth's
/// TwoSum) turns the rounded sum into the sum rounded to odd, which then rounds correctly to `f32`
/// because 53 >= 2 * 24 + 2 (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums:
/// proved algorithms using rounding to odd", 2008).
#[inline]
pub fn soft_fma(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    let from_c = sum - product;
    let error = (product - (sum - from_c)) + (c - from_c);
    let bits = sum.to_bits();
    let inexact = error != 0.0 && sum.is_finite();
    if inexact && bits & 1 == 0 {
        let away_from_zero = (error > 0.0) == (sum > 0.0);
        let odd = if away_from_zero { bits + 1 } else { bits - 1 };
        return f64::from_bits(odd) as f32;
    }
    sum as f32
}

#[cfg(test)]
mod tests {
    use super::soft_fma;

    /// The hardware's instruction as the oracle, on random bit patterns and on values of like size.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn soft_fma_equals_the_hardware() {
        if !is_x86_feature_detected!("fma") {
            println!("skipped: no fma instruction on this machine");
            return;
        }
        #[target_feature(enable = "fma")]
        fn hard_fma(a: f32, b: f32, c: f32) -> f32 {
            a.mul_add(b, c)
        }
        let mut state = 1u64;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 32) as u32
        };
        for round in 0..2_000_000 {
            let mask = if round % 2 == 0 { u32::MAX } else { 0x83ff_ffff };
            let base = if round % 2 == 0 { 0 } else { 0x3c00_0000 };
            let [a, b, c] = [(); 3].map(|()| f32::from_bits((next() & mask) | base));
            // SAFETY: the instruction was detected above.
            #[allow(unsafe_code)]
            let hard = unsafe { hard_fma(a, b, c) };
            let soft = soft_fma(a, b, c);
            assert!(
                soft.to_bits() == hard.to_bits() || (soft.is_nan() && hard.is_nan()),
                "{a:e} * {b:e} + {c:e}: {soft:e} != {hard:e}"
            );
        }
    }
}
