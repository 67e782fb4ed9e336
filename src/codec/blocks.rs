//! Chunks of a given coded length: as much text as fits.
//!
//! How much that is shows while a longer piece is coded; but the code of a chunk depends on where it ends (the
//! size of its table, the tokens that still fit), so that what seemed to fit is coded again, and cut where
//! it does not. All of it is the encoder's choice.

use super::strategy::{self, Strategy};
use super::{ChunkOptions, Codec, Coded, bytes, check_options, tokens};
use crate::error::Result;

/// Most coded bytes of a chunk of so many plain bytes.
pub type Room<'a> = &'a dyn Fn(usize) -> usize;

/// Unused bytes, in parts of the room, for which a chunk is not tried with more text.
const WORTH_MORE: usize = 128;

/// Encodes the longest beginning of `plain` (not empty) that fits in `room`, in one lane; that of `likely` bytes may be
/// near it. Calls no `progress`. Never stores it; where nothing fits, nothing is encoded.
///
/// # Errors
/// Those of [`encode`](super::encode).
pub fn fill(
    codec: Codec<'_>,
    plain: &[u8],
    options: &ChunkOptions,
    room: Room<'_>,
    likely: usize,
) -> Result<Coded<'static>> {
    let options = &ChunkOptions { lanes: Some(1), ..*options };
    check_options(options)?;
    let codec = codec.quiet();
    let mix = match Strategy::of(options, likely.min(plain.len())) {
        Strategy::Bytes { tier } => return By::Bytes { tier }.fill(codec, plain, room, likely),
        Strategy::Tokens { mix: false, .. } => {
            return By::Tokens { mix: false }.fill(codec, plain, room, likely);
        }
        Strategy::Tokens { mix, .. } => mix,
    };
    let by_bytes = By::Bytes { tier: bytes::BEST_TIER }.fill(codec, plain, room, likely)?;
    let (filled, len) = (&plain[..by_bytes.plain_len], by_bytes.payload.len());
    let is_sure = matches!(
        Strategy::of(options, filled.len()),
        Strategy::Tokens { try_both: true, .. } | Strategy::Bytes { .. }
    );
    if !is_sure && !strategy::lm_may_pay_off(codec, filled, len)? {
        return Ok(by_bytes);
    }
    let by_tokens = By::Tokens { mix }.fill(codec, plain, room, filled.len().max(likely))?;
    let rank = |coded: &Coded<'_>| (coded.plain_len, std::cmp::Reverse(coded.payload.len()));
    Ok(if rank(&by_bytes) > rank(&by_tokens) { by_bytes } else { by_tokens })
}

/// One way to code a chunk.
#[derive(Clone, Copy)]
enum By {
    Bytes { tier: u8 },
    Tokens { mix: bool },
}

impl By {
    fn fill(
        self,
        codec: Codec<'_>,
        plain: &[u8],
        room: Room<'_>,
        likely: usize,
    ) -> Result<Coded<'static>> {
        let mut len = (likely + likely / 4).clamp(1, plain.len());
        let mut fitting = self.fitting(codec, &plain[..len], room(len))?;
        while fitting == len && len < plain.len() {
            len = (2 * len).min(plain.len());
            fitting = self.fitting(codec, &plain[..len], room(len))?;
        }
        let mut best = self.encode_fitting(codec, &plain[..fitting], room)?;
        let most = room(best.plain_len);
        let unused = most - best.payload.len();
        if best.plain_len < plain.len() && unused > most / WORTH_MORE {
            let more = best.plain_len * unused / best.payload.len().max(1);
            let longer = (best.plain_len + more).min(plain.len());
            let longer = self.encode_fitting(codec, &plain[..longer], room)?;
            if longer.plain_len > best.plain_len {
                best = longer;
            }
        }
        Ok(best)
    }

    /// Encodes `plain`, or as much less of it as fits.
    fn encode_fitting(
        self,
        codec: Codec<'_>,
        plain: &[u8],
        room: Room<'_>,
    ) -> Result<Coded<'static>> {
        let mut len = plain.len();
        loop {
            let coded = self.encode(codec, &plain[..len])?;
            let (coded_len, most) = (coded.payload.len(), room(len));
            if coded_len <= most {
                return Ok(coded);
            }
            len -= (len * (coded_len - most) / coded_len).clamp(1, len);
        }
    }

    /// Bytes at the beginning of `plain` whose code fits in `room`, while all of it is coded.
    fn fitting(self, codec: Codec<'_>, plain: &[u8], room: usize) -> Result<usize> {
        match self {
            Self::Bytes { tier } => bytes::fitting(codec, plain, tier, room),
            Self::Tokens { mix } => tokens::fitting(codec, plain, mix, room),
        }
    }

    /// Encodes `plain`, which may be empty.
    fn encode(self, codec: Codec<'_>, plain: &[u8]) -> Result<Coded<'static>> {
        match self {
            _ if plain.is_empty() => Ok(Coded { payload: Vec::new().into(), ..Coded::stored(&[]) }),
            Self::Bytes { tier } => bytes::encode(codec, plain, tier),
            Self::Tokens { mix } => tokens::encode(codec, plain, 1, mix),
        }
    }
}
