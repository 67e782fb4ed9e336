//! Tensors of a file under the names that they have in transformers, and in that order of rows.

use super::blocks::{BlockType, FourBitGroups};
use super::header::{Header, TensorInfo};
use crate::error::Result;
use crate::models::invalid;
use std::collections::HashSet;
use std::ops::Range;

/// A tensor under its name in transformers.
#[derive(Debug, Clone)]
pub struct TensorName {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: BlockType,
    /// Its bytes in the file.
    pub range: Range<u64>,
    /// Heads whose rows are interleaved: the first of one half, the first of the other, the second ..
    pub interleaved_heads: Option<usize>,
    /// Whether a linear layer computes with its four-bit integers; else blocks become halves.
    pub is_four_bits: bool,
}

/// The tensor of factors by which rotary positions are scaled.
pub const ROPE_FREQUENCIES: &str = "rope_freqs.weight";

/// Parts of a block, and their names in transformers.
const PARTS: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Parts that are one linear layer.
const HEADS: [&str; 3] = ["attn_q", "attn_k", "attn_v"];

/// Returns the tensors of a file.
///
/// # Errors
/// `InvalidModel` where one has a name that no network has.
pub fn tensors(header: &Header) -> Result<Vec<TensorName>> {
    let architecture = header.architecture()?;
    let heads = |key: &str| -> Result<usize> {
        let of_key = header.integer(&format!("{architecture}.attention.{key}"))?;
        let all = header.integer(&format!("{architecture}.attention.head_count"))?;
        Ok(of_key.or(all).unwrap_or(1) as usize)
    };
    let is_interleaved = architecture == "llama";
    let layers = header.integer(&format!("{architecture}.block_count"))?.unwrap_or(0) as usize;
    let four_bits = header.four_bits();
    let named = |tensor: &TensorInfo| {
        let TensorInfo { shape, kind, start, len, .. } = tensor.clone();
        let part = tensor.name.split('.').nth(2);
        let interleaved_heads = match part.filter(|_| is_interleaved) {
            Some("attn_q") => Some(heads("head_count")?),
            Some("attn_k") => Some(heads("head_count_kv")?),
            _ => None,
        };
        let name = name(&tensor.name, layers, architecture).ok_or_else(|| {
            invalid(format!(
                "GGUF: unknown tensor {} in {architecture}",
                tensor.name.escape_debug()
            ))
        })?;
        let is_four_bits = four_bits.contains(tensor.name.as_str());
        let range = start..start + len;
        Ok(TensorName { name, shape, kind, range, interleaved_heads, is_four_bits })
    };
    // What scales rotary positions, which the configuration refuses.
    let tensors = header.tensors.iter().filter(|tensor| tensor.name != ROPE_FREQUENCIES);
    tensors.map(named).collect()
}

impl Header {
    /// Returns the names of tensors with whose four-bit integers linear layers compute. Queries, keys and values
    /// are one layer: all three or none. An embedding that is not the head, too, is none.
    pub(super) fn four_bits(&self) -> HashSet<&str> {
        let is_matrix =
            |tensor: &&TensorInfo| tensor.shape.len() == 2 && tensor.kind.is_four_bits();
        let names = |tensor: &TensorInfo| tensor.name.clone();
        let four: HashSet<String> = self.tensors.iter().filter(is_matrix).map(names).collect();
        let has_head = self.tensors.iter().any(|tensor| tensor.name == "output.weight");
        let is_computed_with = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
            ["token_embd", "weight"] => !has_head,
            ["blk", layer, part, end] if HEADS.contains(&part) => {
                HEADS.iter().all(|part| four.contains(&format!("blk.{layer}.{part}.{end}")))
            }
            _ => true,
        };
        let names = self.tensors.iter().map(|tensor| tensor.name.as_str());
        names.filter(|&name| four.contains(name) && is_computed_with(name)).collect()
    }
}

/// Returns the name in transformers, of a network of `layers` layers. Of Qwen2, queries, keys and values have biases.
fn name(name: &str, layers: usize, architecture: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["token_embd", "weight"] => Some("model.embed_tokens.weight".to_owned()),
        ["output_norm", "weight"] => Some("model.norm.weight".to_owned()),
        ["output", "weight"] => Some("lm_head.weight".to_owned()),
        ["blk", index, part, end] => {
            let number: usize = index.parse().ok()?;
            let has = match end {
                "weight" => true,
                "bias" => architecture == "qwen2" && HEADS.contains(&part),
                _ => false,
            };
            let (_, part) = PARTS.iter().find(|(name, _)| *name == part)?;
            let is_one = has && number < layers && number.to_string() == index;
            is_one.then(|| format!("model.layers.{index}.{part}.{end}"))
        }
        _ => None,
    }
}

impl TensorName {
    /// Returns the elements, those of blocks as halves, in the order of transformers.
    pub fn elements(&self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = self.in_order(bytes);
        match self.kind {
            BlockType::F32 | BlockType::F16 | BlockType::Bf16 => bytes,
            blocks => blocks.to_halves(&bytes),
        }
    }

    /// Returns the elements of a type of four bits, in the order of transformers.
    pub fn groups(&self, bytes: Vec<u8>) -> FourBitGroups {
        self.kind.to_groups(&self.in_order(bytes))
    }

    fn in_order(&self, bytes: Vec<u8>) -> Vec<u8> {
        match self.interleaved_heads {
            Some(heads) => apart(&bytes, self.shape[0], heads),
            None => bytes,
        }
    }
}

/// Puts the halves of each head's rows one after the other; `bytes` has `rows` rows.
fn apart(bytes: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let head = rows / heads.max(1);
    if head < 2 || !head.is_multiple_of(2) || head * heads != rows {
        return bytes.to_vec(); // no shape that a network has
    }
    let width = bytes.len() / rows;
    let mut out = Vec::with_capacity(bytes.len());
    for head_bytes in bytes.chunks_exact(head * width) {
        for half in 0..2 {
            for row in 0..head / 2 {
                out.extend_from_slice(&head_bytes[(2 * row + half) * width..][..width]);
            }
        }
    }
    out
}
