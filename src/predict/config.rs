//! Parameters of the adaptive model.

/// What shapes the adaptive model; part of the format, both sides must use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// 1 (fast) to 3 (strong); others count as the nearest. With a language model it is always 3.
    pub tier: u8,
    /// Greatest size of the table of contexts, log2 of bytes; smaller chunks take less.
    pub table_log2: u32,
    /// Whether a language model's probabilities will be given.
    pub with_lm: bool,
    /// Slices of the chunk coded in lockstep, at least 1.
    pub n_lanes: u32,
    /// The longest slice and the prefix before it, bytes; `n_lanes * lane_len` is below 2^32 - 1.
    pub lane_len: u32,
}

impl Config {
    /// The usual `table_log2`: 64 MiB.
    pub const TABLE_LOG2: u32 = 26;

    /// Bytes of all lanes.
    pub(super) fn chunk_len(&self) -> u32 {
        self.n_lanes.saturating_mul(self.lane_len).clamp(1, 1 << 31)
    }
}
