//! `--keep-going`: all of a damaged archive that is not damaged, and a line for each place that is.

use super::Session;
use super::compress::voice_of_summary;
use super::exit::DamageError;
use super::input::{OpenInput, name_of};
use super::json::TestedFile;
use super::plan::{Input, Voice};
use super::progress::Progress;
use super::size::grouped;
use super::transfer::{Outcome, Transfer};
use anyhow::Result;
use llmzip::ErrorKind;
use llmzip::archive::{self, DecompressOptions, Recovery};
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};

/// Decompresses what is not damaged.
///
/// # Errors
/// The system's; DamageError, after the undamaged content is where it goes.
pub fn decompress(
    session: &Session,
    transfer: &Transfer<'_>,
    options: &DecompressOptions,
    total: Option<u64>,
) -> Result<()> {
    transfer.refuse_existing_part()?;
    let progress = Progress::new(session.progress, session.voice, &transfer.name, total);
    let copy = |input: &File, output: &mut dyn Write| {
        recover(session, input, output, options, &|n| progress.add(n))
    };
    let recovery = transfer.run_as(copy, |recovery| match recovery.damage.is_empty() {
        true => Outcome::Complete,
        false if recovery.summary.plain_len == 0 => Outcome::Nothing,
        false => Outcome::Partial,
    })?;
    let elapsed_s = progress.finish();
    let kept = match recovery.summary.plain_len {
        0 => ", nothing is kept".into(),
        _ => format!(", kept in {}", transfer.target_of_part().unwrap_or("(stdout)".into())),
    };
    report_damage(&transfer.name, &recovery, &kept)?;
    if session.voice >= voice_of_summary(transfer) {
        let target = transfer.target().unwrap_or("(stdout)".into());
        let plain_len = grouped(recovery.summary.plain_len);
        say!("{} -> {target}: {plain_len} bytes, no damage, {elapsed_s:.1} s", transfer.name);
    }
    Ok(())
}

/// Tests every chunk.
///
/// # Errors
/// The system's; DamageError.
pub fn test(
    session: &Session,
    input: &Input,
    options: &DecompressOptions,
    json: bool,
) -> Result<TestedFile> {
    let name = name_of(input);
    let input = OpenInput::open(input, false, true)?;
    let total = super::decompress::look_ahead(session, &input)?;
    let progress = Progress::new(session.progress, session.voice, &name, total);
    let tell = |n| progress.add(n);
    let recovery = recover(session, &input.file, &mut io::sink(), options, &tell)?;
    let elapsed_s = progress.finish();
    report_damage(&name, &recovery, "")?;
    let summary = recovery.summary;
    if session.voice > Voice::Quiet && !json {
        let (chunks, bytes) = (summary.n_chunks, grouped(summary.plain_len));
        say!("{name}: good, {chunks} chunks, {bytes} bytes, {elapsed_s:.1} s");
    }
    Ok(TestedFile::new(name, &summary, elapsed_s))
}

/// A pipe is first put into a file without a name: damage is looked at from both ends.
fn recover(
    session: &Session,
    input: &File,
    output: &mut dyn Write,
    options: &DecompressOptions,
    progress: archive::Progress<'_>,
) -> llmzip::Result<Recovery> {
    let spooled;
    let mut file = input;
    if !file.stream_position().is_ok_and(|position| position == 0) {
        spooled = spool(input).map_err(|e| llmzip::Error::io("cannot spool the input", e))?;
        file = &spooled;
    }
    archive::recover(file, output, &session.models, options, progress)
}

fn spool(mut input: &File) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut BufReader::new(&mut input), &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Says what is damaged.
///
/// # Errors
/// DamageError, where anything is.
fn report_damage(name: &str, recovery: &Recovery, kept: &str) -> Result<()> {
    let Recovery { summary, damage } = recovery;
    for damage in damage {
        say!("llmzip: {name}: {damage}");
    }
    let kinds = || damage.iter().map(|damage| damage.error.kind());
    let is_damage = |kind: &ErrorKind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Truncated);
    let Some(kind) = kinds().find(is_damage).or(kinds().next()) else { return Ok(()) };
    let (places, chunks, bytes) = (damage.len(), summary.n_chunks, grouped(summary.plain_len));
    let message = format!("damaged places: {places}; good chunks: {chunks}, {bytes} bytes{kept}");
    Err(DamageError { kind, message }.into())
}
