//! Backward passes of networks that learn, against finite differences; forward passes against the
//! networks that code.

#![cfg(feature = "train")]

mod random;

use llmzip::models::{Architecture, Cell, Row, Weights};
use llmzip::ops::Isa;
use llmzip::train::nn::parameter::zeros;
use llmzip::train::{
    LlamaNetwork, LlamaShape, Network, Random, RecurrentNetwork, RecurrentShape, Shard,
};
use safetensors::tensor::{Dtype, TensorView};

const VOCAB: usize = 11;
const STREAMS: usize = 2;
const STEPS: usize = 70;

fn networks() -> Vec<(&'static str, Box<dyn Network>)> {
    let random = &mut Random::new(&[3]);
    let mut recurrent = |cell| {
        let shape = RecurrentShape {
            cell,
            vocab_size: VOCAB,
            embedding_size: 6,
            hidden_size: 9,
            layers: 2,
        };
        Box::new(RecurrentNetwork::new(shape, Isa::detect(), random)) as Box<dyn Network>
    };
    let mut networks = vec![("gru", recurrent(Cell::Gru)), ("lstm", recurrent(Cell::Lstm))];
    // A window that neither begins nor ends with a block of queries.
    let shape = LlamaShape {
        vocab_size: VOCAB,
        hidden_size: 12,
        intermediate_size: 10,
        layers: 2,
        heads: 3,
        window: 40,
    };
    networks.push(("llama", Box::new(LlamaNetwork::new(shape, Isa::detect(), random))));
    // Heads and biases start at zero, which would hide mistakes.
    for (_, network) in &mut networks {
        network.update(&mut |parameters| {
            let values = parameters.iter_mut().flat_map(|p| &mut p.values);
            values.for_each(|value| *value += 0.3 * random.normal());
        });
    }
    networks
}

fn shard() -> Shard {
    let mut random = random::Random::new(4);
    let mut tokens = || (0..STREAMS * STEPS).map(|_| random.bits() as u32 % VOCAB as u32).collect();
    Shard { streams: STREAMS, inputs: tokens(), targets: tokens() }
}

/// The cost, with states that a shard before left.
fn cost(network: &dyn Network) -> f64 {
    let (shard, mut states) = (shard(), network.states(STREAMS));
    network.run(&shard, &mut states, None);
    network.run(&shard, &mut states, None)
}

/// For each parameter the derivative along its own gradient, which is the gradient's norm. The state is
/// taken as given, so it is that of the unchanged network.
#[test]
fn gradients_are_those_of_finite_differences() {
    for (name, mut network) in networks() {
        let (shard, mut states) = (shard(), network.states(STREAMS));
        network.run(&shard, &mut states, None);
        let mut gradients = zeros(network.parameters());
        network.run(&shard, &mut states.clone(), Some(&mut gradients));
        for (i, gradient) in gradients.iter().enumerate() {
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 1e-2, "{name}, parameter {i}: no gradient");
            let mut at = |step: f64| {
                let before = network.parameters()[i].values.clone();
                network.update(&mut |parameters| {
                    let values = parameters[i].values.iter_mut().zip(gradient);
                    values.for_each(|(v, g)| *v += (step * f64::from(*g) / norm) as f32);
                });
                let cost = network.run(&shard, &mut states.clone(), None);
                network.update(&mut |parameters| parameters[i].values.clone_from(&before));
                cost
            };
            let step = 2e-2;
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let parameter = &network.parameters()[i].name;
            println!("{name} {parameter}: {norm:.4}, by differences {slope:.4}");
            assert!((slope / norm - 1.0).abs() < 0.02, "{name} {parameter}: {norm}, not {slope}");
        }
    }
}

/// The network that codes is the network that learned.
#[test]
fn costs_are_those_of_the_network_that_codes() {
    for (name, network) in networks() {
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = network
            .tensors()
            .into_iter()
            .map(|(name, shape, values)| {
                (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        let architecture = Architecture::parse(network.config().to_string().as_bytes()).unwrap();
        let ids: Vec<u32> = (0..VOCAB as u32).collect();
        let weights = Weights::parse(&file).unwrap();
        let coding = architecture.load(&weights, &ids, Isa::detect()).unwrap();
        let shard = shard();
        let mut session = coding.session(STREAMS, 2 * STEPS, usize::MAX);
        let mut nats = 0.0;
        for at in 0..STREAMS * STEPS {
            let (lane, position) = ((at % STREAMS) as u32, (at / STREAMS) as u32);
            let mut logits = vec![0.0; VOCAB];
            session.forward(&[Row { lane, position, token: shard.inputs[at] }], &mut logits);
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            nats += sum.ln() - f64::from(logits[shard.targets[at] as usize]);
        }
        let learned = network.run(&shard, &mut network.states(STREAMS), None);
        println!("{name}: {nats:.3} nats, {learned:.3} while learning");
        // Keys and values are in bfloat16 where they are coded with.
        assert!((nats / learned - 1.0).abs() < 2e-3, "{name}: {nats}, not {learned}");
    }
}

#[test]
fn states_go_on() {
    for (name, network) in networks().into_iter().filter(|(name, _)| *name != "llama") {
        let fresh = network.run(&shard(), &mut network.states(STREAMS), None);
        assert!((cost(&*network) - fresh).abs() > 1e-3, "{name}: nothing is remembered");
    }
}
