//! Decoding in the shape of Pythia-70m (Biderman et al., 2023) with random weights, in floats and in
//! int8: tokens per second of one thread, by lanes.
//!
//! `cargo bench --bench decode`

use llmzip::models::{Config, Network, QuantWeights, Quantization, Row, Transformer, Weights};
use llmzip::ops::{ActivationBits, Isa};
use std::time::Instant;

/// What linear layers are computed in.
const FORMS: [(&str, Option<Quantization>); 3] = [
    ("f32", None),
    (
        "w8a16",
        Some(Quantization { weights: QuantWeights::Int8, activations: ActivationBits::Sixteen }),
    ),
    (
        "w8a8",
        Some(Quantization { weights: QuantWeights::Int8, activations: ActivationBits::Eight }),
    ),
];

/// Steps of which the fastest counts.
const STEPS: u32 = 60;

const WIDTH: usize = 512;
const FEED_FORWARD: usize = 2048;
const LAYERS: usize = 6;
const VOCAB_SIZE: usize = 50_304;

fn config() -> Config {
    let json = serde_json::json!({
        "model_type": "gpt_neox", "vocab_size": VOCAB_SIZE, "hidden_size": WIDTH,
        "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS, "num_attention_heads": 8,
        "max_position_embeddings": 2048, "layer_norm_eps": 1e-5, "tie_word_embeddings": false
    });
    Config::parse(json.to_string().as_bytes()).expect("a good configuration")
}

/// Names and shapes of all tensors.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("gpt_neox.embed_in.weight".to_owned(), vec![VOCAB_SIZE, WIDTH]),
        ("embed_out.weight".to_owned(), vec![VOCAB_SIZE, WIDTH]),
    ];
    let mut add = |name: String, outputs: usize, inputs: Option<usize>| {
        tensors.push((
            format!("{name}.weight"),
            [Some(outputs), inputs].into_iter().flatten().collect(),
        ));
        tensors.push((format!("{name}.bias"), vec![outputs]));
    };
    add("gpt_neox.final_layer_norm".to_owned(), WIDTH, None);
    for layer in 0..LAYERS {
        let parts = [
            ("input_layernorm", WIDTH, None),
            ("post_attention_layernorm", WIDTH, None),
            ("attention.query_key_value", 3 * WIDTH, Some(WIDTH)),
            ("attention.dense", WIDTH, Some(WIDTH)),
            ("mlp.dense_h_to_4h", FEED_FORWARD, Some(WIDTH)),
            ("mlp.dense_4h_to_h", WIDTH, Some(FEED_FORWARD)),
        ];
        for (part, outputs, inputs) in parts {
            add(format!("gpt_neox.layers.{layer}.{part}"), outputs, inputs);
        }
    }
    tensors
}

/// A checkpoint in f16, with weights of -0.04 to 0.04.
fn checkpoint() -> Vec<u8> {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors() {
        let end = at + 2 * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let mut state = 1u64;
    for _ in 0..at / 2 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let uniform = (state >> 40) as f32 / 16_777_216.0 - 0.5;
        file.extend(half::f16::from_f32(0.08 * uniform).to_le_bytes());
    }
    file
}

/// Tokens per second of the fastest step of `lanes` lanes.
fn speed(network: &Transformer, lanes: u32) -> f64 {
    let mut session = network.session(lanes as usize, 1, 2048);
    let mut logits = vec![0.0; lanes as usize * VOCAB_SIZE];
    let mut best = f64::INFINITY;
    for position in 0..STEPS {
        let row =
            |lane| Row { lane, position, token: (31 * position + 7 * lane) % VOCAB_SIZE as u32 };
        let rows: Vec<Row> = (0..lanes).map(row).collect();
        let start = Instant::now();
        session.forward(&rows, &mut logits);
        best = best.min(start.elapsed().as_secs_f64());
    }
    f64::from(lanes) / best
}

fn main() {
    let checkpoint = checkpoint();
    let weights = Weights::parse(&checkpoint).expect("a good checkpoint");
    let ids: Vec<u32> = (0..VOCAB_SIZE as u32).collect();
    let networks = FORMS.map(|(form, quantization)| {
        let config = Config { quantization, ..config() };
        (form, Transformer::load(&config, &weights, &ids, Isa::detect()).expect("loads"))
    });
    println!("{:?}, tokens per second", Isa::detect());
    for lanes in [1, 4, 16, 64] {
        print!("{lanes:>3} lanes");
        let speeds = networks.each_ref().map(|(_, network)| speed(network, lanes));
        for ((form, _), speed) in networks.iter().zip(speeds) {
            print!("  {form} {speed:>6.0} ({:.1} x)", speed / speeds[0]);
        }
        println!();
    }
}
