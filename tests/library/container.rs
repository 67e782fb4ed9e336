//! The file format under damage, truncation, hostility and odd readers and writers.

use crate::handmade::*;
use crate::random::Random;
use llmzip::archive::{
    self, BuiltinModels, Decoder, Encoder, ModelName, ModelSource, Options, Summary,
};
use llmzip::models::Model;
use llmzip::ops::Isa;
use llmzip::{ErrorKind, Result};
use std::collections::HashSet;
use std::io::{self, BufRead, Cursor, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

fn models() -> &'static BuiltinModels {
    static MODELS: OnceLock<BuiltinModels> = OnceLock::new();
    MODELS.get_or_init(|| BuiltinModels::new(Isa::detect()))
}

fn compress_from(input: impl Read, chunk_size: u32, threads: usize) -> Vec<u8> {
    // Framing does not depend on the method: the fast one lets sweeps be complete.
    let options = Options::default().chunk_size(chunk_size).threads(threads).level(2);
    let model = models().default_model().unwrap();
    let mut archive = Vec::new();
    let summary = archive::compress(input, &mut archive, &model, &options, &|_| ()).unwrap();
    assert_eq!(summary.archive_len, archive.len() as u64);
    assert_eq!(summary.verify_failures, 0);
    archive
}

fn compress(plain: &[u8], chunk_size: u32) -> Vec<u8> {
    compress_from(plain, chunk_size, 1)
}

/// What came out, and how it ended.
fn decompress_with(archive: &[u8], options: Options) -> (Vec<u8>, Result<Summary>) {
    let mut plain = Vec::new();
    let result = archive::decompress(archive, &mut plain, models(), &options, &|_| ());
    (plain, result)
}

fn decompress(archive: &[u8]) -> (Vec<u8>, Result<Summary>) {
    decompress_with(archive, Options::default())
}

fn kind(archive: &[u8]) -> ErrorKind {
    decompress(archive).1.unwrap_err().kind()
}

/// Content that shrinks, then content that does not.
fn mixed_content() -> Vec<u8> {
    let noise = (0..50u32).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8);
    std::iter::repeat_n(b'a', 100).chain(noise).collect()
}

/// One-stream archives of every shape, with their content.
fn samples() -> Vec<(Vec<u8>, Vec<u8>)> {
    let contents = [
        (vec![], 100),
        (b"a".to_vec(), 100),
        (vec![b'a'; 90], 100),
        (mixed_content(), 40),
        (mixed_content(), 50),
    ];
    contents.into_iter().map(|(plain, chunk_size)| (compress(&plain, chunk_size), plain)).collect()
}

#[test]
fn samples_come_back_and_are_of_every_shape() {
    let samples = samples();
    for (archive, plain) in &samples {
        let (got, result) = decompress(archive);
        assert_eq!(got, *plain);
        let summary = result.unwrap();
        assert_eq!(summary.plain_len, plain.len() as u64);
        assert_eq!(summary.archive_len, archive.len() as u64);
    }
    let (archive, plain) = &samples[2];
    assert!(archive.len() < plain.len(), "not coded: {} bytes", archive.len());
    let n_stored: Vec<_> = samples.iter().map(|s| decompress(&s.0).1.unwrap().n_stored).collect();
    let n_chunks: Vec<_> = samples.iter().map(|s| decompress(&s.0).1.unwrap().n_chunks).collect();
    assert_eq!(n_chunks, [1, 1, 1, 4, 3]);
    assert_eq!(n_stored[..3], [1, 1, 0]);
    assert!((1..4).contains(&n_stored[3]), "stored and coded chunks in one stream");
}

#[test]
fn a_handmade_archive_is_what_the_program_writes_and_reads() {
    assert_eq!(compress(b"a", 100), single(0x80, 0, &[1], b"a"));
    assert_eq!(compress(b"", 100), single(0x80, 0, &[0], b""));
    let no_model = [&sealed(&[&MAGIC, &[VERSION, 0], &varint(1)]), &long(1, &[b"a", b"b"])[11..]];
    assert_eq!(compress(b"ab", 1), no_model.concat());
    let plain: Vec<u8> = [[b'x'; 900], [b'y'; 900]].concat();
    let (got, result) = decompress(&long(1000, &[&plain[..900], &plain[900..]]));
    assert_eq!((got, result.unwrap().n_chunks), (plain, 2));
    assert_eq!(decompress(&long(9, &[])).1.unwrap().n_chunks, 0);
}

#[test]
fn the_examples_of_the_format_decode() {
    let examples: Vec<Vec<u8>> = include_str!("../../docs/format.md")
        .split("```text\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .map(|block| block.lines().flat_map(hex_column).collect())
        .collect();
    assert_eq!(examples.iter().map(Vec::len).collect::<Vec<_>>(), [14, 101]);
    assert_eq!(decompress(&examples[0]).0, b"a");
    let (plain, result) = decompress(&examples[1]);
    assert_eq!((&plain[..], result.unwrap().n_chunks), (&b"abcabc"[..], 2));
}

/// The bytes in the first column of an example's line.
fn hex_column(line: &str) -> Vec<u8> {
    let column = line.split("  ").next().unwrap();
    column.split(' ').map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}

#[test]
fn small_content_costs_at_most_16_bytes_more() {
    let noise: Vec<u8> = mixed_content()[100..].repeat(20);
    assert_eq!(noise.len(), 1000);
    let handmade = single(0x81, 1 << 6, &[1000, 999], &[]);
    assert_eq!(handmade.len(), 16, "all that stands before a coded payload");
    let archive = compress(&noise, 1 << 20);
    assert!(archive.len() <= noise.len() + 16, "{}", archive.len());
    let listed = archive::list(Cursor::new(&archive)).unwrap();
    assert_eq!(listed[0].content, None, "single form");
}

#[test]
fn every_strict_prefix_is_truncated() {
    for (archive, _) in samples() {
        for len in 0..archive.len() {
            assert_eq!(kind(&archive[..len]), ErrorKind::Truncated, "{len} of {}", archive.len());
            let listed = archive::list(Cursor::new(&archive[..len])).unwrap_err();
            assert_eq!(listed.kind(), ErrorKind::Truncated, "list, {len} of {}", archive.len());
        }
    }
}

#[test]
fn every_cut_inside_a_later_stream_is_truncated() {
    let samples = samples();
    let first = &samples[3];
    for (second, _) in &samples {
        let archive = [&first.0[..], second].concat();
        for len in first.0.len() + 1..archive.len() {
            let (plain, result) = decompress(&archive[..len]);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Truncated, "{len}");
            assert!(plain.starts_with(&first.1));
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    for (archive, plain) in samples() {
        for position in 0..archive.len() * 8 {
            let mut damaged = archive.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            let (got, result) = decompress(&damaged);
            assert!(result.is_err(), "bit {position} of {}", archive.len() * 8);
            assert!(plain.starts_with(&got), "wrong bytes came out, bit {position}");
        }
    }
}

#[test]
fn streams_back_to_back_are_their_concatenation() {
    let samples = samples();
    let archive: Vec<u8> = samples.iter().flat_map(|s| s.0.clone()).collect();
    let plain: Vec<u8> = samples.iter().flat_map(|s| s.1.clone()).collect();
    let (got, result) = decompress(&archive);
    assert_eq!(got, plain);
    assert_eq!(result.unwrap().n_streams, samples.len() as u64);
    let listed = archive::list(Cursor::new(&archive)).unwrap();
    assert_eq!(listed.len(), samples.len());
    assert_eq!(listed.iter().map(|s| s.plain_len()).sum::<u64>(), plain.len() as u64);
    assert_eq!(listed.iter().map(|s| s.archive_len).sum::<u64>(), archive.len() as u64);
}

#[test]
fn junk_after_an_archive_is_named_and_the_content_is_out() {
    for (archive, plain) in samples() {
        for junk in [&b"\n"[..], b"\0\0\0\0\x01", b"\x9cL\r\r", b"junk"] {
            let (got, result) = decompress(&[&archive[..], junk].concat());
            assert_eq!(got, plain);
            assert_eq!(result.unwrap_err().kind(), ErrorKind::TrailingData, "{junk:02x?}");
        }
    }
}

#[test]
fn strangers_are_not_archives() {
    for stranger in [&b"PK\x03\x04"[..], b"\n", b"hello, world", b"\x1f\x8b"] {
        assert_eq!(kind(stranger), ErrorKind::NotAnArchive);
    }
    let archive = compress(&mixed_content(), 40);
    for line_end in [&b"\n"[..], b"\r\r\n"] {
        let converted = [&archive[..2], line_end, &archive[4..]].concat();
        let error = decompress(&converted).1.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAnArchive);
        assert!(error.to_string().contains("text-mode"), "{error}");
    }
}

#[test]
fn newer_archives_are_unsupported_and_both_versions_named() {
    for (version, words) in [(0x21, "format version 2, known is 1"), (0x12, "numerics 2, known")] {
        for mut archive in [compress(b"a", 9), compress(b"ab", 1)] {
            archive[4] = version;
            let error = decompress(&archive).1.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

#[test]
fn extensions_are_understood_or_skipped() {
    let rest = &long(9, &[b"abc"])[long_header(9).len()..];
    for id in 0..20 {
        let archive = [&extended_header(&extension(id, true, b""), 9)[..], rest].concat();
        match id {
            id if id % 2 == 1 => assert_eq!(decompress(&archive).0, b"abc"),
            2 | 4 | 6 | 8 | 10 | 12 | 14 => assert_eq!(kind(&archive), ErrorKind::Corrupt, "{id}"),
            _ => {
                let error = decompress(&archive).1.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains(&format!("extension {id}")), "{error}");
            }
        }
    }
}

/// Tapes, FIFOs and block devices fill their last block with zeros.
#[test]
fn zeros_after_the_last_stream_are_padding_and_nothing_else_is() {
    for (archive, plain) in samples() {
        for n in [1, 3, 4, 100, 70_000] {
            let padded = [&archive[..], &vec![0; n]].concat();
            let (got, result) = decompress(&padded);
            assert_eq!((got, result.is_ok()), (plain.clone(), true), "{n} zeros");
            let listed = archive::list(Cursor::new(&padded)).unwrap();
            assert_eq!(
                listed.iter().map(|stream| stream.plain_len()).sum::<u64>(),
                plain.len() as u64
            );
            for junk in [&b"x"[..], &archive] {
                let (got, result) = decompress(&[&padded[..], junk].concat());
                assert_eq!(result.unwrap_err().kind(), ErrorKind::TrailingData, "{n} zeros");
                assert_eq!(got, plain);
            }
        }
    }
    assert_eq!(kind(&[0; 100]), ErrorKind::NotAnArchive);
}

/// A prefix is coded, and primes both models; its archive needs no more than its chunks do.
#[test]
fn a_prefix_primes_every_chunk() {
    let line =
        |i: u32| format!("[Sun Dec 04 04:{:02}:47] [notice] workerEnv.init() ok {i}\n", i % 60);
    let text: String = (0..90).map(line).collect();
    let (prefix, plain) = text.as_bytes().split_at(800);
    let model = models().default_model().unwrap();
    for (level, lanes, mix) in
        [(1, None, true), (6, None, true), (6, Some(3), true), (6, Some(2), false)]
    {
        let pack = |prefix, chunk_size| {
            let options = Options::default()
                .level(level)
                .lanes(lanes)
                .mix(mix)
                .prefix(prefix)
                .chunk_size(chunk_size);
            let mut archive = Vec::new();
            archive::compress(plain, &mut archive, &model, &options, &|_| ()).unwrap();
            archive
        };
        for chunk_size in [1000, 1 << 20] {
            let (with, without) = (pack(prefix, chunk_size), pack(b"", chunk_size));
            assert_eq!(decompress(&with).0, plain);
            if chunk_size == 1000 && mix {
                assert!(
                    with.len() < without.len(),
                    "level {level}: {} {}",
                    with.len(),
                    without.len()
                );
            }
            let streams = archive::list(Cursor::new(&with)).unwrap();
            assert_eq!((streams[0].prefix_len, streams[0].needs_model()), (800, level == 6));
            let last = streams[0].chunks.len() - 1;
            let options = Options::default();
            let alone =
                archive::read_chunk(Cursor::new(&with), &streams[0], last, models(), &options);
            assert!(plain.ends_with(&alone.unwrap()));
        }
    }
}

#[test]
fn hostile_archives_are_refused() {
    for (name, archive) in hostile() {
        let (_, result) = decompress(&archive);
        let kind = result.expect_err(name).kind();
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Truncated), "{name}: {kind:?}");
        assert!(archive::list(Cursor::new(&archive)).is_err(), "{name}: listed");
    }
}

#[test]
fn an_index_or_footer_that_lies_is_corrupt() {
    for (name, archive) in lying() {
        assert_eq!(kind(&archive), ErrorKind::Corrupt, "{name}");
        // In the middle of a file the index is reached through the chunks.
        let joined = [&archive[..], &long(9, &[b"abc"])].concat();
        let listed = archive::list(Cursor::new(&joined));
        assert_eq!(listed.is_err(), name != "content", "{name}");
    }
}

#[test]
fn errors_name_chunk_and_offset() {
    let mut archive = long(9, &[b"abc", b"defg"]);
    let payload = archive.windows(4).position(|w| w == b"defg").unwrap();
    archive[payload] ^= 1;
    let (plain, result) = decompress(&archive);
    assert_eq!(plain, b"abc");
    let message = result.unwrap_err().to_string();
    assert!(message.contains("chunk 1"), "{message}");
    assert!(message.contains(&format!("offset {}", payload + 4)), "{message}");
}

/// All readers name it in the same way.
#[test]
fn errors_in_a_later_stream_name_it() {
    let (first, second) = (long(9, &[b"first"]), long(9, &[b"second", b"third"]));
    let mut joined = [&first[..], &second].concat();
    let place = joined.len() - second.len() + long_header(9).len();
    let next = place + stored(b"second").len();
    joined[next + 2] ^= 1; // the second chunk's header
    *joined.last_mut().unwrap() ^= 1; // so that the list does without the index
    let listed = archive::list(Cursor::new(&joined)).unwrap_err().to_string();
    assert!(listed.starts_with("stream 1, chunk 1: damaged before offset "), "{listed}");
    assert_eq!(decompress(&joined).1.unwrap_err().to_string(), listed);
    let cut = [&first[..], &single(0x81, 0, &[3], b"abc")].concat();
    let listed = archive::list(Cursor::new(&cut[..cut.len() - 1])).unwrap_err().to_string();
    assert!(listed.starts_with("stream 1, chunk 0: truncated at offset "), "{listed}");
}

#[test]
fn swapped_chunks_are_corrupt() {
    let right = long(9, &[b"abc", b"xyz"]);
    let (header, frame) = (long_header(9).len(), stored(b"abc").len());
    let (first, rest) = right[header..].split_at(frame);
    let (second, rest) = rest.split_at(frame);
    let swapped = [&right[..header], second, first, rest].concat();
    assert_eq!(kind(&swapped), ErrorKind::Corrupt);
}

#[test]
fn threads_and_short_reads_change_no_byte() {
    struct OneByte<'a>(&'a [u8], bool);
    impl Read for OneByte<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = buffer.len().min(1);
            self.0.read(&mut buffer[..n])
        }
    }
    let plain = mixed_content();
    for chunk_size in [1, 7, 50, 149, 150, 151] {
        let archive = compress(&plain, chunk_size);
        assert_eq!(compress_from(OneByte(&plain, false), chunk_size, 2), archive);
        for threads in [2, 3, 200] {
            assert_eq!(compress_from(&plain[..], chunk_size, threads), archive);
            let options = Options::default().threads(threads).max_output(None);
            assert_eq!(decompress_with(&archive, options).0, plain);
        }
        let mut got = Vec::new();
        let (input, options) = (OneByte(&archive, false), Options::default());
        archive::decompress(input, &mut got, models(), &options, &|_| ()).unwrap();
        assert_eq!(got, plain);
    }
}

#[test]
fn a_write_that_fails_anywhere_is_an_io_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0);
            self.0 -= n;
            if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let plain = mixed_content();
    let archive = compress(&plain, 40);
    let model = models().default_model().unwrap();
    let options = Options::default().chunk_size(40).level(2);
    for room in 0..archive.len() {
        let result = archive::compress(&plain[..], Full(room), &model, &options, &|_| ());
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.io_error().unwrap().kind(), io::ErrorKind::StorageFull);
    }
    for room in 0..plain.len() {
        let options = Options::default();
        let result = archive::decompress(&archive[..], Full(room), models(), &options, &|_| ());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
    }
}

#[test]
fn a_read_that_fails_is_an_io_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let (archive, model) = (compress(&mixed_content(), 40), models().default_model().unwrap());
    for n_good in [0, 10, archive.len()] {
        let (input, options) = (archive[..n_good].chain(Broken), Options::default());
        let result = archive::compress(input, io::sink(), &model, &options, &|_| ());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
        let (input, options) = (archive[..n_good].chain(Broken), Options::default());
        let result = archive::decompress(input, io::sink(), models(), &options, &|_| ());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
    }
}

#[test]
fn output_stops_at_its_limit() {
    for (archive, plain) in samples() {
        for limit in [0, 1, 39, 40, 41, 149] {
            let options = Options::default().threads(2).max_output(limit);
            let (got, result) = decompress_with(&archive, options);
            assert!(plain.starts_with(&got) && got.len() as u64 <= limit);
            match result {
                Ok(_) => assert_eq!(got, plain),
                Err(e) => assert_eq!(e.kind(), ErrorKind::LimitExceeded),
            }
        }
    }
}

#[test]
fn a_model_is_asked_for_only_where_a_chunk_needs_it() {
    struct NoModels(AtomicBool);
    impl ModelSource for NoModels {
        fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
            self.0.store(true, Ordering::Relaxed);
            Err(wanted.missing())
        }
    }
    let decompress = |archive: &[u8]| {
        let (none, options) = (NoModels(false.into()), Options::default());
        let result = archive::decompress(archive, io::sink(), &none, &options, &|_| ());
        (none.0.into_inner(), result.map_err(|e| e.kind()))
    };
    assert!(matches!(decompress(&long(9, &[b"abc"])), (false, Ok(_))));
    assert!(matches!(decompress(&compress(b"", 9)), (false, Ok(_))));
    let compress = |level, mix, chunk_size| {
        let options = Options::default().level(level).mix(mix).chunk_size(chunk_size);
        let (model, mut archive) = (models().default_model().unwrap(), Vec::new());
        archive::compress(&[b'a'; 100][..], &mut archive, &model, &options, &|_| ()).unwrap();
        archive
    };
    for chunk_size in [50, 100] {
        let coded = compress(6, false, chunk_size);
        assert!(matches!(decompress(&coded), (true, Err(ErrorKind::ModelMissing))));
        let adaptive = compress(1, true, chunk_size);
        assert!(matches!(decompress(&adaptive), (false, Ok(_))));
        assert_eq!(archive::list(Cursor::new(&adaptive)).unwrap()[0].model, None);
    }
}

#[test]
fn a_missing_model_is_named_by_label_and_digest() {
    let coded = chunk_header(1 << 6, &[9, 1], b"x");
    let archive = [&digest_header([0xAB; 32], 4, b"some")[..], &coded, b"x"].concat();
    let error = decompress(&archive).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelMissing);
    let message = error.to_string();
    assert!(message.contains("'some'") && message.contains(&"ab".repeat(32)), "{message}");
}

#[test]
fn a_wrong_model_from_the_source_is_not_used() {
    struct Any;
    impl ModelSource for Any {
        fn find(&self, _: &ModelName) -> Result<Arc<Model>> {
            models().default_model()
        }
    }
    let coded = chunk_header(1 << 6, &[9, 1], b"x");
    let archive = [&digest_header([0xAB; 32], 4, b"some")[..], &coded, b"x"].concat();
    let options = Options::default();
    let result = archive::decompress(&archive[..], io::sink(), &Any, &options, &|_| ());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ModelMissing);
}

#[test]
fn each_chunk_decodes_alone() {
    let plain = mixed_content();
    let archive = [compress(&plain, 1000), compress(&plain, 40)].concat();
    let mut got = Vec::new();
    for stream in archive::list(Cursor::new(&archive)).unwrap() {
        for chunk in 0..stream.chunks.len() {
            let input = Cursor::new(&archive);
            let alone =
                archive::read_chunk(input, &stream, chunk, models(), &Options::default()).unwrap();
            assert_eq!(alone.len() as u64, stream.chunks[chunk].plain_len);
            got.extend(alone);
        }
        let past =
            archive::read_chunk(Cursor::new(&archive), &stream, 9, models(), &Options::default());
        assert_eq!(past.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(got, plain.repeat(2));
}

#[test]
fn listing_a_large_archive_reads_little() {
    struct Counted<'a>(Cursor<&'a [u8]>, &'a AtomicU64);
    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.read(buffer)?;
            self.1.fetch_add(n as u64, Ordering::Relaxed);
            Ok(n)
        }
    }
    impl io::Seek for Counted<'_> {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let chunk = vec![7; 1 << 16];
    let archive = long(1 << 16, &vec![&chunk[..]; 64]);
    let n_read = AtomicU64::new(0);
    let streams = archive::list(Counted(Cursor::new(&archive), &n_read)).unwrap();
    assert_eq!(streams[0].plain_len(), 64 << 16);
    // 1 GiB in chunks of 1 MiB has 16 times as many entries.
    assert!(n_read.into_inner() * 16 < 64 << 10);
}

#[test]
fn progress_tells_of_each_byte_once_a_pass() {
    let plain = mixed_content();
    let model = models().default_model().unwrap();
    for (verify, passes) in [(false, 1), (true, 2)] {
        let told = AtomicU64::new(0);
        let tell = |n| {
            told.fetch_add(n, Ordering::Relaxed);
        };
        let options = Options::default().chunk_size(40).verify(verify);
        archive::compress(&plain[..], io::sink(), &model, &options, &tell).unwrap();
        assert_eq!(told.into_inner(), passes * plain.len() as u64);
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let model = models().default_model().unwrap();
    let right = Options::default();
    for options in [
        right.clone().chunk_size(0),
        right.clone().chunk_size((64 << 20) + 1),
        right.clone().lanes(0),
        right.clone().lanes(65),
        right.clone().threads(0),
    ] {
        let result = archive::compress(&b"a"[..], io::sink(), &model, &options, &|_| ());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn any_bytes_come_back() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut below = |n: u64| random.bits() % n;
        let (len, chunk_size, threads) = (below(300), 1 + below(200) as u32, 1 + below(3) as usize);
        let byte = below(256) as u8;
        let plain: Vec<u8> = match seed % 2 {
            0 => (0..len).map(|_| below(256) as u8).collect(),
            _ => vec![byte; len as usize],
        };
        let archive = compress_from(&plain[..], chunk_size, threads);
        let n_chunks = len / u64::from(chunk_size) + 1;
        assert!(archive.len() as u64 <= len + 80 + 24 * n_chunks, "seed {seed}");
        let options = Options::default().threads(threads).max_output(len);
        let (got, result) = decompress_with(&archive, options);
        assert!(result.is_ok() && got == plain, "seed {seed}: {result:?}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let tail: Vec<u8> = (0..random.bits() % 200).map(|_| random.bits() as u8).collect();
        for start in [&[][..], &MAGIC, &long_header(1000), &long(9, &[b"abc"])] {
            let archive = [start, &tail].concat();
            let _ = decompress(&archive);
            let _ = archive::list(Cursor::new(&archive));
        }
    }
}

/// However it is written and read: the same bytes, and errors after all that is good.
#[test]
fn encoder_and_decoder_are_a_writer_and_a_reader() {
    let plain = mixed_content();
    let model = models().default_model().unwrap();
    for (piece, chunk_size) in [(1, 40), (39, 40), (40, 40), (1000, 40), (7, 150), (7, 1000)] {
        let options = Options::default().chunk_size(chunk_size).level(2);
        let mut encoder = Encoder::new(Vec::new(), &model, &options).unwrap();
        plain.chunks(piece).for_each(|piece| encoder.write_all(piece).unwrap());
        let (archive, summary) = encoder.finish().unwrap();
        assert_eq!(archive, compress(&plain, chunk_size), "{piece} bytes a call");
        assert_eq!(summary.archive_len, archive.len() as u64);

        let (mut got, mut buffer) = (Vec::<u8>::new(), vec![0; piece]);
        let mut decoder = Decoder::new(&archive[..], models(), &Default::default()).unwrap();
        loop {
            match decoder.read(&mut buffer).unwrap() {
                0 => break,
                n => got.extend(&buffer[..n]),
            }
        }
        assert_eq!(got, plain);
    }
    let archive = compress(&plain, 40);
    let cut = &archive[..archive.len() - 80];
    let mut decoder = Decoder::new(cut, models(), &Default::default()).unwrap();
    let mut got = Vec::new();
    let error = decoder.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains(&format!("truncated at offset {}", cut.len())), "{error}");
    assert!(decoder.read(&mut [0]).is_err(), "an error, then an end");
    assert_eq!(got, decompress(cut).0);
    assert!(!got.is_empty() && plain.starts_with(&got));
}

/// With a share of their models they outlive whoever made them, and go to another thread.
#[test]
fn encoder_and_decoder_go_to_other_threads() {
    let plain = mixed_content();
    let options = Options::default().chunk_size(40).level(2);
    let of_text = plain.clone();
    let encoder = {
        let model = models().default_model().unwrap();
        Encoder::with_shared(Vec::new(), model, &options).unwrap()
    };
    let write = move || {
        let mut encoder = encoder;
        encoder.write_all(&of_text).unwrap();
        encoder.finish().unwrap().0
    };
    let archive = std::thread::spawn(write).join().unwrap();
    assert_eq!(archive, compress(&plain, 40));

    let models: Arc<dyn ModelSource> = Arc::new(BuiltinModels::new(Isa::detect()));
    let decoder = Decoder::with_shared(Cursor::new(archive), models, &Options::default()).unwrap();
    let read = move || {
        let (mut decoder, mut got) = (decoder, Vec::new());
        decoder.read_to_end(&mut got).unwrap();
        got
    };
    assert_eq!(std::thread::spawn(read).join().unwrap(), plain);
}

/// The buffer of a decoder has whole chunks.
#[test]
fn a_decoder_has_a_buffer() {
    let plain = mixed_content();
    let archive = compress(&plain, 40);
    let mut decoder = Decoder::new(&archive[..], models(), &Default::default()).unwrap();
    let mut got = Vec::new();
    loop {
        let buffer = decoder.fill_buf().unwrap();
        if buffer.is_empty() {
            break;
        }
        assert!(buffer.len().is_multiple_of(40) || got.len() + buffer.len() == plain.len());
        got.extend_from_slice(&buffer[..1]);
        decoder.consume(1);
        let rest = decoder.fill_buf().unwrap().to_vec();
        got.extend(&rest);
        decoder.consume(rest.len() + 7); // no more than there are
    }
    assert_eq!(got, plain);
}

/// Whatever pool the caller runs on, or none.
#[test]
fn threads_are_a_limit() {
    let plain: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    let model = models().default_model().unwrap();
    for limit in [1, 2] {
        let seen = Mutex::new(HashSet::new());
        let see = |_| _ = seen.lock().unwrap().insert(std::thread::current().id());
        let work = || {
            let options = Options::default().threads(limit).level(1).chunk_size(4096);
            let mut archive = Vec::new();
            archive::compress(&plain[..], &mut archive, &model, &options, &see).unwrap();
            let options = Options::default().threads(limit);
            archive::decompress(&archive[..], io::sink(), models(), &options, &see).unwrap();
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        pool.install(work);
        assert!(seen.lock().unwrap().len() <= 2 * limit, "compressed and decompressed");
        seen.lock().unwrap().clear();
        work();
        assert!(seen.lock().unwrap().len() <= 2 * limit, "compressed and decompressed");
    }
}
