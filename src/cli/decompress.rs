//! Decompression of one input.

use super::compress::voice_of_summary;
use super::input::{Input, OpenInput};
use super::names::without_suffix;
use super::output::Output;
use super::progress::ProgressCounter;
use super::recover;
use super::session::CliSession;
use super::size::grouped;
use super::transfer::Transfer;
use crate::archive::{self, ModelSource, Options, StreamInfo};
use anyhow::{Context, Result};
use std::io::Seek;

/// Decompresses `input` to `output`.
///
/// # Errors
/// I/O errors; those of the archive.
pub fn decompress(
    session: &CliSession,
    input: &Input,
    options: &Options,
    output: &Output,
    keep_going: bool,
) -> Result<()> {
    let suffix = &output.suffix;
    let transfer = Transfer::new(input, output, |path| {
        without_suffix(path, suffix).with_context(|| {
            format!("does not end in {suffix}; -o names the output, -c writes to standard output")
        })
    })?;
    let total = look_ahead(session, &transfer.input)?;
    if keep_going {
        return recover::decompress(session, &transfer, options, total);
    }
    let progress = ProgressCounter::new(
        transfer.progress(session.progress),
        session.voice,
        &transfer.name,
        total,
    );
    let summary = transfer.run(|input, output| {
        archive::decompress(input, output, &session.models, options, &|n| progress.add(n))
    })?;
    let elapsed_s = progress.finish();
    if session.voice >= voice_of_summary(&transfer) {
        let target = transfer.target().unwrap_or("(stdout)".into());
        let (from, to) = (grouped(summary.archive_len), grouped(summary.plain_len));
        say!("{} -> {target}: {from} -> {to} bytes, {elapsed_s:.1} s", transfer.name);
    }
    Ok(())
}

/// Looks through the archive, where that can be done before it is read: loads the models that it
/// needs, the first one last, which is kept, and returns the plain bytes that its index promises.
///
/// # Errors
/// I/O errors; ModelMissing, so that no output begins that cannot be completed.
pub fn look_ahead(session: &CliSession, input: &OpenInput) -> Result<Option<u64>> {
    let mut file = &input.file;
    if input.metadata.is_none() || file.stream_position()? != 0 {
        return Ok(None);
    }
    let streams = archive::list(file).ok();
    file.rewind()?;
    let Some(streams) = streams else { return Ok(None) };
    let needed = streams.iter().rev().filter(|stream| stream.needs_model());
    for model in needed.filter_map(|stream| stream.model.as_ref()) {
        session.models.find(model)?;
    }
    Ok(Some(streams.iter().map(StreamInfo::plain_len).sum()))
}
