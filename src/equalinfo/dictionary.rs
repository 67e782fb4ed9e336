//! Windows of one token each as a dictionary: with model and coder afresh at each window, what a token stands for is
//! fixed, and text is cut by walking a trie, without the model (like Tunstall's code, 1967, but with words that begin others).

use super::distribution::Distribution;
use super::interval::{Fraction, Interval};
use super::predictions::Predictions;
use super::windows::{Coding, Layout};
use super::{LEAST_BITS, corrupt, invalid};
use crate::error::Result;
use crate::models::Model;
use rayon::prelude::*;
use std::collections::VecDeque;
use std::ops::Range;

/// Most bits of a window that is one token.
pub const MOST_BITS: usize = 16;

/// First bytes of a dictionary's file.
const MAGIC: &[u8; 8] = b"LZEQDIC1";

/// Longest text of a token, in bytes.
const LONGEST: usize = 1 << 16;

/// Texts that the model reads side by side.
const LANES: usize = 256;

/// Texts that windows of some bits stand for, and their trie.
pub struct Dictionary {
    /// Bits of a window, 8 to 16.
    pub bits: usize,
    /// BLAKE3 identity of the model that it was made with.
    pub model: [u8; 32],
    /// By window.
    words: Vec<Vec<u8>>,
    trie: Vec<Node>,
}

/// A beginning of words.
#[derive(Clone, Copy)]
struct Node {
    /// The bytes that follow in some word.
    bytes: [u64; 4],
    /// The node of the first of them; the others' follow it.
    first_child: u32,
    /// The window of the word that ends here, if one does.
    window: Option<u16>,
    /// The first window whose word begins so.
    first_window: u16,
}

impl Node {
    /// The node after `byte`, if some word goes on so.
    fn child(&self, byte: u8) -> Option<usize> {
        let (word, bit) = (usize::from(byte >> 6), byte & 63);
        if self.bytes[word] >> bit & 1 == 0 {
            return None;
        }
        let before = self.bytes[..word].iter().map(|word| word.count_ones()).sum::<u32>();
        let here = (self.bytes[word] & ((1 << bit) - 1)).count_ones();
        Some((self.first_child + before + here) as usize)
    }
}

impl Dictionary {
    /// Builds the dictionary of windows of `bits` bits by `model`, breadth first. Calls `progress` with the number of
    /// windows found so far.
    ///
    /// # Errors
    /// InvalidArgument where `bits` is not 8 to 16, or the model no recurrent one of bytes; InvalidModel where its
    /// logits overflow.
    pub fn build(model: &Model, bits: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<Self> {
        if !(LEAST_BITS..=MOST_BITS).contains(&bits) {
            let message = format!(
                "a dictionary of windows of {bits} bits, expected {LEAST_BITS} to {MOST_BITS}"
            );
            return Err(invalid(message));
        }
        let mut words = vec![Vec::new(); 1 << bits];
        let mut found = 0;
        let root = Predictions::new(model, 1, bits)?.first().clone();
        let mut beginnings = vec![(Vec::new(), Interval::default())];
        while !beginnings.is_empty() {
            let mut longer = Vec::new();
            let groups = beginnings.par_chunks(LANES);
            let groups = groups.map(|group| following(model, group, bits, &root));
            let groups = groups.collect::<Result<Vec<_>>>()?;
            for ((text, interval), next) in beginnings.iter().zip(groups.into_iter().flatten()) {
                let text: &Vec<u8> = text;
                for window in interval.all_own(&next, bits) {
                    words[usize::from(number(&window, bits))].clone_from(text);
                    found += 1;
                }
                for byte in 0..=255 {
                    let child = interval.child(&next, byte);
                    if child.has_dyadic(bits) {
                        longer.push(([text, &[byte][..]].concat(), child));
                    }
                }
            }
            progress(found);
            beginnings = longer;
        }
        Self::of_words(bits, model.identity().digest, words)
    }

    fn of_words(bits: usize, model: [u8; 32], words: Vec<Vec<u8>>) -> Result<Self> {
        if let Some(window) = words.iter().position(Vec::is_empty) {
            return Err(corrupt(format!("window {window} stands for nothing")));
        }
        let mut sorted: Vec<(&[u8], u16)> =
            words.iter().map(|w| &w[..]).zip(0..=u16::MAX).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|later, earlier| later.0 == earlier.0);
        let trie = trie(&sorted);
        Ok(Self { bits, model, words, trie })
    }

    /// The text that each window stands for.
    pub fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    /// Different words.
    pub fn n_words(&self) -> usize {
        self.trie.iter().filter(|node| node.window.is_some()).count()
    }

    /// Cuts `text`, `segment_len` bytes at a time, as [`encode`](super::encode) does with the model and one token a window.
    ///
    /// # Errors
    /// InvalidArgument for a segment of 0 bytes; Corrupt where no word is a beginning of the rest, as with no dictionary that was
    /// built.
    pub fn encode(&self, text: &[u8], segment_len: usize) -> Result<Vec<u16>> {
        if segment_len == 0 {
            return Err(invalid("segments of 0 bytes"));
        }
        let mut windows = Vec::with_capacity(text.len() / 2);
        for segment in text.chunks(segment_len) {
            let mut rest = segment;
            while !rest.is_empty() {
                let (window, len) = self.longest(rest).ok_or_else(|| {
                    let shown = &rest[..rest.len().min(8)];
                    corrupt(format!("the dictionary has no word for {shown:02x?}"))
                })?;
                windows.push(window);
                rest = &rest[len..];
            }
        }
        Ok(windows)
    }

    /// The window of the longest word that `rest` begins with, and its length; where all of `rest` is the beginning of words,
    /// the first of these.
    fn longest(&self, rest: &[u8]) -> Option<(u16, usize)> {
        let (mut node, mut found) = (&self.trie[0], None);
        for (at, &byte) in rest.iter().enumerate() {
            let Some(child) = node.child(byte) else { return found };
            node = &self.trie[child];
            found = node.window.map(|window| (window, at + 1)).or(found);
        }
        Some((node.first_window, rest.len()))
    }

    /// The text of `len` bytes that [`encode`](Self::encode) cut into `windows`.
    ///
    /// # Errors
    /// Corrupt where there is none.
    pub fn decode(&self, windows: &[u16], len: usize, segment_len: usize) -> Result<Vec<u8>> {
        let layout =
            Layout { coding: Coding::Windows(self.bits), token_bits: self.bits, segment_len };
        let mut text = Vec::new();
        let mut words = windows.iter().map(|&window| {
            let word = self.words.get(usize::from(window));
            word.ok_or_else(|| corrupt(format!("token {window} is not of {} bits", self.bits)))
        });
        for range in layout.segments(len) {
            while text.len() < range.end {
                let word = words.next().ok_or_else(|| corrupt("there are not enough tokens"))??;
                text.extend(&word[..word.len().min(range.end - text.len())]);
            }
        }
        match words.next() {
            Some(_) => Err(corrupt(format!("there are more tokens than {len} bytes have"))),
            None => Ok(text),
        }
    }

    /// The dictionary's file: eight bytes of magic, a byte of the bits, the model's digest (32 bytes), each word as its
    /// length (u16, little-endian) and bytes, and the CRC-32 of all before.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = [&MAGIC[..], &[self.bits as u8], &self.model].concat();
        for word in &self.words {
            file.extend((word.len() as u16).to_le_bytes());
            file.extend(word);
        }
        let crc = crc32fast::hash(&file);
        file.extend(crc.to_le_bytes());
        file
    }

    /// Reads a dictionary's file.
    ///
    /// # Errors
    /// Corrupt where it is none.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let bad = || corrupt("not a dictionary of windows, or damaged");
        let (content, crc) = file.split_last_chunk().ok_or_else(bad)?;
        let content = content.strip_prefix(MAGIC).filter(|_| {
            u32::from_le_bytes(*crc) == crc32fast::hash(&file[..file.len() - crc.len()])
        });
        let (&bits, content) = content.and_then(<[u8]>::split_first).ok_or_else(bad)?;
        let (model, mut rest) = content.split_first_chunk().ok_or_else(bad)?;
        let bits = usize::from(bits);
        if !(LEAST_BITS..=MOST_BITS).contains(&bits) {
            return Err(bad());
        }
        let mut words = Vec::new();
        for _ in 0..1usize << bits {
            let (len, after) = rest.split_first_chunk().ok_or_else(bad)?;
            let (word, after) =
                after.split_at_checked(u16::from_le_bytes(*len).into()).ok_or_else(bad)?;
            words.push(word.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err(bad());
        }
        Self::of_words(bits, *model, words)
    }
}

/// Predicts what follows each of some texts of equal length.
fn following(
    model: &Model,
    texts: &[(Vec<u8>, Interval)],
    bits: usize,
    root: &Distribution,
) -> Result<Vec<Distribution>> {
    let mut next = vec![root.clone(); texts.len()];
    let len = texts.first().map_or(0, |(text, _)| text.len());
    if len == 0 {
        return Ok(next);
    }
    if len >= LONGEST {
        return Err(invalid(format!(
            "a window of {bits} bits stands for more than {LONGEST} bytes"
        )));
    }
    let mut lanes = Predictions::new(model, texts.len(), bits)?;
    for at in 0..len {
        let bytes = texts.iter().map(|(text, _)| text[at]).enumerate();
        lanes.feed(bytes, |lane, following| next[lane] = following)?;
    }
    Ok(next)
}

/// The window as a number.
fn number(window: &Fraction, bits: usize) -> u16 {
    let bytes = window.to_bytes(bits);
    let bytes = [bytes[0], bytes.get(1).copied().unwrap_or(0)];
    u16::from_be_bytes(bytes) >> (16 - bits)
}

/// The trie of `words`, sorted, each with its window; the root first, children side by side.
fn trie(words: &[(&[u8], u16)]) -> Vec<Node> {
    let mut trie = Vec::new();
    // Ranges of words with a common beginning, and its length, in the order of their nodes.
    let mut waiting: VecDeque<(Range<usize>, usize)> = [(0..words.len(), 0)].into();
    let mut n_nodes = 1;
    while let Some((range, depth)) = waiting.pop_front() {
        let first_window = words[range.clone()].iter().map(|word| word.1).min().unwrap_or(0);
        let mut node = Node { bytes: [0; 4], first_child: n_nodes, window: None, first_window };
        let mut at = range.start;
        while at < range.end {
            let (word, window) = words[at];
            let Some(&byte) = word.get(depth) else {
                node.window = Some(window);
                at += 1;
                continue;
            };
            node.bytes[usize::from(byte >> 6)] |= 1 << (byte & 63);
            let n = words[at..range.end].partition_point(|(word, _)| word[depth] == byte);
            waiting.push_back((at..at + n, depth + 1));
            n_nodes += 1;
            at += n;
        }
        trie.push(node);
    }
    trie
}
