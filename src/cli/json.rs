//! Machine-readable output (docs/cli.md): names and meanings of fields are stable within a schema
//! number.

use super::learning::{kind_name, rate};
use super::list::{Listing, check_name, method_name};
use super::size::{bits_per_byte, ratio};
use super::standard;
use crate::archive::{
    AdapterName, ChunkInfo, Damage, FORMAT_VERSION, ModelName, NUMERICS, SteeringName, StreamInfo,
    Summary,
};
use crate::models::Learning;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::io::{self, Write};

/// Schema number: raised when a field is renamed, removed or changes its meaning, not when one is
/// added.
pub const SCHEMA: u32 = 1;

/// An input that failed.
#[derive(Serialize)]
pub struct FailedFile {
    pub name: String,
    pub message: String,
    pub exit_code: u8,
    /// Damage found by a test that kept going.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<DamagedPlace>,
}

/// A damaged place.
#[derive(Serialize)]
pub struct DamagedPlace {
    stream: usize,
    chunk: Option<usize>,
    missing_offset: Option<u64>,
    missing_len: Option<u64>,
    error: String,
}

impl DamagedPlace {
    pub fn new(damage: &Damage) -> Self {
        let Damage { stream, chunk, missing, error } = damage;
        Self {
            stream: stream.unwrap_or(0),
            chunk: *chunk,
            missing_offset: missing.start,
            missing_len: missing.len,
            error: error.to_string(),
        }
    }
}

/// Writes the document, with `items` under the name `kind`, as one line.
///
/// # Errors
/// I/O errors.
pub fn print(kind: &str, items: &[impl Serialize], errors: &[FailedFile]) -> io::Result<()> {
    let mut out = standard::lines()?;
    let mut serializer = serde_json::Serializer::new(&mut out);
    let mut document = serializer.serialize_map(Some(3))?;
    document.serialize_entry("schema", &SCHEMA)?;
    document.serialize_entry(kind, items)?;
    document.serialize_entry("errors", errors)?;
    document.end()?;
    writeln!(out)?;
    out.flush()
}

/// Writes `document` as one line.
///
/// # Errors
/// I/O errors.
pub fn print_document(document: &impl Serialize) -> io::Result<()> {
    let mut out = standard::lines()?;
    serde_json::to_writer(&mut out, document)?;
    writeln!(out)?;
    out.flush()
}

/// An archive that was tested.
#[derive(Serialize)]
pub struct TestedFile {
    name: String,
    archive_len: u64,
    plain_len: u64,
    n_streams: u64,
    n_chunks: u64,
    elapsed_s: f64,
}

impl TestedFile {
    pub fn new(name: String, summary: &Summary, elapsed_s: f64) -> Self {
        let Summary { plain_len, archive_len, n_streams, n_chunks, .. } = *summary;
        Self { name, archive_len, plain_len, n_streams, n_chunks, elapsed_s }
    }
}

/// An archive that was listed.
#[derive(Serialize)]
pub struct ListedFile {
    name: String,
    archive_len: u64,
    plain_len: u64,
    ratio: Option<f64>,
    bits_per_byte: Option<f64>,
    streams: Vec<ListedStream>,
}

#[derive(Serialize)]
struct ListedStream {
    offset: u64,
    archive_len: u64,
    plain_len: u64,
    format_version: u8,
    numerics: u8,
    form: &'static str,
    check: &'static str,
    content_blake3: Option<String>,
    model: Option<ListedModel>,
    adapter: Option<ListedAdapter>,
    prefix_len: u64,
    block_len: Option<u32>,
    steering: Option<ListedSteering>,
    learning: Option<ListedLearning>,
    chunks: Vec<ListedChunk>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ListedModel {
    Builtin(u8),
    Digest { blake3: String, label: String },
}

#[derive(Serialize)]
struct ListedAdapter {
    blake3: String,
    label: String,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ListedSteering {
    Random { count: u8, seed: u64 },
    Digest { blake3: String, label: String },
    Carried { len: usize },
}

#[derive(Serialize)]
struct ListedLearning {
    kind: &'static str,
    tokens: u32,
    rate: f64,
}

#[derive(Serialize)]
struct ListedChunk {
    offset: u64,
    archive_len: u64,
    plain_len: u64,
    method: &'static str,
    lanes: u8,
}

impl ListedFile {
    pub fn new(listing: &Listing) -> Self {
        let (plain_len, archive_len) = (listing.plain_len(), listing.archive_len);
        Self {
            name: listing.name.clone(),
            archive_len,
            plain_len,
            ratio: ratio(plain_len, archive_len),
            bits_per_byte: bits_per_byte(plain_len, archive_len),
            streams: listing.streams.iter().map(ListedStream::new).collect(),
        }
    }
}

impl ListedStream {
    fn new(stream: &StreamInfo) -> Self {
        Self {
            offset: stream.offset,
            archive_len: stream.archive_len,
            plain_len: stream.plain_len(),
            format_version: FORMAT_VERSION,
            numerics: NUMERICS,
            form: if stream.content.is_some() { "long" } else { "single" },
            check: check_name(stream),
            content_blake3: stream.content.map(hex),
            model: stream.model.as_ref().map(ListedModel::new),
            adapter: stream.adapter.as_ref().map(ListedAdapter::new),
            prefix_len: stream.prefix_len,
            block_len: stream.block_len,
            steering: stream.steering.as_ref().map(ListedSteering::new),
            learning: stream.parameters.learning.as_ref().map(ListedLearning::new),
            chunks: stream.chunks.iter().map(ListedChunk::new).collect(),
        }
    }
}

impl ListedModel {
    fn new(name: &ModelName) -> Self {
        match name {
            ModelName::Builtin(code) => Self::Builtin(*code),
            ModelName::Digest { digest, label } => {
                Self::Digest { blake3: hex(*digest), label: label.clone() }
            }
        }
    }
}

impl ListedAdapter {
    fn new(name: &AdapterName) -> Self {
        Self { blake3: hex(name.digest), label: name.label.clone() }
    }
}

impl ListedSteering {
    fn new(name: &SteeringName) -> Self {
        match name {
            SteeringName::Random { count, seed } => Self::Random { count: *count, seed: *seed },
            SteeringName::Digest { digest, label } => {
                Self::Digest { blake3: hex(*digest), label: label.clone() }
            }
            SteeringName::Carried { code } => Self::Carried { len: code.len() },
        }
    }
}

impl ListedLearning {
    fn new(learning: &Learning) -> Self {
        let (kind, tokens) = (kind_name(learning.kind), 1 << learning.tokens_log2);
        Self { kind, tokens, rate: rate(learning) }
    }
}

impl ListedChunk {
    fn new(chunk: &ChunkInfo) -> Self {
        let ChunkInfo { offset, archive_len, plain_len, coding, .. } = *chunk;
        let (method, lanes) = (method_name(coding.method), coding.lanes);
        Self { offset, archive_len, plain_len, method, lanes }
    }
}

fn hex(digest: [u8; 32]) -> String {
    blake3::Hash::from_bytes(digest).to_hex().to_string()
}
