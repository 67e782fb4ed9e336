//! A look through an archive before it is decoded.

use super::input::OpenInput;
use super::session::CliSession;
use crate::archive::{self, ModelSource, StreamInfo};
use anyhow::Result;
use std::io::Seek;

/// Looks through the archive, where that can be done before it is read: loads the models that it
/// needs, the first one last, which is kept, and returns the plain bytes that its index promises.
///
/// # Errors
/// I/O errors; ModelMissing, so that no output begins that cannot be completed.
pub fn look_ahead(session: &CliSession, input: &OpenInput) -> Result<Option<u64>> {
    let mut file = &input.file;
    if input.metadata.is_none() || file.stream_position()? != 0 {
        return Ok(None);
    }
    let streams = archive::list(file).ok();
    file.rewind()?;
    let Some(streams) = streams else { return Ok(None) };
    let needed = streams.iter().rev().filter(|stream| stream.needs_model());
    for model in needed.filter_map(|stream| stream.model.as_ref()) {
        session.models.find(model)?;
    }
    Ok(Some(streams.iter().map(StreamInfo::plain_len).sum()))
}
