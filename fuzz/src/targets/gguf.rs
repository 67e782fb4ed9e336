//! GGUF files: configuration, tokenizer and weights in one.

use crate::gguf::GgufFile;
use crate::tiny;
use llmzip::models::{Model, Row};
use llmzip::ops::Isa;

/// A model that loads can be run.
pub fn run(input: &[u8]) {
    let place = tempfile::Builder::new().suffix(".gguf").tempfile().expect("a folder for files");
    std::fs::write(&place, input).expect("there is room for a small file");
    let Ok(model) = Model::open_on(place.path(), Isa::detect()) else { return };
    let mut logits = vec![0.0; model.network().outputs()];
    let token = model.first_token();
    model.network().session(1, 1, 16).forward(&[Row { lane: 0, position: 0, token }], &mut logits);
}

/// The tiny Llama, whole and its first half.
pub fn seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder for files");
    let whole = GgufFile::of_folder(&tiny::write(folder.path(), &tiny::files())).to_bytes();
    let beginning = whole[..whole.len() / 2].to_vec();
    vec![whole, beginning]
}
