//! A chunk's bytes to coded bytes, and back.

use super::decisions::{BitCoder, TokenTrie, Walk};
use super::lanes::{Lanes, lane_range};
use super::range_coder::{Decoder, Encoder};
use super::{ChunkOptions, Coded, MAX_LANES, Method};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use rayon::prelude::*;

/// Bytes that are worth a lane of their own when the number of lanes is left to the encoder.
const BYTES_PER_LANE: usize = 1 << 14;

/// Most lanes that are chosen so; more would cost bytes and gain no speed.
const LANES_BY_DEFAULT: usize = 16;

/// Rows that a call of the network takes at most while encoding: enough to keep it busy.
const ROWS_PER_CALL: usize = 256;

/// Encodes `plain` (not empty). `progress` is told of plain bytes as they are done, in any order, from any thread.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if the model's logits overflow, [`ErrorKind::InvalidArgument`] for a number of lanes that
/// is not 1..=[`MAX_LANES`].
pub fn encode(
    model: &Model,
    plain: &[u8],
    options: &ChunkOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Coded> {
    let lanes = match options.lanes {
        Some(lanes) if (1..=MAX_LANES).contains(&lanes) => usize::from(lanes),
        Some(lanes) => {
            let message = format!("{lanes} lanes, expected 1 to {MAX_LANES}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        None => (plain.len() / BYTES_PER_LANE).clamp(1, LANES_BY_DEFAULT),
    };
    let mut encoder = Encoder::default();
    let texts: Vec<LaneText> = (0..lanes)
        .into_par_iter()
        .map(|lane| LaneText::new(model, &plain[lane_range(plain.len(), lanes, lane)]))
        .collect();
    encode_lanes(model, &texts, options.threads, &mut encoder, progress)?;
    Ok(Coded { method: Method::Model, lanes: lanes as u8, bytes: encoder.finish() })
}

/// A lane's tokens.
struct LaneText {
    /// Ranks in the vocabulary.
    tokens: Vec<u32>,
    /// Before each token: the bytes left in the lane.
    rooms: Vec<usize>,
}

impl LaneText {
    fn new(model: &Model, bytes: &[u8]) -> Self {
        let vocabulary = model.vocabulary();
        let tokens = model.tokenizer().encode(bytes, vocabulary);
        let mut room = bytes.len();
        let mut take = |&rank: &u32| {
            let before = room;
            room -= vocabulary.bytes(rank).len();
            before
        };
        let rooms = tokens.iter().map(&mut take).collect();
        Self { tokens, rooms }
    }
}

/// A coded decision: what the model predicted and what came.
type Choice = (u16, bool);

/// The decisions of some steps of a lane, and where each step's end.
#[derive(Default)]
struct Steps {
    choices: Vec<Choice>,
    ends: Vec<usize>,
}

impl Steps {
    fn of(&self, step: usize) -> &[Choice] {
        let start = if step == 0 { 0 } else { self.ends[step - 1] };
        &self.choices[start..self.ends[step]]
    }
}

/// Predicts many steps of all lanes at once, then codes them in the decoder's order: step by step, lane by lane.
fn encode_lanes(
    model: &Model,
    texts: &[LaneText],
    threads: usize,
    encoder: &mut Encoder,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let trie = TokenTrie::new(model.vocabulary());
    let lanes_per_thread = texts.len().div_ceil(threads.max(1));
    let n_steps = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(0);
    let steps = (ROWS_PER_CALL / lanes_per_thread).clamp(1, n_steps.max(1));
    let mut lanes = Lanes::new(model, texts.len(), steps, threads);
    let mut predicted: Vec<Steps> = texts.iter().map(|_| Steps::default()).collect();
    for from in (0..n_steps).step_by(steps) {
        predicted.iter_mut().for_each(|steps| {
            steps.choices.clear();
            steps.ends.clear();
        });
        let inputs = |lane: usize| {
            let tokens = &texts[lane].tokens;
            let range = from.min(tokens.len())..tokens.len().min(from + steps);
            let before = |at: usize| match at {
                0 => model.first_token(),
                _ => model.vocabulary().id(tokens[at - 1]),
            };
            (from as u32, range.map(before))
        };
        lanes.step(inputs, &mut predicted, |lane, step, cumulative, out| {
            let text = &texts[lane];
            let (token, room) = (text.tokens[from + step], text.rooms[from + step]);
            choices_towards(Walk::new(&trie, cumulative, room), token, &mut out.choices);
            out.ends.push(out.choices.len());
        })?;
        for step in 0..steps {
            for (text, predicted) in texts.iter().zip(&predicted) {
                if step < predicted.ends.len() {
                    predicted.of(step).iter().for_each(|&(p1, bit)| _ = encoder.code(bit, p1));
                    let next_room = text.rooms.get(from + step + 1).unwrap_or(&0);
                    progress((text.rooms[from + step] - next_room) as u64);
                }
            }
        }
    }
    Ok(())
}

/// The decisions, forced ones left out, that lead to `token`.
fn choices_towards(mut walk: Walk<'_>, token: u32, choices: &mut Vec<Choice>) {
    while let Some(decision) = walk.question() {
        let outcome = walk.outcome_towards(token);
        match decision.forced() {
            Some(only) => debug_assert_eq!(outcome, only),
            None => choices.push((decision.p1 as u16, outcome)),
        }
        walk.answer(outcome);
    }
}

/// Decodes `plain_len` (not 0) bytes from `coded`.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where `coded` cannot be the code of any chunk, [`ErrorKind::Unsupported`] for a method that
/// this version cannot decode. Most damage gives wrong bytes instead: check them.
pub fn decode(
    model: &Model,
    method: Method,
    lanes: u8,
    coded: &[u8],
    plain_len: usize,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<u8>> {
    if method != Method::Model {
        let message = format!("a chunk is coded by method {}", method as u8);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if !(1..=MAX_LANES).contains(&lanes) {
        return Err(corrupt(format!("{lanes} lanes, expected 1 to {MAX_LANES}")));
    }
    let n_lanes = usize::from(lanes);
    let mut texts: Vec<DecodedLane> = (0..n_lanes)
        .map(|lane| DecodedLane::new(lane_range(plain_len, n_lanes, lane).len()))
        .collect();
    let mut decoder = Decoder::new(coded);
    decode_lanes(model, &mut texts, threads, &mut decoder, progress)?;
    if !decoder.is_at_end() {
        return Err(corrupt(format!("coded bytes go on after all {plain_len} plain bytes")));
    }
    Ok(texts.into_iter().flat_map(|text| text.bytes).collect())
}

/// A lane while it is decoded.
struct DecodedLane {
    bytes: Vec<u8>,
    len: usize,
    /// The last token's id, and its position in the lane.
    last: (u32, u32),
}

impl DecodedLane {
    fn new(len: usize) -> Self {
        Self { bytes: Vec::new(), len, last: (0, 0) }
    }

    fn room(&self) -> usize {
        self.len - self.bytes.len()
    }
}

fn decode_lanes(
    model: &Model,
    texts: &mut [DecodedLane],
    threads: usize,
    decoder: &mut Decoder<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let vocabulary = model.vocabulary();
    let trie = TokenTrie::new(vocabulary);
    let mut lanes = Lanes::new(model, texts.len(), 1, threads);
    let mut cumulative: Vec<Vec<u32>> = texts.iter().map(|_| Vec::new()).collect();
    texts.iter_mut().for_each(|text| text.last = (model.first_token(), 0));
    while texts.iter().any(|text| text.room() > 0) {
        let inputs = |lane: usize| {
            let text = &texts[lane];
            let (token, position) = text.last;
            (position, (text.room() > 0).then_some(token))
        };
        lanes.step(inputs, &mut cumulative, |_, _, counts, out| {
            out.clear();
            out.extend_from_slice(counts);
        })?;
        for (text, cumulative) in texts.iter_mut().zip(&cumulative).filter(|(t, _)| t.room() > 0) {
            let walk = Walk::new(&trie, cumulative, text.room());
            let rank = decode_token(walk, decoder)
                .ok_or_else(|| corrupt("coded bytes spell a token past its lane's end"))?;
            let bytes = vocabulary.bytes(rank);
            text.bytes.extend_from_slice(bytes);
            text.last = (vocabulary.id(rank), text.last.1 + 1);
            progress(bytes.len() as u64);
        }
    }
    Ok(())
}

fn decode_token(mut walk: Walk<'_>, decoder: &mut Decoder<'_>) -> Option<u32> {
    while let Some(decision) = walk.question() {
        let outcome = match decision.forced() {
            Some(only) => only,
            None => decoder.code(false, decision.p1 as u16),
        };
        walk.answer(outcome);
    }
    walk.token()
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
