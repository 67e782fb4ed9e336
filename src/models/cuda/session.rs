//! The forward pass on a device, for some lanes, by `docs/numerics.md`, section 8.

use super::CudaNetwork;
use super::weights::{DeviceLayer, DeviceNorm};
use crate::cuda::{Buffer, HeadsShape, Places, Product, Stream, Weights, grow};
use crate::error::{Error, ErrorKind, Result};
use crate::models::blocks::Positions;
use crate::models::{Row, Session, non_finite};
use crate::nn::feed_forward::Activation;
use crate::ops::{AttentionShape, Rotary};
use crate::profile::{Part, enter};

/// Lanes of a [`CudaNetwork`].
pub struct CudaSession<'a> {
    network: &'a CudaNetwork,
    lanes: usize,
    heads: HeadsShape,
    state: State<'a>,
}

/// Where a session computes.
enum State<'a> {
    /// Nothing was fed yet.
    New {
        steps: usize,
    },
    Device(Box<Lanes>),
    /// On the processor, with steering vectors.
    Host(Box<dyn Session + 'a>),
    /// The device failed: nothing that it gave since counts.
    Failed(Error),
}

/// Keys and values of lanes, and buffers of a forward pass, kept between calls so that a step allocates nothing.
struct Lanes {
    stream: Stream,
    /// Keys and values: `[lanes][...]`, by layer.
    caches: Vec<[Buffer<u16>; 2]>,
    places: Places,
    /// Rows that the buffers have room for.
    room: usize,
    /// `[R][C]` each
    x: Buffer<f32>,
    normed: Buffer<f32>,
    added: Buffer<f32>,
    /// `[R][queries, keys, values]`
    qkv: Buffer<f32>,
    /// `[R][heads * D]`
    attended: Buffer<f32>,
    /// `[R][F]` each
    gate: Buffer<f32>,
    up: Buffer<f32>,
    /// `[R][V]`
    logits: Buffer<f32>,
    /// `[R][V + 1]`
    cumulative: Buffer<u32>,
    /// Whether all logits of a row are finite: `[R]`
    finite: Buffer<i32>,
    /// Rotations of the positions of a call, from its lowest on: `[positions][pairs]`
    rotations: [Buffer<f32>; 2],
    scores: Option<Buffer<f32>>,
    quantized: Buffer<i8>,
    scales: Buffer<f32>,
}

impl<'a> CudaSession<'a> {
    /// `lanes` empty lanes that take up to `steps` rows each in one call and see at most `window` positions, own
    /// included.
    pub fn new(network: &'a CudaNetwork, lanes: usize, steps: usize, window: usize) -> Self {
        let shape = network.network.shape().attention;
        let shape = AttentionShape { window: shape.window.min(window), ..shape };
        let heads = HeadsShape::new(shape, steps.saturating_sub(1));
        Self { network, lanes, heads, state: State::New { steps } }
    }

    /// Returns the lanes on the device, which are made when the first row comes.
    fn lanes(&mut self) -> Result<&mut Lanes> {
        if let State::New { .. } = self.state {
            self.state =
                State::Device(Box::new(Lanes::new(self.network, self.lanes, &self.heads)?));
        }
        match &mut self.state {
            State::Device(lanes) => Ok(lanes),
            State::Failed(error) => Err(error.duplicate()),
            State::New { .. } | State::Host(_) => {
                unreachable!("made just now, or asked for before")
            }
        }
    }

    /// Keeps the first error; nothing is computed after it.
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
    }
}

impl Session for CudaSession<'_> {
    fn forward(&mut self, rows: &[Row], logits: &mut [f32]) {
        if let State::Host(session) = &mut self.state {
            return session.forward(rows, logits);
        }
        let _model = enter(Part::Model);
        let (network, heads) = (self.network, self.heads);
        let result = self.lanes().and_then(|lanes| lanes.forward(network, &heads, rows, logits));
        if result.is_err() {
            logits.fill(f32::NAN);
        }
        self.note(result);
    }

    /// Unless it is on the processor, with steering vectors.
    fn gives_counts(&self) -> bool {
        !matches!(self.state, State::Host(_))
    }

    fn counts(&mut self, rows: &[Row], asked: &[u64], cumulative: &mut [u32]) -> Result<()> {
        let _model = enter(Part::Model);
        let (network, heads) = (self.network, self.heads);
        let result = self.lanes().and_then(|lanes| {
            lanes.compute(network, &heads, rows, true)?;
            lanes.counts(rows.len(), asked, cumulative)
        });
        self.note(result);
        self.check()
    }

    fn steer(&mut self, vectors: &[f32]) {
        let State::New { steps } = self.state else {
            unreachable!("vectors come before any row");
        };
        let network: &dyn crate::models::Network = &self.network.network;
        let mut session = network.session(self.lanes, steps, self.heads.attention.window);
        session.steer(vectors);
        self.state = State::Host(session);
    }

    fn check(&self) -> Result<()> {
        match &self.state {
            State::Failed(error) => Err(error.duplicate()),
            _ => Ok(()),
        }
    }

    fn copy_lane(&mut self, from: usize, to: usize, fed: usize) {
        if let State::Host(session) = &mut self.state {
            return session.copy_lane(from, to, fed);
        }
        let heads = self.heads;
        let result = self.lanes().and_then(|lanes| lanes.copy_lane(&heads, from, to));
        self.note(result);
    }
}

impl Lanes {
    fn new(network: &CudaNetwork, lanes: usize, heads: &HeadsShape) -> Result<Self> {
        let stream = network.stream()?;
        let len = heads.lane_len().and_then(|len| len.checked_mul(lanes)).ok_or_else(|| {
            Error::new(
                ErrorKind::Device,
                "no CUDA device has memory for keys and values of such lanes",
            )
        })?;
        let cache = |_: &DeviceLayer| Ok([stream.zeros(len)?, stream.zeros(len)?]);
        let caches = network.weights.layers.iter().map(cache).collect::<Result<_>>()?;
        let empty = || stream.zeros::<f32>(0);
        Ok(Self {
            caches,
            places: Places::new(&stream)?,
            room: 0,
            x: empty()?,
            normed: empty()?,
            added: empty()?,
            qkv: empty()?,
            attended: empty()?,
            gate: empty()?,
            up: empty()?,
            logits: empty()?,
            cumulative: stream.zeros(0)?,
            finite: stream.zeros(0)?,
            rotations: [empty()?, empty()?],
            scores: None,
            quantized: stream.zeros(0)?,
            scales: empty()?,
            stream,
        })
    }

    /// Makes room for `rows` rows.
    fn make_room(&mut self, network: &CudaNetwork, rows: usize) -> Result<()> {
        if rows <= self.room {
            return Ok(());
        }
        let shape = network.network.shape();
        let (c, (q, kv)) = (shape.hidden_size, shape.qkv_widths());
        let f = network.weights.layers.first().map_or(0, |layer| layer.up.n);
        let widest = c.max(q).max(f).next_multiple_of(4);
        let sizes = [
            (&mut self.x, c),
            (&mut self.normed, c),
            (&mut self.added, c),
            (&mut self.qkv, q + 2 * kv),
            (&mut self.attended, q),
            (&mut self.gate, f),
            (&mut self.up, f),
            (&mut self.scales, 1),
        ];
        for (buffer, width) in sizes {
            grow(&self.stream, buffer, rows * width)?;
        }
        grow(&self.stream, &mut self.quantized, rows * 2 * widest)?;
        self.room = rows;
        Ok(())
    }

    /// [`Session::forward`] by the weights of `network`.
    fn forward(
        &mut self,
        network: &CudaNetwork,
        heads: &HeadsShape,
        rows: &[Row],
        logits: &mut [f32],
    ) -> Result<()> {
        self.compute(network, heads, rows, !logits.is_empty())?;
        if logits.is_empty() { Ok(()) } else { self.stream.read(&self.logits, logits) }
    }

    /// Reads the cumulative counts of the last call's rows, all or those asked. cumulative: `[R][V + 1]`
    fn counts(&mut self, rows: usize, asked: &[u64], cumulative: &mut [u32]) -> Result<()> {
        let v = cumulative.len() / rows.max(1) - 1;
        let Self { stream, logits, finite, .. } = self;
        grow(stream, &mut self.cumulative, cumulative.len())?;
        grow(stream, finite, rows)?;
        stream.counts(logits, &mut self.cumulative, finite, [rows, v])?;
        let mut is_finite = vec![0; rows];
        stream.read(finite, &mut is_finite)?;
        if is_finite.contains(&0) {
            return Err(non_finite());
        }
        if asked.is_empty() {
            return stream.read(&self.cumulative, cumulative);
        }
        let mut counts = vec![0; asked.len()];
        stream.gather(&self.cumulative, asked, &mut counts)?;
        if cfg!(debug_assertions) {
            cumulative.fill(u32::MAX); // what was not asked is not read
        }
        asked.iter().zip(counts).for_each(|(&place, count)| cumulative[place as usize] = count);
        Ok(())
    }

    /// Feeds rows; gives their logits, on the device, where they are wanted.
    fn compute(
        &mut self,
        network: &CudaNetwork,
        heads: &HeadsShape,
        rows: &[Row],
        with_logits: bool,
    ) -> Result<()> {
        let c = network.network.shape().hidden_size;
        self.make_room(network, rows.len())?;
        let pairs = self.place(network, rows)?;
        let weights = &network.weights;
        let Self { stream, places, x, .. } = self;
        stream.embed(&weights.table(), places, &weights.first_token, x)?;
        if let Some(table) = &weights.positions {
            stream.add_positions(x, table, places, c)?;
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            self.attend(network, heads, index, layer, pairs)?;
            self.feed_forward(layer)?;
        }
        if !with_logits {
            return Ok(());
        }
        let _head = enter(Part::Head);
        grow(&self.stream, &mut self.logits, rows.len() * weights.head.n)?;
        self.stream.norm(&weights.final_norm, &self.x, &mut self.normed, rows.len())?;
        let to = (&mut self.quantized, &mut self.scales);
        self.stream.apply(&weights.head, &self.normed, to, &mut self.logits, rows.len(), false)
    }

    /// Tells the device where the rows stand, and the rotations of their positions; returns the pairs of dimensions
    /// that rotate.
    fn place(&mut self, network: &CudaNetwork, rows: &[Row]) -> Result<usize> {
        let first = rows.iter().map(|row| row.position).min().unwrap_or(0);
        let numbers = |of: &dyn Fn(&Row) -> i32| rows.iter().map(of).collect::<Vec<i32>>();
        let turns = numbers(&|row| (row.position - first) as i32);
        self.places.write(
            &self.stream,
            [
                &numbers(&|row| row.lane as i32),
                &numbers(&|row| row.position as i32),
                &numbers(&|row| network.weights.entry(row.token)),
                &turns,
            ],
        )?;
        let Positions::Rotary(rotary) = &network.network.positions else { return Ok(0) };
        let positions = turns.iter().max().map_or(0, |&last| last as u32 + 1);
        let tables = rotations(rotary, first, positions);
        for (buffer, table) in self.rotations.iter_mut().zip(&tables) {
            grow(&self.stream, buffer, table.len())?;
            self.stream.write(buffer, table)?;
        }
        Ok(rotary.pairs())
    }

    /// Attention over norm(x), added to x; where residuals are parallel, norm(x) for the feed-forward layer is
    /// taken before.
    fn attend(
        &mut self,
        network: &CudaNetwork,
        heads: &HeadsShape,
        index: usize,
        layer: &DeviceLayer,
        pairs: usize,
    ) -> Result<()> {
        let Self { stream, places, x, normed, added, qkv, attended, .. } = self;
        let (rows, count) = (places.rows(), places.rows() * network.network.shape().hidden_size);
        let quantized = (&mut self.quantized, &mut self.scales);
        stream.norm(&layer.attention_norm, x, normed, rows)?;
        stream.apply(&layer.qkv, normed, quantized, qkv, rows, false)?;
        if let Some(norms) = &layer.qk_norms {
            for (norm, keys) in norms.iter().zip([false, true]) {
                let DeviceNorm::Rms { gain, eps } = norm else {
                    unreachable!("heads have RMS norms")
                };
                stream.norm_heads(qkv, heads, keys, (gain, *eps), rows)?;
            }
        }
        if pairs > 0 {
            let [cos, sin] = &self.rotations;
            stream.rotate(qkv, heads, [cos, sin], pairs, places)?;
        }
        let [keys, values] = &mut self.caches[index];
        stream.store(qkv, heads, places, [keys, values])?;
        stream.attention(qkv, heads, places, [keys, values], &mut self.scores, attended)?;
        let quantized = (&mut self.quantized, &mut self.scales);
        stream.apply(&layer.attention_out, attended, quantized, added, rows, false)?;
        if network.network.shape().parallel_residual {
            stream.norm(&layer.mlp_norm, x, normed, rows)?;
            stream.add(x, added, count)
        } else {
            stream.add(x, added, count)?;
            stream.norm(&layer.mlp_norm, x, normed, rows)
        }
    }

    /// x += down(act(up(normed))), or with a gate.
    fn feed_forward(&mut self, layer: &DeviceLayer) -> Result<()> {
        let Self { stream, x, normed, added, gate, up, quantized, scales, .. } = self;
        let rows = self.places.rows();
        let count = rows * layer.up.n;
        match &layer.gate {
            Some(of_gate) => {
                stream.apply(of_gate, normed, (quantized, scales), gate, rows, false)?;
                stream.apply(&layer.up, normed, (quantized, scales), up, rows, true)?;
            }
            None => stream.apply(&layer.up, normed, (quantized, scales), gate, rows, false)?,
        }
        match layer.activation {
            Activation::Silu => stream.silu_mul(gate, up, count)?,
            Activation::GeluErf => stream.gelu(gate, false, count)?,
            Activation::GeluTanh => stream.gelu(gate, true, count)?,
        }
        stream.apply(&layer.down, gate, (quantized, scales), added, rows, false)?;
        stream.add(x, added, rows * layer.down.n)
    }

    /// [`Session::copy_lane`]: all of the lane.
    fn copy_lane(&mut self, heads: &HeadsShape, from: usize, to: usize) -> Result<()> {
        let len = heads.lane_len().expect("there are buffers of that length");
        for cache in self.caches.iter_mut().flatten() {
            self.stream.copy_within(cache, [from * len, to * len], len)?;
        }
        Ok(())
    }
}

impl Stream {
    /// x, out: `[R][C]`
    fn norm(
        &self,
        norm: &DeviceNorm,
        x: &Buffer<f32>,
        out: &mut Buffer<f32>,
        rows: usize,
    ) -> Result<()> {
        match norm {
            DeviceNorm::Rms { gain, eps } => self.rms_norm(x, (gain, *eps), out, rows),
            DeviceNorm::Layer { gain, bias, eps } => {
                self.layer_norm(x, (gain, bias, *eps), out, rows)
            }
        }
    }

    /// y = x w^T + bias; x is quantised first where the layer is of integers, unless `again`: it was just now.
    fn apply(
        &self,
        layer: &Product,
        x: &Buffer<f32>,
        (quantized, scales): (&mut Buffer<i8>, &mut Buffer<f32>),
        y: &mut Buffer<f32>,
        rows: usize,
        again: bool,
    ) -> Result<()> {
        if let (Weights::Int8 { planes, .. }, false) = (&layer.weights, again) {
            self.quantize(x, quantized, scales, [rows, layer.k, *planes])?;
        }
        self.matmul(layer, x, (quantized, scales), y, rows)
    }
}

/// Cosines and sines of so many positions from `first` on: `[positions][pairs]`.
fn rotations(rotary: &Rotary, first: u32, positions: u32) -> [Vec<f32>; 2] {
    let pairs = rotary.pairs();
    let [mut cos, mut sin] = [(); 2].map(|()| vec![0.0; positions as usize * pairs]);
    let tables = cos.chunks_exact_mut(pairs).zip(sin.chunks_exact_mut(pairs));
    for (position, (cos, sin)) in (first..).zip(tables) {
        rotary.at(position, cos, sin);
    }
    [cos, sin]
}
