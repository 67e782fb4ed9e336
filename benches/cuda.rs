//! A model on a GPU against the same on the processor: whether their logits are the same bits, and rows per second by
//! rows in a call. What `benches/gpu.sh` runs.
//!
//! `cargo bench --bench cuda -- MODEL LOGITS [GIGABYTES]`: a folder or `default`, logits to compare, and the GPU's memory
//! bandwidth a second, of which each call's weights are then given as a share.

use llmzip::cuda::Device;
use llmzip::models::{Model, Network, Row};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Rows in a call; the first ones are steps of that many lanes.
const ROWS: [usize; 6] = [1, 16, 64, 256, 1024, 4096];

/// Steps of a lane while logits are compared.
const STEPS: usize = 128;

/// Calls of which the fastest counts.
const CALLS: u32 = 5;

/// Reproducible tokens: SplitMix64.
struct Tokens(u64, u32);

impl Tokens {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z >> 33) as u32 % self.1
    }
}

/// Compares at least so many logits; returns how many differ.
fn compare(cpu: &dyn Network, gpu: &dyn Network, ids: &[u32], logits: usize) -> (usize, usize) {
    let (mut compared, mut differ, v) = (0, 0, cpu.outputs());
    let mut tokens = Tokens(1, ids.len() as u32);
    while compared < logits {
        let row = |position| Row { lane: 0, position, token: 0 };
        let mut rows: Vec<Row> = (0..STEPS as u32).map(row).collect();
        rows.iter_mut().for_each(|row| row.token = ids[tokens.next() as usize]);
        let [mut a, mut b] = [(); 2].map(|()| vec![0.0; STEPS * v]);
        cpu.session(1, STEPS, STEPS).forward(&rows, &mut a);
        let mut session = gpu.session(1, STEPS, STEPS);
        session.forward(&rows, &mut b);
        session.check().expect("the device works");
        differ += a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        compared += a.len();
    }
    (compared, differ)
}

/// Seconds of a call of one row of each of so many lanes, without its logits and with them.
fn seconds(network: &dyn Network, ids: &[u32], rows: usize) -> f64 {
    let mut session = network.session(rows, 1, CALLS as usize + 1);
    let mut logits = vec![0.0; rows * network.outputs()];
    let mut tokens = Tokens(2, ids.len() as u32);
    let mut best = f64::INFINITY;
    for position in 0..=CALLS {
        let token = |lane| Row { lane, position, token: ids[tokens.next() as usize] };
        let rows: Vec<Row> = (0..rows as u32).map(token).collect();
        let start = Instant::now();
        session.forward(&rows, &mut logits);
        session.check().expect("the device works");
        if position > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    best
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [model, logits, rest @ ..] = &arguments[..] else {
        println!("usage: cargo bench --bench cuda -- MODEL LOGITS [GIGABYTES]");
        return ExitCode::SUCCESS; // as one of all benches
    };
    let logits: f64 = logits.parse().expect("a number of logits");
    let bandwidth: Option<f64> = rest.first().map(|text| text.parse().expect("gigabytes a second"));
    let cpu = match &model[..] {
        "default" => Model::builtin(),
        folder => Model::open(Path::new(folder)),
    };
    let cpu = cpu.expect("a model");
    let device = Device::open(0).expect("a GPU");
    let gpu = cpu.on_cuda(&device).expect("a transformer");
    let (ids, weights) = (cpu.vocabulary().ids(), cpu.architecture().footprint().weights);
    let (compared, differ) = compare(cpu.network(), gpu.network(), ids, logits as usize);
    println!("{} on {}: {differ} of {compared} logits differ", model, device.name());
    println!(
        "rows a call, rows/s on the GPU, on one thread of the processor, GB/s of weights, share"
    );
    for rows in ROWS {
        let (gpu, cpu) = (seconds(gpu.network(), ids, rows), seconds(cpu.network(), ids, rows));
        let rate = weights as f64 / gpu / 1e9;
        let share = bandwidth.map_or("-".to_owned(), |most| format!("{:.3}", rate / most));
        let per_second = |seconds: f64| rows as f64 / seconds;
        println!("{rows}, {:.0}, {:.0}, {rate:.1}, {share}", per_second(gpu), per_second(cpu));
    }
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
