//! `--keep-going`: what is saved of a damaged archive, under which name, and what is said.

use crate::handmade;
use crate::handmade::{chunk_header, footer, index, long, long_header, stored};
use crate::joined::{Damaged, Joined};
use crate::random::Random;
use crate::shell::Shell;
use llmzip::archive::{self, BuiltinModels, ModelName, ModelSource, Options, Recovery};
use llmzip::models::Model;
use llmzip::ops::Isa;
use llmzip::{ErrorKind, Result};
use serde_json::{Value, json};
use std::io::Cursor;
use std::sync::Arc;

/// Three stored chunks in long form, and where the payload of each begins.
fn three() -> (Vec<u8>, [usize; 3]) {
    let archive = long(9, &[b"first", b"second", b"third"]);
    let at = |plain: &[u8]| archive.windows(plain.len()).position(|w| w == plain).unwrap();
    let places = [at(b"first"), at(b"second"), at(b"third")];
    (archive, places)
}

/// [`three`] with one byte of the second chunk changed.
fn damaged() -> Vec<u8> {
    let (mut archive, places) = three();
    archive[places[1]] ^= 1;
    archive
}

fn recover(archive: &[u8]) -> (Vec<u8>, Result<Recovery>) {
    let models = BuiltinModels::new(Isa::detect());
    let (mut plain, options) = (Vec::new(), Options::default());
    let result = archive::recover(Cursor::new(archive), &mut plain, &models, &options, &|_| ());
    (plain, result)
}

/// What is recovered of `archive`, and what is said.
fn recovered(archive: &[u8]) -> (String, Vec<String>) {
    let (plain, result) = recover(archive);
    let said = result.unwrap().damage.iter().map(|damage| damage.to_string()).collect();
    (String::from_utf8(plain).unwrap(), said)
}

#[test]
fn a_good_archive_has_no_damage() {
    let joined = [three().0, long(9, &[]), handmade::single(0x81, 0, &[1], b"a")].concat();
    assert_eq!(recovered(&joined), ("firstsecondthirda".into(), vec![]));
}

#[test]
fn what_is_missing_is_named() {
    let (plain, said) = recovered(&damaged());
    assert_eq!(plain, "firstthird");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("chunk 1: bytes 5 to 10 of the content are missing: "), "{said:?}");
    assert!(said[0].contains("the payload's CRC"), "{said:?}");
    let (plain, said) = recovered(&[damaged(), damaged()].concat());
    assert_eq!(plain, "firstthirdfirstthird");
    assert!(said[0].starts_with("stream 0, chunk 1: bytes 5 to 10 "), "{said:?}");
    assert!(said[1].starts_with("stream 1, chunk 1: bytes 21 to 26 "), "{said:?}");
}

#[test]
fn several_places_are_named_by_the_index() {
    let (mut archive, places) = three();
    archive[places[0] - 1] ^= 1; // the headers' checksums
    archive[places[2] - 1] ^= 1;
    let (plain, said) = recovered(&archive);
    assert_eq!(plain, "second");
    assert!(said[0].starts_with("chunk 0: bytes 0 to 4 of"), "{said:?}");
    assert!(said[1].starts_with("chunk 2: bytes 11 to 15 of"), "{said:?}");
}

/// What a reader refuses is damage, even where all of the content is there.
#[test]
fn an_archive_with_all_chunks_may_be_damaged() {
    let (archive, places) = three();
    let starts = places.map(|place| place - chunk_header(0, &[5], b"first").len());
    let end = archive.len() - 44 - index(3, &[(0, 20, 5), (0, 21, 6), (0, 20, 5)]).len();
    let inserted = [starts[0], starts[1], starts[2], end];
    let inserted = inserted.map(|at| [&archive[..at], b">", &archive[at..]].concat());
    let no_index = [&archive[..end], &footer(b"firstsecondthird", 0)].concat();
    let long_chunk = [&long_header(5)[..], &archive[long_header(9).len()..]].concat();
    for damaged in inserted.into_iter().chain([no_index, long_chunk]) {
        let (plain, said) = recovered(&damaged);
        assert_eq!(plain, "firstsecondthird", "{said:?}");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("no content is missing: "), "{said:?}");
    }
}

/// The header's byte that names a compiled-in model.
const MODEL: usize = 5;

#[test]
fn a_lost_header_costs_no_chunk_of_the_compiled_in_model() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/good-1-chunks.llmz");
    let mut archive = std::fs::read(path).unwrap();
    let (whole, result) = recover(&archive);
    assert!(result.unwrap().damage.is_empty());
    archive[MODEL] ^= 1;
    let (plain, result) = recover(&archive);
    let said: Vec<_> = result.unwrap().damage.iter().map(ToString::to_string).collect();
    assert_places(&said, &["no content is missing: damaged before offset "]);
    assert!(plain == whole);
}

/// What is decoded only to find the model is within `--max-output`, too: found by fuzzing.
#[test]
fn a_lost_header_does_not_lift_the_limit() {
    struct Unasked;
    impl ModelSource for Unasked {
        fn find(&self, wanted: &ModelName) -> Result<Arc<Model>> {
            panic!("{wanted:?} was asked for")
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/good-1-chunks.llmz");
    let mut archive = std::fs::read(path).unwrap();
    archive[MODEL] ^= 1;
    let options = Options::default().max_output(10);
    let result =
        archive::recover(Cursor::new(archive), std::io::sink(), &Unasked, &options, &|_| ());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn bytes_lost_or_added_cost_one_chunk() {
    let (archive, places) = three();
    for at in places[1] - 10..places[1] + 6 {
        let shorter = [&archive[..at], &archive[at + 1..]].concat();
        let longer = [&archive[..at], b"x", &archive[at..]].concat();
        for changed in [shorter, longer] {
            let (plain, said) = recovered(&changed);
            assert_eq!(plain, "firstthird", "at {at}: {said:?}");
            assert!(said[0].starts_with("chunk 1: bytes 5 to 10 of"), "at {at}: {said:?}");
        }
    }
}

#[test]
fn a_cut_archive_gives_what_is_there() {
    let (archive, places) = three();
    let (plain, said) = recovered(&archive[..places[2] + 1]);
    assert_eq!(plain, "firstsecond");
    assert!(said[0].starts_with("chunk 2: bytes 11 to 15 of the content are missing"), "{said:?}");
    assert!(said[1].contains("content may be missing from byte 16 on"), "{said:?}");
    assert_eq!(said.len(), 2, "{said:?}");
    let joined = [&archive[..places[2] + 1], &archive].concat();
    let (plain, said) = recovered(&joined);
    assert_eq!(plain, "firstsecondfirstsecondthird");
    assert_places(
        &said,
        &[
            "stream 0, chunk 2: bytes 11 to 15 of the content are missing: ",
            "stream 0: content may be missing from byte 16 on: the stream breaks off at offset ",
        ],
    );
}

/// Asserts that each line of `said` begins as it should.
fn assert_places(said: &[String], expected: &[&str]) {
    let are_right = said.iter().zip(expected).all(|(said, expected)| said.starts_with(expected));
    assert!(are_right && said.len() == expected.len(), "{said:#?}, expected {expected:#?}");
}

/// It may have had any number of chunks more.
#[test]
fn after_a_stream_that_is_cut_no_place_is_known() {
    let (archive, places) = three();
    let third = places[2] - chunk_header(0, &[5], b"third").len();
    let (plain, said) = recovered(&[&archive[..third], &damaged(), &damaged()].concat());
    assert_eq!(plain, "firstsecondfirstthirdfirstthird");
    assert_places(
        &said,
        &[
            "stream 0: content may be missing from byte 11 on: the stream breaks off at offset ",
            "stream 1, chunk 1: 6 bytes of the content are missing: ",
            "stream 2, chunk 1: 6 bytes of the content are missing: ",
        ],
    );
}

/// Their number is lost with them.
#[test]
fn chunks_before_the_first_that_is_found_may_be_missing() {
    let (archive, places) = three();
    let mut damaged = archive.clone();
    damaged[8] ^= 1; // the header's checksum
    damaged[places[0] - 1] ^= 1; // that of the first chunk's
    let (plain, said) = recovered(&damaged[..places[2] + 5]);
    assert_eq!(plain, "secondthird");
    let expected = [
        "content may be missing from byte 0 on: damaged before offset 11: the header's CRC",
        "content may be missing: the stream breaks off at offset ",
    ];
    assert_places(&said, &expected);
    damaged[places[1]] ^= 1;
    let (plain, said) = recovered(&damaged[..places[2] + 5]);
    assert_eq!(plain, "third");
    assert_places(&said, &[expected[0], "6 bytes of the content are missing: ", expected[1]]);
    // The index knows them.
    let (plain, said) = recovered(&damaged);
    assert_eq!(plain, "third");
    let expected = [
        "no content is missing: damaged before offset 11: the header's CRC",
        "chunk 0: bytes 0 to 4 of the content are missing: it is not where the index says",
        "chunk 1: bytes 5 to 10 of the content are missing: ",
    ];
    assert_places(&said, &expected);
}

/// Bytes lost over two chunks leave one header.
#[test]
fn chunks_after_one_of_another_length_may_be_missing() {
    let (archive, places) = three();
    let shorter = [&archive[..places[0] + 2], &archive[places[1] - 3..places[2] + 5]].concat();
    let (plain, said) = recovered(&shorter);
    assert_eq!(plain, "third");
    let expected = [
        "chunk 0: bytes 0 to 4 of the content are missing: ",
        "content may be missing from byte 5 on: nothing known follows at offset ",
        "content may be missing: the stream breaks off at offset ",
    ];
    assert_places(&said, &expected);
}

#[test]
fn an_index_of_other_chunks_says_nothing_of_those_that_are_there() {
    let chunks: [&[u8]; 3] = [b"equal", b"chunk", b"sizes"];
    let archive = long(5, &chunks);
    let frame_len = stored(b"equal").len();
    let first = long_header(5).len();
    let without_second =
        [&archive[..first + frame_len], &archive[first + 2 * frame_len..]].concat();
    let (plain, said) = recovered(&without_second);
    assert_eq!(plain, "equalsizes");
    let disagrees = "content may be missing from byte 0 on: the index disagrees with the chunks";
    assert_places(&said, &[disagrees]);
    // As much lost over two of them.
    let shorter = [&archive[..first + 16], &archive[first + 16 + frame_len..]].concat();
    let (plain, said) = recovered(&shorter);
    assert_eq!(plain, "sizes");
    assert_places(&said, &["5 bytes of the content are missing: ", disagrees]);
}

/// Where the end of a stream and the next one's header are lost, both look like one.
#[test]
fn of_streams_that_run_together_no_chunk_is_lost() {
    let archive = long(5, &[b"equal", b"chunk", b"sizes"]);
    let mut joined = [&archive[..], &long(5, &[b"other", b"bytes"])].concat();
    let end = archive.len();
    for at in [end - 50, end - 1, end + 8] {
        joined[at] ^= 1; // index, footer, header
    }
    let (plain, said) = recovered(&joined);
    assert_eq!(plain, "equalchunksizesotherbytes");
    assert!(said.iter().all(|line| line.starts_with("content may be missing")), "{said:#?}");
}

/// Whatever is done to joined archives, no good chunk is left out, and what is said holds. Only where what
/// is left of several chunks or streams happens to have the length of one, it looks like one: that is rare.
#[test]
fn all_that_is_said_of_damaged_archives_is_true() {
    let mut random = Random::new(1);
    let cases = if cfg!(debug_assertions) { 4_000 } else { 8_000 };
    let mut lies = Vec::new();
    for case in 0..cases {
        let joined = Joined::any(&mut random);
        let Damaged { archive, done, intact } = joined.damaged(&mut random);
        let (plain, result) = recover(&archive);
        let Ok(Recovery { damage, .. }) = result else {
            assert!(intact.is_empty(), "case {case}: {done:?}: {result:?}");
            continue;
        };
        let describe = |wrong: String| {
            let said: Vec<_> = damage.iter().map(ToString::to_string).collect();
            format!("case {case}: {wrong}: {done:?} to {joined:?}: {said:#?}")
        };
        let missing = joined.missing(&plain, &intact);
        let checked = missing.and_then(|missing| joined.check_places(missing, &damage));
        lies.extend(checked.err().map(describe));
    }
    println!("{} of {cases} archives look like what they are not", lies.len());
    assert!(lies.len() * 4_000 <= cases, "{}:\n{}", lies.len(), lies.join("\n"));
}

#[test]
fn without_header_or_index_the_chunks_are_still_found() {
    let (archive, places) = three();
    let first_chunk = long_header(9).len();
    let (plain, said) = recovered(&archive[first_chunk..]);
    assert_eq!(plain, "firstsecondthird");
    let start = "content may be missing from byte 0 on: not an archive";
    assert_places(&said, &[start]); // another stream may have been before it
    let end = places[2] + 5;
    let mut no_index = archive.clone();
    no_index[end + 1] ^= 1;
    let (plain, said) = recovered(&no_index);
    assert_eq!(plain, "firstsecondthird");
    assert!(said[0].starts_with("no content is missing"), "the hash shows it: {said:?}");
    let neither = &archive[first_chunk..end];
    let (plain, said) = recovered(neither);
    assert_eq!(plain, "firstsecondthird");
    assert_places(&said, &[start, "content may be missing: the stream breaks off at offset "]);
}

#[test]
fn an_archive_inside_a_lost_chunk_is_not_taken_for_a_part_of_it() {
    let inner = long(9, &[b"inner"]);
    let mut archive = long(200, &[b"first", &inner, b"third"]);
    let place = archive.windows(inner.len()).position(|window| window == inner).unwrap();
    archive[place - 1] ^= 1; // the header's checksum
    let (plain, said) = recovered(&archive);
    assert_eq!(plain, "firstthird", "{said:?}");
    assert!(said[0].starts_with("chunk 1: "), "{said:?}");
}

#[test]
fn checksums_that_fit_do_not_hide_wrong_content() {
    for (name, archive) in handmade::lying() {
        let (plain, said) = recovered(&archive);
        assert_eq!(plain, "abc", "{name}");
        let expected = match name {
            "content" => "content may be missing from byte 0 on: the content's hash differs",
            _ => "no content is missing: the index disagrees with the chunks",
        };
        assert_places(&said, &[expected]);
    }
    let header = chunk_header(3 << 6, &[9, 1], b"x");
    let frame_len = header.len() as u64 + 1;
    let index = index(1, &[(3 << 6, frame_len, 9)]);
    let footer = footer(b"123456789", index.len() as u32);
    let archive = [&long_header(9)[..], &header, b"x", &index, &footer].concat();
    let (plain, said) = recovered(&archive);
    assert_eq!(plain, "");
    assert!(said[0].starts_with("chunk 0: bytes 0 to 8 of"), "{said:?}");
}

#[test]
fn strangers_are_refused_as_ever() {
    for (stranger, kind) in [
        (&b""[..], ErrorKind::Truncated),
        (b"hello, world", ErrorKind::NotAnArchive),
        (b"\x9cL\r\n\x21\x82", ErrorKind::Unsupported),
    ] {
        assert_eq!(recover(stranger).1.unwrap_err().kind(), kind);
    }
    for (name, archive) in handmade::hostile() {
        let (_, result) = recover(&archive);
        assert!(result.is_err() || !result.unwrap().damage.is_empty(), "{name}");
    }
}

#[test]
fn chunks_of_a_good_archive_inside_junk_are_found() {
    let chunk = stored(b"plain");
    let (plain, said) = recovered(&[b"junk junk", &chunk[..], b"more junk"].concat());
    assert_eq!(plain, "plain");
    let expected = [
        "content may be missing from byte 0 on: not an archive",
        "content may be missing: damaged before offset ",
        "content may be missing: the stream breaks off at offset ",
    ];
    assert_places(&said, &expected);
}

#[test]
fn a_damaged_file_becomes_a_file_with_another_name() {
    let shell = Shell::new();
    shell.write("a.llmz", &damaged());
    let ended = shell.run(&["-d", "--keep-going", "--rm", "a.llmz"]).expect(4);
    let ended = ended.saying("a.llmz: chunk 1: bytes 5 to 10 of the content are missing");
    ended.saying("a.recovered");
    assert_eq!(shell.names(), ["a.llmz", "a.recovered"]);
    assert_eq!(shell.read("a.recovered"), b"firstthird");
    shell.run(&["-d", "--keep-going", "a.llmz"]).expect(1).saying("a.recovered: exists already");
    shell.write("a.recovered", b"");
    shell.run(&["decompress", "--keep-going", "-f", "a.llmz"]).expect(4);
    assert_eq!(shell.read("a.recovered"), b"firstthird");
}

#[test]
fn a_good_file_becomes_what_it_always_does() {
    let shell = Shell::new();
    shell.write("a.llmz", &three().0);
    shell.run(&["-d", "--keep-going", "--rm", "a.llmz"]).expect(0);
    assert_eq!(shell.names(), ["a"]);
    assert_eq!(shell.read("a"), b"firstsecondthird");
}

#[test]
fn a_name_that_was_asked_for_is_given_and_pipes_work() {
    let shell = Shell::new();
    shell.write("a.llmz", &damaged());
    shell.run(&["-d", "--keep-going", "-o", "b", "a.llmz"]).expect(4);
    assert_eq!(shell.read("b"), b"firstthird");
    assert_eq!(shell.run(&["-dc", "--keep-going", "a.llmz"]).expect(4).stdout, b"firstthird");
    let ended = shell.pipe(&["-d", "--keep-going"], &damaged()).expect(4).saying("chunk 1");
    assert_eq!(ended.stdout, b"firstthird");
    let ended = shell.redirect(&["-d", "--keep-going"], "a.llmz").expect(4).saying("chunk 1");
    assert_eq!(ended.stdout, b"firstthird");
}

#[test]
fn where_nothing_is_good_there_is_no_file() {
    let shell = Shell::new();
    let mut archive = long(9, &[b"only"]);
    let place = archive.windows(4).position(|window| window == b"only").unwrap();
    archive[place] ^= 1;
    shell.write("a.llmz", &archive);
    shell.run(&["-d", "--keep-going", "a.llmz"]).expect(4).saying("nothing");
    shell.write("b.llmz", b"no archive");
    shell.run(&["-d", "--keep-going", "b.llmz"]).expect(4).saying("not an archive");
    assert_eq!(shell.names(), ["a.llmz", "b.llmz"]);
}

#[test]
fn tests_name_every_damage() {
    let shell = Shell::new();
    let (mut archive, places) = three();
    archive[places[0]] ^= 1;
    archive[places[2]] ^= 1;
    shell.write("a.llmz", &archive);
    let ended = shell.run(&["-t", "--keep-going", "a.llmz"]).expect(4);
    ended.saying("chunk 0: bytes 0 to 4").saying("chunk 2: bytes 11 to 15");
    shell.write("b.llmz", &three().0);
    shell.run(&["-t", "--keep-going", "b.llmz"]).expect(0).saying("good, 3 chunks, 16 bytes");
    assert_eq!(shell.names(), ["a.llmz", "b.llmz"]);
}

#[test]
fn one_chunk_and_one_byte_are_singular() {
    let shell = Shell::new();
    shell.write("one.llmz", &long(9, &[b"x"]));
    for arguments in [&["-t"][..], &["-t", "--keep-going"]] {
        let ended = shell.run(&[arguments, &["one.llmz"]].concat()).expect(0);
        ended.saying("good, 1 chunk, 1 byte, ");
    }
}

#[test]
fn damage_is_told_to_programs() {
    let shell = Shell::new();
    let (mut archive, places) = three();
    archive[places[1]] ^= 1;
    shell.write("a.llmz", &archive);
    shell.write("good.llmz", &three().0);
    shell.write("junk.llmz", &[&three().0[..], b"junk"].concat());
    let arguments = ["-t", "--keep-going", "--json", "a.llmz", "good.llmz", "junk.llmz", "none"];
    let ended = shell.run(&arguments).expect(4).saying("a.llmz: chunk 1: bytes 5 to 10 ");
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(document["files"].as_array().unwrap().len(), 1);
    assert_eq!(document["files"][0]["name"], "good.llmz");
    let [damaged, junk, none] = &document["errors"].as_array().unwrap()[..] else { panic!() };
    let mut places = damaged["damage"].as_array().unwrap().clone();
    assert!(places[0]["error"].take().as_str().unwrap().contains("the payload's CRC"));
    let place = json!({
        "stream": 0, "chunk": 1, "missing_offset": 5, "missing_len": 6, "error": null
    });
    assert_eq!(places, [place]);
    let place = &junk["damage"][0];
    assert_eq!((&place["stream"], &place["chunk"]), (&json!(1), &Value::Null));
    assert_eq!((&place["missing_offset"], &place["missing_len"]), (&json!(16), &Value::Null));
    assert_eq!(none.get("damage"), None);
}

#[test]
fn limits_and_junk_have_their_exit_codes() {
    let shell = Shell::new();
    shell.pipe(&["-d", "--keep-going", "--max-output", "9"], &damaged()).expect(5);
    shell.pipe(&["-t", "--keep-going", "--max-output", "9"], &damaged()).expect(5);
    // Each is below the limit, and comes to nothing.
    let vain = handmade::single(0x81, 3 << 6, &[9, 1], b"x").repeat(3);
    shell.pipe(&["-t", "--keep-going", "--max-output", "20"], &vain).expect(5);
    let junk = [&three().0[..], b"junk"].concat();
    shell.pipe(&["-t", "--keep-going"], &junk).expect(1).saying("are not an archive");
}
