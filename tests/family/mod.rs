//! Models of every family, small and random, in folders as a person would have them.

use std::path::{Path, PathBuf};

/// Names of oracles (`tests/oracle`).
pub const FAMILIES: [&str; 8] = [
    "gpt-neox-parallel-f16",
    "gpt-neox-sequential-sharded",
    "gpt2",
    "llama-gqa-tied",
    "llama-mha-untied-pickle",
    "qwen3-tied",
    "gru",
    "lstm",
];

/// A byte-level BPE: a special token, then all bytes, then a few words.
fn tokenizer() -> String {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut stand_ins = ('\u{100}'..).take(68);
    let chars = (0..=255u8).map(|b| match printable(b) {
        true => char::from(b),
        false => stand_ins.next().unwrap(),
    });
    let mut tokens = vec!["<|endoftext|>".to_owned()];
    tokens.extend(chars.map(String::from));
    let merges = [["t", "h"], ["th", "e"], ["\u{120}", "the"], ["a", "n"], ["an", "d"], ["i", "n"]];
    tokens.extend(merges.iter().map(|pair| pair.concat()));
    let vocab: serde_json::Map<_, _> =
        tokens.into_iter().zip(0..).map(|(token, id)| (token, serde_json::json!(id))).collect();
    serde_json::json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false}
    })
    .to_string()
}

/// The oracle's model `name` with a tokenizer, in a folder of its own.
pub fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name);
    for entry in std::fs::read_dir(oracle).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer()).unwrap();
    folder
}
