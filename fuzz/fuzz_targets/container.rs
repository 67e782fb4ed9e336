#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (llmzip_fuzz::targets::target("container").run)(input));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], len: usize, max_len: usize, seed: u32| {
    llmzip_fuzz::mutate_archive(data, len, max_len, seed)
});
