//! A model of some hundred thousand random weights, with a tokenizer of single bytes and of the words
//! of one sentence: only texts of these words shrink by the language model alone.

use std::fs;
use std::path::{Path, PathBuf};

/// What `tests/oracle` has of a model.
const CONFIG: &[u8] = include_bytes!("../oracle/llama-gqa-tied/config.json");
const WEIGHTS: &[u8] = include_bytes!("../oracle/llama-gqa-tied/model.safetensors");

/// GPT-2's stand-ins for bytes, in order: printable ones for themselves, the others from U+0100 on.
fn stand_ins() -> Vec<char> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut others = (0x100u32..).filter_map(char::from_u32);
    (0..=255).map(|b| if printable(b) { char::from(b) } else { others.next().unwrap() }).collect()
}

/// Words that are a token each, spelled by stand-ins.
const WORDS: [&str; 5] = ["the", "\u{120}same", "\u{120}words", "\u{120}and", "\u{120}again"];

fn tokenizer() -> Vec<u8> {
    let mut merges = Vec::new();
    let mut tokens: Vec<String> = stand_ins().into_iter().map(String::from).collect();
    for word in WORDS {
        for (at, last) in word.char_indices().skip(1) {
            let merged = word[..at + last.len_utf8()].to_owned();
            if !tokens.contains(&merged) {
                merges.push(format!("{} {last}", &word[..at]));
                tokens.push(merged);
            }
        }
    }
    let ids = tokens.into_iter().enumerate().map(|(id, token)| (token, id.into()));
    let vocab: serde_json::Map<String, serde_json::Value> = ids.collect();
    let byte_level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
    });
    let json = serde_json::json!({
        "version": "1.0",
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": merges }
    });
    json.to_string().into_bytes()
}

/// The model's files: name and bytes.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("config.json", CONFIG.to_vec()),
        ("model.safetensors", WEIGHTS.to_vec()),
        ("tokenizer.json", tokenizer()),
    ]
}

/// The same with one bit of a weight changed.
pub fn files_with_one_bit_changed() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = files();
    let weights = &mut files[1].1;
    let end = weights.len();
    weights[end - 4] ^= 1; // the lowest bit of the last float
    files
}

/// Writes `files` into `folder`.
pub fn write(folder: &Path, files: &[(&str, Vec<u8>)]) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    folder.to_owned()
}

/// What names the model of `files`: BLAKE3 over length and bytes of each, in order.
pub fn digest(files: &[(&str, Vec<u8>)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (_, bytes) in files {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hasher.finalize().to_hex().to_string()
}
