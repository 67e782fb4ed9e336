//! What is fuzzed: a file for each target.
//!
//! `run` takes any bytes and panics where a promise is broken; `seeds` makes inputs to begin with.

mod adapter;
mod arguments;
mod chunks;
mod coder;
mod config;
mod container;
mod decode;
mod fields;
mod gguf;
mod models;
mod readers;
mod round_trip;
mod tensors;
mod tokenizer;
mod torch;
mod weights;

/// A target: its name, what it does with an input, inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),*) => {
        /// All targets.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),*];
    };
}

targets!(
    adapter, arguments, chunks, coder, config, container, decode, gguf, round_trip, tokenizer,
    weights
);

/// The target of `name`, one of [`TARGETS`].
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("there is no such target")
}
