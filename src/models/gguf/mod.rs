//! GGUF files (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>): configuration, tokenizer and
//! weights in one. Its tensors become those of transformers by name and order (`names.rs`), its blocks
//! of integers become halves (`blocks.rs`).

mod blocks;
mod config;
mod header;
mod names;
mod tokenizer;

pub(super) use blocks::BlockType;
pub(super) use header::Header;
pub(super) use names::{TensorName, tensors};
pub(super) use tokenizer::{GgufTokenizer, TokenType};
