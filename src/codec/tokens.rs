//! A chunk coded as the language model's tokens, its predictions used alone or mixed with the
//! adaptive model's.

use super::decisions::{BitCoder, Decision, Question, TokenTrie, Walk};
use super::lanes::{Lanes, lane_range};
use super::range_coder::{Decoder, Encoder, Watched};
use super::{Codec, Coded, Method, corrupt};
use crate::error::Result;
use crate::models::Model;
use crate::ops::Isa;
use crate::predict::{Config, Mixed};
use crate::profile::{Part, enter};
use rayon::prelude::*;

/// Rows that a call of the network takes at most while encoding: enough to keep it busy.
const ROWS_PER_CALL: usize = 256;

/// Logits that a call gives at most while encoding, where that leaves it [`FEWEST_ROWS`].
const LOGITS_PER_CALL: usize = 1 << 22;

/// Fewer rows a call would be slow.
const FEWEST_ROWS: usize = 32;

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
                tier: super::effort::BEST_TIER,
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

/// Encodes `plain` (not empty) in `lanes` lanes.
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the model's logits overflow.
pub fn encode(codec: Codec<'_>, plain: &[u8], lanes: u8, mix: bool) -> Result<Coded> {
    let Codec { model, parameters, threads, progress, .. } = codec;
    let n_lanes = usize::from(lanes);
    let text = |lane| LaneText::new(model, &plain[lane_range(plain.len(), n_lanes, lane)]);
    let waiting = enter(Part::Waiting);
    let texts: Vec<LaneText> = (0..n_lanes).into_par_iter().map(text).collect();
    drop(waiting);
    let mut encoder = Encoder::default();
    let mut predictor =
        Predictor::new(model.isa(), mix, parameters.table_log2, plain.len(), n_lanes);
    let n_steps = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(0);
    let rows_per_step = n_lanes.div_ceil(threads.max(1));
    let rows = LOGITS_PER_CALL / model.network().outputs();
    let steps = (rows.clamp(FEWEST_ROWS, ROWS_PER_CALL) / rows_per_step).clamp(1, n_steps.max(1));
    let mut teacher = Teacher::new(codec, &texts, steps, plain.len())?;
    for from in (0..n_steps).step_by(steps) {
        let predicted = teacher.predict(from)?;
        for step in from..from + steps {
            for (lane, (text, predicted)) in texts.iter().zip(predicted).enumerate() {
                for &(decision, outcome) in predicted.of(step - from) {
                    predictor.settle(&mut encoder, lane, decision, outcome);
                }
                progress(text.token_len(step) as u64);
            }
        }
    }
    let method = if mix { Method::Mixed } else { Method::Model };
    Ok(Coded { method, lanes, bytes: encoder.finish() })
}

/// A lane's tokens.
struct LaneText {
    /// Ranks in the vocabulary.
    tokens: Vec<u32>,
    /// Before each token, and after the last: the bytes left in the lane.
    rooms: Vec<u32>,
}

impl LaneText {
    fn new(model: &Model, bytes: &[u8]) -> Self {
        let _tokenizer = enter(Part::Tokenizer);
        let tokens = model.tokenizer().encode(bytes, model.vocabulary());
        let mut rooms = Vec::with_capacity(tokens.len() + 1);
        let mut room = bytes.len();
        rooms.push(room as u32);
        for &rank in &tokens {
            room -= model.vocabulary().bytes(rank).len();
            rooms.push(room as u32);
        }
        Self { tokens, rooms }
    }

    /// Bytes of the token at `step`; 0 past the last.
    fn token_len(&self, step: usize) -> usize {
        match self.rooms.get(step..step + 2) {
            Some(rooms) => (rooms[0] - rooms[1]) as usize,
            None => 0,
        }
    }
}

/// The decisions of some steps of a lane, with their outcomes, and where each step's end.
#[derive(Default)]
struct Steps {
    decisions: Vec<(Decision, bool)>,
    ends: Vec<usize>,
}

impl Steps {
    /// Those of one step; none past the lane's last.
    fn of(&self, step: usize) -> &[(Decision, bool)] {
        let start = if step == 0 { 0 } else { self.ends.get(step - 1).copied().unwrap_or(0) };
        self.ends.get(step).map_or(&[], |&end| &self.decisions[start..end])
    }

    fn clear(&mut self) {
        self.decisions.clear();
        self.ends.clear();
    }

    /// Appends the decisions on the way to `token`.
    fn push(&mut self, mut walk: Walk<'_>, token: u32) {
        while let Some(decision) = walk.question() {
            let outcome = walk.outcome_towards(token);
            debug_assert!(decision.forced().is_none_or(|only| only == outcome));
            self.decisions.push((decision, outcome));
            walk.answer(outcome);
        }
        self.ends.push(self.decisions.len());
    }
}

/// Predicts known tokens, many steps of all lanes at once.
struct Teacher<'a> {
    model: &'a Model,
    texts: &'a [LaneText],
    trie: TokenTrie<'a>,
    lanes: Lanes<'a>,
    steps: usize,
    predicted: Vec<Steps>,
}

impl<'a> Teacher<'a> {
    fn new(
        codec: Codec<'a>,
        texts: &'a [LaneText],
        steps: usize,
        plain_len: usize,
    ) -> Result<Self> {
        let model = codec.model;
        Ok(Self {
            model,
            texts,
            trie: TokenTrie::new(model.vocabulary()),
            lanes: Lanes::new(codec, texts.len(), steps, plain_len)?,
            steps,
            predicted: texts.iter().map(|_| Steps::default()).collect(),
        })
    }

    /// The decisions of `steps` steps from `from` on, by lane.
    fn predict(&mut self, from: usize) -> Result<&[Steps]> {
        let Self { model, texts, trie, lanes, steps, predicted } = self;
        let first = lanes.first_input();
        let inputs = |lane: usize| {
            let tokens = &texts[lane].tokens;
            let range = from.min(tokens.len())..tokens.len().min(from + *steps);
            let before = |at: usize| match at {
                0 => first,
                _ => model.vocabulary().id(tokens[at - 1]),
            };
            (from as u32, range.map(before))
        };
        predicted.iter_mut().for_each(Steps::clear);
        lanes.step(inputs, predicted, |lane, step, cumulative, out| {
            let at = from + step;
            let room = texts[lane].rooms[at] as usize;
            out.push(Walk::new(trie, cumulative, room), texts[lane].tokens[at]);
        })?;
        Ok(predicted)
    }
}

/// Decodes `plain_len` bytes from `lanes` lanes.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where `coded` cannot be the code of any chunk,
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the model's logits overflow.
pub fn decode(
    codec: Codec<'_>,
    coded: &[u8],
    plain_len: usize,
    lanes: u8,
    mix: bool,
) -> Result<Vec<u8>> {
    let Codec { model, parameters, progress, .. } = codec;
    let n_lanes = usize::from(lanes);
    let trie = TokenTrie::new(model.vocabulary());
    let mut network = Lanes::new(codec, n_lanes, 1, plain_len)?;
    let text =
        |lane| DecodedLane::new(network.first_input(), lane_range(plain_len, n_lanes, lane).len());
    let mut texts: Vec<DecodedLane> = (0..n_lanes).map(text).collect();
    let mut decoder = Decoder::new(coded);
    let mut predictor = Predictor::new(model.isa(), mix, parameters.table_log2, plain_len, n_lanes);
    let mut cumulative = vec![Vec::new(); n_lanes];
    while texts.iter().any(|text| text.room > 0) {
        let inputs = |lane: usize| (texts[lane].position, texts[lane].next_input());
        network.step(inputs, &mut cumulative, |_, _, counts, out: &mut Vec<u32>| {
            out.clear();
            out.extend_from_slice(counts);
        })?;
        for (lane, (text, counts)) in texts.iter_mut().zip(&cumulative).enumerate() {
            if text.room > 0 {
                let mut walk = Walk::new(&trie, counts, text.room);
                while let Some(decision) = walk.question() {
                    walk.answer(predictor.settle(&mut decoder, lane, decision, false));
                }
                let past_the_end = "coded bytes spell a token past its lane's end";
                let rank = walk.token().ok_or_else(|| corrupt(past_the_end))?;
                progress(text.push(model, rank) as u64);
            }
        }
    }
    decoder.expect_end(plain_len)?;
    Ok(texts.into_iter().flat_map(|text| text.bytes).collect())
}

/// A lane while it is decoded.
struct DecodedLane {
    bytes: Vec<u8>,
    /// Bytes still to come.
    room: usize,
    /// The last token's id and its position in the lane.
    last: u32,
    position: u32,
}

impl DecodedLane {
    fn new(first_input: u32, len: usize) -> Self {
        Self { bytes: Vec::new(), room: len, last: first_input, position: 0 }
    }

    /// What to feed to the network, unless the lane is complete.
    fn next_input(&self) -> Option<u32> {
        (self.room > 0).then_some(self.last)
    }

    /// Appends a token that fits; returns its length.
    fn push(&mut self, model: &Model, rank: u32) -> usize {
        let bytes = model.vocabulary().bytes(rank);
        self.bytes.extend_from_slice(bytes);
        self.room -= bytes.len();
        self.last = model.vocabulary().id(rank);
        self.position += 1;
        bytes.len()
    }
}
