//! Listing of archives.

use super::input::{Input, OpenInput, name_of, spool};
use super::size::{bits_per_byte, figure, grouped, ratio};
use super::voice::Voice;
use crate::archive::{self, ModelName, StreamInfo};
use crate::codec::Method;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::io::{self, Seek, Write};

/// Hex digits of a digest in human-readable output.
pub const DIGEST_DIGITS: usize = 12;

/// Name, size and streams of an archive.
pub struct Listing {
    pub name: String,
    pub archive_len: u64,
    pub streams: Vec<StreamInfo>,
}

impl Listing {
    /// Reads the figures of `input`.
    ///
    /// # Errors
    /// I/O errors; those of the archive.
    pub fn read(input: &Input) -> Result<Self> {
        let name = name_of(input);
        let input = OpenInput::open(input, false, true)?;
        let is_seekable = input.metadata.is_some() && (&input.file).stream_position()? == 0;
        let spooled;
        let mut file = input.file.file();
        if !is_seekable {
            spooled = spool(&input.file).context("cannot spool the input")?;
            file = &spooled;
        }
        let streams = archive::list(file)?;
        Ok(Self { name, archive_len: file.seek(io::SeekFrom::End(0))?, streams })
    }

    /// Returns the number of plain bytes in all streams.
    pub fn plain_len(&self) -> u64 {
        self.streams.iter().map(StreamInfo::plain_len).sum()
    }

    /// Prints the human-readable listing; with [`Voice::Verbose`] a line for each chunk.
    ///
    /// # Errors
    /// I/O errors.
    pub fn print(&self, out: &mut dyn Write, voice: Voice) -> io::Result<()> {
        let (plain_len, archive_len) = (self.plain_len(), self.archive_len);
        writeln!(out, "{}", self.name)?;
        writeln!(out, "  content   {} bytes", grouped(plain_len))?;
        writeln!(out, "  archive   {} bytes", grouped(archive_len))?;
        let bits = figure(bits_per_byte(plain_len, archive_len), 3);
        writeln!(
            out,
            "  ratio     {}, {bits} bits per byte",
            figure(ratio(plain_len, archive_len), 3)
        )?;
        self.streams.iter().try_for_each(|stream| print_stream(out, stream, voice))
    }
}

fn print_stream(out: &mut dyn Write, stream: &StreamInfo, voice: Voice) -> io::Result<()> {
    let methods: BTreeSet<_> =
        stream.chunks.iter().map(|chunk| method_name(chunk.coding.method)).collect();
    let lanes: BTreeSet<_> =
        stream.chunks.iter().map(|chunk| chunk.coding.lanes.to_string()).collect();
    writeln!(out, "  stream    at byte {}", grouped(stream.offset))?;
    writeln!(out, "    chunks  {}, {}", stream.chunks.len(), joined(methods))?;
    writeln!(out, "    lanes   {}", joined(lanes.iter().map(String::as_str)))?;
    let model = stream.model.as_ref().map_or_else(|| "none needed".into(), model_text);
    writeln!(out, "    model   {model}")?;
    if stream.prefix_len > 0 {
        writeln!(out, "    prefix  {} bytes", grouped(stream.prefix_len))?;
    }
    writeln!(out, "    check   {}", check_name(stream))?;
    if voice == Voice::Verbose {
        print_chunks(out, stream)?;
    }
    Ok(())
}

fn print_chunks(out: &mut dyn Write, stream: &StreamInfo) -> io::Result<()> {
    writeln!(
        out,
        "    {:>9} {:>15} {:>12} {:>12}  method    lanes",
        "chunk", "offset", "content", "archive"
    )?;
    for (number, chunk) in stream.chunks.iter().enumerate() {
        let (offset, plain) = (grouped(chunk.offset), grouped(chunk.plain_len));
        let (archive, method) = (grouped(chunk.archive_len), method_name(chunk.coding.method));
        let lanes = chunk.coding.lanes;
        writeln!(
            out,
            "    {number:>9} {offset:>15} {plain:>12} {archive:>12}  {method:<9} {lanes}"
        )?;
    }
    Ok(())
}

fn joined<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn model_text(model: &ModelName) -> String {
    match model {
        ModelName::Builtin(code) => format!("compiled in, code {code}"),
        ModelName::Digest { digest, label } => {
            let hex = blake3::Hash::from_bytes(*digest).to_hex();
            format!("{} ({})", label.escape_debug(), &hex[..DIGEST_DIGITS])
        }
    }
}

/// Returns the name of the stream's content check.
pub fn check_name(stream: &StreamInfo) -> &'static str {
    if stream.content.is_some() { "crc32+blake3" } else { "crc32" }
}

/// Returns the method's name in docs/format.md.
pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::Stored => "stored",
        Method::Model => "model",
        Method::Mixed => "mixed",
        Method::Adaptive => "adaptive",
    }
}
