//! Size of archives of texts that were held out from learning.

use crate::archive::{Options, compress};
use crate::models::Model;
use anyhow::Result;

/// Returns the bytes of archives of `texts` in all, one archive for each.
///
/// # Errors
/// Those of compression.
pub fn archives_len(texts: &[Vec<u8>], model: &Model, options: Options) -> Result<u64> {
    let options = options.verify(false);
    let len = |text: &Vec<u8>| -> Result<u64> {
        Ok(compress(&text[..], std::io::sink(), model, &options, &|_| ())?.archive_len)
    };
    texts.iter().map(len).sum()
}
