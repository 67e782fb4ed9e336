//! The codec: any bytes, any lanes, any threads, any instruction set.

use crate::random::Random;
use llmzip::ErrorKind;
use llmzip::codec::{ChunkOptions, Codec, Coded, Coding, Method, decode, decode_all, encode};
use llmzip::models::Model;
use llmzip::ops::Isa;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::default_model(Isa::detect()).unwrap())
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// By the language model alone, or mixed.
fn options(lanes: u8, mix: bool) -> ChunkOptions {
    ChunkOptions { level: 6, lanes: Some(lanes), mix }
}

fn code(model: &Model, plain: &[u8], options: &ChunkOptions, threads: usize) -> Coded<'static> {
    in_pool(threads, || encode(Codec::new(model, threads), plain, options).unwrap())
}

fn undo(model: &Model, coded: &Coded<'_>, threads: usize) -> Vec<u8> {
    in_pool(threads, || decode(Codec::new(model, threads), coded).unwrap())
}

/// Text of every kind that tokenisers stumble over, about 1,500 bytes.
fn difficult_text() -> Vec<u8> {
    let mut text = b"The archive was closed in 1923; nobody re-opened it.\r\n\r\n\tfor (i = 0; i < n; i++) {\n\n\n".to_vec();
    text.extend(
        "na\u{ef}ve \u{65e5}\u{672c}\u{8a9e} \u{1f600} \u{feff}<|endoftext|> caf\u{e9} "
            .repeat(4)
            .bytes(),
    );
    text.extend(0..=255u8);
    text.extend(b"\xff\xfe\xed\xa0\x80\0\0\0   \xe2\x82");
    text.extend(b"{\"id\": 17, \"name\": \"x\"},\n".repeat(20));
    text
}

#[test]
fn lanes_threads_and_instruction_sets_decode_each_other() {
    let plain = difficult_text();
    for (lanes, mix) in [(1, true), (2, false), (7, true), (64, true), (64, false)] {
        let coded = code(model(), &plain, &options(lanes, mix), 1);
        assert!(coded.payload.len() < plain.len());
        for threads in [1, 2, 3] {
            assert_eq!(undo(model(), &coded, threads), plain, "{threads} threads");
            assert!(code(model(), &plain, &options(lanes, mix), threads).payload == coded.payload);
        }
    }
    let short = &plain[..200];
    for mix in [false, true] {
        let coded = code(model(), short, &options(3, mix), 1);
        for isa in Isa::available() {
            let model = Model::default_model(isa).unwrap();
            let again = code(&model, short, &options(3, mix), 2);
            assert!(again.payload == coded.payload, "{isa:?} encodes other bytes");
            assert_eq!(undo(&model, &coded, 2), short, "{isa:?}");
        }
    }
}

#[test]
fn text_longer_than_the_window_comes_back() {
    let words = ["the", "window", "slides", "over", "old", "tokens", "\r\n", "42,", "(x)", "and"];
    let mut random = Random::new(2);
    let word = |_| format!("{} ", words[random.bits() as usize % words.len()]);
    let plain: Vec<u8> = (0..2000).map(word).collect::<String>().into_bytes();
    let coded = code(model(), &plain, &options(2, true), 2);
    assert!(8 * coded.payload.len() < 3 * plain.len(), "{} bytes", coded.payload.len());
    assert_eq!(undo(model(), &coded, 1), plain);
}

/// Small inputs of several families, cut anywhere; seeds are fixed, so a failure repeats.
#[test]
fn random_small_inputs_come_back() {
    let count: u64 = std::env::var("LLMZIP_TEST_INPUTS").map_or(400, |n| n.parse().unwrap());
    let text = difficult_text();
    in_pool(2, || {
        for seed in 0..count {
            let mut random = Random::new(seed);
            let len = 1 + (random.bits() % 60) as usize;
            let start = random.bits() as usize % (text.len() - len);
            let plain: Vec<u8> = match seed % 4 {
                0 => (0..len).map(|_| random.bits() as u8).collect(),
                1 => text[start..start + len].to_vec(),
                2 => vec![random.bits() as u8; len],
                _ => (0..len)
                    .map(|_| b"ab \xe2\x82\xac\r\n<|"[random.bits() as usize % 10])
                    .collect(),
            };
            let lanes = 1 + (random.bits() % 64) as u8;
            let level = 1 + (random.bits() % 9) as u8;
            let mix = !random.bits().is_multiple_of(4);
            let options = ChunkOptions { level, ..options(lanes, mix) };
            let coded = encode(Codec::new(model(), 2), &plain, &options).unwrap();
            let got = decode(Codec::new(model(), 2), &Coded { plain_len: len, ..coded.clone() });
            assert_eq!(got.unwrap(), plain, "seed {seed}");
        }
    });
}

#[test]
fn progress_adds_up_to_the_plain_length() {
    let plain = difficult_text();
    let done = AtomicU64::new(0);
    let count = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
    for level in [1, 6, 9] {
        let options = ChunkOptions { level, ..options(5, true) };
        let codec = Codec { progress: &count, ..Codec::new(model(), 2) };
        let coded = encode(codec, &plain, &options).unwrap();
        assert_eq!(done.swap(0, Ordering::Relaxed), plain.len() as u64, "level {level}");
        decode(codec, &coded).unwrap();
        assert_eq!(done.swap(0, Ordering::Relaxed), plain.len() as u64, "level {level}");
    }
}

/// Damage ends in an error or in other bytes, never in a panic or without end.
#[test]
fn damaged_code_does_not_panic() {
    let plain = &difficult_text()[..150];
    let coded = code(model(), plain, &options(2, true), 1);
    let mut random = Random::new(4);
    for _ in 0..60 {
        let mut bytes = coded.payload.to_vec();
        let at = random.bits() as usize % bytes.len();
        bytes[at] ^= 1 << (random.bits() % 8);
        let damaged = Coded { payload: bytes.into(), ..coded.clone() };
        if let Ok(got) = decode(Codec::new(model(), 1), &damaged) {
            assert_eq!(got.len(), plain.len());
        }
    }
}

#[test]
fn chunks_decoded_together_are_those_decoded_alone() {
    let text = difficult_text();
    let chunk = |i: usize| {
        let plain = &text[i * 37..][..[1, 40, 300, 7, 90][i % 5]];
        let options = ChunkOptions {
            level: if i % 6 == 3 { 1 } else { 6 },
            ..options([1, 3, 2][i % 3], !i.is_multiple_of(4))
        };
        (plain, code(model(), plain, &options, 1))
    };
    let chunks: Vec<_> = (0..18).map(chunk).collect();
    let mut damaged = chunks[4].1.payload.to_vec();
    damaged.truncate(damaged.len() / 2);
    damaged.iter_mut().for_each(|byte| *byte ^= 0x5A);
    for threads in 1..=3 {
        let mut codes: Vec<Coded<'_>> = chunks.iter().map(|(_, coded)| coded.clone()).collect();
        let decoded = in_pool(threads, || decode_all(Codec::new(model(), threads), &codes));
        for ((plain, _), decoded) in chunks.iter().zip(decoded) {
            assert_eq!(decoded.unwrap(), *plain, "{threads} threads");
        }
        codes[4].payload = damaged.clone().into();
        codes[7].coding.lanes = 65;
        let alone = codes[4].clone();
        let decoded = in_pool(threads, || decode_all(Codec::new(model(), threads), &codes));
        assert!(decoded[7].is_err());
        let alone = decode(Codec::new(model(), 1), &alone).map_err(|e| e.to_string());
        for (i, ((plain, _), decoded)) in chunks.iter().zip(decoded).enumerate() {
            match i {
                4 => assert_eq!(decoded.map_err(|e| e.to_string()), alone),
                7 => (),
                _ => assert_eq!(decoded.unwrap(), *plain, "{threads} threads, chunk {i}"),
            }
        }
    }
}

#[test]
fn lanes_out_of_range_are_refused() {
    for lanes in [0, 65] {
        assert!(encode(Codec::new(model(), 1), b"text", &options(lanes, true)).is_err());
        let coding = Coding { method: Method::Model, lanes };
        let code = Coded { coding, plain_len: 4, payload: Vec::new().into() };
        assert!(decode(Codec::new(model(), 1), &code).is_err());
    }
}

/// What the coder adds to the model's own cross-entropy, which is computed here from the logits.
#[test]
fn coded_size_is_the_models_cross_entropy() {
    let plain = include_bytes!("../../docs/architecture.md");
    let coded = code(model(), plain, &options(1, false), 1);
    let vocabulary = model().vocabulary();
    let tokens = model().tokenizer().encode(plain, vocabulary);
    let mut session = model().network().session(1, 1, usize::MAX);
    let mut logits = vec![0.0; vocabulary.len()];
    let mut previous = model().first_token();
    let mut bits = 0.0;
    for (position, &rank) in (0..).zip(&tokens) {
        let row = llmzip::models::Row { lane: 0, position, token: previous };
        session.forward(&[row], &mut logits);
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
        bits += (sum.ln() - f64::from(logits[rank as usize] - max)) / std::f64::consts::LN_2;
        previous = vocabulary.id(rank);
    }
    let got = 8.0 * coded.payload.len() as f64;
    assert!((got / bits - 1.0).abs() < 0.003, "{got} bits coded, cross-entropy {bits}");
}

/// Each way to code wins somewhere, and the choice is by size.
#[test]
fn the_smaller_way_to_code_is_taken() {
    let text = include_bytes!("../../docs/architecture.md");
    let records: Vec<u8> = (0..4000u32).flat_map(|i| [7, 0, (i / 50) as u8, 0xf3]).collect();
    let mut random = Random::new(8);
    let noise: Vec<u8> = (0..40_000).map(|_| random.bits() as u8).collect();
    for level in [6, 9] {
        let options = ChunkOptions { level, lanes: None, mix: true };
        assert_eq!(code(model(), text, &options, 2).coding.method, Method::Mixed);
        assert_eq!(code(model(), &records, &options, 2).coding.method, Method::Adaptive);
        let coded = code(model(), &noise[..if level == 9 { 2_000 } else { 40_000 }], &options, 2);
        assert_eq!(coded.coding.method, Method::Adaptive, "level {level}");
    }
    let options = ChunkOptions { level: 1, lanes: None, mix: true };
    assert_eq!(code(model(), text, &options, 2).coding.method, Method::Adaptive);
}

/// The language model helps little with letters of a genome, and its tokens cost.
#[test]
fn a_higher_level_never_loses_to_a_lower_one() {
    let mut random = Random::new(9);
    let letters = (0..40_000).map(|i| match i % 70 {
        69 => b'\n',
        _ => b"ACGT"[random.bits() as usize % 4],
    });
    let genome: Vec<u8> = letters.collect();
    let len = |level| {
        let options = ChunkOptions { level, lanes: None, mix: true };
        code(model(), &genome, &options, 2).payload.len()
    };
    let (fast, default) = (len(3), len(6));
    assert!(default <= fast, "{default} bytes at level 6, {fast} at level 3");
}

#[test]
fn parameters_of_adaptive_chunks_are_checked() {
    let plain = b"abcabcabcabcabcabcabcabcabc";
    let coded = code(model(), plain, &ChunkOptions { level: 2, ..options(1, true) }, 1);
    let bytes = &coded.payload;
    let with = |parameters: u8| {
        let payload = [&[parameters][..], &bytes[1..]].concat().into();
        decode(Codec::new(model(), 1), &Coded { payload, ..coded.clone() })
    };
    assert_eq!(with(bytes[0]).unwrap(), plain);
    for bad in [9 << 2, 27 << 2, 63 << 2] {
        assert_eq!(with(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:#04x}");
    }
    let bad = |lanes, payload: &[u8]| {
        let coding = Coding { lanes, ..coded.coding };
        let code = Coded { coding, payload: payload.to_vec().into(), ..coded.clone() };
        decode(Codec::new(model(), 1), &code).is_err()
    };
    assert!(bad(2, bytes) && bad(1, &[]));
}
