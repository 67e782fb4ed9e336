//! Pieces of text, as lanes that are coded alone would have them.

use crate::models::Model;

/// Tokens of a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Ids: the model's first token, then all but the last of the text.
    pub inputs: Vec<u32>,
    /// Ranks of the text's tokens in the model's vocabulary.
    pub targets: Vec<u32>,
    /// Bytes of the text.
    pub bytes: usize,
}

/// Cuts a text into pieces of `len` bytes, each tokenised by itself.
pub fn pieces(model: &Model, text: &[u8], len: usize) -> Vec<Piece> {
    let (tokenizer, vocabulary) = (model.tokenizer(), model.vocabulary());
    let piece = |text: &[u8]| {
        let targets = tokenizer.encode(text, vocabulary);
        let ids = targets[..targets.len() - 1].iter().map(|&rank| vocabulary.id(rank));
        let inputs = std::iter::once(model.first_token()).chain(ids).collect();
        Piece { inputs, targets, bytes: text.len() }
    };
    text.chunks(len.max(1)).map(piece).collect()
}
