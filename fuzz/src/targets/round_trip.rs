//! Any content with any options: an archive that decodes to it, whatever the threads.

use super::fields::Fields;
use super::models::{STUB, Small, TINY};
use llmzip::archive::{self, Options};
use std::io::Cursor;

pub fn run(input: &[u8]) {
    let mut fields = Fields(input);
    let (flags, level, threads) = (fields.u8(), fields.u8(), fields.u8());
    let is_tiny = flags & 1 != 0;
    let context = u32::from(fields.u8());
    let prefix_len = usize::from(fields.u8() % 16);
    let options = Options::default()
        .chunk_size(u32::from(fields.u16() % 1000) + 1)
        .level(1 + level % 9)
        .lanes(Some(fields.u8() % 65).filter(|&lanes| lanes > 0))
        .mix(flags & 2 == 0)
        .prefix(fields.bytes(prefix_len))
        .context(Some(context).filter(|&context| is_tiny && context >= 4))
        .table_log2(10 + fields.u8() % 17)
        .threads(usize::from(1 + threads % 3))
        .verify(flags & 4 != 0);
    let content = &fields.0[..fields.0.len().min(512)];
    let model = if is_tiny { &*TINY } else { &*STUB };
    let compress = |options: &Options| {
        let mut archive = Vec::new();
        let summary = archive::compress(content, &mut archive, model, options, &|_| ());
        assert_eq!(summary.expect("options are in range").verify_failures, 0);
        archive
    };
    let archive = compress(&options);
    let other = options.clone().threads(1 + options.threads % 3).verify(false);
    assert!(compress(&other) == archive, "threads decide");

    let mut plain = Vec::new();
    let threads = options.threads;
    let options = Options::default().threads(threads);
    let result = archive::decompress(&archive[..], &mut plain, &Small, &options, &|_| ());
    result.expect("what was compressed decompresses");
    assert!(plain == content, "decoded to other bytes");
    let streams = archive::list(Cursor::new(&archive)).expect("it can be listed");
    assert_eq!(streams.iter().map(|stream| stream.plain_len()).sum::<u64>(), content.len() as u64);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = b"The keeper and the lighthouse: caf\xc3\xa9 12, the sea and the ships and\xff\0\n";
    let mut seeds = Vec::new();
    for flags in 0..8 {
        for (level, chunk_size) in [(0, 200), (5, 20), (8, 200)] {
            let fields = [flags, level, flags, 3 * level, 3, chunk_size, 0, level / 2, 14];
            seeds.push([&fields[..], b"the", &text.repeat(2)].concat());
        }
    }
    seeds
}
