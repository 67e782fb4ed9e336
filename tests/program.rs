//! Tests that start the program, some beside calls of the library.

#[allow(dead_code, reason = "tests in the process use the rest")]
mod cuda;
mod family;
mod floats;
#[allow(dead_code, reason = "tests of the library use the rest")]
mod gguf;
#[allow(dead_code, reason = "tests in the process use the rest")]
mod handmade;
mod joined;
#[allow(dead_code, reason = "tests in the process use the rest")]
mod random;
mod share;
mod shell;
mod skip;
#[cfg(feature = "hub")]
mod stub_hub;
mod tiny;

mod program {
    mod adapters;
    mod assets;
    mod bench;
    mod blocks;
    mod cli;
    mod cuda;
    mod decoder;
    mod edges;
    mod equalinfo;
    mod evaluate;
    mod explain;
    mod faults;
    mod filesystems;
    mod four_bits;
    mod gguf;
    mod habits;
    mod hub;
    mod matrix;
    mod memory;
    mod model_faults;
    mod network;
    mod quantize;
    mod recover;
    mod seeded;
    mod steer;
    mod steering;
    mod store;
    mod train;
}
