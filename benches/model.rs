//! The default model's speed on this machine: tokens per second and share of the fma peak, encoding
//! (teacher-forced) and decoding (lockstep), by lanes and threads.
//!
//! `cargo bench --bench model [-- FILE]`

mod peak;

use llmzip::codec::{ChunkOptions, Codec, decode, encode};
use llmzip::models::Model;
use llmzip::ops::Isa;
use std::time::Instant;

/// Multiply-adds of the default model for a token, attention over a full window included.
const MACS_PER_TOKEN: f64 = 5_570_560.0 + 6.0 * 2.0 * 4.0 * 64.0 * 256.0;

fn main() {
    let file = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let text = match file {
        Some(file) => std::fs::read(file).expect("a readable file"),
        None => include_bytes!("../docs/numerics.md").repeat(8),
    };
    let model = Model::default_model(Isa::detect()).expect("the default model");
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
            for lanes in [1, 8, 16, 64] {
                let options = ChunkOptions { level: 6, lanes: Some(lanes), mix: false };
                let codec = Codec::new(&model, threads);
                let start = Instant::now();
                let coded = encode(codec, &text, &options).expect("encodes");
                let encode_s = start.elapsed().as_secs_f64();
                let start = Instant::now();
                let (method, bytes) = (coded.method, &coded.bytes);
                let plain = decode(codec, method, lanes, bytes, text.len());
                let decode_s = start.elapsed().as_secs_f64();
                assert!(plain.expect("decodes") == text, "round trip");
                let speed = |seconds: f64| {
                    let share = 2e-9 * MACS_PER_TOKEN * tokens / seconds / (peak * threads as f64);
                    let bytes_s = text.len() as f64 / seconds / 1e3;
                    format!("{:>12.0} {:>5.1} {:>4.0}%", tokens / seconds, bytes_s, 100.0 * share)
                };
                let bits = 8.0 * bytes.len() as f64 / text.len() as f64;
                println!(
                    "{threads:>7} {lanes:>5} {:>7} {bits:>7.4} | {} | {}",
                    bytes.len(),
                    speed(encode_s),
                    speed(decode_s)
                );
            }
        });
    }
}
