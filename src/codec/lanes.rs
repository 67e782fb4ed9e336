//! Lanes: equal slices of a chunk, stepped in lockstep, those of several chunks together where that
//! is faster.
//!
//! Lanes are spread over shards, with a session each. How they are spread, and
//! how many steps a call takes, changes no bit (`docs/numerics.md`), so it is decided here and not
//! written to the file.

use super::lane_layout::LaneLayout;
use super::{Codec, Parameters, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Learner, Model, RestartingSession, Row, Session};
use crate::predict::cdf::cumulative_counts;
use crate::profile::{Part, enter};
use rayon::prelude::*;
use std::ops::Range;

/// Some of the lanes, on one thread.
struct Shard<'m> {
    lanes: Range<usize>,
    session: Box<dyn Session + 'm>,
    rows: Vec<Row>,
    /// [rows][V]
    logits: Vec<f32>,
    /// [V + 1]; where the session gives counts: [rows][V + 1]
    cumulative: Vec<u32>,
}

/// All lanes that are stepped together.
pub struct Lanes<'m> {
    model: &'m Model,
    /// Inputs of every lane before its own tokens: the last of them gives the first prediction.
    opening: Vec<u32>,
    shards: Vec<Shard<'m>>,
    /// The weights of the sessions, where they learn, and the tokens of a lane between steps.
    learner: Option<(Learner, usize)>,
    stop: &'m Stop,
}

impl<'m> Lanes<'m> {
    /// `lanes` empty lanes of up to `lane_len` bytes in so many `parts`, which threads take one after the other, to take up
    /// to `steps` tokens each in one call.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryExceeded`] if they would take more than the codec's memory,
    /// [`ErrorKind::Corrupt`] where the codec has no model.
    pub fn new(
        codec: Codec<'m>,
        (lanes, parts): (usize, usize),
        steps: usize,
        lane_len: usize,
    ) -> Result<Self> {
        let Codec { parameters, prefix, steering, stop, .. } = codec;
        let model = codec.language_model()?;
        // A lane never has more tokens than bytes, but for those of a call that are not seen yet.
        let most = lane_len + prefix.tokens.len() + steps;
        check_memory(codec, model, lanes, steps, most)?;
        let n_shards = if model.network().is_on_device() { 1 } else { parts.clamp(1, lanes) };
        let opening = prefix.opening(model);
        let learner = parameters
            .learning
            .map(|learning| (Learner::new(model.network(), learning), learning.interval(lanes)));
        let shard = |i: usize| {
            let lanes = LaneLayout::new(lanes, n_shards).range(i);
            let mut session =
                session(model, parameters, learner.as_ref(), lanes.len(), steps, most);
            if steering.count() > 0 {
                session.steer(steering.values());
            }
            let cumulative = vec![0; model.network().outputs() + 1];
            let mut shard =
                Shard { lanes, session, rows: Vec::new(), logits: Vec::new(), cumulative };
            shard.open(&opening, steps);
            shard
        };
        let _waiting = enter(Part::Waiting);
        let shards = (0..n_shards).into_par_iter().map(shard).collect();
        Ok(Self { model, opening, shards, learner, stop })
    }

    /// The id of the token after which a lane's first token is predicted.
    pub fn first_input(&self) -> u32 {
        self.opening[self.opening.len() - 1]
    }

    /// Learns, where a step of learning is due before `step`, from the tokens that were predicted since the
    /// last one; `tokens(lane)` has all of the lane so far, by rank.
    pub fn learn_if_due<'t>(&mut self, step: usize, tokens: impl Fn(usize) -> &'t [u32]) {
        let Some((learner, interval)) = &mut self.learner else { return };
        if step == 0 || !step.is_multiple_of(*interval) {
            return;
        }
        let since =
            |tokens: &'t [u32]| &tokens[tokens.len().min(step - *interval)..tokens.len().min(step)];
        let lanes = self.shards.iter().flat_map(|shard| shard.lanes.clone());
        let targets: Vec<&[u32]> = lanes.map(|lane| since(tokens(lane))).collect();
        let sessions = self.shards.iter_mut().filter_map(|shard| shard.session.learning());
        learner.step(sessions.collect(), &targets);
    }

    /// Feeds tokens to lanes and predicts after each.
    ///
    /// `inputs(lane)` gives the lane's next tokens as ids, from a position on, where
    /// [`Lanes::first_input`] has position 0; `outputs` has an
    /// element for each lane; `ask(lane, step, places)` may append the ranks whose cumulative counts are
    /// to be read after a token, if it knows them; and `visit(lane, step, cumulative counts, output)` is called for
    /// each token in turn, on any thread.
    ///
    /// # Errors
    /// Those of [`cumulative_counts`]; [`ErrorKind::Interrupted`].
    pub fn step<I, T, V>(
        &mut self,
        inputs: impl Fn(usize) -> (u32, I) + Sync,
        ask: impl Fn(usize, usize, &mut Vec<u32>) + Sync,
        outputs: &mut [T],
        visit: V,
    ) -> Result<()>
    where
        I: IntoIterator<Item = u32>,
        T: Send,
        V: Fn(usize, usize, &[u32], &mut T) + Sync,
    {
        let mut rest = outputs;
        let mut parts = Vec::with_capacity(self.shards.len());
        for shard in &mut self.shards {
            let (outputs, others) = rest.split_at_mut(shard.lanes.len());
            rest = others;
            parts.push((shard, outputs));
        }
        let (model, opened, stop) = (self.model, self.opening.len() as u32 - 1, self.stop);
        let _waiting = enter(Part::Waiting);
        parts.into_par_iter().try_for_each(|(shard, outputs)| {
            stop.check()?;
            let _other = enter(Part::Other);
            shard.take_rows(&inputs, opened);
            if shard.rows.is_empty() { Ok(()) } else { shard.predict(model, &ask, outputs, &visit) }
        })
    }
}

/// Refuses lanes of up to `most` tokens that would take more than the codec's memory.
fn check_memory(
    codec: Codec<'_>,
    model: &Model,
    lanes: usize,
    steps: usize,
    most: usize,
) -> Result<()> {
    let Codec { parameters, memory, .. } = codec;
    let network = model.network();
    let positions = parameters.context.map_or(network.window(), |context| context.len as usize);
    let mut needed =
        model.architecture().footprint().session(lanes, positions.min(most), lanes * steps);
    if let Some(learning) = parameters.learning {
        needed = needed.saturating_add(Learner::footprint(network, learning, lanes));
    }
    if needed <= memory {
        return Ok(());
    }
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let (needed, limit, model) =
        (kib(needed), memory / 1024, kib(model.architecture().footprint().weights));
    let message = format!(
        "the lanes of a chunk, {lanes}, take about {needed} KiB beside the model's {model}, the limit \
         leaves {limit}"
    );
    Err(Error::new(ErrorKind::MemoryExceeded, message))
}

/// A session for `lanes` lanes that take up to `steps` tokens in a call and `most` in all.
fn session<'m>(
    model: &'m Model,
    parameters: &Parameters,
    learner: Option<&(Learner, usize)>,
    lanes: usize,
    steps: usize,
    most: usize,
) -> Box<dyn Session + 'm> {
    let network = model.network();
    let window = parameters.context.map_or(most, |context| most.min(context.len as usize));
    let session = match learner {
        Some((learner, interval)) => Box::new(learner.session(lanes, steps, *interval, window)),
        None => network.session(lanes, steps, window),
    };
    match parameters.context {
        Some(context) => {
            Box::new(RestartingSession::of(session, lanes, network.outputs(), context))
        }
        None => session,
    }
}

impl Shard<'_> {
    /// Feeds all of `opening` but its last token to every lane, `steps` tokens a call.
    fn open(&mut self, opening: &[u32], steps: usize) {
        let tokens = &opening[..opening.len() - 1];
        for (i, tokens) in tokens.chunks(steps).enumerate() {
            let row = |(position, &token)| Row { lane: 0, position, token };
            self.rows.clear();
            self.rows.extend(((i * steps) as u32..).zip(tokens).map(row));
            self.session.forward(&self.rows, &mut []);
        }
        if !tokens.is_empty() {
            (1..self.lanes.len()).for_each(|lane| self.session.copy_lane(0, lane, tokens.len()));
        }
    }

    fn take_rows<I: IntoIterator<Item = u32>>(
        &mut self,
        inputs: &impl Fn(usize) -> (u32, I),
        opened: u32,
    ) {
        self.rows.clear();
        for (index, lane) in self.lanes.clone().enumerate() {
            let (position, tokens) = inputs(lane);
            let row = |(position, token)| Row { lane: index as u32, position, token };
            self.rows.extend((opened + position..).zip(tokens).map(row));
        }
    }

    fn predict<T>(
        &mut self,
        model: &Model,
        ask: &impl Fn(usize, usize, &mut Vec<u32>),
        outputs: &mut [T],
        visit: &impl Fn(usize, usize, &[u32], &mut T),
    ) -> Result<()> {
        let v = model.network().outputs();
        if self.session.gives_counts() {
            self.cumulative.resize(self.rows.len() * (v + 1), 0);
            let (mut asked, mut places) = (Vec::new(), Vec::new());
            for ((lane, step), row) in steps(&self.rows).zip((0u64..).step_by(v + 1)) {
                ask(self.lanes.start + lane, step, &mut places);
                places.sort_unstable();
                places.dedup();
                asked.extend(places.drain(..).map(|place| row + u64::from(place)));
            }
            self.session.counts(&self.rows, &asked, &mut self.cumulative)?;
            for ((lane, step), counts) in steps(&self.rows).zip(self.cumulative.chunks_exact(v + 1))
            {
                visit(self.lanes.start + lane, step, counts, &mut outputs[lane]);
            }
            return Ok(());
        }
        self.logits.resize(self.rows.len() * v, 0.0);
        self.session.forward(&self.rows, &mut self.logits);
        self.session.check()?;
        for ((lane, step), logits) in steps(&self.rows).zip(self.logits.chunks_exact_mut(v)) {
            cumulative_counts(model.isa(), logits, &mut self.cumulative)?;
            visit(self.lanes.start + lane, step, &self.cumulative, &mut outputs[lane]);
        }
        if let Some(session) = self.session.learning() {
            session.keep_outputs(&self.rows, &self.logits);
        }
        Ok(())
    }
}

/// The lane of each row of a call, and how many rows of that lane come before it.
fn steps(rows: &[Row]) -> impl Iterator<Item = (usize, usize)> {
    let mut last = (None, 0);
    rows.iter().map(move |row| {
        let step = if last.0 == Some(row.lane) { last.1 + 1 } else { 0 };
        last = (Some(row.lane), step);
        (row.lane as usize, step)
    })
}
