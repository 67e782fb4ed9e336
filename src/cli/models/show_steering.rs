//! Descriptions of files of steering vectors, human-readable and as JSON (docs/cli.md).

use crate::cli::list::DIGEST_DIGITS;
use crate::cli::names::shown;
use crate::cli::size::grouped;
use crate::hub::{FoundSteering, hex};
use crate::models::SteeringFile;
use serde::Serialize;
use std::io::{self, Write};

/// Description of a file of steering vectors. What stands in it is `None` where it was not read.
#[derive(Debug, Serialize)]
pub struct SteeringEntry {
    pub name: String,
    place: &'static str,
    path: String,
    vectors: Option<usize>,
    width: Option<usize>,
    model: Option<String>,
    pub len: u64,
    digest: Option<String>,
}

impl SteeringEntry {
    /// Describes `found` after reading it.
    ///
    /// # Errors
    /// InvalidModel where it is no file of steering vectors; I/O errors.
    pub fn of(found: &FoundSteering) -> crate::Result<Self> {
        Self::of_bytes(found, &found.read()?)
    }

    /// Describes `found`, which has these bytes.
    ///
    /// # Errors
    /// InvalidModel where they are no steering vectors.
    pub fn of_bytes(found: &FoundSteering, bytes: &[u8]) -> crate::Result<Self> {
        let file = SteeringFile::parse(bytes).map_err(|e| e.at(shown(&found.path)))?;
        Ok(Self {
            vectors: Some(file.steering.count()),
            width: Some(file.steering.width()),
            model: Some(file.model.to_ascii_lowercase()),
            len: bytes.len() as u64,
            digest: Some(hex(blake3::hash(bytes).as_bytes())),
            ..Self::unread(found)
        })
    }

    /// Describes `found` by its name and length.
    pub fn unread(found: &FoundSteering) -> Self {
        Self {
            name: found.name.clone(),
            place: if found.is_stored { "imported" } else { "file" },
            path: found.path.to_string_lossy().into_owned(),
            vectors: None,
            width: None,
            model: None,
            len: found.path.symlink_metadata().map_or(0, |file| file.len()),
            digest: None,
        }
    }

    /// Returns the first digits of the digest.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }

    /// Prints a line of a list, in the columns of that of a model.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let (len, digest, name) = (grouped(self.len), self.short_digest(), &self.name);
        let what = format!("{} for {}", number(self.vectors), short(&self.model));
        let name = name.escape_debug();
        writeln!(out, "{len:>15}  {digest:<DIGEST_DIGITS$}  {:<11}  {what:<22}  {name}", "steering")
    }

    /// Prints all details in human-readable form.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "  {name:<13} {value}");
        line("steering", &self.name.escape_debug().to_string())?;
        line("where", self.place)?;
        line("path", &shown(self.path.as_ref()))?;
        line("file", &format!("{} bytes", grouped(self.len)))?;
        line("digest", self.digest.as_deref().unwrap_or("-"))?;
        let (vectors, width) = (number(self.vectors), number(self.width));
        line("vectors", &format!("{vectors} of {width} numbers"))?;
        line("model", self.model.as_deref().unwrap_or("-"))
    }
}

fn number(n: Option<usize>) -> String {
    n.map_or("-".to_owned(), |n| grouped(n as u64))
}

fn short(digest: &Option<String>) -> &str {
    digest.as_deref().map_or("-", |digest| &digest[..DIGEST_DIGITS])
}
