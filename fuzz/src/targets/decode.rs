//! Whole archives, decoded with small models.

use super::models::{STUB, Small, TINY};
use super::readers;
use llmzip::archive::{self, CompressOptions};

pub fn run(archive: &[u8]) {
    readers::check(archive, &Small);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = readers::seeds();
    seeds.extend(made());
    seeds
}

const TEXT: &[u8] =
    b"The keeper and the lighthouse: caf\xc3\xa9 12, the sea and the ships and\xff\0\n";

/// Archives of every form, method and parameter.
pub fn made() -> Vec<Vec<u8>> {
    let default = CompressOptions::default();
    let small = CompressOptions { chunk_size: 30, lanes: Some(2), ..default };
    let options = [
        default,
        small,
        CompressOptions { mix: false, ..default },
        CompressOptions { mix: false, ..small },
        CompressOptions { level: 1, ..default },
        CompressOptions { level: 2, ..small },
        CompressOptions { level: 9, ..default },
        CompressOptions { prefix: b"the", table_log2: 12, ..small },
        CompressOptions { prefix: b"the keeper", level: 2, ..small },
        CompressOptions { prefix: b"the keeper", mix: false, ..small },
    ];
    let mut made = Vec::new();
    for model in [&*STUB, &*TINY] {
        for options in &options {
            let mut archive = Vec::new();
            archive::compress(&TEXT.repeat(2)[..], &mut archive, model, options, &|_| ())
                .expect("a small text can be compressed");
            made.push(archive);
        }
    }
    let context = CompressOptions { context: Some(8), ..small };
    let mut joined = made[0].clone();
    archive::compress(TEXT, &mut joined, &TINY, &context, &|_| ()).expect("it is in range");
    made.push(joined);
    made
}
