//! How much of a sweep is done: all of it where `LLMZIP_SWEEPS=full` (`just sweeps`), else a share.

fn is_full() -> bool {
    std::env::var_os("LLMZIP_SWEEPS").is_some_and(|share| share == "full")
}

/// Distance between the cases that are done: 1 for all, else `share`.
pub fn step(share: usize) -> usize {
    if is_full() { 1 } else { share }
}

/// Cases that are done: `all`, or one of `share`.
pub fn cases(all: usize, share: usize) -> usize {
    all / step(share)
}
