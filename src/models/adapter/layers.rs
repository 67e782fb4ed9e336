//! Adapters as a network has them: layer by layer, packed.

use super::Adapter;
use crate::nn::decoder::AdapterParameters;
use crate::nn::low_rank::{LowRank, LowRankScratch};
use crate::nn::parameter::Parameter;
use crate::nn::shape::LayerPart;
use crate::ops::Isa;

/// The adapters of a layer of the network.
#[derive(Default)]
pub struct LayerAdapters(Vec<(LayerPart, LowRank)>);

impl LayerAdapters {
    /// Packs those of `layers` layers.
    pub fn of(adapter: &Adapter, layers: usize) -> Vec<Self> {
        let mut packed: Vec<Self> = (0..layers).map(|_| Self::default()).collect();
        let scale = adapter.scale();
        for adapted in &adapter.modules {
            let module = &adapted.module;
            let low_rank = LowRank::pack(adapter.rank, module.first, scale, &adapted.a, &adapted.b);
            packed[module.layer].0.push((module.part, low_rank));
        }
        packed
    }

    /// Adds what adapters beside `part` add to its outputs. x: `[rows][inputs]`, y: `[rows][outputs]`
    pub fn add(
        &self,
        part: LayerPart,
        isa: Isa,
        x: &[f32],
        y: &mut [f32],
        scratch: &mut LowRankScratch,
    ) {
        let of_part = self.0.iter().filter(|(of, _)| *of == part);
        of_part.for_each(|(_, low_rank)| low_rank.add(isa, x, y, scratch));
    }

    /// Puts an adapter beside `part`.
    pub fn push(&mut self, part: LayerPart, adapter: LowRank) {
        self.0.push((part, adapter));
    }

    /// Returns the adapters, with what they are beside.
    pub fn iter(&self) -> impl Iterator<Item = &(LayerPart, LowRank)> {
        self.0.iter()
    }

    /// Returns the adapters, with what they are beside.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (LayerPart, LowRank)> {
        self.0.iter_mut()
    }

    /// Returns the same adapters for a network whose gradients can be had, frozen; `layer` is the
    /// layer's index.
    pub fn parameters(&self, layer: usize) -> impl Iterator<Item = AdapterParameters> {
        self.0.iter().map(move |(part, low_rank)| {
            let (rank, first, scale) = low_rank.dims();
            let [a, b] = low_rank.values();
            let (inputs, outputs) = (a.len() / rank, b.len() / rank);
            let frozen = |name: &str, shape: [usize; 2], values| Parameter {
                is_frozen: true,
                ..Parameter::new(format!("layers.{layer}.{part:?}.{first}.{name}"), &shape, values)
            };
            let matrices = [frozen("A", [rank, inputs], a), frozen("B", [outputs, rank], b)];
            AdapterParameters { layer, part: *part, first, scale, matrices }
        })
    }
}
