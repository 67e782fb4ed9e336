//! Compression of one input.

use super::input::Input;
use super::names::with_suffix;
use super::output::Output;
use super::progress::ProgressCounter;
use super::session::CliSession;
use super::size::{bits_per_byte, counted, figure, grouped, ratio};
use super::transfer::Transfer;
use super::voice::Voice;
use crate::archive::{self, Options, Summary};
use anyhow::{Result, bail};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Compresses `input` to `output`.
///
/// # Errors
/// I/O errors; those of the archive.
pub fn compress(
    session: &CliSession,
    input: &Input,
    options: &Options,
    output: &Output,
) -> Result<()> {
    let transfer = Transfer::new(input, output, |path| archive_path(path, output))?;
    transfer.refuse_terminal()?;
    let model = match options.may_run_model() {
        true => session.models.for_compression(session.progress, session.voice)?,
        false => session.models.unused(options.level)?,
    };
    // With verification each byte is done twice: coded, and decoded again.
    let passes = if options.verify { 2 } else { 1 };
    let total = transfer.input.len().map(|len| len * passes);
    let progress = ProgressCounter::new(
        transfer.progress(session.progress),
        session.voice,
        &transfer.name,
        total,
    );
    let summary = transfer.run(|input, output| {
        archive::compress(input, output, &model, options, &|n| progress.add(n))
    })?;
    let elapsed_s = progress.finish();
    warn_of_failures(&transfer.name, &summary);
    if session.voice >= voice_of_summary(&transfer) {
        report(&transfer, &summary, elapsed_s);
    }
    if session.voice == Voice::Verbose {
        let (level, stored) = (options.level, summary.n_stored);
        let chunks = counted(summary.n_chunks, "chunk");
        let size = counted(options.resolved_chunk_size().into(), "byte");
        say!("  level {level}, {chunks} of up to {size}, {stored} stored");
    }
    Ok(())
}

/// Returns the path of the archive beside `path`.
fn archive_path(path: &Path, output: &Output) -> Result<PathBuf> {
    let suffix = &output.suffix;
    if path.as_os_str().as_bytes().ends_with(suffix.as_bytes()) && !output.force {
        bail!("already has the suffix {suffix}; -f compresses it again");
    }
    Ok(with_suffix(path, suffix))
}

/// Returns the verbosity that prints a summary: with standard output, usually another program's
/// pipe, only verbose.
pub fn voice_of_summary(transfer: &Transfer<'_>) -> Voice {
    if transfer.target().is_some() { Voice::Normal } else { Voice::Verbose }
}

fn warn_of_failures(name: &str, summary: &Summary) {
    if summary.verify_failures > 0 {
        let chunks = counted(summary.verify_failures, "chunk");
        say!(
            "llmzip: warning: {name}: {chunks} did not decode to the input and were stored uncompressed. \
             No data is lost, but please report this: the program or this machine is faulty."
        );
    }
}

fn report(transfer: &Transfer<'_>, summary: &Summary, elapsed_s: f64) {
    let Summary { plain_len, archive_len, .. } = *summary;
    let target = transfer.target().unwrap_or("(stdout)".into());
    say!(
        "{} -> {target}: {} -> {} bytes, ratio {}, {} bits per byte, {elapsed_s:.1} s",
        transfer.name,
        grouped(plain_len),
        grouped(archive_len),
        figure(ratio(plain_len, archive_len), 3),
        figure(bits_per_byte(plain_len, archive_len), 3),
    );
}
