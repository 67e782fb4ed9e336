//! The bits of weights after some steps: the same on every machine, with any number of threads.

use super::decoders::{decoder, outputs, shapes, tokens};
use crate::family::folder;
use crate::share;
use llmzip::error::Result;
use llmzip::models::{Cell, Model};
use llmzip::nn::decoder::Decoder;
use llmzip::nn::parameter::{Gradients, Parameter, zeros};
use llmzip::nn::random::Random;
use llmzip::nn::recurrence::RecurrentState;
use llmzip::ops::Isa;
use llmzip::train::{
    NetworkShape, Optimiser, OptimiserOptions, RecurrentShape, TokenShard, TrainableNetwork,
    orthogonal, reduce,
};
use rayon::prelude::*;
use serde_json::Value;

const SHARDS: usize = 8;
const STREAMS: usize = 2;
const STEPS: usize = 9;

/// A decoder of any family, as a network that `train` could make.
struct AnyDecoder(Decoder);

impl TrainableNetwork for AnyDecoder {
    fn parameters(&self) -> &[Parameter] {
        self.0.parameters()
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [Parameter]) -> Result<()>) -> Result<()> {
        self.0.update(change)
    }

    fn states(&self, _: usize) -> Vec<RecurrentState> {
        Vec::new()
    }

    fn run(
        &self,
        shard: &TokenShard,
        _: &mut [RecurrentState],
        gradients: Option<&mut Gradients>,
    ) -> Result<f64> {
        Ok(self.0.token_cost(&shard.inputs, &shard.targets, gradients))
    }

    fn config(&self) -> Value {
        Value::Null
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        Vec::new()
    }
}

fn network(name: &str, isa: Isa) -> Box<dyn TrainableNetwork> {
    let recurrent = |cell| {
        let (vocab_size, embedding_size, hidden_size, layers) = (outputs().len(), 6, 17, 2);
        let shape = RecurrentShape { cell, vocab_size, embedding_size, hidden_size, layers };
        NetworkShape::Recurrent(shape).network(isa, &mut Random::new(&[3]))
    };
    let loaded = |name| -> Box<dyn TrainableNetwork> {
        let model = Model::open_on(folder(name).path(), isa).unwrap();
        Box::new(model.network().as_recurrent().unwrap().trainable(&|_| true))
    };
    match name {
        "gru" => recurrent(Cell::Gru),
        "lstm" => recurrent(Cell::Lstm),
        "gru, loaded" => loaded("gru"),
        "lstm, loaded" => loaded("lstm"),
        _ => {
            let (_, shape) = shapes().into_iter().find(|(other, _)| *other == name).unwrap();
            Box::new(AnyDecoder(decoder(shape, isa, &|_| true)))
        }
    }
}

/// A digest of the weights after each of some numbers of steps.
fn digests(name: &str, isa: Isa, steps: &[u64]) -> Vec<String> {
    let mut network = network(name, isa);
    let options = OptimiserOptions { adam_rate: 4e-3, muon_rate: 0.02, clip: 1.0 };
    let kernels = Box::new(move |x, columns| Ok(orthogonal(isa, x, columns)));
    let mut optimiser = Optimiser::new(kernels, options, network.parameters());
    let mut found = Vec::new();
    for step in 1..=*steps.last().unwrap() {
        let shard = |i: u64| {
            let seed = 2 * (step * SHARDS as u64 + i);
            let n = outputs().len();
            let [inputs, targets] = [seed, seed + 1].map(|s| tokens(s, STREAMS * STEPS, n));
            let shard = TokenShard { streams: STREAMS, inputs, targets };
            let mut gradients = zeros(network.parameters());
            network.run(&shard, &mut network.states(STREAMS), Some(&mut gradients)).unwrap();
            gradients
        };
        let mut shards: Vec<_> = (0..SHARDS as u64).into_par_iter().map(shard).collect();
        let (first, others) = shards.split_first_mut().unwrap();
        let others: Vec<&Gradients> = others.iter().collect();
        reduce(first, &others, 1.0 / (SHARDS * STREAMS * STEPS) as f32);
        let mut update = |parameters: &mut [Parameter]| optimiser.step(parameters, first, 0.7);
        network.update(&mut update).unwrap();
        if steps.contains(&step) {
            let values = network.parameters().iter().flat_map(|p| &p.values);
            let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
            found.push(blake3::hash(&bytes).to_hex()[..16].to_owned());
        }
    }
    found
}

/// After 10 and after 100 steps.
const PINNED: [(&str, [&str; 2]); 11] = [
    ("gpt_neox", ["d4811ed7a841cb52", "3dab08f92a291d76"]),
    ("gpt_neox, sequential", ["94258a6977ea34a2", "758a49caa1d1408b"]),
    ("gpt2", ["ec818aa38e1f3b1d", "d7314e33ca836b31"]),
    ("llama", ["034280616a519714", "97ea02c91c9493d4"]),
    ("llama with biases", ["6db862e4652c42b7", "2eb1dee2af22da00"]),
    ("mistral", ["b67c49002906a60c", "7130c466dd027f02"]),
    ("qwen3", ["0ac4eaf13315d19b", "00f034ffa73c11e4"]),
    ("gru", ["3c975dd7a1755c04", "e29fc598c0f86476"]),
    ("lstm", ["bce139468d34e2b7", "0bafcbd06cd25fe3"]),
    ("gru, loaded", ["048d19680f9641e8", "917036ba7c9fa3ff"]),
    ("lstm, loaded", ["72f63eab8d700920", "70f030e5eb1dc5a5"]),
];

fn with_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)
}

/// The portable kernels are slow: of their steps a share.
#[test]
fn steps_have_the_same_bits_on_every_instruction_set() {
    for isa in Isa::available() {
        let is_share = isa.name() == "scalar" && share::step(2) > 1;
        let steps = if is_share { &[10][..] } else { &[10, 100] };
        let all = PINNED.into_par_iter().map(|(name, _)| (name, digests(name, isa, steps)));
        let found: Vec<_> = all.collect();
        println!("{isa:?}: {found:#?}");
        let pinned = |all: [&str; 2]| all[..steps.len()].iter().map(|&s| s.to_owned()).collect();
        let expected: Vec<_> = PINNED.map(|(name, all)| (name, pinned(all))).into();
        assert_eq!(found, expected, "{isa:?}");
    }
}

#[test]
fn steps_have_the_same_bits_with_any_number_of_threads() {
    for threads in 1..=SHARDS {
        for (name, [pinned, _]) in PINNED {
            let found = with_threads(threads, || digests(name, Isa::detect(), &[10]));
            assert_eq!(found, [pinned], "{name} with {threads} threads");
        }
    }
}
