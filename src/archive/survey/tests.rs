//! The work of a survey is bounded by the archive's size, whatever is in it, and damage by accident
//! takes a small part of what is allowed.

use super::*;
use crate::archive::chunk_header::{Extent, Tag};
use crate::archive::header::LongHeader;
use crate::archive::{ModelName, index};
use crate::codec::{Method, Parameters};
use std::io::Cursor;

/// A chunk's header that tells of `payload`, whatever follows.
fn chunk_header(tag: Tag, plain_len: u32, payload_len: u32, payload: &[u8]) -> Vec<u8> {
    let (extent, crc) = (Extent { tag, plain_len, payload_len }, crc32(payload));
    ChunkHeader { extent, plain_crc: crc, payload_crc: crc }.to_bytes()
}

fn stored(plain: &[u8]) -> Vec<u8> {
    let (tag, len) = (Tag { method: Method::Stored, lanes: 1 }, plain.len() as u32);
    [&chunk_header(tag, len, len, plain), plain].concat()
}

fn long_header(parameters: Parameters) -> Vec<u8> {
    let model = ModelName::Builtin(2);
    LongHeader { model, chunk_size: 100, parameters }.to_bytes().unwrap()
}

fn footer(index_len: usize) -> Vec<u8> {
    Footer { content: [0; 32], index_len: index_len as u32 }.to_bytes()
}

/// An index of at least `len` bytes, of chunks that are nowhere.
fn large_index(len: usize) -> Vec<u8> {
    let tag = Tag { method: Method::Adaptive, lanes: 1 };
    index::to_bytes(&vec![Entry { tag, frame_len: 1, plain_len: 1 }; len / 3])
}

/// What `archive` is made of, and the bytes that a survey of it reads.
fn survey(archive: &[u8]) -> (Vec<Found>, u64) {
    let mut surveyor = Surveyor::new(Cursor::new(archive)).unwrap();
    let (mut found, mut offset) = (Vec::new(), 0);
    while offset < surveyor.end {
        let (part, next) = surveyor.part(offset).unwrap();
        assert!(next > offset, "no way forward at {offset}");
        found.push(part);
        offset = next;
    }
    (found, surveyor.source.n_read())
}

/// Archives in which each few bytes tell of much, with checksums that fit.
fn hostile(len: usize) -> Vec<(&'static str, Vec<u8>)> {
    let tag = Tag { method: Method::Adaptive, lanes: 1 };
    let start = long_header(Parameters::DEFAULT);
    let rest = len as u32 / 2;
    let payloads = chunk_header(tag, rest + 1, rest, b"other").repeat(len / 16);

    let index = large_index(len / 2);
    let streams = start.repeat(len / 2 / start.len());
    let one_index = [&streams[..], &index, &footer(index.len())].concat();

    let mut footers = [&start[..], &index].concat();
    while footers.len() < len {
        footers.extend(&start);
        footers.extend(footer(footers.len() - start.len()));
    }

    let prefix = vec![0x04; Parameters::MAX_PREFIX];
    let prefixed = long_header(Parameters { prefix, ..Parameters::DEFAULT });
    let unfinished = prefixed[..start.len() + 2].repeat(len / start.len());
    vec![
        ("payloads to the end", [&start[..], &payloads].concat()),
        ("an index that is each stream's", one_index),
        ("footers of one index", footers),
        ("prefixes", unfinished),
    ]
}

#[test]
#[cfg_attr(miri, ignore = "a megabyte of work takes it too long")]
fn a_hostile_archive_takes_work_in_proportion_to_its_size() {
    for len in [1 << 16, 1 << 18] {
        for (name, archive) in hostile(len) {
            let (_, work) = survey(&archive);
            let limit = archive.len() as u64 * (WORK_PER_BYTE + 16) + FREE_WORK;
            assert!(work <= limit, "{name}: {work} bytes read of {}", archive.len());
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "a megabyte of work takes it too long")]
fn what_is_given_up_is_said() {
    let (name, archive) = hostile(1 << 18).swap_remove(0);
    let (found, _) = survey(&archive);
    let Some(Found::Long(stream)) = found.last() else { panic!("{name}: no stream") };
    let last = stream.pieces.last().and_then(|piece| piece.error.as_ref());
    assert!(last.is_some_and(|error| error.to_string().contains("given up")), "{last:?}");
}

/// Every byte of the smallest chunks is damaged in turn, more at a time than any accident does.
#[test]
fn damage_takes_a_small_part_of_the_work_that_is_allowed() {
    let (n_chunks, step) = if cfg!(miri) { (8, 4) } else { (3000, 1) };
    let chunk = stored(b"x");
    let start = long_header(Parameters::DEFAULT);
    let whole = [&start[..], &chunk.repeat(n_chunks)].concat();
    for every in 1..=4 {
        for at in (0..chunk.len()).step_by(step) {
            let mut archive = whole.clone();
            let places = (start.len() + at..).step_by(every * chunk.len());
            places.take(n_chunks / every).for_each(|place| archive[place] ^= 1);
            let (_, work) = survey(&archive);
            let share = work as f64 / archive.len() as f64 / WORK_PER_BYTE as f64;
            assert!(share < 0.75, "byte {at} of each {every}th: {share} of the work allowed");
        }
    }
}
