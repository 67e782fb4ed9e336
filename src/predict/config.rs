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

    /// Returns the bytes of all lanes.
    pub(super) fn chunk_len(&self) -> u32 {
        self.n_lanes.saturating_mul(self.lane_len).clamp(1, 1 << 31)
    }
}
