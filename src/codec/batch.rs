//! Many chunks decoded at once: on all threads, and those of few lanes in lockstep.

use super::{Codec, Coded, MAX_LANES, Method, bytes, corrupt, tokens};
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Lanes of several chunks that are stepped together at most: more would take memory and hardly be
/// faster.
const MOST_TOGETHER: usize = 32;

/// Decodes all of `codes`, each to its `plain_len` bytes or an error:
///
/// - [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where a code cannot be that of any chunk, or the parameters none of a
///   stream coded with this model. Most damage gives wrong bytes instead: check them.
/// - [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) if the model's logits overflow.
/// - [`ErrorKind::MemoryExceeded`](crate::ErrorKind::MemoryExceeded) if the lanes would take too much memory.
pub fn decode_all(codec: Codec<'_>, codes: &[Coded<'_>]) -> Vec<Result<Vec<u8>>> {
    let groups = match codec.parameters.learning {
        Some(_) => (0..codes.len()).map(|i| i..i + 1).collect(), // each has weights of its own
        None => groups(codes, codec.threads),
    };
    let codec = codec.shared_by(groups.len());
    let decode = |group: Range<usize>| decode_group(codec, &codes[group]);
    let decoded: Vec<_> = groups.into_par_iter().map(decode).collect();
    decoded.into_iter().flatten().collect()
}

/// Neighbours to be stepped together, such that all threads have about as many lanes.
fn groups(codes: &[Coded<'_>], threads: usize) -> Vec<Range<usize>> {
    let lanes = |code: &Coded<'_>| match code.coding.method {
        Method::Model | Method::Mixed => usize::from(code.coding.lanes),
        Method::Stored | Method::Adaptive | Method::Learning => 0, // each by itself
    };
    let share = codes.iter().map(lanes).sum::<usize>().div_ceil(threads.max(1));
    let most = share.min(MOST_TOGETHER);
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut open = 0; // lanes of the last group, 0 if it takes no more
    for (i, code) in codes.iter().enumerate() {
        let n = lanes(code);
        match groups.last_mut() {
            Some(group) if n > 0 && open > 0 && open + n <= most => {
                group.end += 1;
                open += n;
            }
            _ => {
                groups.push(i..i + 1);
                open = n;
            }
        }
    }
    groups
}

/// Decodes one chunk, or several chunks of tokens: together, or if that takes too much memory one
/// after the other.
fn decode_group(codec: Codec<'_>, codes: &[Coded<'_>]) -> Vec<Result<Vec<u8>>> {
    if let [code] = codes {
        return vec![decode(codec, code)];
    }
    match check(codec, codes).and_then(|()| tokens::decode(codec, codes)) {
        Ok(decoded) => decoded,
        Err(_) => codes.iter().map(|code| decode(codec, code)).collect(),
    }
}

/// Decodes `code` on all the codec's threads.
///
/// # Errors
/// Those of [`decode_all`].
pub fn decode(codec: Codec<'_>, code: &Coded<'_>) -> Result<Vec<u8>> {
    let parameters = codec.parameters.for_method(code.coding.method);
    let codec = Codec { parameters: &parameters, ..codec };
    check(codec, std::slice::from_ref(code))?;
    match code.coding.method {
        Method::Stored => Err(corrupt("a stored chunk has no code")),
        Method::Adaptive => bytes::decode(codec, &code.payload, code.plain_len),
        Method::Model | Method::Mixed | Method::Learning => {
            tokens::decode(codec, std::slice::from_ref(code))?.remove(0)
        }
    }
}

/// Checks what no encoder can have written.
fn check(codec: Codec<'_>, codes: &[Coded<'_>]) -> Result<()> {
    for code in codes {
        match (code.coding.runs_model(), code.coding.lanes) {
            (true, 1..=MAX_LANES) | (false, 1) => (),
            (true, n) => return Err(corrupt(format!("{n} lanes, expected 1 to {MAX_LANES}"))),
            (false, _) => return Err(corrupt("an adaptive chunk has one lane")),
        }
    }
    if !codes.iter().any(|code| code.coding.runs_model()) {
        return Ok(());
    }
    if !codec.prefix.has_tokens() {
        return Err(corrupt("the prefix has no tokens, and a chunk has"));
    }
    codec.parameters.check(codec.language_model()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Coding;
    use std::borrow::Cow;

    fn grouped(lanes: &[u8], threads: usize) -> Vec<Range<usize>> {
        let code = |&lanes: &u8| {
            let method = if lanes == 0 { Method::Adaptive } else { Method::Mixed };
            let coding = Coding { method, lanes: lanes.max(1) };
            Coded { coding, plain_len: 1000, payload: Cow::Borrowed(&[]) }
        };
        groups(&lanes.iter().map(code).collect::<Vec<_>>(), threads)
    }

    #[test]
    fn threads_get_about_as_many_lanes() {
        assert_eq!(grouped(&[16, 16], 2), [0..1, 1..2]);
        assert_eq!(grouped(&[1; 6], 2), [0..3, 3..6]);
        assert_eq!(grouped(&[1; 7], 3), [0..3, 3..6, 6..7]);
        assert_eq!(grouped(&[16, 8, 8, 1], 1), [0..3, 3..4]);
        assert_eq!(grouped(&[64, 64], 1), [0..1, 1..2]);
        assert!(grouped(&[], 2).is_empty());
    }

    #[test]
    fn chunks_without_tokens_stand_alone() {
        assert_eq!(grouped(&[0, 0], 1), [0..1, 1..2]);
        assert_eq!(grouped(&[1, 0, 1, 1, 0], 1), [0..1, 1..2, 2..4, 4..5]);
    }
}
