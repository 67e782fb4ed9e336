//! Decodes one archive and checks it; writes nothing.

use super::Session;
use super::decompress::look_ahead;
use super::input::{OpenInput, name_of};
use super::json::TestedFile;
use super::plan::{Input, Voice};
use super::progress::Progress;
use super::size::grouped;
use anyhow::Result;
use llmzip::archive::{self, DecompressOptions};

/// Tests `input`.
///
/// # Errors
/// The system's, the archive's.
pub fn test(
    session: &Session,
    input: &Input,
    options: &DecompressOptions,
    json: bool,
) -> Result<TestedFile> {
    let name = name_of(input);
    let input = OpenInput::open(input, false, true)?;
    let total = look_ahead(session, &input)?;
    let progress = Progress::new(session.progress, session.voice, &name, total);
    let sink = std::io::sink();
    let tell = |n| progress.add(n);
    let summary = archive::decompress(&input.file, sink, &session.models, options, &tell)?;
    let elapsed_s = progress.finish();
    if session.voice > Voice::Quiet && !json {
        let (chunks, bytes) = (summary.n_chunks, grouped(summary.plain_len));
        say!("{name}: good, {chunks} chunks, {bytes} bytes, {elapsed_s:.1} s");
    }
    Ok(TestedFile::new(name, &summary, elapsed_s))
}
