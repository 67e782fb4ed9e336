//! Sequences of tokens to learn from, whatever they come from.

use crate::nn::random::Random;

/// Training data and held-out data as tokens.
pub trait Material: Sync {
    /// Returns the digest of all of it.
    fn digest(&self) -> blake3::Hash;

    /// Starts a stream at a random place of the training data; with `crlf`, lines of one in eight end in CR-LF.
    fn stream<'a>(&'a self, random: &mut Random, crlf: bool) -> Box<dyn Windows + 'a>;

    /// Returns streams through pieces of the held-out data, of about the same length.
    fn held_out(&self) -> Vec<Box<dyn Windows + '_>>;

    /// Returns the bytes of text that `targets`, of training data, stand for.
    fn bytes(&self, targets: &[u32]) -> f64;

    /// Returns the bytes of text that `targets`, of held-out data, stand for.
    fn held_out_bytes(&self, targets: &[u32]) -> f64 {
        self.bytes(targets)
    }
}

/// A stream of tokens, in windows.
pub trait Windows: Send {
    /// Returns the next `n` tokens and the one after them; fewer at the end.
    fn window(&mut self, n: usize) -> Vec<u32>;
}
