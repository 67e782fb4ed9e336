//! Tokens without a vocabulary: numbers that something else made of text.

use super::material::{Material, Windows};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::random::Random;

/// Held-out share, one token in so many, and its limit in tokens.
const HELD_OUT: (usize, usize) = (50, 1 << 16);

/// Tokens of a held-out piece.
const PIECE: usize = 1 << 10;

/// Tokens, and the bytes of the text that they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIds {
    /// The tokens.
    pub ids: Vec<u16>,
    /// Bytes of their text.
    pub plain_len: usize,
}

impl TokenIds {
    /// Bytes per token.
    pub fn bytes_per_token(&self) -> f64 {
        self.plain_len as f64 / self.ids.len() as f64
    }
}

/// Training data and held-out data of tokens.
pub struct IdMaterial {
    learned: TokenIds,
    held_out: TokenIds,
}

impl IdMaterial {
    /// Creates the material of `learned`; without `held_out`, one in 50 tokens at its end is held out, and as much of
    /// its text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where a token is not below `vocab_size`, or there are too few.
    pub fn new(
        mut learned: TokenIds,
        held_out: Option<TokenIds>,
        vocab_size: usize,
    ) -> Result<Self> {
        let too_large =
            |ids: &TokenIds| ids.ids.iter().find(|&&id| usize::from(id) >= vocab_size).copied();
        let held_out = match held_out {
            Some(held_out) => held_out,
            None => {
                let (share, most) = HELD_OUT;
                let n = (learned.ids.len() / share).min(most);
                let plain_len = (n as f64 * learned.bytes_per_token()).round() as usize;
                let ids = learned.ids.split_off(learned.ids.len() - n);
                learned.plain_len -= plain_len.min(learned.plain_len);
                TokenIds { ids, plain_len }
            }
        };
        let message = if let Some(id) = too_large(&learned).or(too_large(&held_out)) {
            format!("token {id}, expected less than {vocab_size}")
        } else if learned.ids.is_empty() || held_out.ids.is_empty() {
            format!(
                "{} tokens to learn from and {} held out",
                learned.ids.len(),
                held_out.ids.len()
            )
        } else {
            return Ok(Self { learned, held_out });
        };
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// Returns bytes per token of the held-out data.
    pub fn held_out_bytes_per_token(&self) -> f64 {
        self.held_out.bytes_per_token()
    }
}

impl Material for IdMaterial {
    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for TokenIds { ids, plain_len } in [&self.learned, &self.held_out] {
            hasher.update(&(ids.len() as u64).to_le_bytes());
            hasher.update(&(*plain_len as u64).to_le_bytes());
            ids.iter().for_each(|id| _ = hasher.update(&id.to_le_bytes()));
        }
        hasher.finalize()
    }

    fn stream<'a>(&'a self, random: &mut Random, _crlf: bool) -> Box<dyn Windows + 'a> {
        let ids = &self.learned.ids[..];
        Box::new(IdWindows { ids, at: random.below(ids.len()), last: 0, repeats: true })
    }

    fn held_out(&self) -> Vec<Box<dyn Windows + '_>> {
        let ids = &self.held_out.ids;
        let len = ids.len().div_ceil(ids.len().div_ceil(PIECE));
        let windows = |ids| Box::new(IdWindows { ids, at: 0, last: 0, repeats: false }) as _;
        ids.chunks(len).map(windows).collect()
    }

    fn bytes(&self, targets: &[u32]) -> f64 {
        targets.len() as f64 * self.learned.bytes_per_token()
    }

    fn held_out_bytes(&self, targets: &[u32]) -> f64 {
        targets.len() as f64 * self.held_out.bytes_per_token()
    }
}

/// Tokens from some place on, after token 0.
struct IdWindows<'a> {
    ids: &'a [u16],
    at: usize,
    /// The token before.
    last: u32,
    /// Whether it restarts at the end.
    repeats: bool,
}

impl Windows for IdWindows<'_> {
    fn window(&mut self, n: usize) -> Vec<u32> {
        let mut window = vec![self.last];
        while window.len() <= n {
            match self.ids.get(self.at) {
                Some(&id) => window.push(id.into()),
                None if self.repeats => {
                    window.push(0);
                    self.at = 0;
                    continue;
                }
                None => break,
            }
            self.at += 1;
        }
        self.last = window[window.len() - 1];
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = u16>, plain_len: usize) -> TokenIds {
        TokenIds { ids: ids.into_iter().collect(), plain_len }
    }

    #[test]
    fn the_end_is_held_out_and_windows_follow_each_other() {
        let material = IdMaterial::new(ids(0..1000, 3000), None, 1000).unwrap();
        assert_eq!(material.learned, ids(0..980, 2940));
        assert_eq!(material.held_out_bytes_per_token(), 3.0);
        let mut held_out = material.held_out();
        assert_eq!(held_out.len(), 1);
        assert_eq!(held_out[0].window(15), [0].into_iter().chain(980..995).collect::<Vec<u32>>());
        assert_eq!(held_out[0].window(15), (994..1000).collect::<Vec<u32>>());
        assert_eq!(held_out[0].window(15), [999]);
        assert_eq!(material.held_out_bytes(&[1, 2]), 6.0);
    }

    #[test]
    fn streams_go_round() {
        let material = IdMaterial::new(ids([5, 6, 7], 3), Some(ids([1], 1)), 8).unwrap();
        let mut stream = material.stream(&mut Random::new(&[1]), false);
        let all: Vec<u32> = (0..4).flat_map(|_| stream.window(3)[1..].to_vec()).collect();
        let start = all[0];
        assert!((5..8).contains(&start), "{all:?}");
        let after = |id| if id == 7 { 0 } else { id + 1 };
        assert!(
            all.windows(2).all(|pair| pair[1] == after(pair[0]) || (pair[0] == 0 && pair[1] == 5))
        );
    }

    #[test]
    fn tokens_that_are_none_are_refused() {
        let refused = |learned, held_out, vocab_size| {
            IdMaterial::new(learned, held_out, vocab_size).err().unwrap().to_string()
        };
        assert!(refused(ids([256], 1), Some(ids([1], 1)), 256).contains("token 256"));
        assert!(refused(ids([1], 1), Some(ids([300], 1)), 256).contains("token 300"));
        assert!(refused(ids(0..49, 49), None, 256).contains("0 held out"));
        assert!(refused(ids([], 0), Some(ids([1], 1)), 256).contains("0 tokens to learn"));
    }
}
