//! Sweeps of damage over small archives: every flipped bit and every cut is noticed, named, and costs
//! no chunk but the one that it hits.
//!
//! Normal tests take a share; `LLMZIP_SWEEPS=full` (`just sweeps`) takes all and prints how many.

use crate::random::Random;
use crate::share;
use llmzip::Result;
use llmzip::archive::{self, BuiltinModels, Missing, Options, Recovery, StreamInfo};
use llmzip::ops::Isa;
use std::io::Cursor;
use std::ops::Range;
use std::sync::OnceLock;

fn models() -> &'static BuiltinModels {
    static MODELS: OnceLock<BuiltinModels> = OnceLock::new();
    MODELS.get_or_init(|| BuiltinModels::new(Isa::detect()))
}

/// A good archive and what is in it.
struct Sample {
    name: &'static str,
    archive: Vec<u8>,
    plain: Vec<u8>,
    streams: Vec<StreamInfo>,
}

impl Sample {
    fn new(name: &'static str, parts: &[(&[u8], Options)]) -> Self {
        let model = models().default_model().unwrap();
        let (mut archive, mut plain) = (Vec::new(), Vec::new());
        for (content, options) in parts {
            archive::compress(*content, &mut archive, &model, options, &|_| ()).unwrap();
            plain.extend_from_slice(content);
        }
        let streams = archive::list(Cursor::new(&archive)).unwrap();
        Self { name, archive, plain, streams }
    }

    /// The chunk that byte `at` belongs to: its name in messages and its plain bytes.
    fn chunk_at(&self, at: u64) -> Option<(String, Range<usize>)> {
        let mut start = 0;
        for (number, stream) in self.streams.iter().enumerate() {
            for (index, chunk) in stream.chunks.iter().enumerate() {
                let end = start + chunk.plain_len as usize;
                if (chunk.offset..chunk.offset + chunk.archive_len).contains(&at) {
                    let stream = if number > 0 { format!("stream {number}, ") } else { "".into() };
                    return Some((format!("{stream}chunk {index}"), start..end));
                }
                start = end;
            }
        }
        None
    }

    /// The content without `hole`.
    fn without(&self, hole: Range<usize>) -> Vec<u8> {
        [&self.plain[..hole.start], &self.plain[hole.end..]].concat()
    }
}

/// `n` bytes of a log, with noise among them: some chunks shrink, some do not.
fn log(random: &mut Random, n: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < n {
        let number = random.bits() % 1000;
        content.extend(format!("GET /images/{number}.png HTTP/1.1 200\r\n").bytes());
        if number.is_multiple_of(5) {
            content.extend((0..60).map(|_| random.bits() as u8));
        }
    }
    content.truncate(n);
    content
}

fn options(level: u8, chunk_size: u32) -> Options {
    Options::default().level(level).chunk_size(chunk_size).lanes(2)
}

/// One of each form and method, by the adaptive model: that is fast.
fn samples(seed: u64) -> Vec<Sample> {
    let random = &mut Random::new(seed);
    let (long, short) = (log(random, 600), log(random, 60));
    let (of_blocks, blocks) = (log(random, 1500), Options::default().level(1).block_len(512));
    vec![
        Sample::new("chunks", &[(&long, options(2, 100))]),
        Sample::new("one chunk", &[(&long, options(1, 599))]),
        Sample::new("single form", &[(&long[..300], options(1, 1000))]),
        Sample::new("single form, stored", &[(&short[..3], options(1, 1000))]),
        Sample::new("blocks", &[(&of_blocks, blocks)]),
        Sample::new(
            "joined",
            &[
                (&short, options(1, 1000)),
                (&long[..200], options(1, 50)),
                (b"", options(1, 1000)),
                (&short, options(2, 25)),
            ],
        ),
    ]
}

/// By the language model, which takes its time.
fn samples_of_the_language_model() -> Vec<Sample> {
    let text = log(&mut Random::new(1), 120);
    let model = options(6, 40).mix(false);
    vec![
        Sample::new("mixed", &[(&text, options(6, 40))]),
        Sample::new("model", &[(&text[..80], model)]),
        Sample::new("single form, mixed", &[(&text[..60], options(6, 1000))]),
    ]
}

fn decompress(archive: &[u8]) -> (Vec<u8>, Result<archive::Summary>) {
    let (mut plain, options) = (Vec::new(), Options::default());
    let result = archive::decompress(archive, &mut plain, models(), &options, &|_| ());
    (plain, result)
}

fn recover(archive: &[u8]) -> (Vec<u8>, Result<Recovery>) {
    let (mut plain, options) = (Vec::new(), Options::default());
    let input = Cursor::new(archive);
    let result = archive::recover(input, &mut plain, models(), &options, &|_| ());
    (plain, result)
}

/// Fields of the single form before its payload: damage there names no chunk, it has none yet.
const SINGLE_HEADER_LEN: u64 = 14;

impl Sample {
    /// Whether byte `at` is in the header of a stream in single form.
    fn is_single_header(&self, at: u64) -> bool {
        let mut singles = self.streams.iter().filter(|stream| stream.content.is_none());
        singles.any(|stream| (stream.offset..stream.offset + SINGLE_HEADER_LEN).contains(&at))
    }

    /// Asserts what holds where bit `bit` is flipped.
    fn check_flip(&self, bit: usize) {
        let byte = bit as u64 / 8;
        let mut damaged = self.archive.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let place = format!("{}: bit {} of byte {byte}", self.name, bit % 8);
        let hit = self.chunk_at(byte);

        let (got, result) = decompress(&damaged);
        let error = result.map(drop).expect_err(&place);
        assert!(self.plain.starts_with(&got), "{place}: wrong bytes came out");
        if let Some((chunk, _)) = &hit {
            let is_named = error.to_string().contains(chunk) || self.is_single_header(byte);
            assert!(is_named, "{place}: {error}");
        }

        let (got, recovery) = recover(&damaged);
        let hole = hit.map_or(0..0, |(_, hole)| hole);
        assert!(got == self.without(hole.clone()), "{place}: {recovery:?}");
        match recovery {
            Ok(recovery) => self.check_report(&recovery, hole, self.is_single_header(byte), &place),
            // The only header was lost, and the only chunk with it.
            Err(_) => assert!(self.streams.len() == 1 && self.is_single_header(byte), "{place}"),
        }
    }

    /// Asserts that `recovery` tells of the `hole` and of no other, unless `is_vague`.
    fn check_report(&self, recovery: &Recovery, hole: Range<usize>, is_vague: bool, place: &str) {
        let damage = &recovery.damage;
        assert!(!damage.is_empty(), "{place}: no damage was seen");
        if is_vague {
            return;
        }
        let told = Missing { start: Some(hole.start as u64), len: Some(hole.len() as u64) };
        let missing = damage.iter().map(|damage| damage.missing);
        let missing: Vec<_> = missing.filter(|missing| missing.len != Some(0)).collect();
        let expected = if hole.is_empty() { vec![] } else { vec![told] };
        assert_eq!(missing, expected, "{place}: {damage:?}");
    }
}

#[test]
fn every_flipped_bit_is_noticed_and_named_and_costs_one_chunk_at_most() {
    let mut n_flips = 0;
    let seeds = 0..share::cases(24, 8) as u64;
    let samples = seeds.flat_map(samples).map(|sample| (sample, share::step(23)));
    let slow = samples_of_the_language_model().into_iter();
    let slow = slow.map(|sample| (sample, share::step(97)));
    for (sample, step) in samples.chain(slow) {
        for bit in (0..sample.archive.len() * 8).step_by(step) {
            sample.check_flip(bit);
            n_flips += 1;
        }
    }
    println!("{n_flips} flipped bits: each noticed, no wrong byte, all other chunks recovered");
}

#[test]
fn every_cut_is_noticed_and_all_chunks_before_it_recovered() {
    let mut n_cuts = 0;
    for sample in (0..share::cases(24, 8) as u64).flat_map(samples) {
        for len in (0..sample.archive.len()).step_by(share::step(7)) {
            let place = format!("{}: cut to {len} bytes", sample.name);
            let cut = &sample.archive[..len];
            let chunks = sample.streams.iter().flat_map(|stream| &stream.chunks);
            let whole = chunks.take_while(|chunk| chunk.offset + chunk.archive_len <= len as u64);
            let n_whole = whole.map(|chunk| chunk.plain_len as usize).sum::<usize>();
            let is_between = sample.streams.iter().any(|stream| stream.offset == len as u64);

            let (got, result) = decompress(cut);
            assert!(got == sample.plain[..n_whole], "{place}");
            assert_eq!(result.is_ok(), len > 0 && is_between, "{place}: {result:?}");
            let (got, recovery) = recover(cut);
            assert!(got == sample.plain[..n_whole], "{place}: {recovery:?}");
            let is_good = recovery.is_ok_and(|recovery| recovery.damage.is_empty());
            assert_eq!(is_good, len > 0 && is_between, "{place}");
            n_cuts += 1;
        }
    }
    println!("{n_cuts} cuts: each noticed, all chunks before it recovered");
}
