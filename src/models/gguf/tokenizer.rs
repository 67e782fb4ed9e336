//! The tokenizer in a file's metadata.

use super::header::{Header, MetaValue, unexpected};
use crate::error::Result;

/// The key of all tokens' texts.
pub const TOKENS: &str = "tokenizer.ggml.tokens";

/// A byte pair encoding.
pub struct GgufTokenizer {
    /// Byte-level (`gpt2`) or SentencePiece's (`llama`).
    pub model: String,
    /// How text is split into words, where the file says so.
    pub words: String,
    /// By id.
    pub tokens: Vec<GgufToken>,
    /// Pairs of texts with a space between, the first to be merged first; of byte-level encodings.
    pub merges: Vec<String>,
}

/// A token.
pub struct GgufToken {
    pub text: String,
    pub score: f32,
    pub kind: TokenType,
}

/// Kinds of tokens, as in `sentencepiece_model.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    Normal,
    /// As it stands, wherever it stands.
    UserDefined,
    Byte,
    /// Unknown, control or unused: no text becomes it.
    Other,
}

impl Header {
    /// Returns the tokenizer.
    ///
    /// # Errors
    /// `InvalidModel` where keys are missing or of other types.
    pub fn tokenizer(&self) -> Result<GgufTokenizer> {
        let model = self.text("tokenizer.ggml.model")?.to_owned();
        let words = self.text("tokenizer.ggml.pre").unwrap_or_default().to_owned();
        let texts = self.texts(TOKENS)?;
        let scores = self.of_tokens("tokenizer.ggml.scores", texts.len())?;
        let kinds = self.of_tokens("tokenizer.ggml.token_type", texts.len())?;
        let score = |i: usize| match scores.get(i) {
            Some(&MetaValue::Float(score)) => score as f32,
            _ => 0.0,
        };
        let kind = |i: usize| match kinds.get(i) {
            None | Some(MetaValue::Integer(1)) => TokenType::Normal,
            Some(MetaValue::Integer(4)) => TokenType::UserDefined,
            Some(MetaValue::Integer(6)) => TokenType::Byte,
            Some(_) => TokenType::Other,
        };
        let token = |(i, text)| GgufToken { text, score: score(i), kind: kind(i) };
        let tokens = texts.into_iter().enumerate().map(token).collect();
        Ok(GgufTokenizer { model, words, tokens, merges: self.texts("tokenizer.ggml.merges")? })
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let text = |value: &MetaValue| match value {
            MetaValue::Text(text) => Ok(text.clone()),
            other => Err(unexpected(key, "texts", Some(other))),
        };
        self.array(key)?.iter().map(text).collect()
    }

    /// Returns the values of a key, one for each token, or none.
    fn of_tokens(&self, key: &str, tokens: usize) -> Result<&[MetaValue]> {
        let values = self.array(key)?;
        match values.len() {
            n if n == 0 || n == tokens => Ok(values),
            _ => Err(unexpected(
                key,
                &format!("one for each of {tokens} tokens"),
                self.metadata.get(key),
            )),
        }
    }
}
