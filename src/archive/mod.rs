//! The file format: framing, checksums, index and the names of models (`docs/format.md`).
//!
//! The archive drives the codec and never looks inside a coded chunk. Its bytes depend on the input
//! and the options only: never on threads, on how a reader splits the input, or on the machine.
//!
//! ```
//! use llmzip::archive::{self, BuiltinModels, Options};
//! use llmzip::ops::Isa;
//!
//! let models = BuiltinModels::new(Isa::detect());
//! let model = models.default_model()?;
//! let mut packed = Vec::new();
//! archive::compress(&b"hello"[..], &mut packed, &model, &Options::default(), &|_| ())?;
//!
//! let (mut plain, options) = (Vec::new(), Options::default());
//! archive::decompress(&packed[..], &mut plain, &models, &options, &|_| ())?;
//! assert_eq!(plain, b"hello");
//! # Ok::<(), llmzip::Error>(())
//! ```

mod adapter;
mod chunk;
mod compress;
mod decompress;
mod format;
mod frame;
mod held;
mod interrupt;
mod list;
mod model_name;
mod options;
mod place;
mod pool;
mod random_access;
mod repair;
mod steering;
mod steering_name;

use crate::error::{Error, ErrorKind, Result};
use crate::models::Model;
use crate::ops::Isa;
use crate::predict::MixingConfig;

pub use crate::codec::Progress;
pub use adapter::AdapterName;
pub use compress::{Encoder, compress};
pub use decompress::{Decoder, decompress};
#[cfg(feature = "cli")]
pub(crate) use format::refuse_foreign;
pub use format::{BLOCK_UNIT, FORMAT_VERSION, MAGIC, MAX_BLOCK_LEN, MAX_CHUNK_SIZE, NUMERICS};
pub use interrupt::Interrupt;
pub use list::{ChunkInfo, StreamInfo, list};
pub use model_name::{BuiltinModels, ModelName, ModelSource};
pub use options::Options;
pub use random_access::{Block, read_block, read_chunk, read_range};
pub use repair::{Damage, Missing, Recovery, recover};
pub use steering::NamedSteering;
pub use steering_name::SteeringName;

/// Plain length of a chunk at `level` unless the caller asks for another, in bytes
/// (`docs/levels.md`).
pub fn default_chunk_size(level: u8) -> u32 {
    if level < 9 { 4 << 20 } else { 8 << 20 }
}

/// Plain bytes of a piece that is cut into blocks, unless the caller asks for another or a chunk has more: what
/// its last block lacks is little beside it.
const DEFAULT_PIECE: u32 = 4 << 20;

/// Effort unless the caller asks for another: 1 is fast, 9 is small.
pub const DEFAULT_LEVEL: u8 = 6;

/// Resource limits for coding chunks.
#[derive(Clone, Copy)]
struct Resources<'a> {
    isa: Isa,
    /// At least 1.
    threads: usize,
    /// Bytes, for the language model and its lanes.
    memory: u64,
    progress: Progress<'a>,
}

impl Resources<'_> {
    /// The resources that `model` leaves, once it is loaded.
    fn beside(self, model: Option<&Model>) -> Self {
        let weights = model.map_or(0, |model| model.architecture().footprint().weights);
        Self { memory: self.memory.saturating_sub(weights), ..self }
    }
}

/// Plain bytes for each thread that are worth a batch: what lanes at the default level step
/// together.
const BATCH_LEN: u64 = 1 << 18;

/// Chunks that are to be coded side by side.
#[derive(Debug, Clone, Copy, Default)]
struct BatchLoad {
    n_chunks: usize,
    plain_len: u64,
    /// Bytes that coding them takes, about.
    memory: u64,
    /// Those of the chunk that takes most.
    largest: u64,
}

impl BatchLoad {
    /// Adds a chunk that `adaptive` takes part in.
    fn add(&mut self, plain_len: u64, adaptive: Option<&MixingConfig>) {
        let memory = memory_of_chunk(plain_len, adaptive);
        self.n_chunks += 1;
        self.plain_len += plain_len;
        self.memory += memory;
        self.largest = self.largest.max(memory);
    }

    /// Whether the chunks keep `threads` threads busy, or one more like them would not fit in `memory`
    /// bytes.
    fn is_full(&self, threads: usize, memory: u64) -> bool {
        let threads = threads.max(1);
        let is_busy = self.n_chunks >= threads && self.plain_len >= threads as u64 * BATCH_LEN;
        is_busy || (self.n_chunks > 0 && self.memory + self.largest > memory)
    }

    /// Refuses a chunk that would not fit in `memory` bytes alone.
    ///
    /// # Errors
    /// [`ErrorKind::MemoryExceeded`].
    fn check(&self, memory: u64) -> Result<()> {
        if self.largest <= memory {
            return Ok(());
        }
        let kib = |bytes: u64| bytes.div_ceil(1024);
        let (needed, limit) = (kib(self.largest), memory / 1024);
        let message = format!("a chunk takes about {needed} KiB, the limit leaves {limit}");
        Err(Error::new(ErrorKind::MemoryExceeded, message))
    }
}

/// Bytes that coding a chunk takes beside a language model and its lanes, about: its own bytes, those
/// it decodes to or is verified by, and those of the adaptive model.
fn memory_of_chunk(plain_len: u64, adaptive: Option<&MixingConfig>) -> u64 {
    3 * plain_len + adaptive.map_or(0, MixingConfig::footprint)
}

/// Figures of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Plain bytes.
    pub plain_len: u64,
    /// Archive bytes.
    pub archive_len: u64,
    /// Streams; always 1 after [`compress`].
    pub n_streams: u64,
    /// Chunks in all streams.
    pub n_chunks: u64,
    /// Chunks that are stored as they were.
    pub n_stored: u64,
    /// Chunks that did not decode to what was encoded and were stored instead: a bug in the codec
    /// or a fault of the machine, but no loss.
    pub verify_failures: u64,
}

#[cfg(test)]
mod tests;
