//! `config.json` of a recurrent network.

use crate::error::Result;
use crate::models::checkpoint_files::CONFIG;
use crate::models::config::{check_bounds, check_first_token, first_token_of};
use crate::models::quantization::{QUANT_METHOD, QuantWeights, Quantization, quantization_of};
use crate::models::{Footprint, invalid, json};
use crate::nn::recurrence::Cell;
use crate::nn::recurrent::RecurrentShape;
use crate::ops::MAX_INPUTS;
use serde::Deserialize;
use serde_json::Value;

/// A recurrent network's configuration. Every number is within the caps of
/// [`RecurrentConfig::parse`].
#[derive(Debug, Clone)]
pub struct RecurrentConfig {
    /// Its cells.
    pub cell: Cell,
    /// Tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of the embedding: inputs of the first layer.
    pub embedding_size: usize,
    /// Width of the state.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// The token that opens every lane: the model's beginning of sequence, else token 0.
    pub first_token: u32,
    /// Whether the linear layers run in integers.
    pub quantization: Option<Quantization>,
}

/// The keys as they stand.
#[derive(Deserialize)]
struct RecurrentKeys {
    model_type: String,
    vocab_size: usize,
    embedding_size: Option<usize>,
    hidden_size: usize,
    num_hidden_layers: usize,
    #[serde(default)]
    bos_token_id: Value,
    #[serde(default)]
    quantization_config: Value,
}

impl RecurrentConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if it is not JSON, not of a
    /// recurrent network, or a number is out of bounds.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let failed = |what: String| invalid(format!("config.json: {what}"));
        let keys: RecurrentKeys = json::parse(CONFIG, text)?;
        let cell = match keys.model_type.as_str() {
            "gru" => Cell::Gru,
            "lstm" => Cell::Lstm,
            other => return Err(failed(format!("model_type is {other:?}, expected gru or lstm"))),
        };
        let quantization = quantization_of(&keys.quantization_config, &Value::Null);
        let quantization = quantization.map_err(failed)?;
        if quantization.is_some_and(|q| q.weights != QuantWeights::Int8) {
            return Err(failed(format!(
                "a recurrent network of four bits, expected {QUANT_METHOD:?}"
            )));
        }
        let config = Self {
            cell,
            vocab_size: keys.vocab_size,
            embedding_size: keys.embedding_size.unwrap_or(keys.hidden_size),
            hidden_size: keys.hidden_size,
            layers: keys.num_hidden_layers,
            first_token: first_token_of(&keys.bos_token_id).map_err(failed)?,
            quantization,
        };
        config.check().map_err(failed)?;
        Ok(config)
    }

    /// Widths are within those of layers in integers, too.
    fn check(&self) -> std::result::Result<(), String> {
        let bounded = [
            ("vocab_size", self.vocab_size, 1 << 20),
            ("embedding_size", self.embedding_size, MAX_INPUTS),
            ("hidden_size", self.hidden_size, MAX_INPUTS),
            ("num_hidden_layers", self.layers, 512),
        ];
        check_bounds(&bounded)?;
        check_first_token(self.first_token, self.vocab_size)
    }

    /// The same with linear layers in `quantization`.
    pub fn quantized(self, quantization: Quantization) -> Self {
        Self { quantization: Some(quantization), ..self }
    }

    /// The network's dimensions.
    pub fn shape(&self) -> RecurrentShape {
        let &Self { cell, vocab_size, embedding_size, hidden_size, layers, .. } = self;
        RecurrentShape { cell, vocab_size, embedding_size, hidden_size, layers }
    }

    /// Inputs of a layer.
    pub fn inputs(&self, layer: usize) -> usize {
        if layer == 0 { self.embedding_size } else { self.hidden_size }
    }

    /// Outputs of a layer's gates.
    pub fn gates(&self) -> usize {
        self.cell.gates() * self.hidden_size
    }

    /// Whether the first layer's gate inputs are tabulated, once for every token.
    pub fn is_tabulated(&self) -> bool {
        self.vocab_size * self.gates() <= MOST_TABULATED
    }

    /// The memory that the network takes.
    pub fn footprint(&self) -> Footprint {
        let n = |x: usize| x as u64;
        let (v, h, g) = (n(self.vocab_size), n(self.hidden_size), n(self.gates()));
        let layers: u64 = (0..self.layers).map(|layer| g * (n(self.inputs(layer)) + h)).sum();
        let e = n(self.embedding_size);
        let (table, tabulated) = if self.is_tabulated() { (e + g, g * e) } else { (e, 0) };
        let linear = if self.quantization.is_some() { 1 } else { 4 };
        let widest = self.embedding_size.max(self.hidden_size);
        Footprint {
            weights: linear * (layers + v * h) + 4 * v * table,
            macs: layers - tabulated + v * h,
            lane: 4 * n(self.layers) * n(self.cell.states()) * h,
            position: 0,
            row: 4 * (n(widest) + h + 2 * g + 2 * v),
        }
    }
}

/// Most numbers of such a table: 16 MiB.
const MOST_TABULATED: usize = 1 << 22;
