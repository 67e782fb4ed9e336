//! Any bytes to tokens, by the `tokenizers` crate's byte pair encoding.
//!
//! Only the encoder tokenises, so this decides an archive's size and never its meaning. The decoder
//! too needs the [`Vocabulary`]: which tokens stand for which bytes.
//!
//! Every layout of files is converted to one ([`bpe`]), without the parts that rewrite text. The
//! result is checked against the bytes, and bytes that are not UTF-8 become byte tokens.

mod bpe;
mod byte_level;
mod gguf;
mod json;
mod protobuf;
mod sentencepiece;
mod spelling;

use super::Vocabulary;
use super::gguf::GgufTokenizer;
use crate::error::Result;
use bpe::Bpe;
use spelling::Spelling;
pub use spelling::stand_ins;

/// The files of a tokenizer, as bytes.
#[derive(Clone, Copy)]
pub enum TokenizerFile<'a> {
    /// `tokenizer.json`: byte-level (GPT-2, GPT-NeoX, Qwen, Llama 3) or SentencePiece's (Llama 2); or byte-level WordPiece,
    /// which takes the longest token.
    Json(&'a [u8]),
    /// `tokenizer.model` of SentencePiece.
    SentencePiece(&'a [u8]),
    /// A byte-level encoding in GPT-2's files.
    Bpe {
        /// `vocab.json`
        vocab: &'a [u8],
        /// `merges.txt`
        merges: &'a [u8],
        /// `tokenizer_config.json`
        config: Option<&'a [u8]>,
    },
}

/// Bytes to tokens.
pub struct Tokenizer {
    spelling: Spelling,
    /// `None`: text becomes the longest token that it begins with, again and again.
    tokenizer: Option<tokenizers::Tokenizer>,
}

/// Text is tokenised in pieces of at most this many bytes, to bound memory.
const PIECE: usize = 1 << 16;

impl Tokenizer {
    /// Reads a tokenizer's files, with the bytes of each of its tokens of an id below `vocab_size`.
    ///
    /// Special tokens are left out: their text, where it occurs, is data like any other.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if they are damaged, or of a
    /// kind that is not supported.
    pub fn load(file: TokenizerFile<'_>, vocab_size: usize) -> Result<(Self, Vocabulary)> {
        let bpe = match file {
            TokenizerFile::Json(json) => json::parse(json)?,
            TokenizerFile::SentencePiece(model) => sentencepiece::parse(model)?,
            TokenizerFile::Bpe { vocab, merges, config } => {
                byte_level::parse(vocab, merges, config)?
            }
        };
        Self::of_bpe(bpe, vocab_size)
    }

    /// Makes the tokenizer of a GGUF file, as [`Tokenizer::load`] does.
    ///
    /// # Errors
    /// Those of [`Tokenizer::load`].
    pub(super) fn of_gguf(file: &GgufTokenizer, vocab_size: usize) -> Result<(Self, Vocabulary)> {
        Self::of_bpe(gguf::parse(file)?, vocab_size)
    }

    fn of_bpe(bpe: Bpe, vocab_size: usize) -> Result<(Self, Vocabulary)> {
        let spelling = bpe.spelling;
        let (tokenizer, tokens) = bpe.build(vocab_size)?;
        Ok((Self { spelling, tokenizer }, Vocabulary::new(tokens)?))
    }

    /// The ranks of tokens whose bytes concatenate to `bytes`.
    pub fn encode(&self, bytes: &[u8], vocabulary: &Vocabulary) -> Vec<u32> {
        let singly = |bytes: &[u8]| -> Vec<u32> {
            bytes.iter().map(|&byte| vocabulary.single(byte)).collect()
        };
        let mut ranks = Vec::with_capacity(bytes.len() / 3 + 1);
        let Some(tokenizer) = &self.tokenizer else {
            let mut rest = bytes;
            while !rest.is_empty() {
                let rank = vocabulary.longest(rest);
                ranks.push(rank);
                rest = &rest[vocabulary.bytes(rank).len()..];
            }
            return ranks;
        };
        for chunk in bytes.utf8_chunks() {
            for part in chunk.valid().split_inclusive(|c| self.spelling.is_mark(c)) {
                let text = part.trim_end_matches(|c| self.spelling.is_mark(c));
                for piece in pieces(text) {
                    let tokens = self.encode_text(tokenizer, piece, vocabulary);
                    ranks.extend(tokens.unwrap_or_else(|| singly(piece.as_bytes())));
                }
                ranks.extend(singly(&part.as_bytes()[text.len()..]));
            }
            ranks.extend(singly(chunk.invalid()));
        }
        ranks
    }

    /// The ranks of `text`'s tokens, if they concatenate to it.
    fn encode_text(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        vocabulary: &Vocabulary,
    ) -> Option<Vec<u32>> {
        let encoding = tokenizer.encode_fast(self.spelling.spell(text), false).ok()?;
        let ranks: Option<Vec<u32>> =
            encoding.get_ids().iter().map(|&id| vocabulary.rank(id)).collect();
        let ranks = ranks?;
        let bytes = ranks.iter().flat_map(|&rank| vocabulary.bytes(rank));
        bytes.eq(text.as_bytes()).then_some(ranks)
    }
}

/// Cuts `text` into pieces of at most [`PIECE`] bytes, before a space or line break where there is
/// one.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = text.floor_char_boundary(PIECE);
        let blank = |text: &str| text.rfind([' ', '\n']).filter(|&at| at > 0);
        let cut = if end < text.len() { blank(&text[..end]).unwrap_or(end) } else { end };
        let (piece, rest) = text.split_at(cut);
        text = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::{PIECE, pieces};

    #[test]
    fn pieces_are_short_and_concatenate() {
        let words = "word \u{e9}t\u{e9}\n".repeat(PIECE / 4);
        let unbroken = "\u{20ac}".repeat(PIECE);
        for text in ["", "a", " ", &words, &unbroken, &format!(" {unbroken}")] {
            assert_eq!(pieces(text).collect::<String>(), *text);
            assert!(pieces(text).all(|piece| !piece.is_empty() && piece.len() <= PIECE));
        }
    }
}
