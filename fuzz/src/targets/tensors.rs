//! Small files of weights, written from names and shapes.

use crate::random::Random;
use serde_json::{Map, Value, json};

/// The tensors of a network, by name: their shapes.
pub type Shapes = Vec<(String, Vec<usize>)>;

/// A GRU of one layer.
pub fn gru(vocab_size: usize, embedding: usize, hidden: usize) -> Shapes {
    let gates = 3 * hidden;
    named(&[
        ("embedding.weight", &[vocab_size, embedding]),
        ("rnn.weight_ih_l0", &[gates, embedding]),
        ("rnn.bias_ih_l0", &[gates]),
        ("rnn.weight_hh_l0", &[gates, hidden]),
        ("rnn.bias_hh_l0", &[gates]),
        ("head.weight", &[vocab_size, hidden]),
        ("head.bias", &[vocab_size]),
    ])
}

/// A Llama of one layer and one head, tied.
pub fn llama(vocab_size: usize, width: usize, inner: usize) -> Shapes {
    let square: &[usize] = &[width, width];
    named(&[
        ("model.embed_tokens.weight", &[vocab_size, width]),
        ("model.layers.0.input_layernorm.weight", &[width]),
        ("model.layers.0.self_attn.q_proj.weight", square),
        ("model.layers.0.self_attn.k_proj.weight", square),
        ("model.layers.0.self_attn.v_proj.weight", square),
        ("model.layers.0.self_attn.o_proj.weight", square),
        ("model.layers.0.post_attention_layernorm.weight", &[width]),
        ("model.layers.0.mlp.gate_proj.weight", &[inner, width]),
        ("model.layers.0.mlp.up_proj.weight", &[inner, width]),
        ("model.layers.0.mlp.down_proj.weight", &[width, inner]),
        ("model.norm.weight", &[width]),
    ])
}

fn named(shapes: &[(&str, &[usize])]) -> Shapes {
    shapes.iter().map(|&(name, shape)| (name.to_owned(), shape.to_vec())).collect()
}

/// The header of a safetensors file, without its length, and its data.
pub fn safetensors(shapes: &Shapes) -> (Vec<u8>, Vec<u8>) {
    let mut random = Random::new(1);
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in shapes {
        let start = data.len();
        let values = random.values(shape.iter().product());
        data.extend(values.into_iter().flat_map(f32::to_le_bytes));
        let info = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), info);
    }
    (Value::Object(header).to_string().into_bytes(), data)
}

/// A safetensors file of a header and data.
pub fn safetensors_file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}
