//! Decoding: a token must be known before the next can be predicted, so one step of all lanes is
//! predicted in a call. Chunks of few lanes are stepped together: a call of few rows is slow.

use super::Predictor;
use crate::codec::decisions::{TokenTrie, Walk};
use crate::codec::lanes::{Lanes, lane_range};
use crate::codec::range_coder::Decoder;
use crate::codec::{Code, Codec, Method, corrupt};
use crate::error::Result;
use crate::models::Model;
use std::ops::Range;

/// Decodes chunks of tokens in lockstep; an error of a chunk alone is its own.
///
/// # Errors
/// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if all lanes together would take
/// more than the codec's memory; [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the
/// model's logits overflow; [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) of a chunk where its
/// code cannot be that of any.
pub fn decode(codec: Codec<'_>, codes: &[Code<'_>]) -> Result<Vec<Result<Vec<u8>>>> {
    let Codec { model, progress, .. } = codec;
    let trie = TokenTrie::new(model.vocabulary());
    let n_lanes = codes.iter().map(|code| usize::from(code.lanes)).sum();
    let lane_len = codes.iter().map(Code::lane_len).max().unwrap_or(0);
    let mut network = Lanes::new(codec, n_lanes, 1, lane_len)?;
    let mut lanes = Vec::with_capacity(n_lanes);
    let mut chunks: Vec<Chunk> = codes
        .iter()
        .map(|code| {
            let first = lanes.len();
            let n = usize::from(code.lanes);
            let len = |lane| lane_range(code.plain_len, n, lane).len();
            lanes.extend((0..n).map(|lane| Lane::new(network.first_input(), len(lane))));
            Chunk::new(codec, code, first..lanes.len())
        })
        .collect();
    let mut cumulative = vec![Vec::new(); n_lanes];
    while lanes.iter().any(|lane| lane.room > 0) {
        let inputs = |lane: usize| (lanes[lane].position, lanes[lane].next_input());
        network.step(inputs, &mut cumulative, |_, _, counts, out: &mut Vec<u32>| {
            out.clear();
            out.extend_from_slice(counts);
        })?;
        for chunk in &mut chunks {
            let (lanes, counts) =
                (&mut lanes[chunk.lanes.clone()], &cumulative[chunk.lanes.clone()]);
            chunk.step(model, &trie, lanes, counts, progress);
        }
    }
    let plain = |chunk: Chunk<'_>| {
        chunk.state?;
        let lanes = &lanes[chunk.lanes];
        chunk.decoder.expect_end(lanes.iter().map(|lane| lane.bytes.len()).sum())?;
        Ok(lanes.iter().flat_map(|lane| &lane.bytes).copied().collect())
    };
    Ok(chunks.into_iter().map(plain).collect())
}

/// A chunk while it is decoded.
struct Chunk<'a> {
    /// Which of all lanes are its.
    lanes: Range<usize>,
    decoder: Decoder<'a>,
    predictor: Predictor,
    state: Result<()>,
}

impl<'a> Chunk<'a> {
    fn new(codec: Codec<'_>, code: &Code<'a>, lanes: Range<usize>) -> Self {
        let (mix, table_log2) = (code.method == Method::Mixed, codec.parameters.table_log2);
        let predictor =
            Predictor::new(codec.model.isa(), mix, table_log2, code.plain_len, lanes.len());
        Self { lanes, decoder: Decoder::new(code.bytes), predictor, state: Ok(()) }
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
        for (i, (lane, counts)) in lanes.iter_mut().zip(counts).enumerate() {
            if lane.room == 0 {
                continue;
            }
            let mut walk = Walk::new(trie, counts, lane.room);
            while let Some(decision) = walk.question() {
                walk.answer(self.predictor.settle(&mut self.decoder, i, decision, false));
            }
            match walk.token() {
                Some(rank) => progress(lane.push(model, rank) as u64),
                None => {
                    self.state = Err(corrupt("coded bytes spell a token past its lane's end"));
                    lanes.iter_mut().for_each(|lane| lane.room = 0);
                    return;
                }
            }
        }
    }
}

/// A lane while it is decoded.
struct Lane {
    bytes: Vec<u8>,
    /// Bytes still to come.
    room: usize,
    /// The last token's id and its position in the lane.
    last: u32,
    position: u32,
}

impl Lane {
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
