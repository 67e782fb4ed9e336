//! Extensions: parameters of a stream that are not the default (`docs/format.md`, section 4).
//!
//! To add one: an id here, a field of [`Setup`](super::Setup), and its row in the table of section 4.

use super::source::Source;
use super::{unsupported, varint};
use crate::error::{Error, ErrorKind, Result};
use std::io::Read;

/// When lanes start afresh.
pub(super) const CONTEXT: u64 = 2;

/// The text before every chunk's.
pub(super) const PREFIX: u64 = 4;

/// Size limit of the adaptive model's table in mixed chunks.
pub(super) const TABLE: u64 = 6;

/// Vectors before every lane's tokens.
pub(super) const STEERING: u64 = 8;

/// How the language model learns from each chunk.
pub(super) const LEARNING: u64 = 10;

/// The adapter beside the language model's weights.
pub(super) const ADAPTER: u64 = 12;

/// The length of the stream's blocks.
pub(super) const BLOCKS: u64 = 14;

/// All that this release knows.
const KNOWN: [u64; 7] = [CONTEXT, PREFIX, TABLE, STEERING, LEARNING, ADAPTER, BLOCKS];

/// Longest content of an extension, in bytes.
const MAX_LEN: u32 = 1 << 20;

/// Extensions as they stand in a file: id and content, ids ascending.
pub(super) type Extensions = Vec<(u64, Vec<u8>)>;

/// Whether a reader that does not know `id` must refuse the stream.
fn must_be_understood(id: u64) -> bool {
    id.is_multiple_of(2)
}

/// Appends the list of `extensions`, of which there is at least one.
pub(super) fn put(out: &mut Vec<u8>, extensions: &Extensions) {
    for (i, (id, content)) in extensions.iter().enumerate() {
        let more = u64::from(i + 1 < extensions.len());
        varint::put(out, 2 * id + more);
        varint::put(out, content.len() as u64);
        out.extend(content);
    }
}

/// Reads a list; those that nobody must understand and this release does not are dropped. Memory
/// grows as bytes arrive.
///
/// # Errors
/// Io, Truncated; Corrupt where the ids do not ascend.
pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<Extensions> {
    let mut extensions: Extensions = Vec::new();
    let mut last = None;
    loop {
        let key = source.varint("an extension's id")?;
        let id = key / 2;
        if last.is_some_and(|last| id <= last) {
            return Err(source.corrupt(format!("extension {id} follows {}", last.unwrap_or(0))));
        }
        last = Some(id);
        let len = source.varint_in("an extension's length", 0..=MAX_LEN)?;
        let content = source.field(len, "an extension")?;
        if must_be_understood(id) {
            extensions.push((id, content));
        }
        if key.is_multiple_of(2) {
            return Ok(extensions);
        }
    }
}

/// Refuses extensions that this release does not know.
///
/// # Errors
/// Unsupported.
pub(super) fn check_known(extensions: &Extensions) -> Result<()> {
    match extensions.iter().find(|(id, _)| !KNOWN.contains(id)) {
        Some((id, _)) => {
            Err(unsupported(format!("the archive needs extension {id}, which is not known")))
        }
        None => Ok(()),
    }
}

/// The error of an extension whose content no encoder wrote.
pub(super) fn bad_content(name: &str, content: &[u8]) -> Error {
    let shown = &content[..content.len().min(8)];
    let message = format!(
        "the {name} extension, {} bytes that begin with {shown:02x?}, makes no sense",
        content.len()
    );
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parse(bytes: &[u8]) -> Result<Extensions> {
        read(&mut Source::new(bytes))
    }

    #[test]
    fn lists_come_back_and_one_extension_costs_two_bytes() {
        let lists = [vec![(2, vec![7])], vec![(2, vec![]), (4, vec![1; 300]), (1 << 40, vec![2])]];
        for list in lists {
            let mut bytes = Vec::new();
            put(&mut bytes, &list);
            assert_eq!(parse(&bytes).unwrap(), list);
            if list.len() == 1 {
                assert_eq!(bytes.len(), 3);
            }
            for len in 0..bytes.len() {
                assert_eq!(parse(&bytes[..len]).unwrap_err().kind(), ErrorKind::Truncated);
            }
        }
    }

    #[test]
    fn odd_ids_are_skipped_and_even_ones_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, &vec![(2, vec![7]), (3, vec![8]), (98, vec![])]);
        let list = parse(&bytes).unwrap();
        assert_eq!(list, [(2, vec![7]), (98, vec![])]);
        let error = check_known(&list).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("extension 98"), "{error}");
    }

    #[test]
    fn ids_ascend() {
        for ids in [[2, 2], [4, 2]] {
            let mut bytes = Vec::new();
            put(&mut bytes, &ids.map(|id| (id, vec![])).to_vec());
            assert_eq!(parse(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
