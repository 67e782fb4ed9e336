//! How much memory a small hostile archive can make a reader ask for.
//!
//! A test binary of its own with one test, so that nothing else is counted.
#![allow(unsafe_code)] // a global allocator cannot be without

#[allow(dead_code, reason = "other tests use the rest")]
mod handmade;
#[allow(dead_code, reason = "other tests use the rest")]
mod random;

use handmade::golden::refused;
use handmade::*;
use llmzip::archive::{self, BuiltinModels, Options};
use llmzip::ops::Isa;
use random::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Most that a refusal may cost, in bytes.
const LIMIT: usize = 16 << 20;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
struct Counted;

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(IN_USE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `block` came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Peak of the bytes in use during `work`, above those before it.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = IN_USE.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
}

/// Lengths at which readers go wrong.
const LENGTHS: [u64; 12] = [
    0,
    1,
    9,
    255,
    4000,
    handmade::MAX - 1,
    handmade::MAX,
    handmade::MAX + 1,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

/// An archive of some 4 KiB whose fields are any numbers, with checksums that fit; the payloads of
/// coded chunks are damaged, so that none is decoded.
fn any_fields(random: &mut Random) -> Vec<u8> {
    let length = |random: &mut Random| LENGTHS[random.bits() as usize % LENGTHS.len()];
    let noise: Vec<u8> = (0..4096).map(|_| random.bits() as u8).collect();
    let mut archive = match random.bits() % 4 {
        0 => digest_header([7; 32], length(random), b"label"),
        1 => long_header(length(random)),
        _ => long_header(handmade::MAX),
    };
    if random.bits().is_multiple_of(8) {
        // A coded one would be decoded: its only checksum is that of the content.
        archive = single(0x81, random.bits() as u8 & 0x3F, &[length(random)], b"");
    }
    for _ in 0..random.bits() % 4 {
        let lens = [length(random), length(random)];
        let n_lens = random.bits() as usize % 3;
        archive.extend(chunk_header(random.bits() as u8, &lens[..n_lens], b"other"));
        archive.extend_from_slice(&noise[..random.bits() as usize % 1000]);
    }
    archive.extend(stored(b"abc"));
    let entry = |random: &mut Random| (random.bits() as u8, length(random), length(random));
    let entries: Vec<_> = (0..random.bits() % 5).map(|_| entry(random)).collect();
    archive.extend(index(length(random), &entries));
    archive.extend(footer(b"abc", length(random) as u32));
    archive.extend(&noise[archive.len().min(4096)..]);
    archive
}

#[test]
fn a_small_archive_is_refused_with_little_memory() {
    assert!(peak_of(|| drop(vec![0u8; LIMIT + 1])) > LIMIT, "the count does not work");
    let (models, options) = (BuiltinModels::new(Isa::detect()), Options::default());
    models.default_model().unwrap(); // what a model takes is not the archive's doing
    let mut random = Random::new(1);
    let any = (0..1000).map(|n| (format!("any fields {n}"), any_fields(&mut random)));
    let known = handmade::hostile().into_iter().map(|(name, archive)| (name.to_owned(), archive));
    let refused = refused().into_iter().map(|(name, _, archive)| (name, archive));
    let mut most = 0;
    for (name, archive) in known.chain(refused).chain(any) {
        let decompressed = peak_of(|| {
            let sink = std::io::sink();
            archive::decompress(&archive[..], sink, &models, &options, &|_| ()).expect_err(&name);
        });
        let listed = peak_of(|| drop(archive::list(Cursor::new(&archive))));
        let recovered = peak_of(|| {
            let (input, sink) = (Cursor::new(&archive), std::io::sink());
            let result = archive::recover(input, sink, &models, &options, &|_| ());
            assert!(result.is_err() || !result.unwrap().damage.is_empty(), "{name}");
        });
        for (verb, peak) in [("decompress", decompressed), ("list", listed), ("recover", recovered)]
        {
            assert!(peak < LIMIT, "{name}: {peak} bytes to {verb}");
            most = most.max(peak);
        }
    }
    println!("refused with at most {most} bytes");
}
