//! Names of places in messages.

use crate::error::Error;

/// Names the chunk where `error` is, and the stream, unless it is the first.
pub(super) fn at_chunk(error: Error, stream: u64, chunk: usize) -> Error {
    match place((stream > 0).then_some(stream as usize), Some(chunk)) {
        Some(place) => error.at(place),
        None => error,
    }
}

/// Name of a place in messages.
pub(super) fn place(stream: Option<usize>, chunk: Option<usize>) -> Option<String> {
    match (stream, chunk) {
        (None, None) => None,
        (None, Some(chunk)) => Some(format!("chunk {chunk}")),
        (Some(stream), None) => Some(format!("stream {stream}")),
        (Some(stream), Some(chunk)) => Some(format!("stream {stream}, chunk {chunk}")),
    }
}
