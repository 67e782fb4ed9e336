//! Table of raw results, a row per program and file (benches/README.md has the columns).

use super::machine::{cpu_name, today};
use super::outcome::BenchOutcome;
use anyhow::{Result, bail};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// Names of the columns.
const COLUMNS: [&str; 22] = [
    "date",
    "commit",
    "cpu",
    "isa",
    "program",
    "command",
    "model",
    "file",
    "level",
    "chunk_size",
    "lanes",
    "threads",
    "bytes_in",
    "bytes_out",
    "bits_per_byte",
    "compress_s",
    "decompress_s",
    "compress_cpu_s",
    "decompress_cpu_s",
    "compress_peak_rss",
    "decompress_peak_rss",
    "roundtrip_ok",
];

/// File that rows are appended to.
pub struct Rows {
    file: File,
    commit: String,
    isa: &'static str,
}

impl Rows {
    /// Opens or creates the file at `path`; `commit` and `isa` stand in every row.
    ///
    /// # Errors
    /// I/O errors; a file that has other columns.
    pub fn open(path: &Path, commit: &str, isa: &'static str) -> Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut first = String::new();
        BufReader::new(&file).read_line(&mut first)?;
        match first.trim_end() {
            "" if file.seek(SeekFrom::End(0))? == 0 => writeln!(file, "{}", COLUMNS.join(","))?,
            header if header == COLUMNS.join(",") => (),
            _ => {
                bail!("is no table written by llmzip bench: expected its {} columns", COLUMNS.len())
            }
        }
        Ok(Self { file, commit: commit.to_owned(), isa })
    }

    /// Appends the row of `outcome` on the file `name` of `plain_len` bytes.
    ///
    /// # Errors
    /// I/O errors.
    pub fn append(&mut self, name: &str, plain_len: u64, outcome: &BenchOutcome) -> Result<()> {
        let seconds = |s: Option<f64>| s.map_or(String::new(), |s| format!("{s:.4}"));
        let number = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
        let (there, back, own) = (outcome.compress, outcome.decompress, outcome.own.as_ref());
        let bits = outcome.bits_per_byte(plain_len);
        let fields: [String; COLUMNS.len()] = [
            today(),
            self.commit.clone(),
            cpu_name(),
            own.map_or(String::new(), |_| self.isa.to_owned()),
            outcome.program.clone(),
            outcome.command.clone(),
            own.map_or(String::new(), |own| own.model.clone()),
            name.to_owned(),
            number(own.map(|own| own.level.into())),
            number(own.map(|own| own.chunk_size.into())),
            number(own.map(|own| own.lanes.into())),
            number(own.map(|own| own.threads as u64)),
            plain_len.to_string(),
            number(outcome.archive_len),
            bits.map_or(String::new(), |bits| format!("{bits:.4}")),
            seconds(there.map(|cost| cost.wall_s)),
            seconds(back.map(|cost| cost.wall_s)),
            seconds(there.map(|cost| cost.cpu_s)),
            seconds(back.map(|cost| cost.cpu_s)),
            number(there.and_then(|cost| cost.peak_rss)),
            number(back.and_then(|cost| cost.peak_rss)),
            outcome.verified.to_string(),
        ];
        // One write a row: tables that several processes append to keep their rows whole.
        let row = fields.map(|field| quoted(&field)).join(",") + "\n";
        Ok(self.file.write_all(row.as_bytes())?)
    }
}

/// Quotes `field` as RFC 4180 requires.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields_are_quoted_where_they_must() {
        for (field, written) in [("a b", "a b"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\"")] {
            assert_eq!(super::quoted(field), written);
        }
    }
}
