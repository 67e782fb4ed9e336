//! Descriptions of low-rank adapters, human-readable and as JSON (docs/cli.md).

use crate::cli::list::DIGEST_DIGITS;
use crate::cli::names::shown;
use crate::cli::size::grouped;
use crate::hub::{FoundAdapter, hex};
use crate::models::AdapterFiles;
use serde::Serialize;
use std::io::{self, Write};

/// Description of an adapter.
#[derive(Debug, Serialize)]
pub struct AdapterEntry {
    pub name: String,
    place: &'static str,
    path: String,
    rank: Option<usize>,
    pub len: u64,
    digest: Option<String>,
}

impl AdapterEntry {
    /// Describes `found` after reading it.
    ///
    /// # Errors
    /// InvalidModel where it is no adapter; I/O errors.
    pub fn of(found: &FoundAdapter) -> crate::Result<Self> {
        Self::of_files(found, &found.read()?)
    }

    /// Describes `found`, which has these files.
    ///
    /// # Errors
    /// InvalidModel where they are no adapter.
    pub fn of_files(found: &FoundAdapter, files: &AdapterFiles) -> crate::Result<Self> {
        let rank = files.check().map_err(|e| e.at(shown(&found.folder)))?;
        Ok(Self {
            rank: Some(rank),
            len: files.bytes().iter().map(|bytes| bytes.len() as u64).sum(),
            digest: Some(hex(&files.digest())),
            ..Self::unread(found)
        })
    }

    /// Describes `found` by its name.
    pub fn unread(found: &FoundAdapter) -> Self {
        Self {
            name: found.name.clone(),
            place: if found.is_stored { "imported" } else { "folder" },
            path: found.folder.to_string_lossy().into_owned(),
            rank: None,
            len: 0,
            digest: None,
        }
    }

    /// Returns the first digits of the digest.
    pub fn short_digest(&self) -> &str {
        self.digest.as_deref().map_or("-", |digest| &digest[..DIGEST_DIGITS])
    }

    /// Prints a line of a list, in the columns of that of a model.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let (len, digest, name) =
            (grouped(self.len), self.short_digest(), self.name.escape_debug());
        let what = format!("rank {}", self.rank());
        writeln!(out, "{len:>15}  {digest:<DIGEST_DIGITS$}  {:<11}  {what:<22}  {name}", "adapter")
    }

    /// Prints all details in human-readable form.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "  {name:<13} {value}");
        line("adapter", &self.name.escape_debug().to_string())?;
        line("where", self.place)?;
        line("path", &shown(self.path.as_ref()))?;
        line("files", &format!("{} bytes", grouped(self.len)))?;
        line("digest", self.digest.as_deref().unwrap_or("-"))?;
        line("rank", &self.rank())
    }

    fn rank(&self) -> String {
        self.rank.map_or("-".to_owned(), |rank| rank.to_string())
    }
}
