//! Weights, safetensors and pickles, and the small networks that are loaded from them.

use super::fields::{Fields, counted};
use super::tensors;
use super::torch;
use llmzip::models::{Architecture, Row, Weights};
use llmzip::ops::Isa;

const VOCAB_SIZE: usize = 8;

/// Networks of some hundred numbers, and the largest that there can be.
const CONFIGS: [&str; 7] = [
    r#"{"model_type": "gru", "vocab_size": 8, "embedding_size": 2, "hidden_size": 4,
        "num_hidden_layers": 1}"#,
    r#"{"model_type": "gru", "vocab_size": 8, "embedding_size": 2, "hidden_size": 4,
        "num_hidden_layers": 1,
        "quantization_config": {"quant_method": "llmzip-int8", "activation_bits": 8}}"#,
    r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-05, "tie_word_embeddings": true}"#,
    r#"{"model_type": "gru", "vocab_size": 1048576, "embedding_size": 65536, "hidden_size": 65536,
        "num_hidden_layers": 512}"#,
    r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "quantization_config": {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": {
        "weights": {"num_bits": 4, "type": "int", "symmetric": false, "strategy": "group", "group_size": 8}}}}}"#,
    r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "quantization_config": {
        "quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm", "zero_point": true}}"#,
    r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "quantization_config": {
        "quant_method": "gptq", "bits": 4, "group_size": 8}}"#,
];

/// How the rest of an input becomes a file.
const SAFETENSORS: u8 = 0;
/// Its header's length is put before it.
const HEADER_AND_DATA: u8 = 1;
const PICKLE: u8 = 2;
/// They are put into the archive that PyTorch writes.
const PICKLE_AND_DATA: u8 = 3;

pub fn run(input: &[u8]) {
    let mut fields = Fields(input);
    let config = CONFIGS[usize::from(fields.u8()) % CONFIGS.len()];
    let architecture = Architecture::parse(config.as_bytes()).expect("the configuration is good");
    let kind = fields.u8() % 4;
    let file = match kind {
        HEADER_AND_DATA => tensors::safetensors_file(fields.counted(), fields.0),
        PICKLE_AND_DATA => torch::file(fields.counted(), fields.0),
        _ => fields.0.to_vec(),
    };
    if kind <= HEADER_AND_DATA {
        if let Ok(weights) = Weights::parse(&file) {
            load(&architecture, &weights);
        }
        return;
    }
    // Pickles are read from files.
    let place = tempfile::Builder::new().suffix(".bin").tempfile().expect("a folder for files");
    std::fs::write(&place, file).expect("there is room for a small file");
    if let Ok(weights) = Weights::open(&[place.path()]) {
        load(&architecture, &weights);
    }
}

/// Loads the network and, where that goes well, runs it for two steps.
fn load(architecture: &Architecture, weights: &Weights<'_>) {
    let outputs: Vec<u32> = (0..VOCAB_SIZE as u32).collect();
    let Ok(network) = architecture.load(weights, &outputs, Isa::detect()) else { return };
    let mut logits = vec![0.0; 2 * VOCAB_SIZE];
    let row = |position| Row { lane: 0, position, token: 1 + position };
    network.session(1, 2, 16).forward(&[row(0), row(1)], &mut logits);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let (gru, llama) = (tensors::gru(VOCAB_SIZE, 2, 4), tensors::llama(VOCAB_SIZE, 4, 8));
    let wide = tensors::llama(VOCAB_SIZE, 8, 16);
    let mut seeds = Vec::new();
    let four = [tensors::compressed, tensors::awq, tensors::gptq].map(|layout| layout(&wide));
    let floats = [(0, &gru), (1, &gru), (2, &llama), (3, &gru)];
    for (config, shapes) in floats.into_iter().chain((4..).zip(&four)) {
        let (header, data) = tensors::safetensors(shapes);
        let file = tensors::safetensors_file(&header, &data);
        seeds.push([&[config, SAFETENSORS][..], &file].concat());
        seeds.push([&[config, HEADER_AND_DATA][..], &counted(&header), &data].concat());
    }
    for (config, shapes) in [(0, &gru), (2, &llama)] {
        let (pickle, data) = torch::pickle(shapes);
        seeds.push([&[config, PICKLE][..], &torch::file(&pickle, &data)].concat());
        seeds.push([&[config, PICKLE_AND_DATA][..], &counted(&pickle), &data].concat());
    }
    seeds
}
