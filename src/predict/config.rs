//! Parameters of the adaptive model.

/// Parameters of the adaptive model; part of the format, the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixingConfig {
    /// 1 (fast) to 4 (strong); others count as the nearest. With a language model it is always 4.
    pub tier: u8,
    /// Maximum size of the table of contexts, log2 of bytes; smaller chunks take less.
    pub table_log2: u32,
    /// Whether the probabilities of a language model are mixed in.
    pub with_lm: bool,
    /// Slices of the chunk coded in lockstep, at least 1.
    pub n_lanes: u32,
    /// The longest slice and the prefix before it, bytes; `n_lanes * lane_len` is below 2^32 - 1.
    pub lane_len: u32,
}

impl MixingConfig {
    /// The usual `table_log2`: 64 MiB.
    pub const TABLE_LOG2: u32 = 26;

    /// Returns the bytes that the model takes, about: its table and maps, and two for each byte of its history.
    pub(crate) fn footprint(&self) -> u64 {
        let len = u64::from(self.chunk_len());
        let maps = match self.tier {
            ..=1 => (64 * len).min(16 << 20), // measured, as are the next
            2 | 3 => (192 * len).min(20 << 20),
            4.. => (2000 * len).min(24 << 20),
        };
        (1 << self.table_log2_for(self.n_contexts())) + maps + 2 * len
    }

    /// Returns the contexts of a byte.
    pub(super) fn n_contexts(&self) -> usize {
        match (self.tier, self.with_lm) {
            (..=1, false) => 6,
            (2, false) => 9,
            (3, false) => 14,
            _ => 18,
        }
    }

    /// Returns log2 of the bytes of a table of `n_contexts` contexts.
    pub(super) fn table_log2_for(&self, n_contexts: usize) -> u32 {
        let table_len = self.chunk_len() as u64 * n_contexts as u64 * 16;
        table_len.next_power_of_two().ilog2().min(self.table_log2)
    }

    /// Returns the bytes of all lanes.
    pub(super) fn chunk_len(&self) -> u32 {
        self.n_lanes.saturating_mul(self.lane_len).clamp(1, 1 << 31)
    }
}
