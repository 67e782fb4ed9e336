//! The codec: any bytes, any lanes, any threads, any instruction set.

mod random;

use llmzip::codec::{ChunkOptions, Coded, decode, encode};
use llmzip::models::Model;
use llmzip::ops::Isa;
use random::Random;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::default_model(Isa::detect()).unwrap())
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn code(model: &Model, plain: &[u8], lanes: Option<u8>, threads: usize) -> Coded {
    let options = ChunkOptions { lanes, mix: false, threads };
    in_pool(threads, || encode(model, plain, &options, &|_| ()).unwrap())
}

fn undo(model: &Model, coded: &Coded, len: usize, threads: usize) -> Vec<u8> {
    let Coded { method, lanes, bytes } = coded;
    in_pool(threads, || decode(model, *method, *lanes, bytes, len, threads, &|_| ()).unwrap())
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
    for lanes in [1, 2, 7, 64] {
        let coded = code(model(), &plain, Some(lanes), 1);
        assert!(coded.bytes.len() < plain.len());
        for threads in [1, 2, 3] {
            assert_eq!(undo(model(), &coded, plain.len(), threads), plain, "{threads} threads");
            assert!(code(model(), &plain, Some(lanes), threads).bytes == coded.bytes);
        }
    }
    let short = &plain[..200];
    let coded = code(model(), short, Some(3), 1);
    for isa in Isa::available() {
        let model = Model::default_model(isa).unwrap();
        assert!(
            code(&model, short, Some(3), 2).bytes == coded.bytes,
            "{isa:?} encodes other bytes"
        );
        assert_eq!(undo(&model, &coded, short.len(), 2), short, "{isa:?}");
    }
}

#[test]
fn text_longer_than_the_window_comes_back() {
    let words = ["the", "window", "slides", "over", "old", "tokens", "\r\n", "42,", "(x)", "and"];
    let mut random = Random::new(2);
    let word = |_| format!("{} ", words[random.bits() as usize % words.len()]);
    let plain: Vec<u8> = (0..2000).map(word).collect::<String>().into_bytes();
    let coded = code(model(), &plain, Some(2), 2);
    assert!(8 * coded.bytes.len() < 3 * plain.len(), "{} bytes", coded.bytes.len());
    assert_eq!(undo(model(), &coded, plain.len(), 1), plain);
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
            let lanes = Some(1 + (random.bits() % 64) as u8);
            let options = ChunkOptions { lanes, mix: false, threads: 2 };
            let coded = encode(model(), &plain, &options, &|_| ()).unwrap();
            let got = decode(model(), coded.method, coded.lanes, &coded.bytes, len, 2, &|_| ());
            assert_eq!(got.unwrap(), plain, "seed {seed}");
        }
    });
}

#[test]
fn progress_adds_up_to_the_plain_length() {
    let plain = difficult_text();
    let done = AtomicU64::new(0);
    let count = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
    let options = ChunkOptions { lanes: Some(5), mix: false, threads: 2 };
    let coded = encode(model(), &plain, &options, &count).unwrap();
    assert_eq!(done.swap(0, Ordering::Relaxed), plain.len() as u64);
    decode(model(), coded.method, coded.lanes, &coded.bytes, plain.len(), 2, &count).unwrap();
    assert_eq!(done.into_inner(), plain.len() as u64);
}

/// Damage ends in an error or in other bytes, never in a panic or without end.
#[test]
fn damaged_code_does_not_panic() {
    let plain = &difficult_text()[..150];
    let coded = code(model(), plain, Some(2), 1);
    let mut random = Random::new(4);
    for _ in 0..60 {
        let mut bytes = coded.bytes.clone();
        let at = random.bits() as usize % bytes.len();
        bytes[at] ^= 1 << (random.bits() % 8);
        if let Ok(got) = decode(model(), coded.method, coded.lanes, &bytes, plain.len(), 1, &|_| ())
        {
            assert_eq!(got.len(), plain.len());
        }
    }
}

#[test]
fn lanes_out_of_range_are_refused() {
    for lanes in [0, 65] {
        let options = ChunkOptions { lanes: Some(lanes), mix: false, threads: 1 };
        assert!(encode(model(), b"text", &options, &|_| ()).is_err());
        let method = llmzip::codec::Method::Model;
        assert!(decode(model(), method, lanes, b"", 4, 1, &|_| ()).is_err());
    }
}

/// What the coder adds to the model's own cross-entropy, which is computed here from the logits.
#[test]
fn coded_size_is_the_models_cross_entropy() {
    let plain = include_bytes!("../docs/architecture.md");
    let coded = code(model(), plain, Some(1), 1);
    let vocabulary = model().vocabulary();
    let tokens = model().tokenizer().encode(plain, vocabulary);
    let mut session = model().network().session(1, 1);
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
    let got = 8.0 * coded.bytes.len() as f64;
    assert!((got / bits - 1.0).abs() < 0.003, "{got} bits coded, cross-entropy {bits}");
}
