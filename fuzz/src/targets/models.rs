//! Models that are small enough to be run a thousand times a second.

use super::tensors;
use crate::{small_tokenizers, tiny};
use llmzip::Result;
use llmzip::archive::{ModelName, ModelSource};
use llmzip::models::{DEFAULT_CODE, Identity, Model, ModelFiles};
use llmzip::ops::Isa;
use std::sync::{Arc, LazyLock};

/// A GRU of a few numbers whose tokens have several bytes. Archives name it as the default model.
pub static STUB: LazyLock<Arc<Model>> = LazyLock::new(|| {
    let vocab_size = 400;
    let config = format!(
        r#"{{"model_type": "gru", "vocab_size": {vocab_size}, "embedding_size": 4,
            "hidden_size": 8, "num_hidden_layers": 1}}"#
    );
    let (header, data) = tensors::safetensors(&tensors::gru(vocab_size, 4, 8));
    let (_, tokenizer) = small_tokenizers::all().swap_remove(0);
    let small_tokenizers::Files::Json(tokenizer) = tokenizer else { unreachable!("it is JSON") };
    load(
        ModelFiles {
            config: config.as_bytes(),
            weights: &tensors::safetensors_file(&header, &data),
            tokenizer: tokenizer.to_string().as_bytes(),
        },
        Some(DEFAULT_CODE),
    )
});

/// The Llama of `tests/tiny`, whose lanes start afresh. Archives name it by digest.
pub static TINY: LazyLock<Arc<Model>> = LazyLock::new(|| {
    let [(_, config), (_, weights), (_, tokenizer)] =
        tiny::files().try_into().expect("three files");
    load(ModelFiles { config: &config, weights: &weights, tokenizer: &tokenizer }, None)
});

/// What `tests/handmade` writes where a model is named by digest.
const DIGEST: [u8; 32] = [7; 32];

fn load(files: ModelFiles<'_>, builtin_code: Option<u8>) -> Arc<Model> {
    let identity = Identity { digest: DIGEST, label: "small".into(), builtin_code };
    Arc::new(Model::from_files(files, identity, Isa::detect()).expect("the model is good"))
}

/// Both.
pub struct Small;

impl ModelSource for Small {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        match wanted {
            ModelName::Builtin(_) => STUB.find(wanted),
            _ => TINY.find(wanted),
        }
    }
}

/// None.
pub struct Nowhere;

impl ModelSource for Nowhere {
    fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        Err(wanted.missing())
    }
}
