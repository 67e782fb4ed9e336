//! Probabilities and their log-odds, in integers.
//!
//! A probability is a `u16` in units of 1/65536; its log-odds `ln(p / (1 - p))`, the *stretch*
//! domain in which predictions are mixed (Mahoney, "Adaptive Weighing of Context Models for
//! Lossless Data Compression", 2005), are an `i32` in units of 1/256. Both tables are computed at
//! compile time with integer arithmetic, so they are the same bits on every target.

/// Log-odds of the largest probability, 65535/65536: `256 * ln(65535)`, rounded down.
pub const STRETCH_MAX: i32 = 2839;

/// One unit of log-odds (one nat).
pub const NAT: i32 = 256;

/// Table of `squash(x)` for `x` in `0..=STRETCH_MAX`; negative `x` follow from the symmetry
/// `squash(-x) = 65536 - squash(x)`.
static SQUASH: [u16; STRETCH_MAX as usize + 1] = squash_table();

/// Table of `stretch(p)` for `p <= 4096`, where each step of `p` matters.
static STRETCH_TAIL: [i16; TAIL as usize + 1] = stretch_table(1);

/// Bound of the ends that [`stretch`] has exactly.
const TAIL: u16 = 4096;

/// Table of `stretch(16 * i + 8)`.
static STRETCH_BODY: [i16; 4096] = stretch_table(16);

/// Returns the probability, in `1..=65535` of 65536, whose log-odds are `x` (clamped to
/// `±STRETCH_MAX`).
#[inline(always)]
pub fn squash(x: i32) -> u16 {
    let p = SQUASH[x.unsigned_abs().min(STRETCH_MAX as u32) as usize];
    if x < 0 { (65536 - p as u32) as u16 } else { p }
}

/// Returns the log-odds of `p`/65536, within `±STRETCH_MAX`. `p = 0` counts as 1.
#[inline(always)]
pub fn stretch(p: u16) -> i32 {
    if p <= TAIL {
        STRETCH_TAIL[p as usize] as i32
    } else if p > u16::MAX - TAIL {
        -(STRETCH_TAIL[(u16::MAX - p) as usize + 1] as i32)
    } else {
        stretch12(p >> 4)
    }
}

/// Returns the log-odds of `(p + 1/2)`/4096: coarser than [`stretch`], one lookup.
#[inline(always)]
pub fn stretch12(p: u16) -> i32 {
    STRETCH_BODY[(p & 4095) as usize] as i32
}

/// Computes `65536 / (1 + exp(-x / 256))`, the exponential as a running product of `exp(1/256)` in
/// units of 2^-40.
const fn squash_table() -> [u16; STRETCH_MAX as usize + 1] {
    const ONE: u128 = 1 << 40;
    const STEP: u128 = 1_103_814_994_613; // exp(1/256) * 2^40
    let mut table = [0; STRETCH_MAX as usize + 1];
    let mut exp = ONE;
    let mut x = 0;
    while x < table.len() {
        let p = ((exp << 16) + (exp + ONE) / 2) / (exp + ONE);
        table[x] = if p > 65535 { 65535 } else { p as u16 };
        exp = (exp * STEP + ONE / 2) / ONE;
        x += 1;
    }
    table
}

/// Computes a table whose entry `i` is the log-odds of `(i + 1/2) * width`, or of `i` itself where
/// `width` is 1, found by walking up `SQUASH`.
const fn stretch_table<const N: usize>(width: u32) -> [i16; N] {
    let squash = squash_table();
    let mut table = [0; N];
    let mut x = -STRETCH_MAX;
    let mut i = 0;
    while i < N {
        let p = i as u32 * width + width / 2;
        while x < STRETCH_MAX && squash_at(&squash, x) < p {
            x += 1;
        }
        table[i] = x as i16;
        i += 1;
    }
    table
}

const fn squash_at(table: &[u16; STRETCH_MAX as usize + 1], x: i32) -> u32 {
    let p = table[x.unsigned_abs() as usize] as u32;
    if x < 0 { 65536 - p } else { p }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squash_is_monotone_symmetric_and_never_certain() {
        assert_eq!(squash(0), 32768);
        assert_eq!((squash(i32::MAX), squash(-i32::MAX)), (65535, 1));
        for x in -STRETCH_MAX - 3..STRETCH_MAX + 3 {
            assert!(squash(x) <= squash(x + 1));
            assert_eq!(squash(x) as u32 + squash(-x) as u32, 65536);
        }
        assert_eq!(squash(NAT), 47911); // 65536 * 0.7310586
        assert_eq!(squash(STRETCH_MAX), 65535);
    }

    #[test]
    fn stretch_is_monotone_and_inverts_squash() {
        for p in 1..u16::MAX {
            assert!(stretch(p) <= stretch(p + 1), "at {p}");
        }
        for p in 1..=u16::MAX {
            let (back, tail) = (squash(stretch(p)) as i32, p.min(u16::MAX - p) as i32);
            assert!((back - p as i32).abs() <= 1 + tail / 200, "{p} became {back}");
        }
    }
}
