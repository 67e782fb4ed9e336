//! GGUF files (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>): configuration, tokenizer and
//! weights in one. Its tensors become those of transformers by name and order (`names.rs`), its blocks
//! of integers halves, but for those of four bits in linear layers (`blocks.rs`).

mod blocks;
mod config;
mod header;
mod names;
mod tokenizer;

pub(super) use blocks::{BlockType, FourBitGroups, GROUP};
pub(super) use config::QUANT_METHOD;
pub(super) use header::Header;
pub(super) use names::{TensorName, tensors};
pub(super) use tokenizer::{GgufTokenizer, TokenType};
