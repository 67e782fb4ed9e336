//! Whole archives small enough for Miri, which sees undefined behaviour and overflows where a
//! processor goes on; `tests/library/container.rs` has more and larger ones.

use super::*;
use crate::ops::Isa;
use std::io::Cursor;

fn plain() -> Vec<u8> {
    b"a line of a log, and the same line of a log, and noise: \xff\x00\x9c\x4c\x0d\x0a"
        .repeat(if cfg!(miri) { 1 } else { 2 })
}

/// Archives of the adaptive model, stored chunks among theirs: in single form, in chunks, and back to
/// back. Each coded chunk begins with tables that take Miri seconds.
fn archives(models: &BuiltinModels) -> Vec<Vec<u8>> {
    let model = models.default_model().unwrap();
    let compress = |(level, chunk_size)| {
        let options = Options::default().level(level).chunk_size(chunk_size).table_log2(10);
        let mut archive = Vec::new();
        compress(&plain()[..], &mut archive, &model, &options, &|_| ()).unwrap();
        archive
    };
    let all = [(1, 1000), (1, 40), (2, 50), (3, 7)];
    let mut archives: Vec<_> =
        all[..if cfg!(miri) { 2 } else { 4 }].iter().copied().map(compress).collect();
    archives.push(archives.concat());
    archives
}

#[test]
fn small_archives_come_back() {
    let models = BuiltinModels::new(Isa::detect());
    let archives = archives(&models);
    let n_archives = archives.len() - 1;
    for (n, archive) in archives.into_iter().enumerate() {
        let copies = if n == n_archives { n_archives } else { 1 };
        let (mut got, options) = (Vec::new(), Options::default());
        let summary = decompress(&archive[..], &mut got, &models, &options, &|_| ()).unwrap();
        assert_eq!((got, summary.n_streams), (plain().repeat(copies), copies as u64));
        let streams = list(Cursor::new(&archive)).unwrap();
        assert_eq!(streams.iter().map(StreamInfo::plain_len).sum::<u64>(), summary.plain_len);
        let last = streams.last().unwrap();
        let chunk = last.chunks.len() - 1;
        let alone = read_chunk(Cursor::new(&archive), last, chunk, &models, &options).unwrap();
        assert!(plain().ends_with(&alone));
    }
}

#[test]
#[cfg_attr(miri, ignore = "every damage takes it minutes")]
fn damage_in_small_archives_is_noticed_and_gone_around() {
    let models = BuiltinModels::new(Isa::detect());
    let options = Options::default();
    for archive in archives(&models) {
        for at in 0..archive.len() {
            let mut damaged = archive.clone();
            damaged[at] ^= 1 << (at % 8);
            let result = decompress(&damaged[..], std::io::sink(), &models, &options, &|_| ());
            assert!(result.is_err(), "byte {at}");
            let input = Cursor::new(&damaged);
            let result = recover(input, std::io::sink(), &models, &options, &|_| ());
            assert!(result.is_err() || !result.unwrap().damage.is_empty(), "byte {at}");
        }
    }
}

/// A writer that tells whether anything was written.
#[derive(Clone, Default)]
struct Noticed(std::rc::Rc<std::cell::Cell<bool>>);

impl std::io::Write for Noticed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.set(true);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many chunks take it minutes")]
fn no_more_chunks_are_in_flight_than_fit_in_memory() {
    use std::io::{Read, Write};
    const CHUNK: usize = 1 << 10;
    const N: usize = 20;
    let models = BuiltinModels::new(Isa::detect());
    let model = models.default_model().unwrap();
    let plain = vec![b'a'; N * CHUNK];
    let options = Options::default().level(1).chunk_size(CHUNK as u32).threads(16);
    let most_encoded = |memory: u64| {
        let noticed = Noticed::default();
        let options = options.clone().memory(memory);
        let mut encoder = Encoder::new(noticed.clone(), &model, &options).unwrap();
        let chunks = plain.chunks(CHUNK).take_while(|chunk| {
            encoder.write_all(chunk).unwrap();
            !noticed.0.get()
        });
        chunks.count()
    };
    let (table_log2, lane_len) = (MixingConfig::TABLE_LOG2, CHUNK as u32);
    let adaptive = MixingConfig { tier: 1, table_log2, with_lm: false, n_lanes: 1, lane_len };
    let memory_of = |n: u64| n * memory_of_chunk(CHUNK as u64, Some(&adaptive));
    let limits = [(u64::MAX, N), (memory_of(3), 3), (memory_of(2) - 1, 1), (memory_of(1), 1)];
    for (memory, most) in limits {
        assert_eq!(most_encoded(memory), most, "{memory} bytes");
    }

    let mut archive = Vec::new();
    compress(&plain[..], &mut archive, &model, &options, &|_| ()).unwrap();
    for (memory, most) in limits {
        let options = options.clone().memory(memory);
        let mut decoder = Decoder::new(&archive[..], &models, &options).unwrap();
        decoder.read_exact(&mut [0]).unwrap();
        assert_eq!(decoder.n_held() / CHUNK, most, "{memory} bytes");
    }

    let options = options.memory(memory_of(1) - 1);
    let error = compress(&plain[..], Vec::new(), &model, &options, &|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MemoryExceeded);
    let error = decompress(&archive[..], Vec::new(), &models, &options, &|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MemoryExceeded);
}
