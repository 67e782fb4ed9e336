//! Decompresses an archive of any model on this machine to standard output:
//! `cargo run --release --example decompress ARCHIVE`.

use llmzip::{Decoder, LocalModels, Options};
use std::fs::File;
use std::io;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let archive = std::env::args_os().nth(1).ok_or("expected an archive")?;
    let (models, options) = (LocalModels::from_env(), Options::default());
    let mut decoder = Decoder::new(File::open(archive)?, &models, &options)?;
    io::copy(&mut decoder, &mut io::stdout())?;
    Ok(())
}
