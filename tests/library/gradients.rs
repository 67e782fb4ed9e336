//! Backward passes of networks that learn, against finite differences; forward passes against the
//! networks that code.

use crate::random;
use llmzip::models::{Architecture, Cell, Network, Row, Weights};
use llmzip::nn::parameter::{Parameter, zeros};
use llmzip::nn::random::Random;
use llmzip::nn::recurrent::{RecurrentPart, RecurrentTensor};
use llmzip::ops::Isa;
use llmzip::train::{LlamaShape, NetworkShape, RecurrentShape, TokenShard, TrainableNetwork};
use safetensors::tensor::{Dtype, TensorView};

const VOCAB: usize = 11;
const STREAMS: usize = 2;
const STEPS: usize = 70;

fn shapes() -> [(&'static str, NetworkShape); 3] {
    let recurrent = |cell| {
        let (embedding_size, hidden_size, layers) = (6, 9, 2);
        let vocab_size = VOCAB;
        NetworkShape::Recurrent(RecurrentShape {
            cell,
            vocab_size,
            embedding_size,
            hidden_size,
            layers,
        })
    };
    // A window that neither begins nor ends with a block of queries.
    let llama = NetworkShape::Llama(LlamaShape {
        vocab_size: VOCAB,
        hidden_size: 12,
        intermediate_size: 10,
        layers: 2,
        heads: 3,
        window: 40,
    });
    [("gru", recurrent(Cell::Gru)), ("lstm", recurrent(Cell::Lstm)), ("llama", llama)]
}

/// The same ones each time.
fn networks() -> Vec<(&'static str, Box<dyn TrainableNetwork>)> {
    let random = &mut Random::new(&[3]);
    let mut networks: Vec<_> =
        shapes().map(|(name, shape)| (name, shape.network(Isa::detect(), random))).into();
    networks.iter_mut().for_each(|(_, network)| disturb(&mut **network, random));
    networks
}

/// Heads and biases start at zero, which would hide mistakes.
fn disturb(network: &mut dyn TrainableNetwork, random: &mut Random) {
    change(network, |parameters| {
        let values = parameters.iter_mut().flat_map(|p| &mut p.values);
        values.for_each(|value| *value += 0.3 * random.normal());
    });
}

fn change(network: &mut dyn TrainableNetwork, mut change: impl FnMut(&mut [Parameter])) {
    let mut change = |parameters: &mut [Parameter]| {
        change(parameters);
        Ok(())
    };
    network.update(&mut change).unwrap();
}

fn shard() -> TokenShard {
    let mut random = random::Random::new(4);
    let mut tokens = || (0..STREAMS * STEPS).map(|_| random.bits() as u32 % VOCAB as u32).collect();
    TokenShard { streams: STREAMS, inputs: tokens(), targets: tokens() }
}

/// The cost, with states that a shard before left.
fn cost(network: &dyn TrainableNetwork) -> f64 {
    let (shard, mut states) = (shard(), network.states(STREAMS));
    network.run(&shard, &mut states, None).unwrap();
    network.run(&shard, &mut states, None).unwrap()
}

/// For each parameter the derivative along its own gradient, which is the gradient's norm. The state is
/// taken as given, so it is that of the unchanged network.
#[test]
fn gradients_are_those_of_finite_differences() {
    for (name, mut network) in networks() {
        let (shard, mut states) = (shard(), network.states(STREAMS));
        network.run(&shard, &mut states, None).unwrap();
        let mut gradients = zeros(network.parameters());
        network.run(&shard, &mut states.clone(), Some(&mut gradients)).unwrap();
        for (i, gradient) in gradients.iter().enumerate() {
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 1e-2, "{name}, parameter {i}: no gradient");
            let mut at = |step: f64| {
                let before = network.parameters()[i].values.clone();
                change(&mut *network, |parameters| {
                    let values = parameters[i].values.iter_mut().zip(gradient);
                    values.for_each(|(v, g)| *v += (step * f64::from(*g) / norm) as f32);
                });
                let cost = network.run(&shard, &mut states.clone(), None).unwrap();
                change(&mut *network, |parameters| parameters[i].values.clone_from(&before));
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

/// The network as it is loaded to code, with the logits of `outputs`.
fn coding(network: &dyn TrainableNetwork, outputs: &[u32]) -> Box<dyn Network> {
    let bytes = |x: Vec<f32>| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let tensors: Vec<_> = network.tensors().into_iter().map(|(n, s, x)| (n, s, bytes(x))).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let architecture = Architecture::parse(network.config().to_string().as_bytes()).unwrap();
    architecture.load(&Weights::parse(&file).unwrap(), outputs, Isa::detect()).unwrap()
}

/// The network that codes is the network that learned.
#[test]
fn costs_are_those_of_the_network_that_codes() {
    for (name, network) in networks() {
        let ids: Vec<u32> = (0..VOCAB as u32).collect();
        let coding = coding(&*network, &ids);
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
        let learned = network.run(&shard, &mut network.states(STREAMS), None).unwrap();
        println!("{name}: {nats:.3} nats, {learned:.3} while learning");
        // Keys and values are in bfloat16 where they are coded with.
        assert!((nats / learned - 1.0).abs() < 2e-3, "{name}: {nats}, not {learned}");
    }
}

/// A loaded network computes the same logits where it learns and where it codes, to the bit, whichever
/// weights it has gradients of, and however its streams are cut: with a table of the first layer's gates,
/// and with so many tokens that there is none.
#[test]
fn logits_of_loaded_recurrent_networks_are_those_that_code() {
    let wide = RecurrentShape {
        cell: Cell::Gru,
        vocab_size: 1 << 14,
        embedding_size: 3,
        hidden_size: 86,
        layers: 2,
    };
    let mut wide = NetworkShape::Recurrent(wide).network(Isa::detect(), &mut Random::new(&[3]));
    disturb(&mut *wide, &mut Random::new(&[4]));
    let networks = networks().into_iter().filter(|(name, _)| *name != "llama");
    for (name, network) in networks.chain([("wide", wide)]) {
        let outputs: Vec<u32> = (1..VOCAB as u32).rev().collect();
        let coding = coding(&*network, &outputs);
        let tokens = shard().inputs;
        let targets: Vec<u32> = tokens.iter().map(|token| token % outputs.len() as u32).collect();
        let rows = tokens.iter().enumerate().map(|(at, &token)| Row {
            lane: (at % STREAMS) as u32,
            position: (at / STREAMS) as u32,
            token,
        });
        let mut expected = vec![f32::NAN; tokens.len() * outputs.len()];
        let mut session = coding.session(STREAMS, STEPS, usize::MAX);
        session.forward(&rows.collect::<Vec<_>>(), &mut expected);
        let gradients = |trains: &dyn Fn(&RecurrentTensor) -> bool| {
            let network = coding.as_recurrent().unwrap().trainable(trains);
            let (mut states, mut logits) = (network.states(STREAMS), Vec::new());
            for tokens in tokens.chunks(20 * STREAMS) {
                logits.extend(network.logits(&network.forward(tokens, &mut states)));
            }
            assert!(logits == expected, "{name}");
            let mut gradients = zeros(network.parameters());
            let states = &mut network.states(STREAMS);
            network.token_cost(&tokens, &targets, states, Some(&mut gradients));
            gradients
        };
        let all = gradients(&|_| true);
        let some = gradients(&|tensor| tensor.part == RecurrentPart::Hidden(1));
        assert!(gradients(&|_| false).iter().all(Vec::is_empty), "{name}");
        let kept = some.iter().zip(&all).filter(|(some, _)| !some.is_empty());
        let n = kept.inspect(|(some, all)| assert!(some == all, "{name}")).count();
        assert_eq!(n, 2, "{name}: weights and biases");
        assert!(all.iter().all(|gradient| distance(gradient, &[]) > 0.0), "{name}");
    }
}

#[test]
fn states_go_on() {
    for (name, network) in networks().into_iter().filter(|(name, _)| *name != "llama") {
        let fresh = network.run(&shard(), &mut network.states(STREAMS), None).unwrap();
        assert!((cost(&*network) - fresh).abs() > 1e-3, "{name}: nothing is remembered");
    }
}

/// candle's gradients are found in another way, by automatic differentiation.
#[test]
fn candle_computes_the_same() {
    use candle_core::Device;
    use llmzip::train::candle::place;
    let pairs = networks().into_iter().zip(networks()).zip(shapes());
    for (((name, network), (_, same)), (_, shape)) in pairs {
        let (mut on_candle, orthogonal) = place(same, shape, &Device::Cpu).unwrap();
        // What is changed is changed there, too.
        change(&mut *on_candle, |parameters| parameters[0].values[0] += 1.0);
        change(&mut *on_candle, |parameters| parameters[0].values[0] -= 1.0);
        let pass = |network: &dyn TrainableNetwork| {
            let (shard, mut states) = (shard(), network.states(STREAMS));
            network.run(&shard, &mut states, None).unwrap();
            let mut gradients = zeros(network.parameters());
            let nats = network.run(&shard, &mut states, Some(&mut gradients)).unwrap();
            let states = states.into_iter().flat_map(|state| [state.h, state.c]);
            (nats, gradients.into_iter().chain(states).collect::<Vec<_>>())
        };
        let ((nats, expected), (by_candle, found)) = (pass(&*network), pass(&*on_candle));
        println!("{name}: {nats:.4} nats, {by_candle:.4} by candle");
        assert!((by_candle / nats - 1.0).abs() < 1e-5, "{name}: {by_candle}, not {nats}");
        for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let difference = distance(expected, found) / distance(expected, &[]).max(1e-6);
            println!("{name}, tensor {i}: {difference:e}");
            assert!(difference < 1e-5, "{name}, tensor {i}: {difference}");
        }
        for columns in [4, 25] {
            let x: Vec<f32> = (0..100).map(|i| (i as f32).sin()).collect();
            let expected = llmzip::train::orthogonal(Isa::detect(), x.clone(), columns);
            let found = orthogonal(x, columns).unwrap();
            assert!(distance(&expected, &found) < 1e-3, "{columns} columns");
        }
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let b = b.iter().chain(std::iter::repeat(&0.0));
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}
