//! Decoding: a token must be known before the next can be predicted, so one step of all lanes is
//! predicted in a call. Chunks of few lanes are stepped together: a call of few rows is slow.

use super::Predictor;
use crate::codec::lane_layout::LaneLayout;
use crate::codec::lanes::Lanes;
use crate::codec::range_coder::RangeDecoder;
use crate::codec::token_trie::{Decision, TokenTrie, Walk};
use crate::codec::{Codec, Coded, Method, Prefix, corrupt};
use crate::error::Result;
use crate::models::Model;
use std::ops::Range;

/// Decodes chunks of tokens in lockstep; an error of a chunk alone is its own.
///
/// # Errors
/// [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded) if all lanes together would take
/// more than the codec's memory; [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the
/// model's logits overflow; [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) of a chunk where its
/// code cannot be that of any.
pub fn decode(codec: Codec<'_>, codes: &[Coded<'_>]) -> Result<Vec<Result<Vec<u8>>>> {
    let chunks = codes.iter().map(|code| Chunk::new(codec, code)).collect();
    let (chunks, lanes) = decode_lanes(codec, chunks)?;
    let plain = |chunk: Chunk<'_>| {
        let lanes = &lanes[chunk.lanes.clone()];
        chunk.finish(lanes.iter().map(|lane| lane.bytes.len()).sum())?;
        Ok(lanes.iter().flat_map(|lane| &lane.bytes).copied().collect())
    };
    Ok(chunks.into_iter().map(plain).collect())
}

/// Decodes a prefix.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_prefix(codec: Codec<'_>, code: &Coded<'_>) -> Result<Prefix> {
    let chunk = Chunk::new(codec, code);
    let chunk = Chunk { predictor: chunk.predictor.traced(), ..chunk };
    let (mut chunks, mut lanes) = decode_lanes(codec, vec![chunk])?;
    let (chunk, Lane { bytes: text, tokens, .. }) = (chunks.remove(0), lanes.remove(0));
    let decisions = chunk.finish(text.len())?.trace.unwrap_or_default();
    Ok(Prefix { text, tokens, decisions })
}

/// Steps all lanes of `chunks` until they are complete, or their chunk cannot go on.
fn decode_lanes<'a>(
    codec: Codec<'_>,
    mut chunks: Vec<Chunk<'a>>,
) -> Result<(Vec<Chunk<'a>>, Vec<Lane>)> {
    let (model, progress) = (codec.language_model()?, codec.progress);
    let trie = TokenTrie::new(model.vocabulary());
    let n_lanes = chunks.iter().map(|chunk| chunk.layout.lanes()).sum();
    let lane_len = chunks.iter().map(|chunk| chunk.layout.longest()).max().unwrap_or(0);
    let mut network = Lanes::new(codec, (n_lanes, codec.threads), 1, lane_len)?;
    let mut lanes = Vec::with_capacity(n_lanes);
    for chunk in &mut chunks {
        let first = lanes.len();
        let lane = |range: Range<usize>| Lane::new(network.first_input(), range.len());
        lanes.extend(chunk.layout.ranges().map(lane));
        chunk.lanes = first..lanes.len();
    }
    let mut cumulative = vec![Vec::new(); n_lanes];
    for step in 0usize.. {
        if lanes.iter().all(|lane| lane.room == 0) {
            break;
        }
        network.learn_if_due(step, |lane| &lanes[lane].tokens);
        let inputs = |lane: usize| (lanes[lane].position, lanes[lane].next_input());
        network.step(
            inputs,
            |_, _, _| (),
            &mut cumulative,
            |_, _, counts, out: &mut Vec<u32>| {
                out.clear();
                out.extend_from_slice(counts);
            },
        )?;
        for chunk in &mut chunks {
            let (lanes, counts) =
                (&mut lanes[chunk.lanes.clone()], &cumulative[chunk.lanes.clone()]);
            chunk.step(model, &trie, lanes, counts, progress);
        }
    }
    Ok((chunks, lanes))
}

/// A chunk while it is decoded.
struct Chunk<'a> {
    layout: LaneLayout,
    /// Which of all lanes are its.
    lanes: Range<usize>,
    decoder: RangeDecoder<'a>,
    predictor: Predictor,
    state: Result<()>,
}

impl<'a> Chunk<'a> {
    fn new(codec: Codec<'_>, code: &'a Coded<'_>) -> Self {
        let layout = LaneLayout::new(code.plain_len, usize::from(code.coding.lanes));
        let predictor = Predictor::new(codec, code.coding.method != Method::Model, layout);
        Self {
            layout,
            lanes: 0..0,
            decoder: RangeDecoder::new(&code.payload),
            predictor,
            state: Ok(()),
        }
    }

    /// Checks that its lanes, of `len` bytes in all, are complete and the coded bytes used up;
    /// returns the predictor.
    fn finish(self, len: usize) -> Result<Predictor> {
        self.state?;
        self.decoder.expect_end(len)?;
        Ok(self.predictor)
    }

    /// Decodes a token of each of `lanes` that is not complete, from its cumulative counts; of a
    /// chunk that cannot go on the lanes have no more room.
    fn step(
        &mut self,
        model: &Model,
        trie: &TokenTrie<'_>,
        lanes: &mut [Lane],
        counts: &[Vec<u32>],
        progress: &dyn Fn(u64),
    ) {
        let decoded = match self.decoder.is_spent() && self.predictor.trace.is_none() {
            true => spell_rest(model, trie, lanes, progress),
            false => self.spell_each(model, trie, lanes, counts, progress),
        };
        if decoded.is_err() {
            self.state = decoded;
            lanes.iter_mut().for_each(|lane| lane.room = 0);
        }
    }

    fn spell_each(
        &mut self,
        model: &Model,
        trie: &TokenTrie<'_>,
        lanes: &mut [Lane],
        counts: &[Vec<u32>],
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        self.decoder.expect_more()?;
        for (i, (lane, counts)) in lanes.iter_mut().zip(counts).enumerate() {
            if lane.room == 0 {
                continue;
            }
            let walk = Walk::new(trie, counts, lane.room);
            let rank = spell(walk, |decision| {
                self.predictor.code_decision(&mut self.decoder, i, decision, false)
            })?;
            progress(lane.push(model, rank) as u64);
        }
        Ok(())
    }
}

/// Spells a token by the outcomes of its decisions; returns its rank.
fn spell(mut walk: Walk<'_>, mut outcome: impl FnMut(Decision) -> bool) -> Result<u32> {
    while let Some(decision) = walk.question() {
        walk.answer(outcome(decision));
    }
    walk.token().ok_or_else(|| corrupt("coded bytes spell a token past its lane's end"))
}

/// Completes `lanes` where all decisions are true that can be: whatever a model expects.
fn spell_rest(
    model: &Model,
    trie: &TokenTrie<'_>,
    lanes: &mut [Lane],
    progress: &dyn Fn(u64),
) -> Result<()> {
    let all_possible: Vec<u32> = (0..=model.vocabulary().len() as u32).collect();
    for lane in lanes {
        while lane.room > 0 {
            let walk = Walk::new(trie, &all_possible, lane.room);
            let rank = spell(walk, |decision| decision.forced().unwrap_or(true))?;
            // It is the same token as long as the lane's end does not cut in.
            let mut len = lane.push(model, rank);
            while lane.room > model.vocabulary().bytes(rank).len() {
                len += lane.push(model, rank);
            }
            progress(len as u64);
        }
    }
    Ok(())
}

/// A lane while it is decoded.
struct Lane {
    bytes: Vec<u8>,
    /// Ranks in the vocabulary.
    tokens: Vec<u32>,
    /// Bytes still to come.
    room: usize,
    /// The last token's id and its position in the lane.
    last: u32,
    position: u32,
}

impl Lane {
    fn new(first_input: u32, len: usize) -> Self {
        Self { bytes: Vec::new(), tokens: Vec::new(), room: len, last: first_input, position: 0 }
    }

    /// The next input of the network, unless the lane is complete.
    fn next_input(&self) -> Option<u32> {
        (self.room > 0).then_some(self.last)
    }

    /// Appends a token that fits; returns its length.
    fn push(&mut self, model: &Model, rank: u32) -> usize {
        let bytes = model.vocabulary().bytes(rank);
        self.bytes.extend_from_slice(bytes);
        self.tokens.push(rank);
        self.room -= bytes.len();
        self.last = model.vocabulary().id(rank);
        self.position += 1;
        bytes.len()
    }
}
