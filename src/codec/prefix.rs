//! A text that every chunk of a stream goes on from: it primes the language model and the adaptive
//! model alike (`docs/numerics.md`, section 18).
//!
//! It stands in the archive once, coded as a chunk of one lane. Its decisions, known on both sides
//! once it is coded, are learned again at the start of each chunk, which is cheap: the language
//! model need not run for that.

use super::token_trie::Decision;
use crate::models::Model;

/// A decoded prefix; empty where a stream has none.
#[derive(Debug, Default)]
pub struct Prefix {
    /// Plain bytes.
    pub(super) text: Vec<u8>,
    /// Its tokens, as ranks of the vocabulary; none where the adaptive model coded it.
    pub(super) tokens: Vec<u32>,
    /// The decisions that spell the tokens.
    pub(super) decisions: Vec<(Decision, bool)>,
}

impl Prefix {
    /// No prefix.
    pub fn none() -> &'static Self {
        static NONE: Prefix =
            Prefix { text: Vec::new(), tokens: Vec::new(), decisions: Vec::new() };
        &NONE
    }

    /// Longest prefix, in bytes.
    pub const MAX_LEN: usize = 1 << 16;

    /// Longest prefix, in tokens.
    pub const MAX_TOKENS: usize = 4096;

    /// Whether the language model can go on from it.
    pub(super) fn has_tokens(&self) -> bool {
        self.text.is_empty() || !self.tokens.is_empty()
    }

    /// Inputs of every lane before its first prediction, as ids: the model's first token and the
    /// prefix.
    pub(super) fn opening(&self, model: &Model) -> Vec<u32> {
        let tokens = self.tokens.iter().map(|&rank| model.vocabulary().id(rank));
        std::iter::once(model.first_token()).chain(tokens).collect()
    }
}
