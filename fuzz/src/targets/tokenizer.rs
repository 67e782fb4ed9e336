//! The files of tokenizers: where one loads, any bytes become tokens of the same bytes.

use super::fields::{Fields, counted};
use crate::small_tokenizers::all;
use llmzip::models::{Tokenizer, TokenizerFile};

const TEXT: &[u8] = "The caf\u{e9}: the\u{2581}  12 and\r\n\t<s>\u{65e5}\u{672c}ing's\0".as_bytes();

pub fn run(input: &[u8]) {
    let mut fields = Fields(input);
    let (kind, vocab_size) = (fields.u8() % 4, usize::from(fields.u16()));
    let file = match kind {
        0 => TokenizerFile::Json(fields.0),
        1 => TokenizerFile::SentencePiece(fields.0),
        kind => {
            let (vocab, merges) = (fields.counted(), fields.counted());
            TokenizerFile::Bpe { vocab, merges, config: (kind == 3).then_some(fields.0) }
        }
    };
    let Ok((tokenizer, vocabulary)) = Tokenizer::load(file, vocab_size) else { return };
    assert!(vocabulary.ids().iter().all(|&id| (id as usize) < vocab_size));
    for text in [TEXT, b"\xff\xe2\x96", &input[input.len().saturating_sub(100)..]] {
        let ranks = tokenizer.encode(text, &vocabulary);
        let bytes = ranks.iter().flat_map(|&rank| vocabulary.bytes(rank));
        assert!(bytes.eq(text), "tokens of other bytes");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |file: TokenizerFile<'_>| {
        let (kind, bytes) = match file {
            TokenizerFile::Json(json) => (0, json.to_vec()),
            TokenizerFile::SentencePiece(model) => (1, model.to_vec()),
            TokenizerFile::Bpe { vocab, merges, config } => {
                let files = [counted(vocab), counted(merges)].concat();
                (if config.is_some() { 3 } else { 2 }, [&files, config.unwrap_or(b"")].concat())
            }
        };
        [&[kind, 0, 2], &bytes[..]].concat()
    };
    all().iter().map(|(_, files)| files.with(seed)).collect()
}
