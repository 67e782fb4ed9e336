//! Verification of one archive.

use super::input::{Input, OpenInput, name_of};
use super::json::TestedFile;
use super::look_ahead::look_ahead;
use super::recover::{recover, report_damage};
use super::session::CliSession;
use super::size::counted;
use super::voice::Voice;
use crate::archive::{self, Options, Recovery};
use anyhow::Result;
use std::io;

/// Options of a test.
#[derive(Debug)]
pub struct TestOptions {
    pub decompress: Options,
    /// Whether to look for all damage, not only the first.
    pub keep_going: bool,
    /// Whether results are printed as JSON after all inputs.
    pub json: bool,
}

/// Tests `input`.
///
/// # Errors
/// I/O errors; those of the archive; DamageError, where a test that keeps going found damage.
pub fn test(session: &CliSession, input: &Input, options: &TestOptions) -> Result<TestedFile> {
    let name = name_of(input);
    let input = OpenInput::open(input, false, true)?;
    let total = look_ahead(session, &input)?;
    let progress = session.counter(&name, session.progress, total);
    let (file, mut sink, tell) = (&input.file, io::sink(), |n| progress.add(n));
    let Recovery { summary, damage } = if options.keep_going {
        recover(session, file, &mut sink, &options.decompress, &tell)?
    } else {
        let models = &session.models;
        let summary = archive::decompress(file, sink, models, &options.decompress, &tell)?;
        Recovery { summary, damage: Vec::new() }
    };
    let elapsed_s = progress.finish();
    report_damage(&name, &summary, damage, "")?;
    if session.voice > Voice::Quiet && !options.json {
        let chunks = counted(summary.n_chunks, "chunk");
        let bytes = counted(summary.plain_len, "byte");
        say!("{name}: good, {chunks}, {bytes}, {elapsed_s:.1} s");
    }
    Ok(TestedFile::new(name, &summary, elapsed_s))
}
