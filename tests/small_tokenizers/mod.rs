//! Small tokenizers of every layout, written from a few words.

use llmzip::models::TokenizerFile;
use serde_json::{Value, json};

/// Words that byte-level tokenizers have tokens for.
const WORDS: [&str; 12] = [
    " the",
    " and",
    "the",
    "ing",
    "    ",
    "\n\n",
    " 12",
    "\u{e9}",
    "'s",
    "\u{65e5}\u{672c}",
    "\r\n",
    " caf\u{e9}",
];

/// Pieces that SentencePiece's tokenizers have besides single characters.
const PIECES: [&str; 8] =
    ["\u{2581}the", "\u{2581}and", "the", "ing", "\u{2581}\u{2581}", "caf", "\u{2581}12", "12"];

pub const SPECIAL: &str = "<|endoftext|>";

/// The files of a tokenizer.
pub enum Files {
    Json(Value),
    Model(Vec<u8>),
    Bpe { vocab: Value, merges: String, config: Option<Value> },
}

impl Files {
    /// Calls `read` with the files as bytes.
    pub fn with<T>(&self, read: impl FnOnce(TokenizerFile<'_>) -> T) -> T {
        match self {
            Self::Json(json) => read(TokenizerFile::Json(json.to_string().as_bytes())),
            Self::Model(model) => read(TokenizerFile::SentencePiece(model)),
            Self::Bpe { vocab, merges, config } => read(TokenizerFile::Bpe {
                vocab: vocab.to_string().as_bytes(),
                merges: merges.as_bytes(),
                config: config.as_ref().map(Value::to_string).as_deref().map(str::as_bytes),
            }),
        }
    }
}

/// Token texts by id, and merges: every word from its characters, left to right.
fn merged(mut tokens: Vec<String>, words: &[String]) -> (Vec<String>, Vec<[String; 2]>) {
    let mut merges = Vec::new();
    for word in words {
        for (at, next) in word.char_indices().skip(1) {
            let whole = &word[..at + next.len_utf8()];
            let merge = [word[..at].to_owned(), next.to_string()];
            if !merges.contains(&merge) {
                merges.push(merge);
            }
            if !tokens.iter().any(|token| token == whole) {
                tokens.push(whole.to_owned());
            }
        }
    }
    (tokens, merges)
}

/// The character that byte-level tokenizers write for `byte`.
fn stand_in(byte: u8) -> char {
    let printable = |b: u8| (33..=126).contains(&b) || (161..=255).contains(&b) && b != 173;
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    if printable(byte) { byte.into() } else { char::from_u32(256 + before).unwrap() }
}

fn byte_level() -> (Vec<String>, Vec<[String; 2]>) {
    let spell = |word: &&str| word.bytes().map(stand_in).collect::<String>();
    let singles = (0..=255).map(|byte| stand_in(byte).to_string()).collect();
    merged(singles, &WORDS.iter().map(spell).collect::<Vec<_>>())
}

fn ids(tokens: &[String]) -> Value {
    tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect()
}

fn added(id: usize, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "special": special, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": !special})
}

/// `tokenizer.json` of a byte-level encoding.
fn byte_level_json(normalizer: Value, pre_tokenizer: Value) -> Value {
    let (mut tokens, merges) = byte_level();
    tokens.push(SPECIAL.to_owned());
    let special = tokens.len() - 1;
    json!({
        "version": "1.0", "truncation": {"max_length": 3}, "padding": null,
        "added_tokens": [added(special, SPECIAL, true), added(special + 1, "        ", false),
            added(special + 2, "  ", false)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": null, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": 0.5, "vocab": ids(&tokens), "merges": merges},
    })
}

/// `tokenizer.json` of the byte-level encoding that splits by a regular expression of its own.
fn split_json() -> Value {
    let pattern = concat!(
        r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
        "invert": false});
    let last = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false});
    let sequence = json!({"type": "Sequence", "pretokenizers": [split, last]});
    let mut json = byte_level_json(Value::Null, sequence);
    json["model"]["ignore_merges"] = json!(true);
    json
}

/// SentencePiece's pieces: 3 special, 256 bytes, characters, longer ones; and merges.
fn sentencepiece() -> (Vec<String>, Vec<[String; 2]>) {
    let special = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let characters = ('!'..='~').chain(['\u{2581}', '\u{e9}', '\u{65e5}']).map(String::from);
    let tokens = special.into_iter().chain(bytes).chain(characters).collect();
    merged(tokens, &PIECES.map(str::to_owned))
}

/// `tokenizer.json` of Llama 2, spaces marked by a normalizer or by a pre-tokenizer.
fn sentencepiece_json(normalizer: Value, pre_tokenizer: Value) -> Value {
    let (tokens, merges) = sentencepiece();
    let merges: Vec<String> = merges.iter().map(|merge| merge.join(" ")).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<unk>", true), added(1, "<s>", true), added(2, "</s>", true)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": null,
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": ids(&tokens), "merges": merges},
    })
}

/// A protocol buffer field of bytes.
fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// `tokenizer.model` of a kind of model: 1 is unigram, 2 byte pair encoding.
pub fn sentencepiece_model(model_type: u8) -> Vec<u8> {
    let (tokens, _) = sentencepiece();
    let piece = |(id, token): (usize, &String)| {
        let kind = [2, 3, 3].get(id).copied().unwrap_or(if id < 259 { 6 } else { 1 });
        let score = (-(id as f32)).to_le_bytes();
        let fields = [message(1, token.as_bytes()), [&[0x15], &score[..], &[0x18, kind]].concat()];
        message(1, &fields.concat())
    };
    let mut model: Vec<u8> = tokens.iter().enumerate().flat_map(piece).collect();
    let user_defined = [message(1, "\u{2581}[go]".as_bytes()), vec![0x18, 4]].concat();
    model.extend(message(1, &user_defined));
    model.extend(message(2, &[0x18, model_type, 0x98, 0x02, 1]));
    model
}

fn bpe_files(class: Option<&str>) -> Files {
    let (mut tokens, merges) = byte_level();
    tokens.push(SPECIAL.to_owned());
    let added = json!({
        tokens.len().to_string(): {"content": "<|im_start|>", "special": true},
        (tokens.len() + 1).to_string(): {"content": "<think>", "special": false},
    });
    let lines = merges.iter().map(|merge| merge.join(" ") + "\n").collect::<String>();
    let config =
        class.map(|class| json!({"tokenizer_class": class, "added_tokens_decoder": added}));
    Files::Bpe { vocab: ids(&tokens), merges: format!("#version: 0.2\n{lines}"), config }
}

/// A tokenizer of each layout, by name.
pub fn all() -> Vec<(&'static str, Files)> {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let digits = json!({"type": "Sequence", "pretokenizers": [digits, byte_level]});
    let marked = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u{2581}"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
    ]});
    let metaspace = json!({"type": "Metaspace", "replacement": "\u{2581}",
        "prepend_scheme": "first", "split": false});
    let old_metaspace = json!({"type": "Metaspace", "replacement": "\u{2581}",
        "add_prefix_space": true, "str_rep": "\u{2581}"});
    vec![
        ("gpt2", Files::Json(byte_level_json(Value::Null, byte_level.clone()))),
        ("gpt2 files", bpe_files(None)),
        ("neox", Files::Json(byte_level_json(json!({"type": "NFC"}), byte_level))),
        ("smollm", Files::Json(byte_level_json(Value::Null, digits))),
        ("llama3", Files::Json(split_json())),
        ("qwen files", bpe_files(Some("Qwen2Tokenizer"))),
        ("llama", Files::Json(sentencepiece_json(marked, Value::Null))),
        ("metaspace", Files::Json(sentencepiece_json(Value::Null, metaspace))),
        ("old metaspace", Files::Json(sentencepiece_json(Value::Null, old_metaspace))),
        ("sentencepiece", Files::Model(sentencepiece_model(2))),
    ]
}
