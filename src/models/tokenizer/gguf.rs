//! Tokenizers of GGUF files.

use super::bpe::{Added, Bpe};
use super::spelling::{SPACE, Spelling};
use super::{byte_level, sentencepiece};
use crate::error::Result;
use crate::models::gguf::{GgufTokenizer, TokenType};
use crate::models::invalid;
use serde_json::{Value, json};

/// Reads the tokenizer of a GGUF file. How text is split into words decides only what an archive's size is: a way
/// that is not known here is taken for GPT-2's.
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is no byte pair encoding.
pub fn parse(tokenizer: &GgufTokenizer) -> Result<Bpe> {
    let spelling = match tokenizer.model.as_str() {
        "gpt2" => Spelling::ByteLevel,
        "llama" => Spelling::SentencePiece,
        other => {
            let other = other.escape_debug();
            return Err(invalid(format!(
                "GGUF: tokenizer.ggml.model is '{other}', expected gpt2 or llama (byte pair encodings)"
            )));
        }
    };
    let mut bpe = Bpe {
        spelling,
        vocab: Default::default(),
        merges: Vec::new(),
        added: Vec::new(),
        pre_tokenizer: None,
        ignore_merges: tokenizer.words == "llama-bpe",
        longest_match: false,
    };
    for (token, id) in tokenizer.tokens.iter().zip(0..) {
        let text = &token.text;
        match token.kind {
            TokenType::Normal | TokenType::Byte => drop(bpe.vocab.insert(text.clone(), id)),
            TokenType::UserDefined => {
                bpe.added.push((id, Added::literal(&text.replace(SPACE, " "))))
            }
            TokenType::Other => bpe.added.push((id, Added::special(text))),
        }
    }
    match spelling {
        Spelling::ByteLevel => {
            bpe.pre_tokenizer = Some(words(&tokenizer.words));
            let pair = |line: &String| match line.split_once(' ') {
                Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
                None => Err(invalid(format!("GGUF: expected two tokens to merge, got {line:?}"))),
            };
            bpe.merges = tokenizer.merges.iter().map(pair).collect::<Result<_>>()?;
        }
        Spelling::SentencePiece => {
            let normal = tokenizer.tokens.iter().zip(0..);
            let normal = normal.filter(|(token, _)| token.kind == TokenType::Normal);
            bpe.merges = sentencepiece::merges(
                normal.map(|(token, id)| (token.text.as_str(), token.score, id)).collect(),
            )?;
        }
    }
    Ok(bpe)
}

/// How text is split into words, by the name that llama.cpp gives it.
fn words(name: &str) -> Value {
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let sequence = |first: Value, regex: bool| {
        let last = byte_level::pre_tokenizer(regex);
        json!({"type": "Sequence", "pretokenizers": [first, last]})
    };
    match name {
        "smollm" | "starcoder" | "refact" => {
            sequence(json!({"type": "Digits", "individual_digits": true}), true)
        }
        "qwen2" | "qwen35" => sequence(split(byte_level::QWEN2_WORDS), false),
        "llama-bpe" => sequence(split(byte_level::LLAMA3_WORDS), false),
        _ => byte_level::pre_tokenizer(true),
    }
}
