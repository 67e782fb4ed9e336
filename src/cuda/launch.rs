//! Launches of the kernels: each checks the lengths of its buffers, so that none reads or writes outside of them.
//!
//! Legend: `R` rows, `C` width, `K` inputs, `N` outputs, `D` dimensions of a head, `V` codable tokens.
#![allow(unsafe_code, reason = "a launch trusts its arguments, which are checked here")]

use super::driver::{Buffer, Stream};
use super::operands::{HeadsShape, Places, Product, Table, Weights, check_places};
use crate::error::Result;
use crate::ops::AttentionShape;
use std::ffi::{CStr, c_void};

/// Declares the kernels, in any order: their names, and numbers to launch them by.
macro_rules! kernels {
    ($($constant:ident = $name:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Number { $($constant,)* }
        $(const $constant: usize = Number::$constant as usize;)*
        /// Names of the kernels.
        pub(super) const KERNELS: &[&CStr] = &[$($name,)*];
    };
}

kernels! {
    RMS_NORM = c"rms_norm";
    LAYER_NORM = c"layer_norm";
    QUANTIZE = c"quantize";
    EMBED_F32 = c"embed_f32";
    EMBED_F16 = c"embed_f16";
    EMBED_BF16 = c"embed_bf16";
    EMBED_INT8 = c"embed_int8";
    ADD_POSITIONS = c"add_positions";
    ADD = c"add";
    SILU_MUL = c"silu_mul";
    GELU_ERF = c"gelu_erf";
    GELU_TANH = c"gelu_tanh";
    ROTATE = c"rotate";
    STORE = c"store";
    ATTENTION = c"attention";
    COUNTS = c"counts";
    GATHER = c"gather";
    MATMUL_F32_WIDE = c"matmul_f32_wide";
    MATMUL_F32_NARROW = c"matmul_f32_narrow";
    MATMUL_F16_WIDE = c"matmul_f16_wide";
    MATMUL_F16_NARROW = c"matmul_f16_narrow";
    MATMUL_BF16_WIDE = c"matmul_bf16_wide";
    MATMUL_BF16_NARROW = c"matmul_bf16_narrow";
    MATMUL_W8A8_WIDE = c"matmul_w8a8_wide";
    MATMUL_W8A8_NARROW = c"matmul_w8a8_narrow";
    MATMUL_W8A16_WIDE = c"matmul_w8a16_wide";
    MATMUL_W8A16_NARROW = c"matmul_w8a16_narrow";
}

/// Threads of a block that works number by number, or on one row.
const FLAT: u32 = 256;
/// Vectors that a block norms, and its threads.
const NORMS: (usize, u32) = (8, 128);
/// Threads of a block of attention.
const ATTENTION_THREADS: u32 = 128;
/// Scores that a launch of attention keeps at most, unless one row has more.
const MOST_SCORES: usize = 1 << 24;

/// A tile of a product: its rows, outputs and threads.
struct Tile(usize, usize, u32);
const WIDE: Tile = Tile(64, 64, 256);
const NARROW: Tile = Tile(16, 32, 128);

/// An argument of a launch, as the kernel takes it.
trait Argument {
    /// Returns where it stands.
    fn pointer(&self) -> *mut c_void;
}

macro_rules! scalar {
    ($($type:ty),*) => {
        $(impl Argument for $type {
            fn pointer(&self) -> *mut c_void {
                std::ptr::from_ref(self).cast_mut().cast()
            }
        })*
    };
}

scalar!(i32, f32, u64);

impl<T> Argument for Buffer<T> {
    fn pointer(&self) -> *mut c_void {
        std::ptr::from_ref(&self.address).cast_mut().cast()
    }
}

/// A number that a kernel takes as an `int`.
fn int(x: usize) -> i32 {
    i32::try_from(x).expect("dimensions of a network are below 2^31")
}

/// A number of blocks.
fn blocks(x: usize) -> u32 {
    u32::try_from(x).expect("a launch has below 2^31 blocks")
}

impl Stream {
    /// Launches a kernel.
    ///
    /// # Safety
    /// As [`Stream::launch`].
    unsafe fn call(
        &self,
        kernel: usize,
        grid: [u32; 2],
        threads: u32,
        arguments: &[&dyn Argument],
    ) -> Result<()> {
        if grid.contains(&0) {
            return Ok(());
        }
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(|a| a.pointer()).collect();
        // SAFETY: as the caller says.
        unsafe { self.launch(kernel, grid, threads, &mut pointers) }
    }

    /// Launches a kernel with a thread for each of `count` numbers.
    ///
    /// # Safety
    /// As [`Stream::launch`].
    unsafe fn call_flat(
        &self,
        kernel: usize,
        count: usize,
        arguments: &[&dyn Argument],
    ) -> Result<()> {
        let grid = [blocks(count.div_ceil(FLAT as usize)), 1];
        // SAFETY: as the caller says.
        unsafe { self.call(kernel, grid, FLAT, arguments) }
    }

    /// Rule 1 or 16: y = x w^T + bias. x: `[R][K]`, of integers unused; quantized: what [`quantize`](Self::quantize)
    /// made of x, where the layer is of integers; y: `[R][N]`.
    pub fn matmul(
        &self,
        layer: &Product,
        x: &Buffer<f32>,
        quantized: (&Buffer<i8>, &Buffer<f32>),
        y: &mut Buffer<f32>,
        rows: usize,
    ) -> Result<()> {
        let Product { k, n, weights, bias } = layer;
        layer.check();
        assert!(y.len() >= rows * n, "room for all outputs");
        let Tile(tile_rows, tile_outputs, threads) = if rows > NARROW.0 { WIDE } else { NARROW };
        let is_wide = tile_rows == WIDE.0;
        let either = |wide, narrow| if is_wide { wide } else { narrow };
        let grid = [blocks(n.div_ceil(tile_outputs)), blocks(rows.div_ceil(tile_rows))];
        let (rows, k, n) = (int(rows), int(*k), int(*n));
        let of_floats = |kernel, w: &dyn Argument| {
            assert!(x.len() >= rows as usize * layer.k, "rows of all inputs");
            // SAFETY: x, w, bias and y have the lengths of rows, k and n, as was checked.
            unsafe { self.call(kernel, grid, threads, &[x, w, bias, y, &rows, &k, &n]) }
        };
        match weights {
            Weights::F32(w) => of_floats(either(MATMUL_F32_WIDE, MATMUL_F32_NARROW), w),
            Weights::F16(w) => of_floats(either(MATMUL_F16_WIDE, MATMUL_F16_NARROW), w),
            Weights::Bf16(w) => of_floats(either(MATMUL_BF16_WIDE, MATMUL_BF16_NARROW), w),
            Weights::Int8 { words, scales, sums, planes } => {
                let kernel = match planes {
                    1 => either(MATMUL_W8A8_WIDE, MATMUL_W8A8_NARROW),
                    _ => either(MATMUL_W8A16_WIDE, MATMUL_W8A16_NARROW),
                };
                let (x, sx) = quantized;
                assert!(x.len() >= rows as usize * planes * layer.k.next_multiple_of(4));
                assert!(sx.len() >= rows as usize);
                let arguments: [&dyn Argument; 10] =
                    [x, sx, words, scales, sums, bias, y, &rows, &k, &n];
                // SAFETY: all buffers have the lengths of rows, planes, k and n, as was checked.
                unsafe { self.call(kernel, grid, threads, &arguments) }
            }
        }
    }

    /// Rule 16: rows as integers. x: `[R][K]`, out: `[R][planes][ceil(K / 4)]` words of bytes, scales: `[R]`.
    pub fn quantize(
        &self,
        x: &Buffer<f32>,
        out: &mut Buffer<i8>,
        scales: &mut Buffer<f32>,
        [rows, k, planes]: [usize; 3],
    ) -> Result<()> {
        assert!(x.len() >= rows * k && scales.len() >= rows);
        assert!(out.len() >= rows * planes * k.next_multiple_of(4), "room for all integers");
        let (grid, k, planes) = ([blocks(rows), 1], int(k), int(planes));
        // SAFETY: the buffers have the lengths of rows, k and planes, as was checked.
        unsafe { self.call(QUANTIZE, grid, FLAT, &[x, out, scales, &k, &planes]) }
    }

    /// Rule 3: RMS norms. x, out: `[R][C]`; gain: `[C]`.
    pub fn rms_norm(
        &self,
        x: &Buffer<f32>,
        (gain, eps): (&Buffer<f32>, f32),
        out: &mut Buffer<f32>,
        rows: usize,
    ) -> Result<()> {
        let c = gain.len();
        assert!(x.len() >= rows * c && out.len() >= rows * c);
        let grid = [blocks(rows.div_ceil(NORMS.0)), 1];
        let (rows, c) = (int(rows), int(c));
        let arguments: [&dyn Argument; 8] = [x, gain, &eps, out, &rows, &c, &1i32, &c];
        // SAFETY: x and out have rows of c numbers, one vector each, and gain has c, as was checked.
        unsafe { self.call(RMS_NORM, grid, NORMS.1, &arguments) }
    }

    /// Rule 3 for each head of each row, in place: of the queries, or where `keys`, of the keys. qkv: `[R][...]`,
    /// gain: `[D]`.
    pub fn norm_heads(
        &self,
        qkv: &mut Buffer<f32>,
        shape: &HeadsShape,
        keys: bool,
        (gain, eps): (&Buffer<f32>, f32),
        rows: usize,
    ) -> Result<()> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = shape.attention;
        assert!(qkv.len() >= rows * shape.qkv() && gain.len() == head_dim);
        let (per_row, skipped) = if keys { (kv_heads, heads * head_dim) } else { (heads, 0) };
        let first = qkv.address + (skipped * size_of::<f32>()) as u64;
        let grid = [blocks((rows * per_row).div_ceil(NORMS.0)), 1];
        let (count, c) = (int(rows * per_row), int(head_dim));
        let (per_row, stride) = (int(per_row), int(shape.qkv()));
        let arguments: [&dyn Argument; 8] =
            [&first, gain, &eps, &first, &count, &c, &per_row, &stride];
        // SAFETY: a row has that many heads of c numbers from there on, rows are stride apart, as was checked.
        unsafe { self.call(RMS_NORM, grid, NORMS.1, &arguments) }
    }

    /// Rule 3: layer norms. x, out: `[R][C]`; gain, bias: `[C]`.
    pub fn layer_norm(
        &self,
        x: &Buffer<f32>,
        (gain, bias, eps): (&Buffer<f32>, &Buffer<f32>, f32),
        out: &mut Buffer<f32>,
        rows: usize,
    ) -> Result<()> {
        let c = gain.len();
        assert!(x.len() >= rows * c && out.len() >= rows * c && bias.len() == c);
        let grid = [blocks(rows.div_ceil(NORMS.0)), 1];
        let (rows, c) = (int(rows), int(c));
        // SAFETY: x and out have rows of c numbers, gain and bias have c, as was checked.
        unsafe { self.call(LAYER_NORM, grid, NORMS.1, &[x, gain, bias, &eps, out, &rows, &c]) }
    }

    /// Vectors of tokens, `first` of those that have no row in the table. first: `[C]`, x: `[R][C]`.
    pub fn embed(
        &self,
        table: &Table<'_>,
        places: &Places,
        first: &Buffer<f32>,
        x: &mut Buffer<f32>,
    ) -> Result<()> {
        let (rows, c, index) = (places.rows, first.len(), &places.entries);
        assert!(x.len() >= rows * c);
        let count = rows * c;
        let (rows, width) = (int(rows), int(c));
        let of_floats =
            |kernel, table: &dyn Argument, len: usize, [row_stride, step]: [usize; 2]| {
                assert!(index.most * row_stride + (c - 1) * step < len, "a vector for each token");
                let (row_stride, step) = (int(row_stride), int(step));
                let arguments: [&dyn Argument; 8] =
                    [table, &index.buffer, first, x, &rows, &width, &row_stride, &step];
                // SAFETY: x, first and the index have the lengths of rows and width, and the table has the greatest
                // row, as was checked.
                unsafe { self.call_flat(kernel, count, &arguments) }
            };
        match *table {
            Table::F32(table, strides) => of_floats(EMBED_F32, table, table.len(), strides),
            Table::F16(table, strides) => of_floats(EMBED_F16, table, table.len(), strides),
            Table::Bf16(table, strides) => of_floats(EMBED_BF16, table, table.len(), strides),
            Table::Int8(layer) => {
                layer.check();
                let Weights::Int8 { words, scales, .. } = &layer.weights else {
                    unreachable!("a table of integers is a layer of integers")
                };
                assert!(layer.k == c && index.most < layer.n, "a vector for each token");
                let n = int(layer.n);
                let arguments: [&dyn Argument; 8] =
                    [words, scales, &index.buffer, first, x, &rows, &width, &n];
                // SAFETY: the table has n rows of c numbers, and the greatest is below n, as was checked.
                unsafe { self.call_flat(EMBED_INT8, count, &arguments) }
            }
        }
    }

    /// x += the vectors of the rows' positions. x: `[R][C]`, table: `[positions][C]`.
    pub fn add_positions(
        &self,
        x: &mut Buffer<f32>,
        table: &Buffer<f32>,
        places: &Places,
        c: usize,
    ) -> Result<()> {
        let Places { positions, rows, .. } = places;
        assert!(x.len() >= rows * c && table.len() >= (positions.most + 1) * c);
        let count = rows * c;
        let (rows, c) = (int(*rows), int(c));
        // SAFETY: the buffers have the lengths of rows and c, and the table a row for each position up to the greatest.
        unsafe { self.call_flat(ADD_POSITIONS, count, &[x, table, &positions.buffer, &rows, &c]) }
    }

    /// x += y, of `count` numbers.
    pub fn add(&self, x: &mut Buffer<f32>, y: &Buffer<f32>, count: usize) -> Result<()> {
        assert!(x.len() >= count && y.len() >= count);
        // SAFETY: both have count numbers.
        unsafe { self.call_flat(ADD, count, &[x, y, &(count as u64)]) }
    }

    /// Rule 5: gate = silu(gate) * up, of `count` numbers.
    pub fn silu_mul(&self, gate: &mut Buffer<f32>, up: &Buffer<f32>, count: usize) -> Result<()> {
        assert!(gate.len() >= count && up.len() >= count);
        // SAFETY: both have count numbers.
        unsafe { self.call_flat(SILU_MUL, count, &[gate, up, &(count as u64)]) }
    }

    /// Rule 5: GELU of `count` numbers, by tanh or by the error function.
    pub fn gelu(&self, x: &mut Buffer<f32>, by_tanh: bool, count: usize) -> Result<()> {
        assert!(x.len() >= count);
        let kernel = if by_tanh { GELU_TANH } else { GELU_ERF };
        // SAFETY: x has count numbers.
        unsafe { self.call_flat(kernel, count, &[x, &(count as u64)]) }
    }

    /// Rule 6: rotates queries and keys. qkv: `[R][...]`; cos, sin: `[turns][pairs]`.
    pub fn rotate(
        &self,
        qkv: &mut Buffer<f32>,
        shape: &HeadsShape,
        [cos, sin]: [&Buffer<f32>; 2],
        pairs: usize,
        places: &Places,
    ) -> Result<()> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = shape.attention;
        let Places { turns, rows, .. } = places;
        assert!(qkv.len() >= rows * shape.qkv() && 2 * pairs <= head_dim);
        assert!(cos.len().min(sin.len()) >= (turns.most + 1) * pairs, "a rotation for each row");
        let count = rows * (heads + kv_heads) * pairs;
        let (rows, heads, d) = (int(*rows), int(heads + kv_heads), int(head_dim));
        let (pairs, stride) = (int(pairs), int(shape.qkv()));
        let arguments: [&dyn Argument; 9] =
            [qkv, cos, sin, &turns.buffer, &rows, &heads, &d, &pairs, &stride];
        // SAFETY: rows of qkv have that many heads of d numbers, and cos and sin the greatest turn, as was checked.
        unsafe { self.call_flat(ROTATE, count, &arguments) }
    }

    /// Rule 7: keeps keys and values. qkv: `[R][...]`; keys, values: `[lanes][lane_len]`.
    pub fn store(
        &self,
        qkv: &Buffer<f32>,
        shape: &HeadsShape,
        places: &Places,
        [keys, values]: [&mut Buffer<u16>; 2],
    ) -> Result<()> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = shape.attention;
        check_places(qkv, shape, places, [keys, values]);
        let count = places.rows * kv_heads * head_dim;
        let (lanes, positions) = (&places.lanes.buffer, &places.positions.buffer);
        let (rows, heads, kv_heads) = (int(places.rows), int(heads), int(kv_heads));
        let (d, ring) = (int(head_dim), int(shape.ring));
        let arguments: [&dyn Argument; 10] =
            [qkv, lanes, positions, keys, values, &rows, &heads, &kv_heads, &d, &ring];
        // SAFETY: as was checked; slots are positions modulo the ring.
        unsafe { self.call_flat(STORE, count, &arguments) }
    }

    /// Rule 7: attention of all rows, whose keys and values are stored. out: `[R][heads * D]`; scratch grows as is
    /// needed.
    pub fn attention(
        &self,
        qkv: &Buffer<f32>,
        shape: &HeadsShape,
        places: &Places,
        [keys, values]: [&Buffer<u16>; 2],
        scratch: &mut Option<Buffer<f32>>,
        out: &mut Buffer<f32>,
    ) -> Result<()> {
        let AttentionShape { heads, kv_heads, head_dim, window, scale } = shape.attention;
        check_places(qkv, shape, places, [keys, values]);
        let (lanes, positions) = (&places.lanes.buffer, &places.positions.buffer);
        let (rows, last) = (places.rows, places.positions.most);
        assert!(out.len() >= rows * heads * head_dim, "room for all heads");
        let room = (last + 1).min(window);
        let at_once = (MOST_SCORES / (heads * room)).clamp(1, rows.max(1)).min(1 << 15);
        let scores = at_once * heads * room;
        if scratch.as_ref().is_none_or(|scratch| scratch.len() < scores) {
            *scratch = None; // before the new one
            *scratch = Some(self.zeros(scores)?);
        }
        let Some(scratch) = scratch else { unreachable!("it was just made") };
        let (window, ring, room) = (int(window.min(last + 1)), int(shape.ring), int(room));
        let (heads_, kv_heads, d) = (int(heads), int(kv_heads), int(head_dim));
        for row0 in (0..rows).step_by(at_once) {
            let grid = [blocks(heads), blocks(at_once.min(rows - row0))];
            let arguments: [&dyn Argument; 15] = [
                qkv,
                lanes,
                positions,
                keys,
                values,
                scratch,
                out,
                &int(row0),
                &heads_,
                &kv_heads,
                &d,
                &window,
                &ring,
                &scale,
                &room,
            ];
            // SAFETY: as was checked; a row sees at most room positions, for which each head of each row of the
            // launch has scores.
            unsafe { self.call(ATTENTION, grid, ATTENTION_THREADS, &arguments)? };
        }
        Ok(())
    }

    /// Rule 9: logits, which become something else, to cumulative counts. logits: `[R][V]`, cumulative:
    /// `[R][V + 1]`, finite: `[R]`, 0 where a row's logits are not.
    pub fn counts(
        &self,
        logits: &mut Buffer<f32>,
        cumulative: &mut Buffer<u32>,
        finite: &mut Buffer<i32>,
        [rows, v]: [usize; 2],
    ) -> Result<()> {
        assert!(
            logits.len() >= rows * v && cumulative.len() >= rows * (v + 1) && finite.len() >= rows
        );
        let (grid, v) = ([blocks(rows), 1], int(v));
        // SAFETY: the buffers have rows of v numbers, or v + 1.
        unsafe { self.call(COUNTS, grid, FLAT, &[logits, cumulative, finite, &v]) }
    }

    /// out[i] = values[places[i]], of `count` numbers.
    ///
    /// # Panics
    /// Where a place is past the end: the caller's places are `places`, uploaded here.
    pub fn gather(&self, values: &Buffer<u32>, places: &[u64], out: &mut [u32]) -> Result<()> {
        assert!(
            places.iter().all(|&place| place < values.len() as u64) && out.len() == places.len()
        );
        let uploaded = self.upload(places)?;
        let gathered = self.zeros::<u32>(places.len())?;
        let arguments: [&dyn Argument; 4] = [values, &uploaded, &gathered, &(places.len() as u64)];
        // SAFETY: each place is one of values, as was checked.
        unsafe { self.call_flat(GATHER, places.len(), &arguments)? };
        self.read(&gathered, out)
    }
}
