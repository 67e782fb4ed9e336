//! Archives made with models of every family, from folders as a person would have them.

use crate::family::{FAMILIES, folder};
use crate::skip::skip;
use candle_core::{Device, Tensor};
use llmzip::archive::{self, Options};
use llmzip::codec::{self, ChunkOptions, Codec, Parameters};
use llmzip::models::{Context, Model, RestartingSession, Row, Session};
use llmzip::ops::Isa;
use std::path::Path;
use std::sync::Arc;

/// Positions of a context short enough to restart in; recurrent networks know none.
fn context(name: &str, len: u32) -> Option<u32> {
    (name != "gru" && name != "lstm").then_some(len)
}

fn open(name: &str, isa: Isa) -> Arc<Model> {
    Arc::new(Model::open_on(folder(name).path(), isa).unwrap())
}

fn text() -> Vec<u8> {
    let line = "the cat and the hat in the \u{e9}t\u{e9}, again and again.\r\n";
    [line.repeat(20).as_bytes(), b"\xff\x00<|endoftext|>", line.as_bytes()].concat()
}

fn compress(plain: &[u8], model: &Model, options: &Options) -> Vec<u8> {
    let mut packed = Vec::new();
    archive::compress(plain, &mut packed, model, options, &|_| ()).unwrap();
    packed
}

fn decompress(packed: &[u8], model: &Arc<Model>, threads: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    let options = Options::default().threads(threads);
    archive::decompress(packed, &mut plain, model, &options, &|_| ()).unwrap();
    plain
}

/// Far past the context, on every instruction set, by any number of threads, with a prefix.
#[test]
fn every_family_round_trips_to_the_same_bytes() {
    for name in FAMILIES {
        let model = open(name, Isa::detect());
        for (lanes, mix, prefix) in
            [(1, true, &b""[..]), (5, false, b"the cat, "), (5, true, b"the")]
        {
            let options = Options::default()
                .lanes(lanes)
                .mix(mix)
                .prefix(prefix)
                .context(context(name, 24))
                .verify(false);
            let packed = compress(&text(), &model, &options);
            assert!(decompress(&packed, &model, 1) == text(), "{name}, {lanes} lanes");
            assert!(decompress(&packed, &model, 3) == text(), "{name}, {lanes} lanes, 3 threads");
            let threads = options.clone().threads(2);
            assert!(compress(&text(), &model, &threads) == packed, "{name}, {lanes} lanes");
        }
        for isa in Isa::available() {
            let options = Options::default().context(context(name, 24)).mix(false);
            let short = &text()[..300];
            let packed = compress(short, &open(name, isa), &options);
            assert!(decompress(&packed, &model, 1) == short, "{name}, {isa:?}");
        }
    }
}

/// A prefix that says what comes makes it smaller, and the archive knows it.
#[test]
fn a_prefix_stands_in_the_archive() {
    let model = Arc::new(Model::default_model(Isa::detect()).unwrap());
    let plain = b"The lighthouse keeper wrote in his diary that the wind had turned.";
    let alone = compress(plain, &model, &Options::default());
    let prefix = b"The lighthouse keeper wrote in his diary every evening.";
    let options = Options::default().prefix(prefix);
    let with_prefix = compress(plain, &model, &options);
    let streams = archive::list(std::io::Cursor::new(&with_prefix)).unwrap();
    assert_eq!(streams[0].prefix_len, prefix.len() as u64);
    let twice = options.clone().chunk_size(33);
    let alone_twice = compress(plain, &model, &twice.clone().prefix(b""));
    let payload = |packed: &[u8]| {
        let streams = archive::list(std::io::Cursor::new(packed)).unwrap();
        streams[0].chunks.iter().map(|chunk| chunk.archive_len).sum::<u64>()
    };
    assert!(payload(&compress(plain, &model, &twice)) < payload(&alone_twice));
    assert!(with_prefix.len() < alone.len() + prefix.len());
    assert_eq!(decompress(&with_prefix, &model, 1), plain);
}

/// -log2 of the probability that a softmax of `logits` gives to `target`.
fn bits(logits: &[f32], target: u32) -> f64 {
    let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
    (sum.ln() - f64::from(logits[target as usize])) / std::f64::consts::LN_2
}

/// `--no-mix` costs what the model's cross-entropy says: at most a thousandth and a few bytes more.
#[test]
fn coded_size_is_the_cross_entropy() {
    let plain = text().repeat(4);
    for name in FAMILIES {
        let model = open(name, Isa::detect());
        let (network, vocabulary) = (model.network(), model.vocabulary());
        let ranks = model.tokenizer().encode(&plain, vocabulary);
        let context = context(name, 64).map(Context::new);
        let mut session: Box<dyn Session> = match context {
            Some(context) => {
                Box::new(RestartingSession::new(network, 1, ranks.len(), usize::MAX, context))
            }
            None => network.session(1, ranks.len(), usize::MAX),
        };
        let inputs = ranks[..ranks.len() - 1].iter().map(|&rank| vocabulary.id(rank));
        let inputs = std::iter::once(model.first_token()).chain(inputs);
        let row = |(position, token)| Row { lane: 0, position, token };
        let rows: Vec<Row> = (0..).zip(inputs).map(row).collect();
        let v = network.outputs();
        let mut logits = vec![0.0; rows.len() * v];
        session.forward(&rows, &mut logits);
        let costs = logits.chunks(v).zip(&ranks).map(|(logits, &rank)| bits(logits, rank));
        let expected = costs.sum::<f64>() / 8.0;
        let parameters = Parameters { context, ..Parameters::default() };
        let codec = Codec { parameters: &parameters, ..Codec::new(&model, 1) };
        let options = ChunkOptions { level: 6, lanes: Some(1), mix: false };
        let coded = codec::encode(codec, &plain, &options).unwrap();
        println!("{name}: {} bytes, cross-entropy {expected:.1}", coded.payload.len());
        assert!(coded.payload.len() as f64 <= 1.001 * expected + 1.0, "{name}");
    }
}

/// After a start the network sees the last inputs as if they were the first.
#[test]
fn a_lane_that_starts_afresh_is_a_new_lane() {
    let model = open("gpt2", Isa::detect());
    let (network, v) = (model.network(), model.network().outputs());
    let context = Context { len: 20, overlap: 6 };
    let tokens: Vec<u32> = (0..50).map(|i| i * 7 % 250).collect();
    let rows = |range: std::ops::Range<usize>, first: usize| -> Vec<Row> {
        let row = |at: usize| Row { lane: 0, position: (at - first) as u32, token: tokens[at] };
        range.map(row).collect()
    };
    let mut restarting = RestartingSession::new(network, 1, 50, 50, context);
    let mut all = vec![0.0; 50 * v];
    restarting.forward(&rows(0..50, 0), &mut all);
    // Starts: inputs 0..20, then 14..34, then 28..48, then 42..
    for (first, from, to) in [(0, 0, 20), (14, 20, 34), (28, 34, 48), (42, 48, 50)] {
        let mut fresh = vec![0.0; (to - first) * v];
        network.session(1, 50, usize::MAX).forward(&rows(first..to, first), &mut fresh);
        assert!(fresh[(from - first) * v..] == all[from * v..to * v], "from {from}");
    }
    let mut stepwise = RestartingSession::new(network, 1, 1, 50, context);
    for at in 0..50 {
        let mut logits = vec![0.0; v];
        stepwise.forward(&rows(at..at + 1, 0), &mut logits);
        assert!(logits == all[at * v..][..v], "step {at}");
    }
}

/// A lane that was copied goes on as one that was fed the same, before and after its ring of positions
/// is used up.
#[test]
fn lanes_are_copied() {
    for name in FAMILIES {
        let model = open(name, Isa::detect());
        let network = model.network();
        let restarting = |_| -> Box<dyn Session> {
            let context = Context { len: 20, overlap: 6 };
            Box::new(RestartingSession::new(network, 3, 1, usize::MAX, context))
        };
        for fed in [7, 45] {
            go_on_alike(name, network.outputs(), fed, [0, 1].map(|_| network.session(3, 1, 9)));
            if context(name, 20).is_some() {
                go_on_alike(name, network.outputs(), fed, [0, 1].map(restarting));
            }
        }
    }
}

fn go_on_alike(name: &str, v: usize, fed: u32, sessions: [Box<dyn Session + '_>; 2]) {
    let [mut copied, mut both] = sessions;
    let row = |lane, position: u32| Row { lane, position, token: position * 7 % 250 };
    for position in 0..fed {
        copied.forward(&[row(0, position)], &mut []);
        both.forward(&[row(0, position), row(2, position)], &mut []);
    }
    copied.copy_lane(0, 2, fed as usize);
    for position in fed..fed + 10 {
        let rows = [row(0, position), row(2, position)];
        let [mut found, mut expected] = [(); 2].map(|()| vec![0.0; 2 * v]);
        copied.forward(&rows, &mut found);
        both.forward(&rows, &mut expected);
        assert!(found == expected, "{name}: position {position} after {fed}");
    }
}

/// What is wrong with a model's folder is said with the file's or tensor's name.
#[test]
fn bad_folders_are_refused() {
    let message = |folder: &tempfile::TempDir| {
        Model::open_on(folder.path(), Isa::detect())
            .err()
            .expect("a bad folder was opened")
            .to_string()
    };
    let without = |name: &str, file: &str| {
        let folder = folder(name);
        std::fs::remove_file(folder.path().join(file)).unwrap();
        message(&folder)
    };
    assert!(without("gpt2", "config.json").contains("config.json"));
    assert!(without("gpt2", "model.safetensors").contains("model.safetensors"));
    assert!(without("gpt2", "tokenizer.json").contains("tokenizer.json"));
    let shard = "model-00002-of-00004.safetensors";
    assert!(without("gpt-neox-sequential-sharded", shard).contains(shard));
    for name in ["../model.safetensors", "/etc/passwd", "a/b"] {
        let folder = folder("gpt-neox-sequential-sharded");
        let index = serde_json::json!({"weight_map": {"x": name}}).to_string();
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        assert!(message(&folder).contains("names the shard"), "{name}");
    }
    let folder = folder("llama-mha-untied-pickle");
    let path = folder.path().join("pytorch_model.bin");
    let pickle = std::fs::read(&path).unwrap();
    std::fs::write(&path, &pickle[..pickle.len() / 2]).unwrap();
    assert!(message(&folder).contains("pytorch_model.bin"));
}

/// What llmzip cannot run at all is said before what a folder lacks.
#[test]
fn another_family_is_named_before_what_is_missing() {
    for family in ["opt", "olmo", "starcoder2", "mamba", "rwkv", "bloom", "mpt", "llava"] {
        let folder = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"model_type": family, "vocab_size": 100}).to_string();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let message = Model::open_on(folder.path(), Isa::detect()).err().unwrap().to_string();
        let expected = format!("model_type is \"{family}\", expected gpt_neox, gpt2, llama");
        assert!(message.contains(&expected), "{message}");
    }
}

/// Every byte of every file counts in the name of a model.
#[test]
fn one_bit_of_a_weight_is_another_model() {
    let folder = folder("gpt2");
    let digest = || Model::open_on(folder.path(), Isa::detect()).unwrap().identity().digest;
    let before = digest();
    let path = folder.path().join("model.safetensors");
    let mut weights = std::fs::read(&path).unwrap();
    let last = weights.len() - 4;
    weights[last] ^= 1;
    std::fs::write(&path, weights).unwrap();
    assert_ne!(digest(), before);
    let tensor = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    let tensors = std::collections::HashMap::from([("wte.weight".to_owned(), tensor)]);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let error = Model::open_on(folder.path(), Isa::detect()).err().unwrap().to_string();
    assert!(error.contains("wpe.weight") || error.contains("wte.weight"), "{error}");
}

/// Lanes that would not fit are refused before anything is allocated for them.
#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let model = open("gpt-neox-parallel-f16", Isa::detect());
    let options = Options::default().mix(false);
    let packed = compress(&text(), &model, &options);
    let with = |memory| {
        let options = Options::default().memory(memory);
        archive::decompress(&packed[..], std::io::sink(), &model, &options, &|_| ())
    };
    let footprint = model.architecture().footprint();
    let error = with(footprint.weights + 1000).unwrap_err();
    assert_eq!(error.kind(), llmzip::ErrorKind::MemoryExceeded);
    let all = footprint.weights + footprint.session(64, 256, 64);
    assert_eq!(with(all).unwrap().plain_len, text().len() as u64);
}

/// Trained weights: the cost that their README gives for a text, by transformers in binary32.
#[test]
fn a_trained_llama_costs_what_transformers_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/real-weights/stories260K");
    if !folder.exists() {
        return skip("no ../shared/real-weights/stories260K");
    }
    let model = Model::open_on(&folder, Isa::detect()).unwrap();
    // The space that SentencePiece puts before a text is given here.
    let text = " Once upon a time, there was a little girl named Lily. She loved to play outside in the park \
        with her friends. One day, she saw a big dog and she was scared. The dog wanted to play with her ball, \
        so she smiled and threw it.";
    let vocabulary = model.vocabulary();
    let ranks = model.tokenizer().encode(text.as_bytes(), vocabulary);
    assert_eq!(ranks.len(), 76);
    let inputs = ranks.iter().map(|&rank| vocabulary.id(rank));
    let inputs = std::iter::once(model.first_token()).chain(inputs).take(ranks.len());
    let row = |(position, token)| Row { lane: 0, position, token };
    let rows: Vec<Row> = (0..).zip(inputs).map(row).collect();
    let v = model.network().outputs();
    let mut logits = vec![0.0; rows.len() * v];
    model.network().session(1, rows.len(), usize::MAX).forward(&rows, &mut logits);
    let costs = logits.chunks(v).zip(&ranks).map(|(logits, &rank)| bits(logits, rank));
    let got = costs.sum::<f64>();
    println!("{got:.2} bits");
    // Keys and values are in bfloat16 here, and tokens that cannot be coded take no part.
    assert!((got - 82.25).abs() < 0.5, "{got} bits, expected 82.25");
}
