//! One chunk on its way to the file: coded where that shrinks it, else stored.

use super::format::Extent;
use crate::codec::{self, ChunkOptions, Codec, Coded};
use crate::error::Result;
use crate::profile::{Part, enter};
use rayon::prelude::*;

/// A chunk as the file will have it.
pub(super) struct EncodedChunk<'a> {
    pub(super) plain: &'a [u8],
    pub(super) coded: Coded<'a>,
    /// Whether it is stored because it did not decode to what was encoded.
    pub(super) verify_failed: bool,
}

/// Chunks that pieces of the content are made into.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    /// One of each.
    Chunks,
    /// As many as it takes, in blocks of so many bytes.
    Blocks(u32),
}

/// Encodes pieces side by side, and with `verify` decodes them again. Each pass calls `progress` for
/// each byte.
///
/// # Errors
/// Each piece's: those of the codec's encoder.
pub(super) fn encode_all<'a>(
    codec: Codec<'_>,
    plains: &'a [Vec<u8>],
    options: &ChunkOptions,
    framing: Framing,
    verify: bool,
) -> Vec<Result<Vec<EncodedChunk<'a>>>> {
    let share = codec.shared_by(plains.len());
    let encode = |plain: &'a Vec<u8>| match framing {
        Framing::Chunks => encode(share, plain, options).map(|chunk| vec![chunk]),
        Framing::Blocks(block_len) => encode_blocks(share, plain, options, block_len),
    };
    let mut pieces: Vec<_> = plains.par_iter().map(encode).collect();
    if verify && let Err(error) = verify_all(codec, &mut pieces) {
        pieces[0] = Err(error);
    }
    if let Framing::Blocks(block_len) = framing {
        pieces.iter_mut().flatten().for_each(|chunks| cut_stored(chunks, block_len));
    }
    pieces
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
    Ok(EncodedChunk { plain, coded, verify_failed: false })
}

/// Encodes `plain` in chunks of which each has as many bytes as its block of `block_len` can hold.
fn encode_blocks<'a>(
    codec: Codec<'_>,
    plain: &'a [u8],
    options: &ChunkOptions,
    block_len: u32,
) -> Result<Vec<EncodedChunk<'a>>> {
    let _other = enter(Part::Other);
    let room = |plain_len: usize| Extent::room_in_block(block_len, plain_len);
    let (mut chunks, mut rest) = (Vec::new(), plain);
    // About as much text as in the block before; first a guess.
    let mut likely = 3 * block_len as usize;
    while !rest.is_empty() {
        let mut coded = codec::fill(codec, rest, options, &room, likely)?;
        let stored_len = stored_len(rest.len(), block_len);
        if coded.payload.len() >= coded.plain_len || coded.plain_len <= stored_len {
            coded = Coded::stored(&rest[..stored_len]);
        }
        let (plain, after) = rest.split_at(coded.plain_len);
        (likely, rest) = (plain.len(), after);
        (codec.progress)(plain.len() as u64);
        chunks.push(EncodedChunk { plain, coded, verify_failed: false });
    }
    Ok(chunks)
}

/// Plain bytes, of `len` that there are, that a block of `block_len` can store.
fn stored_len(len: usize, block_len: u32) -> usize {
    len.min(Extent::room_in_block(block_len, block_len as usize))
}

/// Stores those chunks of `pieces` from which a reader would not get its plain bytes back.
///
/// # Errors
/// Those of the run: they say nothing of a chunk.
fn verify_all(codec: Codec<'_>, pieces: &mut [Result<Vec<EncodedChunk<'_>>>]) -> Result<()> {
    let _other = enter(Part::Other);
    let (mut coded, mut places) = (Vec::new(), Vec::new());
    for chunk in pieces.iter_mut().flatten().flatten() {
        match chunk.coded.coding.is_stored() {
            true => (codec.progress)(chunk.plain.len() as u64),
            false => {
                let stored = Coded::stored(chunk.plain);
                coded.push(std::mem::replace(&mut chunk.coded, stored));
                places.push(chunk);
            }
        }
    }
    let decoded = codec::decode_all(codec, &coded);
    for ((chunk, coded), decoded) in places.into_iter().zip(coded).zip(decoded) {
        match decoded {
            Ok(decoded) if decoded == chunk.plain => chunk.coded = coded,
            Err(error) if error.is_of_the_run() => return Err(error),
            _ => chunk.verify_failed = true,
        }
    }
    Ok(())
}

/// Cuts stored chunks that are too long for a block, because they were coded first, into several.
fn cut_stored<'a>(chunks: &mut Vec<EncodedChunk<'a>>, block_len: u32) {
    let most = stored_len(usize::MAX, block_len);
    if !chunks.iter().any(|chunk| chunk.coded.coding.is_stored() && chunk.plain.len() > most) {
        return;
    }
    let cut = |chunk: EncodedChunk<'a>| match chunk.coded.coding.is_stored() {
        false => vec![chunk],
        true => {
            let stored = |(i, plain)| {
                let verify_failed = chunk.verify_failed && i == 0;
                EncodedChunk { plain, coded: Coded::stored(plain), verify_failed }
            };
            chunk.plain.chunks(most).enumerate().map(stored).collect()
        }
    };
    *chunks = std::mem::take(chunks).into_iter().flat_map(cut).collect();
}
