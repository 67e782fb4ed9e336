//! Code of steering vectors that an archive carries (`docs/format.md`, section 4): each number is the
//! difference from a start that both sides know, as an integer or the index of a level.

use super::corrupt;
use super::range_coder::{RangeDecoder, RangeEncoder};
use super::steering_integers::SteeringIntegers;
use crate::error::Result;
use crate::models::{Steering, Transformer};

/// Vectors as integers.
#[derive(Debug, Clone, PartialEq)]
pub struct SteeringCode {
    /// Meaning of the integers, and how they are coded.
    pub quantizer: Quantizer,
    /// For each vector the id of the token whose embedding it starts from; `None`: zeros.
    pub starts: Vec<Option<u32>>,
    /// `[k][width]`
    pub integers: Vec<i32>,
}

/// Meaning and probabilities of integers. Numbers are the bits of bfloat16.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantizer {
    /// Multiples of a step, normally distributed.
    Gauss {
        /// The step.
        step: u16,
        /// Standard deviation of the integers.
        deviation: u16,
    },
    /// Multiples of a step, whose frequencies are learned on the way.
    Empirical {
        /// The step.
        step: u16,
    },
    /// Levels, ascending, whose frequencies are learned on the way: 0 stands for the level at
    /// `levels.len() / 2` (Lloyd, "Least squares quantization in PCM", 1982; Max, 1960).
    LloydMax {
        /// An odd number of levels.
        levels: Vec<u16>,
    },
}

/// Numbers of the kinds of quantizers in a file.
const GAUSS: u8 = 0;
const EMPIRICAL: u8 = 1;
const LLOYD_MAX: u8 = 2;

/// Most levels.
const MAX_LEVELS: usize = 31;

/// Returns the number whose bits are those of a bfloat16.
fn wide(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

impl Quantizer {
    /// Returns the number that an integer stands for, unless there is none.
    pub fn value(&self, integer: i32) -> Option<f32> {
        match self {
            Self::Gauss { step, .. } | Self::Empirical { step } => {
                Some(wide(*step) * integer as f32)
            }
            Self::LloydMax { levels } => {
                let at = i32::try_from(levels.len() / 2).ok()? + integer;
                usize::try_from(at).ok().and_then(|at| levels.get(at)).map(|&bits| wide(bits))
            }
        }
    }

    /// Returns the standard deviation of normally distributed integers; `None`: their frequencies are
    /// learned.
    fn deviation(&self) -> Option<f32> {
        match self {
            Self::Gauss { deviation, .. } => Some(wide(*deviation)),
            Self::Empirical { .. } | Self::LloydMax { .. } => None,
        }
    }

    /// Returns whether an encoder can have written it.
    fn is_possible(&self) -> bool {
        let is_step = |bits: &u16| wide(*bits).is_finite() && wide(*bits) > 0.0;
        match self {
            Self::Gauss { step, deviation } => is_step(step) && is_step(deviation),
            Self::Empirical { step } => is_step(step),
            Self::LloydMax { levels } => {
                let all = levels.iter().all(|&bits| wide(bits).is_finite());
                let ascend = levels.is_sorted_by(|&a, &b| wide(a) < wide(b));
                all && ascend && levels.len() % 2 == 1 && levels.len() <= MAX_LEVELS
            }
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let numbers = match self {
            Self::Gauss { step, deviation } => {
                out.push(GAUSS);
                vec![*step, *deviation]
            }
            Self::Empirical { step } => {
                out.push(EMPIRICAL);
                vec![*step]
            }
            Self::LloydMax { levels } => {
                out.extend([LLOYD_MAX, levels.len() as u8]);
                levels.clone()
            }
        };
        out.extend(numbers.into_iter().flat_map(u16::to_le_bytes));
    }

    fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let quantizer = match bytes.byte()? {
            GAUSS => Self::Gauss { step: bytes.number()?, deviation: bytes.number()? },
            EMPIRICAL => Self::Empirical { step: bytes.number()? },
            LLOYD_MAX => {
                let n = bytes.byte()?;
                Self::LloydMax { levels: (0..n).map(|_| bytes.number()).collect::<Option<_>>()? }
            }
            _ => return None,
        };
        quantizer.is_possible().then_some(quantizer)
    }
}

impl SteeringCode {
    /// Returns the code's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.quantizer.put(&mut out);
        out.push(self.starts.len() as u8);
        for start in &self.starts {
            put_varint(&mut out, start.map_or(0, |id| id + 1));
        }
        let mut coder = RangeEncoder::default();
        let mut symbols = SteeringIntegers::new(self.quantizer.deviation());
        let width = self.integers.len() / self.starts.len().max(1);
        for vector in self.integers.chunks_exact(width.max(1)) {
            symbols.begin_vector();
            vector.iter().for_each(|&integer| {
                symbols.code(&mut coder, integer);
            });
        }
        out.extend(coder.finish());
        out
    }

    /// Reads the code of vectors of `width` numbers.
    ///
    /// # Errors
    /// Corrupt where no encoder wrote it.
    pub fn parse(code: &[u8], width: usize) -> Result<Self> {
        let bad = || corrupt("the steering vectors' code makes no sense");
        let mut bytes = Bytes(code);
        let quantizer = Quantizer::take(&mut bytes).ok_or_else(bad)?;
        let count = usize::from(bytes.byte().ok_or_else(bad)?);
        if !(1..=Steering::MAX_VECTORS).contains(&count) {
            return Err(corrupt(format!("{count} steering vectors")));
        }
        let starts = (0..count).map(|_| bytes.varint().map(|start| start.checked_sub(1)));
        let starts: Vec<Option<u32>> = starts.collect::<Option<_>>().ok_or_else(bad)?;
        let mut coder = RangeDecoder::new(bytes.0);
        let mut symbols = SteeringIntegers::new(quantizer.deviation());
        let mut integers = Vec::with_capacity(count * width);
        for _ in 0..count {
            symbols.begin_vector();
            integers.extend((0..width).map(|_| symbols.code(&mut coder, 0)));
        }
        if integers.iter().any(|&integer| quantizer.value(integer).is_none()) {
            return Err(bad());
        }
        Ok(Self { quantizer, starts, integers })
    }

    /// Returns the vectors, for a network: each number is its start's, plus what its integer stands
    /// for, one product and one sum.
    ///
    /// # Errors
    /// Corrupt where a start is no token's, or a number not finite.
    pub fn vectors(&self, network: &Transformer) -> Result<Steering> {
        let width = network.shape().hidden_size;
        let mut values = vec![0.0; self.starts.len() * width];
        for (vector, start) in values.chunks_exact_mut(width).zip(&self.starts) {
            match start {
                Some(id) if *id as usize >= network.shape().vocab_size => {
                    return Err(corrupt(format!("a steering vector starts from token {id}")));
                }
                Some(id) => network.embed(*id, vector),
                None => (),
            }
        }
        for (value, &integer) in values.iter_mut().zip(&self.integers) {
            *value += self.quantizer.value(integer).unwrap_or(0.0);
        }
        Steering::new(width, values).map_err(|e| corrupt(e.to_string()))
    }
}

/// Reads fields.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// Seven bits a byte, the lowest first, none in vain.
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (byte != 0 || shift == 0).then_some(value).and_then(|v| v.try_into().ok());
            }
        }
        None
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MAX_INTEGER;
    use crate::nn::random::Random;

    fn narrow(x: f32) -> u16 {
        (x.to_bits() >> 16) as u16
    }

    fn quantizers() -> [Quantizer; 4] {
        let levels = |n: i32| (-n..=n).map(|i| narrow(i as f32 * 0.5)).collect();
        [
            Quantizer::Gauss { step: narrow(0.25), deviation: narrow(0.75) },
            Quantizer::Empirical { step: narrow(0.25) },
            Quantizer::LloydMax { levels: levels(0) },
            Quantizer::LloydMax { levels: levels(15) },
        ]
    }

    fn code(quantizer: &Quantizer, most: i32, width: usize) -> SteeringCode {
        let mut random = Random::new(&[3]);
        let starts = vec![None, Some(0), Some(70_000)];
        let mut integer = || match random.below(3) {
            0 => random.below(2 * most as usize + 1) as i32 - most,
            _ => 0,
        };
        let integers = (0..3 * width).map(|_| integer()).collect();
        SteeringCode { quantizer: quantizer.clone(), starts, integers }
    }

    #[test]
    fn codes_come_back() {
        for (quantizer, most) in quantizers().iter().zip([MAX_INTEGER, 20, 0, 15]) {
            for width in [1, 20] {
                let code = code(quantizer, most, width);
                assert_eq!(SteeringCode::parse(&code.to_bytes(), width).unwrap(), code);
            }
        }
    }

    #[test]
    fn integers_that_are_mostly_zero_cost_little() {
        let mut code = code(&quantizers()[1], 1, 200);
        code.integers.iter_mut().enumerate().for_each(|(i, q)| *q *= i32::from(i % 10 == 0));
        let (entropy, bytes) = (600.0 * 0.21 / 8.0, code.to_bytes().len());
        assert!(bytes < 40, "{bytes}, the entropy is about {entropy}");
    }

    #[test]
    fn what_no_encoder_wrote_is_refused() {
        let good = code(&quantizers()[3], 15, 20).to_bytes();
        let refused = |bytes: &[u8]| assert!(SteeringCode::parse(bytes, 20).is_err(), "{bytes:?}");
        refused(&[]);
        refused(&[3]);
        refused(&good[..20]);
        for step in [0, narrow(-1.0), narrow(f32::INFINITY), narrow(f32::NAN)] {
            let step = step.to_le_bytes();
            refused(&[&[EMPIRICAL], &step[..], &[1, 0]].concat());
            refused(&[&[GAUSS], &step[..], &[0, 0x3f, 1, 0]].concat());
        }
        let level = |x: f32| narrow(x).to_le_bytes();
        let levels = [level(0.0), level(0.0), level(1.0)].concat();
        refused(&[&[LLOYD_MAX, 3], &levels[..], &[1, 0]].concat());
        refused(&[&[LLOYD_MAX, 2], &levels[2..], &[1, 0]].concat());
        for count in [0, 65] {
            refused(&[&[EMPIRICAL], &level(1.0)[..], &[count], &[0; 70]].concat());
        }
        // An index past the levels: all integers are as large as can be.
        let mut wild = code(&quantizers()[1], 20, 20);
        wild.integers.fill(20);
        let wild = wild.to_bytes();
        refused(&[&[LLOYD_MAX, 1], &level(0.0)[..], &wild[3..]].concat());
    }
}
