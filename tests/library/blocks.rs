//! Archives of blocks: each stands at a multiple of its length, holds what fits, and is read alone.

use crate::handmade;
use llmzip::archive::{self, Block, BuiltinModels, Options};
use llmzip::ops::Isa;
use llmzip::{ErrorKind, Model, Result};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

fn models() -> &'static BuiltinModels {
    static MODELS: OnceLock<BuiltinModels> = OnceLock::new();
    MODELS.get_or_init(|| BuiltinModels::new(Isa::detect()))
}

/// Prose, code, what shrinks to nothing, and noise.
fn text() -> Vec<u8> {
    let file = |name| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let mut random = crate::random::Random::new(5);
    let noise: Vec<u8> = (0..1200).map(|_| random.bits() as u8).collect();
    let mut text = file("docs/format.md")[..9000].to_vec();
    text.extend([b' '; 20_000]);
    text.extend(noise);
    text.extend(&file("tests/library/blocks.rs")[..2000]);
    text
}

fn compressed(plain: &[u8], options: &Options) -> Vec<u8> {
    let model: std::sync::Arc<Model> = models().default_model().unwrap();
    let mut archive = Vec::new();
    archive::compress(plain, &mut archive, &model, options, &|_| ()).unwrap();
    archive
}

fn decompressed(archive: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let options = Options::default();
    archive::decompress(archive, &mut plain, models(), &options, &|_| ()).map(|_| plain)
}

fn range(archive: &[u8], range: Range<u64>) -> Result<Vec<u8>> {
    let (mut plain, options) = (Vec::new(), Options::default());
    archive::read_range(Cursor::new(archive), range, &mut plain, models(), &options, &|_| ())
        .map(|_| plain)
}

fn block(archive: &[u8], number: u64) -> Result<Block> {
    archive::read_block(Cursor::new(archive), number, models(), &Options::default())
}

/// Options of each kind: a level without a language model, with it, and with it alone; a prefix.
fn kinds() -> [(u32, Options); 4] {
    let default = Options::default();
    [
        (512, default.clone().level(1).block_len(512).prefix(b"llmzip ")),
        (512, default.clone().level(6).block_len(512)),
        (1024, default.clone().level(4).mix(false).block_len(1024).prefix(b"llmzip ")),
        (4096, default.level(3).block_len(4096).chunk_size(30_000)),
    ]
}

#[test]
fn each_block_stands_at_a_multiple_of_its_length_and_decodes_alone() {
    let text = text();
    for (block_len, options) in kinds() {
        let archive = compressed(&text, &options);
        assert!(decompressed(&archive).unwrap() == text);
        let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
        assert_eq!(stream.block_len, Some(block_len));
        let (header_len, mut plain) = (stream.chunks[0].offset, Vec::new());
        assert!(header_len.is_multiple_of(block_len.into()));
        for (number, chunk) in stream.chunks.iter().enumerate() {
            assert_eq!(chunk.archive_len, u64::from(block_len));
            assert_eq!(chunk.offset, header_len + number as u64 * u64::from(block_len));
            let block = block(&archive, number as u64).unwrap();
            assert_eq!(block.start, plain.len() as u64);
            plain.extend(block.plain);
        }
        assert!(plain == text, "{block_len}");
        let n = stream.chunks.len() as u64;
        for number in [n, n + 1, 1 << 40, u64::MAX] {
            let error = block(&archive, number).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.to_string().contains(&format!("there are {n}")), "{error}");
        }
    }
}

#[test]
fn blocks_are_filled() {
    let text = &text()[..9000];
    for (block_len, options) in kinds() {
        let archive = compressed(text, &options);
        let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
        let (_, all_but_the_last) = stream.chunks.split_last().unwrap();
        for chunk in all_but_the_last {
            let end = (chunk.offset + chunk.archive_len) as usize;
            let zeros = archive[..end].iter().rev().take_while(|&&byte| byte == 0).count();
            assert!(zeros <= 8 + block_len as usize / 100, "{zeros} of {block_len}");
        }
    }
}

#[test]
fn what_no_block_can_do_is_refused() {
    for (len, lanes) in [(0, 1), (511, 1), (513, 1), ((1 << 20) + 512, 1), (512, 2)] {
        let options = Options::default().level(1).block_len(len).lanes(lanes);
        let model = models().default_model().unwrap();
        let mut archive = Vec::new();
        let error = archive::compress(&b"abc"[..], &mut archive, &model, &options, &|_| ());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let chunks = compressed(b"abc", &Options::default().level(1));
    let error = block(&chunks, 0).unwrap_err();
    assert!(error.to_string().contains("not one of blocks"), "{error}");
    let empty = compressed(b"", &Options::default().block_len(512));
    assert!(decompressed(&empty).unwrap().is_empty());
    assert!(empty.len() < 100, "{} bytes for nothing", empty.len());
}

/// An archive that notes where it is read.
struct Watched<'a> {
    inner: Cursor<&'a [u8]>,
    reads: Vec<Range<u64>>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from = self.inner.position();
        let n = self.inner.read(buffer)?;
        self.reads.push(from..from + n as u64);
        Ok(n)
    }
}

impl Seek for Watched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn a_block_is_read_without_a_byte_of_the_others() {
    let text = text();
    for (block_len, options) in kinds() {
        let archive = compressed(&text, &options);
        let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
        let header = 0..stream.chunks[0].offset;
        let last = stream.chunks.len() - 1;
        for number in [0, last / 2, last] {
            let at = stream.chunks[number].offset;
            let own = at..at + u64::from(block_len);
            let mut watched = Watched { inner: Cursor::new(&archive), reads: Vec::new() };
            let options = Options::default();
            archive::read_block(&mut watched, number as u64, models(), &options).unwrap();
            let is_in = |read: &Range<u64>, all: &Range<u64>| {
                all.start <= read.start && read.end <= all.end
            };
            // The last bytes, and the first of the index, tell that there is one stream.
            let index = stream.chunks[last].offset + u64::from(block_len)..archive.len() as u64;
            let (of_end, others): (Vec<_>, Vec<_>) =
                watched.reads.iter().partition(|read| is_in(read, &index));
            assert!(of_end.iter().map(|r| r.end - r.start).sum::<u64>() <= 64, "{of_end:?}");
            let (of_header, of_block): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|read| is_in(read, &header));
            assert!(of_block.iter().all(|read| is_in(read, &own)), "{own:?}: {of_block:?}");
            assert_eq!(of_block.iter().map(|r| r.end - r.start).sum::<u64>(), u64::from(block_len));
            assert!(of_header.iter().map(|r| r.end - r.start).sum::<u64>() <= header.end);

            let mut watched = Watched { inner: Cursor::new(&archive), reads: Vec::new() };
            archive::read_chunk(&mut watched, &stream, number, models(), &options).unwrap();
            assert!(watched.reads.iter().all(|read| is_in(read, &own)), "{:?}", watched.reads);
        }
    }
}

/// Recovers `archive`; returns the content, and the damage as text.
fn recovered(archive: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut plain = Vec::new();
    let options = Options::default();
    let recovery =
        archive::recover(Cursor::new(archive), &mut plain, models(), &options, &|_| ()).unwrap();
    let place = |damage: &archive::Damage| match damage.chunk {
        Some(chunk) => format!("chunk {chunk}: {}", damage.missing),
        None => damage.missing.to_string(),
    };
    (plain, recovery.damage.iter().map(place).collect())
}

/// With and without the index, and where the plain text has the chunks of an archive in it.
#[test]
fn a_lost_sector_costs_one_block() {
    let inner = compressed(&text(), &Options::default().level(1).block_len(512));
    let text = [&text()[..5000], &inner].concat();
    let archive = compressed(&text, &Options::default().level(2).block_len(1024));
    let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
    let starts: Vec<u64> = stream
        .chunks
        .iter()
        .scan(0, |end, chunk| {
            *end += chunk.plain_len;
            Some(*end - chunk.plain_len)
        })
        .collect();
    let n = stream.chunks.len();
    let index = stream.chunks[n - 1].offset as usize + 1024;
    assert!(n > 6, "{n} blocks");
    for (lost, sector) in [(0, 0), (2, 1), (n - 3, 0), (n - 3, 1)] {
        let at = stream.chunks[lost].offset as usize + 512 * sector;
        let mut damaged = archive.clone();
        damaged[at..at + 512].fill(0);
        let (start, end) = (starts[lost] as usize, starts[lost + 1] as usize);
        let rest = [&text[..start], &text[end..]].concat();
        let said = format!("chunk {lost}: bytes {start} to {} of the content are missing", end - 1);
        let (plain, damage) = recovered(&damaged);
        assert!(plain == rest, "block {lost}, sector {sector}");
        assert_eq!(damage, std::slice::from_ref(&said));

        damaged.truncate(index);
        let (plain, damage) = recovered(&damaged);
        assert!(plain == rest, "block {lost}, sector {sector}, without an index");
        assert_eq!(damage[0], said);
        assert_eq!(damage[1..], [format!("content may be missing from byte {} on", text.len())]);
    }
}

#[test]
fn neighbours_and_headers_are_lost_alone() {
    let text = &text()[..9000];
    let archive = compressed(text, &Options::default().level(1).block_len(512));
    let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
    let at = |block: usize| stream.chunks[block].offset as usize;
    let start = |block: usize| stream.chunks[..block].iter().map(|c| c.plain_len as usize).sum();
    let index = at(stream.chunks.len() - 1) + 512;

    let mut two = archive[..index].to_vec();
    two[at(2)..at(4)].fill(0);
    let (from, to): (usize, usize) = (start(2), start(4));
    let (plain, damage) = recovered(&two);
    assert!(plain == [&text[..from], &text[to..]].concat());
    assert_eq!(damage[0], format!("bytes {from} to {} of the content are missing", to - 1));

    let mut payload_and_next = archive.clone();
    payload_and_next[at(2) + 100..at(4)].fill(0);
    assert!(recovered(&payload_and_next).0 == plain);

    let mut header = archive.clone();
    header[..512].fill(0);
    let (plain, damage) = recovered(&header);
    assert!(plain == text, "{} bytes", plain.len());
    assert_eq!(damage, ["no content is missing"]);

    let cut = [&archive[..at(1) + 7], &archive[at(1) + 30..]].concat();
    let (plain, _) = recovered(&cut);
    assert!(plain == [&text[..start(1)], &text[start(2)..]].concat());
}

/// Blocks that were swapped, copied over another or twice in a row, and one whose text would end past all numbers: each has a good
/// checksum, and stands where its text does not belong. Its text is never given out for another's.
#[test]
fn misplaced_blocks_are_no_others() {
    let mut random = crate::random::Random::new(7);
    let text: Vec<u8> = (0..4000).map(|_| random.bits() as u8).collect();
    let archive = compressed(&text, &Options::default().level(1).block_len(512));
    let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
    let at = |block: usize| stream.chunks[block].offset as usize;
    let own = |block: usize| archive[at(block)..at(block) + 512].to_vec();
    let starts: Vec<usize> = (0..stream.chunks.len())
        .map(|block| stream.chunks[..block].iter().map(|c| c.plain_len as usize).sum())
        .collect();
    let index = at(stream.chunks.len() - 1) + 512;
    let without = |lost: &[usize]| -> Vec<u8> {
        let kept = (0..starts.len()).filter(|block| !lost.contains(block));
        kept.flat_map(|block| &text[starts[block]..][..stream.chunks[block].plain_len as usize])
            .copied()
            .collect()
    };
    let put = |blocks: &[(usize, usize)]| {
        let mut changed = archive.clone();
        for &(place, block) in blocks {
            changed[at(place)..at(place) + 512].copy_from_slice(&own(block));
        }
        changed
    };
    for (changed, lost) in [
        (put(&[(2, 6), (6, 2)]), &[2, 6][..]),
        (put(&[(2, 3), (3, 2)]), &[2, 3]),
        (put(&[(6, 2)]), &[6]),
        (put(&[(2, 6)]), &[2]),
    ] {
        let (plain, damage) = recovered(&changed);
        assert!(plain == without(lost), "{lost:?}: {damage:?}");
        assert_eq!(damage.len(), lost.len(), "{damage:?}");
        let first = lost[0];
        let lost = starts[first] as u64..starts[first] as u64 + 10;
        assert_eq!(range(&changed, lost).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(range(&changed, 0..100).unwrap() == text[..100]);
        let stream = archive::list(Cursor::new(&changed)).unwrap().remove(0);
        let options = Options::default();
        let chunk = |number| {
            archive::read_chunk(Cursor::new(&changed), &stream, number, models(), &options)
        };
        assert_eq!(chunk(first).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(chunk(0).is_ok());
    }
    // Without an index one of two neighbours that were swapped stands between the others as well.
    let (plain, damage) = recovered(&put(&[(2, 6), (6, 2)])[..index]);
    assert!(plain == without(&[2, 6]), "{damage:?}");
    let (plain, damage) = recovered(&put(&[(2, 3), (3, 2)])[..index]);
    assert!(plain == without(&[2]) || plain == without(&[3]), "{damage:?}");
    let twice = [&archive[..at(3)], &archive[at(2)..index]].concat();
    let (plain, _) = recovered(&twice);
    assert!(plain == text);
    for place in [0, 3] {
        let crafted = handmade::block(u64::MAX, b"abc", 512);
        let mut changed = archive.clone();
        changed[at(place)..at(place) + 512].copy_from_slice(&crafted);
        assert!(recovered(&changed).0 == without(&[place]), "block {place}");
        assert!(recovered(&changed[..index]).0 == without(&[place]), "block {place}, no index");
    }
}

/// Bytes of joined archives, blocks or not, with one that begins where a block of the one before would stand.
#[test]
fn blocks_are_counted_through_joined_archives() {
    let text = text();
    let blocks = Options::default().level(1).block_len(512);
    let parts: [(&[u8], Options); 5] = [
        (&text[..3000], blocks.clone()),
        (&text[3000..3100], Options::default().level(1)),
        (b"", blocks.clone()),
        (&text[3100..9000], blocks.clone().prefix(b"llmzip ")),
        (&text[9000..12_000], Options::default().level(1).block_len(1024)),
    ];
    let archives = parts.each_ref().map(|(part, options)| compressed(part, options));
    let joined = archives.concat();
    let is_of_blocks = |stream: &archive::StreamInfo| stream.block_len.is_some();
    let streams = archive::list(Cursor::new(&joined)).unwrap();
    let n: usize = streams.iter().filter(|s| is_of_blocks(s)).map(|s| s.chunks.len()).sum();
    let mut plain = Vec::new();
    for number in 0..n as u64 {
        let block = block(&joined, number).unwrap();
        if block.start == 3100 {
            plain.extend(&text[3000..3100]); // in chunks
        }
        assert_eq!(block.start, plain.len() as u64, "block {number}");
        plain.extend(block.plain);
    }
    assert!(plain == text[..12_000]);
    let error = block(&joined, n as u64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains(&format!("there are {n}")), "{error}");
    // A first archive that is not of blocks has none.
    let after_chunks = [&archives[1][..], &archives[0]].concat();
    assert_eq!(block(&after_chunks, 0).unwrap().start, 100);

    // So long that the blocks of a second one stand where more blocks of the first would.
    let n = 297;
    let text: Vec<u8> = (0..3 * n as u32).map(|i| ((i * i) >> 3) as u8).collect();
    let chunk = |(i, plain): (usize, _)| (handmade::block(3 * i as u64, plain, 512), plain);
    let chunks: Vec<(Vec<u8>, &[u8])> = text.chunks(3).enumerate().map(chunk).collect();
    let once = handmade::long_of_blocks(&handmade::block_header(512, 0), &chunks);
    assert!(once.len().is_multiple_of(512));
    let twice = [&once[..], &once].concat();
    for number in (0..2 * n).step_by(7) {
        let block = block(&twice, number as u64).unwrap();
        assert_eq!(block.start, 3 * number as u64);
        assert!(block.plain == text[3 * (number % n)..][..3]);
    }
    assert!(block(&twice, 2 * n as u64).is_err());
}

/// Of a damaged archive the blocks are where they were.
#[test]
fn a_block_is_found_without_the_end() {
    let text = &text()[..9000];
    let archive = compressed(text, &Options::default().level(1).block_len(512));
    let stream = archive::list(Cursor::new(&archive)).unwrap().remove(0);
    let end = (stream.chunks[3].offset + 512) as usize;
    let good = block(&archive, 3).unwrap();
    for damaged in [archive[..end].to_vec(), archive[..archive.len() - 1].to_vec(), {
        let mut index = archive.clone();
        let at = stream.chunks[stream.chunks.len() - 1].offset as usize + 513;
        index[at] ^= 1; // the number of chunks
        index
    }] {
        assert_eq!(block(&damaged, 3).unwrap(), good);
        assert_eq!(block(&damaged, 2).unwrap(), block(&archive, 2).unwrap());
    }
}

/// Every bit of a header and the zeros that fill it up: none costs content, and each of the zeros is named where a reader passes it.
#[test]
fn every_flipped_bit_of_a_header_costs_nothing() {
    let stored: [(Vec<u8>, &[u8]); 2] =
        [(handmade::block(0, b"abc", 512), b"abc"), (handmade::block(3, b"xyz", 512), b"xyz")];
    let stored = handmade::long_of_blocks(&handmade::block_header(512, 0), &stored);
    let text = &text()[..2000];
    let options = Options::default().level(1).block_len(512).prefix(b"llmzip ");
    let with_prefix = compressed(text, &options);
    for (archive, text, step) in [(stored, &b"abcxyz"[..], 1), (with_prefix, text, 29)] {
        let first = archive::list(Cursor::new(&archive)).unwrap()[0].chunks[0].offset as usize;
        let padding = archive[..first].iter().rposition(|&byte| byte != 0).unwrap() + 1;
        assert!(first - padding > 400);
        for bit in (0..8 * first).step_by(step) {
            let (at, is_padding) = (bit / 8, bit / 8 >= padding);
            let mut damaged = archive.clone();
            damaged[at] ^= 1 << (bit % 8);
            let mut plain = Vec::new();
            let options = Options::default();
            let error = archive::decompress(&damaged[..], &mut plain, models(), &options, &|_| ());
            let error = error.map(drop).expect_err("a flipped bit");
            assert!(text.starts_with(&plain));
            if is_padding || step == 1 {
                let (plain, damage) = recovered(&damaged);
                assert!(plain == text, "bit {bit}: {damage:?}");
                assert_eq!(damage, ["no content is missing"], "bit {bit}");
            }
            if is_padding {
                let named = format!("offset {at}: the header's padding");
                assert!(plain == text && error.to_string().contains(&named), "{error}");
                let listed = archive::list(Cursor::new(&damaged)).unwrap_err();
                assert_eq!(listed.kind(), ErrorKind::Corrupt);
                assert!(listed.to_string().contains(&named), "{listed}");
                assert!(block(&damaged, 1).unwrap() == block(&archive, 1).unwrap());
                assert!(range(&damaged, 2..5).unwrap() == text[2..5]);
            }
        }
    }
}
