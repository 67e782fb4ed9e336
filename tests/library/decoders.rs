//! The decoder of every family that can learn: its backward pass against finite differences and against
//! candle, its logits against the session that codes, and the bits of its weights after some steps.

use llmzip::models::{Architecture, Config, Row, Session, Transformer, Weights};
use llmzip::nn::decoder::{AdapterParameters, Decoder};
use llmzip::nn::feed_forward::Activation;
use llmzip::nn::parameter::{Parameter, zeros};
use llmzip::nn::random::Random;
use llmzip::nn::shape::{
    DecoderPart, DecoderShape, DecoderTensor, LayerPart, NormKind, PositionKind, RotaryConfig,
};
use llmzip::ops::{AttentionShape, Isa, RotaryScaling};
use std::path::{Path, PathBuf};

const VOCAB: usize = 13;
/// A block of queries of attention, and some more.
const TOKENS: usize = 70;

/// A small decoder of every family, and of what can be new in one.
pub fn shapes() -> Vec<(&'static str, DecoderShape)> {
    let rotary =
        |dims, scaling| PositionKind::Rotary(RotaryConfig { dims, theta: 10_000.0, scaling });
    let llama3 = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, positions: 64.0 };
    let attention = |heads, kv_heads, head_dim: usize, window| AttentionShape {
        heads,
        kv_heads,
        head_dim,
        window,
        scale: (1.0 / (head_dim as f64).sqrt()) as f32,
    };
    let llama = DecoderShape {
        vocab_size: VOCAB,
        hidden_size: 12,
        intermediate_size: 20,
        layers: 2,
        attention: attention(4, 2, 6, usize::MAX),
        positions: rotary(6, RotaryScaling::None),
        norm: NormKind::Rms,
        norm_eps: 1e-5,
        has_qk_norms: false,
        activation: Activation::Silu,
        parallel_residual: false,
        attention_bias: false,
        mlp_bias: false,
        tied: true,
    };
    let gpt_neox = DecoderShape {
        attention: attention(3, 3, 4, usize::MAX),
        positions: rotary(2, RotaryScaling::None),
        norm: NormKind::Layer,
        activation: Activation::GeluErf,
        parallel_residual: true,
        attention_bias: true,
        mlp_bias: true,
        tied: false,
        ..llama
    };
    let gpt2 = DecoderShape {
        positions: PositionKind::Learned(TOKENS + 3),
        activation: Activation::GeluTanh,
        parallel_residual: false,
        tied: true,
        ..gpt_neox
    };
    // A window that neither begins nor ends with a block of queries.
    let mistral = DecoderShape { attention: attention(3, 1, 4, 40), tied: false, ..llama };
    let mistral = DecoderShape { positions: rotary(4, RotaryScaling::Linear(2.0)), ..mistral };
    let qwen3 = DecoderShape { has_qk_norms: true, positions: rotary(6, llama3), ..llama };
    let biased = DecoderShape { attention_bias: true, mlp_bias: true, ..llama };
    vec![
        ("gpt_neox", gpt_neox),
        ("gpt_neox, sequential", DecoderShape { parallel_residual: false, ..gpt_neox }),
        ("gpt2", gpt2),
        ("llama", llama),
        ("llama with biases", biased),
        ("mistral", mistral),
        ("qwen3", qwen3),
    ]
}

/// Outputs in an order of their own, without the first token.
pub fn outputs() -> Vec<u32> {
    (1..VOCAB as u32).rev().collect()
}

/// Random values everywhere: zeros and ones would hide mistakes.
pub fn decoder(shape: DecoderShape, isa: Isa, trains: &dyn Fn(&DecoderTensor) -> bool) -> Decoder {
    let random = &mut Random::new(&[5]);
    Decoder::new(isa, shape, &outputs(), &mut |tensor| {
        let (name, dims) = (tensor.to_string(), &tensor.shape[..]);
        let is_gain = dims.len() == 1 && !tensor.is_bias;
        let mut parameter = match (tensor.part, dims) {
            (DecoderPart::Layer(..), &[outputs, inputs]) => {
                Parameter::hidden(name, [outputs, inputs], 1.0, random)
            }
            _ => Parameter::normal(name, dims, if is_gain { 0.2 } else { 0.5 }, random),
        };
        if is_gain {
            parameter.values.iter_mut().for_each(|value| *value += 1.0);
        }
        parameter.is_frozen = !trains(tensor);
        parameter
    })
}

pub fn tokens(seed: u64, n: usize, below: usize) -> Vec<u32> {
    let mut random = Random::new(&[seed]);
    (0..n).map(|_| random.below(below) as u32).collect()
}

const VECTORS: usize = 5;

/// Values of so many steering vectors of the small shapes.
fn steering(vectors: usize) -> Vec<f32> {
    Parameter::normal(String::new(), &[vectors, 12], 0.5, &mut Random::new(&[6])).values
}

fn inputs_and_targets() -> (Vec<u32>, Vec<u32>) {
    (tokens(7, TOKENS, VOCAB), tokens(8, TOKENS, outputs().len()))
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// `x + step * direction / its norm`
fn moved(x: &[f32], direction: &[f32], step: f64) -> Vec<f32> {
    let scale = step / norm(direction);
    x.iter().zip(direction).map(|(x, d)| (f64::from(*x) + scale * f64::from(*d)) as f32).collect()
}

/// Checks that the derivative along a gradient is its norm; `cost` is that after a step along it.
fn check_slope(what: &str, gradient: &[f32], step: f64, cost: &mut dyn FnMut(f64) -> f64) {
    let (norm, slope) = (norm(gradient), (cost(step) - cost(-step)) / (2.0 * step));
    println!("{what}: {norm:.4}, by differences {slope:.4}");
    assert!((slope / norm - 1.0).abs() < 0.02, "{what}: {norm}, not {slope}");
}

/// The cost of the targets once the parameter `i` has moved a step along its gradient, where it stays.
fn cost_of_parameter<'a>(
    decoder: &'a mut Decoder,
    i: usize,
    gradient: &'a [f32],
    inputs: &'a [u32],
    targets: &'a [u32],
) -> impl FnMut(f64) -> f64 + 'a {
    let values = decoder.parameters()[i].values.clone();
    move |step| {
        let moved = moved(&values, gradient, step);
        let mut set = |parameters: &mut [Parameter]| {
            parameters[i].values.clone_from(&moved);
            Ok(())
        };
        decoder.update(&mut set).unwrap();
        decoder.token_cost(inputs, targets, None)
    }
}

/// For each parameter, and for the inputs, the derivative along its own gradient, which is the
/// gradient's norm.
#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 1e-2;
    let (inputs, targets) = inputs_and_targets();
    for (name, shape) in shapes() {
        let mut decoder = decoder(shape, Isa::detect(), &|_| true);
        let check = |what: &str, gradient: &[f32], cost: &mut dyn FnMut(f64) -> f64| {
            check_slope(&format!("{name}, {what}"), gradient, STEP, cost);
        };
        let mut gradients = zeros(decoder.parameters());
        decoder.token_cost(&inputs, &targets, Some(&mut gradients));
        for (i, gradient) in gradients.iter().enumerate() {
            let name = decoder.parameters()[i].name.clone();
            let mut cost = cost_of_parameter(&mut decoder, i, gradient, &inputs, &targets);
            check(&name, gradient, &mut cost);
            cost(0.0);
        }
        let x = [steering(VECTORS), decoder.embed(&inputs)].concat();
        let (_, gradient) = decoder.cost(x.clone(), VECTORS, &targets, Some(&mut gradients));
        check("inputs", &gradient, &mut |step| {
            decoder.cost(moved(&x, &gradient, step), VECTORS, &targets, None).0
        });
        let (before, after) = x.split_at(VECTORS * shape.hidden_size);
        let (first, _) = gradient.split_at(before.len());
        check("steering vectors", first, &mut |step| {
            let moved = [&moved(before, first, step), after].concat();
            decoder.cost(moved, VECTORS, &targets, None).0
        });
    }
}

/// Places of adapters beside all linear layers of a layer, queries, keys and values apart: part, first
/// output and outputs, inputs.
fn places(shape: &DecoderShape) -> Vec<(LayerPart, usize, [usize; 2])> {
    let (c, f) = (shape.hidden_size, shape.intermediate_size);
    let (heads, d) = (shape.attention.heads, shape.attention.head_dim);
    let (q, kv) = (heads * d, shape.attention.kv_heads * d);
    let mut places = vec![
        (LayerPart::Qkv, 0, [q, c]),
        (LayerPart::Qkv, q, [kv, c]),
        (LayerPart::Qkv, q + kv, [kv, c]),
        (LayerPart::AttentionOut, 0, [c, q]),
        (LayerPart::Up, 0, [f, c]),
        (LayerPart::Down, 0, [c, f]),
    ];
    if shape.activation == Activation::Silu {
        places.push((LayerPart::Gate, 0, [f, c]));
    }
    places
}

const RANK: usize = 3;
const SCALE: f32 = 1.25;

/// Puts random adapters beside all linear layers.
fn adapt(decoder: &mut Decoder) {
    let random = &mut Random::new(&[21]);
    let shape = *decoder.shape();
    for layer in 0..shape.layers {
        for (part, first, [outputs, inputs]) in places(&shape) {
            let mut matrix = |name: &str, shape: [usize; 2]| {
                let name = format!("layers.{layer}.{part:?}.{first}.{name}");
                Parameter::normal(name, &shape, 0.15, random)
            };
            let matrices = [matrix("A", [RANK, inputs]), matrix("B", [outputs, RANK])];
            decoder.adapt(AdapterParameters { layer, part, first, scale: SCALE, matrices });
        }
    }
}

/// For A and B of each adapter, while the layers' own weights are frozen, and for the inputs.
#[test]
fn gradients_of_adapters_are_those_of_finite_differences() {
    const STEP: f64 = 4e-3;
    let (inputs, targets) = inputs_and_targets();
    for (name, shape) in shapes() {
        let mut decoder = decoder(shape, Isa::detect(), &|_| false);
        let base = decoder.parameters().len();
        let without = decoder.token_cost(&inputs, &targets, None);
        adapt(&mut decoder);
        assert!(without != decoder.token_cost(&inputs, &targets, None), "{name}");
        let mut gradients = zeros(decoder.parameters());
        let x = decoder.embed(&inputs);
        let (_, dx) = decoder.cost(x.clone(), 0, &targets, Some(&mut gradients));
        let check = |what: &str, gradient: &[f32], cost: &mut dyn FnMut(f64) -> f64| {
            check_slope(&format!("{name}, {what}"), gradient, STEP, cost);
        };
        check("inputs", &dx, &mut |step| decoder.cost(moved(&x, &dx, step), 0, &targets, None).0);
        assert!(gradients[..base].iter().all(Vec::is_empty), "{name}");
        for (i, gradient) in gradients.iter().enumerate().skip(base) {
            let name = decoder.parameters()[i].name.clone();
            let mut cost = cost_of_parameter(&mut decoder, i, gradient, &inputs, &targets);
            check(&name, gradient, &mut cost);
            cost(0.0);
        }
    }
}

/// candle finds the gradient of W + scale * (B A), in float64; that of A and B follows.
#[test]
fn gradients_of_adapters_are_those_of_candle() {
    use llmzip::train::{TokenShard, candle::decoder_gradients};
    let (inputs, targets) = inputs_and_targets();
    let shard = TokenShard { streams: 1, inputs: inputs.clone(), targets: targets.clone() };
    for (name, shape) in shapes() {
        let mut decoder = decoder(shape, Isa::detect(), &|_| true);
        let mut merged = decoder.parameters().to_vec();
        let base = merged.len();
        adapt(&mut decoder);
        let mut gradients = zeros(decoder.parameters());
        let nats = decoder.token_cost(&inputs, &targets, Some(&mut gradients));
        let adapters: Vec<_> = (0..shape.layers)
            .flat_map(|layer| places(&shape).into_iter().map(move |place| (layer, place)))
            .zip(decoder.parameters()[base..].chunks_exact(2))
            .collect();
        let weights = |layer: usize, part: LayerPart| {
            let name = format!("layers.{layer}.{part:?}.weight");
            decoder.parameters().iter().position(|p| p.name == name).unwrap()
        };
        for ((layer, (part, first, [outputs, inputs])), matrices) in &adapters {
            let w = &mut merged[weights(*layer, *part)].values;
            for n in 0..*outputs {
                for k in 0..*inputs {
                    let product = (0..RANK).map(|j| {
                        f64::from(matrices[1].values[n * RANK + j])
                            * f64::from(matrices[0].values[j * inputs + k])
                    });
                    w[(first + n) * inputs + k] += (f64::from(SCALE) * product.sum::<f64>()) as f32;
                }
            }
        }
        let (expected_nats, expected) =
            decoder_gradients(&shape, &outputs(), &merged, &[], &shard).unwrap();
        assert!((nats / expected_nats - 1.0).abs() < 1e-5, "{name}: {nats}, not {expected_nats}");
        for (i, ((layer, (part, first, [outputs, inputs])), matrices)) in
            adapters.iter().enumerate()
        {
            let dw = &expected[weights(*layer, *part)];
            let mut expected = [vec![0.0f64; RANK * inputs], vec![0.0f64; outputs * RANK]];
            for n in 0..*outputs {
                for k in 0..*inputs {
                    let dw = f64::from(SCALE) * dw[(first + n) * inputs + k];
                    for j in 0..RANK {
                        expected[0][j * inputs + k] +=
                            f64::from(matrices[1].values[n * RANK + j]) * dw;
                        expected[1][n * RANK + j] +=
                            f64::from(matrices[0].values[j * inputs + k]) * dw;
                    }
                }
            }
            for (which, expected) in expected.iter().enumerate() {
                let found = &gradients[base + 2 * i + which];
                let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
                let differences = found.iter().zip(expected).map(|(a, b)| f64::from(*a) - b);
                let off = differences.map(|x| x * x).sum::<f64>().sqrt() / length;
                println!("{name}, {}: {off:e}", matrices[which].name);
                assert!(off < 1e-4, "{name}, {}: {off:e}", matrices[which].name);
            }
        }
    }
}

/// Frozen parameters change no gradient of others, and have none.
#[test]
fn gradients_of_some_are_those_of_all() {
    let (inputs, targets) = inputs_and_targets();
    let chosen = DecoderPart::Layer(1, LayerPart::Qkv);
    for (name, shape) in shapes() {
        let gradients = |trains: &dyn Fn(&DecoderTensor) -> bool| {
            let decoder = decoder(shape, Isa::detect(), trains);
            let mut gradients = zeros(decoder.parameters());
            let x = decoder.embed(&inputs);
            let (nats, dx) = decoder.cost(x, 0, &targets, Some(&mut gradients));
            (nats.to_bits(), dx, gradients)
        };
        let (nats, dx, all) = gradients(&|_| true);
        let (of_some, some_dx, some) = gradients(&|tensor| tensor.part == chosen);
        let (of_none, none_dx, none) = gradients(&|_| false);
        assert!(nats == of_some && nats == of_none, "{name}");
        assert!(dx == some_dx && dx == none_dx, "{name}");
        assert!(none.iter().all(Vec::is_empty), "{name}");
        let kept = some.iter().zip(&all).filter(|(some, _)| !some.is_empty());
        let n = kept.inspect(|(some, all)| assert!(some == all, "{name}")).count();
        assert_eq!(n, if shape.attention_bias { 2 } else { 1 }, "{name}");
    }
}

/// candle finds gradients in another way, by automatic differentiation, here in float64; of steering
/// vectors before the tokens, too.
#[test]
fn gradients_are_those_of_candle() {
    use llmzip::train::{TokenShard, candle::decoder_gradients};
    let (inputs, targets) = inputs_and_targets();
    let mut worst = 0.0f64;
    let mut check = |name: &str, decoder: &Decoder, outputs: &[u32], shard: &TokenShard, k| {
        let width = decoder.shape().hidden_size;
        let vectors = Parameter::normal(String::new(), &[k, width], 0.5, &mut Random::new(&[6]));
        let mut gradients = zeros(decoder.parameters());
        let x = [&vectors.values[..], &decoder.embed(&shard.inputs)].concat();
        let (nats, mut dx) = decoder.cost(x, k, &shard.targets, Some(&mut gradients));
        decoder.embed_backward(&shard.inputs, &dx[k * width..], &mut gradients);
        dx.truncate(k * width);
        gradients.push(dx);
        let parameters = decoder.parameters();
        let (expected_nats, expected) =
            decoder_gradients(decoder.shape(), outputs, parameters, &vectors.values, shard)
                .unwrap();
        assert!((nats / expected_nats - 1.0).abs() < 1e-5, "{name}: {nats}, not {expected_nats}");
        assert_eq!(expected.len(), parameters.len() + k.min(1));
        let vectors = Parameter { name: format!("{k} steering vectors"), ..vectors };
        let parameters = parameters.iter().chain([&vectors]);
        for ((found, expected), parameter) in gradients.iter().zip(&expected).zip(parameters) {
            let square = |x: f64| x * x;
            let length = expected.iter().map(|&x| square(x)).sum::<f64>().sqrt();
            let differences = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - b));
            let off = differences.sum::<f64>().sqrt() / length;
            println!("{name}, {}: {off:e}", parameter.name);
            assert!(off < 1e-4, "{name}, {}: {off:e}", parameter.name);
            worst = worst.max(off);
        }
    };
    for (name, shape) in shapes() {
        let decoder = decoder(shape, Isa::detect(), &|_| true);
        let shard = TokenShard { streams: 1, inputs: inputs.clone(), targets: targets.clone() };
        for vectors in [0, VECTORS] {
            check(name, &decoder, &outputs(), &shard, vectors);
        }
    }
    for name in ORACLES {
        let network = loaded(name);
        let all: Vec<u32> = (0..network.1 as u32).collect();
        let (inputs, targets) = (tokens(9, TOKENS, network.1), tokens(10, TOKENS, network.1));
        let shard = TokenShard { streams: 1, inputs, targets };
        check(name, &network.0.decoder(&|_| true), &all, &shard, VECTORS);
    }
    println!("at most {worst:e}");
}

/// Models of transformers (`tests/oracle`).
const ORACLES: [&str; 9] = [
    "gpt-neox-parallel-f16",
    "gpt-neox-sequential-sharded",
    "gpt2",
    "llama-gqa-tied",
    "llama-gqa-untied-headdim",
    "llama-mha-untied-bf16",
    "mistral-window",
    "qwen2-tied",
    "qwen3-tied",
];

/// A model of `tests/oracle`, and its number of tokens.
fn loaded(name: &str) -> (Transformer, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name);
    let config = Config::parse(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_weights = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("model") && name.ends_with(".safetensors")
    };
    let weights = Weights::open(&files.filter(is_weights).collect::<Vec<_>>()).unwrap();
    let ids: Vec<u32> = (0..config.vocab_size as u32).collect();
    (Transformer::load(&config, &weights, &ids, Isa::detect()).unwrap(), ids.len())
}

fn coded_logits(session: &mut dyn Session, v: usize, tokens: &[u32]) -> Vec<f32> {
    let mut logits = vec![f32::NAN; tokens.len() * v];
    let row = |(position, &token): (usize, &u32)| Row { lane: 0, position: position as u32, token };
    session.forward(&tokens.iter().enumerate().map(row).collect::<Vec<_>>(), &mut logits);
    logits
}

#[test]
fn logits_are_those_of_the_session_that_codes() {
    for name in ORACLES {
        let (network, v) = loaded(name);
        let tokens = tokens(11, TOKENS, v);
        let mut session = network.session_with::<f32>(1, TOKENS, usize::MAX);
        let expected = coded_logits(&mut session, v, &tokens);
        let decoder = network.decoder(&|_| false);
        let logits = decoder.logits(&decoder.forward(decoder.embed(&tokens), 0), 0);
        let difference: Vec<f32> = expected.iter().zip(&logits).map(|(a, b)| a - b).collect();
        let off = norm(&difference) / norm(&expected);
        println!("{name}: {off:e}");
        assert!(off < 1e-6, "{name}: logits are off by {off:e}");
    }
}

/// A loaded network's adapter acts the same where it learns and where it codes.
#[test]
fn adapters_are_those_of_the_session_that_codes() {
    use llmzip::models::{AdaptedModule, Adapter};
    for name in ORACLES {
        let (network, v) = loaded(name);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name);
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let random = &mut Random::new(&[22]);
        let mut values = |n: usize| (0..n).map(|_| 0.1 * random.normal()).collect();
        let modules = Architecture::parse(&config).unwrap().adaptable_modules().unwrap();
        let modules = modules.into_iter().map(|module| AdaptedModule {
            a: values(RANK * module.inputs),
            b: values(RANK * module.outputs),
            module,
        });
        let modules = modules.collect();
        let adapter = Adapter { rank: RANK, alpha: 4.0, is_rank_stabilized: false, modules };
        let adapted = network.with_adapter(&adapter);
        let tokens = tokens(11, TOKENS, v);
        let coded = |network: &Transformer| {
            let mut session = network.session_with::<f32>(1, TOKENS, usize::MAX);
            coded_logits(&mut session, v, &tokens)
        };
        let (expected, without) = (coded(&adapted), coded(&network));
        let decoder = adapted.decoder(&|_| false);
        let logits = decoder.logits(&decoder.forward(decoder.embed(&tokens), 0), 0);
        let off = |logits: &[f32]| {
            let difference: Vec<f32> = expected.iter().zip(logits).map(|(a, b)| a - b).collect();
            norm(&difference) / norm(&expected)
        };
        println!("{name}: {:e}, without {:e}", off(&logits), off(&without));
        assert!(off(&logits) < 1e-6 && off(&without) > 1e-3, "{name}");
    }
}

/// Steering vectors act the same where it learns and where it codes, there in every lane and however
/// rows are spread over calls; a window that slides does not take them away.
#[test]
fn steering_vectors_are_those_of_the_session_that_codes() {
    for name in ORACLES {
        let (network, v) = loaded(name);
        let tokens = tokens(13, TOKENS, v);
        let decoder = network.decoder(&|_| false);
        let width = decoder.shape().hidden_size;
        let vectors =
            Parameter::normal(String::new(), &[VECTORS, width], 0.2, &mut Random::new(&[9])).values;
        let inputs = [&vectors[..], &decoder.embed(&tokens)].concat();
        let logits = decoder.logits(&decoder.forward(inputs, VECTORS), VECTORS);
        let mut session = network.session_with::<f32>(1, TOKENS, usize::MAX);
        let plain = coded_logits(&mut session, v, &tokens);
        let mut session = network.session_with::<f32>(2, 16, usize::MAX);
        session.steer(&vectors);
        let mut coded = Vec::new();
        for (i, part) in tokens.chunks(16).enumerate() {
            let row = |lane, (at, &token)| Row { lane, position: (16 * i + at) as u32, token };
            let rows = (0..2).flat_map(|lane| part.iter().enumerate().map(move |x| row(lane, x)));
            let mut logits = vec![f32::NAN; 2 * part.len() * v];
            session.forward(&rows.collect::<Vec<_>>(), &mut logits);
            let (of_first, of_second) = logits.split_at(part.len() * v);
            assert!(of_first == of_second, "{name}: lanes differ");
            coded.extend_from_slice(of_first);
        }
        let off = |a: &[f32], b: &[f32]| {
            let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            norm(&difference) / norm(a)
        };
        println!("{name}: {:e}, without {:e}", off(&coded, &logits), off(&coded, &plain));
        assert!(off(&coded, &logits) < 1e-6, "{name}: logits are off");
        let last = coded.len() - v;
        assert!(off(&coded[last..], &plain[last..]) > 1e-4, "{name}: the vectors do nothing");
    }
}

/// Integers are weights as good as any: only activations are rounded where it codes.
#[test]
fn a_quantized_network_has_gradients() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/llama-gqa-tied");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    config["quantization_config"] =
        serde_json::json!({ "quant_method": "llmzip-int8", "activation_bits": 16 });
    let Architecture::Transformer(config) =
        Architecture::parse(config.to_string().as_bytes()).unwrap()
    else {
        panic!("it is a Llama");
    };
    let weights = Weights::open(&[folder.join("model.safetensors")]).unwrap();
    let ids: Vec<u32> = (0..config.vocab_size as u32).collect();
    let network = Transformer::load(&config, &weights, &ids, Isa::detect()).unwrap();
    let tokens = tokens(12, TOKENS, ids.len());
    let mut session = network.session_with::<f32>(1, TOKENS, usize::MAX);
    let expected = coded_logits(&mut session, ids.len(), &tokens);
    let decoder = network.decoder(&|_| true);
    let logits = decoder.logits(&decoder.forward(decoder.embed(&tokens), 0), 0);
    let difference: Vec<f32> = expected.iter().zip(&logits).map(|(a, b)| a - b).collect();
    let off = norm(&difference) / norm(&expected);
    println!("{off:e}");
    assert!(off < 1e-3, "logits are off by {off:e}");
    let mut gradients = zeros(decoder.parameters());
    decoder.token_cost(&tokens[1..], &tokens[..TOKENS - 1], Some(&mut gradients));
    assert!(gradients.iter().all(|gradient| norm(gradient) > 0.0));
}
