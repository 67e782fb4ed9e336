//! Lists an archive's chunks, and decodes the last of them alone:
//! `cargo run --release --example chunks ARCHIVE`.

use llmzip::LocalModels;
use llmzip::archive::{self, Options};
use std::fs::File;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("expected an archive")?;
    let file = File::open(path)?;
    let streams = archive::list(&file)?;
    for (number, chunk) in streams.iter().flat_map(|stream| &stream.chunks).enumerate() {
        println!(
            "{number}: {} bytes in {} at {}",
            chunk.plain_len, chunk.archive_len, chunk.offset
        );
    }
    let Some(stream) = streams.last().filter(|stream| !stream.chunks.is_empty()) else {
        return Ok(());
    };
    let (models, last) = (LocalModels::from_env(), stream.chunks.len() - 1);
    let plain = archive::read_chunk(&file, stream, last, &models, &Options::default())?;
    println!("the last holds {:?}", String::from_utf8_lossy(&plain[..plain.len().min(60)]));
    Ok(())
}
