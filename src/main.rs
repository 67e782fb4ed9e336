//! llmzip.
fn main() {}
