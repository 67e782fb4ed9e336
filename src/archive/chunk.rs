//! One chunk on its way to the file: coded where that shrinks it, else stored.

use crate::codec::{self, ChunkOptions, Codec, Coded};
use crate::error::Result;
use crate::profile::{Part, enter};
use rayon::prelude::*;

/// A chunk as the file will have it.
pub(super) struct EncodedChunk<'a> {
    pub(super) coded: Coded<'a>,
    /// Whether it is stored because it did not decode to what was encoded.
    pub(super) verify_failed: bool,
}

/// Encodes chunks side by side, and with `verify` decodes them again. Each pass calls `progress` for
/// each byte.
///
/// # Errors
/// Each chunk's: those of the codec's encoder.
pub(super) fn encode_all<'a>(
    codec: Codec<'_>,
    plains: &'a [Vec<u8>],
    options: &ChunkOptions,
    verify: bool,
) -> Vec<Result<EncodedChunk<'a>>> {
    let share = codec.shared_by(plains.len());
    let chunks = plains.par_iter().map(|plain| encode(share, plain, options));
    let mut chunks: Vec<Result<EncodedChunk<'a>>> = chunks.collect();
    if verify {
        verify_all(codec, plains, &mut chunks);
    }
    chunks
}

fn encode<'a>(
    codec: Codec<'_>,
    plain: &'a [u8],
    options: &ChunkOptions,
) -> Result<EncodedChunk<'a>> {
    let _other = enter(Part::Other);
    let mut coded = Coded::stored(plain);
    if !plain.is_empty() {
        let smaller = codec::encode(codec, plain, options)?;
        if !smaller.payload.is_empty() && smaller.payload.len() < plain.len() {
            coded = smaller;
        }
    }
    Ok(EncodedChunk { coded, verify_failed: false })
}

/// Stores those of `chunks` from which a reader would not get its plain bytes back.
fn verify_all<'a>(
    codec: Codec<'_>,
    plains: &'a [Vec<u8>],
    chunks: &mut [Result<EncodedChunk<'a>>],
) {
    let _other = enter(Part::Other);
    let (mut coded, mut places) = (Vec::new(), Vec::new());
    for (chunk, plain) in chunks.iter_mut().zip(plains) {
        match chunk {
            Ok(chunk) if !chunk.coded.coding.is_stored() => {
                let stored = Coded::stored(plain);
                coded.push(std::mem::replace(&mut chunk.coded, stored));
                places.push((chunk, plain));
            }
            _ => (codec.progress)(plain.len() as u64),
        }
    }
    let decoded = codec::decode_all(codec, &coded);
    for (((chunk, plain), coded), decoded) in places.into_iter().zip(coded).zip(decoded) {
        match decoded {
            Ok(decoded) if decoded == *plain => chunk.coded = coded,
            _ => chunk.verify_failed = true,
        }
    }
}
