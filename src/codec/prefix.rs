//! A text that every chunk of a stream goes on from: it primes the language model and the adaptive
//! model alike (`docs/numerics.md`, section 18).
//!
//! It stands in the archive once, coded as a chunk of one lane. Its decisions, known on both sides
//! once it is coded, are learned again at the start of each chunk, which is cheap: the language
//! model need not run for that.

use super::strategy::Strategy;
use super::token_trie::{BitCoder, Decision};
use super::{ChunkOptions, Codec, Coded, bytes, corrupt, tokens};
use crate::error::{Error, ErrorKind, Result};
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

    /// Codes `text` (not empty) by the models that chunks will be coded with.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it is too long; those of [`encode`](super::encode).
    pub fn encode(
        codec: Codec<'_>,
        text: &[u8],
        options: &ChunkOptions,
    ) -> Result<(Coded<'static>, Self)> {
        let too_long = |n, unit, most| {
            let message = format!("the prefix has {n} {unit}, expected at most {most}");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        };
        if text.len() > Self::MAX_LEN {
            return too_long(text.len(), "bytes", Self::MAX_LEN);
        }
        match Strategy::of(options, text.len()) {
            Strategy::Bytes { tier } => {
                let coded = bytes::encode(codec.quiet(), text, tier);
                Ok((coded, Self { text: text.to_vec(), ..Self::default() }))
            }
            Strategy::Tokens { mix, .. } => {
                let (coded, prefix) = tokens::encode_prefix(codec.quiet(), text, mix)?;
                match prefix.tokens.len() {
                    n if n > Self::MAX_TOKENS => too_long(n, "tokens", Self::MAX_TOKENS),
                    _ => Ok((coded, prefix)),
                }
            }
        }
    }

    /// Decodes the prefix of an archive.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where no encoder wrote it; those of [`decode`](super::decode).
    pub fn decode(codec: Codec<'_>, coded: &Coded<'_>) -> Result<Self> {
        let Coded { coding, plain_len, payload } = coded;
        if coding.lanes != 1 || !(1..=Self::MAX_LEN).contains(plain_len) {
            return Err(corrupt("the prefix has several lanes, or a length out of range"));
        }
        let prefix = match coding.runs_model() {
            true => tokens::decode_prefix(codec.quiet(), coded)?,
            false => {
                let text = bytes::decode(codec.quiet(), payload, *plain_len)?;
                Self { text, ..Self::default() }
            }
        };
        match prefix.tokens.len() {
            n if n > Self::MAX_TOKENS => Err(corrupt(format!("the prefix has {n} tokens"))),
            _ => Ok(prefix),
        }
    }

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

/// The coder of what both sides know already: codes nothing.
pub struct Known;

impl BitCoder for Known {
    fn code(&mut self, bit: bool, _: u16) -> bool {
        bit
    }
}
