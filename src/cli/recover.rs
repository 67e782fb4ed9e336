//! `--keep-going`: recovery of the intact parts of a damaged archive, with a line per damaged
//! place.

use super::exit::DamageError;
use super::input::{InputFile, spool};
use super::session::CliSession;
use super::size::counted;
use super::transfer::{Completeness, Transfer};
use crate::ErrorKind;
use crate::archive::{self, Damage, Options, Recovery, Summary};
use anyhow::Result;
use std::io::{Seek, Write};

/// Decompresses the intact parts.
///
/// # Errors
/// I/O errors; DamageError, after the intact content is written.
pub fn decompress(
    session: &CliSession,
    transfer: &Transfer<'_>,
    options: &Options,
    total: Option<u64>,
) -> Result<()> {
    transfer.refuse_part()?;
    let style = transfer.progress(session.progress);
    let progress = session.counter(&transfer.name, style, total);
    let copy = |input: &InputFile, output: &mut dyn Write| {
        recover(session, input, output, options, &|n| progress.add(n))
    };
    let recovery = transfer.run_as(copy, |recovery| match recovery.damage.is_empty() {
        true => Completeness::Complete,
        false if recovery.summary.plain_len == 0 => Completeness::Nothing,
        false => Completeness::Partial,
    })?;
    let elapsed_s = progress.finish();
    let kept = match recovery.summary.plain_len {
        0 => ", nothing was recovered".into(),
        _ => format!(", written to {}", transfer.target_of_part().unwrap_or("(stdout)".into())),
    };
    report_damage(&transfer.name, &recovery.summary, recovery.damage, &kept)?;
    if session.voice >= transfer.voice_of_summary() {
        let target = transfer.target().unwrap_or("(stdout)".into());
        let bytes = counted(recovery.summary.plain_len, "byte");
        say!("{} -> {target}: {bytes}, no damage, {elapsed_s:.1} s", transfer.name);
    }
    Ok(())
}

/// Writes the intact parts of `input` to `output`. A pipe is spooled to a temporary file first:
/// recovery reads from both ends.
///
/// # Errors
/// I/O errors; errors of the archive other than damage.
pub fn recover(
    session: &CliSession,
    mut input: &InputFile,
    output: &mut dyn Write,
    options: &Options,
    progress: archive::Progress<'_>,
) -> crate::Result<Recovery> {
    if input.stream_position().is_ok_and(|position| position == 0) {
        return archive::recover(input, output, &session.models, options, progress);
    }
    let spooled = spool(input).map_err(|e| crate::Error::io("cannot spool the input", e))?;
    archive::recover(&spooled, output, &session.models, options, progress)
}

/// Reports damage; `kept` says where the rest is.
///
/// # Errors
/// DamageError, where there is damage.
pub fn report_damage(name: &str, summary: &Summary, damage: Vec<Damage>, kept: &str) -> Result<()> {
    for damage in &damage {
        say!("llmzip: {name}: {damage}");
    }
    let kinds = || damage.iter().map(|damage| damage.error.kind());
    let is_damage = |kind: &ErrorKind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Truncated);
    let Some(kind) = kinds().find(is_damage).or(kinds().next()) else { return Ok(()) };
    let (chunks, bytes) = (summary.n_chunks, counted(summary.plain_len, "byte"));
    let message =
        format!("damaged places: {}; intact chunks: {chunks}, {bytes}{kept}", damage.len());
    Err(DamageError { kind, message, damage }.into())
}
