//! `config.json` of transformers and recurrent networks.

use llmzip::models::{Architecture, QuantWeights, Quantization};
use llmzip::ops::ActivationBits;

pub fn run(json: &[u8]) {
    let Ok(architecture) = Architecture::parse(json) else { return };
    assert!((1..=1 << 20).contains(&architecture.vocab_size()));
    assert!((architecture.first_token() as usize) < architecture.vocab_size());
    assert!(architecture.max_positions().is_none_or(|most| (1..=1 << 24).contains(&most)));
    let floats = architecture.footprint();
    assert!(floats.weights > 0 && floats.session(64, 1 << 24, 256) > 0);
    let is_quantized = architecture.quantization().is_some();
    let quantized = architecture.quantized(Quantization {
        weights: QuantWeights::Int8,
        activations: ActivationBits::Sixteen,
    });
    if let Ok(quantized) = quantized {
        let smaller = quantized.footprint().weights;
        assert!(smaller < floats.weights || is_quantized && smaller == floats.weights);
    }
}

/// Configurations of every family and of what is optional.
pub fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        r#"{"model_type": "llama", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 176,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
            "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 1,
            "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 128}}"#,
        r#"{"model_type": "mistral", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 176,
            "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 32, "sliding_window": 16,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "mlp_bias": true,
            "quantization_config": {"quant_method": "llmzip-int8", "activation_bits": 8}}"#,
        r#"{"model_type": "qwen3", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 176,
            "num_hidden_layers": 2, "num_attention_heads": 4, "use_sliding_window": true,
            "sliding_window": 9, "max_position_embeddings": 256, "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 1000000, "factor": 2.0}}"#,
        r#"{"model_type": "gpt_neox", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 256,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256,
            "layer_norm_eps": 1e-05, "rotary_pct": 0.25, "rotary_emb_base": 10000,
            "use_parallel_residual": false, "hidden_act": "gelu"}"#,
        r#"{"model_type": "gpt2", "vocab_size": 400, "n_embd": 64, "n_layer": 2, "n_head": 4,
            "n_positions": 256, "n_inner": null, "layer_norm_epsilon": 1e-05,
            "activation_function": "gelu_new", "scale_attn_weights": true}"#,
        r#"{"model_type": "gru", "vocab_size": 400, "embedding_size": 24, "hidden_size": 40,
            "num_hidden_layers": 2}"#,
        r#"{"model_type": "lstm", "vocab_size": 256, "hidden_size": 40, "num_hidden_layers": 1,
            "quantization_config": {"quant_method": "llmzip-int8", "activation_bits": 16}}"#,
    ];
    seeds.map(|json| json.as_bytes().to_vec()).into()
}
