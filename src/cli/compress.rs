//! Compression of one input.

use super::input::{Input, OpenInput, name_of};
use super::names::with_suffix;
use super::output::{Output, Target};
use super::packing::{Packing, refuse_inside, tar_path};
use super::session::CliSession;
use super::size::{bits_per_byte, counted, figure, grouped, ratio};
use super::transfer::Transfer;
use super::voice::Voice;
use crate::archive::{self, Options, Progress, Summary};
use crate::models::Model;
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Compression of plain bytes to an archive.
pub type Encode<'a> = dyn Fn(&Model, &Options, &mut dyn Read, &mut dyn Write, Progress<'_>) -> crate::Result<Summary>
    + 'a;

/// The usual one.
pub fn plainly(
    model: &Model,
    options: &Options,
    plain: &mut dyn Read,
    archive: &mut dyn Write,
    progress: Progress<'_>,
) -> crate::Result<Summary> {
    archive::compress(plain, archive, model, options, progress)
}

/// Compresses `input` to `output` by `encode`.
///
/// # Errors
/// I/O errors; those of the archive.
pub fn compress(
    session: &CliSession,
    input: &Input,
    options: &Options,
    output: &Output,
    encode: &Encode<'_>,
) -> Result<()> {
    let (opened, packing) = open(input, output)?;
    let transfer =
        Transfer::new(opened, name_of(input), output, |path| archive_path(path, output))?;
    transfer.refuse_terminal()?;
    let model = match options.may_run_model() {
        true => session.models.for_compression(session.progress, session.voice)?,
        false => session.models.unused(options.level)?,
    };
    let options = &*session.models.steered(options, &model)?;
    // With verification each byte is done twice: coded, and decoded again.
    let (passes, style) = (1 + u64::from(options.verify), transfer.progress(session.progress));
    let progress = session.counter(&transfer.name, style, transfer.input.len());
    let progress = progress.with_passes(passes);
    let summary = transfer.run(|input, output| {
        let summary = encode(&model, options, &mut &*input, output, &|n| progress.add(n))?;
        // Only here it is known whether the pipe ended because all of the directory was packed.
        packing.map_or(Ok(()), Packing::finish)?;
        Ok(summary)
    })?;
    let elapsed_s = progress.finish();
    warn_of_failures(&transfer.name, &summary);
    if session.voice >= transfer.voice_of_summary() {
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

/// Opens `input`; of a directory a pipe that it is packed into.
fn open(input: &Input, output: &Output) -> Result<(OpenInput, Option<Packing>)> {
    let Input::File(path) = input else { return Ok((OpenInput::open(input, false, true)?, None)) };
    if !path.is_dir() {
        output.refuse_special(path)?;
        return Ok((OpenInput::open(input, output.is_beside(), output.force)?, None));
    }
    if output.remove_input {
        bail!("is a directory, which --rm does not remove");
    }
    if path.is_symlink() && output.is_beside() && !output.force {
        bail!("is a symbolic link; -f follows it");
    }
    if path.file_name().is_none() {
        bail!("has no name of its own: name the directory from outside it");
    }
    let beside = output.moved(with_suffix(&tar_path(path), &output.suffix))?;
    let target = match &output.target {
        Target::Stdout => None,
        Target::Named(target) => Some(target),
        Target::BesideInput | Target::InFolder(_) => Some(&beside),
    };
    target.map_or(Ok(()), |target| refuse_inside(path, target))?;
    let (reader, packing) = Packing::start(path)?;
    Ok((OpenInput::packed(reader, tar_path(path)), Some(packing)))
}

/// Returns the path of the archive beside `path`.
fn archive_path(path: &Path, output: &Output) -> Result<PathBuf> {
    let suffix = &output.suffix;
    if path.as_os_str().as_bytes().ends_with(suffix.as_bytes()) && !output.force {
        bail!("already has the suffix {suffix}; -f compresses it again");
    }
    Ok(with_suffix(path, suffix))
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
