//! How much memory a network takes, before any of it is taken.

use super::{Config, Int4Layout, QuantWeights};

/// Memory in bytes. An estimate: what is small beside these is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// The network's weights, as they are computed with.
    pub weights: u64,
    /// Multiply-adds of one row, but for attention: not memory, but it goes with it.
    pub macs: u64,
    /// State of one lane, however long it is.
    pub lane: u64,
    /// Keys and values of one position of a lane.
    pub position: u64,
    /// Intermediate results of one row, logits included.
    pub row: u64,
}

impl Footprint {
    /// That of the network of `config`, whose numbers are within their caps.
    pub fn of(config: &Config) -> Self {
        let n = |x: usize| x as u64;
        let (c, f, v) = (n(config.hidden_size), n(config.intermediate_size), n(config.vocab_size));
        let q = n(config.heads) * n(config.head_dim);
        let kv = n(config.kv_heads) * n(config.head_dim);
        let gate = if config.has_gate() { f * c } else { 0 };
        let layer = (q + 2 * kv) * c + q * c + 2 * f * c + gate;
        let layers = n(config.layers) * layer;
        let float = n(config.float_len);
        let linear = layers + v * c;
        let in_memory = match config.quantization.map(|q| q.weights) {
            None => float * linear,
            Some(QuantWeights::Int8) => linear,
            Some(QuantWeights::Int4(format)) => {
                let four = match format.layout {
                    Int4Layout::Gguf => config.gguf_four_bits.min(linear),
                    _ => layers,
                };
                format.memory(four) + float * (linear - four)
            }
        };
        let table = if config.tied { 0 } else { float * v * c };
        Self {
            weights: in_memory + table,
            macs: linear,
            lane: 0,
            position: n(config.layers) * 2 * kv * 2,
            row: 4 * (3 * c + 2 * (q + kv) + 2 * f + 2 * v),
        }
    }

    /// Memory of `lanes` lanes of up to `positions` positions that are fed `rows` rows in one call.
    pub fn session(&self, lanes: usize, positions: usize, rows: usize) -> u64 {
        let of_lane = (positions as u64).saturating_mul(self.position).saturating_add(self.lane);
        let kept = (lanes as u64).saturating_mul(of_lane);
        kept.saturating_add((rows as u64).saturating_mul(self.row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Int4Format, Quantization};
    use crate::ops::ActivationBits;

    #[test]
    fn pythia_70m_is_as_large_as_its_card_says() {
        let json = br#"{"model_type": "gpt_neox", "vocab_size": 50304, "hidden_size": 512, "intermediate_size": 2048,
            "num_hidden_layers": 6, "num_attention_heads": 8, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5}"#;
        let config = Config::parse(json).unwrap();
        let footprint = Footprint::of(&config);
        // 70,426,624 parameters, 44,000 of them in norms and biases.
        assert!((70_350_000..70_430_000).contains(&(footprint.weights / 4)), "{footprint:?}");
        let quantized = |weights| {
            let quantization = Quantization { weights, activations: ActivationBits::Eight };
            Footprint::of(&config.clone().quantized(quantization).unwrap()).weights
        };
        assert_eq!(footprint.weights - quantized(QuantWeights::Int8), 3 * footprint.macs);
        let layout = Int4Layout::CompressedTensors;
        let format = Int4Format { layout, group: Some(64), has_zeros: false };
        let layers = footprint.macs - 50304 * 512;
        let saved = footprint.weights - quantized(QuantWeights::Int4(format));
        assert_eq!(saved, 4 * layers - layers / 2 - layers / 16);
        assert_eq!(footprint.position, 6 * 2 * 512 * 2);
        assert_eq!(footprint.session(2, 10, 0), 20 * footprint.position);
        assert_eq!(footprint.session(usize::MAX, usize::MAX, 1), u64::MAX);
    }
}
