//! Archives written field by field after `docs/format.md`, with checksums that fit whatever they
//! say.
//!
//! Shares no code with the program, so that a mistake there is not repeated here.

pub mod golden;
pub mod mend;

pub const MAGIC: [u8; 4] = [0x9C, 0x4C, 0x0D, 0x0A];
pub const VERSION: u8 = 0x11;
pub const MAX: u64 = 64 << 20;

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let group = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(group);
            return out;
        }
        out.push(group | 0x80);
    }
}

pub fn crc8(bytes: &[u8]) -> u8 {
    let step = |crc: u8| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| step(crc)))
}

/// `parts` and then their CRC-32.
pub fn sealed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = parts.concat();
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_le_bytes());
    out
}

/// A single form of the model byte, tag and lengths given, with `payload` as its plain bytes.
pub fn single(model: u8, tag: u8, lens: &[u64], payload: &[u8]) -> Vec<u8> {
    let lens: Vec<u8> = lens.iter().flat_map(|len| varint(*len)).collect();
    single_of(&[&[model, tag], &lens[..]].concat(), payload)
}

/// A single form of the `fields` from the model byte on, with `payload` as its plain bytes.
pub fn single_of(fields: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = [&MAGIC[..], &[VERSION], fields].concat();
    out.push(crc8(&out));
    let crc = crc32fast::hash(&[&out[..], payload].concat());
    out.extend(crc.to_le_bytes());
    [&out[..], payload].concat()
}

/// The header of a long form with the default model.
pub fn long_header(chunk_size: u64) -> Vec<u8> {
    sealed(&[&MAGIC, &[VERSION, 1], &varint(chunk_size)])
}

/// The same with a list of extensions.
pub fn extended_header(extensions: &[u8], chunk_size: u64) -> Vec<u8> {
    sealed(&[&MAGIC, &[VERSION, 0x41], extensions, &varint(chunk_size)])
}

/// An extension, the last of its list or not.
pub fn extension(id: u64, is_last: bool, content: &[u8]) -> Vec<u8> {
    [&varint(2 * id + u64::from(!is_last)), &varint(content.len() as u64), content].concat()
}

/// The header of a long form with a model named by digest.
pub fn digest_header(digest: [u8; 32], label_len: u64, label: &[u8]) -> Vec<u8> {
    let start = [&MAGIC[..], &[VERSION, 0x3F]].concat();
    sealed(&[&start, &digest, &varint(label_len), label, &varint(1000)])
}

/// A chunk's header whose CRCs are those of `payload` stored.
pub fn chunk_header(tag: u8, lens: &[u64], payload: &[u8]) -> Vec<u8> {
    let lens: Vec<u8> = lens.iter().flat_map(|len| varint(*len)).collect();
    let crc = crc32fast::hash(payload).to_le_bytes();
    sealed(&[&[tag], &lens, &crc, &crc])
}

/// A stored chunk.
pub fn stored(plain: &[u8]) -> Vec<u8> {
    [&chunk_header(0, &[plain.len() as u64], plain)[..], plain].concat()
}

/// An index of `n_chunks` with `entries` of (tag, frame_len, plain_len).
pub fn index(n_chunks: u64, entries: &[(u8, u64, u64)]) -> Vec<u8> {
    let entry = |&(tag, frame, plain)| [&[tag][..], &varint(frame), &varint(plain)].concat();
    let entries: Vec<u8> = entries.iter().flat_map(entry).collect();
    sealed(&[&[0x3F], &varint(n_chunks), &entries])
}

pub fn footer(content: &[u8], index_len: u32) -> Vec<u8> {
    let hash = blake3::hash(content);
    let mut out = sealed(&[hash.as_bytes(), &index_len.to_le_bytes()]);
    out.extend([0x0A, 0x0D, 0x4C, 0x9C]);
    out
}

/// A long form of stored chunks.
pub fn long(chunk_size: u64, chunks: &[&[u8]]) -> Vec<u8> {
    let mut out = long_header(chunk_size);
    let mut entries = Vec::new();
    for plain in chunks {
        let frame = stored(plain);
        entries.push((0, frame.len() as u64, plain.len() as u64));
        out.extend(frame);
    }
    let index = index(chunks.len() as u64, &entries);
    out.extend(&index);
    out.extend(footer(&chunks.concat(), index.len() as u32));
    out
}

/// A stored block of `block_len` bytes, of up to 16 KiB, whose text begins at `start`.
pub fn block(start: u64, plain: &[u8], block_len: usize) -> Vec<u8> {
    let lens = varint(plain.len() as u64);
    let room = block_len - (2 + lens.len() + 2 + 8 + 12);
    let mut payload = plain.to_vec();
    payload.resize(room, 0);
    block_of(&[1, 0], &[plain.len() as u64, room as u64], start, plain, &payload)
}

/// A block of these fields.
pub fn block_of(tag: &[u8], lens: &[u64], start: u64, plain: &[u8], payload: &[u8]) -> Vec<u8> {
    let lens: Vec<u8> = lens.iter().flat_map(|len| varint(*len)).collect();
    let crc = |bytes| crc32fast::hash(bytes).to_le_bytes();
    let header = sealed(&[tag, &lens, &start.to_le_bytes(), &crc(plain), &crc(payload)]);
    [&header[..], payload].concat()
}

/// The header of a stream of blocks, filled up by `padding`.
pub fn block_header(block_len: u64, padding: u8) -> Vec<u8> {
    let blocks = extension(14, true, &varint(block_len));
    let fields = [&MAGIC[..], &[VERSION, 0x40], &blocks, &varint(1000)].concat();
    let mut header = sealed(&[&fields]);
    header.resize(header.len().max(block_len as usize), padding);
    header
}

/// A stream of stored `blocks` of 512 bytes: each the block and its plain bytes.
pub fn long_of_blocks(header: &[u8], blocks: &[(Vec<u8>, &[u8])]) -> Vec<u8> {
    let entry = |(frame, plain): &(Vec<u8>, &[u8])| {
        let (frame_len, plain_len) = (frame.len() as u64, plain.len() as u64);
        [&frame[..2], &varint(frame_len), &varint(plain_len)].concat()
    };
    let entries: Vec<u8> = blocks.iter().flat_map(entry).collect();
    let index = sealed(&[&[0x3F], &varint(blocks.len() as u64), &entries]);
    let frames: Vec<u8> = blocks.iter().flat_map(|(frame, _)| frame.clone()).collect();
    let content: Vec<u8> = blocks.iter().flat_map(|(_, plain)| plain.to_vec()).collect();
    [header, &frames, &index, &footer(&content, index.len() as u32)].concat()
}

/// Archives that ask for much with little, by what they are.
pub fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let header = long_header(MAX);
    let coded = 1 << 6;
    let end = |index: Vec<u8>, index_len: Option<u32>| {
        let footer = footer(b"abc", index_len.unwrap_or(index.len() as u32));
        [&header[..], &stored(b"abc"), &index, &footer].concat()
    };
    let chunk = |tag, lens: &[u64]| [&header[..], &chunk_header(tag, lens, b"")].concat();
    let entry = (0, stored(b"abc").len() as u64, 3);
    vec![
        ("single, stored, largest plain_len", single(0x81, 0, &[MAX], b"")),
        ("single, stored, plain_len too large", single(0x81, 0, &[MAX + 1], b"")),
        ("single, stored, plain_len 2^64-1", single(0x81, 0, &[u64::MAX], b"")),
        ("single, coded, largest lengths", single(0x81, coded, &[MAX, MAX - 1], b"")),
        ("single, coded, coded_len = plain_len", single(0x81, coded, &[9, 9], b"")),
        ("single, coded, coded_len 2^64-1", single(0x81, coded, &[9, u64::MAX], b"")),
        ("single, coded, nothing", single(0x81, coded, &[0, 0], b"")),
        ("single, stored with lanes", single(0x81, 5, &[1], b"a")),
        ("long, chunk_size 0", long_header(0)),
        ("long, chunk_size too large", long_header(MAX + 1)),
        ("long, chunk_size 2^64-1", long_header(u64::MAX)),
        ("long, label too long", digest_header([7; 32], u64::MAX, b"label")),
        ("long, label with control characters", digest_header([7; 32], 3, b"a\x1bc")),
        ("long, label not UTF-8", digest_header([7; 32], 2, b"\xff\xfe")),
        ("chunk, stored, largest plain_len", chunk(0, &[MAX])),
        ("chunk, stored, plain_len too large", chunk(0, &[MAX + 1])),
        ("chunk, stored, plain_len 0", chunk(0, &[0])),
        ("chunk, coded, largest lengths", chunk(coded, &[MAX, MAX - 1])),
        ("chunk, coded, coded_len 2^64-1", chunk(coded, &[9, u64::MAX])),
        ("chunk, coded, coded_len 0", chunk(coded, &[9, 0])),
        ("index, 2^64-1 chunks", end(index(u64::MAX, &[entry]), None)),
        ("index, no chunks", end(index(0, &[]), None)),
        ("index, two chunks", end(index(2, &[entry, entry]), None)),
        ("index, frame_len differs", end(index(1, &[(0, MAX, 3)]), None)),
        ("footer, index_len 2^32-1", end(index(1, &[entry]), Some(u32::MAX))),
        ("many unfinished chunks", [&header[..], &stored(b"a").repeat(100)].concat()),
    ]
}

/// Archives whose chunks are good and whose index or footer tells otherwise, with good checksums.
pub fn lying() -> Vec<(&'static str, Vec<u8>)> {
    let frame_len = stored(b"abc").len() as u64;
    let archive = |entry, content: &[u8]| {
        let index = index(1, &[entry]);
        let footer = footer(content, index.len() as u32);
        [&long_header(MAX)[..], &stored(b"abc"), &index, &footer].concat()
    };
    vec![
        ("plain_len", archive((0, frame_len + 1, 4), b"abc")),
        ("tag", archive((1 << 6, frame_len, 3), b"abc")),
        ("content", archive((0, frame_len, 3), b"abd")),
    ]
}
