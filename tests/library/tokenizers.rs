//! Tokenizers of every layout: any bytes become tokens of the same bytes, and words become the
//! tokens that the model knows them by.

use crate::random::Random;
use crate::skip::skip;
use crate::small_tokenizers::{Files, SPECIAL, all, sentencepiece_model};
use llmzip::models::{Tokenizer, TokenizerFile, Vocabulary, stand_ins};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// More than any tokenizer here has.
const ANY_VOCAB_SIZE: usize = 1 << 20;

fn load(files: &Files) -> (Tokenizer, Vocabulary) {
    files.with(|file| Tokenizer::load(file, ANY_VOCAB_SIZE)).unwrap()
}

/// The bytes of each token of `text`.
fn split(files: &Files, text: &str) -> Vec<String> {
    let (tokenizer, vocabulary) = load(files);
    let ranks = tokenizer.encode(text.as_bytes(), &vocabulary);
    ranks.iter().map(|&rank| String::from_utf8_lossy(vocabulary.bytes(rank)).into()).collect()
}

fn small(name: &str) -> Files {
    all().into_iter().find(|(other, _)| *other == name).unwrap().1
}

/// Bytes of every kind that some tokenizer changes or drops.
fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = Random::new(5);
    let mut bytes = |n, mask: u64| (0..n).map(|_| (random.bits() & mask) as u8).collect();
    let texts = [
        ("empty", ""),
        ("line ends", "a\r\nb\rc\n\n\n\r\r\n  \n\t\u{85}\u{2028}"),
        ("nul", "a\0b\0\0"),
        ("accents", "caf\u{e9} cafe\u{301} \u{1e9b}\u{323} \u{212b} \u{ac00} \u{1100}\u{1161}"),
        ("compatibility", "\u{fb01} \u{ff21} \u{2460} x\u{b2} \u{a0}\u{3000}\u{200b}\u{feff}"),
        ("special", "<|endoftext|><s></s> <unk><|im_start|> <think> [go][go] <0x0A><0x61>"),
        ("spaces", "  a   b    c     d                         e  "),
        ("marks", "\u{2581}the\u{2581} the \u{2581}\u{2581}12 the\u{2581}"),
        ("emoji", "\u{1f600}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}"),
        ("scripts", "\u{65e5}\u{672c}\u{8a9e} \u{440}\u{443}\u{441} \u{627}\u{644} \u{e01}\u{e33}"),
    ];
    let mut inputs: Vec<_> = texts.map(|(name, text)| (name, text.as_bytes().to_vec())).into();
    inputs.extend([
        ("every byte", (0..=255).collect::<Vec<u8>>()),
        ("cut characters", b"\xe2\x82 \xf0\x9f\x98 the\xc3\xff\xfe\xed\xa0\x80the\xc0\x80".into()),
        ("random bytes", bytes(20_000, 0xff)),
        ("random ASCII", bytes(20_000, 0x7f)),
        ("unbroken", b"a".repeat(1 << 16)),
        ("unbroken characters", "\u{20ac}".repeat(1 << 16).into_bytes()),
        ("blank", b" ".repeat((1 << 16) + 1)),
        ("lines", b"\n".repeat(1 << 16)),
        ("apostrophes", b"'".repeat(1 << 16)),
        ("alternating", b" a\xff".repeat(1 << 14)),
    ]);
    inputs
}

fn assert_exact(name: &str, tokenizer: &Tokenizer, vocabulary: &Vocabulary) {
    for (input, bytes) in inputs() {
        let ranks = tokenizer.encode(&bytes, vocabulary);
        let back: Vec<u8> = ranks.iter().flat_map(|&r| vocabulary.bytes(r)).copied().collect();
        assert!(back == bytes, "{name}: {input}: the tokens are of other bytes");
    }
}

#[test]
fn any_bytes_come_back() {
    for (name, files) in all() {
        let (tokenizer, vocabulary) = load(&files);
        assert_exact(name, &tokenizer, &vocabulary);
    }
}

#[test]
fn words_become_their_tokens() {
    for name in ["gpt2", "gpt2 files", "neox", "smollm", "llama3", "qwen files"] {
        let expected = ["the", " the", " ", "x", "\n\n", " and", "'s"];
        assert_eq!(split(&small(name), "the the x\n\n and's"), expected, "{name}");
    }
    for name in ["llama", "metaspace", "sentencepiece"] {
        let expected = ["the", " the", " ", "x", "\n", "\n", " and", "  ", " 12"];
        assert_eq!(split(&small(name), "the the x\n\n and   12"), expected, "{name}");
    }
    let expected = ["the", " ", " the"];
    assert_eq!(split(&small("old metaspace"), "the  the"), expected, "split at each space");
}

#[test]
fn what_a_tokenizer_would_rewrite_is_kept() {
    for (name, files) in all() {
        let tokens = split(&files, " the e\u{301} the\u{2581} the");
        assert_eq!(tokens.iter().filter(|t| *t == " the").count(), 3, "{name}: {tokens:?}");
    }
    assert_eq!(split(&small("neox"), "caf\u{e9} e\u{301}")[3], "\u{e9}");
}

#[test]
fn special_tokens_are_data_like_any_other() {
    for (name, files) in all() {
        for special in [SPECIAL, "<s>", "<unk>", "<|im_start|>"] {
            assert!(split(&files, special).len() > 1, "{name}: {special}");
            let (_, vocabulary) = load(&files);
            let ranks = 0..vocabulary.len() as u32;
            assert!(ranks.into_iter().all(|rank| vocabulary.bytes(rank) != special.as_bytes()));
        }
    }
    assert_eq!(split(&small("qwen files"), "the<think>the"), ["the", "<think>", "the"]);
    assert_eq!(split(&small("sentencepiece"), "the [go]the"), ["the", " [go]", "the"]);
    assert_eq!(split(&small("neox"), "the  the          "), ["the", "  ", "the", "        ", "  "]);
}

/// Of tokens with the same bytes, the one that the model has seen in text is coded.
#[test]
fn tokens_of_the_same_bytes() {
    let (_, vocabulary) = load(&small("llama"));
    let id = |byte| vocabulary.id(vocabulary.single(byte));
    assert_eq!(id(b'\n'), 3 + 10, "no piece but the byte's");
    assert_eq!(id(b'!'), 3 + 256, "the piece of '!', not its byte's");
    assert_eq!(vocabulary.rank(3 + u32::from(b'!')), None);
    let (_, vocabulary) = load(&small("neox"));
    let (spaces, _) = (0..vocabulary.len() as u32)
        .map(|rank| (vocabulary.id(rank), vocabulary.bytes(rank)))
        .find(|(_, bytes)| *bytes == b"  ")
        .unwrap();
    let last = vocabulary.ids().iter().max().unwrap();
    assert_eq!(spaces, *last, "the added token, not the one by merges");
}

#[test]
fn tokens_past_the_embedding_are_left_out() {
    let files = small("sentencepiece");
    let (tokenizer, vocabulary) = files.with(|file| Tokenizer::load(file, 360)).unwrap();
    assert!(vocabulary.ids().iter().all(|&id| id < 360));
    assert_exact("360 tokens", &tokenizer, &vocabulary);
    assert!(files.with(|file| Tokenizer::load(file, 200)).is_err(), "too few for every byte");
}

/// A byte-level vocabulary may lack bytes (GPT-NeoX's and SmolLM's do).
#[test]
fn bytes_that_are_no_tokens_get_ids() {
    let Files::Json(mut json) = small("neox") else { panic!("it is JSON") };
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let last = vocab.len() as u32 + 1;
    assert_eq!(
        [vocab.remove("\u{104}"), vocab.remove("\u{ff}")],
        [Some(json!(4)), Some(json!(255))]
    );
    let ids_of = |json: &Value, vocab_size: u32, bytes: [u8; 2]| {
        let json = json.to_string();
        let file = TokenizerFile::Json(json.as_bytes());
        let (tokenizer, vocabulary) = Tokenizer::load(file, vocab_size as usize).unwrap();
        assert_exact("incomplete", &tokenizer, &vocabulary);
        bytes.map(|byte| vocabulary.id(vocabulary.single(byte)))
    };
    assert_eq!(ids_of(&json, last + 10, [4, 255]), [last + 9, last + 8], "rows that are padding");
    assert_eq!(ids_of(&json, last + 1, [4, 255]), [255, 4], "ids that no token has");
    let special = |id, content| json!({"id": id, "content": content, "special": true});
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.extend([special(4, "<4>"), special(255, "<255>")]);
    assert_eq!(ids_of(&json, last + 1, [4, 255]), [last - 3, last - 4], "the last merged tokens'");
}

fn refusal(file: TokenizerFile<'_>) -> String {
    match Tokenizer::load(file, ANY_VOCAB_SIZE) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

/// Calls `refused` with beginnings of `bytes`.
fn cut(bytes: &[u8], refused: impl Fn(&[u8]) -> String) {
    (0..bytes.len()).step_by(41).for_each(|end| drop(refused(&bytes[..end])));
}

#[test]
fn damaged_files_are_refused() {
    for (_, files) in all() {
        files.with(|file| match file {
            TokenizerFile::Json(json) => cut(json, |json| refusal(TokenizerFile::Json(json))),
            TokenizerFile::SentencePiece(model) => {
                cut(model, |model| refusal(TokenizerFile::SentencePiece(model)));
            }
            TokenizerFile::Bpe { vocab, merges, config } => {
                cut(vocab, |vocab| refusal(TokenizerFile::Bpe { vocab, merges, config }));
                cut(config.unwrap_or(b"{}"), |config| {
                    refusal(TokenizerFile::Bpe { vocab, merges, config: Some(config) })
                });
                let merges = &[merges, b"nothing"].concat();
                assert!(refusal(TokenizerFile::Bpe { vocab, merges, config }).contains("nothing"));
            }
        });
    }
}

/// `tokenizer.json` of GPT-2's layout with another value at `pointer`.
fn changed(name: &str, pointer: &str, value: Value) -> String {
    let Files::Json(mut json) = small(name) else { panic!("{name} is no JSON") };
    *json.pointer_mut(pointer).unwrap() = value;
    refusal(TokenizerFile::Json(json.to_string().as_bytes()))
}

#[test]
fn unknown_layouts_are_refused_by_name() {
    let cases = [
        (changed("gpt2", "/model/type", json!("WordPiece")), "WordPiece"),
        (
            changed("gpt2", "/pre_tokenizer", json!({"type": "BertPreTokenizer"})),
            "BertPreTokenizer",
        ),
        (changed("gpt2", "/pre_tokenizer", Value::Null), "null"),
        (
            changed("smollm", "/pre_tokenizer/pretokenizers/0/type", json!("Whitespace")),
            "Whitespace",
        ),
        (changed("smollm", "/pre_tokenizer/pretokenizers/0", json!(7)), "of no type"),
        (
            changed("llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", json!("(")),
            "tokenizer:",
        ),
        (changed("llama", "/normalizer", json!({"type": "NFKC"})), "NFKC"),
        (changed("metaspace", "/pre_tokenizer/replacement", json!("_")), "Metaspace"),
        (changed("gpt2", "/model/merges", json!([["!", "\""]])), "missing from the vocabulary"),
        (changed("gpt2", "/model/merges", json!(["ab"])), "two tokens"),
        (changed("gpt2", "/model/vocab/!", json!(1)), "the id 1"),
        (changed("gpt2", "/model/vocab/!", json!(-1)), "tokenizer.json"),
        (refusal(TokenizerFile::SentencePiece(&sentencepiece_model(1))), "unigram"),
        (refusal(TokenizerFile::SentencePiece(b"")), "no pieces"),
        (refusal(TokenizerFile::Json(b"")), "tokenizer.json"),
    ];
    for (message, word) in cases {
        assert!(message.contains(word), "expected {word:?} in {message:?}");
    }
    let Files::Bpe { vocab, merges, .. } = small("gpt2 files") else { panic!("it is no JSON") };
    let config = Some(br#"{"tokenizer_class": "BertTokenizer"}"#.as_slice());
    let (vocab, merges) = (vocab.to_string(), merges.as_bytes());
    let file = TokenizerFile::Bpe { vocab: vocab.as_bytes(), merges, config };
    assert!(refusal(file).contains("BertTokenizer"));
}

fn shared(path: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let found = shared.exists();
    if !found {
        skip("no ../shared");
    }
    found.then(|| shared.join(path))
}

/// Texts, and tokens of each by each tokenizer's own library with its whole configuration
/// (PyPI's tokenizers 0.23.3, sentencepiece 0.2.3), special tokens around the text not counted.
const TEXTS: [&str; 4] = ["alice29.txt", "enwik8.4154399", "russian_ch10-03.md", "fields.c"];
const REFERENCES: [(&str, usize, &[&str], [usize; 4]); 7] = [
    ("gpt2", 50_257, &["tokenizers/gpt2/tokenizer.json"], [47_022, 286_273, 31_277, 4_929]),
    (
        "gpt2 files",
        50_257,
        &["tokenizers/gpt2/encoder.json", "tokenizers/gpt2/vocab.bpe"],
        [47_022, 286_273, 31_277, 4_929],
    ),
    ("neox", 50_304, &["tokenizers/neox/20B_tokenizer.json"], [42_173, 272_961, 15_579, 4_124]),
    (
        "qwen",
        151_936,
        &[
            "tokenizers/qwen/vocab.json",
            "tokenizers/qwen/merges.txt",
            "tokenizers/qwen/qwen3-tokenizer_config.json",
        ],
        [38_971, 263_665, 9_524, 3_637],
    ),
    ("smollm", 49_152, &["tokenizers/smollm/tokenizer.json"], [41_933, 286_174, 22_550, 4_324]),
    ("llama", 32_000, &["tokenizers/llama/tokenizer.model"], [46_933, 309_563, 11_477, 4_637]),
    (
        "stories260K",
        512,
        &["real-weights/stories260K/tokenizer.json"],
        [90_980, 704_248, 53_662, 9_341],
    ),
];

#[test]
fn real_tokenizers_are_exact_and_as_efficient_as_their_own_libraries() {
    let Some(folder) = shared("") else { return };
    let read = |path: &str| std::fs::read(folder.join(path)).unwrap();
    for (name, vocab_size, paths, references) in REFERENCES {
        let files: Vec<Vec<u8>> = paths.iter().map(|path| read(path)).collect();
        let file = match &files[..] {
            [model] if paths[0].ends_with(".model") => TokenizerFile::SentencePiece(model),
            [json] => TokenizerFile::Json(json),
            [vocab, merges, config @ ..] => {
                let config = config.first().map(Vec::as_slice);
                TokenizerFile::Bpe { vocab, merges, config }
            }
            [] => unreachable!(),
        };
        let (tokenizer, vocabulary) = Tokenizer::load(file, vocab_size).unwrap();
        println!("{name}: {} tokens can be coded", vocabulary.len());
        assert_exact(name, &tokenizer, &vocabulary);
        for (text, reference) in TEXTS.iter().zip(references) {
            let mut bytes = read(&format!("corpora/{text}"));
            bytes.truncate(1_000_000);
            let start = std::time::Instant::now();
            let ranks = tokenizer.encode(&bytes, &vocabulary);
            let speed = bytes.len() as f64 / 1e6 / start.elapsed().as_secs_f64();
            let count = ranks.len();
            println!("{name}: {text}: {count} tokens, reference {reference}, {speed:.2} MB/s");
            assert!(count * 100 <= reference * 102, "{name}: {text}: {count} for {reference}");
            assert!(ranks.iter().flat_map(|&r| vocabulary.bytes(r)).eq(&bytes), "{name}: {text}");
        }
    }
}

/// GPT-2's own file says no type of model, and editors put a byte order mark before text.
#[test]
fn old_and_edited_files_are_read() {
    let text = "the the x\n\n and's caf\u{e9}";
    for (name, files) in all() {
        let expected = split(&files, text);
        let marked = |json: &[u8]| [b"\xef\xbb\xbf", json].concat();
        let read = |file: TokenizerFile<'_>| {
            let (tokenizer, vocabulary) = Tokenizer::load(file, ANY_VOCAB_SIZE).expect(name);
            let ranks = tokenizer.encode(text.as_bytes(), &vocabulary);
            let bytes = ranks.iter().map(|&rank| vocabulary.bytes(rank));
            bytes.map(|bytes| String::from_utf8_lossy(bytes).into()).collect::<Vec<String>>()
        };
        let found = match &files {
            Files::Json(json) => {
                let mut json = json.clone();
                json["model"].as_object_mut().unwrap().remove("type").unwrap();
                read(TokenizerFile::Json(&marked(json.to_string().as_bytes())))
            }
            Files::Bpe { vocab, merges, config } => {
                let config = config.as_ref().map(|json| marked(json.to_string().as_bytes()));
                read(TokenizerFile::Bpe {
                    vocab: &marked(vocab.to_string().as_bytes()),
                    merges: &marked(merges.as_bytes()),
                    config: config.as_deref(),
                })
            }
            Files::Model(_) => continue,
        };
        assert_eq!(found, expected, "{name}");
    }
    let unigram = json!({"model": {"vocab": [["a", -1.0]]}}).to_string();
    let error = Tokenizer::load(TokenizerFile::Json(unigram.as_bytes()), 10).err().unwrap();
    assert!(error.to_string().contains("expected BPE"), "{error}");
}

/// `tokenizer.json` of byte-level WordPiece with all bytes and `words` as tokens.
fn word_piece(words: &[&str]) -> Value {
    let bytes = stand_ins().into_iter().map(String::from);
    let words = words.iter().map(|word| word.replace(' ', "\u{120}"));
    let vocab: serde_json::Map<String, Value> =
        bytes.chain(words).zip(0..).map(|(text, id)| (text, json!(id))).collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
    });
    json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {
            "type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "",
            "max_input_chars_per_word": 1_000_000, "vocab": vocab
        }
    })
}

/// The longest token that text begins with, as the `tokenizers` library takes it from the same file, and for any bytes.
#[test]
fn word_piece_takes_the_longest_token() {
    let json = word_piece(&["the", "then", " the", "e cat", "cat sat", "\u{c3}\u{a9}t"]);
    let file = json.to_string();
    let (tokenizer, vocabulary) =
        Tokenizer::load(TokenizerFile::Json(file.as_bytes()), ANY_VOCAB_SIZE).unwrap();
    assert_exact("word_piece", &tokenizer, &vocabulary);
    let ids = |text: &str| -> Vec<u32> {
        let ranks = tokenizer.encode(text.as_bytes(), &vocabulary);
        ranks.into_iter().map(|rank| vocabulary.id(rank)).collect()
    };
    let split = |text: &str| -> Vec<String> {
        let ranks = tokenizer.encode(text.as_bytes(), &vocabulary);
        ranks.iter().map(|&rank| String::from_utf8_lossy(vocabulary.bytes(rank)).into()).collect()
    };
    assert_eq!(split("thenthe cat sat\u{e9}t"), ["then", "the", " ", "cat sat", "\u{e9}t"]);
    let theirs = tokenizers::Tokenizer::from_bytes(&file).unwrap();
    for text in ["thenthe cat sat\u{e9}t", "the the cat\u{20ac} sat", "  then \n", "cat sa"] {
        assert_eq!(ids(text), theirs.encode_fast(text, false).unwrap().get_ids(), "{text}");
    }
    for (pointer, value, expected) in [
        ("/model/continuing_subword_prefix", json!("##"), "prefix \"##\""),
        ("/pre_tokenizer/use_regex", json!(true), "use_regex false"),
        ("/pre_tokenizer", json!({"type": "BertPreTokenizer"}), "BertPreTokenizer"),
        ("/model/vocab", json!([]), "invalid type"),
    ] {
        let mut changed = json.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let said = refusal(TokenizerFile::Json(changed.to_string().as_bytes()));
        assert!(said.contains(expected), "{said}");
    }
}
