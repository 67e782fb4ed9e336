//! The members of a ZIP archive, as far as they are not compressed: PyTorch compresses none.
//!
//! PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3. Reads only what is there: every place and
//! length is checked against the file.

use crate::error::Result;
use crate::models::invalid;

/// A member: its name, and where its bytes are in the file.
pub struct Member {
    pub name: String,
    pub start: u64,
    pub len: u64,
}

/// The record at the end of the directory, without a comment.
const END_LEN: usize = 22;

/// A directory longer than this is refused.
const MAX_DIRECTORY: u64 = 1 << 26;

/// Stands for a number that is in the fields of ZIP64.
const ELSEWHERE: u64 = 0xFFFF_FFFF;

/// The members of a file of `file_len` bytes, in the order of its directory. `read` gives so many
/// bytes from a place on.
///
/// # Errors
/// `InvalidModel` where it is damaged or a member is compressed; those of `read`.
pub fn members(
    file_len: u64,
    read: &mut impl FnMut(u64, u64) -> Result<Vec<u8>>,
) -> Result<Vec<Member>> {
    let (start, len) = directory(file_len, read)?;
    if len > MAX_DIRECTORY {
        return Err(damaged(format!(
            "a directory of {len} bytes, expected at most {MAX_DIRECTORY}"
        )));
    }
    let bytes = read(start, len)?;
    let mut rest = &bytes[..];
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (member, after) = entry(rest).ok_or_else(|| damaged("damaged directory"))?;
        rest = after;
        let Member { name, start, len } =
            member.ok_or_else(|| damaged("a member is compressed"))?;
        let header = read(start, 30)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(damaged(format!("no member at byte {start}")));
        }
        let names_len = number(&header, 26, 2).zip(number(&header, 28, 2));
        let (name_len, extra_len) = names_len.ok_or_else(|| damaged("damaged member"))?;
        let start = start + 30 + name_len + extra_len; // which was read: far below 2^64
        if start.checked_add(len).is_none_or(|end| end > file_len) {
            return Err(damaged(format!("member {name:?} extends past the end of the file")));
        }
        members.push(Member { name, start, len });
    }
    Ok(members)
}

fn damaged(message: impl AsRef<str>) -> crate::error::Error {
    invalid(format!("ZIP: {}", message.as_ref()))
}

/// Where the directory is, and its length.
fn directory(
    file_len: u64,
    read: &mut impl FnMut(u64, u64) -> Result<Vec<u8>>,
) -> Result<(u64, u64)> {
    let tail_len = file_len.min(END_LEN as u64 + u64::from(u16::MAX));
    let tail_start = file_len - tail_len;
    let tail = read(tail_start, tail_len)?;
    let mut ends = tail.windows(END_LEN).enumerate().rev();
    let end = ends.find(|(_, window)| window.starts_with(b"PK\x05\x06"));
    let (at, end) = end.ok_or_else(|| damaged("not a ZIP archive"))?;
    let field = |end: &[u8], at, len| number(end, at, len).ok_or_else(|| damaged("damaged end"));
    let (len, start) = (field(end, 12, 4)?, field(end, 16, 4)?);
    if start != ELSEWHERE && len != ELSEWHERE {
        return Ok((start, len));
    }
    let locator = at.checked_sub(20).map(|at| &tail[at..]);
    let locator = locator.filter(|bytes| bytes.starts_with(b"PK\x06\x07"));
    let no_end = || damaged("no ZIP64 end record");
    let place = locator.and_then(|bytes| number(bytes, 8, 8)).ok_or_else(no_end)?;
    let end = read(place, 56)?;
    if !end.starts_with(b"PK\x06\x06") {
        return Err(no_end());
    }
    Ok((field(&end, 48, 8)?, field(&end, 40, 8)?))
}

/// The first member of a directory, `None` where it is compressed, and what follows.
fn entry(bytes: &[u8]) -> Option<(Option<Member>, &[u8])> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let field = |at, len| number(bytes, at, len);
    let method = field(10, 2)?;
    let (name_len, extra_len, comment_len) = (field(28, 2)?, field(30, 2)?, field(32, 2)?);
    let (name, rest) = bytes.get(46..)?.split_at_checked(name_len as usize)?;
    let (extra, rest) = rest.split_at_checked(extra_len as usize)?;
    let rest = rest.get(comment_len as usize..)?;
    // ZIP64 has those of these numbers that do not fit, in this order.
    let mut numbers = [field(24, 4)?, field(20, 4)?, field(42, 4)?];
    let mut wide = zip64(extra);
    for number in numbers.iter_mut().filter(|number| **number == ELSEWHERE) {
        (*number, wide) = (self::number(wide, 0, 8)?, &wide[8..]);
    }
    let [len, _, start] = numbers;
    let name = String::from_utf8_lossy(name).into_owned();
    Some(((method == 0).then_some(Member { name, start, len }), rest))
}

/// The field of ZIP64 among extra ones; empty where there is none.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while let Some((kind, len)) = number(extra, 0, 2).zip(number(extra, 2, 2)) {
        let Some((field, rest)) = extra[4..].split_at_checked(len as usize) else { break };
        if kind == 1 {
            return field;
        }
        extra = rest;
    }
    &[]
}

/// The number of `len` bytes at `at`, little-endian.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + len)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
