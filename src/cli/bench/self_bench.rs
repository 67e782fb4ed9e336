//! Benchmark of llmzip itself, in this process.

use super::args::BenchArgs;
use super::compare::Expect;
use super::cost::{Cost, measured};
use super::outcome::{BenchOutcome, Own, Profiles, Shares};
use crate::archive::{self, NamedSteering, Options, SteeringName};
use crate::cli::names::shown;
use crate::cli::progress::ProgressCounter;
use crate::cli::session::CliSession;
use crate::models::Model;
use crate::profile::{Profile, Profiler};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, IntoInnerError, Seek};
use std::path::Path;

/// Measures llmzip on `path`: from a file to a file, and back to a comparison with the input.
///
/// # Errors
/// I/O errors; those of the archive; Corrupt where the output differs from the input.
pub fn run(
    session: &CliSession,
    path: &Path,
    options: &Options,
    bench: &BenchArgs,
) -> Result<BenchOutcome> {
    let model = session.models.here()?;
    let options = &*session.models.steered(options, &model)?;
    let plain_len = path.metadata()?.len();
    let total = plain_len * 2 * u64::from(bench.runs);
    let progress = ProgressCounter::new(session.progress, session.voice, &shown(path), Some(total));
    let work = SelfBench { session, path, options, model: &model, progress: &progress };
    let mut outcome = BenchOutcome::new("llmzip", &command(options, &model));
    let mut profiles = [Profile::default(); 2];
    let mut lanes = 0;
    for _ in 0..bench.runs {
        let (archive, compress) = profiled(bench, &mut profiles[0], || work.compress())?;
        let (_, decompress) = profiled(bench, &mut profiles[1], || work.decompress(&archive))?;
        outcome.add(archive.metadata()?.len(), compress, decompress);
        lanes = most_lanes(&archive)?;
    }
    progress.finish();
    let [compress, decompress] = profiles.map(|profile| Shares::of(&profile));
    outcome.own = Some(Own {
        model: model.identity().hex(),
        level: options.level,
        chunk_size: options.resolved_chunk_size(),
        lanes,
        threads: options.threads,
        profile: (!bench.no_profile).then_some(Profiles { compress, decompress }),
    });
    Ok(outcome)
}

/// Inputs that all runs share.
struct SelfBench<'a> {
    session: &'a CliSession,
    path: &'a Path,
    options: &'a Options,
    model: &'a Model,
    progress: &'a ProgressCounter,
}

impl SelfBench<'_> {
    /// Compresses the file into an archive.
    fn compress(&self) -> Result<File> {
        let input = File::open(self.path).context("cannot open")?;
        let mut archive = BufWriter::new(tempfile::tempfile()?);
        let tell = |n| self.progress.add(n);
        archive::compress(input, &mut archive, self.model, self.options, &tell)?;
        Ok(archive.into_inner().map_err(IntoInnerError::into_error)?)
    }

    /// Decompresses the archive and compares.
    fn decompress(&self, mut archive: &File) -> Result<()> {
        archive.rewind()?;
        let mut expect = Expect::new(File::open(self.path).context("cannot open")?);
        let options = self.options.clone().isa(self.model.isa());
        let tell = |n| self.progress.add(n);
        archive::decompress(archive, &mut expect, &self.session.models, &options, &tell)?;
        Ok(expect.finish()?)
    }
}

/// Measures `work`, and adds its samples to `profile`.
fn profiled<T>(
    bench: &BenchArgs,
    profile: &mut Profile,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Cost)> {
    let profiler = (!bench.no_profile).then(Profiler::start).transpose()?;
    let done = measured(work);
    if let Some(profiler) = profiler {
        profile.add(&profiler.stop());
    }
    done
}

/// Returns the greatest number of lanes of any chunk.
fn most_lanes(mut archive: &File) -> Result<u8> {
    archive.rewind()?;
    let streams = archive::list(archive)?;
    Ok(streams.iter().flat_map(|s| &s.chunks).map(|chunk| chunk.coding.lanes).max().unwrap_or(0))
}

/// Returns the command line that makes the same archive, with any prefix left out.
fn command(options: &Options, model: &Model) -> String {
    let Options { level, chunk_size, lanes, mix, context, table_log2, .. } = *options;
    let usual = Options::default();
    let mut command = format!("llmzip -{level}");
    if let Some(chunk_size) = chunk_size {
        command += &format!(" --chunk-size {chunk_size}");
    }
    if let Some(lanes) = lanes {
        command += &format!(" --lanes {lanes}");
    }
    if let Some(context) = context {
        command += &format!(" --context {context}");
    }
    if table_log2 != usual.table_log2 {
        command += &format!(" --table-size {}", 1u64 << table_log2);
    }
    if !mix {
        command += " --no-mix";
    }
    if !options.prefix.is_empty() {
        command += " --prefix ...";
    }
    match options.steering.as_ref().map(NamedSteering::name) {
        Some(SteeringName::Random { count, seed }) => {
            command += &format!(" --steer-random {count}:{seed}");
        }
        Some(SteeringName::Digest { label, .. }) => {
            command += &format!(" --steer {}", label.escape_debug());
        }
        Some(SteeringName::Carried { .. }) | None => (),
    }
    let identity = model.identity();
    if identity.builtin_code.is_none() {
        command += &format!(" -m {}", identity.label.escape_debug());
    }
    if let Some(adapter) = model.adapter() {
        command += &format!(" --adapter {}", adapter.label.escape_debug());
    }
    command
}
