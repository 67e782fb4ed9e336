//! The tests of the library's kernels, on simd128 and on the portable path as it is compiled here.

#[path = "../../tests/library/kernels.rs"]
mod kernels;
#[path = "../../tests/random/mod.rs"]
mod random;

use std::sync::OnceLock;

/// What the test that failed said.
static SAID: OnceLock<String> = OnceLock::new();

/// The first of all, by its name: from here on a panic's message is kept for the runner.
#[test]
fn a_message_is_kept() {
    std::panic::set_hook(Box::new(|panic| _ = SAID.set(panic.to_string())));
}

/// The message: where it is.
#[unsafe(no_mangle)]
extern "C" fn said() -> *const u8 {
    SAID.get().map_or(std::ptr::null(), |said| said.as_ptr())
}

/// The message: its bytes.
#[unsafe(no_mangle)]
extern "C" fn said_len() -> usize {
    SAID.get().map_or(0, String::len)
}

/// As in the module itself.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    to: *mut u8,
    len: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: as the caller promises.
    unsafe { to.write_bytes(0, len) };
    Ok(())
}
