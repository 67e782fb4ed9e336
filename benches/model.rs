//! A model's speed on this machine: tokens per second and share of the fma peak, encoding
//! (teacher-forced) and decoding (lockstep), by lanes and threads.
//!
//! `cargo bench --bench model [-- FILE [MODEL_FOLDER]]`

mod peak;

use llmzip::codec::{ChunkOptions, Codec, Parameters, decode, encode};
use llmzip::models::{Context, Model};
use llmzip::ops::Isa;
use std::time::Instant;

/// Most positions of a context that is not a sliding window.
const CONTEXT: u32 = 512;

/// Multiply-adds of `model` for a token: its weights once, and attention over a full window.
fn macs_per_token(model: &Model, context: Option<Context>) -> f64 {
    let (network, footprint) = (model.network(), model.architecture().footprint());
    let window = context.map_or(network.window(), |context| context.len as usize);
    // Keys and values take two bytes each, and are used once.
    footprint.macs as f64 + footprint.position as f64 / 2.0 * window as f64
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let text = match arguments.next() {
        Some(file) => std::fs::read(file).expect("a readable file"),
        None => include_bytes!("../docs/numerics.md").repeat(8),
    };
    let model = match arguments.next() {
        Some(folder) => Model::open_on(folder.as_ref(), Isa::detect()).expect("a model"),
        None => Model::default_model(Isa::detect()).expect("the default model"),
    };
    let context = model.architecture().max_positions().map(|n| Context::new(CONTEXT.min(n as u32)));
    let parameters = Parameters { context, ..Parameters::default() };
    let macs_per_token = macs_per_token(&model, context);
    let tokens = model.tokenizer().encode(&text, model.vocabulary()).len() as f64;
    let peak = peak::gflops(Isa::detect());
    println!(
        "{:?}, {:.0} GFLOP/s a thread, {} bytes, {tokens} tokens",
        Isa::detect(),
        peak,
        text.len()
    );
    println!("threads lanes   bytes  bits/B | encode tok/s  KB/s  peak | decode tok/s  KB/s  peak");
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            for lanes in [1, 8, 16, 25, 64] {
                let options = ChunkOptions { level: 6, lanes: Some(lanes), mix: false };
                let codec = Codec { parameters: &parameters, ..Codec::new(&model, threads) };
                let start = Instant::now();
                let coded = encode(codec, &text, &options).expect("encodes");
                let encode_s = start.elapsed().as_secs_f64();
                let start = Instant::now();
                let plain = decode(codec, &coded);
                let decode_s = start.elapsed().as_secs_f64();
                assert!(plain.expect("decodes") == text, "round trip");
                let speed = |seconds: f64| {
                    let share = 2e-9 * macs_per_token * tokens / seconds / (peak * threads as f64);
                    let bytes_s = text.len() as f64 / seconds / 1e3;
                    format!("{:>12.0} {:>5.1} {:>4.0}%", tokens / seconds, bytes_s, 100.0 * share)
                };
                let bits = 8.0 * coded.payload.len() as f64 / text.len() as f64;
                println!(
                    "{threads:>7} {lanes:>5} {:>7} {bits:>7.4} | {} | {}",
                    coded.payload.len(),
                    speed(encode_s),
                    speed(decode_s)
                );
            }
        });
    }
}
