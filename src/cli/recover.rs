//! `--keep-going`: all of a damaged archive that is not damaged, and a line for each place that is.

use super::compress::voice_of_summary;
use super::exit::DamageError;
use super::input::spool;
use super::progress::ProgressCounter;
use super::session::Session;
use super::size::counted;
use super::transfer::{Completeness, Transfer};
use crate::ErrorKind;
use crate::archive::{self, Damage, DecompressOptions, Recovery, Summary};
use anyhow::Result;
use std::fs::File;
use std::io::{Seek, Write};

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
    transfer.refuse_part()?;
    let progress = ProgressCounter::new(
        transfer.progress(session.progress),
        session.voice,
        &transfer.name,
        total,
    );
    let copy = |input: &File, output: &mut dyn Write| {
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
    if session.voice >= voice_of_summary(transfer) {
        let target = transfer.target().unwrap_or("(stdout)".into());
        let bytes = counted(recovery.summary.plain_len, "byte");
        say!("{} -> {target}: {bytes}, no damage, {elapsed_s:.1} s", transfer.name);
    }
    Ok(())
}

/// Gives `output` what of `input` is not damaged. A pipe is first put into a file without a name:
/// damage is looked at from both ends.
///
/// # Errors
/// The system's; what damage is not.
pub fn recover(
    session: &Session,
    input: &File,
    output: &mut dyn Write,
    options: &DecompressOptions,
    progress: archive::Progress<'_>,
) -> crate::Result<Recovery> {
    let spooled;
    let mut file = input;
    if !file.stream_position().is_ok_and(|position| position == 0) {
        spooled = spool(input).map_err(|e| crate::Error::io("cannot spool the input", e))?;
        file = &spooled;
    }
    archive::recover(file, output, &session.models, options, progress)
}

/// Says what is damaged; `kept` is where the rest is.
///
/// # Errors
/// DamageError, where anything is.
pub fn report_damage(name: &str, summary: &Summary, damage: Vec<Damage>, kept: &str) -> Result<()> {
    for damage in &damage {
        say!("llmzip: {name}: {damage}");
    }
    let kinds = || damage.iter().map(|damage| damage.error.kind());
    let is_damage = |kind: &ErrorKind| matches!(kind, ErrorKind::Corrupt | ErrorKind::Truncated);
    let Some(kind) = kinds().find(is_damage).or(kinds().next()) else { return Ok(()) };
    let (chunks, bytes) = (summary.n_chunks, counted(summary.plain_len, "byte"));
    let message = format!("damaged places: {}; intact chunks: {chunks}, {bytes}{kept}", damage.len());
    Err(DamageError { kind, message, damage }.into())
}
