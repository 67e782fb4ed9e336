//! Compresses a file: `cargo run --release --example compress FILE ARCHIVE`.

use llmzip::{Encoder, Model, Options};
use std::fs::File;
use std::io;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("expected a file and the name of its archive".into());
    };
    let model = Model::builtin()?;
    let options = Options::default().threads(2);
    let mut encoder = Encoder::new(File::create(to)?, &model, &options)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    let (file, summary) = encoder.finish()?;
    file.sync_all()?;
    println!("{} -> {} bytes", summary.plain_len, summary.archive_len);
    Ok(())
}
