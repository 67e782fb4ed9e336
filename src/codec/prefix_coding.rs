//! Coding of a prefix: a chunk of one lane whose tokens and decisions are kept.

use super::strategy::Strategy;
use super::{ChunkOptions, Codec, Coded, Prefix, bytes, corrupt, tokens};
use crate::error::{Error, ErrorKind, Result};

impl Prefix {
    /// Codes `text` (not empty) by the models that chunks will be coded with, which learn nothing of it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where it is too long; those of [`encode`](super::encode).
    pub fn encode(
        codec: Codec<'_>,
        text: &[u8],
        options: &ChunkOptions,
    ) -> Result<(Coded<'static>, Self)> {
        let too_long = |n, unit, most| {
            let message = format!("the prefix has {n} {unit}, expected at most {most}");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        };
        if text.len() > Self::MAX_LEN {
            return too_long(text.len(), "bytes", Self::MAX_LEN);
        }
        let codec = Codec { parameters: &codec.parameters.fixed(), ..codec };
        match Strategy::of(options, text.len()) {
            Strategy::Bytes { tier } => {
                let coded = bytes::encode(codec.quiet(), text, tier)?;
                Ok((coded, Self { text: text.to_vec(), ..Self::default() }))
            }
            Strategy::Tokens { mix, .. } => {
                codec.parameters.check(codec.language_model()?)?;
                let (coded, prefix) = tokens::encode_prefix(codec.quiet(), text, mix)?;
                match prefix.tokens.len() {
                    n if n > Self::MAX_TOKENS => too_long(n, "tokens", Self::MAX_TOKENS),
                    _ => Ok((coded, prefix)),
                }
            }
        }
    }

    /// Decodes the prefix of an archive.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where no encoder wrote it; those of [`decode`](super::decode).
    pub fn decode(codec: Codec<'_>, coded: &Coded<'_>) -> Result<Self> {
        let Coded { coding, plain_len, payload } = coded;
        if coding.lanes != 1 || !(1..=Self::MAX_LEN).contains(plain_len) {
            return Err(corrupt("the prefix has several lanes, or a length out of range"));
        }
        let codec = Codec { parameters: &codec.parameters.fixed(), ..codec };
        let prefix = match coding.runs_model() {
            true => {
                codec.parameters.check(codec.language_model()?)?;
                tokens::decode_prefix(codec.quiet(), coded)?
            }
            false => {
                let text = bytes::decode(codec.quiet(), payload, *plain_len)?;
                Self { text, ..Self::default() }
            }
        };
        match prefix.tokens.len() {
            n if n > Self::MAX_TOKENS => Err(corrupt(format!("the prefix has {n} tokens"))),
            _ => Ok(prefix),
        }
    }
}
