//! Numbers to integers, by what an error costs against what each level costs.

use crate::codec::{MAX_INTEGER, Quantizer};

/// Levels to choose from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Levels {
    /// Multiples of a step, normally distributed.
    Gauss {
        /// The step.
        step: f32,
    },
    /// Multiples of a step.
    Empirical {
        /// The step.
        step: f32,
    },
    /// `n` levels, an odd number, found from multiples of a step on.
    LloydMax {
        /// How many.
        n: usize,
        /// The first step.
        step: f32,
    },
}

/// Rounds in which levels, their frequencies and who has which are found.
const ROUNDS: usize = 20;

/// Counts that every level has before the first number.
const PRIOR_COUNT: f64 = 0.5;

/// Returns integers of the numbers x and what they mean, such that bits of levels plus `weight` times the
/// squares of errors are few; `None` where all are 0.
pub fn quantized(x: &[f32], levels: &Levels, weight: f64) -> Option<(Quantizer, Vec<i32>)> {
    let (n, step, moves) = match *levels {
        Levels::Gauss { step } | Levels::Empirical { step } => {
            let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let most = ((largest / step).round() as i32).clamp(1, MAX_INTEGER) as usize;
            (2 * most + 1, step, false)
        }
        Levels::LloydMax { n, step } => (n, step, true),
    };
    let step = wide(narrow(step));
    let middle = (n / 2) as i32;
    let mut table: Vec<f64> =
        (0..n as i32).map(|i| f64::from(i - middle) * f64::from(step)).collect();
    // The dearest levels at first are those far from 0.
    let mut bits: Vec<f64> = (0..n as i32).map(|i| f64::from((i - middle).abs())).collect();
    let mut chosen = vec![middle; x.len()];
    for _ in 0..ROUNDS {
        for (chosen, &x) in chosen.iter_mut().zip(x) {
            let cost = |i: usize| bits[i] + weight * (f64::from(x) - table[i]).powi(2);
            let best = (0..n).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
            *chosen = best.map_or(middle, |best| best as i32);
        }
        let mut counts = vec![PRIOR_COUNT; n];
        let mut sums = vec![0.0; n];
        for (&chosen, &x) in chosen.iter().zip(x) {
            counts[chosen as usize] += 1.0;
            sums[chosen as usize] += f64::from(x);
        }
        let all = counts.iter().sum::<f64>();
        bits = counts.iter().map(|count| -(count / all).log2()).collect();
        if moves {
            for (i, level) in table.iter_mut().enumerate() {
                if counts[i] > PRIOR_COUNT && i as i32 != middle {
                    *level = sums[i] / (counts[i] - PRIOR_COUNT);
                }
            }
        }
    }
    let integers: Vec<i32> = chosen.iter().map(|chosen| chosen - middle).collect();
    if integers.iter().all(|&integer| integer == 0) {
        return None;
    }
    let quantizer = match levels {
        Levels::Gauss { .. } => {
            let squares: f64 = integers.iter().map(|&i| f64::from(i).powi(2)).sum();
            let deviation = (squares / integers.len() as f64).sqrt() as f32;
            Quantizer::Gauss { step: narrow(step), deviation: narrow(deviation) }
        }
        Levels::Empirical { .. } => Quantizer::Empirical { step: narrow(step) },
        Levels::LloydMax { .. } => {
            let levels: Vec<u16> = table.iter().map(|&level| narrow(level as f32)).collect();
            let ascend = levels.is_sorted_by(|&a, &b| wide(a) < wide(b));
            return ascend.then_some((Quantizer::LloydMax { levels }, integers));
        }
    };
    Some((quantizer, integers))
}

/// Returns the bits of a bfloat16 near x.
fn narrow(x: f32) -> u16 {
    (x.to_bits().wrapping_add(0x8000) >> 16) as u16
}

fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
