//! The bytes of an archive: a file for each section of `docs/format.md`, reading and writing.

mod adapter;
mod checksum;
mod chunk_header;
mod extension;
mod footer;
mod header;
mod index;
mod label;
mod learning;
mod padding;
mod setup;
mod single;
mod source;
mod steering;
mod varint;

pub(super) use checksum::crc32;
pub(super) use chunk_header::{ChunkHeader, END_TAG, Extent};
pub(super) use footer::{FOOTER_LEN, Footer};
#[cfg(feature = "cli")]
pub use header::refuse_foreign;
pub(super) use header::{Header, LongHeader, ROOM_FOR_ONE, room_for_damaged};
pub(super) use index::{IndexAtEnd, Tail, index_bytes, read_and_compare, read_index};
pub(super) use setup::Setup;
pub(super) use single::SingleHeader;
pub(super) use source::Source;

/// First bytes of a stream (section 3).
pub const MAGIC: [u8; 4] = [0x9C, b'L', b'\r', b'\n'];

/// The format version that this release writes, and the newest that it reads.
pub const FORMAT_VERSION: u8 = 1;

/// The order of operations that this release codes with (`docs/numerics.md`).
pub const NUMERICS: u8 = crate::ops::NUMERICS_VERSION;

/// Largest plain length of a chunk, in bytes (section 11).
pub const MAX_CHUNK_SIZE: u32 = 64 << 20;

/// Bytes that a block's length is a multiple of (section 4): those of a disk's sector.
pub const BLOCK_UNIT: u32 = 512;

/// Longest block, in bytes (section 11).
pub const MAX_BLOCK_LEN: u32 = 1 << 20;

/// An error that a newer release would not give.
fn unsupported(message: String) -> crate::Error {
    crate::Error::new(crate::ErrorKind::Unsupported, message)
}
