//! What is fuzzed (`targets`), and the modules of llmzip's tests that make inputs and models for it.
//! `tests/library/fuzz.rs` of llmzip compiles the same files, to run kept cases without a fuzzer.

#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../tests/gguf/mod.rs"]
mod gguf;
#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../tests/handmade/mod.rs"]
mod handmade;
#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../tests/random/mod.rs"]
mod random;
#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../tests/small_tokenizers/mod.rs"]
mod small_tokenizers;
pub mod targets;
#[allow(dead_code, reason = "llmzip's tests use the rest")]
#[path = "../../tests/tiny/mod.rs"]
mod tiny;

use libfuzzer_sys::fuzzer_mutate;

/// Changes `input` as libFuzzer does; half of the time an archive's checksums are then made to fit,
/// so that what was changed is looked at.
pub fn mutate_archive(input: &mut [u8], len: usize, max_len: usize, seed: u32) -> usize {
    let len = fuzzer_mutate(input, len, max_len);
    if seed & 1 == 0 {
        handmade::mend::mend(&mut input[..len]);
    }
    len
}
