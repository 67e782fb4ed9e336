//! The start of a stream, and the header of the long form.

use super::checksum::seal;
use super::model_name::ModelName;
use super::single::SingleHeader;
use super::source::Source;
use super::{FORMAT_VERSION, MAGIC, MAX_CHUNK_SIZE, NUMERICS, varint};
use crate::codec::Parameters;
use crate::error::{Error, ErrorKind, Result};
use crate::models::Context;
use std::io::Read;
use std::ops::RangeInclusive;

/// The only version byte of this release: format in the high nibble, numerics in the low.
const VERSION: u8 = FORMAT_VERSION << 4 | NUMERICS;

/// Bit of the model byte that says single form.
const SINGLE: u8 = 0x80;

/// Code that says: named by digest.
const BY_DIGEST: u8 = 0;

/// Flags that a reader must understand.
const MUST_UNDERSTAND: u8 = 0xF0;

/// Flag: lanes start afresh.
const CONTEXT: u8 = 0x10;

/// Flag: tokens stand before every lane.
const PREFIX: u8 = 0x20;

/// Flag: the size of the adaptive model's table.
const TABLE: u8 = 0x40;

/// Longest context, in tokens.
const MAX_CONTEXT: u32 = 1 << 24;

/// Past the ranks of any vocabulary.
const MAX_RANK: u32 = 1 << 20;

/// Shortest header of the long form, in bytes.
const MIN_LONG_LEN: u64 = 12;

/// Shortest stream with any content, in bytes: a single form of one byte.
const MIN_STREAM_LEN: u64 = 14;

/// In so many bytes there is no room for a stream beside a header of the long form.
pub(super) const ROOM_FOR_ONE: u64 = MIN_LONG_LEN + MIN_STREAM_LEN - 1;

/// Longest header that names a model by its digest, in bytes, parameters not counted.
const MAX_DIGEST_LEN: u64 = 6 + 32 + 2 + MAX_LABEL_LEN as u64 + 1 + 4 + 4;

/// Longest label, in bytes.
const MAX_LABEL_LEN: usize = 255;

/// A stream's header in either form.
#[derive(Debug)]
pub(super) enum Header {
    Single(SingleHeader),
    Long(LongHeader),
}

/// What the chunks of a long form stream have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LongHeader {
    pub(super) model: ModelName,
    /// Largest plain length of a chunk.
    pub(super) chunk_size: u32,
    pub(super) parameters: Parameters,
}

impl Header {
    /// Reads the header of the next stream; `None` where the input ends before it.
    ///
    /// # Errors
    /// Io, Truncated, NotAnArchive (where `is_first`), TrailingData (elsewhere), Unsupported,
    /// Corrupt.
    pub(super) fn read<R: Read>(source: &mut Source<R>, is_first: bool) -> Result<Option<Self>> {
        source.begin_check();
        if !read_magic(source, is_first)? {
            return Ok(None);
        }
        check_version(source.byte("the version byte")?)?;
        let model = source.byte("the model byte")?;
        if model & SINGLE != 0 {
            return Ok(Some(Self::Single(SingleHeader::read(model & !SINGLE, source)?)));
        }
        Ok(Some(Self::Long(LongHeader::read(model, source)?)))
    }
}

impl LongHeader {
    /// Reads what follows the model byte `code`.
    fn read<R: Read>(code: u8, source: &mut Source<R>) -> Result<Self> {
        let model = match code {
            BY_DIGEST => read_digest_name(source)?,
            _ => ModelName::Builtin(code),
        };
        let flags = source.byte("the flags")?;
        let chunk_size = source.varint_in("chunk_size", 1..=MAX_CHUNK_SIZE)?;
        source.expect_crc32("the header's CRC")?;
        let known = CONTEXT | PREFIX | TABLE;
        if flags & MUST_UNDERSTAND & !known != 0 {
            let message =
                format!("the archive has feature flags {flags:#04x}, known are {known:#04x}");
            return Err(newer(message));
        }
        let parameters = read_parameters(flags & known, source)?;
        Ok(Self { model, chunk_size, parameters })
    }

    /// The header's bytes, from the magic on.
    ///
    /// # Errors
    /// InvalidArgument where the model's label is too long or has control characters.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = match &self.model {
            ModelName::Builtin(code) => start(*code),
            ModelName::Digest { digest, label } => {
                check_label(label).map_err(|m| Error::new(ErrorKind::InvalidArgument, m))?;
                let mut out = [&start(BY_DIGEST)[..], digest].concat();
                varint::put(&mut out, label.len() as u64);
                out.extend(label.bytes());
                out
            }
        };
        let fields = parameter_fields(&self.parameters);
        out.push(fields.iter().fold(0, |flags, (flag, _)| flags | flag));
        varint::put(&mut out, self.chunk_size.into());
        seal(&mut out);
        let mut parameters: Vec<u8> = fields.into_iter().flat_map(|(_, field)| field).collect();
        if !parameters.is_empty() {
            seal(&mut parameters);
        }
        Ok([out, parameters].concat())
    }
}

/// The fields of those parameters that are not the default, with their flags, in the order of the
/// file.
fn parameter_fields(parameters: &Parameters) -> Vec<(u8, Vec<u8>)> {
    let Parameters { context, prefix, table_log2 } = parameters;
    let numbers = |numbers: &mut dyn Iterator<Item = u32>| {
        let mut field = Vec::new();
        numbers.for_each(|n| varint::put(&mut field, n.into()));
        field
    };
    let mut fields = Vec::new();
    if let Some(Context { len, overlap }) = *context {
        fields.push((CONTEXT, numbers(&mut [len, overlap].into_iter())));
    }
    if !prefix.is_empty() {
        let len = prefix.len() as u32;
        fields.push((PREFIX, numbers(&mut std::iter::once(len).chain(prefix.iter().copied()))));
    }
    if *table_log2 != Parameters::default().table_log2 {
        fields.push((TABLE, vec![*table_log2]));
    }
    fields
}

/// Reads the fields that `flags` announce, and their CRC.
fn read_parameters<R: Read>(flags: u8, source: &mut Source<R>) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    if flags == 0 {
        return Ok(parameters);
    }
    source.begin_check();
    if flags & CONTEXT != 0 {
        let len = source.varint_in("the context's length", 1..=MAX_CONTEXT)?;
        let most = Context::most_overlap(len);
        let overlap = source.varint_in("the context's overlap", 0..=most)?;
        parameters.context = Some(Context { len, overlap });
    }
    if flags & PREFIX != 0 {
        let most = Parameters::MAX_PREFIX as u32;
        let n = source.varint_in("the prefix's length", 1..=most)?;
        let token = |_| source.varint_in("a token of the prefix", 0..=MAX_RANK);
        parameters.prefix = (0..n).map(token).collect::<Result<_>>()?;
    }
    if flags & TABLE != 0 {
        let table_log2 = source.byte("the table's size")?;
        if !Parameters::TABLE_LOG2.contains(&table_log2) {
            return Err(source.corrupt(format!("the table's size is 2^{table_log2} bytes")));
        }
        parameters.table_log2 = table_log2;
    }
    source.expect_crc32("the parameters' CRC")?;
    Ok(parameters)
}

/// Bytes that the damaged header of a long form at which `source` stands may fill. Where there are more,
/// there may have been another stream before it; where there are fewer, bytes were lost.
///
/// # Errors
/// Io.
pub(super) fn room_for_damaged<R: Read>(source: &mut Source<R>) -> Result<RangeInclusive<u64>> {
    let by_digest = start(BY_DIGEST);
    let mut bytes = vec![0; by_digest.len()];
    let n_read = source.fill(&mut bytes)?;
    let is_by_digest = bytes[..n_read] == by_digest;
    Ok(MIN_LONG_LEN..=if is_by_digest { MAX_DIGEST_LEN } else { ROOM_FOR_ONE })
}

/// Magic, version and model byte of a stream in single form.
pub(super) fn single_start(code: u8) -> Vec<u8> {
    start(code | SINGLE)
}

/// Magic, version and model byte.
fn start(model: u8) -> Vec<u8> {
    [&MAGIC[..], &[VERSION, model]].concat()
}

/// Reads the magic; false where the input ends before it.
fn read_magic<R: Read>(source: &mut Source<R>, is_first: bool) -> Result<bool> {
    let offset = source.offset();
    let mut bytes = [0; MAGIC.len()];
    let n_read = source.fill(&mut bytes)?;
    let got = &bytes[..n_read];
    if got == MAGIC {
        return Ok(true);
    }
    if got.is_empty() && !is_first {
        return Ok(false);
    }
    Err(bad_magic(got, offset, is_first))
}

/// The error for `got` where a stream's magic was expected.
fn bad_magic(got: &[u8], offset: u64, is_first: bool) -> Error {
    let (kind, message) = if got.is_empty() {
        (ErrorKind::Truncated, "empty input is not an archive".into())
    } else if MAGIC.starts_with(got) {
        (ErrorKind::Truncated, format!("truncated at offset {offset}, inside the magic bytes"))
    } else if !is_first {
        (
            ErrorKind::TrailingData,
            format!("bytes at offset {offset} are not an archive: {got:02x?}"),
        )
    } else if got.starts_with(b"\x9CL\n") || got == b"\x9CL\r\r" {
        let message = "an archive damaged by a text-mode transfer: its line ends were converted";
        (ErrorKind::NotAnArchive, message.into())
    } else {
        let message = format!("not an archive: begins with {got:02x?}, expected {MAGIC:02x?}");
        (ErrorKind::NotAnArchive, message)
    };
    Error::new(kind, message)
}

/// Refuses formats and numerics that this release does not know.
fn check_version(version: u8) -> Result<()> {
    let (format, numerics) = (version >> 4, version & 0x0F);
    if format != FORMAT_VERSION {
        let message = format!("the archive has format version {format}, known is {FORMAT_VERSION}");
        return Err(newer(message));
    }
    if numerics != NUMERICS {
        let message = format!("the archive has numerics {numerics}, known is {NUMERICS}");
        return Err(newer(message));
    }
    Ok(())
}

fn newer(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

/// Reads digest and label.
fn read_digest_name<R: Read>(source: &mut Source<R>) -> Result<ModelName> {
    let digest = source.bytes("the model's digest")?;
    let len = source.varint_in("the label's length", 0..=MAX_LABEL_LEN as u32)?;
    let mut label = [0; MAX_LABEL_LEN];
    for byte in &mut label[..len as usize] {
        *byte = source.byte("the model's label")?;
    }
    let label = std::str::from_utf8(&label[..len as usize])
        .map_err(|_| source.corrupt("the model's label is not UTF-8"))?;
    check_label(label).map_err(|message| source.corrupt(message))?;
    Ok(ModelName::Digest { digest, label: label.to_owned() })
}

/// What is wrong with `label`.
fn check_label(label: &str) -> Result<(), &'static str> {
    if label.len() > MAX_LABEL_LEN {
        return Err("the model's label is longer than 255 bytes");
    }
    if label.contains(char::is_control) {
        return Err("the model's label has control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(label: &str) -> LongHeader {
        let model = ModelName::Digest { digest: [0xAB; 32], label: label.into() };
        LongHeader { model, chunk_size: 1 << 20, parameters: Parameters::default() }
    }

    #[test]
    fn long_headers_come_back() {
        let builtin = LongHeader {
            model: ModelName::Builtin(127),
            chunk_size: MAX_CHUNK_SIZE,
            parameters: Parameters {
                context: Some(Context { len: 1000, overlap: 300 }),
                prefix: vec![1, 1 << 19],
                table_log2: 20,
            },
        };
        for header in [builtin, named(""), named("Qwen3 0.6B ü"), named(&"x".repeat(255))] {
            let bytes = header.to_bytes().unwrap();
            let mut source = Source::new(&bytes[..]);
            match Header::read(&mut source, true).unwrap() {
                Some(Header::Long(got)) => assert_eq!(got, header),
                other => panic!("{other:?}"),
            }
            assert_eq!(source.offset(), bytes.len() as u64);
            for len in (0..bytes.len()).step_by(if cfg!(miri) { 29 } else { 1 }) {
                let cut = Header::read(&mut Source::new(&bytes[..len]), true);
                assert_eq!(cut.unwrap_err().kind(), ErrorKind::Truncated);
            }
        }
    }

    #[test]
    fn labels_that_could_not_be_read_are_not_written() {
        for label in ["a\nb", "\u{7f}", &"x".repeat(256)] {
            let error = named(label).to_bytes().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
