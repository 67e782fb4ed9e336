//! The CUDA kernels, compiled as C++, against `ops::reference`, bit for bit: threads of a block in three
//! orders, with sanitizers. And their PTX, read as text.

use crate::cuda::{SANITIZED, build};
use crate::random::Random;
use half::{bf16, f16};
use llmzip::ops::reference;
use std::io::Write;
use std::process::{Command, Stdio};

/// An argument of a kernel.
enum Argument {
    Word(u32),
    Long(u64),
    Buffer(Vec<u8>),
    /// A buffer that shall hold these numbers afterwards.
    Result(Vec<u8>, Expected),
}

enum Expected {
    /// A NaN of any bits for a NaN.
    Floats(Vec<f32>),
    Words(Vec<u32>),
    Bytes(Vec<u8>),
}

use Argument::{Buffer, Long, Word};

fn int(x: usize) -> Argument {
    Word(x as u32)
}

fn float(x: f32) -> Argument {
    Word(x.to_bits())
}

fn bytes_of(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn floats(x: &[f32]) -> Argument {
    Buffer(bytes_of(x.iter().map(|x| x.to_bits())))
}

fn ints(x: &[i32]) -> Argument {
    Buffer(bytes_of(x.iter().map(|&x| x as u32)))
}

fn bytes(x: &[i8]) -> Argument {
    Buffer(x.iter().map(|&x| x as u8).collect())
}

/// A buffer of rubbish that shall become `expected`.
fn result(expected: Vec<f32>) -> Argument {
    Argument::Result(vec![0xa5; 4 * expected.len()], Expected::Floats(expected))
}

/// `x`, which shall become `expected`.
fn changed(x: &[f32], expected: Vec<f32>) -> Argument {
    let Buffer(bytes) = floats(x) else { unreachable!() };
    Argument::Result(bytes, Expected::Floats(expected))
}

/// A launch of a kernel.
struct Launch {
    kernel: String,
    /// Blocks across and down, and threads of each.
    grid: [usize; 2],
    threads: usize,
    arguments: Vec<Argument>,
}

#[derive(Default)]
struct Launches(Vec<Launch>);

impl Launches {
    fn push(&mut self, kernel: &str, grid: [usize; 2], threads: usize, arguments: Vec<Argument>) {
        self.0.push(Launch { kernel: kernel.into(), grid, threads, arguments });
    }

    /// A launch with a thread for each of `count` numbers.
    fn push_flat(&mut self, kernel: &str, count: usize, arguments: Vec<Argument>) {
        self.push(kernel, [count.div_ceil(256), 1], 256, arguments);
    }

    fn script(&self) -> Vec<u8> {
        let mut script = Vec::new();
        let put = |script: &mut Vec<u8>, x: usize| script.extend((x as u32).to_ne_bytes());
        put(&mut script, self.0.len());
        for Launch { kernel, grid, threads, arguments } in &self.0 {
            put(&mut script, kernel.len());
            script.extend(kernel.as_bytes());
            for x in [grid[0], grid[1], *threads, arguments.len()] {
                put(&mut script, x);
            }
            for argument in arguments {
                match argument {
                    Word(x) => {
                        put(&mut script, 0);
                        put(&mut script, *x as usize);
                    }
                    Long(x) => {
                        put(&mut script, 1);
                        script.extend(x.to_ne_bytes());
                    }
                    Buffer(bytes) | Argument::Result(bytes, _) => {
                        put(&mut script, 2);
                        put(&mut script, bytes.len());
                        script.extend(bytes);
                    }
                }
            }
        }
        script
    }

    /// Runs all, each in three orders of threads, and compares.
    fn check(&self) {
        let folder = tempfile::tempdir().unwrap();
        let Some(runner) = build("runner.cpp", SANITIZED, folder.path(), "runner") else { return };
        let mut child = Command::new(runner)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, script) = (child.stdin.take().unwrap(), self.script());
        let writer = std::thread::spawn(move || drop(stdin.write_all(&script)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut rest = &output.stdout[..];
        for launch in &self.0 {
            for order in ["ascending", "descending", "shuffled"] {
                for (i, argument) in launch.arguments.iter().enumerate() {
                    let (Buffer(before) | Argument::Result(before, _)) = argument else { continue };
                    let (after, others) = rest.split_at(before.len());
                    rest = others;
                    let what = format!("{}, argument {i}, threads {order}", launch.kernel);
                    match argument {
                        Argument::Result(_, expected) => expected.compare(after, &what),
                        _ => assert!(before == after, "{what}: an input changed"),
                    }
                }
            }
        }
        assert!(rest.is_empty());
    }
}

impl Expected {
    fn compare(&self, got: &[u8], what: &str) {
        let words = || got.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word));
        match self {
            Self::Floats(expected) => {
                assert_eq!(4 * expected.len(), got.len(), "{what}");
                for (i, (got, expected)) in words().map(f32::from_bits).zip(expected).enumerate() {
                    let same = got.to_bits() == expected.to_bits();
                    let same = same || (got.is_nan() && expected.is_nan());
                    assert!(same, "{what}: [{i}] is {got:e}, expected {expected:e}");
                }
            }
            Self::Words(expected) => {
                for (i, (got, expected)) in words().zip(expected).enumerate() {
                    assert_eq!(got, *expected, "{what}: [{i}]");
                }
            }
            Self::Bytes(expected) => {
                for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                    assert_eq!(got, expected, "{what}: [{i}]");
                }
            }
        }
    }
}

/// Rows, inputs and outputs around the edges of tiles.
const PRODUCTS: [[usize; 3]; 6] =
    [[1, 1, 1], [3, 16, 32], [17, 31, 33], [16, 64, 65], [64, 20, 64], [65, 67, 70]];

/// Tiles: name, rows, outputs, threads.
const TILES: [(&str, usize, usize, usize); 2] = [("wide", 64, 64, 256), ("narrow", 16, 32, 128)];

/// `[N][K]` as `[K][N]`.
fn transposed<T: Copy>(w: &[T], k: usize) -> Vec<T> {
    (0..k).flat_map(|i| w.chunks_exact(k).map(move |row| row[i])).collect()
}

/// `[N][K]` as words of four, `[K / 4][N]`.
fn packed(w: &[i8], k: usize) -> Vec<i8> {
    let rows: Vec<Vec<[i8; 4]>> = w
        .chunks_exact(k)
        .map(|row| {
            row.chunks(4).map(|four| std::array::from_fn(|i| *four.get(i).unwrap_or(&0))).collect()
        })
        .collect();
    (0..k.div_ceil(4)).flat_map(|i| rows.iter().flat_map(move |row| row[i])).collect()
}

/// Products of floats and of halves; zeros of both signs, which a padded chain would lose.
fn products(launches: &mut Launches, random: &mut Random) {
    for ([rows, k, n], (tile, tile_rows, tile_outputs, threads)) in
        PRODUCTS.into_iter().flat_map(|shape| TILES.map(|tile| (shape, tile)))
    {
        let mut x = random.values(rows * k);
        x[..k].fill(-0.0);
        let mut bias = random.values(n);
        bias[0] = -0.0;
        let w = random.values(n * k);
        let halves: Vec<f16> = w.iter().map(|&w| f16::from_f32(w * 1e-4)).collect(); // subnormals, too
        let brains: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
        let of_bits =
            |bits: Vec<u16>| Buffer(bits.into_iter().flat_map(u16::to_ne_bytes).collect());
        let widths: [(&str, Vec<f32>, Argument); 3] = [
            ("f32", w.clone(), floats(&transposed(&w, k))),
            (
                "f16",
                halves.iter().map(|w| w.to_f32()).collect(),
                of_bits(transposed(&halves, k).iter().map(|w| w.to_bits()).collect()),
            ),
            (
                "bf16",
                brains.iter().map(|w| w.to_f32()).collect(),
                of_bits(transposed(&brains, k).iter().map(|w| w.to_bits()).collect()),
            ),
        ];
        for (kind, wide, w) in widths {
            let expected = x.chunks_exact(k).flat_map(|x| reference::matmul_row(x, &wide, &bias));
            let arguments = vec![
                floats(&x),
                w,
                floats(&bias),
                result(expected.collect()),
                int(rows),
                int(k),
                int(n),
            ];
            let grid = [n.div_ceil(tile_outputs), rows.div_ceil(tile_rows)];
            launches.push(&format!("matmul_{kind}_{tile}"), grid, threads, arguments);
        }
    }
}

/// What rows of activations become: bytes of both planes, as the kernel has them.
fn quantized(x: &[f32], k: usize, planes: usize) -> (Vec<i8>, Vec<f32>) {
    let limit = if planes == 1 { 127.0 } else { 32_767.0 };
    let (mut bytes, mut scales) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(k) {
        let (mut q, scale) = reference::quantize(row, limit);
        q.resize(k.next_multiple_of(4), 0);
        scales.push(scale);
        if planes == 1 {
            bytes.extend(q.iter().map(|&q| q as i8));
        } else {
            bytes.extend(q.iter().map(|&q| q.div_euclid(256) as i8));
            bytes.extend(q.iter().map(|&q| (q.rem_euclid(256) - 128) as i8));
        }
    }
    (bytes, scales)
}

/// Rows of activations become integers: of all sizes, zeros, subnormals and what is not finite among them.
fn quantization(launches: &mut Launches, random: &mut Random) {
    for k in [1, 4, 31, 257, 600] {
        let mut x = random.values(6 * k);
        x[k..2 * k].fill(0.0);
        x[2 * k..3 * k].iter_mut().for_each(|x| *x *= 1e-38);
        x[3 * k] = f32::INFINITY;
        x[5 * k - 1] = f32::NAN;
        for planes in [1, 2] {
            let (bytes, scales) = quantized(&x, k, planes);
            let bytes: Vec<u8> = bytes.into_iter().map(|x| x as u8).collect();
            let out = Argument::Result(vec![0xa5; bytes.len()], Expected::Bytes(bytes));
            let arguments = vec![floats(&x), out, result(scales), int(k), int(planes)];
            launches.push("quantize", [6, 1], 256, arguments);
        }
    }
}

/// Products of integers, weights of -128 among them.
fn integer_products(launches: &mut Launches, random: &mut Random) {
    for ([rows, k, n], (tile, tile_rows, tile_outputs, threads)) in
        PRODUCTS.into_iter().flat_map(|shape| TILES.map(|tile| (shape, tile)))
    {
        let x = random.values(rows * k);
        let w: Vec<i8> = (0..n * k).map(|_| random.bits() as i8).collect();
        let (scales, bias) = (random.values(n), random.values(n));
        let sums: Vec<i32> =
            w.chunks_exact(k).map(|w| w.iter().map(|&w| i32::from(w)).sum()).collect();
        for (planes, kind) in [(1, "w8a8"), (2, "w8a16")] {
            let row = match planes {
                1 => reference::matmul_w8a8_row,
                _ => reference::matmul_w8a16_row,
            };
            let expected = x.chunks_exact(k).flat_map(|x| row(x, &w, &scales, &bias)).collect();
            let (q, sx) = quantized(&x, k, planes);
            let arguments = vec![
                bytes(&q),
                floats(&sx),
                bytes(&packed(&w, k)),
                floats(&scales),
                ints(&sums),
                floats(&bias),
                result(expected),
                int(rows),
                int(k),
                int(n),
            ];
            let grid = [n.div_ceil(tile_outputs), rows.div_ceil(tile_rows)];
            launches.push(&format!("matmul_{kind}_{tile}"), grid, threads, arguments);
        }
    }
}

fn norms(launches: &mut Launches, random: &mut Random) {
    for c in [1, 15, 16, 40, 130] {
        let (rows, eps) = (11, 1e-5);
        let mut x = random.values(rows * c);
        x[0] = f32::MAX;
        let (gain, bias) = (random.values(c), random.values(c));
        let expected = x.chunks_exact(c).flat_map(|x| reference::layer_norm(x, &gain, &bias, eps));
        let arguments = vec![
            floats(&x),
            floats(&gain),
            floats(&bias),
            float(eps),
            result(expected.collect()),
            int(rows),
            int(c),
        ];
        launches.push("layer_norm", [rows.div_ceil(8), 1], 128, arguments);
        let expected = x.chunks_exact(c).flat_map(|x| reference::rms_norm(x, &gain, eps));
        let arguments = vec![
            floats(&x),
            floats(&gain),
            float(eps),
            result(expected.collect()),
            int(rows),
            int(c),
            int(1),
            int(c),
        ];
        launches.push("rms_norm", [rows.div_ceil(8), 1], 128, arguments);
    }
}

/// Numbers of all kinds.
fn awkward(random: &mut Random) -> Vec<f32> {
    let mut x = random.values(400);
    x.iter_mut().enumerate().for_each(|(i, x)| *x *= [1.0, 30.0, 1e-3, 1e-39][i % 4]);
    let special = [0.0, -0.0, 87.0, -87.0, -87.5, 88.5, 1e30, f32::INFINITY, f32::NAN, f32::MAX];
    x.extend(special.iter().flat_map(|&x| [x, -x]));
    x
}

fn activations(launches: &mut Launches, random: &mut Random) {
    let x = awkward(random);
    let n = x.len();
    let up = random.values(n);
    let count = || Long(n as u64);
    let silu = x.iter().zip(&up).map(|(&x, &up)| reference::silu(x) * up).collect();
    launches.push_flat("silu_mul", n, vec![changed(&x, silu), floats(&up), count()]);
    let erf = x.iter().map(|&x| reference::gelu_erf(x)).collect();
    launches.push_flat("gelu_erf", n, vec![changed(&x, erf), count()]);
    let tanh = x.iter().map(|&x| reference::gelu_tanh(x)).collect();
    launches.push_flat("gelu_tanh", n, vec![changed(&x, tanh), count()]);
    let sum = x.iter().zip(&up).map(|(x, up)| x + up).collect();
    launches.push_flat("add", n, vec![changed(&x, sum), floats(&up), count()]);
}

fn embeddings(launches: &mut Launches, random: &mut Random) {
    let (rows, c, n) = (7, 37, 5);
    let index = [0, 4, -1, 2, 2, -1, 3];
    let (table, first) = (random.values(n * c), random.values(c));
    let pick = |row: &dyn Fn(usize) -> Vec<f32>| -> Vec<f32> {
        let row = |&i: &i32| if i < 0 { first.clone() } else { row(i as usize) };
        index.iter().flat_map(row).collect()
    };
    let rounded: Vec<bf16> = table.iter().map(|&x| bf16::from_f32(x)).collect();
    let halves: Vec<f16> = table.iter().map(|&x| f16::from_f32(x)).collect();
    let shape = |row_stride, step| [int(rows), int(c), int(row_stride), int(step)];
    let arguments = |table: Argument, expected, row_stride, step| {
        let mut arguments = vec![table, ints(&index), floats(&first), result(expected)];
        arguments.extend(shape(row_stride, step));
        arguments
    };
    let of_bits = |bits: Vec<u16>| Buffer(bits.into_iter().flat_map(u16::to_ne_bytes).collect());
    let expected = pick(&|i| table[i * c..][..c].to_vec());
    launches.push_flat("embed_f32", rows * c, arguments(floats(&table), expected, c, 1));
    let expected = pick(&|i| rounded[i * c..][..c].iter().map(|x| x.to_f32()).collect());
    let bits = transposed(&rounded, c).iter().map(|x| x.to_bits()).collect();
    launches.push_flat("embed_bf16", rows * c, arguments(of_bits(bits), expected, 1, n));
    let expected = pick(&|i| halves[i * c..][..c].iter().map(|x| x.to_f32()).collect());
    let bits = halves.iter().map(|x| x.to_bits()).collect();
    launches.push_flat("embed_f16", rows * c, arguments(of_bits(bits), expected, c, 1));
    let integers: Vec<i8> = (0..n * c).map(|_| random.bits() as i8).collect();
    let scales = random.values(n);
    let expected =
        pick(&|i| integers[i * c..][..c].iter().map(|&q| f32::from(q) * scales[i]).collect());
    let table_bytes = bytes(&packed(&integers, c));
    launches.push_flat(
        "embed_int8",
        rows * c,
        vec![
            table_bytes,
            floats(&scales),
            ints(&index),
            floats(&first),
            result(expected),
            int(rows),
            int(c),
            int(n),
        ],
    );
    let positions = [4, 0, 1, 1, 2, 3, 4];
    let x = random.values(rows * c);
    let of = |(at, x): (usize, &f32)| x + table[positions[at / c] as usize * c + at % c];
    let sum = x.iter().enumerate().map(of).collect();
    let arguments = vec![changed(&x, sum), floats(&table), ints(&positions), int(rows), int(c)];
    launches.push_flat("add_positions", rows * c, arguments);
}

/// A model's heads, and what a lane sees.
struct Heads {
    heads: usize,
    kv_heads: usize,
    d: usize,
    window: usize,
}

/// Rows of two lanes, far enough for the ring to be used again; queries and keys rotate, the last dimensions do
/// not. What is stored and attended is compared row by row.
fn attend(
    launches: &mut Launches,
    random: &mut Random,
    shape: &Heads,
    positions: usize,
    odd: Option<f32>,
) {
    let Heads { heads, kv_heads, d, window } = *shape;
    let (rows, width) = (2 * positions, (heads + 2 * kv_heads) * d);
    let pairs = d / 2 - usize::from(d > 4);
    let mut qkv = random.values(rows * width);
    if let Some(odd) = odd {
        qkv[3 * width] = odd; // a query's
        qkv[5 * width + heads * d + 1] = odd; // a key's
    }
    let lanes: Vec<i32> = (0..rows).map(|row| 1 - row as i32 % 2).collect();
    let places: Vec<i32> = (0..rows).map(|row| row as i32 / 2).collect();
    let angles = random.values(positions * pairs);
    let (cos, sin): (Vec<f32>, Vec<f32>) =
        angles.iter().map(|a| (libm::cosf(*a), libm::sinf(*a))).unzip();
    let mut rotated = qkv.clone();
    for (row, place) in rotated.chunks_exact_mut(width).zip(&places) {
        let turn = *place as usize * pairs;
        for head in row[..(heads + kv_heads) * d].chunks_exact_mut(d) {
            reference::rotate(&mut head[..2 * pairs], &cos[turn..][..pairs], &sin[turn..][..pairs]);
        }
    }
    launches.push_flat(
        "rotate",
        rows * (heads + kv_heads) * pairs,
        vec![
            changed(&qkv, rotated.clone()),
            floats(&cos),
            floats(&sin),
            ints(&places),
            int(rows),
            int(heads + kv_heads),
            int(d),
            int(pairs),
            int(width),
        ],
    );
    // All rows stored in one ring for all positions; then in a ring that is used again.
    let ring = positions.next_multiple_of(32);
    let (mut keys, mut values) =
        (vec![0u16; 2 * kv_heads * ring * d], vec![0u16; 2 * kv_heads * ring * d]);
    for ((row, &lane), &place) in rotated.chunks_exact(width).zip(&lanes).zip(&places) {
        for head in 0..kv_heads {
            let first = (lane as usize * kv_heads + head) * ring;
            let place = place as usize;
            for i in 0..d {
                let bits = |x: f32| match reference::round_bf16(x) {
                    x if x.is_nan() => 0x7fc0,
                    x => (x.to_bits() >> 16) as u16,
                };
                keys[(first + place / 32 * 32) * d + i * 32 + place % 32] =
                    bits(row[(heads + head) * d + i]);
                values[(first + place) * d + i] = bits(row[(heads + kv_heads + head) * d + i]);
            }
        }
    }
    let of_bits = |bits: &[u16]| -> Vec<u8> { bits.iter().flat_map(|x| x.to_ne_bytes()).collect() };
    let stored =
        |bits: &[u16]| Argument::Result(vec![0; 2 * bits.len()], Expected::Bytes(of_bits(bits)));
    launches.push_flat(
        "store",
        rows * kv_heads * d,
        vec![
            floats(&rotated),
            ints(&lanes),
            ints(&places),
            stored(&keys),
            stored(&values),
            int(rows),
            int(heads),
            int(kv_heads),
            int(d),
            int(ring),
        ],
    );
    let wide = |bits: u16| f32::from_bits(u32::from(bits) << 16);
    let scale = (1.0 / (d as f64).sqrt()) as f32;
    let mut expected = Vec::new();
    for (i, row) in rotated.chunks_exact(width).enumerate() {
        let (lane, place) = (lanes[i] as usize, places[i] as usize);
        let seen = (place + 1).saturating_sub(window)..place + 1;
        for head in 0..heads {
            let first = (lane * kv_heads + head / (heads / kv_heads)) * ring;
            let key =
                |at: usize| (0..d).map(move |i| (first + at / 32 * 32) * d + i * 32 + at % 32);
            let k: Vec<f32> = seen.clone().flat_map(key).map(|at| wide(keys[at])).collect();
            let value = |at: usize| values[(first + at) * d..][..d].iter().map(|&x| wide(x));
            let v: Vec<f32> = seen.clone().flat_map(value).collect();
            let q = &row[head * d..][..d];
            expected.extend(reference::attention_head([q, q], [&k, &[]], &v, scale));
        }
    }
    let room = window.min(positions);
    launches.push(
        "attention",
        [heads, rows],
        128,
        vec![
            floats(&rotated),
            ints(&lanes),
            ints(&places),
            Buffer(of_bits(&keys)),
            Buffer(of_bits(&values)),
            Argument::Result(vec![0; 4 * rows * heads * room], Expected::Words(Vec::new())),
            result(expected),
            int(0),
            int(heads),
            int(kv_heads),
            int(d),
            int(window),
            int(ring),
            float(scale),
            int(room),
        ],
    );
}

fn attention(launches: &mut Launches, random: &mut Random) {
    let shapes = [
        (Heads { heads: 1, kv_heads: 1, d: 2, window: usize::MAX >> 33 }, 5),
        (Heads { heads: 4, kv_heads: 2, d: 6, window: 9 }, 40),
        (Heads { heads: 2, kv_heads: 2, d: 132, window: 33 }, 35),
    ];
    for (shape, positions) in &shapes {
        attend(launches, random, shape, *positions, None);
    }
    // Where a model overflows: the greatest score, in its order, is lost or not.
    for odd in [f32::NAN, f32::INFINITY, f32::MAX] {
        attend(launches, random, &shapes[1].0, 40, Some(odd));
    }
}

fn counts(launches: &mut Launches, random: &mut Random) {
    for v in [1, 15, 16, 255, 256, 257, 700] {
        let mut logits = random.values(4 * v);
        logits.iter_mut().for_each(|x| *x *= 9.0);
        logits[v] = f32::INFINITY;
        logits[2 * v..3 * v].fill(-3.0);
        logits[4 * v - 1] = f32::NAN;
        let mut cumulative = Vec::new();
        let mut after = Vec::new();
        for (row, logits) in logits.chunks_exact(v).enumerate() {
            if row % 2 == 1 {
                cumulative.extend(vec![0xa5a5_a5a5; v + 1]); // untouched
                after.extend(logits);
                continue;
            }
            let mut e = logits.to_vec();
            reference::softmax_parts(&mut e);
            after.extend(e);
            let mut sum = 0;
            cumulative.push(0);
            cumulative.extend(reference::counts(logits).iter().map(|count| {
                sum += count;
                sum
            }));
        }
        let finite = Expected::Words(vec![1, 0, 1, 0]);
        let arguments = vec![
            changed(&logits, after),
            Argument::Result(vec![0xa5; 4 * cumulative.len()], Expected::Words(cumulative.clone())),
            Argument::Result(vec![0xa5; 16], finite),
            int(v),
        ];
        launches.push("counts", [4, 1], 256, arguments);
        let places = [0, v, 0, 2 * (v + 1) + v];
        let asked = places.map(|at| cumulative[at]);
        let arguments = vec![
            Buffer(bytes_of(cumulative.iter().copied())),
            Buffer(places.iter().flat_map(|&at| (at as u64).to_ne_bytes()).collect()),
            Argument::Result(vec![0; 16], Expected::Words(asked.to_vec())),
            Long(4),
        ];
        launches.push_flat("gather", 4, arguments);
    }
}

#[test]
fn kernels_give_the_bits_of_the_reference() {
    let (mut launches, random) = (Launches::default(), &mut Random::new(25));
    products(&mut launches, random);
    quantization(&mut launches, random);
    integer_products(&mut launches, random);
    norms(&mut launches, random);
    activations(&mut launches, random);
    embeddings(&mut launches, random);
    attention(&mut launches, random);
    counts(&mut launches, random);
    launches.check();
}

/// What the driver gets.
const PTX: &str = include_str!("../../src/cuda/kernels/kernels.ptx");

/// The instructions of each kernel of `ptx`, without their arguments.
fn instructions(ptx: &str) -> Vec<(&str, Vec<&str>)> {
    let mut kernels: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in ptx.lines().map(str::trim) {
        if let Some(entry) = line.strip_prefix(".visible .entry ") {
            kernels.push((entry.trim_end_matches('('), Vec::new()));
        } else if let Some((_, instructions)) = kernels.last_mut() {
            let words = line.split_whitespace().filter(|word| !word.starts_with('@'));
            let names =
                words.filter(|word| word.contains('.') && !word.starts_with(['.', '$', '[']));
            instructions.extend(names.take(1));
        }
    }
    kernels
}

/// Whether an operation on floats rounds once, to nearest, and keeps subnormals; any other operation is exact.
fn is_exact(instruction: &str) -> bool {
    let parts: Vec<&str> = instruction.split('.').collect();
    let is_float = parts.iter().any(|part| ["f32", "f64", "f16", "bf16", "f16x2"].contains(part));
    let rounds = [
        "add", "sub", "mul", "fma", "mad", "div", "sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin",
        "cos", "tanh",
    ];
    let loose = ["approx", "full", "ftz", "sat"].iter().any(|word| parts.contains(word));
    match parts[0] {
        _ if loose => false,
        "add" | "sub" | "mul" | "fma" | "div" | "sqrt" if is_float => {
            parts.contains(&"rn") && parts.contains(&"f32")
        }
        "cvt" if is_float => parts.contains(&"rn") || parts.contains(&"rzi"),
        name => !(is_float && rounds.contains(&name)),
    }
}

/// No operation approximates, flushes subnormals or leaves a rounding to the assembler, and fused ones are those that
/// were written: none in kernels without any, in the others so many as the unrolled loops have.
#[test]
fn ptx_rounds_as_the_kernels_are_written() {
    let kernels = instructions(PTX);
    let fused =
        |instructions: &[&str]| instructions.iter().filter(|i| i.starts_with("fma.")).count();
    let counted: Vec<String> = kernels
        .iter()
        .map(|(name, instructions)| format!("{name} {}", fused(instructions)))
        .collect();
    for (name, instructions) in &kernels {
        assert!(!instructions.is_empty(), "{name}");
        let odd = instructions.iter().find(|instruction| !is_exact(instruction));
        assert_eq!(odd, None, "{name}");
    }
    assert_eq!(counted.join("\n"), FUSED.trim());
    assert!(!is_exact("mul.f32") && !is_exact("div.full.f32") && !is_exact("fma.rn.ftz.f32"));
    assert!(!is_exact("mad.f32") && !is_exact("ex2.approx.f32") && !is_exact("sqrt.approx.f32"));
    assert!(is_exact("mad.lo.s32") && is_exact("fma.rn.f32") && is_exact("ld.global.f32"));
}

/// Kernels in the order of the module, with the fused operations of each.
const FUSED: &str = "
rms_norm 1
layer_norm 2
quantize 0
embed_f32 0
embed_f16 0
embed_bf16 0
embed_int8 0
add_positions 0
add 0
silu_mul 9
gelu_erf 14
gelu_tanh 10
rotate 0
store 0
attention 59
counts 45
gather 0
matmul_f32_wide 112
matmul_f32_narrow 44
matmul_f16_wide 112
matmul_f16_narrow 44
matmul_bf16_wide 112
matmul_bf16_narrow 44
matmul_w8a8_wide 16
matmul_w8a8_narrow 4
matmul_w8a16_wide 32
matmul_w8a16_narrow 8
";
