//! Parameters that all chunks of a stream are coded with, beside the model and the prefix.

use super::{Method, corrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::models::{Context, Learning, LearningKind, Model};
use crate::predict::MixingConfig;

/// Parameters of the coding; extensions in the archive where they are not the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// When lanes start afresh, for a model whose window does not slide.
    pub context: Option<Context>,
    /// Size limit of the adaptive model's table of contexts, log2 of bytes.
    pub table_log2: u8,
    /// How the language model learns from each chunk while that is coded, if it does.
    pub learning: Option<Learning>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Parameters {
    /// A window that slides, the usual table.
    pub const DEFAULT: Self =
        Self { context: None, table_log2: MixingConfig::TABLE_LOG2 as u8, learning: None };

    /// Sizes of the adaptive model's table that can be asked for, log2 of bytes.
    pub const TABLE_LOG2: std::ops::RangeInclusive<u8> = 10..=MixingConfig::TABLE_LOG2 as u8;

    /// Those of an encoder that runs `model`: positions until lanes start afresh (`None`: the
    /// model's, up to [`Context::DEFAULT_LEN`]), the table's size, and how it learns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the model cannot have it so.
    pub fn new(
        model: &Model,
        context: Option<u32>,
        table_log2: u8,
        learning: Option<Learning>,
    ) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if let Some(reason) = learning.and_then(|learning| obstacle(learning, model)) {
            return refuse(reason.into());
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
        Ok(Self { context, table_log2, learning })
    }

    /// How the head learns in chunks of the method *learning*: the numbers of `docs/numerics.md`, section 23, whatever
    /// the defaults of `--learn` become.
    pub(super) const METHOD_LEARNING: Learning =
        Learning { kind: LearningKind::Head, tokens_log2: 9, rate: 500 };

    /// Returns those of a chunk coded by `method` in a stream with these.
    pub(super) fn for_method(self, method: Method) -> Self {
        match method {
            Method::Learning => Self { learning: Some(Self::METHOD_LEARNING), ..self },
            _ => self,
        }
    }

    /// Returns the same of a model that stays as it is.
    pub(super) fn fixed(self) -> Self {
        Self { learning: None, ..self }
    }

    /// Checks those of an archive against `model`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where an encoder with this model cannot have written them.
    pub(super) fn check(&self, model: &Model) -> Result<()> {
        if let Some(reason) = self.learning.and_then(|learning| obstacle(learning, model)) {
            return Err(corrupt(reason));
        }
        match (model.architecture().max_positions(), self.context) {
            (None, None) => Ok(()),
            (Some(most), Some(context))
                if context.len as usize <= most
                    && context.overlap <= Context::most_overlap(context.len) =>
            {
                Ok(())
            }
            (most, context) => {
                Err(corrupt(format!("context {context:?}, the model has {most:?} positions")))
            }
        }
    }
}

/// Returns the reason why the model cannot learn so, if there is one.
fn obstacle(learning: Learning, model: &Model) -> Option<&'static str> {
    let starts_afresh = model.architecture().max_positions().is_some();
    match learning.kind {
        LearningKind::Adapter if model.network().as_transformer().is_none() => Some(
            "adapters can learn only beside a transformer's layers: the head can, and all of the model",
        ),
        LearningKind::Adapter if starts_afresh => {
            Some("adapters can learn only where the model's window slides: its head can")
        }
        LearningKind::Adapter if model.adapter().is_some() => {
            Some("adapters can learn only without another adapter: the model's head can")
        }
        LearningKind::All if starts_afresh => {
            Some("all of a model can learn only where its window slides: its head can")
        }
        LearningKind::All if model.adapter().is_some() => {
            Some("all of a model can learn only without an adapter: its head can")
        }
        _ => None,
    }
}
