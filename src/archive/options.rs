//! Options of compression and decompression.

use super::format::{BLOCK_UNIT, MAX_BLOCK_LEN, MAX_CHUNK_SIZE};
use super::{
    DEFAULT_LEVEL, DEFAULT_PIECE, Interrupt, NamedSteering, Progress, Resources, default_chunk_size,
};
use crate::codec::{ChunkOptions, MAX_LANES, Parameters};
use crate::error::{Error, ErrorKind, Result};
use crate::models::Learning;
use crate::ops::Isa;

/// Options of compression and decompression; each call looks at those that concern it.
///
/// ```
/// use llmzip::Options;
///
/// let options = Options::default().level(9).threads(4).prefix("id,name,city\n");
/// assert_eq!(options.chunk_size, None);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Effort of compression, 1..=9 (docs/levels.md); levels 1 to 3 run no language model.
    pub level: u8,
    /// Plain bytes in a chunk, 1..=[`MAX_CHUNK_SIZE`]; `None` chooses by level.
    pub chunk_size: Option<u32>,
    /// Bytes of a block, a multiple of [`BLOCK_UNIT`] up to [`MAX_BLOCK_LEN`], where the archive is to be one
    /// of blocks: `chunk_size` plain bytes at a time are cut into chunks that fill a block each, as far as
    /// there is text.
    pub block_len: Option<u32>,
    /// Lanes of a chunk, 1..=[`MAX_LANES`]; `None` chooses by level and the chunk's length.
    pub lanes: Option<u8>,
    /// Whether the adaptive model may be mixed in.
    pub mix: bool,
    /// A text that every chunk goes on from, up to [`Prefix::MAX_LEN`](crate::codec::Prefix::MAX_LEN)
    /// bytes; it stands in the archive.
    pub prefix: Vec<u8>,
    /// Vectors before all text that the language model reads; their name stands in the archive.
    pub steering: Option<NamedSteering>,
    /// Tokens until a lane starts afresh, where the model's window does not slide; `None`: the
    /// model's positions, up to [`Context::DEFAULT_LEN`](crate::models::Context::DEFAULT_LEN).
    pub context: Option<u32>,
    /// Size limit of the adaptive model's table in a chunk, log2 of bytes.
    pub table_log2: u8,
    /// How the language model learns from each chunk while that is coded; `None`: it stays as it is.
    pub learning: Option<Learning>,
    /// Whether compression decodes each chunk before it is written, and stores it where that fails.
    pub verify: bool,
    /// Threads to use, at least 1; changes no byte. As many chunks are in memory at once; more where
    /// they are small, up to 256 KiB of plain bytes for each thread; fewer where `memory` is little.
    pub threads: usize,
    /// Memory budget in bytes: of the language model and its lanes, and of the chunks in memory, of which
    /// one must fit; changes no byte.
    pub memory: u64,
    /// Most plain bytes that decompression gives out.
    pub max_output: Option<u64>,
    /// The instruction set of decompression without a language model; changes no byte.
    pub isa: Isa,
    /// Asked while threads work, whether to stop.
    pub interrupt: Option<Interrupt>,
}

impl Default for Options {
    /// Level 6, all by level, mixed, verified, one thread, no limits, this machine's best
    /// instruction set.
    fn default() -> Self {
        Self {
            level: DEFAULT_LEVEL,
            chunk_size: None,
            block_len: None,
            lanes: None,
            mix: true,
            prefix: Vec::new(),
            steering: None,
            context: None,
            table_log2: Parameters::DEFAULT.table_log2,
            learning: None,
            verify: true,
            threads: 1,
            memory: u64::MAX,
            max_output: None,
            isa: Isa::detect(),
            interrupt: None,
        }
    }
}

/// Methods that set the field of their name; those after `into` take all that becomes its type.
macro_rules! setters {
    ($($name:ident: $type:ty,)*; into $($into:ident: $into_type:ty,)*) => {
        impl Options {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](field@Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $name(self, $name: $type) -> Self {
                    Self { $name, ..self }
                }
            )*
            $(
                #[doc = concat!("Sets [`", stringify!($into), "`](field@Self::", stringify!($into), ").")]
                #[must_use]
                pub fn $into(self, $into: impl Into<$into_type>) -> Self {
                    Self { $into: $into.into(), ..self }
                }
            )*
        }
    };
}

setters! {
    level: u8,
    mix: bool,
    table_log2: u8,
    verify: bool,
    threads: usize,
    memory: u64,
    isa: Isa,;
    into
    chunk_size: Option<u32>,
    block_len: Option<u32>,
    lanes: Option<u8>,
    prefix: Vec<u8>,
    steering: Option<NamedSteering>,
    context: Option<u32>,
    learning: Option<Learning>,
    max_output: Option<u64>,
    interrupt: Option<Interrupt>,
}

impl Options {
    /// Whether a language model may code; else the archive needs and names none.
    pub fn may_run_model(&self) -> bool {
        self.chunk_options().may_run_model()
    }

    /// Plain bytes in a chunk, as set or by level; those cut into blocks at a time.
    pub fn resolved_chunk_size(&self) -> u32 {
        let least = self.block_len.map_or(0, |_| DEFAULT_PIECE);
        self.chunk_size.unwrap_or_else(|| default_chunk_size(self.level).max(least))
    }

    pub(super) fn chunk_options(&self) -> ChunkOptions {
        let Self { level, lanes, mix, .. } = *self;
        ChunkOptions { level, lanes, mix }
    }

    /// Resources of all that is coded at a time.
    pub(super) fn resources<'a>(&self, progress: Progress<'a>) -> Resources<'a> {
        let Self { threads, memory, isa, .. } = *self;
        Resources { isa, threads: threads.max(1), memory, progress }
    }

    /// Checks the options of compression.
    ///
    /// # Errors
    /// InvalidArgument where a field is out of range.
    pub(super) fn check(&self) -> Result<()> {
        let (lanes, chunk_size) = (self.lanes.unwrap_or(1), self.resolved_chunk_size());
        let message = if !(1..=MAX_CHUNK_SIZE).contains(&chunk_size) {
            format!("chunk_size is {chunk_size}, expected 1 to {MAX_CHUNK_SIZE}")
        } else if !(1..=MAX_LANES).contains(&lanes) {
            format!("lanes is {lanes}, expected 1 to {MAX_LANES}")
        } else if let Some(len) = self.block_len.filter(|&len| !is_block_len(len)) {
            format!("block_len is {len}, expected a multiple of {BLOCK_UNIT} up to {MAX_BLOCK_LEN}")
        } else if self.block_len.is_some() && lanes > 1 {
            format!("lanes is {lanes}, blocks have 1")
        } else if !(1..=9).contains(&self.level) {
            format!("level is {}, expected 1 to 9", self.level)
        } else if !Parameters::TABLE_LOG2.contains(&self.table_log2) {
            format!("table_log2 is {}, expected {:?}", self.table_log2, Parameters::TABLE_LOG2)
        } else if self.learning.is_some_and(|learning| !learning.is_possible()) {
            format!("learning is {:?}, out of range", self.learning)
        } else if self.threads == 0 {
            "threads is 0, expected at least 1".into()
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// Refuses content of `total` bytes where that is more than the limit.
    ///
    /// # Errors
    /// LimitExceeded.
    pub(super) fn check_limit(&self, total: u64) -> Result<()> {
        match self.max_output {
            Some(limit) if total > limit => {
                let message =
                    format!("the content has at least {total} bytes, the limit is {limit}");
                Err(Error::new(ErrorKind::LimitExceeded, message))
            }
            _ => Ok(()),
        }
    }
}

fn is_block_len(len: u32) -> bool {
    (BLOCK_UNIT..=MAX_BLOCK_LEN).contains(&len) && len.is_multiple_of(BLOCK_UNIT)
}
