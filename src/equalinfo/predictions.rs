//! Predictions of the next byte in several texts at a time, each of which can begin afresh.

use super::distribution::{Distribution, N_SYMBOLS, PRECISION};
use super::invalid;
use crate::error::Result;
use crate::models::{Model, Row, Session};
use crate::predict::cdf::cumulative_counts;

/// Texts that a recurrent model of bytes reads side by side.
pub struct Predictions<'m> {
    model: &'m Model,
    session: Box<dyn Session + 'm>,
    n_lanes: usize,
    /// Distribution of a text's first byte.
    first: Distribution,
    rows: Vec<Row>,
    /// [rows][256]
    logits: Vec<f32>,
    /// [257]
    counts: Vec<u32>,
}

impl<'m> Predictions<'m> {
    /// Starts `n_lanes` empty texts, to be cut into windows of `bits` bits.
    ///
    /// # Errors
    /// InvalidArgument where the model's tokens are not the bytes, or it is not recurrent; InvalidModel where its
    /// logits overflow.
    pub fn new(model: &'m Model, n_lanes: usize, bits: usize) -> Result<Self> {
        let network = model.network();
        if network.as_recurrent().is_none() || network.outputs() != N_SYMBOLS {
            let label = &model.identity().label;
            return Err(invalid(format!(
                "windows are cut by a recurrent model whose tokens are the 256 bytes, as llmzip train --arch gru or lstm \
                 makes them; '{label}' is none"
            )));
        }
        // The last lane stays where every text begins.
        let session = network.session(n_lanes + 1, 1, usize::MAX);
        let (rows, logits, counts) = (Vec::new(), Vec::new(), vec![0; N_SYMBOLS + 1]);
        let mut lanes =
            Self { model, session, n_lanes, first: Distribution::empty(), rows, logits, counts };
        let (lane, token) = (n_lanes as u32, model.first_token());
        lanes.rows.push(Row { lane, position: 0, token });
        // Every dyadic interval is then in the part of one byte, and every text begins with a window.
        let precision = PRECISION.min(bits as u32);
        let mut first = None;
        lanes.forward(|_, counts| first = Some(Distribution::rounded(counts, precision)))?;
        lanes.first = first.expect("a row was fed");
        (0..n_lanes).for_each(|lane| lanes.restart(lane));
        Ok(lanes)
    }

    /// Returns the distribution of a text's first byte.
    pub fn first(&self) -> &Distribution {
        &self.first
    }

    /// Begins the text of `lane` afresh.
    pub fn restart(&mut self, lane: usize) {
        self.session.copy_lane(self.n_lanes, lane, 1);
    }

    /// Feeds a byte to each of some lanes, and gives what follows to `visit`, with the lane's number.
    ///
    /// # Errors
    /// InvalidModel where the model's logits overflow.
    pub fn feed(
        &mut self,
        bytes: impl Iterator<Item = (usize, u8)>,
        mut visit: impl FnMut(usize, Distribution),
    ) -> Result<()> {
        self.rows.clear();
        let id = |byte: u8| self.model.vocabulary().id(u32::from(byte));
        let row = |(lane, byte)| Row { lane: lane as u32, position: 1, token: id(byte) };
        self.rows.extend(bytes.map(row));
        self.forward(|lane, counts| visit(lane, Distribution::rounded(counts, PRECISION)))
    }

    fn forward(&mut self, mut visit: impl FnMut(usize, &[u32])) -> Result<()> {
        self.logits.resize(self.rows.len() * N_SYMBOLS, 0.0);
        self.session.forward(&self.rows, &mut self.logits);
        for (row, logits) in self.rows.iter().zip(self.logits.chunks_exact_mut(N_SYMBOLS)) {
            cumulative_counts(self.model.isa(), logits, &mut self.counts)?;
            visit(row.lane as usize, &self.counts);
        }
        Ok(())
    }
}
