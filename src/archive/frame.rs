//! A chunk as it was read, and the decoder of a stream's chunks.

use super::adapter::adapted;
use super::format::{ChunkHeader, Extent, Setup, SingleHeader, Source, crc32};
use super::pool::Pool;
use super::steering::find_steering;
use super::{ModelName, ModelSource, Resources};
use crate::codec::{self, Codec, Coded, Prefix, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Model, Steering};
use crate::predict::MixingConfig;
use crate::profile::{Part, enter};
use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

/// Header and payload of a chunk in either form; nothing of them needs another check but the plain
/// bytes.
pub(super) struct Frame {
    pub(super) extent: Extent,
    payload: Vec<u8>,
    check: Check,
}

/// Checksums that the plain bytes must have.
enum Check {
    Crc(u32),
    Single(Box<SingleHeader>),
}

impl Frame {
    /// Reads the payload that follows `header`.
    ///
    /// # Errors
    /// Io, Truncated; Corrupt where its checksum differs.
    pub(super) fn read<R: Read>(header: ChunkHeader, source: &mut Source<R>) -> Result<Self> {
        let mut payload = source.payload(header.extent.payload_len)?;
        source.expect("the payload's CRC", header.payload_crc, crc32(&payload))?;
        header.extent.strip(&mut payload)?;
        Ok(Self { extent: header.extent, payload, check: Check::Crc(header.plain_crc) })
    }

    /// Reads the payload that follows the `header` of a single form.
    ///
    /// # Errors
    /// Io, Truncated.
    pub(super) fn read_single<R: Read>(
        header: SingleHeader,
        source: &mut Source<R>,
    ) -> Result<Self> {
        let payload = source.payload(header.extent.payload_len)?;
        Ok(Self { extent: header.extent, payload, check: Check::Single(Box::new(header)) })
    }

    /// The adaptive model that it is coded with, about, where one takes part.
    pub(super) fn adaptive(&self) -> Option<MixingConfig> {
        codec::adaptive(&self.coded())
    }

    fn coded(&self) -> Coded<'_> {
        self.extent.coded(Cow::Borrowed(&self.payload))
    }

    /// Checks the plain bytes.
    fn checked<'a>(&self, plain: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>> {
        let expected = match &self.check {
            Check::Crc(crc) => *crc,
            Check::Single(header) => {
                return header.check(&plain, &self.payload).map(|()| plain);
            }
        };
        let got = crc32(&plain);
        if got == expected {
            return Ok(plain);
        }
        let message = format!("decoded to bytes of CRC {got:#010x}, expected {expected:#010x}");
        Err(Error::new(ErrorKind::Corrupt, message))
    }
}

/// Decodes the chunks of one stream; finds its model, adapter and steering vectors, and decodes its prefix,
/// when a chunk needs them.
pub(super) struct StreamDecoder {
    setup: Setup,
    model: Option<Arc<Model>>,
    steering: Option<Arc<Steering>>,
    /// The decoded prefix; `None`: no chunk needed it so far.
    prefix: Option<Result<Prefix>>,
}

impl StreamDecoder {
    /// A decoder for chunks of a stream of `setup`.
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup, model: None, steering: None, prefix: None }
    }

    /// The plain bytes of `frames`, decoded side by side by `pool`.
    ///
    /// # Errors
    /// Each frame's: those of the codec, and Corrupt where its checksum differs. Of all: those of
    /// finding the model.
    pub(super) fn decode<'f>(
        &mut self,
        frames: &[&'f Frame],
        models: &dyn ModelSource,
        pool: &Pool,
        resources: Resources<'_>,
    ) -> Result<Vec<Result<Cow<'f, [u8]>>>> {
        let prefix = self.setup.prefix.as_ref();
        let needs_model = frames.iter().any(|frame| frame.coded().needs_model(prefix));
        if self.model.is_none() && needs_model {
            let adapter = self.setup.adapter.as_ref();
            let find = |name| adapted(find_model(models, name)?, adapter, models);
            self.model = self.setup.model.as_ref().map(find).transpose()?;
            let steering = self.setup.steering.as_ref().zip(self.model.as_ref());
            self.steering =
                steering.map(|(name, model)| find_steering(name, model, models)).transpose()?;
        }
        Ok(pool.run(|stop| self.decode_here(frames, resources, stop)))
    }

    fn decode_here<'f>(
        &mut self,
        frames: &[&'f Frame],
        resources: Resources<'_>,
        stop: &Stop,
    ) -> Vec<Result<Cow<'f, [u8]>>> {
        let _other = enter(Part::Other);
        let coded: Vec<Coded<'_>> =
            frames.iter().filter(|f| !f.extent.is_stored()).map(|f| f.coded()).collect();
        let model = self.model.as_deref();
        let Resources { isa, threads, memory, progress } = resources.beside(model);
        let parameters = &self.setup.parameters;
        let steering = self.steering.as_deref().unwrap_or(Steering::NONE);
        let without = Codec::without_model(isa, threads);
        let codec = Codec { model, parameters, steering, memory, progress, stop, ..without };
        let prefix = match &self.setup.prefix {
            Some(prefix) if !coded.is_empty() => {
                let decoded = self.prefix.get_or_insert_with(|| Prefix::decode(codec, prefix));
                decoded.as_ref().map_err(|e| e.duplicate().at("the prefix"))
            }
            _ => Ok(Prefix::none()),
        };
        let mut decoded = match &prefix {
            Ok(prefix) => codec::decode_all(Codec { prefix, ..codec }, &coded),
            Err(e) => coded.iter().map(|_| Err(e.duplicate())).collect(),
        }
        .into_iter();
        let plain = |frame: &&'f Frame| {
            let plain = match frame.extent.is_stored() {
                true => {
                    progress(frame.extent.plain_len.into());
                    Cow::Borrowed(&frame.payload[..])
                }
                false => Cow::Owned(decoded.next().expect("each coded chunk was decoded")?),
            };
            frame.checked(plain)
        };
        frames.iter().map(plain).collect()
    }
}

/// The model that `name` names, and no other.
///
/// # Errors
/// Those of `models`; ModelMissing where it gives another model.
fn find_model(models: &dyn ModelSource, name: &ModelName) -> Result<Arc<Model>> {
    let model = models.find(name)?;
    if name.matches(model.identity()) { Ok(model) } else { Err(name.missing()) }
}
