//! Text to windows and back, many segments or windows side by side.

use super::distribution::Distribution;
use super::interval::{Fraction, Interval};
use super::predictions::Predictions;
use super::{LEAST_BITS, MOST_BITS, corrupt, invalid};
use crate::error::Result;
use crate::models::Model;
use rayon::prelude::*;
use std::ops::Range;

/// Texts that the model reads side by side.
const LANES: usize = 64;

/// Segments or windows that a thread takes at a time.
const GROUP: usize = 4 * LANES;

/// Pieces of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Windows of so many bits.
    Windows(usize),
    /// A stream for each segment.
    Whole,
}

/// How text becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Windows, or none.
    pub coding: Coding,
    /// Bits of a token: 8, 12 or 16.
    pub token_bits: usize,
    /// Bytes of text that are coded without the others; the last segment may have fewer.
    pub segment_len: usize,
}

impl Layout {
    /// Checks that there is such a layout.
    ///
    /// # Errors
    /// InvalidArgument.
    pub fn check(&self) -> Result<()> {
        let Self { coding, token_bits, segment_len } = *self;
        if !matches!(token_bits, 8 | 12 | 16) {
            return Err(invalid(format!("tokens of {token_bits} bits, expected 8, 12 or 16")));
        }
        if segment_len == 0 {
            return Err(invalid("segments of 0 bytes"));
        }
        match coding {
            Coding::Windows(bits) if !(LEAST_BITS..=MOST_BITS).contains(&bits) => Err(invalid(
                format!("windows of {bits} bits, expected {LEAST_BITS} to {MOST_BITS}"),
            )),
            Coding::Windows(bits) if bits % token_bits != 0 => {
                Err(invalid(format!("windows of {bits} bits are not whole tokens of {token_bits}")))
            }
            _ => Ok(()),
        }
    }

    /// The segments of a text of `len` bytes.
    pub(super) fn segments(self, len: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
        let segment_len = self.segment_len;
        (0..len.div_ceil(segment_len))
            .map(move |i| i * segment_len..len.min((i + 1).saturating_mul(segment_len)))
    }
}

/// Encodes `text`: the tokens of each segment. Calls `progress` for each byte.
///
/// # Errors
/// InvalidArgument where the layout is none, or the model no recurrent one of bytes; InvalidModel where its logits
/// overflow.
pub fn encode(
    model: &Model,
    text: &[u8],
    layout: Layout,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Vec<u16>>> {
    layout.check()?;
    let segments: Vec<&[u8]> = layout.segments(text.len()).map(|range| &text[range]).collect();
    let groups =
        segments.par_chunks(GROUP).map(|group| encode_group(model, group, layout, progress));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    Ok(groups.into_iter().flatten().collect())
}

/// Encodes `segments` on one thread.
fn encode_group(
    model: &Model,
    segments: &[&[u8]],
    layout: Layout,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Vec<u16>>> {
    let n = segments.len();
    let mut lanes = Predictions::new(model, LANES.min(n).max(1), bits_of(layout.coding))?;
    let mut waiting = segments.iter().enumerate();
    let mut tokens = vec![Vec::new(); n];
    let mut work: Vec<Option<SegmentEncoder<'_>>> = (0..LANES.min(n)).map(|_| None).collect();
    loop {
        let mut bytes = Vec::new();
        for (lane, work) in work.iter_mut().enumerate() {
            loop {
                if let Some(encoder) = work {
                    match encoder.advance(&mut lanes, lane) {
                        Some(byte) => {
                            bytes.push((lane, byte));
                            break;
                        }
                        None => tokens[encoder.number] = std::mem::take(&mut encoder.tokens),
                    }
                    progress(encoder.text.len() as u64);
                }
                let next = waiting.next();
                *work = next.map(|(number, text)| {
                    lanes.restart(lane);
                    SegmentEncoder::new(number, text, layout, lanes.first())
                });
                if work.is_none() {
                    break;
                }
            }
        }
        if bytes.is_empty() {
            return Ok(tokens);
        }
        lanes.feed(bytes.into_iter(), |lane, next| {
            work[lane].as_mut().expect("it asked for a byte to be read").next(next);
        })?;
    }
}

fn bits_of(coding: Coding) -> usize {
    match coding {
        Coding::Windows(bits) => bits,
        Coding::Whole => MOST_BITS,
    }
}

/// A segment while it is encoded.
struct SegmentEncoder<'t> {
    number: usize,
    text: &'t [u8],
    layout: Layout,
    /// Where the window begins.
    start: usize,
    /// The intervals of the window's beginnings, the empty one first, and what follows each; of a stream only the last.
    path: Vec<(Interval, Distribution)>,
    /// The interval of one byte more, once that is read.
    longer: Option<Interval>,
    /// Bytes in the window.
    len: usize,
    tokens: Vec<u16>,
}

impl<'t> SegmentEncoder<'t> {
    fn new(number: usize, text: &'t [u8], layout: Layout, first: &Distribution) -> Self {
        let path = vec![(Interval::default(), first.clone())];
        let (longer, tokens) = (None, Vec::new());
        Self { number, text, layout, start: 0, path, longer, len: 0, tokens }
    }

    /// Goes on until a byte is to be read by the model, which it returns; `None` at the end of the segment.
    fn advance(&mut self, lanes: &mut Predictions<'_>, lane: usize) -> Option<u8> {
        loop {
            let (interval, next) = self.path.last().expect("the empty text is there");
            let Some(&byte) = self.text.get(self.start + self.len) else {
                self.end();
                return None;
            };
            let longer = interval.child(next, byte);
            let bits = match self.layout.coding {
                Coding::Windows(bits) => bits,
                Coding::Whole => usize::MAX,
            };
            if longer.has_dyadic(bits) {
                self.len += 1;
                if self.start + self.len == self.text.len() {
                    // Nothing follows that would have to be predicted.
                    self.path.push((longer, Distribution::empty()));
                    continue;
                }
                self.longer = Some(longer);
                return Some(byte);
            }
            self.close(bits);
            lanes.restart(lane);
            self.path[0].1 = lanes.first().clone();
        }
    }

    /// Takes in what follows the byte that was read.
    fn next(&mut self, next: Distribution) {
        let longer = self.longer.take().expect("a byte was to be read");
        if self.layout.coding == Coding::Whole {
            self.path.clear();
        }
        self.path.push((longer, next));
    }

    /// Ends the window with the last of its beginnings that a window can stand for.
    fn close(&mut self, bits: usize) {
        let own = |(len, (interval, next)): (usize, &(Interval, Distribution))| {
            Some((len, interval.first_own(next, bits)?))
        };
        let found = self.path.iter().enumerate().skip(1).rev().find_map(own);
        // The bounds of the first byte's parts are those of dyadic intervals: one that no part of any beginning
        // contains lies across the bounds of one of these.
        let (len, at) = found.expect("some beginning has a dyadic interval of its own");
        push_tokens(&mut self.tokens, &at, bits, self.layout.token_bits);
        self.start += len;
        self.len = 0;
        self.path.truncate(1);
    }

    /// Ends the segment: the last window is the first whose text begins with what is left, a stream the shortest code.
    fn end(&mut self) {
        let (interval, _) = self.path.last().expect("the empty text is there");
        let token_bits = self.layout.token_bits;
        match self.layout.coding {
            _ if self.text.is_empty() => (),
            Coding::Windows(_) if self.len == 0 => (),
            Coding::Windows(bits) => {
                let at = interval.first(bits).expect("what is left fits");
                push_tokens(&mut self.tokens, &at, bits, token_bits);
            }
            Coding::Whole => {
                let (at, bits) = interval.shortest();
                push_tokens(&mut self.tokens, &at, bits.next_multiple_of(token_bits), token_bits);
            }
        }
    }
}

/// Appends `bits` bits as tokens, the first bit the most significant.
fn push_tokens(tokens: &mut Vec<u16>, at: &Fraction, bits: usize, token_bits: usize) {
    let bytes = at.to_bytes(bits);
    let bit = |at: usize| u16::from(bytes.get(at / 8).copied().unwrap_or(0) >> (7 - at % 8) & 1);
    let token =
        |first: usize| (first..first + token_bits).fold(0, |token, at| token << 1 | bit(at));
    tokens.extend((0..bits).step_by(token_bits).map(token));
}

/// The bits of `tokens` as a fraction.
fn fraction(tokens: &[u16], token_bits: usize) -> Fraction {
    let mut bytes = vec![0; (tokens.len() * token_bits).div_ceil(8)];
    for (i, &token) in tokens.iter().enumerate() {
        for bit in (0..token_bits).filter(|bit| token >> (token_bits - 1 - bit) & 1 == 1) {
            let at = i * token_bits + bit;
            bytes[at / 8] |= 0x80 >> (at % 8);
        }
    }
    Fraction::of_bytes(&bytes)
}

/// Decodes the tokens of all segments of a text of `len` bytes, as [`encode`] gave them; of windows also all in one
/// piece. Calls `progress` for each byte.
///
/// # Errors
/// InvalidArgument as for [`encode`]; Corrupt where no text has such tokens, InvalidModel.
pub fn decode(
    model: &Model,
    tokens: &[Vec<u16>],
    len: usize,
    layout: Layout,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<u8>> {
    layout.check()?;
    let token_bits = layout.token_bits;
    if tokens.iter().flatten().any(|&token| u32::from(token) >> token_bits != 0) {
        return Err(corrupt(format!("a token has more than {token_bits} bits")));
    }
    let codes: Vec<Code> = match layout.coding {
        Coding::Windows(bits) => {
            let all = tokens.concat();
            let windows = all.chunks_exact(bits / token_bits);
            if !windows.remainder().is_empty() {
                return Err(corrupt("the last window is cut off"));
            }
            let most = layout.segment_len.min(len);
            let code =
                |window| Code { value: fraction(window, token_bits), bits: Some(bits), most };
            windows.map(code).collect()
        }
        Coding::Whole => {
            let segments = layout.segments(len);
            if segments.len() != tokens.len() {
                return Err(corrupt(format!(
                    "{} segments, expected {}",
                    tokens.len(),
                    segments.len()
                )));
            }
            let code = |(tokens, range): (&Vec<u16>, Range<usize>)| Code {
                value: fraction(tokens, token_bits),
                bits: None,
                most: range.len(),
            };
            tokens.iter().zip(segments).map(code).collect()
        }
    };
    let groups = codes.par_chunks(GROUP).map(|group| decode_group(model, group, layout, progress));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let (mut text, mut texts) = (Vec::new(), groups.into_iter().flatten());
    for range in layout.segments(len) {
        while text.len() < range.end {
            let window = texts.next().ok_or_else(|| corrupt("there are not enough windows"))?;
            let room = range.end - text.len();
            text.extend(&window[..window.len().min(room)]);
        }
    }
    match texts.next() {
        Some(_) => Err(corrupt(format!("there are more windows than {len} bytes have"))),
        None => Ok(text),
    }
}

/// A window, or a stream of `most` bytes.
struct Code {
    value: Fraction,
    /// Of a window.
    bits: Option<usize>,
    /// Most bytes of its text.
    most: usize,
}

/// A code while it is decoded.
struct Decoding {
    number: usize,
    interval: Interval,
    next: Distribution,
}

/// Decodes `codes` on one thread.
fn decode_group(
    model: &Model,
    codes: &[Code],
    layout: Layout,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Vec<u8>>> {
    let n_lanes = LANES.min(codes.len());
    let mut lanes = Predictions::new(model, n_lanes.max(1), bits_of(layout.coding))?;
    let mut texts = vec![Vec::new(); codes.len()];
    let mut waiting = 0..codes.len();
    let mut work: Vec<Option<Decoding>> = (0..n_lanes).map(|_| None).collect();
    loop {
        let mut bytes = Vec::new();
        for (lane, work) in work.iter_mut().enumerate() {
            loop {
                if let Some(Decoding { number, interval, next }) = work {
                    let (code, text) = (&codes[*number], &mut texts[*number]);
                    if let Some(byte) = code.next_byte(interval, next, text.len()) {
                        text.push(byte);
                        bytes.push((lane, byte));
                        break;
                    }
                    progress(text.len() as u64);
                }
                *work = waiting.next().map(|number| {
                    lanes.restart(lane);
                    Decoding { number, interval: Interval::default(), next: lanes.first().clone() }
                });
                if work.is_none() {
                    break;
                }
            }
        }
        if bytes.is_empty() {
            return Ok(texts);
        }
        lanes.feed(bytes.into_iter(), |lane, next| {
            work[lane].as_mut().expect("it gave a byte").next = next;
        })?;
    }
}

impl Code {
    /// The byte that follows `len` of `interval`, which becomes that of one byte more; `None` at the end.
    fn next_byte(&self, interval: &mut Interval, next: &Distribution, len: usize) -> Option<u8> {
        if len == self.most {
            return None;
        }
        let byte = interval.byte_at(next, &self.value);
        let longer = interval.child(next, byte);
        if self.bits.is_some_and(|bits| !longer.contains(&self.value, bits)) {
            return None;
        }
        *interval = longer;
        Some(byte)
    }
}
