//! Whole archives, decoded with small models.

use super::models::{STUB, Small, TINY};
use super::readers;
use llmzip::archive::{self, Options};

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
    let default = Options::default();
    let small = default.clone().chunk_size(30).lanes(2);
    let options = [
        default.clone(),
        small.clone(),
        default.clone().mix(false),
        small.clone().mix(false),
        default.clone().level(1),
        small.clone().level(2),
        default.clone().level(9),
        small.clone().prefix(b"the").table_log2(12),
        small.clone().prefix(b"the keeper").level(2),
        small.clone().prefix(b"the keeper").mix(false),
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
    let context = small.clone().context(8);
    let mut joined = made[0].clone();
    archive::compress(TEXT, &mut joined, &TINY, &context, &|_| ()).expect("it is in range");
    made.push(joined);
    made
}
