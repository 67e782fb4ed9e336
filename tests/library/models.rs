//! Networks: parity with transformers, and the same bits however rows are spread over calls.

use crate::random::Random;
use crate::skip::skip;
use candle_core::{DType, Device, Tensor};
use llmzip::models::{
    Architecture, Config, DEFAULT_CODE, Model, Network, Row, Session, Transformer, Weights,
};
use llmzip::ops::Isa;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn oracle(name: &str) -> PathBuf {
    root().join("tests/oracle").join(name)
}

fn shared(name: &str) -> PathBuf {
    root().join("../shared").join(name)
}

/// A network with its outputs in the order of token ids.
fn load(folder: &Path, isa: Isa) -> Transformer {
    load_with(folder, "config.json", isa)
}

fn load_with(folder: &Path, config: &str, isa: Isa) -> Transformer {
    let config = Config::parse(&std::fs::read(folder.join(config)).unwrap()).unwrap();
    let ids: Vec<u32> = (0..config.vocab_size as u32).collect();
    Transformer::load(&config, &weights(folder), &ids, isa).unwrap()
}

/// A network of any kind with its outputs in the order of token ids.
fn load_any(folder: &Path, isa: Isa) -> Box<dyn Network> {
    let json = std::fs::read(folder.join("config.json")).unwrap();
    let architecture = Architecture::parse(&json).unwrap();
    let ids: Vec<u32> = (0..architecture.vocab_size() as u32).collect();
    architecture.load(&weights(folder), &ids, isa).unwrap()
}

fn weights(folder: &Path) -> Weights<'static> {
    let weights = |e: &str| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_weights = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.starts_with("model") || name.starts_with("pytorch")) && name.ends_with(e)
        };
        entries.filter(is_weights).collect::<Vec<PathBuf>>()
    };
    Weights::open(&[weights(".safetensors"), weights(".bin")].concat()).unwrap()
}

fn integers(tensor: &Tensor) -> Vec<u32> {
    tensor.to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn rows(lane: u32, tokens: &[u32]) -> Vec<Row> {
    let row = |(position, &token)| Row { lane, position: position as u32, token };
    tokens.iter().enumerate().map(row).collect()
}

/// Logits of all of `tokens` in one lane, in one call. [T][V]
fn teacher_forced(session: &mut dyn Session, outputs: usize, tokens: &[u32]) -> Vec<f32> {
    let mut logits = vec![f32::NAN; tokens.len() * outputs];
    session.forward(&rows(0, tokens), &mut logits);
    logits
}

/// Greatest difference from the logits in `reference`, with full-precision keys and values.
fn error_against(reference: &Path, network: &Transformer) -> f32 {
    let session =
        |steps| -> Box<dyn Session> { Box::new(network.session_with::<f32>(1, steps, usize::MAX)) };
    error_in(reference, network.outputs(), session)
}

/// Greatest difference of a session's logits from those in `reference`.
fn error_in<'a>(
    reference: &Path,
    v: usize,
    session: impl FnOnce(usize) -> Box<dyn Session + 'a>,
) -> f32 {
    let file: HashMap<String, Tensor> =
        candle_core::safetensors::load(reference, &Device::Cpu).unwrap();
    let tokens = integers(&file["input_ids"]);
    let expected: Vec<f32> = file["logits"].flatten_all().unwrap().to_vec1().unwrap();
    let logits = teacher_forced(&mut *session(tokens.len()), v, &tokens);
    let positions = integers(&file["positions"]);
    let got = positions.iter().flat_map(|&p| &logits[p as usize * v..][..v]);
    assert_eq!(positions.len() * v, expected.len());
    got.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_agree_with_transformers() {
    let names = [
        "gpt-neox-parallel-f16",
        "gpt-neox-sequential-sharded",
        "gpt2",
        "llama-gqa-tied",
        "llama-gqa-untied-headdim",
        "llama-mha-untied-bf16",
        "llama-mha-untied-pickle",
        "mistral-window",
        "qwen2-tied",
        "qwen3-tied",
    ];
    for (name, folder) in names.map(|name| (name, oracle(name))) {
        let network = load(&folder, Isa::detect());
        let error = error_against(&oracle(name).join("reference.safetensors"), &network);
        println!("{name}: greatest difference {error:e}");
        assert!(error < 1e-4, "{name}: logits are off by {error:e}");
    }
}

#[test]
fn recurrent_logits_agree_with_pytorch() {
    for name in ["gru", "lstm"] {
        let network = load_any(&oracle(name), Isa::detect());
        let session = |steps| network.session(1, steps, usize::MAX);
        let reference = oracle(name).join("reference.safetensors");
        let error = error_in(&reference, network.outputs(), session);
        println!("{name}: greatest difference {error:e}");
        assert!(error < 1e-4, "{name}: logits are off by {error:e}");
    }
}

/// All of them, in full, in every form: where they are at hand.
#[test]
fn logits_of_all_reference_models_agree() {
    let Ok(folders) = std::fs::read_dir(shared("reference-models")) else {
        return skip("no ../shared/reference-models");
    };
    let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    for folder in folders {
        let reference = std::fs::read_to_string(folder.join("REFERENCE"));
        let reference = match &reference {
            Ok(name) => folder.join(name.trim()),
            Err(_) => folder.join("reference.safetensors"),
        };
        let file: HashMap<String, Tensor> =
            candle_core::safetensors::load(&reference, &Device::Cpu).unwrap();
        let tokens = integers(&file["input_ids"]);
        let logits: Vec<f64> = file["logits_f64"].flatten_all().unwrap().to_vec1().unwrap();
        let mut configs = vec!["config.json"];
        configs.extend(
            folder
                .join("config.as-saved-by-transformers.json")
                .exists()
                .then_some("config.as-saved-by-transformers.json"),
        );
        for config in configs {
            let network = load_with(&folder, config, Isa::detect());
            let v = network.outputs();
            let mut session = network.session_with::<f32>(1, 97, usize::MAX);
            let got = teacher_forced(&mut session, v, &tokens[..97]);
            assert_eq!(got.len(), logits.len());
            let errors = got.iter().zip(&logits).map(|(&a, &b)| (f64::from(a) - b).abs());
            let error = errors.fold(0.0, f64::max);
            println!("{}, {config}: greatest difference {error:e}", folder.display());
            assert!(error < 1e-4, "{}: logits are off by {error:e}", folder.display());
        }
    }
}

/// The bits of every logit of `lanes` texts, `tokens` per lane, fed `steps` positions of all lanes
/// at a time.
fn lockstep(network: &dyn Network, texts: &[Vec<u32>], steps: usize) -> Vec<Vec<u32>> {
    let v = network.outputs();
    let mut session = network.session(texts.len(), steps, usize::MAX);
    let mut bits = vec![Vec::new(); texts.len()];
    let length = texts[0].len();
    for from in (0..length).step_by(steps) {
        let to = length.min(from + steps);
        let rows: Vec<Row> = (0..texts.len() as u32)
            .flat_map(|lane| rows(lane, &texts[lane as usize]).drain(from..to).collect::<Vec<_>>())
            .collect();
        let mut logits = vec![f32::NAN; rows.len() * v];
        session.forward(&rows, &mut logits);
        for (row, logits) in rows.iter().zip(logits.chunks(v)) {
            bits[row.lane as usize].extend(logits.iter().map(|x| x.to_bits()));
        }
    }
    bits
}

/// A tiny model with a window of 24 positions, from seeded random weights.
fn tiny_with_window() -> impl Fn(Isa) -> Transformer {
    let config = br#"{"model_type": "mistral", "vocab_size": 50, "hidden_size": 40, "intermediate_size": 56,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12,
        "max_position_embeddings": 512, "sliding_window": 24, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#;
    let config = Config::parse(config).unwrap();
    let mut random = Random::new(3);
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    let mut add = |name: String, shape: &[usize]| {
        let n = shape.iter().product();
        let scale = if shape.len() == 1 { 1.0 } else { 2.0 / (shape[1] as f32).sqrt() };
        let values: Vec<f32> = random.values(n).iter().map(|x| x * scale).collect();
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    };
    add("model.embed_tokens.weight".into(), &[50, 40]);
    add("model.norm.weight".into(), &[40]);
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", &[40][..]),
            ("post_attention_layernorm", &[40]),
            ("self_attn.q_proj", &[48, 40]),
            ("self_attn.k_proj", &[24, 40]),
            ("self_attn.v_proj", &[24, 40]),
            ("self_attn.o_proj", &[40, 48]),
            ("mlp.gate_proj", &[56, 40]),
            ("mlp.up_proj", &[56, 40]),
            ("mlp.down_proj", &[40, 56]),
        ] {
            add(format!("model.layers.{layer}.{name}.weight"), shape);
        }
    }
    let path = std::env::temp_dir().join(format!("llmzip-tiny-{}.safetensors", std::process::id()));
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let file = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let ids: Vec<u32> = (0..50).collect();
    move |isa| Transformer::load(&config, &Weights::parse(&file).unwrap(), &ids, isa).unwrap()
}

fn texts(lanes: usize, length: usize, vocab: u64) -> Vec<Vec<u32>> {
    let mut random = Random::new(9);
    let mut text = || (0..length).map(|_| (random.bits() % vocab) as u32).collect();
    (0..lanes).map(|_| text()).collect()
}

/// The promise that the format rests on: teacher-forced or step by step, alone or among other
/// lanes, on every instruction set, past the window and around the ring.
#[test]
fn every_schedule_gives_the_same_bits() {
    let load = tiny_with_window();
    let all = texts(64, 150, 50);
    let expected = lockstep(&load(Isa::detect()), &all, 150);
    for isa in Isa::available() {
        let network = load(isa);
        for lanes in [1, 2, 7, 16, 64] {
            for steps in [1, 5, 24, 150] {
                if isa.name() == "scalar" && lanes > 7 {
                    continue;
                }
                let got = lockstep(&network, &all[..lanes], steps);
                assert!(got == expected[..lanes], "{isa:?}: {lanes} lanes, {steps} steps a call");
            }
        }
    }
}

#[test]
fn the_default_model_gives_the_same_bits_in_every_schedule() {
    let folder = root().join("models/default");
    let texts = texts(3, 300, 4096);
    let expected = lockstep(&load(&folder, Isa::detect()), &texts, 300);
    for isa in Isa::available().into_iter().filter(|isa| isa.name() != "scalar") {
        let network = load(&folder, isa);
        for steps in [1, 64] {
            assert!(lockstep(&network, &texts, steps) == expected, "{isa:?}, {steps} steps a call");
        }
    }
}

#[test]
fn every_family_gives_the_same_bits_in_every_schedule() {
    let names = [
        "gpt-neox-parallel-f16",
        "gpt-neox-sequential-sharded",
        "gpt2",
        "qwen2-tied",
        "qwen3-tied",
        "gru",
        "lstm",
    ];
    for name in names {
        let texts = texts(3, 90, 400);
        let expected = lockstep(&*load_any(&oracle(name), Isa::detect()), &texts, 90);
        for isa in Isa::available() {
            let network = load_any(&oracle(name), isa);
            for steps in [1, 40] {
                let got = lockstep(&*network, &texts, steps);
                assert!(got == expected, "{name}, {isa:?}, {steps} steps a call");
            }
        }
    }
}

#[test]
fn lanes_may_stand_at_different_positions() {
    let network = tiny_with_window()(Isa::detect());
    let (v, texts) = (network.outputs(), texts(2, 60, 50));
    let expected = lockstep(&network, &texts, 60);
    let mut session = network.session(2, 30, usize::MAX);
    let mut bits = vec![Vec::new(); 2];
    for (a, b) in [(0..30, 0..1), (30..31, 1..31), (31..60, 31..33), (60..60, 33..60)] {
        let mut batch = rows(0, &texts[0])[a].to_vec();
        batch.extend(&rows(1, &texts[1])[b]);
        let mut logits = vec![0.0; batch.len() * v];
        session.forward(&batch, &mut logits);
        for (row, logits) in batch.iter().zip(logits.chunks(v)) {
            bits[row.lane as usize].extend(logits.iter().map(|x| x.to_bits()));
        }
    }
    assert!(bits == expected);
}

#[test]
fn the_default_model_is_the_one_that_archives_name() {
    let model = Model::default_model(Isa::detect()).unwrap();
    assert_eq!(model.identity().builtin_code, Some(DEFAULT_CODE));
    let format = include_str!("../../docs/format.md");
    let digest = model.identity().hex();
    assert!(format.contains(&digest), "{digest} is not in docs/format.md");
}

#[test]
fn any_bytes_are_tokenised_exactly() {
    let model = Model::default_model(Isa::detect()).unwrap();
    let (tokenizer, vocabulary) = (model.tokenizer(), model.vocabulary());
    let mut random = Random::new(5);
    let mut cases: Vec<Vec<u8>> = vec![
        b"plain text, twice: plain text.\r\n\r\nCR-LF\n\n\n  spaces   \t\ttabs\0NUL".to_vec(),
        b"<|endoftext|> literal special token <|endoftext|>".to_vec(),
        "\u{1f600} caf\u{e9} \u{65e5}\u{672c}\u{8a9e} e\u{301} \u{feff}".as_bytes().to_vec(),
        "cut \u{20ac}".as_bytes()[..6].to_vec(),
        (0..=255).collect(),
        b"\xff\xfe\xed\xa0\x80 lone surrogate \xc0\xaf overlong".to_vec(),
    ];
    cases.extend((0..300).map(|i| (0..i).map(|_| random.bits() as u8).collect()));
    for case in cases {
        let ranks = tokenizer.encode(&case, vocabulary);
        let bytes: Vec<u8> = ranks.iter().flat_map(|&r| vocabulary.bytes(r)).copied().collect();
        assert_eq!(bytes, case);
    }
    assert_eq!(vocabulary.len(), 4095, "all tokens but <|endoftext|>");
    assert!(vocabulary.rank(0).is_none());
}

#[test]
fn bad_models_are_refused_with_what_was_expected() {
    let good = std::fs::read_to_string(oracle("llama-gqa-tied").join("config.json")).unwrap();
    let file = std::fs::read(oracle("llama-gqa-tied").join("model.safetensors")).unwrap();
    let message = |json: &str, file: &[u8]| -> String {
        let load = || {
            let config = Config::parse(json.as_bytes())?;
            Transformer::load(&config, &Weights::parse(file)?, &[0, 1], Isa::detect())
        };
        load().err().expect("a bad model was loaded").to_string()
    };
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let cases = [
        ("{".to_owned(), "config.json"),
        (with("\"llama\"", "\"rwkv\""), "model_type is \"rwkv\""),
        (with("\"hidden_size\": 64", "\"hidden_size\": 0"), "hidden_size is 0"),
        (with("\"hidden_size\": 64", "\"hidden_size\": 99999999"), "hidden_size is 99999999"),
        (
            with("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
            "num_key_value_heads (3)",
        ),
        (with("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), "layers.2."),
        (with("\"intermediate_size\": 176", "\"intermediate_size\": 177"), "expected [64, 177]"),
        (with("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"), "lm_head.weight"),
    ];
    for (json, expected) in cases {
        let message = message(&json, &file);
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
    assert!(message(&good, &file[..file.len() / 2]).contains("safetensors"));
    let mut not_finite = file.clone();
    let end = not_finite.len();
    not_finite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(message(&good, &not_finite).contains("NaN"));
}

#[test]
fn the_digest_of_the_default_model_is_that_of_its_files() {
    assert_eq!(Model::default_identity().digest, Model::default_files().digest());
}

#[test]
fn bad_recurrent_models_are_refused_with_what_was_expected() {
    let good = std::fs::read_to_string(oracle("gru").join("config.json")).unwrap();
    let cases = [
        ("\"gru\"", "\"lstm\"", "rnn.weight_ih_l0: shape [120, 24], expected [160, 24]"),
        ("\"hidden_size\": 40", "\"hidden_size\": 0", "hidden_size is 0"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "rnn.weight_ih_l2 is missing"),
        ("\"vocab_size\": 400", "\"vocab_size\": 401", "embedding.weight"),
        ("\"vocab_size\"", "\"bos_token_id\": 400, \"vocab_size\"", "past the vocabulary"),
    ];
    for (from, to, expected) in cases {
        let load = || {
            let architecture = Architecture::parse(good.replace(from, to).as_bytes())?;
            architecture.load(&weights(&oracle("gru")), &[0, 1], Isa::detect())
        };
        let message = load().err().expect("a bad model was loaded").to_string();
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}

/// The configuration of the oracle `name` with `changes`; null takes a key out.
fn config_with(name: &str, changes: serde_json::Value) -> Result<Config, String> {
    let text = std::fs::read(oracle(name).join("config.json")).unwrap();
    let mut json: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&text).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => drop(json.remove(key)),
            false => drop(json.insert(key.clone(), value.clone())),
        }
    }
    Config::parse(serde_json::Value::Object(json).to_string().as_bytes()).map_err(|e| e.to_string())
}

/// Of a network that llmzip does not run its family is said, and which ones it runs: not some key that
/// it has not.
#[test]
fn families_that_are_not_run_are_named() {
    for (json, named) in [
        (r#"{"model_type": "opt", "ffn_dim": 3072}"#, "\"opt\""),
        (r#"{"model_type": "olmo2", "rms_norm_eps": 1e-6}"#, "\"olmo2\""),
        (r#"{"model_type": "starcoder2", "norm_epsilon": 1e-5}"#, "\"starcoder2\""),
        (r#"{"model_type": "mamba", "state_size": 16}"#, "\"mamba\""),
        (r#"{"model_type": "bloom", "n_embed": 64}"#, "\"bloom\""),
        (r#"{"model_type": "mpt", "d_model": 64}"#, "\"mpt\""),
        (r#"{"model_type": "llava", "text_config": {"model_type": "llama"}}"#, "\"llava\""),
        (r#"{"d_model": 768, "ssm_cfg": {}}"#, "null"),
    ] {
        let error = Architecture::parse(json.as_bytes()).err().unwrap().to_string();
        assert!(error.contains(&format!("model_type is {named}, expected gpt_neox")), "{error}");
        assert!(error.contains("lstm"), "{error}");
    }
}

#[test]
fn spellings_of_a_key_are_taken_where_they_agree() {
    use serde_json::json;
    let gpt2 = config_with("gpt2", json!({})).unwrap();
    let keys = json!({
        "n_embd": gpt2.hidden_size, "hidden_size": gpt2.hidden_size,
        "n_layer": null, "num_hidden_layers": gpt2.layers,
        "n_inner": gpt2.intermediate_size, "intermediate_size": gpt2.intermediate_size,
    });
    let both = config_with("gpt2", keys).unwrap();
    assert_eq!((both.hidden_size, both.layers), (gpt2.hidden_size, gpt2.layers));
    let error = config_with("gpt2", json!({"n_embd": 64, "hidden_size": 65})).unwrap_err();
    assert!(error.contains("hidden_size is 65, but n_embd is 64"), "{error}");
    for (bos, first) in [
        (json!([7]), 7),
        (json!([7, 7]), 7),
        (json!(-1), 0),
        (json!([]), 0),
        (json!(null), 0),
        (json!(9), 9),
    ] {
        let config = config_with("llama-gqa-tied", json!({ "bos_token_id": bos.clone() }));
        assert_eq!(config.unwrap().first_token, first, "{bos}");
    }
    for bos in [json!([7, 8]), json!("<s>"), json!(1.5), json!(1u64 << 40)] {
        let error = config_with("llama-gqa-tied", json!({ "bos_token_id": bos })).unwrap_err();
        assert!(error.contains("expected one token"), "{error}");
    }
    let text = std::fs::read(oracle("llama-gqa-tied").join("config.json")).unwrap();
    Architecture::parse(&[b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
}

/// A window that only some layers have is refused: with it on every layer, the model would be worse,
/// and nobody told.
#[test]
fn a_sliding_window_is_that_of_all_layers_or_refused() {
    use serde_json::json;
    let with = |changes: serde_json::Value| {
        let mut all = json!({"use_sliding_window": true, "sliding_window": 24});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        config_with("qwen3-tied", all).map(|config| config.sliding_window)
    };
    let (full, sliding) = ("full_attention", "sliding_attention");
    assert_eq!(with(json!({"max_window_layers": 0})), Ok(Some(24)));
    assert_eq!(with(json!({"max_window_layers": 2})), Ok(None));
    assert_eq!(with(json!({})), Ok(None), "28 layers have none by default");
    assert_eq!(with(json!({"use_sliding_window": false, "max_window_layers": 1})), Ok(None));
    assert_eq!(with(json!({"layer_types": [sliding, sliding]})), Ok(Some(24)));
    assert_eq!(with(json!({"layer_types": [full, full]})), Ok(None));
    for mixed in [json!({"max_window_layers": 1}), json!({"layer_types": [full, sliding]})] {
        let error = with(mixed).unwrap_err();
        assert!(error.contains("1 of 2 layers have a sliding window"), "{error}");
    }
    let error = with(json!({"layer_types": [full, "linear_attention"]})).unwrap_err();
    assert!(error.contains("linear_attention"), "{error}");
}

/// Weights with an output head of their own are not tied, whatever their configuration says.
#[test]
fn a_head_of_its_own_counts() {
    let folder = oracle("llama-mha-untied-bf16");
    let untied = config_with("llama-mha-untied-bf16", serde_json::json!({})).unwrap();
    let tied = serde_json::json!({"tie_word_embeddings": true});
    let tied = config_with("llama-mha-untied-bf16", tied).unwrap();
    assert!(tied.tied && !untied.tied);
    let ids: Vec<u32> = (0..untied.vocab_size as u32).collect();
    let texts = texts(1, 20, untied.vocab_size as u64);
    let [found, expected] = [tied, untied].map(|config| {
        let network = Transformer::load(&config, &weights(&folder), &ids, Isa::detect()).unwrap();
        lockstep(&network, &texts, 20)
    });
    assert!(found == expected);
}
