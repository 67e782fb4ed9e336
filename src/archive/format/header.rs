//! Start of a stream in both forms, and the header of the long form (`docs/format.md`, sections 3
//! and 6).

use super::checksum::seal;
use super::setup::{MAX_DIGEST_LEN, SINGLE, Setup, UncheckedSetup, VERSION, is_by_digest};
use super::single::SingleHeader;
use super::source::Source;
use super::{FORMAT_VERSION, MAGIC, MAX_CHUNK_SIZE, NUMERICS, unsupported, varint};
use crate::error::{Error, ErrorKind, Result};
use std::io::Read;
use std::ops::RangeInclusive;

/// Shortest header of the long form, in bytes.
const MIN_LONG_LEN: u64 = 11;

/// Longest chunk_size and header CRC, in bytes.
const LONG_FIELDS_LEN: u64 = 4 + 4;

/// Shortest stream with any content, in bytes: a single form of one byte.
const MIN_STREAM_LEN: u64 = 14;

/// In so many bytes there is no room for a stream beside a header of the long form.
pub(in crate::archive) const ROOM_FOR_ONE: u64 = MIN_LONG_LEN + MIN_STREAM_LEN - 1;

/// A stream's header in either form.
#[derive(Debug)]
pub(in crate::archive) enum Header {
    Single(SingleHeader),
    Long(LongHeader),
}

/// Header of a stream in long form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::archive) struct LongHeader {
    pub(in crate::archive) setup: Setup,
    /// Largest plain length of a chunk.
    pub(in crate::archive) chunk_size: u32,
    /// Where its padding is damaged, which costs nothing else: offset and value of the first byte that is not zero.
    pub(in crate::archive) bad_padding: Option<(u64, u8)>,
}

impl Header {
    /// Reads the header of the next stream; `None` where the input ends before it, or nothing but
    /// padding follows.
    ///
    /// # Errors
    /// Io, Truncated, NotAnArchive (where `is_first`), TrailingData (elsewhere), Unsupported,
    /// Corrupt.
    pub(in crate::archive) fn read<R: Read>(
        source: &mut Source<R>,
        is_first: bool,
    ) -> Result<Option<Self>> {
        source.begin_check();
        let start = source.offset();
        if !read_magic(source, is_first)? {
            return Ok(None);
        }
        check_version(source.byte("the version byte")?)?;
        let model = source.byte("the model byte")?;
        let setup = UncheckedSetup::read(model, source)?;
        Ok(Some(match model & SINGLE {
            0 => Self::Long(LongHeader::read(setup, source)?.with_padding(start, source)?),
            _ => Self::Single(SingleHeader::read(setup, source)?),
        }))
    }

    /// Model, parameters and prefix.
    pub(in crate::archive) fn setup(&self) -> &Setup {
        match self {
            Self::Single(header) => &header.setup,
            Self::Long(header) => &header.setup,
        }
    }
}

impl LongHeader {
    /// Reads the fields that follow `setup`, up to the padding.
    fn read<R: Read>(setup: UncheckedSetup, source: &mut Source<R>) -> Result<Self> {
        let chunk_size = source.varint_in("chunk_size", 1..=MAX_CHUNK_SIZE)?;
        let expected = source.checksum().crc32();
        let got = source.u32("the header's CRC")?;
        source.expect("the header's CRC", got, expected).map_err(|e| setup.damage(e))?;
        Ok(Self { setup: setup.checked()?, chunk_size, bad_padding: None })
    }

    /// Reads the padding, if there is any, of a header that begins at `start`.
    fn with_padding<R: Read>(mut self, start: u64, source: &mut Source<R>) -> Result<Self> {
        let Some(block_len) = self.setup.block_len else { return Ok(self) };
        let offset = source.offset();
        let padding =
            source.field(padding_len(offset - start, block_len), "the header's padding")?;
        self.bad_padding = (offset..).zip(padding).find(|&(_, byte)| byte != 0);
        Ok(self)
    }

    /// The damage of its padding, if any. All else is good then.
    pub(in crate::archive) fn padding_fault(&self) -> Option<Error> {
        self.bad_padding.map(|(offset, byte)| {
            let message = format!(
                "damaged at offset {offset}: the header's padding has the byte {byte:#04x}, expected zeros"
            );
            Error::new(ErrorKind::Corrupt, message)
        })
    }

    /// The header's bytes, from the magic on.
    ///
    /// # Errors
    /// InvalidArgument where the model's label is too long or has control characters.
    pub(in crate::archive) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = self.setup.to_bytes(0)?;
        varint::put(&mut out, self.chunk_size.into());
        seal(&mut out);
        if let Some(block_len) = self.setup.block_len {
            out.resize(out.len() + padding_len(out.len() as u64, block_len) as usize, 0);
        }
        Ok(out)
    }
}

/// Zeros with which a header of `len` bytes fills whole blocks of `block_len`.
fn padding_len(len: u64, block_len: u32) -> u32 {
    (len.next_multiple_of(block_len.into()) - len) as u32
}

/// Bytes that the damaged header of a long form at which `source` stands may fill. Where there are more,
/// there may have been another stream before it; where there are fewer, bytes were lost.
///
/// # Errors
/// Io.
pub(in crate::archive) fn room_for_damaged<R: Read>(
    source: &mut Source<R>,
) -> Result<RangeInclusive<u64>> {
    let mut bytes = [0; MAGIC.len() + 2];
    let n_read = source.fill(&mut bytes)?;
    let start = [&MAGIC[..], &[VERSION]].concat();
    let by_digest =
        n_read == bytes.len() && bytes.starts_with(&start) && is_by_digest(bytes[start.len()]);
    Ok(MIN_LONG_LEN..=if by_digest { MAX_DIGEST_LEN + LONG_FIELDS_LEN } else { ROOM_FOR_ONE })
}

/// Reads the magic; false where the input ends before it, or has nothing but padding.
fn read_magic<R: Read>(source: &mut Source<R>, is_first: bool) -> Result<bool> {
    let offset = source.offset();
    let mut bytes = [0; MAGIC.len()];
    let n_read = source.fill(&mut bytes)?;
    let got = &bytes[..n_read];
    if got == MAGIC {
        return Ok(true);
    }
    if !is_first && got.iter().all(|&byte| byte == 0) && source.rest_is_padding()? {
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
        let other = || format!("not an archive: begins with {got:02x?}, expected {MAGIC:02x?}");
        return refuse_foreign(got)
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::NotAnArchive, other()));
    };
    Error::new(kind, message)
}

/// Refuses a file that another program packed, of which `head` is the beginning.
///
/// # Errors
/// NotAnArchive, with the program to use.
pub fn refuse_foreign(head: &[u8]) -> Result<()> {
    match foreign_name(head) {
        Some(name) => {
            let message = format!("not an archive of llmzip, but {name}");
            Err(Error::new(ErrorKind::NotAnArchive, message))
        }
        None => Ok(()),
    }
}

/// The kind of file that begins with `head`, for a message: what people mistake for an archive.
fn foreign_name(head: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 10] = [
        (b"\x1F\x8B", "gzip: use gunzip"),
        (b"\xFD7zX", "xz: use unxz"),
        (b"\x28\xB5\x2F\xFD", "Zstandard: use unzstd"),
        (b"BZh", "bzip2: use bunzip2"),
        (b"PK\x03\x04", "zip: use unzip"),
        (b"7z\xBC\xAF", "7-Zip: use 7z"),
        (b"\x04\x22\x4D\x18", "LZ4: use unlz4"),
        (b"LZIP", "lzip: use lunzip"),
        (b"Rar!", "RAR: use unrar"),
        (b"\x1F\x9D", "compress: use uncompress"),
    ];
    KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
}

/// Refuses formats and numerics that this release does not know.
fn check_version(version: u8) -> Result<()> {
    let (format, numerics) = (version >> 4, version & 0x0F);
    if format != FORMAT_VERSION {
        let message = format!("the archive has format version {format}, known is {FORMAT_VERSION}");
        return Err(unsupported(message));
    }
    if numerics != NUMERICS {
        let message = format!("the archive has numerics {numerics}, known is {NUMERICS}");
        return Err(unsupported(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{AdapterName, ModelName, SteeringName};
    use crate::codec::{Coded, Coding, Method, Parameters};
    use crate::models::{Context, Learning, LearningKind};

    fn named(label: &str) -> LongHeader {
        let model = Some(ModelName::Digest { digest: [0xAB; 32], label: label.into() });
        let setup = Setup { model, ..Setup::default() };
        LongHeader { setup, chunk_size: 1 << 20, bad_padding: None }
    }

    #[test]
    fn long_headers_come_back() {
        let coding = Coding { method: Method::Mixed, lanes: 1 };
        let builtin = Setup {
            model: Some(ModelName::Builtin(62)),
            adapter: Some(AdapterName { digest: [0xCD; 32], label: "logs".into() }),
            parameters: Parameters {
                context: Some(Context { len: 1000, overlap: 300 }),
                table_log2: 20,
                learning: Some(Learning::of(LearningKind::All)),
            },
            steering: Some(SteeringName::Random { count: 3, seed: 1 << 40 }),
            prefix: Some(Coded { coding, plain_len: 9, payload: vec![1, 2, 3].into() }),
            block_len: None,
        };
        let blocks = [512, 2048].map(|block_len| LongHeader {
            setup: Setup { block_len: Some(block_len), ..builtin.clone() },
            chunk_size: 1 << 20,
            bad_padding: None,
        });
        let of = |setup, chunk_size| LongHeader { setup, chunk_size, bad_padding: None };
        let (builtin, no_model) = (of(builtin, MAX_CHUNK_SIZE), of(Setup::default(), 1));
        let digests = ["", "Qwen3 0.6B ü", &"x".repeat(255)].map(named);
        for header in [builtin, no_model].into_iter().chain(digests).chain(blocks) {
            let bytes = header.to_bytes().unwrap();
            let whole = header.setup.block_len.unwrap_or(1) as usize;
            assert!(bytes.len().is_multiple_of(whole), "{} bytes", bytes.len());
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
    fn damaged_padding_is_named_and_costs_nothing() {
        let setup = Setup { block_len: Some(512), ..Setup::default() };
        let header = LongHeader { setup, chunk_size: 1 << 20, bad_padding: None };
        let good = header.to_bytes().unwrap();
        let padding = good.iter().rposition(|&byte| byte != 0).unwrap() + 1..good.len();
        assert!(padding.len() > 400);
        for at in padding {
            let mut bytes = good.clone();
            bytes[at..].fill(0x40);
            let got = match Header::read(&mut Source::new(&bytes[..]), true).unwrap() {
                Some(Header::Long(got)) => got,
                other => panic!("{other:?}"),
            };
            assert_eq!(got.bad_padding, Some((at as u64, 0x40)));
            assert!(got.padding_fault().unwrap().to_string().contains(&format!("offset {at}: ")));
            assert_eq!(LongHeader { bad_padding: None, ..got }, header);
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
