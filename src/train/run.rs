//! Training loop: batches, steps, evaluation on held-out data, checkpoints.
//!
//! A step's batch is cut into shards, one thread each, whose gradients are added in order. So the
//! number of threads changes nothing, and a run of so many steps gives the same model again.

use super::checkpoint::{self, RunProgress};
use super::corpus::{Corpus, Text};
use super::device::Placed;
use super::export;
use super::ids::IdMaterial;
use super::material::{Material, Windows};
use super::network::{TokenShard, TrainableNetwork};
use super::optimiser::{Optimiser, reduce};
use super::options::{BatchShape, Budget, TrainOptions};
use super::vocabulary::{SAMPLE_LEN, Tokens};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::parameter::{Gradients, zeros};
use crate::nn::random::Random;
use crate::nn::recurrence::RecurrentState;
use rayon::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Share of a run in which the rates rise; then they fall to zero.
const WARM_UP: f64 = 0.02;

/// Pieces of held-out data that are evaluated together.
const SIDE_BY_SIDE: usize = 8;

/// Progress report of a run.
#[derive(Debug, Clone, Copy)]
pub struct TrainReport {
    /// Steps done.
    pub steps: u64,
    /// Share of the budget spent, 0 to 1.
    pub share: f64,
    /// Seconds spent.
    pub elapsed_s: f64,
    /// Bytes of training data so far.
    pub bytes: u64,
    /// Bits per byte of training data since the last evaluation.
    pub learned: f64,
    /// Bits per byte of held-out data, where just evaluated.
    pub held_out: Option<f64>,
}

/// Result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSummary {
    /// Number of weights.
    pub n_parameters: usize,
    /// Total steps.
    pub steps: u64,
    /// Bits per byte of held-out data.
    pub held_out: f64,
    /// The held-out data of each file.
    pub held_out_texts: Vec<Vec<u8>>,
}

/// Trains a model on `files` and writes it into `folder`. Its tokens are `vocabulary`, where that is given, whatever
/// `options.vocab_size`; else made of the files.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::InvalidArgument`] where there is too little data, the folder is
/// not empty or its checkpoint is of another run; [`ErrorKind::InvalidModel`] where the training
/// fails.
pub fn train(
    options: &TrainOptions,
    vocabulary: Option<Tokens>,
    files: &[PathBuf],
    folder: &Path,
    watch: &mut dyn FnMut(&TrainReport),
) -> Result<TrainSummary> {
    let corpus = Corpus::read(files, options.least_bytes())?;
    prepare(folder, options.resume)?;
    let vocab_size = vocabulary.as_ref().map_or(options.vocab_size, Tokens::len);
    let options = &TrainOptions { vocab_size, ..*options };
    let tokens = match (options.resume, vocabulary) {
        (true, vocabulary) => {
            let path = folder.join("tokenizer.json");
            let json =
                fs::read(&path).map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
            match vocabulary {
                Some(tokens) if tokens.json() != json => {
                    let message =
                        format!("it was begun with another vocabulary than {}", tokens.label);
                    let error = Error::new(ErrorKind::InvalidArgument, message);
                    return Err(error.at(folder.display()));
                }
                Some(tokens) => tokens,
                None => Tokens::parse(json, vocab_size)?,
            }
        }
        (false, Some(tokens)) => tokens,
        (false, None) => Tokens::for_sample(&corpus.sample(SAMPLE_LEN), vocab_size)?,
    };
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let material = Text { corpus: &corpus, tokens: &tokens };
    let summary = fit(options, &material, Some(&tokens), &names, folder, watch)?;
    Ok(TrainSummary { held_out_texts: corpus.held_out().to_vec(), ..summary })
}

/// Trains a model on tokens of the files `names` and writes it into `folder`: without a tokenizer, so that it codes
/// no text.
///
/// # Errors
/// Those of [`train`].
pub fn train_ids(
    options: &TrainOptions,
    material: &IdMaterial,
    names: &[String],
    folder: &Path,
    watch: &mut dyn FnMut(&TrainReport),
) -> Result<TrainSummary> {
    prepare(folder, options.resume)?;
    fit(options, material, None, names, folder, watch)
}

fn fit(
    options: &TrainOptions,
    material: &dyn Material,
    tokens: Option<&Tokens>,
    names: &[String],
    folder: &Path,
    watch: &mut dyn FnMut(&TrainReport),
) -> Result<TrainSummary> {
    let mut run = Run::new(options, material)?;
    if options.resume {
        let what = run.progress.what.clone();
        run.progress = checkpoint::load(folder, &what, &mut *run.network, &mut run.optimiser)?;
    }
    if let Some(tokens) = tokens {
        checkpoint::write(folder, "tokenizer.json", tokens.json())?;
    }
    if !options.resume {
        // A run can be resumed from the start.
        checkpoint::save(folder, &*run.network, &run.optimiser, &run.progress)?;
    }
    run.go(folder, watch)?;
    checkpoint::save(folder, &*run.network, &run.optimiser, &run.progress)?;
    export::model(folder, &*run.network, tokens)?;
    let vocab = tokens.map_or(options.vocab_size.to_string(), |tokens| tokens.label.clone());
    export::card(folder, options, &vocab, names, &*run.network, &run.progress)?;
    Ok(TrainSummary {
        n_parameters: run.network.parameters().iter().map(|p| p.values.len()).sum(),
        steps: run.progress.steps,
        held_out: run.progress.curve.last().map_or(f64::NAN, |point| point.2),
        held_out_texts: Vec::new(),
    })
}

/// Creates the folder of a new model, which must be empty or not exist.
fn prepare(folder: &Path, resume: bool) -> Result<()> {
    let io = |e| Error::io(format!("making {}", folder.display()), e);
    if resume {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(io)?;
    if fs::read_dir(folder).map_err(io)?.next().is_some() {
        let message = "the folder is not empty; use --resume to continue a run in it";
        return Err(Error::new(ErrorKind::InvalidArgument, message).at(folder.display()));
    }
    Ok(())
}

struct Run<'a> {
    options: &'a TrainOptions,
    batch: BatchShape,
    material: &'a dyn Material,
    network: Box<dyn TrainableNetwork>,
    optimiser: Optimiser,
    progress: RunProgress,
}

/// Work of one thread: its streams, their states, and their gradients.
struct Worker<'a> {
    streams: Vec<Box<dyn Windows + 'a>>,
    states: Vec<RecurrentState>,
    gradients: Gradients,
    nats: f64,
    bytes: f64,
}

impl<'a> Run<'a> {
    fn new(options: &'a TrainOptions, material: &'a dyn Material) -> Result<Self> {
        let random = &mut Random::new(&[options.seed]);
        let Placed { network, orthogonal, takes_all } =
            options.device.place(options.shape(), options.isa, random)?;
        let optimiser = Optimiser::new(orthogonal, options.optimiser(), network.parameters());
        let mut batch = options.batch();
        if takes_all {
            batch.shard = batch.streams;
        }
        let TrainOptions { arch, size, vocab_size, seed, crlf, .. } = options;
        let (arch, size) = (arch.name(), size.name());
        let what = format!(
            "--arch {arch} --size {size} --vocab {vocab_size} --seed {seed}{} and data of digest {:.12}",
            if *crlf { " --crlf" } else { "" },
            material.digest().to_hex()
        );
        let progress = RunProgress { what, ..RunProgress::default() };
        Ok(Self { options, batch, material, network, optimiser, progress })
    }

    /// Runs all steps that the budget leaves.
    fn go(&mut self, folder: &Path, watch: &mut dyn FnMut(&TrainReport)) -> Result<()> {
        let (begin, before_s) = (Instant::now(), self.progress.elapsed_s);
        let mut workers = self.workers();
        let (mut nats, mut bytes) = (0.0, 0.0);
        let (mut saved_s, mut measured) = (before_s, self.share());
        while self.share() < 1.0 {
            let is_new = workers.iter().any(|worker| worker.streams.is_empty());
            if is_new || self.progress.steps.is_multiple_of(self.batch.episode) {
                self.begin_episode(&mut workers);
                if self.progress.elapsed_s > saved_s + self.options.checkpoint_s {
                    checkpoint::save(folder, &*self.network, &self.optimiser, &self.progress)?;
                    saved_s = self.progress.elapsed_s;
                }
            }
            self.step(&mut workers)?;
            nats += workers.iter().map(|worker| worker.nats).sum::<f64>();
            bytes += workers.iter().map(|worker| worker.bytes).sum::<f64>();
            if !nats.is_finite() {
                let message = format!("the loss is not finite at step {}", self.progress.steps);
                return Err(Error::new(ErrorKind::InvalidModel, message));
            }
            self.progress.elapsed_s = before_s + begin.elapsed().as_secs_f64();
            let share = self.share();
            let learned = bits_per_byte(nats, bytes);
            let is_due = share >= 1.0 || share >= measured + 1.0 / f64::from(self.options.measures);
            let held_out = is_due.then(|| self.held_out()).transpose()?;
            if let Some(held_out) = held_out {
                self.progress.curve.push((self.progress.steps, learned, held_out));
                measured = share;
                (nats, bytes) = (0.0, 0.0);
            }
            let RunProgress { steps, elapsed_s, bytes, .. } = self.progress;
            watch(&TrainReport { steps, share, elapsed_s, bytes, learned, held_out });
        }
        Ok(())
    }

    /// Returns the share of the budget spent.
    fn share(&self) -> f64 {
        match self.options.budget {
            Budget::Steps(steps) => self.progress.steps as f64 / steps as f64,
            Budget::Minutes(minutes) => self.progress.elapsed_s / (60.0 * minutes),
        }
    }

    fn workers(&self) -> Vec<Worker<'a>> {
        let worker = |_| Worker {
            streams: Vec::new(),
            states: Vec::new(),
            gradients: zeros(self.network.parameters()),
            nats: 0.0,
            bytes: 0.0,
        };
        (0..self.batch.streams / self.batch.shard).map(worker).collect()
    }

    /// Restarts all streams elsewhere.
    fn begin_episode(&self, workers: &mut [Worker<'a>]) {
        let (BatchShape { shard, episode, .. }, crlf) = (self.batch, self.options.crlf);
        let mut random = Random::new(&[self.options.seed, 1 + self.progress.steps / episode]);
        for worker in workers {
            worker.streams = (0..shard).map(|_| self.material.stream(&mut random, crlf)).collect();
            worker.states = self.network.states(shard);
        }
    }

    fn step(&mut self, workers: &mut [Worker<'a>]) -> Result<()> {
        let (network, material, n) = (&*self.network, self.material, self.batch.window);
        workers.par_iter_mut().try_for_each(|worker| {
            let windows = worker.streams.iter_mut().map(|stream| stream.window(n));
            let shard = shard(&windows.collect::<Vec<_>>());
            worker.bytes = material.bytes(&shard.targets);
            worker.gradients.iter_mut().for_each(|gradient| gradient.fill(0.0));
            worker.nats = network.run(&shard, &mut worker.states, Some(&mut worker.gradients))?;
            Ok(())
        })?;
        self.progress.steps += 1;
        self.progress.tokens += (self.batch.streams * n) as u64;
        self.progress.bytes +=
            workers.iter().map(|worker| worker.bytes).sum::<f64>().round() as u64;
        let (first, others) = workers.split_first_mut().expect("at least one shard");
        let scale = 1.0 / (self.batch.streams * n) as f32;
        let others: Vec<&Gradients> = others.iter().map(|worker| &worker.gradients).collect();
        reduce(&mut first.gradients, &others, scale);
        let share = self.share();
        let rate = (share / WARM_UP).min(1.0) * (1.0 - share).max(0.0);
        let (optimiser, gradients) = (&mut self.optimiser, &mut first.gradients);
        self.network.update(&mut |parameters| optimiser.step(parameters, gradients, rate as f32))
    }

    /// Evaluates bits per byte on held-out data: pieces side by side, until the first ends.
    fn held_out(&self) -> Result<f64> {
        let cost = |streams: &mut [Box<dyn Windows + '_>]| {
            let mut states = self.network.states(streams.len());
            let (mut nats, mut bytes) = (0.0, 0.0);
            loop {
                let windows = streams.iter_mut().map(|stream| stream.window(self.batch.window));
                let mut windows: Vec<Vec<u32>> = windows.collect();
                let len = windows.iter().map(Vec::len).min().unwrap_or(0);
                if len < 2 {
                    return Ok((nats, bytes));
                }
                windows.iter_mut().for_each(|window| window.truncate(len));
                let shard = shard(&windows);
                bytes += self.material.held_out_bytes(&shard.targets);
                nats += self.network.run(&shard, &mut states, None)?;
            }
        };
        let mut streams = self.material.held_out();
        let costs = streams.par_chunks_mut(SIDE_BY_SIDE).map(cost);
        let costs = costs.collect::<Result<Vec<_>>>()?;
        let (nats, bytes): (Vec<f64>, Vec<f64>) = costs.into_iter().unzip();
        Ok(bits_per_byte(nats.iter().sum(), bytes.iter().sum()))
    }
}

/// Interleaves the windows of streams, step by step.
fn shard(windows: &[Vec<u32>]) -> TokenShard {
    let steps = windows[0].len() - 1;
    let rows = |first: usize| -> Vec<u32> {
        let step = |step: usize| windows.iter().map(move |window| window[step + first]);
        (0..steps).flat_map(step).collect()
    };
    TokenShard { streams: windows.len(), inputs: rows(0), targets: rows(1) }
}

fn bits_per_byte(nats: f64, bytes: f64) -> f64 {
    nats / std::f64::consts::LN_2 / bytes
}
