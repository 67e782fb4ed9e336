//! Low-rank adapters that learn beside the linear layers of a transformer, which stay as they are: A drawn, B
//! zeros at first, so that the network begins as what it was (`docs/numerics.md`, section 23).
//!
//! Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).

use super::gradients::LinearInput;
use crate::models::adapter::LayerAdapters;
use crate::models::blocks::Layer;
use crate::models::linear::Linear;
use crate::models::recording::Stage;
use crate::models::transformer::Transformer;
use crate::nn::low_rank::LowRank;
use crate::nn::random::Random;
use crate::nn::shape::LayerPart;

/// Rows of A, as measured (`docs/learning.md`).
pub const RANK: usize = 16;

/// Factor of A's outputs, as measured.
const SCALE: f32 = 16.0;

impl Transformer {
    /// Returns adapters beside all linear layers as they are before the first step.
    pub(super) fn drawn_adapters(&self) -> Vec<LayerAdapters> {
        let mut random = Random::new(&[0]);
        let mut draw = |layer: &Layer| {
            let mut adapters = LayerAdapters::default();
            for (part, linear) in layer.linears() {
                adapters.push(part, drawn(linear, &mut random));
            }
            adapters
        };
        self.layers.iter().map(&mut draw).collect()
    }

    /// Returns where the inputs of the adapters' matrices are, in their order.
    pub(super) fn adapter_inputs(&self) -> impl Iterator<Item = LinearInput> {
        let layers = self.layer_inputs().enumerate();
        layers.flat_map(|(adapter, (index, stage))| {
            [LinearInput::Layer(index, stage), LinearInput::Hidden(adapter)]
        })
    }
}

fn drawn(linear: &Linear, random: &mut Random) -> LowRank {
    let (inputs, outputs) = (linear.inputs(), linear.outputs());
    let deviation = (1.0 / (inputs as f64).sqrt()) as f32;
    let a: Vec<f32> = (0..RANK * inputs).map(|_| deviation * random.normal()).collect();
    LowRank::pack(RANK, 0, SCALE, &a, &vec![0.0; outputs * RANK])
}

/// Returns where the input of a linear layer is recorded.
pub fn input_of(part: LayerPart) -> Stage {
    match part {
        LayerPart::Qkv => Stage::Normed,
        LayerPart::AttentionOut => Stage::Attended,
        LayerPart::Down => Stage::Activated,
        _ => Stage::MlpNormed,
    }
}
