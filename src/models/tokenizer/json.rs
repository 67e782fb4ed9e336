//! `tokenizer.json`, the layout of the `tokenizers` library.
//!
//! Normalizers and spaces put before text, which rewrite it, and post-processors, which put tokens
//! around it, are left out: tokens must stand for exactly the bytes that are coded.

use super::bpe::{Added, Bpe};
use super::spelling::{SPACE, Spelling};
use super::{byte_level, sentencepiece};
use crate::error::Result;
use crate::models::{invalid, json};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedWithId>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Value,
}

#[derive(Deserialize)]
struct AddedWithId {
    id: u32,
    #[serde(flatten)]
    added: Added,
}

#[derive(Deserialize)]
struct BpeModel {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    ignore_merges: Option<bool>,
}

/// A model that takes the longest token that text begins with (Wu et al., "Google's Neural Machine Translation System", 2016).
#[derive(Deserialize)]
struct WordPieceModel {
    vocab: HashMap<String, u32>,
    #[serde(default = "usual_prefix")]
    continuing_subword_prefix: String,
}

/// Prefix of the parts of words that continue them, where a WordPiece model does not name it.
fn usual_prefix() -> String {
    "##".into()
}

/// Both ways of writing a merge.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

impl Merge {
    fn pair(self) -> std::result::Result<(String, String), String> {
        match self {
            Self::Pair(left, right) => Ok((left, right)),
            Self::Line(line) => match line.split_once(' ') {
                Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
                None => Err(format!("expected two tokens to merge, got {line:?}")),
            },
        }
    }
}

/// Reads `tokenizer.json` of a byte pair encoding, byte-level or SentencePiece's, or of byte-level WordPiece.
pub fn parse(text: &[u8]) -> Result<Bpe> {
    let failed = |what: String| invalid(format!("tokenizer.json: {what}"));
    let json: TokenizerJson = json::parse("tokenizer.json", text)?;
    if json.model["type"] == "WordPiece" {
        return word_piece(json).map_err(failed);
    }
    if !is_bpe(&json.model) {
        let name = name(&json.model);
        return Err(failed(format!("the model is {name}, expected BPE or byte-level WordPiece")));
    }
    let (spelling, pre_tokenizer) = words(&json.normalizer, &json.pre_tokenizer).map_err(failed)?;
    let model = BpeModel::deserialize(json.model).map_err(|e| failed(e.to_string()))?;
    for affix in [model.continuing_subword_prefix, model.end_of_word_suffix].into_iter().flatten() {
        if !affix.is_empty() {
            return Err(failed(format!("tokens with the affix {affix:?} are not supported")));
        }
    }
    let merges: std::result::Result<_, String> =
        model.merges.into_iter().map(Merge::pair).collect();
    Ok(Bpe {
        spelling,
        vocab: model.vocab,
        merges: merges.map_err(failed)?,
        added: json.added_tokens.into_iter().map(|token| (token.id, token.added)).collect(),
        pre_tokenizer,
        ignore_merges: model.ignore_merges.unwrap_or(false),
        longest_match: false,
    })
}

/// The tokens of a WordPiece model of bytes: all of the text is one word, each part of which is a token like any other.
fn word_piece(json: TokenizerJson) -> std::result::Result<Bpe, String> {
    let model = WordPieceModel::deserialize(json.model).map_err(|e| e.to_string())?;
    let prefix = model.continuing_subword_prefix;
    if name(&json.pre_tokenizer) != "ByteLevel"
        || json.pre_tokenizer["use_regex"] != false
        || !prefix.is_empty()
    {
        return Err(format!(
            "WordPiece with the prefix {prefix:?} and the pre-tokenizer {}, expected no prefix, and ByteLevel with \
             use_regex false",
            names(&json.pre_tokenizer, "pretokenizers")
        ));
    }
    Ok(Bpe {
        spelling: Spelling::ByteLevel,
        vocab: model.vocab,
        merges: Vec::new(),
        added: json.added_tokens.into_iter().map(|token| (token.id, token.added)).collect(),
        pre_tokenizer: None,
        ignore_merges: false,
        longest_match: true,
    })
}

/// Whether a model is a byte pair encoding. Old files do not say so: of the other kinds none has an
/// object as its vocabulary and merges, too.
fn is_bpe(model: &Value) -> bool {
    match &model["type"] {
        Value::Null => model["vocab"].is_object() && model["merges"].is_array(),
        kind => kind == "BPE",
    }
}

/// The spelling, and the pre-tokenizer without what would add to the text.
fn words(
    normalizer: &Value,
    pre_tokenizer: &Value,
) -> std::result::Result<(Spelling, Option<Value>), String> {
    let byte_level = |json: &Value| byte_level::pre_tokenizer(json["use_regex"] != false);
    let splits = |part: &Value| ["Split", "Digits", "Punctuation"].contains(&name(part));
    match (name(pre_tokenizer), pre_tokenizer["pretokenizers"].as_array().map(Vec::as_slice)) {
        ("ByteLevel", _) => return Ok((Spelling::ByteLevel, Some(byte_level(pre_tokenizer)))),
        ("Sequence", Some([first @ .., last]))
            if first.iter().all(splits) && name(last) == "ByteLevel" =>
        {
            let mut sequence = pre_tokenizer.clone();
            sequence["pretokenizers"][first.len()] = byte_level(last);
            return Ok((Spelling::ByteLevel, Some(sequence)));
        }
        ("Metaspace", _) if pre_tokenizer["replacement"] == SPACE => {
            let split = pre_tokenizer["split"] != false;
            return Ok((Spelling::SentencePiece, Some(sentencepiece::pre_tokenizer(split))));
        }
        ("null", _) if marks_spaces(normalizer) => return Ok((Spelling::SentencePiece, None)),
        _ => (),
    }
    Err(format!(
        "the pre-tokenizer is {}, the normalizer {}; expected ByteLevel, alone or after Split, \
         Digits and Punctuation; or Metaspace with U+2581; or none and U+2581 put for spaces",
        names(pre_tokenizer, "pretokenizers"),
        names(normalizer, "normalizers")
    ))
}

/// Whether a normalizer, or one of a sequence, puts U+2581 for spaces.
fn marks_spaces(normalizer: &Value) -> bool {
    let puts = |n: &Value| n["pattern"]["String"] == " " && n["content"] == SPACE;
    let sequence = normalizer["normalizers"].as_array();
    puts(normalizer) || sequence.is_some_and(|all| all.iter().any(puts))
}

/// The type of a part of `tokenizer.json`.
fn name(part: &Value) -> &str {
    match part {
        Value::Null => "null",
        part => part["type"].as_str().unwrap_or("of no type"),
    }
}

/// The type of a part, and those of its parts.
fn names(part: &Value, parts: &str) -> String {
    match part[parts].as_array() {
        Some(parts) => parts.iter().map(name).collect::<Vec<_>>().join(" then "),
        None => name(part).to_owned(),
    }
}
