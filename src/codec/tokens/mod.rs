//! A chunk coded as the language model's tokens, its predictions used alone or mixed with the
//! adaptive model's.

mod decode;
mod encode;

pub use decode::{decode, decode_prefix};
pub use encode::{encode, encode_prefix, fitting};

use super::Codec;
use super::bytes::BEST_TIER;
use super::lane_layout::LaneLayout;
use super::range_coder::ProfiledCoder;
use super::token_trie::{BitCoder, Decision, Known, Question};
use crate::predict::{Mixed, MixingConfig};
use crate::profile::{Part, enter};

/// The language model's probabilities, improved by the adaptive model where that takes part.
struct Predictor {
    mixed: Option<Box<Mixed>>,
    /// Decisions coded so far, with their outcomes, where they will be a prefix.
    trace: Option<Vec<(Decision, bool)>>,
}

impl Predictor {
    /// The predictor that a chunk of `layout` begins with: it has read the prefix.
    fn new(codec: Codec<'_>, mix: bool, layout: LaneLayout) -> Self {
        if !mix {
            return Self { mixed: None, trace: None };
        }
        let _mixing = enter(Part::Mixing);
        let config = MixingConfig {
            tier: BEST_TIER,
            table_log2: codec.parameters.table_log2.into(),
            with_lm: true,
            n_lanes: layout.lanes() as u32,
            lane_len: (codec.prefix.text.len() + layout.longest()) as u32,
        };
        let mixed = Some(Box::new(Mixed::new(codec.isa, &config)));
        let mut predictor = Self { mixed, trace: None };
        for &(decision, outcome) in &codec.prefix.decisions {
            predictor.code_decision(&mut Known, 0, decision, outcome);
        }
        if !codec.prefix.decisions.is_empty() {
            predictor.mixed.as_mut().expect("it is mixed").spread();
        }
        predictor
    }

    /// The same, which keeps the decisions that it codes.
    fn traced(self) -> Self {
        Self { trace: Some(Vec::new()), ..self }
    }

    /// Encodes or decodes one binary decision: an encoder codes `outcome`, a decoder ignores it and
    /// returns the one that was coded.
    fn code_decision(
        &mut self,
        coder: &mut impl BitCoder,
        lane: usize,
        decision: Decision,
        outcome: bool,
    ) -> bool {
        let _part = enter(if self.mixed.is_none() { Part::Other } else { Part::Mixing });
        let Decision { question, p1 } = decision;
        let outcome = match (&mut self.mixed, decision.forced(), question) {
            (None, Some(only), _) => only,
            (None, None, _) => ProfiledCoder(coder).code(outcome, p1 as u16),
            (Some(mixed), Some(only), Question::Bit) => {
                mixed.force_bit(lane, only);
                only
            }
            (Some(mixed), Some(only), Question::End) => {
                if only {
                    mixed.force_end(lane);
                }
                only
            }
            (Some(mixed), None, question) => {
                let p1 = match question {
                    Question::Bit => mixed.bit(lane, Some(p1 as u16)),
                    Question::End => mixed.end(lane, p1 as u16),
                };
                let outcome = ProfiledCoder(coder).code(outcome, p1);
                mixed.update(outcome);
                outcome
            }
        };
        if let Some(trace) = &mut self.trace {
            trace.push((decision, outcome));
        }
        outcome
    }
}
