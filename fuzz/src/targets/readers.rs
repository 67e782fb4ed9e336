//! What must hold of all ways to read one archive.

use crate::handmade::golden::{accepted, refused};
use llmzip::archive::{self, ModelSource, Options, Recovery, StreamInfo, Summary};
use llmzip::{ErrorKind, Result};
use std::io::Cursor;

/// Most plain bytes that a case may give: more would only be slow.
const MAX_OUTPUT: u64 = 1024;

fn decompress(
    archive: &[u8],
    models: &dyn ModelSource,
    threads: usize,
) -> (Vec<u8>, Result<Summary>) {
    let (mut plain, options) = (Vec::new(), options(threads));
    let result = archive::decompress(archive, &mut plain, models, &options, &|_| ());
    (plain, result)
}

fn options(threads: usize) -> Options {
    Options::default().threads(threads).max_output(MAX_OUTPUT)
}

/// Reads `archive` in every way, and compares what comes out.
pub fn check(archive: &[u8], models: &dyn ModelSource) {
    let listed = archive::list(Cursor::new(archive));
    let (plain, result) = decompress(archive, models, 1);
    let (by_threads, other) = decompress(archive, models, 3);
    let mut recovered = Vec::new();
    let recovery =
        archive::recover(Cursor::new(archive), &mut recovered, models, &options(2), &|_| ());
    assert!(plain.len() as u64 <= MAX_OUTPUT && recovered.len() as u64 <= MAX_OUTPUT);

    let kind = |result: &Result<Summary>| result.as_ref().map_err(|e| e.kind()).copied();
    assert_eq!(kind(&result), kind(&other), "threads decide");
    match &result {
        Ok(summary) => {
            assert!(by_threads == plain, "threads decide");
            let streams = listed.expect("what decompresses can be listed");
            check_list(&streams, &plain, summary, archive, models);
            let recovery = recovery.expect("what decompresses is recovered");
            assert!(recovery.damage.is_empty(), "{:?}", recovery.damage);
            assert_eq!(recovery.summary, *summary);
            assert!(recovered == plain);
        }
        Err(error) => {
            check_recovery(recovery, error.kind());
            // Chunks before one whose model is missing come out by batches.
            if error.kind() != ErrorKind::ModelMissing {
                assert!(by_threads == plain, "threads decide: {error}");
            }
        }
    }
}

/// What is listed of an archive that decompressed is what came out.
fn check_list(
    streams: &[StreamInfo],
    plain: &[u8],
    summary: &Summary,
    archive: &[u8],
    models: &dyn ModelSource,
) {
    assert_eq!(streams.len() as u64, summary.n_streams);
    let end = streams.iter().map(|stream| stream.archive_len).sum::<u64>() as usize;
    assert!(archive[end..].iter().all(|&byte| byte == 0), "more than padding follows");
    let chunks = streams.iter().map(|stream| stream.chunks.len() as u64);
    assert_eq!(chunks.sum::<u64>(), summary.n_chunks);
    let mut chunks = Vec::new();
    for stream in streams {
        for chunk in 0..stream.chunks.len() {
            let read =
                archive::read_chunk(Cursor::new(archive), stream, chunk, models, &options(1));
            chunks.extend(read.expect("a listed chunk can be read"));
        }
    }
    assert!(chunks == plain, "chunks read one by one differ");
}

/// Of an archive that was refused as `kind`, something is said to be wrong.
fn check_recovery(recovery: Result<Recovery>, kind: ErrorKind) {
    if let Ok(recovery) = recovery {
        assert!(!recovery.damage.is_empty(), "recovered without damage what is {kind:?}");
        recovery.damage.iter().for_each(|damage| _ = damage.to_string());
    }
}

/// Archives that are written by hand.
pub fn seeds() -> Vec<Vec<u8>> {
    let accepted = accepted().into_iter().map(|((_, _, archive), _)| archive);
    accepted.chain(refused().into_iter().map(|(_, _, archive)| archive)).collect()
}
