//! JSON in a model's files, with or without a byte order mark.

use super::invalid;
use crate::error::Result;
use serde::de::DeserializeOwned;

/// UTF-8's byte order mark, which some editors write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads `text`, the content of the file `name`.
///
/// # Errors
/// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where it is not what `T` is.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(unmarked(text)).map_err(|e| invalid(format!("{name}: {e}")))
}

/// `text` without a byte order mark.
pub(super) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}
