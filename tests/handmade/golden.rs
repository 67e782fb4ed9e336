//! Golden archives that the program does not write: odd ones that it must read, and those it must
//! refuse. Each has a name for its file and a reason for people.

use super::*;

/// A file's name without the suffix, why it is there, its bytes.
pub type Case = (String, String, Vec<u8>);

/// Archives to be read, with their content.
pub fn accepted() -> Vec<(Case, Vec<u8>)> {
    let case = |name: &str, reason: &str, archive: Vec<u8>, plain: &[u8]| {
        ((format!("good-1-{name}"), reason.into(), archive), plain.to_vec())
    };
    let abc = |header: &[u8]| [header, &long(9, &[b"abc"])[long_header(9).len()..]].concat();
    let letters: Vec<&[u8]> = std::iter::repeat_n(&b"z"[..], 130).collect();
    let joined = [single(0x80, 0, &[1], b"a"), long(9, &[b"bc"]), single(0x81, 0, &[0], b"")];
    let odd = [extension(1, false, b"of a later release"), extension(77, true, b"")].concat();
    let blocks = [(block(0, b"abc", 512), &b"abc"[..]), (block(3, b"xyz", 512), b"xyz")];
    let blocks = long_of_blocks(&block_header(512, 0), &blocks);
    let padded = [long(9, &[b"abc"]), vec![0; 5000]].concat();
    vec![
        case("no-chunks", "long form without chunks", long(9, &[]), b""),
        case("odd-extensions", "may be skipped", abc(&extended_header(&odd, 9)), b"abc"),
        case("padded", "zero bytes after the last stream", padded, b"abc"),
        case(
            "foreign-model-stored",
            "names a model that is nowhere, and does not need it",
            abc(&digest_header([7; 32], 4, "ü c".as_bytes())),
            b"abc",
        ),
        case("longest-chunk-size", "chunk_size is the greatest", abc(&long_header(MAX)), b"abc"),
        case("130-chunks", "the number of chunks takes two bytes", long(1, &letters), &[b'z'; 130]),
        case("blocks-stored", "a stream of blocks", blocks, b"abcxyz"),
        case("joined-forms", "both forms and models, back to back", joined.concat(), b"abc"),
    ]
}

/// Archives to be refused.
pub fn refused() -> Vec<Case> {
    let bad = |reason: &str, archive: Vec<u8>| {
        let words = reason.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', " ");
        let name = words.split_whitespace().collect::<Vec<_>>().join("-");
        (format!("bad-1-{name}"), reason.to_owned(), archive)
    };
    let hostile = hostile().into_iter().map(|(reason, archive)| bad(reason, archive));
    let lying = lying()
        .into_iter()
        .map(|(what, archive)| bad(&format!("index or footer lies about {what}"), archive));
    hostile
        .chain(lying)
        .chain(damaged().into_iter().map(|(r, a)| bad(r, a)))
        .chain(bad_blocks().into_iter().map(|(r, a)| bad(r, a)))
        .chain(newer())
        .collect()
}

/// Streams of blocks that break a rule of theirs.
fn bad_blocks() -> Vec<(&'static str, Vec<u8>)> {
    let header = block_header(512, 0);
    let of = |frame: Vec<u8>| long_of_blocks(&header, &[(frame, b"abc")]);
    let stuffed = [b"abc".to_vec(), vec![0; 487 - 4], vec![1]].concat();
    let stuffed = block_of(&[1, 0], &[3, 487], 0, b"abc", &stuffed);
    let not_shorter =
        block_of(&[1, 0xC0], &[3, 487], 0, b"abc", &[vec![9; 3], vec![0; 484]].concat());
    let twice =
        block_of(&[1, 1, 0], &[3, 486], 0, b"abc", &[b"abc".to_vec(), vec![0; 483]].concat());
    let no_block = [(stored(b"abc"), &b"abc"[..])];
    let single = [&[0xC0][..], &extension(14, true, &varint(512)), &[0, 1]].concat();
    vec![
        ("blocks of 513 bytes", block_header(513, 0)),
        ("blocks of 2 MiB", extended_header(&extension(14, true, &varint(2 << 20)), 9)),
        (
            "blocks, padding of the header",
            long_of_blocks(&block_header(512, 1), &[(block(0, b"abc", 512), b"abc")]),
        ),
        ("blocks, a chunk that is none", long_of_blocks(&header, &no_block)),
        ("blocks, one of another length", of(block(0, b"abc", 1024))),
        ("blocks, one that begins elsewhere", of(block(1, b"abc", 512))),
        ("blocks, padding of a block", of(stuffed)),
        ("blocks, code not shorter than the text", of(not_shorter)),
        ("blocks, a block in a block", of(twice)),
        (
            "a block in a stream of chunks",
            long_of_blocks(&long_header(9), &[(block(0, b"abc", 512), b"abc")]),
        ),
        ("blocks in single form", single_of(&single, b"a")),
    ]
}

/// Good archives that something happened to.
fn damaged() -> Vec<(&'static str, Vec<u8>)> {
    let (header, frame) = (long_header(9).len(), stored(b"abc").len());
    let right = long(9, &[b"abc", b"xyz"]);
    let index = header + 2 * frame;
    let flipped = |at: usize| {
        let mut archive = right.clone();
        archive[at] ^= 1;
        archive
    };
    let cut = |len: usize| right[..len].to_vec();
    let (first, second) = (&right[header..header + frame], &right[header + frame..index]);
    let out_of_order = [extension(4, false, b""), extension(2, true, b"")].concat();
    let long_prefix = extension(4, true, &[&[0xC0][..], &varint(70_000), b"xyz"].concat());
    let prefix = extension(4, true, &[&[0xC0][..], &varint(9), b"\x68xy"].concat());
    let steering_label = extension(8, true, &[&[1][..], &[7; 32], &[5], b"name"].concat());
    let adapter_label = extension(12, true, &[&[7; 32][..], &[5], b"name"].concat());
    let adapter_trailing = extension(12, true, &[&[7; 32][..], &[3], b"name"].concat());
    let no_tokens =
        [&extended_header(&prefix, 100)[..], &coded(1 << 6, b"xyz")[long_header(100).len()..]];
    let no_tokens = no_tokens.concat();
    let swapped = [&right[..header], second, first, &right[index..]].concat();
    vec![
        ("cut to nothing", cut(0)),
        ("cut inside the magic", cut(3)),
        ("cut inside the header", cut(header - 1)),
        ("cut before the first chunk", cut(header)),
        ("cut inside a chunk header", cut(header + frame + 5)),
        ("cut inside a payload", cut(index - 1)),
        ("cut before the index", cut(index)),
        ("cut inside the index", cut(index + 5)),
        ("cut inside the footer", cut(right.len() - 1)),
        ("flipped: header", flipped(7)),
        ("flipped: chunk header", flipped(header + frame + 1)),
        ("flipped: payload", flipped(index - 1)),
        ("flipped: index", flipped(index + 3)),
        ("flipped: content hash", flipped(right.len() - 44)),
        ("flipped: tail magic", flipped(right.len() - 1)),
        ("chunks swapped", swapped),
        ("chunk missing", [&right[..header], &right[header + frame..]].concat()),
        ("line ends converted to LF", [&right[..2], b"\n", &right[4..]].concat()),
        ("line ends converted to CRCRLF", [&right[..2], b"\r\r\n", &right[4..]].concat()),
        ("junk after the end", [&right[..], b"junk"].concat()),
        ("not an archive", b"PK\x03\x04 and so on".to_vec()),
        ("padding, then a stream", [&right[..], &[0; 100], &right].concat()),
        ("varint not canonical", sealed(&[&MAGIC, &[VERSION, 1], &[0x89, 0x00]])),
        ("extensions cut off", extended_header(&extension(1, false, b""), 9)),
        ("extensions out of order", extended_header(&out_of_order, 9)),
        ("extension longer than any", extended_header(&[2 * 3, 0xFF, 0xFF, 0x7F], 9)),
        ("context without its overlap", extended_header(&extension(2, true, &[40]), 9)),
        ("prefix, stored", extended_header(&extension(4, true, &[0, 1, b'a']), 9)),
        ("prefix of 70000 bytes", extended_header(&long_prefix, 9)),
        ("prefix without tokens", no_tokens),
        ("table size 2^9", extended_header(&extension(6, true, &[9]), 9)),
        ("steering, unknown kind", extended_header(&extension(8, true, &[9]), 9)),
        ("steering, no vectors", extended_header(&extension(8, true, &[0, 0, 1]), 9)),
        ("steering, 65 vectors", extended_header(&extension(8, true, &[0, 65, 1]), 9)),
        ("steering, trailing bytes", extended_header(&extension(8, true, &[0, 3, 7, 0]), 9)),
        ("steering, label cut off", extended_header(&steering_label, 9)),
        ("steering, carried, damaged", extended_header(&extension(8, true, &[2, 0, 1, 2, 3]), 9)),
        ("learning, unknown kind", extended_header(&extension(10, true, &[3, 9, 1]), 9)),
        ("learning, tokens out of range", extended_header(&extension(10, true, &[0, 13, 1]), 9)),
        ("learning, rate 0", extended_header(&extension(10, true, &[0, 9, 0]), 9)),
        ("learning, trailing bytes", extended_header(&extension(10, true, &[0, 9, 1, 0]), 9)),
        ("adapter, label cut off", extended_header(&adapter_label, 9)),
        ("adapter, trailing bytes", extended_header(&adapter_trailing, 9)),
        ("no model for a chunk that runs one", single(0x80, 1 << 6, &[9, 3], b"xyz")),
        ("adaptive with two lanes", coded(0xC1, &[20 << 2, 0, 0, 0, 0, 0])),
        ("adaptive parameters unknown", coded(0xC0, &[9 << 2 | 3, 0, 0, 0, 0, 0])),
        ("payload of nothing but zeros", coded(0xC0, &[20 << 2, 0, 0, 0, 0, 0])),
    ]
}

/// An archive of one chunk of 100 plain bytes that it claims for `payload`.
fn coded(tag: u8, payload: &[u8]) -> Vec<u8> {
    let header = chunk_header(tag, &[100, payload.len() as u64], payload);
    let frame_len = (header.len() + payload.len()) as u64;
    let index = index(1, &[(tag, frame_len, 100)]);
    let footer = footer(b"", index.len() as u32);
    [&long_header(100)[..], &header, payload, &index, &footer].concat()
}

/// Archives of a later release, or of models that are not here.
fn newer() -> Vec<Case> {
    let case = |name: &str, reason: &str, archive: Vec<u8>| {
        (format!("unsupported-{name}"), reason.to_owned(), archive)
    };
    let version = |version: u8| {
        let mut archive = long(9, &[b"abc"]);
        archive[4] = version;
        archive
    };
    let mut single_2 = single(0x81, 0, &[1], b"a");
    single_2[4] = 0x21;
    let with_extension = [&extension(98, true, b"x")[..], &[0, 1]].concat();
    let with_extension = single_of(&[&[0xC1][..], &with_extension].concat(), b"a");
    let method_9 = single_of(&[0x80, 9 - 2, 0, 9, 3], b"xyz");
    let foreign = [
        &digest_header([7; 32], 5, b"other")[..],
        &coded(1 << 6, b"xyz")[long_header(100).len()..],
    ];
    vec![
        case("format-0", "format version 0 never was", version(0x01)),
        case("format-2", "a later format", version(0x21)),
        case("format-2-single", "a later format in single form", single_2),
        case("numerics-2", "a later numerics", version(0x12)),
        case("extension-98", "must be understood", extended_header(&extension(98, true, b"x"), 9)),
        case("extension-98-single", "the same in single form", with_extension),
        case("method-9", "a method of a later release", method_9),
        case(
            "model-code-62",
            "a compiled-in model of a later release",
            single(0xBE, 1 << 6, &[9, 3], b"xyz"),
        ),
        case("model-by-digest", "a model that is nowhere", foreign.concat()),
    ]
}
