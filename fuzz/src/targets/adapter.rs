//! Low-rank adapters: configuration and weights, beside a small network.

use super::fields::{Fields, counted};
use super::tensors;
use llmzip::models::{AdapterFiles, Architecture, Row, Transformer, Weights};
use llmzip::ops::Isa;

const VOCAB_SIZE: usize = 8;

const CONFIG: &str = r#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 16,
    "rms_norm_eps": 1e-05, "tie_word_embeddings": true}"#;

/// An adapter that loads can be run.
pub fn run(input: &[u8]) {
    let mut fields = Fields(input);
    let config = fields.counted().to_vec();
    let weights = match fields.u8() % 2 {
        0 => tensors::safetensors_file(fields.counted(), fields.0),
        _ => fields.0.to_vec(),
    };
    let files = AdapterFiles::new("fuzzed".into(), config, weights);
    let Architecture::Transformer(config) = Architecture::parse(CONFIG.as_bytes()).unwrap() else {
        unreachable!("it is one")
    };
    let Ok(adapter) = files.parse(&config) else { return };
    assert!(files.check().is_ok_and(|rank| rank == adapter.rank));
    let (header, data) = tensors::safetensors(&tensors::llama(VOCAB_SIZE, 4, 8));
    let file = tensors::safetensors_file(&header, &data);
    let outputs: Vec<u32> = (0..VOCAB_SIZE as u32).collect();
    let base = Weights::parse(&file).expect("it was just made");
    let network = Transformer::load(&config, &base, &outputs, Isa::detect()).expect("it is whole");
    let network = network.with_adapter(&adapter);
    let mut logits = vec![0.0; 2 * VOCAB_SIZE];
    let row = |position| Row { lane: 0, position, token: 1 + position };
    let rows = [row(0), row(1)];
    llmzip::models::Network::session(&network, 1, 2, 16).forward(&rows, &mut logits);
}

/// Adapters beside some modules and all, whole and in parts.
pub fn seeds() -> Vec<Vec<u8>> {
    let name = |module: &str, matrix: &str| {
        format!("base_model.model.model.layers.0.{module}.lora_{matrix}.weight")
    };
    let of = |modules: &[(&str, usize, usize)], r: usize| -> tensors::Shapes {
        let matrices = |&(module, outputs, inputs): &(&str, usize, usize)| {
            [(name(module, "A"), vec![r, inputs]), (name(module, "B"), vec![outputs, r])]
        };
        modules.iter().flat_map(matrices).collect()
    };
    let config = |r: usize, more: &str| {
        format!(r#"{{"peft_type": "LORA", "r": {r}, "lora_alpha": 4, "bias": "none"{more}}}"#)
    };
    let some = [("self_attn.v_proj", 4, 4), ("mlp.down_proj", 4, 8)];
    let all = [&some[..], &[("self_attn.q_proj", 4, 4), ("mlp.up_proj", 8, 4)]].concat();
    let mut seeds = Vec::new();
    for (config, shapes) in [
        (config(2, r#", "target_modules": ["v_proj", "down_proj"]"#), of(&some, 2)),
        (config(1, r#", "use_rslora": true"#), of(&all, 1)),
        (config(1024, ""), of(&some[..1], 1)),
        (config(2, r#", "use_dora": true"#), of(&some, 2)),
    ] {
        let (header, data) = tensors::safetensors(&shapes);
        let config = counted(config.as_bytes());
        seeds.push([&config[..], &[0], &counted(&header), &data].concat());
        seeds.push([&config[..], &[1], &tensors::safetensors_file(&header, &data)].concat());
    }
    seeds
}
