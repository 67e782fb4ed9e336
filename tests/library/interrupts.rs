//! Calls that their caller ends in the middle of a chunk.

use crate::random::Random;
use llmzip::archive::{self, BuiltinModels, Interrupt, Options};
use llmzip::models::{Learning, LearningKind};
use llmzip::ops::Isa;
use llmzip::{Decoder, Encoder, ErrorKind, Model};
use std::io::{Cursor, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

fn models() -> &'static BuiltinModels {
    static MODELS: OnceLock<BuiltinModels> = OnceLock::new();
    MODELS.get_or_init(|| BuiltinModels::new(Isa::detect()))
}

fn model() -> Arc<Model> {
    models().default_model().unwrap()
}

/// Text of `len` bytes of which no line is like another.
fn text(len: usize) -> Vec<u8> {
    let words = ["wind", "sea", "ships", "lamp", "oil", "fog", "the keeper", "every evening"];
    let mut random = Random::new(3);
    let mut text = Vec::new();
    while text.len() < len {
        let word = words[random.bits() as usize % words.len()];
        write!(text, "{word}{}", if random.bits().is_multiple_of(7) { ",\n" } else { " " })
            .unwrap();
    }
    text.truncate(len);
    text
}

/// Ways to code, each with a length that keeps a processor busy for far longer than a question takes to come.
fn ways() -> Vec<(usize, Options)> {
    let default = Options::default();
    let learning = Learning::of(LearningKind::Head);
    vec![
        (600_000, default.clone().level(1)),
        (300_000, default.clone().level(3).threads(2).chunk_size(150_000)),
        (30_000, default.clone().level(6)),
        (30_000, default.clone().level(4).mix(false).threads(2)),
        (30_000, default.clone().learning(learning).mix(false)),
        (300, default.clone().prefix(text(9_000)).mix(false)),
        (200_000, default.clone().level(2).block_len(4096)),
        (20_000, default.level(5).mix(false).block_len(4096)),
    ]
}

#[test]
fn nothing_of_a_chunk_is_written_once_its_caller_ends_the_call() {
    let model = model();
    for (len, options) in ways() {
        let mut archive = Vec::new();
        let asked = options.clone().interrupt(Interrupt::new(|| true));
        let result = archive::compress(&text(len)[..], &mut archive, &model, &asked, &|_| ());
        let kind = result.map(drop).map_err(|e| e.kind());
        assert_eq!(kind, Err(ErrorKind::Interrupted), "{options:?}");
        // The header of the long form, or its block, goes before the first chunk is coded.
        let most = options.block_len.unwrap_or(64) as usize;
        assert!(archive.len() <= most, "{options:?}: {} bytes", archive.len());
    }
}

#[test]
fn decompression_ends_as_well_and_is_no_damage() {
    let (model, never) = (model(), Interrupt::new(|| false));
    let (plain, options) = (text(600_000), Options::default().level(1));
    let mut whole = Vec::new();
    archive::compress(&plain[..], &mut whole, &model, &options, &|_| ()).unwrap();
    // A caller that is asked and goes on changes nothing.
    let asked = options.clone().interrupt(never);
    let mut encoder = Encoder::new(Vec::new(), &model, &asked).unwrap();
    encoder.write_all(&plain).unwrap();
    assert!(encoder.finish().unwrap().0 == whole);
    let mut got = Vec::new();
    archive::decompress(&whole[..], &mut got, models(), &asked, &|_| ()).unwrap();
    assert!(got == plain);

    let asked = Options::default().interrupt(Interrupt::new(|| true));
    let mut decoder = Decoder::new(&whole[..], models(), &asked).unwrap();
    let error = decoder.read(&mut [0]).unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<llmzip::Error>());
    assert_eq!(inner.map(llmzip::Error::kind), Some(ErrorKind::Interrupted));
    // `read_to_end` and `write_all` try again after that kind.
    assert_ne!(error.kind(), std::io::ErrorKind::Interrupted);
    let stream = &archive::list(Cursor::new(&whole)).unwrap()[0];
    let chunk = archive::read_chunk(Cursor::new(&whole), stream, 0, models(), &asked);
    assert_eq!(chunk.unwrap_err().kind(), ErrorKind::Interrupted);
    let mut got = Vec::new();
    let recovery = archive::recover(&mut Cursor::new(&whole), &mut got, models(), &asked, &|_| ());
    assert_eq!(recovery.map(drop).unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(got.is_empty());
}

/// A chunk whose verification is not ended by its bytes is not stored for that.
#[test]
fn an_end_while_chunks_are_verified_ends_the_call() {
    let plain = text(300_000);
    let n_coded = Arc::new(AtomicU64::new(0));
    let (seen, len) = (Arc::clone(&n_coded), plain.len() as u64);
    let is_verifying = Interrupt::new(move || seen.load(Ordering::Relaxed) > len);
    let options = Options::default().level(3).interrupt(is_verifying);
    let count = |n| _ = n_coded.fetch_add(n, Ordering::Relaxed);
    let mut archive = Vec::new();
    let result = archive::compress(&plain[..], &mut archive, &model(), &options, &count);
    assert_eq!(result.map(drop).unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(archive.is_empty());
}
