//! How much memory a small hostile archive can make a reader ask for.
//!
//! A test binary of its own with one test, so that nothing else is counted.
#![allow(unsafe_code)] // a global allocator cannot be without

mod handmade;

use llmzip::archive::{self, BuiltinModels, DecompressOptions};
use llmzip::ops::Isa;
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

#[test]
fn a_small_archive_is_refused_with_little_memory() {
    assert!(peak_of(|| drop(vec![0u8; LIMIT + 1])) > LIMIT, "the count does not work");
    let (models, options) = (BuiltinModels::new(Isa::detect()), DecompressOptions::default());
    for (name, archive) in handmade::hostile() {
        let decompressed = peak_of(|| {
            let sink = std::io::sink();
            archive::decompress(&archive[..], sink, &models, &options, &|_| ()).unwrap_err();
        });
        assert!(decompressed < LIMIT, "{name}: {decompressed} bytes to decompress");
        let listed = peak_of(|| drop(archive::list(Cursor::new(&archive)).unwrap_err()));
        assert!(listed < LIMIT, "{name}: {listed} bytes to list");
    }
}
