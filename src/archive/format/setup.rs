//! Start of a stream in either form: its model and its extensions (`docs/format.md`, sections 3
//! and 4).

use super::adapter;
use super::chunk_header::Tag;
use super::extension::{
    self, ADAPTER, BLOCKS, CONTEXT, Extensions, LEARNING, PREFIX, STEERING, TABLE, bad_content,
};
use super::label;
use super::learning;
use super::source::Source;
use super::steering;
use super::{BLOCK_UNIT, FORMAT_VERSION, MAGIC, MAX_BLOCK_LEN, NUMERICS, varint};
use crate::archive::{AdapterName, ModelName, SteeringName};
use crate::codec::{Coded, Parameters, Prefix};
use crate::error::{Error, Result};
use crate::models::Context;
use std::io::Read;

/// The only version byte of this release: format in the high nibble, numerics in the low.
pub(super) const VERSION: u8 = FORMAT_VERSION << 4 | NUMERICS;

/// Bit of the model byte: single form.
pub(super) const SINGLE: u8 = 0x80;

/// Bit of the model byte: a list of extensions follows.
const EXTENDED: u8 = 0x40;

/// Bits of the model byte that are the code.
const CODE: u8 = 0x3F;

/// Code of a stream that needs no model.
const NONE: u8 = 0;

/// Code of a model named by digest.
const BY_DIGEST: u8 = 63;

/// Longest context, in tokens.
const MAX_CONTEXT: u64 = 1 << 24;

/// Longest start that names a model by its digest, in bytes, extensions not counted.
pub(super) const MAX_DIGEST_LEN: u64 = 6 + 32 + 2 + label::MAX_LEN as u64;

/// Model, adapter, parameters, steering vectors and prefix that all chunks of a stream are coded with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::archive) struct Setup {
    /// `None` where no chunk runs a language model.
    pub(in crate::archive) model: Option<ModelName>,
    pub(in crate::archive) adapter: Option<AdapterName>,
    pub(in crate::archive) parameters: Parameters,
    pub(in crate::archive) steering: Option<SteeringName>,
    /// The coded prefix.
    pub(in crate::archive) prefix: Option<Coded<'static>>,
    /// Bytes of a block, where the chunks are blocks.
    pub(in crate::archive) block_len: Option<u32>,
}

/// A [`Setup`] whose checksum has not been seen yet.
pub(super) struct UncheckedSetup {
    model: Option<ModelName>,
    extensions: Extensions,
}

impl UncheckedSetup {
    /// Reads what follows the model byte.
    ///
    /// # Errors
    /// Io, Truncated, Corrupt.
    pub(super) fn read<R: Read>(model_byte: u8, source: &mut Source<R>) -> Result<Self> {
        let model = match model_byte & CODE {
            NONE => None,
            BY_DIGEST => Some(read_digest_name(source)?),
            code => Some(ModelName::Builtin(code)),
        };
        let extensions = match model_byte & EXTENDED {
            0 => Vec::new(),
            _ => extension::read(source)?,
        };
        Ok(Self { model, extensions })
    }

    /// The error of a wrong checksum, `wrong`, or that of steering vectors that are damaged.
    pub(super) fn damage(&self, wrong: Error) -> Error {
        let steering = self.extensions.iter().find(|(id, _)| *id == STEERING);
        steering.and_then(|(_, content)| steering::parse(content).err()).unwrap_or(wrong)
    }

    /// The setup, once its checksum has proved right.
    ///
    /// # Errors
    /// Unsupported, Corrupt.
    pub(super) fn checked(self) -> Result<Setup> {
        extension::check_known(&self.extensions)?;
        let mut setup = Setup { model: self.model, ..Setup::default() };
        for (id, content) in self.extensions {
            match id {
                CONTEXT => setup.parameters.context = Some(parse_context(&content)?),
                PREFIX => setup.prefix = Some(parse_prefix(&content)?),
                STEERING => setup.steering = Some(steering::parse(&content)?),
                ADAPTER => setup.adapter = Some(adapter::parse(&content)?),
                LEARNING => setup.parameters.learning = Some(learning::parse(&content)?),
                BLOCKS => setup.block_len = Some(parse_blocks(&content)?),
                _ => setup.parameters.table_log2 = parse_table(&content)?,
            }
        }
        Ok(setup)
    }
}

impl Setup {
    /// The start's bytes, from the magic on; `form`: [`SINGLE`] or 0.
    ///
    /// # Errors
    /// InvalidArgument where the model's label is too long or has control characters.
    pub(super) fn to_bytes(&self, form: u8) -> Result<Vec<u8>> {
        if let Some(SteeringName::Digest { label, .. }) = &self.steering {
            label::check(label)?;
        }
        self.adapter.as_ref().map_or(Ok(()), |adapter| label::check(&adapter.label))?;
        let extensions = self.extensions();
        let code = match self.model {
            None => NONE,
            Some(ModelName::Builtin(code)) => code,
            Some(ModelName::Digest { .. }) => BY_DIGEST,
        };
        let extended = if extensions.is_empty() { 0 } else { EXTENDED };
        let mut out = [&MAGIC[..], &[VERSION, form | extended | code]].concat();
        if let Some(ModelName::Digest { digest, label }) = &self.model {
            label::check(label)?;
            out.extend(digest);
            varint::put(&mut out, label.len() as u64);
            out.extend(label.bytes());
        }
        extension::put(&mut out, &extensions);
        Ok(out)
    }

    fn extensions(&self) -> Extensions {
        let mut extensions = Vec::new();
        if let Some(Context { len, overlap }) = self.parameters.context {
            let mut content = Vec::new();
            varint::put(&mut content, len.into());
            varint::put(&mut content, overlap.into());
            extensions.push((CONTEXT, content));
        }
        if let Some(prefix) = &self.prefix {
            let mut content = Vec::new();
            Tag::of(prefix.coding).put(&mut content);
            varint::put(&mut content, prefix.plain_len as u64);
            extensions.push((PREFIX, [&content, &prefix.payload[..]].concat()));
        }
        if self.parameters.table_log2 != Parameters::DEFAULT.table_log2 {
            extensions.push((TABLE, vec![self.parameters.table_log2]));
        }
        if let Some(name) = &self.steering {
            extensions.push((STEERING, steering::to_bytes(name)));
        }
        if let Some(learning) = &self.parameters.learning {
            extensions.push((LEARNING, learning::to_bytes(learning)));
        }
        if let Some(name) = &self.adapter {
            extensions.push((ADAPTER, adapter::to_bytes(name)));
        }
        if let Some(block_len) = self.block_len {
            let mut content = Vec::new();
            varint::put(&mut content, block_len.into());
            extensions.push((BLOCKS, content));
        }
        extensions
    }
}

/// Whether a start with `model_byte` names its model by digest.
pub(super) fn is_by_digest(model_byte: u8) -> bool {
    model_byte & (SINGLE | CODE) == BY_DIGEST
}

fn parse_context(content: &[u8]) -> Result<Context> {
    let mut source = Source::new(content);
    let field = |source: &mut Source<&[u8]>, most: u64| {
        source.varint("").ok().filter(|&n| n <= most).map(|n| n as u32)
    };
    let len = field(&mut source, MAX_CONTEXT).filter(|&len| len > 0);
    let overlap = len.and_then(|len| field(&mut source, Context::most_overlap(len).into()));
    match (len, overlap) {
        (Some(len), Some(overlap)) if source.offset() == content.len() as u64 => {
            Ok(Context { len, overlap })
        }
        _ => Err(bad_content("context", content)),
    }
}

fn parse_prefix(content: &[u8]) -> Result<Coded<'static>> {
    let mut source = Source::new(content);
    let tag = Tag::read(&mut source).and_then(|tag| tag.known()).ok();
    let tag = tag.filter(|tag| *tag == Tag::of(tag.coding())); // no block
    let coding = tag.map(Tag::coding).filter(|coding| coding.lanes == 1 && !coding.is_stored());
    let plain_len = source.varint_in("", 1..=Prefix::MAX_LEN as u32);
    let payload = &content[source.offset() as usize..];
    match (coding, plain_len) {
        (Some(coding), Ok(plain_len)) => {
            Ok(Coded { coding, plain_len: plain_len as usize, payload: payload.to_vec().into() })
        }
        _ => Err(bad_content("prefix", content)),
    }
}

fn parse_table(content: &[u8]) -> Result<u8> {
    match content {
        [table_log2] if Parameters::TABLE_LOG2.contains(table_log2) => Ok(*table_log2),
        _ => Err(bad_content("table size", content)),
    }
}

fn parse_blocks(content: &[u8]) -> Result<u32> {
    let mut source = Source::new(content);
    let block_len = source.varint_in("", BLOCK_UNIT..=MAX_BLOCK_LEN).ok();
    let is_all = source.offset() == content.len() as u64;
    let is_possible = |len: &u32| is_all && len.is_multiple_of(BLOCK_UNIT);
    block_len.filter(is_possible).ok_or_else(|| bad_content("block length", content))
}

/// Reads digest and label.
fn read_digest_name<R: Read>(source: &mut Source<R>) -> Result<ModelName> {
    let digest = source.bytes("the model's digest")?;
    Ok(ModelName::Digest { digest, label: label::read(source)? })
}
