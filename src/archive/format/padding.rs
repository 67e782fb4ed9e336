//! Zero bytes after the last stream (`docs/format.md`, section 2).

use super::source::Source;
use crate::error::Result;
use std::io::{BufReader, Read, Seek};

/// Bytes looked at together.
const BLOCK: u64 = 1 << 16;

/// Where the zero bytes begin that an input of `end` bytes ends with. The content ends there, or a few
/// zeros later.
///
/// # Errors
/// Io.
pub(in crate::archive) fn content_end<R: Read + Seek>(
    source: &mut Source<BufReader<R>>,
    end: u64,
) -> Result<u64> {
    let mut block = Vec::new();
    let mut at = end;
    while at > 0 {
        // A last byte alone, since hardly any input is padded.
        let start = if at == end { at - 1 } else { at.saturating_sub(BLOCK) };
        block.resize((at - start) as usize, 0);
        source.seek_to(start)?;
        source.fill(&mut block)?;
        if let Some(last) = block.iter().rposition(|&byte| byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        at = start;
    }
    Ok(0)
}
