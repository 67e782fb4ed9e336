//! Four-bit weights of a linear layer as checkpoints have them, in any [`Int4Layout`].
//!
//! A weight is (q - z) * s: q and z from 0 to 15, s and z of a group of inputs; in a GGUF file
//! (q - 8) * s + m. Integers stand eight in a word of 32 bits, the first in its lowest bits but for
//! AutoAWQ, whose words have an order of their own.

use super::quantization::{GROUP_OF_CHANNEL, Int4Format, Int4Layout};
use super::{Weights, gguf, invalid};
use crate::error::Result;
use crate::ops::{GroupRow, GroupShape, four_bit_weight};
use safetensors::Dtype;
use std::borrow::Cow;

/// Where AutoAWQ has output 0, 1, .. of eight in a word.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Integers in a word.
const PER_WORD: usize = 8;

/// Four-bit weights, as they are stored.
pub(super) struct FourBits<'a> {
    layout: Int4Layout,
    /// Inputs, outputs, and the inputs of a group as they are computed with.
    pub shape: GroupShape,
    /// Whether an output has one scale for all its groups.
    is_channel: bool,
    words: Words<'a>,
    zeros: Option<Words<'a>>,
    scales: Vec<f32>,
    /// The weight that 8 stands for, of each group of a GGUF file; empty where zero points say it.
    offsets: Vec<f32>,
    /// The element of x that each input is; empty where it is its own.
    pub order: Vec<u32>,
}

/// Words of 32 bits, little-endian, in rows.
struct Words<'a> {
    bytes: Cow<'a, [u8]>,
    /// Words of a row.
    width: usize,
}

impl Words<'_> {
    /// Integer `place` of a word.
    fn nibble(&self, row: usize, column: usize, place: usize) -> u8 {
        let byte = self.bytes[4 * (row * self.width + column) + place / 2];
        byte >> (place % 2 * 4) & 15
    }
}

impl<'a> FourBits<'a> {
    /// Reads the weights of the linear layer `module`, of so many inputs and outputs; `None` where it has
    /// none of four bits.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn read(
        weights: &'a Weights<'_>,
        module: &str,
        (inputs, outputs): (usize, usize),
        format: Int4Format,
    ) -> Result<Option<Self>> {
        if format.layout == Int4Layout::Gguf {
            return Self::read_gguf(weights, &format!("{module}.weight"), (inputs, outputs));
        }
        let name = |part: &str| format!("{module}.{part}");
        let packed = match format.layout {
            Int4Layout::Awq | Int4Layout::Gptq { .. } => name("qweight"),
            _ => name("weight_packed"),
        };
        if !weights.has(&packed) {
            return Ok(None);
        }
        let groups = format.group.map_or(1, |group| inputs.div_ceil(group));
        let words = |part: &str, rows: usize, width: usize| -> Result<Words<'a>> {
            let bytes = weights.integers(&name(part), &[rows, width], Dtype::I32)?;
            Ok(Words { bytes, width })
        };
        let index = |part: &str| {
            let has = weights.has(&name(part));
            has.then(|| weights.integers(&name(part), &[inputs], Dtype::I32)).transpose()
        };
        let in_words = |n: usize| n.div_ceil(PER_WORD);
        // Where eight outputs or inputs share a word, rows of words hold nothing else.
        let is_whole = inputs.is_multiple_of(PER_WORD) && outputs.is_multiple_of(PER_WORD);
        if format.layout != Int4Layout::CompressedTensors && !is_whole {
            let what = format!("{inputs} inputs and {outputs} outputs, expected multiples of 8");
            return Err(invalid(what).at(packed));
        }
        let (words, zeros, scales, index) = match format.layout {
            Int4Layout::Awq => (
                words("qweight", inputs, in_words(outputs))?,
                Some(words("qzeros", groups, in_words(outputs))?),
                weights.tensor(&name("scales"), &[groups, outputs])?,
                None,
            ),
            Int4Layout::Gptq { .. } => (
                words("qweight", in_words(inputs), outputs)?,
                Some(words("qzeros", groups, in_words(outputs))?),
                weights.tensor(&name("scales"), &[groups, outputs])?,
                index("g_idx")?,
            ),
            _ => {
                let zeros = || words("weight_zero_point", in_words(outputs), groups);
                (
                    words("weight_packed", outputs, in_words(inputs))?,
                    format.has_zeros.then(zeros).transpose()?,
                    weights.tensor(&name("weight_scale"), &[outputs, groups])?,
                    index("weight_g_idx")?,
                )
            }
        };
        let group = format.group.unwrap_or(GROUP_OF_CHANNEL);
        let order = index.map(|index| order_of(&index, format.group.unwrap_or(inputs)));
        let order = order.unwrap_or(Ok(Vec::new())).map_err(|what| invalid(what).at(&packed))?;
        let is_channel = format.group.is_none();
        let shape = GroupShape { inputs, outputs, group };
        let (layout, offsets) = (format.layout, Vec::new());
        let four = Self { layout, shape, is_channel, words, zeros, scales, offsets, order };
        four.checked().map(Some).map_err(|e| e.at(packed))
    }

    /// Reads blocks of four bits; their integers stand as in compressed-tensors.
    fn read_gguf(
        weights: &'a Weights<'_>,
        name: &str,
        (inputs, outputs): (usize, usize),
    ) -> Result<Option<Self>> {
        let Some(groups) = weights.gguf_groups(name, [outputs, inputs])? else { return Ok(None) };
        let gguf::FourBitGroups { integers, scales, offsets } = groups;
        let four = Self {
            layout: Int4Layout::Gguf,
            shape: GroupShape { inputs, outputs, group: gguf::GROUP },
            is_channel: false,
            words: Words { bytes: integers.into(), width: inputs / PER_WORD },
            zeros: None,
            scales,
            offsets,
            order: Vec::new(),
        };
        four.checked().map(Some).map_err(|e| e.at(name))
    }

    /// Returns the same weights, of which all are finite: (q - 8) * scale and the offset of each group are.
    ///
    /// # Errors
    /// `InvalidModel` where a scale or an offset is too large or no number.
    fn checked(self) -> Result<Self> {
        let scales = self.scales.iter().map(|&scale| ("scale", scale));
        let mut numbers = scales.chain(self.offsets.iter().map(|&offset| ("offset", offset)));
        match numbers.find(|(_, x)| !(16.0 * x).is_finite()) {
            Some((what, x)) => Err(invalid(format!("the {what} {x}, which no weight can have"))),
            None => Ok(self),
        }
    }

    /// Returns whether 8 stands for anything but 0 in any group.
    pub fn has_offsets(&self) -> bool {
        let groups = self.stored_groups();
        let has = |i: usize, g: usize| match self.offsets.get(i * groups + g) {
            Some(&offset) => offset != 0.0,
            None => self.zero(i, g) != 8,
        };
        let may_have = self.zeros.is_some() || !self.offsets.is_empty();
        may_have && (0..self.shape.outputs).any(|i| (0..groups).any(|g| has(i, g)))
    }

    /// Writes output i.
    pub fn row(&self, i: usize, row: GroupRow<'_>) {
        for (k, q) in row.integers.iter_mut().enumerate() {
            *q = self.integer(i, self.order.get(k).map_or(k, |&at| at as usize));
        }
        for (g, scale) in row.scales.iter_mut().enumerate() {
            *scale = self.scale(i, self.stored_group(g));
        }
        for (g, offset) in row.offsets.iter_mut().enumerate() {
            *offset = self.offset(i, self.stored_group(g));
        }
    }

    /// Writes output i's weights as floats, each rounded once. out: `[inputs]`
    pub fn widen(&self, i: usize, out: &mut [f32]) {
        for at in 0..out.len() {
            let k = self.order.get(at).map_or(at, |&k| k as usize);
            let g = self.stored_group(at / self.shape.group);
            out[k] = four_bit_weight(self.integer(i, k), self.scale(i, g), self.offset(i, g));
        }
    }

    /// The group that `g` of those that are computed with is of.
    fn stored_group(&self, g: usize) -> usize {
        if self.is_channel { 0 } else { g }
    }

    fn stored_groups(&self) -> usize {
        if self.is_channel { 1 } else { self.shape.groups() }
    }

    /// The integer of output i's weight k, as it is stored.
    fn integer(&self, i: usize, k: usize) -> u8 {
        match self.layout {
            Int4Layout::CompressedTensors | Int4Layout::Gguf => {
                self.words.nibble(i, k / PER_WORD, k % PER_WORD)
            }
            Int4Layout::Awq => self.words.nibble(k, i / PER_WORD, AWQ_PLACES[i % PER_WORD]),
            Int4Layout::Gptq { .. } => self.words.nibble(k / PER_WORD, i, k % PER_WORD),
        }
    }

    fn scale(&self, i: usize, g: usize) -> f32 {
        match self.layout {
            Int4Layout::CompressedTensors | Int4Layout::Gguf => {
                self.scales[i * self.stored_groups() + g]
            }
            Int4Layout::Awq | Int4Layout::Gptq { .. } => self.scales[g * self.shape.outputs + i],
        }
    }

    /// The weight that 8 stands for.
    fn offset(&self, i: usize, g: usize) -> f32 {
        match self.offsets.get(i * self.stored_groups() + g) {
            Some(&offset) => offset,
            None => (8.0 - f32::from(self.zero(i, g))) * self.scale(i, g),
        }
    }

    fn zero(&self, i: usize, g: usize) -> u8 {
        let (column, place) = (i / PER_WORD, i % PER_WORD);
        match (self.layout, &self.zeros) {
            (_, None) => 8,
            (Int4Layout::CompressedTensors | Int4Layout::Gguf, Some(zeros)) => {
                zeros.nibble(column, g, place)
            }
            (Int4Layout::Awq, Some(zeros)) => zeros.nibble(g, column, AWQ_PLACES[place]),
            (Int4Layout::Gptq { is_less_one }, Some(zeros)) => {
                (zeros.nibble(g, column, place) + u8::from(is_less_one)) & 15
            }
        }
    }
}

/// The inputs in the order of their groups, which `index` has for each input, little-endian; empty
/// where they stand so already.
///
/// # Errors
/// Says what is wrong where a group does not have `group` inputs.
fn order_of(index: &[u8], group: usize) -> std::result::Result<Vec<u32>, String> {
    let (words, _) = index.as_chunks();
    let groups: Vec<u32> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let mut order: Vec<u32> = (0..groups.len() as u32).collect();
    order.sort_by_key(|&k| groups[k as usize]);
    for (at, &k) in order.iter().enumerate() {
        let (found, expected) = (groups[k as usize], at / group);
        if found as usize != expected {
            return Err(format!(
                "g_idx has not {group} inputs of each group: {found} for {expected}"
            ));
        }
    }
    match order.is_sorted() {
        true => Ok(Vec::new()),
        false => Ok(order),
    }
}
