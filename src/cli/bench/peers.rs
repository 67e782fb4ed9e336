//! Other compressors, at the settings that usually give their smallest output.

use super::compare::expect_same;
use super::cost::{Cost, measured_child};
use super::outcome::BenchOutcome;
use crate::cli::signals::unfinished;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A program to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Gzip,
    Xz,
    Zstd,
    Brotli,
    Bzip2,
    #[value(name = "7z")]
    SevenZip,
    Zpaq,
}

/// Command lines of a program, words separated by spaces, for a folder with only the input.
struct Call {
    compress: &'static str,
    decompress: &'static str,
    /// The archive that it makes of the file `plain`, and where it restores that; `None`: it is a
    /// filter.
    files: Option<(&'static str, &'static str)>,
}

impl Peer {
    fn call(self) -> Call {
        let (compress, decompress, files) = match self {
            Self::Gzip => ("gzip -9", "gzip -d", None),
            Self::Xz => ("xz -9e", "xz -d", None),
            Self::Zstd => ("zstd --ultra -22", "zstd -d", None),
            Self::Brotli => ("brotli -q 11 -w 24", "brotli -d", None),
            Self::Bzip2 => ("bzip2 -9", "bzip2 -d", None),
            Self::SevenZip => (
                "7z a -mx=9 -m0=PPMd packed.7z plain",
                "7z x packed.7z -oback",
                Some(("packed.7z", "back/plain")),
            ),
            Self::Zpaq => (
                "zpaq add packed.zpaq plain -method 5",
                "zpaq extract packed.zpaq plain -to back",
                Some(("packed.zpaq", "back")),
            ),
        };
        Call { compress, decompress, files }
    }

    /// Returns the program's name.
    pub fn program(self) -> &'static str {
        self.call().compress.split(' ').next().unwrap_or_default()
    }

    /// Measures it on `path`, `runs` times; `None` where no such program.
    ///
    /// # Errors
    /// I/O errors. Failures of the program are part of the outcome.
    pub fn run(self, path: &Path, runs: u32) -> Result<Option<BenchOutcome>> {
        let call = self.call();
        let mut outcome = BenchOutcome::new(self.program(), call.compress);
        for _ in 0..runs {
            match call.run(path) {
                Ok((len, compress, decompress)) => outcome.add(len, compress, decompress),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Ok(Some(outcome.failed(format!("{error:#}")))),
            }
        }
        Ok(Some(outcome))
    }
}

/// Error of a program that is not installed.
#[derive(Debug)]
struct ProgramMissing;

impl std::fmt::Display for ProgramMissing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such program")
    }
}

impl std::error::Error for ProgramMissing {}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ProgramMissing>().is_some()
}

impl Call {
    /// Compresses the file, decompresses that, and compares: the archive's length, and what each
    /// took.
    fn run(&self, path: &Path) -> Result<(u64, Cost, Cost)> {
        let folder = Folder::new()?;
        let at = |name: &str| folder.path().join(name);
        let (packed, back) = self.files.unwrap_or(("packed", "back"));
        if self.files.is_some() {
            fs::copy(path, at("plain")).context("cannot copy the input")?;
        }
        let compress = self.step(self.compress, &folder, path, &at(packed))?;
        let len = fs::metadata(at(packed)).context("wrote no archive")?.len();
        let decompress = self.step(self.decompress, &folder, &at(packed), &at(back))?;
        let restored = File::open(at(back)).context("restored no file")?;
        expect_same(File::open(path)?, restored)?;
        Ok((len, compress, decompress))
    }

    /// Runs one command line: a filter from `input` to `output`, any other with neither.
    fn step(&self, words: &str, folder: &Folder, input: &Path, output: &Path) -> Result<Cost> {
        let mut words = words.split(' ');
        let program = words.next().unwrap_or_default();
        let mut complaints = tempfile::tempfile()?;
        let mut command = Command::new(program);
        command.args(words).current_dir(folder.path()).stderr(complaints.try_clone()?);
        match self.files {
            Some(_) => command.stdin(Stdio::null()).stdout(Stdio::null()),
            None => command.stdin(File::open(input)?).stdout(File::create(output)?),
        };
        let (status, cost) = match measured_child(&mut command) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(ProgramMissing),
            done => done.with_context(|| format!("cannot run {program}"))?,
        };
        if status.success() {
            return Ok(cost);
        }
        complaints.rewind()?;
        let complaints = io::read_to_string(complaints).unwrap_or_default();
        let last = complaints.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
        bail!("{program}: {status} {}", last.escape_debug());
    }
}

/// An empty folder that goes away with this value, or with the process at a signal.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let mut unfinished = unfinished();
        let folder = TempDir::with_prefix(".llmzip-").context("cannot create a folder")?;
        *unfinished = Some(folder.path().to_owned().into());
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut unfinished = unfinished();
        // The system cleans up what cannot be removed here.
        let _ = fs::remove_dir_all(self.0.path());
        *unfinished = None;
    }
}
