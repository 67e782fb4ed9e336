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

/// compressed-tensors' four bits in groups of 8 for the layers of a Llama.
pub fn compressed(shapes: &Shapes) -> Shapes {
    in_four_bits(shapes, |name, n, k| {
        vec![
            (format!("{name}.weight_packed"), vec![n, k / 8]),
            (format!("{name}.weight_scale"), vec![n, k / 8]),
            (format!("{name}.weight_zero_point"), vec![n.div_ceil(8), k / 8]),
        ]
    })
}

/// AutoAWQ's.
pub fn awq(shapes: &Shapes) -> Shapes {
    in_four_bits(shapes, |name, n, k| {
        vec![
            (format!("{name}.qweight"), vec![k, n / 8]),
            (format!("{name}.qzeros"), vec![k / 8, n / 8]),
            (format!("{name}.scales"), vec![k / 8, n]),
        ]
    })
}

/// GPTQ's.
pub fn gptq(shapes: &Shapes) -> Shapes {
    in_four_bits(shapes, |name, n, k| {
        vec![
            (format!("{name}.qweight"), vec![k / 8, n]),
            (format!("{name}.qzeros"), vec![k / 8, n / 8]),
            (format!("{name}.scales"), vec![k / 8, n]),
        ]
    })
}

fn in_four_bits(shapes: &Shapes, layout: fn(&str, usize, usize) -> Shapes) -> Shapes {
    let tensors = shapes.iter().flat_map(|(name, shape)| match name.strip_suffix(".weight") {
        Some(module) if name.contains("_proj") => layout(module, shape[0], shape[1]),
        _ => vec![(name.clone(), shape.clone())],
    });
    tensors.collect()
}

/// Whether a tensor is words of integers.
fn is_integers(name: &str) -> bool {
    ["packed", "zero_point", "qweight", "qzeros"].iter().any(|end| name.ends_with(end))
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
        let dtype = if is_integers(name) { "I32" } else { "F32" };
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), info);
    }
    (Value::Object(header).to_string().into_bytes(), data)
}

/// A safetensors file of a header and data.
pub fn safetensors_file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}
