//! Codes of a few bytes that claim to be 64 MiB: what they may cost is bounded by their length
//! (docs/reliability.md). Without the bound each of these takes minutes to hours.

use llmzip::codec::{ChunkOptions, Codec, Coded, decode, encode};
use llmzip::{Coding, ErrorKind, Method, Model};
use std::sync::atomic::{AtomicU64, Ordering};

const MOST: usize = 64 << 20;

fn adaptive(payload: &[u8]) -> Coded<'_> {
    let coding = Coding { method: Method::Adaptive, lanes: 1 };
    Coded { coding, plain_len: MOST, payload: payload.into() }
}

fn tokens(method: Method, payload: &[u8]) -> Coded<'_> {
    Coded { coding: Coding { method, lanes: 4 }, plain_len: MOST, payload: payload.into() }
}

#[test]
fn a_code_of_nothing_is_decoded_at_once() {
    let model = Model::builtin().unwrap();
    let done = AtomicU64::new(0);
    let progress = |n| _ = done.fetch_add(n, Ordering::Relaxed);
    let codec = Codec { progress: &progress, ..Codec::new(&model, 1) };
    for tier in 0..4 {
        let plain = decode(codec, &adaptive(&[26 << 2 | tier])).unwrap();
        assert!(plain.len() == MOST && plain.iter().all(|&byte| byte == 0xff));
        assert_eq!(done.swap(0, Ordering::Relaxed), MOST as u64);
    }
    // Tokens are spelled by the vocabulary alone: the same ones whatever the model says.
    for method in [Method::Model, Method::Mixed] {
        match decode(codec, &tokens(method, &[])) {
            Ok(plain) => assert_eq!(plain.len(), MOST),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }
}

#[test]
fn a_short_code_of_much_is_corrupt() {
    let model = Model::builtin().unwrap();
    let codec = Codec::new(&model, 1);
    for byte in [0x01, 0x55, 0x80, 0xfe] {
        for tier in 0..4 {
            let error = decode(codec, &adaptive(&[26 << 2 | tier, byte])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{byte:#x}, tier {tier}");
        }
        for method in [Method::Model, Method::Mixed] {
            let error = decode(codec, &tokens(method, &[byte])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{byte:#x}, {method:?}");
        }
    }
}

/// Nothing that an encoder writes is refused: neither what shrinks to nothing nor what ends in it.
#[test]
fn all_that_shrinks_most_comes_back() {
    let model = Model::builtin().unwrap();
    for (level, mix, n) in [
        (1, true, 20_000),
        (2, true, 20_000),
        (3, true, 20_000),
        (6, true, 2000),
        (6, false, 2000),
        (9, true, 2000),
    ] {
        let run = |byte: u8| vec![byte; n];
        let tail = [b"a text of some words, and then ", &run(0xff)[..]].concat();
        let head = [&run(0xff)[..], b"and then a text of some words"].concat();
        for plain in [run(0), run(0xff), run(0x80), run(b' '), tail, head] {
            let codec = Codec::new(&model, 1);
            let coded = encode(codec, &plain, &ChunkOptions { level, lanes: None, mix }).unwrap();
            assert!(decode(codec, &coded).unwrap() == plain, "level {level}, {:?}", coded.payload);
        }
    }
}
