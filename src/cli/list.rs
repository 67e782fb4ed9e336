//! Listing of archives.

use super::input::{Input, OpenInput, name_of, spool};
use super::learning::{kind_name, rate};
use super::size::{bits_per_byte, counted, figure, grouped, ratio};
use super::standard;
use super::voice::Voice;
use crate::archive::{self, AdapterName, ModelName, SteeringName, StreamInfo};
use crate::codec::Method;
use crate::models::Learning;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::io::{self, Seek, Write};

/// Hex digits of a digest in human-readable output.
pub const DIGEST_DIGITS: usize = 12;

/// Listing of archives on standard output: a line each and a total, or with [`Voice::Verbose`] all that their
/// headers say.
pub struct Table {
    voice: Voice,
    total: Total,
}

impl Table {
    /// Creates a table without a line.
    pub fn new(voice: Voice) -> Self {
        Self { voice, total: Total::default() }
    }

    /// Prints the line of an archive.
    ///
    /// # Errors
    /// I/O errors; those of the archive.
    pub fn add(&mut self, input: &Input) -> Result<()> {
        let (listing, out) = (Listing::read(input)?, &mut standard::lines()?);
        if self.total.n_files == 0 && self.voice == Voice::Normal {
            print_columns(out, ["chunks", "archive", "content", "ratio", "model"], "name")?;
        }
        self.total.add(&listing);
        match self.voice {
            Voice::Verbose => listing.print(out)?,
            _ => total_of(&listing).print(out, &listing.model_names(), &listing.name)?,
        }
        Ok(())
    }

    /// Prints the total of several archives.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(self) -> Result<()> {
        let Total { n_files, .. } = self.total;
        if n_files > 1 && self.voice == Voice::Normal {
            self.total.print(&mut standard::lines()?, "", &counted(n_files, "file"))?;
        }
        Ok(())
    }
}

fn total_of(listing: &Listing) -> Total {
    let mut total = Total::default();
    total.add(listing);
    total
}

/// Figures of one or more archives.
#[derive(Default)]
struct Total {
    n_files: u64,
    n_chunks: u64,
    archive_len: u64,
    plain_len: u64,
}

impl Total {
    fn add(&mut self, listing: &Listing) {
        self.n_files += 1;
        self.n_chunks += listing.streams.iter().map(|s| s.chunks.len() as u64).sum::<u64>();
        self.archive_len += listing.archive_len;
        self.plain_len += listing.plain_len();
    }

    fn print(&self, out: &mut dyn Write, models: &str, name: &str) -> io::Result<()> {
        let [chunks, archive, plain] =
            [self.n_chunks, self.archive_len, self.plain_len].map(grouped);
        let ratio = figure(ratio(self.plain_len, self.archive_len), 3);
        print_columns(out, [&chunks, &archive, &plain, &ratio, models], name)
    }
}

fn print_columns(out: &mut dyn Write, columns: [&str; 5], name: &str) -> io::Result<()> {
    let [chunks, archive, plain, ratio, models] = columns;
    writeln!(out, "{chunks:>6} {archive:>15} {plain:>15} {ratio:>8}  {models:<12}  {name}")
}

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

    /// Returns the models that its chunks run.
    fn model_names(&self) -> String {
        let needed = self.streams.iter().filter(|stream| stream.needs_model());
        let names = needed.filter_map(|stream| stream.model.as_ref()).map(|model| match model {
            ModelName::Builtin(_) => "compiled in".into(),
            ModelName::Digest { digest, .. } => {
                let hex = blake3::Hash::from_bytes(*digest).to_hex();
                hex[..DIGEST_DIGITS].to_owned()
            }
        });
        let names: BTreeSet<String> = names.collect();
        if names.is_empty() { "-".into() } else { names.into_iter().collect::<Vec<_>>().join(",") }
    }

    /// Prints all that the headers say, a line for each chunk.
    ///
    /// # Errors
    /// I/O errors.
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
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
        self.streams.iter().try_for_each(|stream| print_stream(out, stream))
    }
}

fn print_stream(out: &mut dyn Write, stream: &StreamInfo) -> io::Result<()> {
    let methods: BTreeSet<_> =
        stream.chunks.iter().map(|chunk| method_name(chunk.coding.method)).collect();
    let lanes: BTreeSet<_> =
        stream.chunks.iter().map(|chunk| chunk.coding.lanes.to_string()).collect();
    writeln!(out, "  stream    at byte {}", grouped(stream.offset))?;
    writeln!(out, "    chunks  {}, {}", stream.chunks.len(), joined(methods))?;
    if let Some(block_len) = stream.block_len {
        writeln!(out, "    blocks  of {} bytes", grouped(block_len.into()))?;
    }
    writeln!(out, "    lanes   {}", joined(lanes.iter().map(String::as_str)))?;
    let model = stream.model.as_ref().filter(|_| stream.needs_model());
    let model = model.map_or_else(|| "none needed".into(), model_text);
    writeln!(out, "    model   {model}")?;
    if let Some(AdapterName { digest, label }) = &stream.adapter {
        writeln!(out, "    adapter {}", digest_text(digest, label))?;
    }
    if stream.prefix_len > 0 {
        writeln!(out, "    prefix  {} bytes", grouped(stream.prefix_len))?;
    }
    if let Some(steering) = &stream.steering {
        writeln!(out, "    steer   {}", steering_text(steering))?;
    }
    if let Some(learning) = &stream.parameters.learning {
        writeln!(out, "    learn   {}", learning_text(learning))?;
    }
    writeln!(out, "    check   {}", check_name(stream))?;
    print_chunks(out, stream)
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
        ModelName::Digest { digest, label } => digest_text(digest, label),
    }
}

fn steering_text(steering: &SteeringName) -> String {
    match steering {
        SteeringName::Random { count, seed } => {
            format!("{}, random, seed {seed}", counted((*count).into(), "vector"))
        }
        SteeringName::Digest { digest, label } => digest_text(digest, label),
        SteeringName::Carried { code } => {
            format!("carried, {}", counted(code.len() as u64, "byte"))
        }
    }
}

fn learning_text(learning: &Learning) -> String {
    let (kind, tokens) = (kind_name(learning.kind), 1u64 << learning.tokens_log2);
    format!("{kind}, every {} tokens, rate {}", grouped(tokens), rate(learning))
}

fn digest_text(digest: &[u8; 32], label: &str) -> String {
    let hex = blake3::Hash::from_bytes(*digest).to_hex();
    format!("{} ({})", label.escape_debug(), &hex[..DIGEST_DIGITS])
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
        Method::Learning => "learning",
    }
}
