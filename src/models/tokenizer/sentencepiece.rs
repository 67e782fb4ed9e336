//! SentencePiece: tokens are text with U+2581 for spaces, and a token for each byte besides.

use super::bpe::{Added, Bpe};
use super::protobuf::{Field, fields};
use super::spelling::{SPACE, Spelling};
use crate::error::Result;
use crate::models::invalid;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A piece longer than this is refused: what it could be merged from takes the square of its
/// length to find.
const LONGEST_PIECE: usize = 1 << 10;

/// `tokenizer.json`'s Metaspace; `split` before each space, or not. It adds no space.
pub fn pre_tokenizer(split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": split})
}

/// A piece of `tokenizer.model`.
struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

/// Kinds of [`Piece`], as in `sentencepiece_model.proto`.
const NORMAL: u64 = 1;
const USER_DEFINED: u64 = 4;
const BYTE: u64 = 6;

/// Kinds of model, as in `sentencepiece_model.proto`.
const UNIGRAM: u64 = 1;
const BPE: u64 = 2;

/// Reads `tokenizer.model` of a byte pair encoding. A piece's id is its place.
pub fn parse(model: &[u8]) -> Result<Bpe> {
    let (pieces, model_type) =
        parse_model(model).map_err(|what| invalid(format!("tokenizer.model: {what}")))?;
    if model_type != BPE {
        let name = if model_type == UNIGRAM { " (unigram)" } else { "" };
        return Err(invalid(format!(
            "tokenizer.model: model_type is {model_type}{name}, expected {BPE} (byte pair encoding)"
        )));
    }
    let (mut vocab, mut added) = (HashMap::new(), Vec::new());
    for (piece, id) in pieces.iter().zip(0..) {
        match piece.kind {
            NORMAL | BYTE => drop(vocab.insert(piece.text.clone(), id)),
            USER_DEFINED => added.push((id, Added::literal(&piece.text.replace(SPACE, " ")))),
            _ => added.push((id, Added::special(&piece.text))),
        }
    }
    let normal = pieces.iter().zip(0..).filter(|(piece, _)| piece.kind == NORMAL);
    let normal = normal.map(|(piece, id)| (piece.text.as_str(), piece.score, id));
    Ok(Bpe {
        spelling: Spelling::SentencePiece,
        vocab,
        merges: merges(normal.collect())?,
        added,
        pre_tokenizer: None,
        ignore_merges: false,
        longest_match: false,
    })
}

/// The pieces and the kind of model of a `ModelProto`.
fn parse_model(model: &[u8]) -> std::result::Result<(Vec<Piece>, u64), String> {
    let (mut pieces, mut model_type) = (Vec::new(), UNIGRAM);
    for field in fields(model) {
        match field? {
            (1, Field::Bytes(piece)) => {
                let piece = parse_piece(piece);
                pieces.push(piece.map_err(|what| format!("piece {}: {what}", pieces.len()))?);
            }
            (2, Field::Bytes(trainer_spec)) => {
                for field in fields(trainer_spec) {
                    if let (3, Field::Varint(kind)) = field? {
                        model_type = kind;
                    }
                }
            }
            _ => (),
        }
    }
    match pieces.is_empty() {
        true => Err("it has no pieces".to_owned()),
        false => Ok((pieces, model_type)),
    }
}

fn parse_piece(message: &[u8]) -> std::result::Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: NORMAL };
    for field in fields(message) {
        match field? {
            (1, Field::Bytes(text)) if text.len() > LONGEST_PIECE => {
                return Err(format!("{} bytes, expected at most {LONGEST_PIECE}", text.len()));
            }
            (1, Field::Bytes(text)) => {
                let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
                piece.text = text.to_owned();
            }
            (2, Field::Fixed32(score)) => piece.score = f32::from_le_bytes(score),
            (3, Field::Varint(kind)) => piece.kind = kind,
            _ => (),
        }
    }
    Ok(piece)
}

/// The merges that normal pieces, each with its score and id, stand for: every cut of one into two, those of
/// the pieces of the highest score first.
///
/// # Errors
/// `InvalidModel` where a piece is too long.
pub fn merges(mut normal: Vec<(&str, f32, u32)>) -> Result<Vec<(String, String)>> {
    if let Some((text, ..)) = normal.iter().find(|(text, ..)| text.len() > LONGEST_PIECE) {
        let message = format!("a token of {} bytes, expected at most {LONGEST_PIECE}", text.len());
        return Err(invalid(message));
    }
    let ids: HashMap<&str, u32> = normal.iter().map(|&(text, _, id)| (text, id)).collect();
    normal.sort_by(|(_, a, _), (_, b, _)| b.total_cmp(a));
    let mut merges = Vec::new();
    for (text, ..) in normal {
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let mut cuts: Vec<(&str, &str)> = cuts
            .filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right))
            .collect();
        cuts.sort_by_key(|&(left, right)| (ids[left], ids[right]));
        merges.extend(cuts.into_iter().map(|(left, right)| (left.to_owned(), right.to_owned())));
    }
    Ok(merges)
}
