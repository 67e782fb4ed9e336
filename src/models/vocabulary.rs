//! The tokens that can be coded, sorted by their bytes.

use super::invalid;
use crate::error::Result;
use std::ops::Range;

/// A token as its tokenizer's files give it.
///
/// Where several tokens have the same bytes, the least in this order is the one that text becomes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The bytes that it stands for.
    pub bytes: Vec<u8>,
    /// How text becomes it.
    pub kind: TokenKind,
    /// Its id: its row in the embedding.
    pub id: u32,
}

/// How text becomes a token. Tokenizers try these in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKind {
    /// Wherever its text stands, before anything else is looked at.
    Added,
    /// By merges.
    Ordinary,
    /// As a byte of a character that has no token.
    Byte,
}

/// Codable tokens in byte order. A token's *rank* is its place in that order.
///
/// Invariants: 1. byte strings are not empty and strictly ascending; 2. all 256 single bytes are
/// among them, so any byte string can be written as tokens; 3. there are fewer than 2^20.
pub struct Vocabulary {
    bytes: Vec<u8>,
    /// Where each rank's bytes begin in `bytes`, and the end of the last.
    starts: Vec<u32>,
    ids: Vec<u32>,
    /// By byte value: the rank of the token of that byte alone.
    singles: [u32; 256],
    /// By id: the rank, or `NO_RANK`.
    ranks: Vec<u32>,
}

const NO_RANK: u32 = u32::MAX;

impl Vocabulary {
    /// From tokens in any order. Of those with the same bytes, the least is kept.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if a byte has no token of its
    /// own, or two tokens share an id.
    pub fn new(mut tokens: Vec<Token>) -> Result<Self> {
        tokens.retain(|token| !token.bytes.is_empty());
        tokens.sort_unstable();
        tokens.dedup_by(|later, earlier| later.bytes == earlier.bytes);
        let mut vocabulary = Self {
            bytes: Vec::new(),
            starts: vec![0],
            ids: Vec::new(),
            singles: [NO_RANK; 256],
            ranks: vec![NO_RANK; tokens.iter().map(|t| t.id as usize + 1).max().unwrap_or(0)],
        };
        for (rank, Token { bytes, id, .. }) in tokens.iter().enumerate() {
            vocabulary.bytes.extend(bytes);
            let end = u32::try_from(vocabulary.bytes.len());
            vocabulary.starts.push(end.map_err(|_| invalid("tokenizer: tokens of over 4 GiB"))?);
            vocabulary.ids.push(*id);
            if std::mem::replace(&mut vocabulary.ranks[*id as usize], rank as u32) != NO_RANK {
                return Err(invalid(format!("tokenizer: two tokens have the id {id}")));
            }
            if let [byte] = bytes[..] {
                vocabulary.singles[usize::from(byte)] = rank as u32;
            }
        }
        match vocabulary.singles.iter().position(|&rank| rank == NO_RANK) {
            Some(byte) => Err(invalid(format!("tokenizer: no token for byte 0x{byte:02x} alone"))),
            None => Ok(vocabulary),
        }
    }

    /// How many tokens there are.
    #[allow(clippy::len_without_is_empty, reason = "never empty: invariant 2")]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The bytes of the token of `rank`.
    pub fn bytes(&self, rank: u32) -> &[u8] {
        let rank = rank as usize;
        &self.bytes[self.starts[rank] as usize..self.starts[rank + 1] as usize]
    }

    /// The ids of all tokens, by rank.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The id of the token of `rank`.
    pub fn id(&self, rank: u32) -> u32 {
        self.ids[rank as usize]
    }

    /// The rank of the token of `id`, if it can be coded.
    pub fn rank(&self, id: u32) -> Option<u32> {
        self.ranks.get(id as usize).copied().filter(|&rank| rank != NO_RANK)
    }

    /// The rank of the token that is `byte` alone.
    pub fn single(&self, byte: u8) -> u32 {
        self.singles[usize::from(byte)]
    }

    /// The rank of the longest token that `text`, which is not empty, begins with.
    pub fn longest(&self, text: &[u8]) -> u32 {
        let mut found = self.single(text[0]);
        let end = text[0].checked_add(1).map_or(self.len() as u32, |next| self.single(next));
        // Tokens that begin with the bytes so far stand side by side, the shortest first.
        let mut tokens = found..end;
        for (at, &byte) in text.iter().enumerate().skip(1) {
            let first =
                self.partition(tokens.clone(), |token| token.get(at).is_none_or(|&b| b < byte));
            let end = self.partition(first..tokens.end, |token| token[at] == byte);
            tokens = first..end;
            if tokens.is_empty() {
                break;
            }
            if self.bytes(first).len() == at + 1 {
                found = first;
            }
        }
        found
    }

    /// The first of `ranks` for whose bytes `is_before` does not hold, as it does for all in front of it; else their end.
    fn partition(&self, ranks: Range<u32>, is_before: impl Fn(&[u8]) -> bool) -> u32 {
        let Range { start: mut low, end: mut high } = ranks;
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.bytes(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_is_found() {
        let words: [&[u8]; 9] = [
            b"ab",
            b"abcd",
            b"abce",
            b"b\xff",
            b"\xff\xff",
            b"\xff\xff\xff\xff",
            b"th",
            b"the",
            b" the",
        ];
        let bytes = (0..=255).map(|byte| vec![byte]).chain(words.iter().map(|word| word.to_vec()));
        let token = |(bytes, id)| Token { bytes, kind: TokenKind::Ordinary, id };
        let vocabulary = Vocabulary::new(bytes.zip(0..).map(token).collect()).unwrap();
        let texts: [&[u8]; 10] = [
            b"a",
            b"abc",
            b"abcd",
            b"abcef",
            b"b\xfe",
            b"b\xff\xff",
            b"\xff\xff\xff",
            b"\xff\xff\xff\xff\xff",
            b"then",
            b" there",
        ];
        for text in texts {
            let is_begun = |rank: &u32| text.starts_with(vocabulary.bytes(*rank));
            let all = 0..vocabulary.len() as u32;
            let longest = all.filter(is_begun).max_by_key(|&rank| vocabulary.bytes(rank).len());
            assert_eq!(Some(vocabulary.longest(text)), longest, "{text:?}");
        }
    }
}
