//! Tensors of a file under the names that they have in transformers, and in that order of rows.

use super::blocks::BlockType;
use super::header::{Header, TensorInfo};
use crate::error::Result;
use crate::models::invalid;
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
    let named = |tensor: &TensorInfo| {
        let TensorInfo { shape, kind, start, len, .. } = tensor.clone();
        let part = tensor.name.split('.').nth(2);
        let interleaved_heads = match part.filter(|_| is_interleaved) {
            Some("attn_q") => Some(heads("head_count")?),
            Some("attn_k") => Some(heads("head_count_kv")?),
            _ => None,
        };
        let name = name(&tensor.name, layers).ok_or_else(|| {
            invalid(format!(
                "GGUF: unknown tensor {} in {architecture}",
                tensor.name.escape_debug()
            ))
        })?;
        Ok(TensorName { name, shape, kind, range: start..start + len, interleaved_heads })
    };
    // What scales rotary positions, which the configuration refuses.
    let tensors = header.tensors.iter().filter(|tensor| tensor.name != ROPE_FREQUENCIES);
    tensors.map(named).collect()
}

/// Returns the name in transformers, of a network of `layers` layers.
fn name(name: &str, layers: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["token_embd", "weight"] => Some("model.embed_tokens.weight".to_owned()),
        ["output_norm", "weight"] => Some("model.norm.weight".to_owned()),
        ["output", "weight"] => Some("lm_head.weight".to_owned()),
        ["blk", index, part, "weight"] => {
            let number: usize = index.parse().ok()?;
            let (_, part) = PARTS.iter().find(|(name, _)| *name == part)?;
            let is_one = number < layers && number.to_string() == index;
            is_one.then(|| format!("model.layers.{index}.{part}.weight"))
        }
        _ => None,
    }
}

impl TensorName {
    /// Returns the elements, of `size` bytes after blocks have become halves, in the order of transformers.
    pub fn elements(&self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = match self.kind {
            BlockType::F32 | BlockType::F16 | BlockType::Bf16 => bytes,
            blocks => blocks.to_halves(&bytes),
        };
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
