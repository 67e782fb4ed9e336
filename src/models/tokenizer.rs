//! Any bytes to tokens, by the `tokenizers` crate's byte-level BPE.
//!
//! Only the encoder tokenises, so this decides an archive's size and never its meaning.
//! `tokenizers` works on text and may rewrite it; here its result is checked against the bytes, and
//! bytes that are not UTF-8 become byte tokens.

use super::{Vocabulary, invalid};
use crate::error::Result;
use serde_json::Value;
use std::collections::HashMap;

/// Bytes to tokens.
pub struct Tokenizer(tokenizers::Tokenizer);

/// Text is tokenised in pieces of at most this many bytes, to bound memory.
const PIECE: usize = 1 << 16;

impl Tokenizer {
    /// Reads `tokenizer.json` of a byte-level BPE, with the bytes of each of its tokens of an id
    /// below `vocab_size`.
    ///
    /// Special and added tokens are left out: their text, where it occurs, is data like any other.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if it is of another kind.
    pub fn parse(json: &[u8], vocab_size: usize) -> Result<(Self, Vocabulary)> {
        let failed = |e: &dyn std::fmt::Display| invalid(format!("tokenizer.json: {e}"));
        let mut json: Value = serde_json::from_slice(json).map_err(|e| failed(&e))?;
        if json["pre_tokenizer"]["type"] != "ByteLevel" || json["model"]["type"] != "BPE" {
            return Err(failed(&"expected a byte-level BPE"));
        }
        let added: Vec<Value> = json["added_tokens"].as_array().cloned().unwrap_or_default();
        for part in ["normalizer", "post_processor", "truncation", "padding"] {
            json[part] = Value::Null;
        }
        json["added_tokens"] = Value::Array(Vec::new());
        json["pre_tokenizer"]["add_prefix_space"] = Value::Bool(false);
        let tokenizer: tokenizers::Tokenizer =
            serde_json::from_value(json).map_err(|e| failed(&e))?;
        let is_added = |text: &str| added.iter().any(|token| token["content"] == text);
        let byte_of_char = byte_of_char();
        let tokens = tokenizer
            .get_vocab(false)
            .into_iter()
            .filter(|(text, id)| (*id as usize) < vocab_size && !is_added(text));
        let bytes_of = |text: &str| -> Option<Vec<u8>> {
            text.chars().map(|c| byte_of_char.get(&c).copied()).collect()
        };
        let tokens = tokens.filter_map(|(text, id)| Some((bytes_of(&text)?, id)));
        let vocabulary = Vocabulary::new(tokens.collect())?;
        Ok((Self(tokenizer), vocabulary))
    }

    /// The ranks of tokens whose bytes concatenate to `bytes`.
    pub fn encode(&self, bytes: &[u8], vocabulary: &Vocabulary) -> Vec<u32> {
        let singly =
            |bytes: &[u8]| -> Vec<u32> { bytes.iter().map(|&b| vocabulary.single(b)).collect() };
        let mut ranks = Vec::with_capacity(bytes.len() / 3 + 1);
        for chunk in bytes.utf8_chunks() {
            for piece in pieces(chunk.valid()) {
                match self.encode_text(piece, vocabulary) {
                    Some(tokens) => ranks.extend(tokens),
                    None => ranks.extend(singly(piece.as_bytes())),
                }
            }
            ranks.extend(singly(chunk.invalid()));
        }
        ranks
    }

    /// The ranks of `text`'s tokens, if they concatenate to it.
    fn encode_text(&self, text: &str, vocabulary: &Vocabulary) -> Option<Vec<u32>> {
        let encoding = self.0.encode_fast(text, false).ok()?;
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

/// GPT-2's printable stand-ins for bytes: printable ones stand for themselves, the others, in
/// order, for U+0100 on.
fn byte_of_char() -> HashMap<char, u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut stand_ins = ('\u{100}'..).take(68);
    (0..=255u8)
        .map(|b| match printable(b) {
            true => (char::from(b), b),
            false => (stand_ins.next().expect("68 bytes are not printable"), b),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{PIECE, byte_of_char, pieces};

    #[test]
    fn every_byte_has_one_stand_in() {
        let mut bytes: Vec<u8> = byte_of_char().into_values().collect();
        bytes.sort_unstable();
        assert!(bytes.into_iter().eq(0..=255));
        assert_eq!(byte_of_char()[&'\u{120}'], b' ');
        assert_eq!(byte_of_char()[&'\u{10a}'], b'\n');
    }

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
