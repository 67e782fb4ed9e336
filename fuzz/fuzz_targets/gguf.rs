#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (llmzip_fuzz::targets::target("gguf").run)(input));
