//! Encoding: the tokens are known, so many steps of all lanes are predicted in one call, while those of the
//! call before are coded.

use super::Predictor;
use crate::codec::lane_layout::LaneLayout;
use crate::codec::lanes::Lanes;
use crate::codec::range_coder::RangeEncoder;
use crate::codec::token_trie::{Decision, TokenTrie, Walk};
use crate::codec::{Codec, Coded, Coding, Method, Prefix};
use crate::error::Result;
use crate::models::Model;
use crate::profile::{Part, enter};
use rayon::prelude::*;
use std::mem;

/// Rows that a call of the network takes at most while encoding: enough to keep it busy.
const ROWS_PER_CALL: usize = 256;

/// Parts of the lanes for each of several threads: one that has coded the decisions of the last call takes fewer of the
/// next one's.
const PARTS_PER_THREAD: usize = 4;

/// Logits that a call gives at most while encoding, where that leaves it [`MIN_ROWS_PER_CALL`].
const LOGITS_PER_CALL: usize = 1 << 22;

/// The same where the network is on a device: rows, and logits.
const ON_DEVICE: [usize; 2] = [1024, 1 << 26];

/// Rows below which the efficiency of matrix products drops.
const MIN_ROWS_PER_CALL: usize = 32;

/// Encodes `plain` (not empty) in `lanes` lanes.
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the model's logits overflow;
/// those of [`Lanes::new`].
pub fn encode(codec: Codec<'_>, plain: &[u8], lanes: u8, mix: bool) -> Result<Coded<'static>> {
    let layout = LaneLayout::new(plain.len(), usize::from(lanes));
    let predictor = &mut Predictor::new(codec, mix, layout);
    encode_lanes(codec, plain, predictor, layout, usize::MAX).map(|(coded, _)| coded)
}

/// Bytes at the beginning of `plain` whose tokens' code has at most `room` bytes, while all of it is encoded in
/// one lane.
///
/// # Errors
/// Those of [`encode`].
pub fn fitting(codec: Codec<'_>, plain: &[u8], mix: bool, room: usize) -> Result<usize> {
    let layout = LaneLayout::new(plain.len(), 1);
    let predictor = &mut Predictor::new(codec, mix, layout);
    encode_lanes(codec, plain, predictor, layout, room).map(|(coded, _)| coded.plain_len)
}

/// Encodes `text` in one lane, as a prefix.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_prefix(codec: Codec<'_>, text: &[u8], mix: bool) -> Result<(Coded<'static>, Prefix)> {
    let layout = LaneLayout::new(text.len(), 1);
    let mut predictor = Predictor::new(codec, mix, layout).traced();
    let (coded, mut lanes) = encode_lanes(codec, text, &mut predictor, layout, usize::MAX)?;
    let (tokens, decisions) = (lanes.remove(0).tokens, predictor.trace.unwrap_or_default());
    Ok((coded, Prefix { text: text.to_vec(), tokens, decisions }))
}

/// Encodes the steps of all lanes whose code has, with that of all before, at most `room` bytes.
fn encode_lanes(
    codec: Codec<'_>,
    plain: &[u8],
    predictor: &mut Predictor,
    layout: LaneLayout,
    room: usize,
) -> Result<(Coded<'static>, Vec<LaneText>)> {
    let Codec { threads, progress, .. } = codec;
    let (model, n_lanes) = (codec.language_model()?, layout.lanes());
    let text = |lane| {
        codec.stop.check()?;
        Ok(LaneText::new(model, &plain[layout.range(lane)]))
    };
    let waiting = enter(Part::Waiting);
    let texts = (0..n_lanes).into_par_iter().map(text).collect::<Result<Vec<LaneText>>>()?;
    drop(waiting);
    let mut encoder = RangeEncoder::default();
    let n_steps = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(0);
    let is_on_device = model.network().is_on_device();
    let parts =
        if threads <= 1 || is_on_device { 1 } else { n_lanes.min(threads * PARTS_PER_THREAD) };
    let [rows_per_call, logits_per_call] =
        if is_on_device { ON_DEVICE } else { [ROWS_PER_CALL, LOGITS_PER_CALL] };
    let rows_per_step = n_lanes.div_ceil(parts);
    let rows = logits_per_call / model.network().outputs() / parts.div_ceil(threads.max(1));
    let mut steps =
        (rows.clamp(MIN_ROWS_PER_CALL, rows_per_call) / rows_per_step).clamp(1, n_steps.max(1));
    if let Some(learning) = codec.parameters.learning {
        // A call ends where a step of learning is due.
        steps = 1 << steps.min(learning.interval(n_lanes)).ilog2();
    }
    let mut teacher = TeacherForcing::new(codec, model, &texts, (parts, steps), layout)?;
    let no_steps = || -> Vec<Steps> { texts.iter().map(|_| Steps::default()).collect() };
    let (mut predicted, mut next) = (no_steps(), no_steps());
    teacher.predict(0, &mut predicted)?;
    let mut plain_len = 0;
    for from in (0..n_steps).step_by(steps) {
        let code = || {
            let _other = enter(Part::Other);
            for step in from..from + steps {
                for (lane, predicted) in predicted.iter().enumerate() {
                    for &(decision, outcome) in predicted.of(step - from) {
                        predictor.code_decision(&mut encoder, lane, decision, outcome);
                    }
                }
                if encoder.coded_len() > room {
                    return;
                }
                let step_len = texts.iter().map(|text| text.token_len(step)).sum::<usize>();
                plain_len += step_len;
                progress(step_len as u64);
            }
        };
        let predict = || match from + steps {
            from if from < n_steps => teacher.predict(from, &mut next),
            _ => Ok(()),
        };
        let waiting = enter(Part::Waiting);
        rayon::join(code, predict).1?;
        drop(waiting);
        if encoder.coded_len() > room {
            break;
        }
        mem::swap(&mut predicted, &mut next);
    }
    drop(teacher);
    let method = if predictor.mixed.is_some() { Method::Mixed } else { Method::Model };
    let coding = Coding { method, lanes: n_lanes as u8 };
    let coded = Coded { coding, plain_len, payload: encoder.finish().into() };
    Ok((coded, texts))
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
struct TeacherForcing<'a> {
    model: &'a Model,
    texts: &'a [LaneText],
    trie: TokenTrie<'a>,
    lanes: Lanes<'a>,
    steps: usize,
}

impl<'a> TeacherForcing<'a> {
    fn new(
        codec: Codec<'a>,
        model: &'a Model,
        texts: &'a [LaneText],
        (parts, steps): (usize, usize),
        layout: LaneLayout,
    ) -> Result<Self> {
        Ok(Self {
            model,
            texts,
            trie: TokenTrie::new(model.vocabulary()),
            lanes: Lanes::new(codec, (texts.len(), parts), steps, layout.longest())?,
            steps,
        })
    }

    /// Predicts `steps` steps from `from` on: sets `predicted` to their decisions, by lane; none past the last.
    fn predict(&mut self, from: usize, predicted: &mut [Steps]) -> Result<()> {
        let Self { model, texts, trie, lanes, steps } = self;
        lanes.learn_if_due(from, |lane| &texts[lane].tokens);
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
        let ask = |lane: usize, step: usize, places: &mut Vec<u32>| {
            let at = from + step;
            let room = texts[lane].rooms[at] as usize;
            Walk::places(trie, room, texts[lane].tokens[at], places);
        };
        lanes.step(inputs, ask, predicted, |lane, step, cumulative, out| {
            let at = from + step;
            let room = texts[lane].rooms[at] as usize;
            out.push(Walk::new(trie, cumulative, room), texts[lane].tokens[at]);
        })
    }
}
