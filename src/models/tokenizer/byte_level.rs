//! Byte-level BPE: text is split by regular expressions, and each byte is written as one character.

use super::bpe::{Added, Bpe};
use super::spelling::Spelling;
use crate::error::Result;
use crate::models::invalid;
use crate::models::json::{self, unmarked};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How Llama 3 splits text into words.
pub const LLAMA3_WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// How Qwen2 and later split text into words.
pub const QWEN2_WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The fields of `tokenizer_config.json` that matter here.
#[derive(Deserialize, Default)]
struct TokenizerConfig {
    tokenizer_class: Option<String>,
    #[serde(default)]
    added_tokens_decoder: BTreeMap<u32, Added>,
}

impl TokenizerConfig {
    /// The pre-tokenizer that the class stands for.
    fn pre_tokenizer(&self) -> Result<Value> {
        let class = self.tokenizer_class.as_deref().unwrap_or("GPT2Tokenizer");
        match class.strip_suffix("Fast").unwrap_or(class) {
            "GPT2Tokenizer" | "GPTNeoXTokenizer" => Ok(pre_tokenizer(true)),
            "Qwen2Tokenizer" => Ok(json!({"type": "Sequence", "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": QWEN2_WORDS},
                    "behavior": "Isolated",
                    "invert": false
                },
                pre_tokenizer(false),
            ]})),
            _ => Err(invalid(format!(
                "tokenizer_config.json: tokenizer_class is {class:?}, expected GPT2Tokenizer, \
                 GPTNeoXTokenizer or Qwen2Tokenizer where there is no tokenizer.json"
            ))),
        }
    }
}

/// `tokenizer.json`'s ByteLevel, which writes bytes as characters; `split` by GPT-2's regular
/// expression before, or not. It adds no space.
pub fn pre_tokenizer(split: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": split
    })
}

/// Reads `vocab.json` and `merges.txt` (GPT-2's `encoder.json` and `vocab.bpe`), with
/// `tokenizer_config.json` if there is one; without, words are split as GPT-2 does.
///
/// These files do not say which tokens are special. Those that no merge makes are taken for such.
pub fn parse(vocab: &[u8], merges: &[u8], config: Option<&[u8]>) -> Result<Bpe> {
    let vocab: HashMap<String, u32> = json::parse("vocab.json", vocab)?;
    let merges = parse_merges(merges).map_err(|e| invalid(format!("merges.txt: {e}")))?;
    let config: TokenizerConfig = match config {
        Some(text) => json::parse("tokenizer_config.json", text)?,
        None => TokenizerConfig::default(),
    };
    let pre_tokenizer = Some(config.pre_tokenizer()?);
    let merged: HashSet<String> = merges.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let special = |text: &str| text.chars().nth(1).is_some() && !merged.contains(text);
    let specials = vocab.iter().filter(|(text, _)| special(text));
    let specials = specials.map(|(text, &id)| (id, Added::special(text)));
    let added = specials.chain(config.added_tokens_decoder).collect();
    Ok(Bpe {
        spelling: Spelling::ByteLevel,
        vocab,
        merges,
        added,
        pre_tokenizer,
        ignore_merges: false,
        longest_match: false,
    })
}

/// One merge a line: two tokens with a space between.
fn parse_merges(text: &[u8]) -> std::result::Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(unmarked(text)).map_err(|e| e.to_string())?;
    let lines = text.lines().enumerate();
    let merges = lines.filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    merges
        .map(|(number, line)| match line.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(format!("line {}: expected two tokens, got {line:?}", number + 1)),
        })
        .collect()
}
