//! Export and import of a model as one file, for machines without a network: a tar archive of the
//! model's files after a manifest that has the BLAKE3 of each.
//!
//! `tar -xf` unpacks it too. Nothing in it is trusted: a name is a single normal component, one of
//! those that make a model, and announced by the manifest with its size and hash.

use super::cache::{failed, write_whole};
use super::identity::{folder_digest, hex};
use super::manifest::{MANIFEST, Manifest, ManifestFile, corrupt};
use crate::error::{Error, ErrorKind, Result};
use crate::models::ModelFolder;
use crate::models::checkpoint_files::CheckpointFiles;
use std::collections::HashSet;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use tar::{Archive, Builder, EntryType, Header};

/// Longest manifest, in bytes.
const MAX_MANIFEST_LEN: u64 = 1 << 20;

/// Writes the model in `folder` to `out` as one file; `progress` is a callback with the bytes just
/// written.
///
/// # Errors
/// Those of [`Manifest::of_folder`]; [`ErrorKind::InvalidModel`] where a file changes meanwhile.
pub fn export(
    folder: &Path,
    label: &str,
    out: impl Write,
    progress: &dyn Fn(u64),
) -> Result<Manifest> {
    let manifest = Manifest::of_folder(folder, label)?;
    let mut out = Builder::new(out);
    let write_failed = |e| own_or(e, |e| Error::io("writing the model's file", e));
    let json = manifest.to_json();
    let mut append = |name: &str, len: u64, data: &mut dyn Read| {
        let mut header = Header::new_ustar();
        header.set_size(len);
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        out.append_data(&mut header, name, data).map_err(write_failed)
    };
    append(MANIFEST, json.len() as u64, &mut &json[..])?;
    for file in &manifest.files {
        let path = if folder.is_file() { folder.to_owned() } else { folder.join(&file.name) };
        let data = File::open(&path).map_err(|e| failed("reading", &path, e))?;
        let mut data = Hashing::new(data.take(file.len), path.display(), progress);
        append(&file.name, file.len, &mut data)?;
        if data.hasher.finalize() != file.blake3 {
            let message = format!("{} was changed while it was read", path.display());
            return Err(Error::new(ErrorKind::InvalidModel, message));
        }
    }
    out.into_inner().and_then(|mut out| out.flush()).map_err(write_failed)?;
    Ok(manifest)
}

/// Unpacks the file that [`export`] wrote into the empty folder `folder` and checks all of it;
/// `progress` is a callback with the bytes just read.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it is damaged, truncated or no such file;
/// [`ErrorKind::InvalidModel`] where llmzip cannot run what is in it; [`ErrorKind::Io`].
pub fn import(input: impl Read, folder: &Path, progress: &dyn Fn(u64)) -> Result<Manifest> {
    let mut archive = Archive::new(input);
    let read_failed =
        |e: io::Error| corrupt(format!("not a file of `models export`, or corrupted: {e}"));
    // Raw: a long name or a sparse file is an entry of its own kind, and so refused.
    let mut entries = archive.entries().map_err(read_failed)?.raw(true);
    let mut next = |name: &str| {
        let entry = entries.next().ok_or_else(|| corrupt(format!("truncated before {name}")))?;
        let entry = entry.map_err(read_failed)?;
        let is_it = entry.header().entry_type() == EntryType::Regular
            && *entry.path_bytes() == *name.as_bytes();
        match is_it {
            true => Ok(entry),
            false => Err(corrupt(format!("has an unexpected entry in place of {name}"))),
        }
    };
    let mut json = Vec::new();
    let mut entry = next(MANIFEST)?.take(MAX_MANIFEST_LEN);
    entry.read_to_end(&mut json).map_err(read_failed)?;
    let manifest = Manifest::parse(&json)?;
    for file in &manifest.files {
        let entry = next(&file.name)?;
        if entry.size() != file.len {
            let message =
                format!("{} has {} bytes, expected {}", file.name, entry.size(), file.len);
            return Err(corrupt(message));
        }
        let source = Hashing::new(entry, format!("{} in it", file.name), progress);
        write_checked(source, file, &folder.join(&file.name))?;
    }
    if entries.next().is_some() {
        return Err(corrupt("has entries that its manifest does not list"));
    }
    check_unpacked(&manifest, folder)?;
    Ok(manifest)
}

/// Copies the model in `from`, a folder or a GGUF file, into the empty folder `folder` and checks the copy.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] where there is no model in it that llmzip can run, or it changes
/// meanwhile; [`ErrorKind::Io`].
pub fn copy(from: &Path, label: &str, folder: &Path, progress: &dyn Fn(u64)) -> Result<Manifest> {
    let manifest = Manifest::of_folder(from, label)?;
    for file in &manifest.files {
        let path = if from.is_file() { from.to_owned() } else { from.join(&file.name) };
        let source = File::open(&path).map_err(|e| failed("reading", &path, e))?;
        let source = Hashing::new(source.take(file.len), path.display(), progress);
        write_checked(source, file, &folder.join(&file.name))?;
    }
    check_unpacked(&manifest, folder)?;
    Ok(manifest)
}

/// Whether `folder` holds just what `manifest` says, and a model; then puts the manifest there.
fn check_unpacked(manifest: &Manifest, folder: &Path) -> Result<()> {
    let form = CheckpointFiles::of_folder(folder)?;
    ModelFolder::find(folder)?.architecture()?; // llmzip can run it
    let files: HashSet<_> = form.files().into_iter().collect();
    if let Some(file) = manifest.files.iter().find(|file| !files.contains(file.name.as_str())) {
        return Err(corrupt(format!("has {}, which is not a file of the model", file.name)));
    }
    let (got, expected) = (hex(&folder_digest(folder)?), hex(&manifest.digest));
    if got != expected {
        return Err(corrupt(format!("the model's digest is {got}, expected {expected}")));
    }
    write_whole(&folder.join(MANIFEST), &manifest.to_json())
}

/// Writes the bytes of `source` to `path`, which must be what `file` says.
fn write_checked<N: Display>(
    mut source: Hashing<'_, impl Read, N>,
    file: &ManifestFile,
    path: &Path,
) -> Result<()> {
    let write_failed = |e| own_or(e, |e| failed("writing", path, e));
    let mut out = File::create_new(path).map_err(write_failed)?;
    let len = io::copy(&mut source, &mut out).map_err(write_failed)?;
    out.sync_all().map_err(write_failed)?;
    if len != file.len || source.hasher.finalize() != file.blake3 {
        drop(fs::remove_file(path)); // the folder goes anyway
        return Err(corrupt(format!(
            "{} has another length or hash than its manifest says",
            file.name
        )));
    }
    Ok(())
}

/// Returns this library's own error where `error` has one inside, as those of [`Hashing`] have; else what `new` makes
/// of it.
fn own_or(error: io::Error, new: impl FnOnce(io::Error) -> Error) -> Error {
    error.downcast().unwrap_or_else(new)
}

/// A reader that hashes and counts what passes, and has errors say that reading failed.
struct Hashing<'a, R, N> {
    inner: R,
    /// Name of what is read, in errors.
    name: N,
    hasher: blake3::Hasher,
    progress: &'a dyn Fn(u64),
}

impl<'a, R, N> Hashing<'a, R, N> {
    fn new(inner: R, name: N, progress: &'a dyn Fn(u64)) -> Self {
        Self { inner, name, hasher: blake3::Hasher::new(), progress }
    }
}

impl<R: Read, N: Display> Read for Hashing<'_, R, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let failed = |e| Error::io(format!("reading {}", self.name), e);
        let n = self.inner.read(buffer).map_err(failed)?;
        self.hasher.update(&buffer[..n]);
        (self.progress)(n as u64);
        Ok(n)
    }
}
