//! The tests of the library's kernels, on simd128 and on the portable path as it is compiled here.

#[path = "../../tests/library/kernels.rs"]
mod kernels;
#[path = "../../tests/random/mod.rs"]
mod random;

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
