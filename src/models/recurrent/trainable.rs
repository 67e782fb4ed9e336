//! A loaded recurrent network as one whose gradients can be had (`crate::nn`).

use super::Recurrent;
use crate::models::linear::Linear;
use crate::nn::parameter::Parameter;
use crate::nn::recurrent::{RecurrentNetwork, RecurrentPart, RecurrentTensor};

impl Recurrent {
    /// Returns the same network over [`crate::nn`], with integers times their scales as weights and no
    /// rounding of activations; its outputs are those of this network, and so is each bit of its logits
    /// where all weights are floats. Gradients can be had of the parameters that `trains` names.
    pub fn trainable(&self, trains: &dyn Fn(&RecurrentTensor) -> bool) -> RecurrentNetwork {
        let mut make = |tensor: &RecurrentTensor| {
            let values = self.values(tensor);
            let parameter = Parameter::new(tensor.to_string(), tensor.shape(), values);
            Parameter { is_hidden: tensor.is_hidden(), is_frozen: !trains(tensor), ..parameter }
        };
        RecurrentNetwork::new(self.isa, self.config.shape(), &self.outputs, &mut make)
    }

    /// Returns a parameter's values; the head's are by token, zeros where it has no output.
    fn values(&self, tensor: &RecurrentTensor) -> Vec<f32> {
        let (linear, rows): (&Linear, _) = match tensor.part {
            RecurrentPart::Embedding => return self.embedding.to_vec(),
            RecurrentPart::Input(layer) => (&self.layers[layer].input, None),
            RecurrentPart::Hidden(layer) => (&self.layers[layer].hidden, None),
            RecurrentPart::Head => (&self.head, Some(&self.outputs)),
        };
        let width = if tensor.is_bias { 1 } else { tensor.matrix[1] };
        let mut values = vec![0.0; tensor.matrix[0] * width];
        for i in 0..linear.outputs() {
            let row = rows.map_or(i, |rows| rows[i] as usize);
            let row = &mut values[row * width..][..width];
            match tensor.is_bias {
                true => row.fill(linear.bias(i)),
                false => linear.unpack_row(i, row),
            }
        }
        values
    }
}
