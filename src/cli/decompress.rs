//! Decompression of one input.

use super::input::{Input, InputFile, OpenInput, name_of, spool};
use super::look_ahead::look_ahead;
use super::names::{SHORT_TAR, TAR, with_suffix, without_suffix};
use super::output::{Output, Target};
use super::recover;
use super::session::CliSession;
use super::size::grouped;
use super::transfer::Transfer;
use super::unpacking::unpack;
use crate::ErrorKind;
use crate::archive::{self, MAGIC, Options, Summary};
use anyhow::{Context, Result};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Part of an archive's content that is written.
#[derive(Debug)]
pub enum Part {
    Whole,
    /// All that is intact.
    Intact,
    /// The bytes from one to another.
    Range(Range<u64>),
    /// One block.
    Block(u64),
    /// The files of the directory that was packed.
    Files,
}

/// Decompresses `part` of `input` to `output`.
///
/// # Errors
/// I/O errors; those of the archive.
pub fn decompress(
    session: &CliSession,
    input: &Input,
    options: &Options,
    output: &Output,
    part: &Part,
) -> Result<()> {
    if matches!(part, Part::Files) {
        return unpack(session, input, options, output);
    }
    if let Input::File(path) = input {
        output.refuse_special(path)?;
    }
    let opened = OpenInput::open(input, output.is_beside(), output.force)?;
    let beside = opened.path.as_deref().filter(|_| output.is_beside());
    if beside.is_some_and(|path| plain_path(path, output).is_err()) {
        archive::refuse_foreign(&opened.head(MAGIC.len() as u64)?.0)?;
    }
    let transfer = Transfer::new(opened, name_of(input), output, |path| plain_path(path, output))?;
    let passes_on = output.force && output.target == Target::Stdout && matches!(part, Part::Whole);
    let (head, is_gone) = match passes_on {
        true => transfer.input.head(MAGIC.len() as u64)?,
        false => (Vec::new(), false),
    };
    if passes_on && head != MAGIC {
        return pass_on(&transfer, if is_gone { &head } else { &[] }, options.max_output);
    }
    let total = match part {
        Part::Block(_) => None, // the index tells, and is not to be read
        _ => look_ahead(session, &transfer.input)?,
    };
    let counted = match part {
        Part::Intact => return recover::decompress(session, &transfer, options, total),
        Part::Range(range) => total.map(|total| range.end.min(total).saturating_sub(range.start)),
        Part::Whole | Part::Files | Part::Block(_) => total,
    };
    let style = transfer.progress(session.progress);
    let progress = session.counter(&transfer.name, style, counted);
    let summary = transfer.run(|input, output| match part {
        Part::Range(range) => {
            write_range(session, input, range, output, options, &|n| progress.add(n))
        }
        Part::Block(block) => write_block(session, input, *block, output, options),
        _ => {
            let input = head[..if is_gone { head.len() } else { 0 }].chain(input);
            archive::decompress(input, output, &session.models, options, &|n| progress.add(n))
        }
    })?;
    let elapsed_s = progress.finish();
    if session.voice >= transfer.voice_of_summary() {
        let target = transfer.target().unwrap_or("(stdout)".into());
        let (from, to) = (grouped(summary.archive_len), grouped(summary.plain_len));
        say!("{} -> {target}: {from} -> {to} bytes, {elapsed_s:.1} s", transfer.name);
    }
    Ok(())
}

/// Returns the path beside the archive at `path`.
fn plain_path(path: &Path, output: &Output) -> Result<PathBuf> {
    let suffix = &output.suffix;
    let plain = without_suffix(path, suffix);
    plain.or_else(|| Some(with_suffix(&without_suffix(path, SHORT_TAR)?, TAR))).with_context(|| {
        format!("does not end in {suffix}; -o names the output, -c writes to standard output")
    })
}

/// Copies a file that is no archive, of which `head` was read already.
fn pass_on(transfer: &Transfer<'_>, head: &[u8], limit: Option<u64>) -> Result<()> {
    transfer.run(|input, output| {
        let failed = |e| crate::Error::io("cannot copy", e);
        let mut rest = head.chain(input);
        let limit = limit.unwrap_or(u64::MAX);
        io::copy(&mut (&mut rest).take(limit), output).map_err(failed)?;
        output.flush().map_err(failed)?;
        if rest.read(&mut [0]).map_err(failed)? > 0 {
            let message = format!("the content has more than {limit} bytes, the limit");
            return Err(crate::Error::new(ErrorKind::LimitExceeded, message));
        }
        Ok(())
    })
}

/// Writes the content of a block. A pipe is spooled to a temporary file.
fn write_block(
    session: &CliSession,
    mut input: &InputFile,
    block: u64,
    output: &mut dyn Write,
    options: &Options,
) -> crate::Result<Summary> {
    let models = &session.models;
    let block = match input.stream_position().is_ok_and(|position| position == 0) {
        true => archive::read_block(input, block, models, options)?,
        false => {
            let spooled =
                spool(input).map_err(|e| crate::Error::io("cannot spool the input", e))?;
            archive::read_block(&spooled, block, models, options)?
        }
    };
    let written = output.write_all(&block.plain).and_then(|()| output.flush());
    written.map_err(|e| crate::Error::io("cannot write the output", e))?;
    Ok(block.summary)
}

/// Writes the bytes `range` of the content. A pipe is spooled to a temporary file: the index is at its end.
fn write_range(
    session: &CliSession,
    mut input: &InputFile,
    range: &Range<u64>,
    output: &mut dyn Write,
    options: &Options,
    progress: archive::Progress<'_>,
) -> crate::Result<Summary> {
    let (range, models) = (range.clone(), &session.models);
    if input.stream_position().is_ok_and(|position| position == 0) {
        return archive::read_range(input, range, output, models, options, progress);
    }
    let spooled = spool(input).map_err(|e| crate::Error::io("cannot spool the input", e))?;
    archive::read_range(&spooled, range, output, models, options, progress)
}
