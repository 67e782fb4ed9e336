//! Tests that call the library in their own process. None of them starts the program, so they also
//! run where it is not built.

#[allow(dead_code, reason = "tests that start the program use the rest")]
mod cuda;
mod family;
mod gguf;
mod handmade;
mod random;
mod share;
mod skip;
mod small_tokenizers;
#[allow(dead_code, reason = "tests that start the program use the rest")]
mod tiny;

mod library {
    mod adapters;
    mod blocks;
    mod cheap;
    mod container;
    mod cuda;
    mod decoders;
    mod equalinfo;
    mod evaluate;
    mod families;
    mod fuzz;
    mod gguf;
    mod golden;
    mod gradients;
    mod interrupts;
    mod kernels;
    mod layers;
    mod learning;
    mod models;
    mod roundtrip;
    mod steering;
    mod steering_fit;
    mod sweeps;
    mod tokenizers;
    mod while_coding;
}
