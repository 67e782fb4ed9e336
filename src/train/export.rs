//! The files of a trained model, in the layout of Hugging Face's hub.

use super::checkpoint::{RunProgress, write};
use super::curve::svg;
use super::network::TrainableNetwork;
use super::options::{Budget, TrainOptions};
use super::vocabulary::Tokens;
use crate::error::{Error, ErrorKind, Result};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// `config.json` and `model.safetensors` of a network.
pub struct NetworkFiles {
    pub config: Vec<u8>,
    pub weights: Vec<u8>,
}

/// Writes configuration, tokenizer, if there is one, and weights: these in float16.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::InvalidModel`] where weights exceed the range of float16.
pub fn model(folder: &Path, network: &dyn TrainableNetwork, tokens: Option<&Tokens>) -> Result<()> {
    let halves = |name: &str, values: Vec<f32>| {
        let halves: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
        if halves.iter().any(|half| !half.is_finite()) {
            let message = format!("{name} exceeds the range of float16: training diverged");
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
        Ok(halves.into_iter().flat_map(f16::to_le_bytes).collect())
    };
    let NetworkFiles { config, weights } = files(network, "float16", Dtype::F16, halves)?;
    write(folder, "config.json", &config)?;
    if let Some(tokens) = tokens {
        write(folder, "tokenizer.json", tokens.json())?;
    }
    write(folder, "model.safetensors", &weights)
}

/// Returns the files of a network with weights as they are, in float32.
///
/// # Errors
/// None for tensors that fill their shapes.
pub fn floats(network: &dyn TrainableNetwork) -> Result<NetworkFiles> {
    let bytes = |_: &str, values: Vec<f32>| {
        Ok(values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
    };
    files(network, "float32", Dtype::F32, bytes)
}

/// Returns the files of a network with the bytes that `to_bytes` makes of each tensor.
fn files(
    network: &dyn TrainableNetwork,
    type_name: &str,
    dtype: Dtype,
    to_bytes: impl Fn(&str, Vec<f32>) -> Result<Vec<u8>>,
) -> Result<NetworkFiles> {
    let mut config = network.config();
    config["torch_dtype"] = type_name.into();
    let config = serde_json::to_string_pretty(&config).expect("numbers and strings") + "\n";
    let mut tensors = Vec::new();
    for (name, shape, values) in network.tensors() {
        let bytes = to_bytes(&name, values)?;
        tensors.push((name, shape, bytes));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(dtype, shape.clone(), bytes);
        (name, view.expect("the type's bytes for each number"))
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = safetensors::serialize(views, Some(metadata))
        .map_err(|e| Error::new(ErrorKind::InvalidModel, e.to_string()))?;
    Ok(NetworkFiles { config: config.into_bytes(), weights })
}

/// Writes the model card and the plot of its training. `vocab` is what `--vocab` was.
///
/// # Errors
/// [`ErrorKind::Io`]
pub fn card(
    folder: &Path,
    options: &TrainOptions,
    vocab: &str,
    names: &[String],
    network: &dyn TrainableNetwork,
    progress: &RunProgress,
) -> Result<()> {
    let n: usize = network.parameters().iter().map(|p| p.values.len()).sum();
    let (_, learned, held_out) = progress.curve.last().copied().unwrap_or_default();
    let budget = match options.budget {
        Budget::Steps(steps) => format!("--steps {steps}"),
        Budget::Minutes(minutes) => format!("--minutes {minutes}"),
    };
    let (arch, size, n_tokens) = (options.arch.name(), options.size.name(), options.vocab_size);
    let (steps, tokens, bytes) = (progress.steps, progress.tokens, progress.bytes);
    let (minutes, seed) = (progress.elapsed_s / 60.0, options.seed);
    let crlf = if options.crlf { " --crlf" } else { "" };
    let text = format!(
        "# A language model for llmzip\n\n\
         `{arch}`, {n} parameters, {n_tokens} tokens, kept as float16.\n\n\
         | | |\n| --- | --- |\n\
         | trained by | `llmzip train --arch {arch} --size {size} --vocab {vocab} {budget} --seed {seed}{crlf}`, \
         llmzip {} |\n\
         | trained on | {} |\n\
         | steps | {steps}: {tokens} tokens, {bytes} bytes, {minutes:.1} minutes |\n\
         | bits per byte, learned | {learned:.4} |\n\
         | bits per byte, held out | {held_out:.4} |\n\n\
         The licence of the model depends on that of its data. Archives made with it need all of its files,\n\
         unchanged: keep a copy (`llmzip models export`).\n\n\
         ![bits per byte](curve.svg)\n",
        env!("CARGO_PKG_VERSION"),
        names.join(", "),
    );
    write(folder, "README.md", text.as_bytes())?;
    let point = |(steps, learned, held_out): &(u64, f64, f64)| {
        format!("{steps},{learned:.4},{held_out:.4}\n")
    };
    let points: String = progress.curve.iter().map(point).collect();
    write(folder, "curve.csv", format!("steps,learned,held_out\n{points}").as_bytes())?;
    write(folder, "curve.svg", svg(&progress.curve).as_bytes())
}
