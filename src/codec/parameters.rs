//! What all chunks of a stream are coded with, beside the model.

use super::corrupt;
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Context, Model};
use crate::predict::Config;

/// Parameters of the coding; they stand in the archive's header where they are not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// When lanes start afresh, for a model whose window does not slide.
    pub context: Option<Context>,
    /// Tokens that stand before every lane, as ranks of the vocabulary.
    pub prefix: Vec<u32>,
    /// Greatest size of the adaptive model's table of contexts, log2 of bytes.
    pub table_log2: u8,
}

impl Default for Parameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Parameters {
    /// A window that slides, no prefix, the usual table.
    pub const DEFAULT: Self =
        Self { context: None, prefix: Vec::new(), table_log2: Config::TABLE_LOG2 as u8 };

    /// Longest prefix, in tokens.
    pub const MAX_PREFIX: usize = 4096;

    /// Sizes of the adaptive model's table that can be asked for, log2 of bytes.
    pub const TABLE_LOG2: std::ops::RangeInclusive<u8> = 10..=Config::TABLE_LOG2 as u8;

    /// Those of an encoder: a text `prefix`, positions until lanes start afresh (`None`: the model's,
    /// up to [`Context::DEFAULT_LEN`]).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the model cannot have it so.
    pub fn new(model: &Model, prefix: &str, context: Option<u32>, table_log2: u8) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        let ranks = match prefix {
            "" => Vec::new(), // which needs no tokenizer, so does not load the model
            text => model.tokenizer().encode(text.as_bytes(), model.vocabulary()),
        };
        if ranks.len() > Self::MAX_PREFIX {
            let (n, most) = (ranks.len(), Self::MAX_PREFIX);
            return refuse(format!("the prefix has {n} tokens, expected at most {most}"));
        }
        let context = match (model.architecture().max_positions(), context) {
            (None, None) => None,
            (None, Some(_)) => {
                return refuse("the model has no limit of positions: it takes no context".into());
            }
            (Some(most), len) => {
                let most = most as u32;
                let len = len.unwrap_or(most.min(Context::DEFAULT_LEN));
                if !(4..=most).contains(&len) {
                    return refuse(format!("a context of {len} tokens, expected 4 to {most}"));
                }
                Some(Context::new(len))
            }
        };
        Ok(Self { context, prefix: ranks, table_log2 })
    }

    /// Checks those of an archive against `model`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where an encoder with this model cannot have written them.
    pub(super) fn check(&self, model: &Model) -> Result<()> {
        let most = model.architecture().max_positions();
        match (most, self.context) {
            (None, None) => (),
            (Some(most), Some(context))
                if context.len as usize <= most
                    && context.overlap <= Context::most_overlap(context.len) => {}
            (most, context) => {
                return Err(corrupt(format!(
                    "context {context:?}, the model has {most:?} positions"
                )));
            }
        }
        match self.prefix.iter().find(|&&rank| rank as usize >= model.vocabulary().len()) {
            Some(rank) => Err(corrupt(format!("the prefix has token {rank}, past the vocabulary"))),
            None => Ok(()),
        }
    }

    /// What every lane is fed before its first prediction, as ids: the model's first token and the
    /// prefix.
    pub(super) fn opening(&self, model: &Model) -> Vec<u32> {
        let prefix = self.prefix.iter().map(|&rank| model.vocabulary().id(rank));
        std::iter::once(model.first_token()).chain(prefix).collect()
    }
}
