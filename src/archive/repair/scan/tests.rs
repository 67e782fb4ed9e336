//! The work of a scan is bounded by the archive's size, whatever is in it, and damage by accident
//! takes a small part of what is allowed.

use super::*;
use crate::archive::ModelName;
use crate::archive::format::{LongHeader, Setup, index_bytes};
use crate::codec::{Coded, Coding, Method, Prefix};
use std::io::Cursor;

const ADAPTIVE: Coding = Coding { method: Method::Adaptive, lanes: 1 };

/// A chunk's header that tells of `payload`, whatever follows.
fn chunk_header(coding: Coding, plain_len: usize, payload: &[u8]) -> Vec<u8> {
    let coded = Coded { coding, plain_len, payload: payload.into() };
    let crc = crc32(payload);
    let extent = Extent::of(&coded);
    ChunkHeader { extent, start: None, plain_crc: crc, payload_crc: crc }.to_bytes()
}

fn stored(plain: &[u8]) -> Vec<u8> {
    [&chunk_header(Coding::STORED, plain.len(), plain), plain].concat()
}

fn long_header(setup: Setup) -> Vec<u8> {
    let model = Some(ModelName::Builtin(1));
    let setup = Setup { model, ..setup };
    LongHeader { setup, chunk_size: 100, bad_padding: None }.to_bytes().unwrap()
}

fn footer(index_len: usize) -> Vec<u8> {
    Footer { content: [0; 32], index_len: index_len as u32 }.to_bytes()
}

/// An index of at least `len` bytes, of chunks that are nowhere.
fn large_index(len: usize) -> Vec<u8> {
    let coded = Coded { coding: ADAPTIVE, plain_len: 2, payload: b"1".as_slice().into() };
    index_bytes(&vec![Extent::of(&coded); len / 3])
}

/// The segments of `archive`, and the bytes that a scan of it reads.
fn scan(archive: &[u8]) -> (Vec<Segment>, u64) {
    let mut scanner = Scanner::new(Cursor::new(archive)).unwrap();
    let (mut found, mut offset) = (Vec::new(), 0);
    while offset < scanner.end {
        let (part, next) = scanner.part(offset).unwrap();
        assert!(next > offset, "no way forward at {offset}");
        found.push(part);
        offset = next;
    }
    (found, scanner.source.n_read())
}

/// Archives in which each few bytes tell of much, with checksums that fit.
fn hostile(len: usize) -> Vec<(&'static str, Vec<u8>)> {
    let start = long_header(Setup::default());
    let payload = vec![7; len / 2];
    let payloads = chunk_header(ADAPTIVE, len / 2 + 1, &payload).repeat(len / 16);

    let index = large_index(len / 2);
    let streams = start.repeat(len / 2 / start.len());
    let one_index = [&streams[..], &index, &footer(index.len())].concat();

    let mut footers = [&start[..], &index].concat();
    while footers.len() < len {
        footers.extend(&start);
        footers.extend(footer(footers.len() - start.len()));
    }

    let payload = vec![0x9C; Prefix::MAX_LEN - 1].into();
    let prefix = Some(Coded { coding: ADAPTIVE, plain_len: Prefix::MAX_LEN, payload });
    let prefixed = long_header(Setup { prefix, ..Setup::default() });
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
            let (_, work) = scan(&archive);
            let limit = archive.len() as u64 * (WORK_PER_BYTE + 16) + FREE_WORK;
            assert!(work <= limit, "{name}: {work} bytes read of {}", archive.len());
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "a megabyte of work takes it too long")]
fn an_exhausted_budget_is_reported() {
    let (name, archive) = hostile(1 << 18).swap_remove(0);
    let (found, _) = scan(&archive);
    let Some(Segment::Long(stream)) = found.last() else { panic!("{name}: no stream") };
    let last = stream.pieces.last().and_then(|piece| piece.error.as_ref());
    assert!(last.is_some_and(|error| error.to_string().contains("aborted")), "{last:?}");
}

/// Every byte of the smallest chunks is damaged in turn, more at a time than any accident does.
#[test]
fn damage_takes_a_small_part_of_the_work_that_is_allowed() {
    let (n_chunks, step) = if cfg!(miri) { (8, 4) } else { (3000, 1) };
    let chunk = stored(b"x");
    let start = long_header(Setup::default());
    let whole = [&start[..], &chunk.repeat(n_chunks)].concat();
    for every in 1..=4 {
        for at in (0..chunk.len()).step_by(step) {
            let mut archive = whole.clone();
            let places = (start.len() + at..).step_by(every * chunk.len());
            places.take(n_chunks / every).for_each(|place| archive[place] ^= 1);
            let (_, work) = scan(&archive);
            let share = work as f64 / archive.len() as f64 / WORK_PER_BYTE as f64;
            assert!(share < 0.75, "byte {at} of each {every}th: {share} of the work allowed");
        }
    }
}
