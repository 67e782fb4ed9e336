//! The default model in floats: what its integers stand for.

use half::f16;
use llmzip::models::Model;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::Path;

/// Writes the default model to `folder`, its linear layers in binary32.
pub fn write_default(folder: &Path) {
    let files = Model::default_files();
    let mut config: serde_json::Value = serde_json::from_slice(files.config).unwrap();
    config.as_object_mut().unwrap().remove("quantization_config");
    let tensors = SafeTensors::deserialize(files.weights).unwrap();
    let mut floats = Vec::new();
    for (name, tensor) in tensors.tensors() {
        let shape = tensor.shape().to_vec();
        let bytes: Vec<u8> = match tensor.dtype() {
            Dtype::I8 => {
                let scales = tensors.tensor(&format!("{name}_scale")).unwrap();
                let scales =
                    scales.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                let rows = tensor.data().chunks(shape[1]).zip(scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |&q| f32::from(q as i8) * scale))
                    .flat_map(f32::to_le_bytes)
                    .collect()
            }
            Dtype::F16 => {
                let halves = tensor.data().chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]));
                halves.flat_map(|half| half.to_f32().to_le_bytes()).collect()
            }
            _ => continue, // a scale
        };
        floats.push((name, shape, bytes));
    }
    let views = floats.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), files.tokenizer).unwrap();
}
