//! A chunk coded as the language model's tokens, its predictions used alone or mixed with the
//! adaptive model's.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::encode;

use super::decisions::{BitCoder, Decision, Question};
use super::effort::BEST_TIER;
use super::range_coder::Watched;
use crate::ops::Isa;
use crate::predict::{Config, Mixed};
use crate::profile::{Part, enter};

/// Turns the language model's probabilities into those that are coded.
enum Predictor {
    /// As they are.
    Alone,
    Mixed(Box<Mixed>),
}

impl Predictor {
    fn new(isa: Isa, mix: bool, table_log2: u8, plain_len: usize, lanes: usize) -> Self {
        if !mix {
            return Self::Alone;
        }
        let _mixing = enter(Part::Mixing);
        Self::Mixed(Box::new(Mixed::new(
            isa,
            &Config {
                tier: BEST_TIER,
                table_log2: table_log2.into(),
                with_lm: true,
                n_lanes: lanes as u32,
                lane_len: plain_len.div_ceil(lanes) as u32,
            },
        )))
    }

    /// Settles one decision: an encoder codes `outcome`, a decoder ignores it and returns what was
    /// coded.
    fn settle(
        &mut self,
        coder: &mut impl BitCoder,
        lane: usize,
        Decision { question, p1 }: Decision,
        outcome: bool,
    ) -> bool {
        let _part = enter(if matches!(self, Self::Alone) { Part::Other } else { Part::Mixing });
        match (self, Decision { question, p1 }.forced(), question) {
            (Self::Alone, Some(only), _) => only,
            (Self::Alone, None, _) => Watched(coder).code(outcome, p1 as u16),
            (Self::Mixed(mixed), Some(only), Question::Bit) => {
                mixed.force_bit(lane, only);
                only
            }
            (Self::Mixed(mixed), Some(only), Question::End) => {
                if only {
                    mixed.force_end(lane);
                }
                only
            }
            (Self::Mixed(mixed), None, question) => {
                let p1 = match question {
                    Question::Bit => mixed.bit(lane, Some(p1 as u16)),
                    Question::End => mixed.end(lane, p1 as u16),
                };
                let outcome = Watched(coder).code(outcome, p1);
                mixed.update(outcome);
                outcome
            }
        }
    }
}
