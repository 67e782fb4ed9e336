//! Byte pair encoding, to which every layout of tokenizer files is converted; one without merges may take the longest token
//! wherever it is.

use super::spelling::{Spelling, byte_token, bytes_of, stand_ins};
use crate::error::Result;
use crate::models::invalid;
use crate::models::vocabulary::{Token, TokenKind};
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, PreTokenizerWrapper};

/// A byte pair encoding. The texts of its tokens are in the spelling of its spelling.
pub struct Bpe {
    pub spelling: Spelling,
    /// Texts to ids.
    pub vocab: HashMap<String, u32>,
    /// Pairs of texts, the first to be merged first.
    pub merges: Vec<(String, String)>,
    /// Tokens that are not made by merges, with their ids.
    pub added: Vec<(u32, Added)>,
    /// The pre-tokenizer, which splits text into words, as in `tokenizer.json`.
    pub pre_tokenizer: Option<Value>,
    /// Whether a word that is a token is taken whole.
    pub ignore_merges: bool,
    /// Whether text becomes the longest token that it begins with, again and again, whatever the merges.
    pub longest_match: bool,
}

/// A token that is not made by merges, in the keys of `tokenizer.json`.
#[derive(Deserialize)]
pub struct Added {
    /// Its text as it is, not in the spelling of a spelling.
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

impl Added {
    /// A special token: no text becomes it.
    pub fn special(content: &str) -> Self {
        Self { special: true, ..Self::literal(content) }
    }

    /// A literal token: `content` becomes it wherever it stands.
    pub fn literal(content: &str) -> Self {
        let content = content.to_owned();
        Self { content, special: false, single_word: false, lstrip: false, rstrip: false }
    }

    /// Whether it stands for its content, everywhere, and for nothing else.
    fn is_literal(&self) -> bool {
        !(self.special || self.single_word || self.lstrip || self.rstrip)
    }
}

impl Bpe {
    /// The tokenizer, `None` where the longest match needs none, and the tokens of ids below `vocab_size` that it makes of bytes.
    ///
    /// Special tokens are none of them: their text, where it occurs, is data like any other.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the parts contradict each
    /// other.
    pub fn build(
        mut self,
        vocab_size: usize,
    ) -> Result<(Option<tokenizers::Tokenizer>, Vec<Token>)> {
        if let Some(merge) = self.merges.iter().find(|merge| !is_known(&self.vocab, merge)) {
            return Err(invalid(format!(
                "tokenizer: the merge {merge:?} refers to tokens missing from the vocabulary"
            )));
        }
        let ids =
            self.vocab.values().copied().chain(self.added.iter().map(|&(id, _)| id)).collect();
        for (id, added) in &self.added {
            if self.vocab.get(&added.content) == Some(id) {
                self.vocab.remove(&added.content);
            }
        }
        self.added.retain(|&(id, ref added)| added.is_literal() && (id as usize) < vocab_size);
        self.vocab.retain(|_, id| (*id as usize) < vocab_size);
        self.complete(&ids, vocab_size);
        self.merges.retain(|merge| is_known(&self.vocab, merge));
        let tokens = self.tokens();
        let tokenizer = (!self.longest_match).then(|| self.tokenizer()).transpose();
        Ok((tokenizer.map_err(|e| invalid(format!("tokenizer: {e}")))?, tokens))
    }

    /// Gives bytes that are no tokens an id each (docs/numerics.md, section 9): those below
    /// `vocab_size` that are not in `taken`, from the highest down, then those of ordinary tokens
    /// of several bytes, which are given up.
    ///
    /// The vocabularies of GPT-NeoX and SmolLM lack bytes that their training text had not.
    fn complete(&mut self, taken: &HashSet<u32>, vocab_size: usize) {
        let mut tokens = self.tokens();
        let singles: HashSet<&[u8]> = tokens.iter().map(|token| &token.bytes[..]).collect();
        let missing: Vec<u8> = (0..=255).filter(|&byte| !singles.contains(&[byte][..])).collect();
        tokens.retain(|token| token.bytes.len() > 1 && token.kind == TokenKind::Ordinary);
        tokens.sort_unstable_by_key(|token| Reverse(token.id));
        let free = (0..vocab_size as u32).rev().filter(|id| !taken.contains(id));
        let ids = free.chain(tokens.iter().map(|token| token.id));
        let byte_of_id: HashMap<u32, u8> = ids.zip(missing).collect();
        self.vocab.retain(|_, id| !byte_of_id.contains_key(id));
        let characters = stand_ins();
        self.vocab.extend(byte_of_id.into_iter().map(|(id, byte)| match self.spelling {
            Spelling::ByteLevel => (characters[usize::from(byte)].to_string(), id),
            Spelling::SentencePiece => (byte_token(byte), id),
        }));
    }

    /// The tokens that text can become; those that spell no bytes are left out.
    fn tokens(&self) -> Vec<Token> {
        let byte_of_char: HashMap<char, u8> = stand_ins().into_iter().zip(0..=255).collect();
        let ordinary = self.vocab.iter().filter_map(|(text, &id)| {
            let (kind, bytes) = match self.spelling {
                Spelling::ByteLevel => {
                    let bytes = text.chars().map(|c| byte_of_char.get(&c).copied());
                    (TokenKind::Ordinary, bytes.collect::<Option<_>>()?)
                }
                Spelling::SentencePiece => bytes_of(text),
            };
            Some(Token { bytes, kind, id })
        });
        let added = self.added.iter().map(|(id, added)| Token {
            bytes: added.content.clone().into_bytes(),
            kind: TokenKind::Added,
            id: *id,
        });
        ordinary.chain(added).collect()
    }

    fn tokenizer(self) -> tokenizers::Result<tokenizers::Tokenizer> {
        let mut vocab: Vocab = self.vocab.into_iter().collect();
        let mut literals = Vec::new();
        for (id, added) in self.added {
            // The crate takes an added token's id from the vocabulary.
            let text = self.spelling.spell(&added.content);
            vocab.entry(text.clone().into()).or_insert(id);
            literals.push(AddedToken::from(text, false).normalized(false));
        }
        let model = BPE::builder()
            .vocab_and_merges(vocab, self.merges)
            .byte_fallback(self.spelling == Spelling::SentencePiece)
            .ignore_merges(self.ignore_merges)
            .build()?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        if let Some(json) = self.pre_tokenizer {
            tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::deserialize(json)?));
        }
        tokenizer.add_tokens(literals)?;
        Ok(tokenizer)
    }
}

/// Whether the parts of a merge and what it makes are tokens.
fn is_known(vocab: &HashMap<String, u32>, (left, right): &(String, String)) -> bool {
    [left, right, &format!("{left}{right}")].into_iter().all(|text| vocab.contains_key(text))
}
